"""What is found out about a folder of images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from windrow.errors import DatasetError
from windrow.laptop.page.look import SIDES, choose_side, look

Draw = Callable[..., Path]


def test_classes_are_counted_in_their_order_and_sizes_are_medians(drawn: Draw) -> None:
    folder = drawn({"sandal": 2, "boot": 6}, size=(64, 48))
    found = look(folder)
    assert list(found.classes.items()) == [("boot", 6), ("sandal", 2)]
    assert (found.images, found.width, found.height, found.channels) == (8, 64, 48, 3)
    assert found.guessing == 0.75
    assert (found.side, found.own_test, found.broken) == (48, False, 0)
    assert found.folder == folder.resolve()


@pytest.mark.parametrize("kept", ["L", "RGB"])
def test_grey_images_are_grey_however_they_are_kept(kept: str, drawn: Draw) -> None:
    folder = drawn({"a": 2, "b": 2}, mode="L")
    for path in folder.rglob("*.png"):
        Image.open(path).convert(kept).save(path.with_suffix(".jpg" if kept == "RGB" else ".png"))
    assert look(folder).channels == 1


def test_one_image_in_colour_makes_a_folder_of_colour(drawn: Draw) -> None:
    folder = drawn({"a": 3, "b": 3}, mode="L")
    Image.new("RGB", (64, 48), "red").save(folder / "b" / "z.png")
    assert look(folder).channels == 3


def test_images_that_cannot_be_opened_are_counted(drawn: Draw) -> None:
    folder = drawn({"a": 3, "b": 3})
    (folder / "b" / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    found = look(folder)
    assert (found.broken, found.opened, found.images) == (1, 7, 7)


@pytest.mark.parametrize(("count", "opened"), [(199, 199), (201, 200), (399, 200)])
def test_of_many_images_200_are_opened_and_of_large_ones_the_pixels_of_20(
    drawn: Draw, monkeypatch: pytest.MonkeyPatch, count: int, opened: int
) -> None:
    folder, decoded = drawn({"a": count - 1, "b": 1}, size=(4, 4), mode="L"), []
    monkeypatch.setattr("windrow.laptop.page.look._is_grey", lambda path: decoded.append(path) or True)
    assert look(folder).opened == len(decoded) == opened
    decoded.clear()
    monkeypatch.setattr("windrow.laptop.page.look._PIXELS", 16 * 19)
    found = look(folder)
    assert (found.opened, len(decoded), len(set(decoded))) == (opened, 20, 20)
    assert decoded[0].parent == folder / "a"


def test_an_image_that_is_cut_off_after_its_header_does_not_decide_about_colour(drawn: Draw) -> None:
    folder = drawn({"a": 2, "b": 2}, mode="L")
    Image.new("RGB", (400, 400), "red").save(folder / "a" / "cut.jpg")
    (folder / "a" / "cut.jpg").write_bytes((folder / "a" / "cut.jpg").read_bytes()[:700])
    assert look(folder).channels == 1


def test_a_test_split_of_its_own_is_seen(drawn: Draw) -> None:
    folder = drawn({"train/a": 2, "train/b": 2, "test/a": 1, "test/b": 1})
    found = look(folder)
    assert (found.own_test, dict(found.classes)) == (True, {"a": 2, "b": 2})


@pytest.mark.parametrize(
    ("sizes", "side"),
    [
        ([(28, 28)] * 3, 28),
        ([(28, 28), (28, 30)], 16),
        ([(8, 8)], 8),
        ([(3, 3)], SIDES[0]),
        ([(640, 480)], 96),
        ([(50, 70), (70, 50)], 48),
    ],
)
def test_small_square_images_keep_their_size_and_others_become_no_larger(
    sizes: list[tuple[int, int]], side: int
) -> None:
    assert choose_side(sizes) == side


def test_what_holds_no_classes_is_refused_with_what_to_do(drawn: Draw, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="FOLDER must be a folder with one folder of images per class; got"):
        look(tmp_path / "none")
    with pytest.raises(DatasetError, match="at least two classes; got only 'only'; add images of another class"):
        look(drawn({"only": 2}))


def test_a_folder_without_an_image_that_opens_is_refused(drawn: Draw) -> None:
    folder = drawn({"a": 1, "b": 1})
    for path in folder.rglob("*.png"):
        path.write_bytes(b"GIF89a")
    with pytest.raises(DatasetError, match="must hold images that can be opened; got none"):
        look(folder)
