"""A folder of images: which classes and files there are, and how many may be broken."""

# ruff: noqa: RUF001

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from windrow.data import folder
from windrow.data.image_files import png_file
from windrow.errors import DatasetError

STRAY = {
    *(".DS_Store", "._1.png", ".git", ".ipynb_checkpoints", "__MACOSX", "Thumbs.db", "THUMBS.DB", "desktop.ini"),
    *(
        "@eaDir",
        "lost+found",
        "#recycle",
        "2.png.crdownload",
        "2.png.part",
        "~$notes.docx",
        "System Volume Information",
    ),
}


def make(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"a note" if path.suffix in (".txt", "") else png_file.MARK)  # enough to tell them apart
    return root


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="four IDX files or one folder of images a class; got neither"):
        folder.list_images(tmp_path)


def test_images_without_class_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="got neither"):
        folder.list_images(make(tmp_path, "1.png", "2.png"))


def test_a_class_without_images_is_named(tmp_path: Path) -> None:
    make(tmp_path, "cat/1.png", "dog/readme.txt")
    with pytest.raises(DatasetError, match=r"dog must hold images \(PNG, .*\); got none; add some or remove it"):
        folder.list_images(tmp_path)


def test_a_class_in_test_alone_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "train/cat/1.png", "train/dog/1.png", "test/cat/2.png", "test/emu/1.png")
    with pytest.raises(DatasetError, match="each class of test/ in train/ too; got emu in test/ only; add training"):
        folder.list_images(tmp_path)


def test_a_class_may_have_no_test_image(tmp_path: Path) -> None:
    make(tmp_path, "train/cat/1.png", "train/dog/1.png", "train/emu/1.png", "test/dog/2.png")
    (tmp_path / "test" / "emu").mkdir()
    listing = folder.list_images(tmp_path)
    assert listing.classes == ("cat", "dog", "emu")
    assert listing.test is not None
    assert listing.test.labels.tolist() == [1]


def test_a_class_folder_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "cat/1.png", "d\udcffg/1.png")
    with pytest.raises(DatasetError, match=r"must be printable UTF-8; got 'd\\udcffg'"):
        folder.list_images(tmp_path)


def test_hidden_and_foreign_files_are_not_images(tmp_path: Path) -> None:
    make(tmp_path, "cat/1.PNG", "cat/.hidden.png", "cat/notes.txt", "cat/deeper/2.png", "dog/1.jpeg", ".git/x", "a.png")
    listing = folder.list_images(make(tmp_path, "__MACOSX/1.png"))
    assert listing.classes == ("cat", "dog")
    assert [listing.train.name(index) for index in range(2)] == ["cat/1.PNG", "dog/1.jpeg"]
    assert listing.left_out == {"cat/deeper/2.png": "in a folder inside the class's folder"}
    assert listing.notes == (
        f"not read in {tmp_path.name}: a.png",
        "1 file of text in folders of classes, not read: cat/notes.txt",
    )
    assert listing.total == 3


