"""What a person sees of score_images.py: progress, figures and gallery in MLflow, and a drift gate that holds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Images, rows_of, scorings, write_feed

pytestmark = [
    pytest.mark.spark,
    pytest.mark.tensorflow,
    pytest.mark.mlflow,
]
Run = Callable[..., Any]
GATE = ("--set", "scoring.drift_gate=0.25", "--set", "scoring.timeout_seconds=20")


def urls_of(address: str, levels: range, zeros: int) -> list[str]:
    """A URL a grey level; `zeros` tells the same level's apart."""
    return [f"{address}/{'0' * zeros}{level}.png" for level in levels]


def artifact(run: Any, name: str) -> str:
    import mlflow

    return str(mlflow.artifacts.load_text(f"{run.info.artifact_uri}/{name}"))


@pytest.mark.usefixtures("champion")
def test_a_night_is_seen_while_it_runs_and_after_and_one_that_drifts_waits_for_a_person(
    run_job: Run, page: Path, images: Images, tmp_path: Path
) -> None:
    from deltalake import DeltaTable

    home = tmp_path / "home"
    table = home / "tables" / "brightness"
    usual = [*urls_of(images.address, range(10, 250), 0), f"{images.address}/absent.png", "ftp://127.0.0.1/<script>"]
    write_feed(home, "one.txt", *usual)
    first = run_job("score_images", "--experiment", page, *GATE)
    assert first.code == 0, first.output
    lines = re.findall(r"^\[[\d,]+/242\] .*$", first.output, re.MULTILINE)
    assert re.match(r"\[242/242\] 240 ok; 2 failed: 1 \w+, 1 \w+; [\d.]+ images a second", lines[-1]), lines
    check_figures(first.result)
    (run,) = scorings()
    assert run.data.metrics["p95_fetch_ms"] >= run.data.metrics["p50_fetch_ms"] > 0
    assert 0 < run.data.metrics["share_of_ceiling"] <= 1
    assert "240 of 242 URLs labelled by brightness version 1" in run.data.tags["mlflow.note.content"]
    assert json.loads(artifact(run, "figures.json"))["scores"] == first.result["scores"]
    gallery = artifact(run, "gallery.html")
    assert gallery.count("<img") == 60
    assert "<script" not in gallery
    assert len(json.dumps(DeltaTable(str(table)).history(1)[0])) < 4096
    assert [path.name for path in (table / "_windrow").glob("album-*")] == []

    dark = (
        urls_of(images.address, range(10, 110), 1)
        + urls_of(images.address, range(10, 110), 2)
        + urls_of(images.address, range(10, 20), 3)
    )
    write_feed(home, "two.txt", *dark)
    for _ in range(2):  # as Airflow tries again
        asked = len(images.paths)
        second = run_job("score_images", "--experiment", page, *GATE)
        assert second.code == 1
        last = second.error
        assert re.match(r"error: the labels moved by \d\.\d+ \(\w+ most, from \d+\.\d% to", last), second.output
        assert "210 rows are withheld" in last
        assert "--accept-drift" in last
        assert sorted(rows_of(table)) == sorted(usual)
    assert len(images.paths) == asked  # the second try asked nobody
    assert [run.info.status for run in scorings()] == ["FINISHED", "FAILED"]
    assert scorings()[1].data.metrics["psi_labels"] > 0.25
    assert "Withheld" in scorings()[1].data.tags["mlflow.note.content"]

    third = run_job("score_images", "--experiment", page, *GATE, "--accept-drift")
    assert third.code == 0, third.output
    assert len(images.paths) == asked
    assert (third.result["new"], third.result["drift_accepted"]) == (210, True)
    assert sorted(rows_of(table)) == sorted([*usual, *dark])
    assert [run.info.status for run in scorings()] == ["FINISHED", "FINISHED"]
    assert third.result["run_id"] == scorings()[1].info.run_id
    assert not (table / "_windrow" / "withheld").exists()
    assert len(list((table / "_windrow" / "galleries").iterdir())) == 1

    fourth = run_job("score_images", "--experiment", page, *GATE)
    assert (fourth.code, fourth.result["rows"]) == (0, 0), fourth.output


def check_figures(result: dict[str, Any]) -> None:
    assert sum(result["scores"]) == sum(result["labels"].values()) == 240
    assert set(result["labels"]) == {"dark", "bright"}
    assert [each["host"] for each in result["hosts"]] == ["127.0.0.1"]
    assert (result["hosts"][0]["failed"], result["hosts"][0]["asked"]) == (1, 241)
    assert result["psi_labels"] is None
    assert "no earlier run" in result["drift"]["reason"]
