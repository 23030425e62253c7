"""Images decoded in Spark tasks: a bad one is a record, and the rest are as Pillow sees them."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image
from windrow.data import decode, folder, shards, sources
from windrow.data.folder import Files
from windrow.data.image import to_pixels
from windrow.data.splits import SPLITS
from windrow.errors import DatasetError, ServiceError
from windrow.experiment import DatasetSection

pytestmark = pytest.mark.spark
CATS = decode.Format(4, 6, 1, resize=False)


def load(path: Path, tmp_path: Path, spark: Any, **settings: Any) -> sources.Source:
    section = DatasetSection(source=str(path), channels=1, **settings)
    return sources.load(section, tmp_path / "downloads", lambda: nullcontext(spark))


def add_many(path: Path, count: int) -> None:
    for number in range(count):
        Image.new("L", (6, 4), 100).save(path / f"more{number}.png")


def test_broken_images_are_left_out_and_told(tmp_path: Path, image_folder: Path, spark: Any) -> None:
    add_many(image_folder / "dog", 150)
    whole = (image_folder / "cat" / "1.png").read_bytes()
    broken = {"cut.png": whole[:45], "empty.png": b"", "text.jpg": b"hello", "cut.gif": b"GIF89a\1"}
    for name, content in broken.items():
        (image_folder / "cat" / name).write_bytes(content)
    (image_folder / "cat" / os.fsdecode(b"\xff.png")).write_bytes(b"no")
    source = load(image_folder, tmp_path, spark)
    assert len(source.train_images) == 170
    assert set(source.left_out) == {*(f"cat/{name}" for name in broken), r"cat/\udcff.png"}
    assert source.left_out["cat/empty.png"] == "empty"
    assert source.left_out["cat/text.jpg"] == "text"
    manifest = shards.write(tmp_path / "out", source, DatasetSection(source=str(image_folder)))
    assert manifest.left_out == source.left_out
    assert manifest.copies.images == 150
    assert sorted(name for split in SPLITS for name in shards.load_names(tmp_path / "out", split)) == sorted(
        source.train_names
    )


def test_images_that_are_all_broken_are_an_error(tmp_path: Path, spark: Any) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "bad" / name).mkdir(parents=True)
        (tmp_path / "bad" / name / "1.png").write_bytes(b"no")
    with pytest.raises(DatasetError, match=r"cat must hold images .*; got none, e.g. cat/1.png \(text\); add"):
        load(tmp_path / "bad", tmp_path, spark)
    for name in ("cat", "dog"):
        (tmp_path / "bad" / name / "1.png").write_bytes(b"GIF89a")
    with pytest.raises(DatasetError, match="must hold images that can be opened; got none of 2"):
        load(tmp_path / "bad", tmp_path, spark)
    with pytest.raises(DatasetError, match=r"at most 5% of the images may be broken; got 2 of 2: cat/1.png"):
        load(tmp_path / "bad", tmp_path, spark, image_size=8)


def test_another_size_is_an_error_unless_the_page_resizes(tmp_path: Path, image_folder: Path, spark: Any) -> None:
    Image.new("L", (5, 5)).save(image_folder / "dog" / "odd.png")
    with pytest.raises(DatasetError, match=r"got 6 x 4 pixels and, in dog/odd.png, 5 x 5; set it, e.g. --set"):
        load(image_folder, tmp_path, spark)
    assert load(image_folder, tmp_path, spark, image_size=8).train_images.shape == (21, 8, 8, 1)


def test_the_size_is_that_of_the_first_image_that_opens_however_the_ones_before_it_are_broken(
    tmp_path: Path, image_folder: Path
) -> None:
    whole = (image_folder / "cat" / "1.png").read_bytes()
    (image_folder / "cat" / "!1.png").write_bytes(whole[:30] + b"????" + whole[34:])  # a wrong checksum
    (image_folder / "cat" / "!2.png").write_bytes(whole[:12])
    (image_folder / "cat" / "!3.png").write_bytes(b"GIF89a\1")
    files = folder.list_images(image_folder).train
    assert [files.name(index) for index in range(3)] == ["cat/!1.png", "cat/!2.png", "cat/!3.png"]
    assert decode.choose_format(files, DatasetSection(source=str(image_folder), channels=1)) == CATS


def test_the_page_chooses_between_squashed_and_cropped_images(tmp_path: Path) -> None:
    picture = Image.effect_noise((90, 60), 20)
    picture.save(tmp_path / "image.png")
    for fit, resize in (("squash", "smooth"), ("crop", "crop")):
        files = Files(tmp_path, (tmp_path / "image.png",), np.zeros(1, np.int64))
        target = decode.choose_format(files, DatasetSection(source=str(tmp_path), image_size=28, fit=fit))
        opened = decode._open(str(tmp_path / "image.png"), target)
        assert opened.pixels == to_pixels(picture.copy(), 28, 28, 3, resize).tobytes()  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_an_image_in_both_forms_is_squashed_and_cropped_from_one_decoding(
    tmp_path: Path, mode: str, suffix: str
) -> None:
    picture = Image.effect_noise((900, 600), 20).convert(mode if suffix == "png" or mode == "L" else "RGB")
    turned = Image.Exif()
    turned[0x0112] = 6
    path = tmp_path / f"image.{suffix}"
    picture.save(path, exif=turned)
    files = Files(tmp_path, (path,), np.zeros(1, np.int64))
    section = DatasetSection(source=str(tmp_path), image_size=28, fit="both")
    opened = decode._open(str(path), decode.choose_format(files, section))
    forms: tuple[Literal["smooth", "crop"], ...] = ("smooth", "crop")
    assert opened.pixels == b"".join(to_pixels(Image.open(path), 28, 28, 3, form).tobytes() for form in forms)


def test_an_enormous_image_is_left_out_unread(tmp_path: Path) -> None:
    Image.new("1", (9_000, 9_000)).save(tmp_path / "bomb.png")
    opened = decode._open(str(tmp_path / "bomb.png"), decode.Format(8, 8, 1, resize=True))
    assert opened.problem == "an image has at most 80,000,000 pixels; got 9,000 x 9,000"


def test_a_format_that_is_not_allowed_is_a_problem_not_an_exception(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "image.tiff")
    (tmp_path / "image.tiff").rename(tmp_path / "image.png")
    opened = decode._open(str(tmp_path / "image.png"), decode.Format(4, 4, 1, resize=False))
    assert opened.problem is not None
    assert "a TIFF image" in opened.problem


def test_pixels_and_labels_arrive_in_the_order_of_the_files(tmp_path: Path, image_folder: Path, spark: Any) -> None:
    source = load(image_folder, tmp_path, spark)
    assert source.train_images.shape == (20, 4, 6, 1)
    assert source.train_images[:, 0, 0, 0].tolist() == [*range(10), *range(200, 210)]
    assert source.train_labels.tolist() == [0] * 10 + [1] * 10
    assert source.labels == ("cat", "dog")
    assert source.test_images is None


def test_many_small_spark_jobs_give_the_same_as_one(
    tmp_path: Path, image_folder: Path, spark: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load(image_folder, tmp_path, spark)
    monkeypatch.setattr(decode, "_JOB_BYTES", 24 * 7)
    np.testing.assert_array_equal(load(image_folder, tmp_path, spark).train_images, whole.train_images)


def test_train_and_test_folders_are_both_decoded(tmp_path: Path, image_folder: Path, spark: Any) -> None:
    split = tmp_path / "split"
    split.mkdir()
    (split / "train").symlink_to(image_folder)
    (split / "test").symlink_to(image_folder)
    source = load(split, tmp_path, spark)
    assert source.test_images is not None
    np.testing.assert_array_equal(source.test_images, source.train_images)


def test_a_file_that_vanishes_while_the_folder_is_read_is_left_out_and_the_next_run_reads_again(
    tmp_path: Path, image_folder: Path, spark: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_many(image_folder / "dog", 30)
    monkeypatch.setattr(sources, "choose_format", lambda *_: (image_folder / "dog" / "9.png").unlink() or CATS)
    source = load(image_folder, tmp_path, spark)
    assert source.left_out == {"dog/9.png": "No such file or directory"}
    assert source.notes == (
        "left out 1 of 50 images that can't be decoded: dog/9.png (No such file or directory)",
        "the folder changed while it was read, so the next run reads it again",
    )
    assert source.fingerprint != sources.fingerprint(DatasetSection(source=str(image_folder)))


def _move(photos: Path) -> None:
    (photos / "dog").rename(photos.parent / "elsewhere")


def _move_all(photos: Path) -> None:
    photos.rename(photos.parent / "elsewhere")


def _empty(photos: Path) -> None:
    for path in (photos / "dog").iterdir():
        path.unlink()


def _write_again(photos: Path) -> None:
    for path in (photos / "cat").iterdir():
        path.write_bytes(path.read_bytes()[:30])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_move, "must be readable; got No such file or directory for .*/dog"),
        (_move_all, "must be readable; got No such file or directory"),
        (_empty, "dog must hold images"),
        (_write_again, "at most 5% of the images may be broken"),
    ],
)
def test_a_folder_that_changed_so_much_that_it_can_not_be_used_may_be_read_by_a_retry(
    tmp_path: Path, image_folder: Path, spark: Any, monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], None], told: str,
) -> None:  # fmt: skip
    classes = folder._classes

    def then_changed(path: Path) -> list[str]:
        found = classes(path)
        change(image_folder)
        return found

    monkeypatch.setattr(folder, "_classes", then_changed)
    with pytest.raises(ServiceError, match=rf"must stay as it is while it is read; it has changed, .*{told}"):
        load(image_folder, tmp_path, spark)


def test_a_folder_read_twice_has_every_image_where_it_was_although_it_grew(
    tmp_path: Path, image_folder: Path, spark: Any
) -> None:
    def split_of() -> dict[bytes, str]:
        section = DatasetSection(source=str(image_folder), channels=1, validation=0.3, test=0.3)
        shards.write(tmp_path / "out", load(image_folder, tmp_path, spark), section)
        return {row.tobytes(): split for split in SPLITS for row in shards.load_hashes(tmp_path / "out", split)}

    before = split_of()
    for name, base in (("cat", 20), ("dog", 220)):
        for number in range(10):
            Image.new("L", (6, 4), base + number).save(image_folder / name / f"0{number}.png")
            (image_folder / name / f"{number}.png").rename(image_folder / name / f"renamed{9 - number}.png")
    after = split_of()
    assert len(after) == 40
    assert {key: after[key] for key in before} == before


def test_scratch_files_vanish(tmp_path: Path, image_folder: Path, spark: Any) -> None:
    source = load(image_folder, tmp_path, spark)
    assert isinstance(source.train_images, np.memmap)
    assert list((tmp_path / "downloads").iterdir()) == []


def test_the_work_is_spread_over_the_slots(tmp_path: Path, image_folder: Path, spark: Any) -> None:
    listing = folder.list_images(image_folder)
    spark.sparkContext.setJobGroup("spread", "this test's jobs; the session is shared")
    decode.decode(listing.train, decode.Format(4, 6, 1, resize=False), tmp_path, spark)
    tracker = spark.sparkContext.statusTracker()
    jobs = [tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup("spread")]
    tasks = [
        tracker.getStageInfo(stage).numTasks for job in jobs for stage in job.stageIds if tracker.getStageInfo(stage)
    ]
    spark.sparkContext.setLocalProperty("spark.jobGroup.id", None)
    assert max(tasks) == 2


def test_a_photograph_turned_by_exif_has_its_upright_size(tmp_path: Path, spark: Any) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "turned" / name).mkdir(parents=True)
        image = Image.new("RGB", (8, 4))
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(tmp_path / "turned" / name / "1.jpg", exif=exif)
    assert load(tmp_path / "turned", tmp_path, spark).train_images.shape == (2, 8, 4, 1)
