"""A user's folder that grows, from drawn images to decisions, through the real jobs."""

from __future__ import annotations

import json
import shutil
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
from windrow.selection.readout import readout
from windrow.tracking.models import fetch_model
from windrow.tracking.promotions.manual import answer

pytestmark = [pytest.mark.faults, pytest.mark.spark, pytest.mark.tensorflow, pytest.mark.mlflow]

SIDE = 12
PAGE = """
name: {name}
dataset: {{source: {folder}, image_size: 12, channels: 1}}
network: {{builder: dense, parameters: {{units: {units}, batch_size: 32, learning_rate: {rate}}}}}
space: {{units: {{type: int, low: 24, high: 32}}}}
sweep: {{trials: {trials}, epochs: {epochs}, cores: 1, schedule: 0 1 * * sun}}
promotion: {{finalists: 1, minimum_improvement: 0.05, significant: true}}
"""
CLASSES = ["across", "along", "slanted"]
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


class Growing:
    """A folder of the user's with its page, and the trainings on it, which the train DAG's jobs run.

    Attributes:
        prepared: the folder of each training's data set.
    """

    def __init__(self, run_job: Callable[..., Any], folder: Path, name: str, client: Any) -> None:
        self._run_job, self._folder, self._name, self._client = run_job, folder, name, client
        self.images, self.prepared = folder / "images", list[Path]()

    def train(self, epochs: int, rate: float = 3e-3, units: int = 32, trials: int = 1) -> dict[str, Any]:
        """Prepare, sweep and promote; the promotion's result."""
        values = {"epochs": epochs, "rate": rate, "units": units, "trials": trials}
        place, page = self._folder / f"run-{len(self.prepared)}", self._folder / "page.yaml"
        page.write_text(PAGE.format(name=self._name, folder=self.images, **values))
        dataset = self._run_job("prepare_dataset", "--experiment", page, "--out", place / "data")
        assert dataset.code == 0, dataset.output
        self.prepared.append(place / "data")
        arguments = ("--experiment", page, "--dataset", place / "data", "--study", place / "study")
        for job in ("sweep", "promote_best"):
            finished = self._run_job(job, *arguments)
            assert finished.code == 0, finished.output
        return dict(finished.result)

    @property
    def champion(self) -> str:
        """The version that is champion."""
        return str(self._client.get_model_version_by_alias(self._name, "champion").version)

    def points(self) -> dict[int, str]:
        """The units of the last training's trials, by number."""
        study = json.loads((self._folder / f"run-{len(self.prepared) - 1}" / "study" / "study.json").read_text())
        query = f"tags.mlflow.parentRunId = '{study['run_id']}' and tags.windrow.kind = 'trial'"
        runs = self._client.search_runs([study["experiment_id"]], query)
        return {int(run.data.tags["windrow.trial"]): run.data.params["units"] for run in runs}

    def check_sides(self) -> None:
        """No image may be in another split than before."""
        for earlier, later in pairwise(map(sides, self.prepared)):
            assert earlier.items() <= later.items()


def sides(folder: Path) -> dict[bytes, str]:
    """The split of each image of a prepared data set."""
    return {key: split for split in SPLITS for key in as_keys(shards.load_hashes(folder, split))}


def test_a_champion_stays_until_a_better_one_comes_while_its_folder_grows(
    run_job: Callable[..., Any], tmp_path: Path, client: Any
) -> None:
    growing = Growing(run_job, tmp_path, "stripes", client)
    for name in CLASSES:
        draw(growing.images, name, range(100))
    guessing = growing.train(epochs=1, rate=1e-8)
    assert (guessing["decision"], guessing["champion_before"]) == ("kept", None)
    assert "may be guessing" in guessing["reason"]

    first = growing.train(epochs=5)
    assert (first["decision"], growing.champion) == ("promoted", "2")
    assert first["figures"]["challenger"]["interval"]["low"] > first["baseline"]

    draw(growing.images, "across", range(100, 101))
    worse = growing.train(epochs=1, rate=1e-8)
    assert (worse["decision"], growing.champion) == ("kept", "2")

    for name in CLASSES:
        draw(growing.images, name, range(101, 500))
    better = growing.train(epochs=10)
    assert better["compared_images"] == better["test_images"] > 200, "no test image was ever trained on"
    assert (better["decision"], growing.champion) == ("promoted", better["model_version"])
    compared = better["figures"]["champion"]
    assert compared["test_accuracy"] + 0.05 <= better["test_accuracy"]
    assert compared["challenger_against_it"]["p"] < 0.05

    draw(growing.images, "steep", range(200))
    other = growing.train(epochs=10)
    assert (other["decision"], growing.champion) == ("awaiting_approval", better["model_version"])
    assert other["compared_images"] < other["test_images"]
    assert other["reason"].endswith("the champion does not know 1 class (steep)")
    assert other["champion_recorded_accuracy"] == better["test_accuracy"]
    answer("stripes", other["model_version"], True, "ada")
    assert growing.champion == other["model_version"]
    growing.check_sides()

    shutil.rmtree(growing.images / "steep")
    gone = growing.train(epochs=10, units=24, trials=2)
    assert growing.points() == {0: "24", 1: "32"}, "the page trains on a schedule: it tries what its champion had"
    assert (gone["decision"], growing.champion) == ("awaiting_approval", other["model_version"])
    assert gone["reason"].endswith("the champion knows 1 class (steep), now gone")


def test_of_ten_trainings_on_200_to_2000_images_no_champion_is_replaced_by_one_that_turns_out_worse(
    run_job: Callable[..., Any], tmp_path: Path, client: Any
) -> None:
    growing, champions = Growing(run_job, tmp_path, "waves", client), list[str]()
    for size, epochs in zip(range(200, 2001, 200), (6, 1, 6, 2, 12, 1, 3, 20, 2, 20), strict=True):
        for name in CLASSES:
            draw(growing.images, name, range((size - 200) // 3, size // 3))
        result = growing.train(epochs)
        assert result["decision"] in ("promoted", "kept"), result["reason"]
        if result["promoted"]:
            champions.append(result["model_version"])
    growing.check_sides()
    assert len(champions) >= 2
    last = growing.prepared[-1]
    files = [fetch_model(f"models:/waves/{version}", tmp_path / version).file for version in champions]
    errors = [readout(file.read_bytes(), last, 1).errors for file in files]
    assert errors == sorted(errors, reverse=True), "by the test split of all 2,000 images"
