"""reproduce.py by its command line: a version registered by the other jobs, trained again on real Spark from MLflow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.spark, pytest.mark.tensorflow, pytest.mark.mlflow]

Submit = Callable[..., Any]


@pytest.fixture
def client(mlflow_server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of the real server that the jobs of the test speak to."""
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    return mlflow.MlflowClient(mlflow_server, mlflow_server)


def promoted(submit: Submit, page: Path, folder: Path) -> dict[str, Any]:
    """What the jobs give for a page, up to a registered version."""
    arguments = ("--experiment", page, "--dataset", folder / "dataset", "--study", folder / "study")
    for job, own in (("prepare_dataset", ("--experiment", page, "--out", folder / "dataset")), ("sweep", arguments)):
        done = submit(job, *own)
        assert done.code == 0, done.output
    done = submit("promote_best", *arguments)
    assert done.code == 0, done.output
    return dict(done.result)


def reproduced(submit: Submit, folder: Path, model: str, version: object = 1) -> Any:
    return submit("reproduce", "--model", model, "--version", version, "--out", folder / "again")


def test_a_version_of_a_built_in_network_is_trained_again_to_the_same_bits(
    submit: Submit, page_file: Path, tmp_path: Path, client: Any
) -> None:
    page_file.write_text(page_file.read_text().replace("name: digits", "name: again"))
    promotion = promoted(submit, page_file, tmp_path)
    page_file.unlink()  # everything is in the record

    again = reproduced(submit, tmp_path, "again")
    assert again.code == 0, again.output
    tags = client.get_model_version("again", "1").tags
    assert again.result["bits_equal"] is True
    assert again.result["weights_sha256"] == again.result["recorded_weights_sha256"] == tags["windrow.weights"]
    assert again.result["again"] == pytest.approx(promotion["test_accuracy"], abs=1e-6)
    assert again.result["difference"] == pytest.approx(0, abs=1e-6)
    assert again.result["other_packages"] == {}
    assert "weights equal bit for bit" in again.output
