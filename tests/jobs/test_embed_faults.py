"""embed_images.py is killed, meets a full disk, and runs twice at once: what is written is not computed again."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness.disk import small_disk
from harness.features import FEATURES, noise, prepare, save_backbone, write_page
from harness.jobs import JOBS, submit_command, submit_environment
from harness.waiting import wait_for
from windrow.data import features

pytestmark = [pytest.mark.faults, pytest.mark.spark, pytest.mark.tensorflow]
MANY = 20_000
ONE_VIEW = ("--set", "network.parameters.views=1")


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return write_page(tmp_path, save_backbone(tmp_path / "small.keras"))


def launch(page: Path, dataset: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start the job by spark-submit, in a process group of its own."""
    arguments = ("--experiment", page, "--dataset", dataset, *ONE_VIEW)
    with log.open("wb") as output:
        command = submit_command(JOBS / "embed_images.py", *arguments)
        return subprocess.Popen(
            command, env=submit_environment(), stdout=output, stderr=output, start_new_session=True, cwd=page.parent
        )


def stored(home: Path) -> int:
    """Features that are in the cache, of all images."""
    return sum(len(np.load(path, allow_pickle=False)) for path in home.glob("features/*/*.block"))


def all_values(folder: Path) -> Any:
    """The features of all splits."""
    return np.concatenate([features.load_split(folder, split)[0] for split in ("train", "validation", "test")])


@pytest.mark.submit
def test_a_job_that_is_killed_goes_on_with_what_it_had_not_computed(
    run_job: Callable[..., Any], tmp_path: Path, page: Path
) -> None:
    folder, home = prepare(tmp_path / "data", noise(MANY)), tmp_path / "home"
    process = launch(page, folder, tmp_path / "log")
    try:
        wait_for(lambda: stored(home) > 2000 or process.poll() is not None, 240, 0.005, (tmp_path / "log").read_text)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
    kept = stored(home)
    assert 2000 < kept < MANY, (tmp_path / "log").read_text()
    assert not (folder / "features.json").exists()
    again = run_job("embed_images", "--experiment", page, "--dataset", folder, *ONE_VIEW)
    assert again.code == 0, again.output
    assert again.result["computed"] == MANY - kept
    assert all_values(folder).shape == (MANY, 1, FEATURES)


def test_a_full_disk_ends_the_job_with_a_sentence_and_a_larger_one_goes_on(
    run_job: Callable[..., Any], tmp_path: Path, page: Path
) -> None:
    folder = prepare(tmp_path / "data", noise(MANY, first=MANY))
    with small_disk(tmp_path / "home", mebibytes=1) as home:
        job = ("embed_images", "--experiment", page, "--dataset", folder, *ONE_VIEW)
        full = run_job(*job)
        assert full.code == 1
        assert "must have room for the data; got no space left; free some, or choose another folder" in full.error
        kept = stored(home)
        assert 0 < kept < MANY
        subprocess.run(["mount", "-o", "remount,size=16m", str(home)], check=True)
        again = run_job(*job)
        assert again.code == 0, again.output
        assert again.result["computed"] == MANY - kept


@pytest.mark.submit
def test_two_jobs_on_the_same_images_at_once_end_with_the_same_features(tmp_path: Path, page: Path) -> None:
    folders = [prepare(tmp_path / name, noise(3000)) for name in ("one", "two")]
    jobs = [launch(page, folder, tmp_path / f"log-{folder.name}") for folder in folders]
    for process, folder in zip(jobs, folders, strict=True):
        assert process.wait(500) == 0, (tmp_path / f"log-{folder.name}").read_text()
    first, second = map(all_values, folders)
    assert np.abs(first - second).max() < 1e-3
    assert features.read(folders[0]).digest == features.read(folders[1]).digest
