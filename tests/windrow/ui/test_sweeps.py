"""A sweep for the page: which one, how far, and the best of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from windrow.data import manifest as manifests
from windrow.data.manifest import Manifest
from windrow.errors import AbsentError
from windrow.sweep.outcomes import Ending
from windrow.sweep.study import Study
from windrow.ui import sweeps

from .conftest import end

MANIFEST = Manifest(
    name="photos", source="/data/photos", digest="d" * 64, shape=(4, 4, 3), labels=("cat", "dog"),
    splits={"train": 5, "validation": 4, "test": 4}, files={}, settings={},
    class_counts={"validation": {"cat": 1, "dog": 3}}, warnings=("4 test images:\nfew", f"long {'word ' * 100}"),
)  # fmt: skip

Opened = Callable[..., AbstractContextManager[Study]]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """The runs of train_digits."""
    folder = tmp_path / "train_digits"
    folder.mkdir()
    return folder


def test_the_page_says_how_far_it_is_and_which_trials_are_best(opened: Opened, runs: Path) -> None:
    with opened(runs / "r1" / "study", trials=5) as study:
        for value in (0.7, 0.9, 0.8):
            asked = study.ask()
            assert asked
            end(study, asked, value=value)
        asked = study.ask()
        assert asked
        end(study, asked, Ending.DIVERGED)
        study.ask()
        shown = sweeps.show(sweeps.choose(runs, None), most=2)
    assert [(line["rank"], line["trial"], line["value"]) for line in shown["best"]] == [(1, 1, 0.9), (2, 2, 0.8)]
    assert (shown["ranked"], shown["finished"], shown["training"], shown["budget"]) == (3, 4, 1, 5)
    assert shown["outcomes"] == {"ok": 3, "diverged": 1}
    assert shown["seconds_left"] == 1.5
    assert shown["heat_map"]["trials"] == 4


@pytest.mark.parametrize(
    ("task", "stopped"),
    [
        *((state, True) for state in ("failed", "upstream_failed", "skipped", "removed")),
        *((state, False) for state in (None, "queued", "running", "up_for_retry", "success")),
    ],
)
def test_a_sweep_whose_task_was_killed_trains_no_longer(
    opened: Opened, runs: Path, task: str | None, stopped: bool
) -> None:
    with opened(runs / "r1" / "study") as study:
        study.ask()
    shown = sweeps.show(sweeps.choose(runs, "r1"), task=task)
    assert (shown["stopped"], shown["training"], shown["waiting"]) == (
        stopped,
        0 if stopped else 1,
        1 if stopped else 0,
    )


def test_where_the_objective_is_a_loss_the_least_is_best(opened: Opened, runs: Path) -> None:
    with opened(runs / "r1" / "study", objective="val_loss") as study:
        for value in (0.7, 0.2, 0.4):
            asked = study.ask()
            assert asked
            end(study, asked, value=value)
    shown = sweeps.show(sweeps.choose(runs, "r1"))
    assert ([line["value"] for line in shown["best"]], shown["falls"]) == ([0.2, 0.4, 0.7], True)


def test_macro_f1_is_graded_as_accuracy_is(opened: Opened, runs: Path) -> None:
    shown = {}
    for objective in ("val_accuracy", "val_macro_f1", "val_loss"):
        with opened(runs / objective / "study", trials=6, objective=objective) as study:
            for value in (0.7, 0.99, 0.999, 0.5, 0.9, 0.1):
                asked = study.ask()
                assert asked
                end(study, asked, value=value)
        shown[objective] = sweeps.show(sweeps.choose(runs, objective))
    assert shown["val_macro_f1"]["objective"] == "val_macro_f1"
    assert shown["val_macro_f1"]["heat_map"] == shown["val_accuracy"]["heat_map"] != shown["val_loss"]["heat_map"]


def test_guessing_and_the_warnings_are_those_of_the_runs_data_set(opened: Opened, runs: Path) -> None:
    for objective in ("val_accuracy", "val_loss"):
        with opened(runs / objective / "study", objective=objective):
            pass
        manifests.write(runs / objective / "dataset", MANIFEST)
    shown = sweeps.show(sweeps.choose(runs, "val_accuracy"))
    assert (shown["guessing"], shown["warnings"]) == (0.75, ["4 test images: few", f"long {'word ' * 58}..."])
    assert sweeps.show(sweeps.choose(runs, "val_loss"))["guessing"] is None, "an accuracy is no loss"


@pytest.mark.parametrize("content", [None, "{}", "no JSON"])
def test_a_sweep_whose_data_set_is_gone_or_broken_is_shown_without_them(
    opened: Opened, runs: Path, content: str | None
) -> None:
    with opened(runs / "r1" / "study"):
        pass
    if content is not None:
        (runs / "r1" / "dataset").mkdir()
        (runs / "r1" / "dataset" / "manifest.json").write_text(content)
    shown = sweeps.show(sweeps.choose(runs, "r1"))
    assert (shown["guessing"], shown["warnings"]) == (None, [])


def test_nothing_of_an_error_or_of_the_disk_is_shown(opened: Opened, runs: Path) -> None:
    with opened(runs / "r1" / "study") as study:
        asked = study.ask()
        assert asked
        end(study, asked, Ending.FAILED)
        text = json.dumps(sweeps.show(sweeps.choose(runs, "r1")))
    assert "secret" not in text
    assert str(runs) not in text


def test_the_axes_are_those_that_were_asked_for_and_never_the_same_twice(opened: Opened, runs: Path) -> None:
    with opened(runs / "r1" / "study") as study:
        for _ in range(3):
            asked = study.ask()
            assert asked
            end(study, asked)
    sweep = sweeps.choose(runs, "r1")
    for x, y, expected in (
        (None, None, ("learning_rate", "units")),
        ("units", None, ("units", "learning_rate")),
        ("units", "units", ("units", "learning_rate")),
        ("no_such", "learning_rate", ("units", "learning_rate")),
    ):
        found = sweeps.show(sweep, x=x, y=y)["heat_map"]
        assert (found["x"], found["y"]) == expected


def test_a_sweep_that_has_just_begun_is_shown_without_a_heat_map(opened: Opened, runs: Path) -> None:
    with opened(runs / "r1" / "study") as study:
        assert sweeps.show(sweeps.choose(runs, "r1"))["trials"] == 0
        study.ask()
        shown = sweeps.show(sweeps.choose(runs, "r1"))
    assert (shown["trials"], shown["best"]) == (1, [])
    assert "absent" in shown["heat_map"]


def test_the_newest_sweep_is_the_one_whose_ledger_changed_last(opened: Opened, runs: Path) -> None:
    for place, name in enumerate(("b", "c", "a")):
        with opened(runs / name / "study"):
            pass
        os.utime(runs / name / "study" / "ledger.db", (1000 + place, 1000 + place))
    assert [sweep.key for sweep in sweeps.find(runs)] == ["a", "c", "b"]
    assert sweeps.choose(runs, None).key == "a"


def test_a_run_is_named_after_its_kind_and_its_moment(tmp_path: Path) -> None:
    made = sweeps.Sweep("asset_triggered__2026-11-25T16-33-36.759816-00-00-45634b0a", tmp_path)
    assert made.words == "asset triggered, 2026-11-25 16:33 UTC"
    assert sweeps.Sweep("by-hand", tmp_path).words == "by-hand"


def test_before_the_first_sweep_it_is_said_what_to_trigger(runs: Path) -> None:
    with pytest.raises(AbsentError, match="Trigger train_digits"):
        sweeps.choose(runs, None)
    with pytest.raises(AbsentError, match="Trigger train_mnist"):
        sweeps.choose(runs.parent / "train_mnist", None)


@pytest.mark.parametrize("key", ["..", ".", "", "../train_digits/r1", "/etc", "a\0b", "none"])
def test_no_name_leads_out_of_the_runs(opened: Opened, runs: Path, key: str) -> None:
    with opened(runs / "study"):  # what ".." would find
        pass
    with pytest.raises(AbsentError):
        sweeps.choose(runs, key)