FILES = {
    "jpeg.jfif": (b"\xff\xd8\xff\xe0", None),
    "gif without suffix": (b"GIF89a", None),
    "PNG.JPG": (png_file.MARK, None),
    "webp.png": (b"RIFF\0\0\0\0WEBP", None),
    "bitmap.dib": (b"BM" + bytes(12) + b"\x28\0\0\0" + bytes(20), None),
    "empty.png": (b"", "empty"),
    "photo.tif": (b"II*\0", "a TIFF image"),
    "phone.jpg": (b"\0\0\0\x18ftypheic", "a HEIC image"),
    "new.avif": (b"\0\0\0\x18ftypavif", "an AVIF image"),
    "more.zip": (b"PK\x03\x04", "a ZIP archive"),
    "more.tar": (bytes(257) + b"ustar", "a tar archive"),
    "clip.png": (b"\0\0\0\x18ftypmp42", "an MP4 or QuickTime video"),
    "clip.avi": (b"RIFF\0\0\0\0AVI ", "an AVI video"),
    "paper.png": (b"%PDF-1.7", "a PDF"),
    "drawing.svg": (b"<?xml version='1.0'?>\n<svg xmlns=''/>", "an SVG drawing"),
    "404.jpg": (b"<!DOCTYPE html><title>404</title>", "a web page"),
    "noise.jpg": (bytes(range(256)), "of a kind that is not known"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_what_its_content_says_and_what_is_left_out_has_its_reason(name: str, tmp_path: Path) -> None:
    content, reason = FILES[name]
    make(tmp_path, "cat/1.png", "dog/1.png")
    (tmp_path / "cat" / name).write_bytes(content)
    listing = folder.list_images(tmp_path)
    assert listing.left_out == ({} if reason is None else {f"cat/{name}": reason})
    assert len(listing.train.paths) == (3 if reason is None else 2)
    assert listing.total == 3, "what is lost counts for the limit of one in twenty"


def test_files_that_can_not_be_read_are_left_out_with_the_reason(tmp_path: Path) -> None:
    make(tmp_path, "cat/1.png", "dog/1.png", "elsewhere/1.png")
    (tmp_path / "cat" / "gone.png").symlink_to(tmp_path / "nothing.png")
    (tmp_path / "cat" / "folder").symlink_to(tmp_path / "dog")
    os.mkfifo(tmp_path / "dog" / "pipe.png")
    (tmp_path / "cat" / "loop").symlink_to("loop")
    left_out = folder.list_images(tmp_path).left_out
    assert left_out == {
        "cat/gone.png": "a link to nothing",
        "cat/folder": "not a file",
        "cat/loop": "a link to nothing",
        "dog/pipe.png": "not a file",
    }


def test_a_forbidden_file_is_left_out_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "cat/1.png", "cat/2.png", "dog/1.png")
    opened = Path.open

    def refuse(path: Path, *arguments: Any) -> Any:  # the tests may run as root, who may read everything
        if path.name == "2.png":
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments)

    monkeypatch.setattr(Path, "open", refuse)
    assert folder.list_images(tmp_path).left_out == {"cat/2.png": "Permission denied"}


def test_a_folder_inside_a_class_that_can_not_be_listed_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "cat/1.png", "dog/1.png", "cat/inside/2.png")
    listed = Path.iterdir

    def refuse(path: Path) -> Any:  # the tests may run as root, who may read everything
        if path.name == "inside":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert folder.list_images(tmp_path).left_out == {"cat/inside": "a folder that can't be listed"}


def test_a_path_that_is_too_long_for_the_system_is_left_out(tmp_path: Path) -> None:
    make(tmp_path, "cat/1.png", "dog/1.png")
    place = os.open(tmp_path / "cat", os.O_RDONLY)
    for _ in range(25):
        os.mkdir("d" * 200, dir_fd=place)
        inside = os.open("d" * 200, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inside
    os.close(place)
    ((name, reason),) = folder.list_images(tmp_path).left_out.items()
    assert (len(name) > 3500, reason) == (True, "File name too long")
    assert folder.paths_read(tmp_path)


def test_files_in_folders_inside_a_class_count_at_any_depth(tmp_path: Path) -> None:
    make(tmp_path, "cat/1.png", "dog/1.png", f"cat/{'deep/' * 300}2.png", "cat/more/3.jpg", "cat/more/.git/4.png")
    left_out = folder.list_images(tmp_path).left_out
    assert set(left_out.values()) == {"in a folder inside the class's folder"}
    assert set(left_out) == {f"cat/{'deep/' * 300}2.png", "cat/more/3.jpg"}


@given(st.lists(st.sampled_from(sorted(STRAY)), max_size=8))
def test_what_systems_leave_behind_is_nowhere_data(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    root = make(tmp_path_factory.mktemp("folder"), "cat/1.png", "dog/1.png")
    for name in names:
        for place in (root, root / "cat"):
            (place / name / "inside").mkdir(parents=True, exist_ok=True)
            (place / name / "inside" / "1.png").write_bytes(png_file.MARK)
    listing = folder.list_images(root)
    assert (listing.classes, listing.left_out, listing.total) == (("cat", "dog"), {}, 2)
    leftovers = sorted(set(names) & {"2.png.crdownload", "2.png.part", "~$notes.docx"})
    assert listing.notes == ((f"not read in {root.name}: {', '.join(leftovers)}",) if leftovers else ())


@pytest.mark.parametrize("name", ["~", "x~", "#1#", "c.c#", "cat.bak", "dog.part", "a.tmp"])
def test_a_folder_that_is_named_like_a_leftover_is_no_class_and_its_user_is_told(name: str, tmp_path: Path) -> None:
    listing = folder.list_images(make(tmp_path, "cat/1.png", "dog/1.png", f"{name}/1.png"))
    assert listing.classes == ("cat", "dog")
    assert listing.notes == (f"not read in {tmp_path.name}: {name}",)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        *(("training", "testing"), ("Train", "TEST"), ("train", "testing"), ("training_set", "test_set")),
        *(("train", "test1"), ("train-images", "test-images"), ("Training Data", "Test Data"), ("trainset", "testset")),
    ],
)
def test_the_folders_for_training_and_test_may_have_other_names(train: str, test: str, tmp_path: Path) -> None:
    make(tmp_path, f"{train}/cat/1.png", f"{train}/dog/1.png", f"{test}/cat/2.png")
    listing = folder.list_images(tmp_path)
    assert listing.classes == ("cat", "dog")
    assert listing.test is not None
    assert listing.test.name(0) == f"{test}/cat/2.png"


