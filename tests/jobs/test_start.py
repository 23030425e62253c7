"""What a sweep does before its first trial: the slow steps are under way at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import windrow.spark
from windrow.sweep import cluster
from windrow.tracking import server, sweep_log

pytestmark = [pytest.mark.spark, pytest.mark.tensorflow, pytest.mark.mlflow]

HANGING_SECONDS = 100
"""When a step that is alone gives up waiting for the other one."""


def meet(patch: pytest.MonkeyPatch, *steps: tuple[ModuleType, str]) -> threading.Barrier:
    """Let each step begin its work only once all of them have been called: one that waits for another never does."""
    met = threading.Barrier(len(steps), timeout=HANGING_SECONDS)
    for module, name in steps:
        patch.setattr(module, name, once_met(getattr(module, name), met))
    return met


def once_met(step: Callable[..., Any], met: threading.Barrier) -> Callable[..., Any]:
    calls: list[object] = []

    def call(*arguments: Any, **more: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 1:
            met.wait()
        return step(*arguments, **more)

    return call


def test_mlflow_is_imported_while_spark_starts_and_tensorflow_while_mlflow_opens(
    run_job: Callable[..., Any], digits: Path, page_file: Path, tmp_path: Path, client: Any
) -> None:
    arguments = ("--experiment", page_file, "--dataset", digits, "--study", tmp_path / "study")
    with pytest.MonkeyPatch.context() as patch:
        met = [
            meet(patch, (server, "connect"), (windrow.spark, "open_session")),
            meet(patch, (cluster, "warm"), (sweep_log, "open_sweep")),
        ]
        finished = run_job("sweep", *arguments, "--set", "sweep.trials=2", "--set", "sweep.epochs=1")
    assert finished.code == 0, finished.output
    assert finished.result["outcomes"] == {"ok": 2}
    assert not any(each.broken for each in met)
