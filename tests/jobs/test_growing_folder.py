"""A user's folder that grows, from drawn images to decisions, through the real jobs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from windrow.data import shards
from windrow.data.hashes import as_keys
from windrow.data.splits import SPLITS
from windrow.tracking.registry import answer

pytestmark = [pytest.mark.faults, pytest.mark.spark, pytest.mark.tensorflow, pytest.mark.mlflow]

SIDE = 12
PAGE = """
name: stripes
dataset: {{source: {folder}, image_size: 12, channels: 1}}
network: {{builder: dense, parameters: {{units: 32, batch_size: 32, learning_rate: {rate}}}}}
space: {{units: {{type: int, low: 24, high: 32}}}}
sweep: {{trials: 1, epochs: {epochs}, cores: 1}}
promotion: {{finalists: 1, minimum_improvement: 0.05, significant: true}}
"""
LEVELS = {"across": (0, 3), "along": (3, 0), "slanted": (2, 2), "steep": (1, 3)}


def draw(folder: Path, name: str, numbers: range) -> None:
    """Write noisy images of stripes in one direction: a class for a small network to find out slowly."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    for number in numbers:
        random = np.random.default_rng([number, *LEVELS[name]])
        turns = LEVELS[name][0] * rows + LEVELS[name][1] * columns
        wave = 40 * np.sin(2 * np.pi * (turns + 0.25 * random.random()))
        pixels = 128 + wave + random.normal(0, 100, (SIDE, SIDE))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name / f"{number}.png")


def sides(folder: Path) -> dict[bytes, str]:
    """The split of each image of a prepared data set."""
    return {key: split for split in SPLITS for key in as_keys(shards.load_hashes(folder, split))}


def test_a_champion_stays_until_a_better_one_comes_while_its_folder_grows(
    run_job: Callable[..., Any], tmp_path: Path, client: Any
) -> None:
    images, page = tmp_path / "images", tmp_path / "stripes.yaml"
    classes = ["across", "along", "slanted"]
    prepared: list[dict[bytes, str]] = []

    def train(epochs: int, rate: float = 3e-3) -> dict[str, Any]:
        """One run of the train DAG's jobs."""
        place = tmp_path / f"run-{len(prepared)}"
        page.write_text(PAGE.format(folder=images, epochs=epochs, rate=rate))
        dataset = run_job("prepare_dataset", "--experiment", page, "--out", place / "data")
        assert dataset.code == 0, dataset.output
        arguments = ("--experiment", page, "--dataset", place / "data", "--study", place / "study")
        for job in ("sweep", "promote_best"):
            finished = run_job(job, *arguments)
            assert finished.code == 0, finished.output
        prepared.append(sides(place / "data"))
        return dict(finished.result)

    def champion() -> str:
        return str(client.get_model_version_by_alias("stripes", "champion").version)

    for name in classes:
        draw(images, name, range(100))
    guessing = train(epochs=1, rate=1e-8)
    assert (guessing["decision"], guessing["champion_before"]) == ("kept", None)
    assert "may be guessing" in guessing["reason"]

    first = train(epochs=5)
    assert (first["decision"], champion()) == ("promoted", "2")
    assert first["figures"]["challenger"]["interval"]["low"] > first["baseline"]

    draw(images, "across", range(100, 101))
    worse = train(epochs=1, rate=1e-8)
    assert (worse["decision"], champion()) == ("kept", "2")

    for name in classes:
        draw(images, name, range(101, 500))
    better = train(epochs=10)
    assert better["compared_images"] == better["test_images"] > 200, "no test image was ever trained on"
    assert (better["decision"], champion()) == ("promoted", better["model_version"])
    compared = better["figures"]["champion"]
    assert compared["test_accuracy"] + 0.05 <= better["test_accuracy"]
    assert compared["challenger_against_it"]["p"] < 0.05

    draw(images, "steep", range(200))
    other = train(epochs=10)
    assert (other["decision"], champion()) == ("awaiting_approval", better["model_version"])
    assert other["compared_images"] < other["test_images"]
    assert other["reason"].endswith("the champion knows 3 of these 4 classes")
    assert other["champion_recorded_accuracy"] == better["test_accuracy"]
    answer("stripes", other["model_version"], True, "ada")
    assert champion() == other["model_version"]

    for earlier, later in pairwise(prepared):
        assert earlier.items() <= later.items()