@pytest.mark.parametrize("names", [("trains", "tests"), ("training shoe", "test tube"), ("trainer", "tester")])
def test_names_of_classes_that_begin_alike_are_no_splits(names: tuple[str, str], tmp_path: Path) -> None:
    listing = folder.list_images(make(tmp_path, *(f"{name}/1.png" for name in names)))
    assert set(listing.classes) == set(names)


def test_kaggles_images_without_folders_of_classes_are_not_two_classes(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"train must hold .* one folder of images a class; got neither"):
        folder.list_images(make(tmp_path, "train/cat.1.jpg", "train/dog.1.jpg", "test1/1.jpg"))


@pytest.mark.parametrize("inside", ["cat", "train/cat"])
def test_one_folder_too_many_is_named(inside: str, tmp_path: Path) -> None:
    make(tmp_path, f"data/{inside}/1.png", f"data/{inside.replace('cat', 'dog')}/1.png", "__MACOSX/._data")
    with pytest.raises(
        DatasetError, match=r"got only data, which holds .*; if these are .*, set dataset.source to .*data"
    ):
        folder.list_images(tmp_path)


@pytest.mark.parametrize("name", ["valid", "val", "Validation", "dev", "valid_set"])
def test_a_folder_for_validation_is_named_with_what_to_do(name: str, tmp_path: Path) -> None:
    make(tmp_path, "train/cat/1.png", "train/dog/1.png", "test/cat/2.png", f"{name}/cat/3.png")
    (note,) = folder.list_images(tmp_path).notes
    assert note == (
        f"not read in {tmp_path.name}: {name}; validation images are drawn from training (dataset.validation), so move "
        "them there"
    )


def test_training_and_validation_without_test_are_not_two_classes(tmp_path: Path) -> None:
    make(tmp_path, "train/cat/1.png", "train/dog/1.png", "val/cat/2.png")
    with pytest.raises(DatasetError, match=r"a folder test next to train, .*; got train, val; rename val to test, or"):
        folder.list_images(tmp_path)


def test_two_folders_for_training_are_refused(tmp_path: Path) -> None:
    make(tmp_path, "train/cat/1.png", "Training/cat/1.png", "test/cat/2.png")
    with pytest.raises(DatasetError, match="must have one folder for a split; got Training and train; move the images"):
        folder.list_images(tmp_path)


def test_a_class_is_the_same_in_training_and_test_however_its_accents_are_written(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "größe") for form in ("NFC", "NFD"))
    make(tmp_path, f"train/{apart}/1.png", "train/dog/1.png", f"test/{composed}/2.png", "test/dog/2.png")
    listing = folder.list_images(tmp_path)
    assert listing.classes == ("dog", composed)
    assert listing.test is not None
    assert listing.test.labels.tolist() == [0, 1]


@pytest.mark.parametrize("name", ["می\u200cخواهم", "👨\u200d👩\u200d👧", "_", "%s{}\\", "$x^$", "a" * 250])
def test_a_class_may_have_any_name_that_can_be_printed(name: str, tmp_path: Path) -> None:
    make(tmp_path, f"{name}/1.png", "dog/1.png")
    assert set(folder.list_images(tmp_path).classes) == {name, "dog"}


