"""The album: which pictures are kept and chosen, and that neither depends on how a run was divided."""

from __future__ import annotations

import base64
import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness.predictions import labelled_row
from PIL import Image
from windrow.scoring.report import album
from windrow.scoring.report.album import Album
from windrow.scoring.table.prediction import Prediction


def row(number: int, label: str = "a", score: float | None = None) -> Prediction:
    chosen = (number % 997) / 1000 if score is None else score
    return labelled_row(f"http://example.com/{number}", [0, 1], [chosen, 0.01], (label, "second"))


def pixels(level: int = 9, side: int = 8, channels: int = 1) -> np.ndarray[Any, Any]:
    return np.full((side, side, channels), level % 256, np.uint8)


def filled(folder: Path, rows: list[Prediction], tasks: int, share: float = 1.0) -> Album:
    """An album that so many tasks have filled, each with every so-manyth row."""
    made = Album(str(folder), share)
    for task in range(tasks):
        page = made.page()
        for each in rows[task::tasks]:
            page.offer(each, pixels())
        page.write(task)
    return made


def urls(pictures: Any) -> list[str]:
    return [picture.url for picture in pictures]


def test_what_is_chosen_does_not_depend_on_how_the_run_was_divided_nor_in_which_order(tmp_path: Path) -> None:
    rows = [row(number, label="abc"[number % 3]) for number in range(3000)]
    one = album.choose(filled(tmp_path / "one", rows, 1, 0.05))
    random.Random(5).shuffle(rows)
    many = album.choose(filled(tmp_path / "many", rows, 7, 0.05))
    assert one == many
    assert len({*urls(one.unsure), *urls(one.examples), *urls(one.sample)}) == 60
    assert len(one.examples) == 6


def test_the_least_sure_of_all_tasks_are_chosen_with_the_lowest_first(tmp_path: Path) -> None:
    rows = [row(number, score=number / 1000) for number in range(1000)]
    random.Random(1).shuffle(rows)
    chosen = album.choose(filled(tmp_path, rows, 5, share=0.0))
    assert urls(chosen.unsure) == [f"http://example.com/{number}" for number in range(album.UNSURE)]


def test_of_equal_scores_the_smallest_keys_are_chosen(tmp_path: Path) -> None:
    rows = [row(number, score=1.0) for number in range(500)]
    keys = sorted(each.url_key for each in rows)
    for tasks in (1, 4):
        chosen = album.choose(filled(tmp_path / str(tasks), rows, tasks, share=0.0))
        assert [picture.url_key for picture in chosen.unsure] == keys[: album.UNSURE]


def test_the_sample_is_as_large_whatever_the_run(tmp_path: Path) -> None:
    for count in (100, 20_000):
        with album.of_run(tmp_path, "r", count) as made:
            page = made.page()
            for number in range(count):
                page.offer(row(number), pixels())
            assert abs(len(page._sample) - min(count, album.POOL)) <= (0 if count == 100 else 40)


def test_a_task_that_runs_again_replaces_what_its_first_try_wrote(tmp_path: Path) -> None:
    made = Album(str(tmp_path), 1.0)
    for numbers in ((1, 2, 3), (3, 4)):
        page = made.page()
        for number in numbers:
            page.offer(row(number), pixels())
        page.write(0)
    assert sorted(urls(album.choose(made).unsure)) == ["http://example.com/3", "http://example.com/4"]
    assert [path.name for path in tmp_path.iterdir()] == ["0.jsonl"]


def test_a_disk_that_takes_no_picture_costs_nothing_but_pictures(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    page = Album(str(tmp_path / "file"), 1.0).page()
    page.offer(row(1), pixels())
    page.write(0)
    assert not any(urls(kind) for kind in vars(album.choose(Album(str(tmp_path / "absent"), 1.0))).values())


def test_an_album_is_removed_with_its_run_and_so_are_those_of_killed_runs(tmp_path: Path) -> None:
    with album.of_run(tmp_path, "new", 10) as made:
        for folder in (Path(made.folder), tmp_path / "_windrow" / "album-killed"):
            folder.mkdir(parents=True)
    assert list((tmp_path / "_windrow").iterdir()) == []


@pytest.mark.parametrize("channels", [1, 3])
def test_a_small_picture_is_kept_pixel_by_pixel(channels: int) -> None:
    given = np.random.default_rng(0).integers(0, 256, (8, 6, channels), np.uint8)
    uri, width, height = album.thumbnail(given)
    assert (width, height) == (6, 8)
    found = np.asarray(opened(uri, "data:image/png;base64,"))
    assert (found.reshape(given.shape) == given).all()


def test_a_large_one_becomes_a_small_jpeg() -> None:
    given = np.random.default_rng(0).integers(0, 256, (299, 150, 3), np.uint8)
    uri, width, height = album.thumbnail(given)
    assert (width, height) == (64, 128)
    assert opened(uri, "data:image/jpeg;base64,").size == (64, 128)
    assert len(uri) < 12_000


def opened(uri: str, prefix: str) -> Image.Image:
    assert uri.startswith(prefix)
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix(prefix))))
