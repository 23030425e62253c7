"""A folder of images: which classes and files there are, and how many may be broken."""

from __future__ import annotations

from pathlib import Path

import pytest
from windrow.data import folder
from windrow.errors import DatasetError


def make(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="four IDX files or one folder of images a class; got neither"):
        folder.list_images(tmp_path)


def test_images_without_class_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="got neither"):
        folder.list_images(make(tmp_path, "1.png", "2.png"))


def test_a_class_without_images_is_named(tmp_path: Path) -> None:
    make(tmp_path, "cat/1.png", "dog/readme.txt")
    with pytest.raises(DatasetError, match=r"dog must hold images \(.png, .*\); got none; add some or remove it"):
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


def test_hidden_and_foreign_files_are_not_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path, "cat/1.PNG", "cat/.hidden.png", "cat/notes.txt", "cat/deeper/2.png", "dog/1.jpeg", ".git/x", "a.png")
    listing = folder.list_images(make(tmp_path, "__MACOSX/1.png"))
    assert listing.classes == ("cat", "dog")
    assert [listing.train.name(index) for index in range(2)] == ["cat/1.PNG", "dog/1.jpeg"]
    assert f"ignored in {tmp_path}/cat: 2 files that are not images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "ignored"),
    [
        (["train/cat/1.png", "train/dog/1.png", "test/cat/2.png", "val/cat/3.png", "labels.txt"], "val"),
        (["cat/1.png", "dog/1.png", "notes.txt", *(f"{number}.JPG" for number in range(7))],
         "0.JPG, 1.JPG, 2.JPG, 3.JPG, 4.JPG and 2 more"),
    ],
)  # fmt: skip
def test_folders_and_images_next_to_those_that_are_read_are_named(
    names: list[str], ignored: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.list_images(make(tmp_path, *names))
    assert capsys.readouterr().err == f"ignored in {tmp_path}: {ignored}\n"


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