@pytest.mark.parametrize(
    ("names", "ignored"),
    [
        (["train/cat/1.png", "train/dog/1.png", "test/cat/2.png", "val/cat/3.png", "labels.txt"], "val"),
        (["cat/1.png", "dog/1.png", "notes.txt", *(f"{number}.JPG" for number in range(7))],
         "0.JPG, 1.JPG, 2.JPG, 3.JPG, 4.JPG and 2 more"),
    ],
)  # fmt: skip
def test_folders_and_images_next_to_those_that_are_read_are_named(
    names: list[str], ignored: str, tmp_path: Path
) -> None:
    (note,) = folder.list_images(make(tmp_path, *names)).notes
    assert note.startswith(f"not read in {tmp_path.name}: {ignored}")


def test_images_in_icloud_alone_count_as_lost_and_unfinished_downloads_are_named(tmp_path: Path) -> None:
    """macOS keeps the content of images elsewhere, and a hidden file in their place: a loss that no one would see."""
    make(tmp_path, "cat/1.png", "cat/2.png.part", "cat/3.jpg.crdownload", "cat/.notes.txt.icloud", "dog/1.png")
    make(tmp_path, *(f"dog/.{number}.JPG.icloud" for number in range(20)))
    found = folder.list_images(tmp_path)
    assert found.left_out == {f"dog/.{number}.JPG.icloud": "in iCloud alone, so download it" for number in range(20)}
    assert found.notes == (
        "2 unfinished downloads in folders of classes, not read: cat/2.png.part, cat/3.jpg.crdownload",
    )
    with pytest.raises(DatasetError, match="got 20 of 22"):
        folder.check_left_out(found.total, found.left_out)


def test_a_folder_that_can_not_be_listed_is_a_mistake_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> list[str]:
        raise PermissionError(13, "Permission denied", "/data/cat")

    monkeypatch.setattr(folder, "_classes", refuse)
    with pytest.raises(DatasetError, match="must be readable; got Permission denied for /data/cat; look at its"):
        folder.list_images(tmp_path)


def test_one_class_is_refused_before_its_images_are_opened(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="at least two classes; got only 'cat'"):
        folder.list_images(make(tmp_path, "cat/1.png", "cat/2.png"))


def test_numbered_classes_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    make(tmp_path, "10/a.png", "2/a.png", "1/a.png", "other/a.png")
    listing = folder.list_images(tmp_path)
    assert listing.classes == ("1", "2", "10", "other")
    assert listing.train.labels.tolist() == [0, 1, 2, 3]
    assert listing.test is None


def test_train_and_test_folders_become_the_splits(tmp_path: Path) -> None:
    make(tmp_path, "train/cat/1.png", "train/dog/1.png", "train/dog/2.png", "test/cat/9.png", "test/dog/9.png")
    listing = folder.list_images(tmp_path)
    assert listing.train.labels.tolist() == [0, 1, 1]
    assert listing.test is not None
    assert listing.test.name(0) == "test/cat/9.png"


def test_a_folder_called_train_alone_is_a_class(tmp_path: Path) -> None:
    assert folder.list_images(make(tmp_path, "train/1.png", "ship/1.png")).classes == ("ship", "train")


def test_a_file_name_that_is_not_utf8_can_be_told(tmp_path: Path) -> None:
    listing = folder.list_images(make(tmp_path, "cat/\udcff.png", "dog/1.png"))
    assert listing.train.name(0) == r"cat/\udcff.png"


def test_a_file_name_with_control_characters_is_told_on_one_line(tmp_path: Path) -> None:
    listing = folder.list_images(make(tmp_path, "cat/a\nb\x1b[31m.png", "dog/é.png"))
    assert [listing.train.name(index) for index in range(2)] == [r"cat/a\nb\x1b[31m.png", "dog/é.png"]


def test_a_few_broken_images_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    folder.check_left_out(100, {"cat/1.png": "truncated"})
    assert capsys.readouterr().err == "left out 1 of 100 images that can't be decoded: cat/1.png (truncated)\n"


def test_many_broken_images_are_an_error_that_names_the_first() -> None:
    broken = {f"cat/{number}.png": "truncated" for number in range(8)}
    with pytest.raises(DatasetError, match=r"at most 5% .* got 8 of 100: cat/0.png \(truncated\); .*; and 3 more; fix"):
        folder.check_left_out(100, broken)


def test_nothing_left_out_is_not_worth_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    folder.check_left_out(100, {})
    assert capsys.readouterr().err == ""
