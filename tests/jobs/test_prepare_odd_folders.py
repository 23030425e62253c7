"""prepare_dataset.py on folders as people have them: copies, a class of one image, images that vanish or are equal."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from windrow.data import shards, sources

pytestmark = pytest.mark.spark
Prepare = Callable[..., Any]


@pytest.fixture
def prepare(run_job: Callable[..., Any], tmp_path: Path) -> Prepare:
    """Run the job on the test's own folder `images`; into another folder than `out` where it is told."""
    page = tmp_path / "page.yaml"
    page.write_text(
        f"name: odd\ndataset: {{source: {tmp_path / 'images'}}}\nspace: {{units: {{type: int, low: 8, high: 9}}}}"
    )

    def run(*overrides: str, out: str = "out") -> Any:
        settings = [word for override in overrides for word in ("--set", override)]
        return run_job("prepare_dataset", "--experiment", page, "--out", tmp_path / out, *settings)

    return run


def draw(folder: Path, name: str, count: int, *, seed: int) -> None:
    """Write noise, which is like no other image."""
    (folder / name).mkdir(parents=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 9, 8), np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / name / f"{number:02}.png")


def test_copies_are_kept_together_and_ten_of_their_pairs_are_named_and_so_are_near_copies(
    prepare: Prepare, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    draw(images, "Bär", 60, seed=1)
    draw(images, "Hund", 60, seed=2)
    for number in range(12):
        shutil.copy(images / "Bär" / f"{number:02}.png", images / "Bär" / f"copy-{number:02}.png")
    for number in range(60):  # one of each pair is a test image, or none
        near = np.asarray(Image.open(images / "Hund" / f"{number:02}.png")) // 2 * 2
        Image.fromarray(near).save(images / "Hund" / f"near-{number:02}.png")
    done = prepare()
    assert done.code == 0, done.output
    copies = done.result["copies"]
    assert (copies["groups"], copies["images"], done.result["left_out"]) == (12, 24, 0)
    assert copies["examples"] == [[f"Bär/{number:02}.png", f"Bär/copy-{number:02}.png"] for number in range(10)]
    split = {name: one for one in ("train", "validation", "test") for name in shards.load_names(tmp_path / "out", one)}
    for number in range(12):
        assert split[f"Bär/{number:02}.png"] == split[f"Bär/copy-{number:02}.png"]
    near = done.result["near_copies"]
    assert near["images"] > 0
    assert all({split[test], split[other]} != {"test"} for test, other in near["examples"])
    assert {other.replace("near-", "") for _, other in near["examples"]} == {
        test.replace("near-", "") for test, _ in near["examples"]
    }
    tests = done.result["splits"]["test"]
    (sentence,) = [warning for warning in done.result["warnings"] if f"{tests} test images" in warning]
    assert f"warning: {sentence}" in done.output
    assert "24 images have the same pixels as another one, e.g. Bär/00.png = Bär/copy-00.png; Bär/01.png" in done.output
    assert (
        f"{near['images']} test images look nearly like an image of training or validation, so the test accuracy may "
        "be too high; remove one of each, e.g. "
    ) in done.output
    assert '"Bär/copy-00.png"' in done.output, "letters of the user's language are printed as they are"


def test_a_class_of_one_image_is_prepared_with_a_warning_or_refused_with_the_numbers(
    prepare: Prepare, tmp_path: Path
) -> None:
    """By the page's seed the only image is a training image, or it is not and the class can't be learned."""
    draw(tmp_path / "images", "cat", 30, seed=1)
    draw(tmp_path / "images", "dog", 30, seed=2)
    draw(tmp_path / "images", "emu", 1, seed=3)
    found = [prepare(f"dataset.seed={seed}", out=f"out-{seed}") for seed in range(5)]
    done = [one for one in found if one.code == 0]
    refused = [one for one in found if one.code == 2]
    assert (len(done) + len(refused), bool(done), bool(refused)) == (5, True, True)
    for one in done:
        assert one.result["class_counts"]["train"]["emu"] == 1
        for split in ("validation", "test"):
            (told,) = [text for text in one.result["warnings"] if f"1 of 3 classes without a {split} image" in text]
            assert "emu" in told
    for one in refused:
        assert "every class needs a training image; got emu" in one.error
        assert "choose another dataset.seed" in one.error


def test_images_that_are_all_equal_are_refused_with_the_names_of_two(prepare: Prepare, tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(5):
            Image.new("L", (8, 9), 7).save(tmp_path / "images" / name / f"{number}.png")
    done = prepare()
    assert done.code == 2
    assert "images must differ; got 10 with the same pixels, e.g. cat/0.png and dog/4.png;" in done.error


def test_a_file_that_vanishes_while_the_folder_is_read_is_reported_and_the_next_run_reads_it_again(
    prepare: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tmp_path / "images"
    draw(images, "cat", 30, seed=1)
    draw(images, "dog", 30, seed=2)
    listed = sources.choose_format
    with monkeypatch.context() as patch:
        patch.setattr(sources, "choose_format", lambda *some: (images / "dog" / "09.png").unlink() or listed(*some))
        first = prepare()
    assert (first.code, first.result["left_out"]) == (0, 1), first.output
    assert "left out 1 of 60 images that can't be decoded: dog/09.png (No such file or directory)" in first.output
    assert "warning: the folder changed while it was read, so the next run reads it again" in first.output
    second = prepare()
    assert (second.code, second.result["left_out"], second.result["digest"]) == (0, 0, first.result["digest"])
    assert "the folder changed" not in second.output
