"""Which experiments a reader is offered."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from windrow.errors import AbsentError
from windrow.ui import experiments


def test_only_what_the_reader_may_read_is_offered(tmp_path: Path) -> None:
    readable = {"train_digits", "score_mnist", "other", "train_model"}
    assert experiments.listed(readable, ["digits", "mnist", "secret"], tmp_path) == [
        {"name": "digits", "train": "train_digits", "score": None},
        {"name": "mnist", "train": None, "score": "score_mnist"},
    ]


def test_an_experiment_whose_page_is_gone_is_offered_while_its_runs_are_there(tmp_path: Path) -> None:
    (tmp_path / "runs" / "train_old").mkdir(parents=True)
    found = experiments.listed({"train_old", "score_old"}, [], tmp_path)
    assert found == [{"name": "old", "train": "train_old", "score": "score_old"}]


def test_the_one_at_which_something_happened_last_comes_first(tmp_path: Path) -> None:
    for place, name in enumerate(("b", "a")):
        folder = tmp_path / "runs" / f"train_{name}"
        folder.mkdir(parents=True)
        os.utime(folder, (1000 - place, 1000 - place))
    (tmp_path / "tables" / "c" / "_delta_log").mkdir(parents=True)
    found = experiments.listed({"train_a", "train_b", "score_c", "train_d"}, ["d"], tmp_path)
    assert [one["name"] for one in found] == ["c", "b", "a", "d"]


def test_a_dag_of_another_name_is_none_of_ours() -> None:
    assert experiments.name_of("score_fashion_mnist") == ("score", "fashion_mnist")
    for other in ("digits", "train_../x", "train_", "maintain_digits", "train_Digits"):
        with pytest.raises(AbsentError):
            experiments.name_of(other)
