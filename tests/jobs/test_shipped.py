"""Executors get no address and no credentials: what a scoring and a sweep send to them is read for both."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Images, write_feed

pytestmark = [pytest.mark.spark, pytest.mark.tensorflow, pytest.mark.mlflow]
SECRETS = {
    "MLFLOW_TRACKING_USERNAME": "name-of-mlflow-4711",
    "MLFLOW_TRACKING_PASSWORD": "password-of-mlflow-4711",
    "AWS_ACCESS_KEY_ID": "key-of-the-store-4711",
    "AWS_SECRET_ACCESS_KEY": "secret-of-the-store-4711",
    "AIRFLOW_CONN_SPARK_DEFAULT": "spark://user:password-of-airflow-4711@127.0.0.1",
    "AIRFLOW__CORE__FERNET_KEY": "fernet-key-of-airflow-4711",
}
"""What a driver may have in its environment. No executor does, and none may get it in another way."""


@pytest.fixture
def pickled(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Everything that PySpark pickles for executors from now on: closures with what they hold, and data."""
    from pyspark.serializers import CloudPickleSerializer

    found: list[bytes] = []
    real = CloudPickleSerializer.dumps

    def dumps(self: Any, obj: Any) -> bytes:
        found.append(real(self, obj))
        return found[-1]

    monkeypatch.setattr(CloudPickleSerializer, "dumps", dumps)
    return found


@pytest.fixture
def splits_sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The splits of data sets that jobs send to executors from now on."""
    from windrow.sweep import cluster

    found: list[str] = []
    real = cluster.ship

    def ship(spark: Any, folder: Path, dataset: Any, *splits: Any) -> None:
        found.extend(splits)
        real(spark, folder, dataset, *splits)

    monkeypatch.setattr(cluster, "ship", ship)
    return found


def files_sent() -> Iterator[tuple[str, bytes]]:
    """Name and contents of every file that this session serves to executors; what is packed is unpacked."""
    from pyspark import SparkFiles

    for path in sorted(Path(SparkFiles.getRootDirectory()).rglob("*")):
        if path.is_file() and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                yield from ((f"{path.name}/{name}", archive.read(name)) for name in archive.namelist())
        elif path.is_file():
            yield path.name, path.read_bytes()


@pytest.mark.usefixtures("champion")
def test_nothing_secret_is_in_what_a_scoring_and_a_sweep_send_to_executors(
    run_job: Callable[..., Any],
    spark: Any,
    pickled: list[bytes],
    splits_sent: list[str],
    images: Images,
    page: Path,
    page_file: Path,
    digits: Path,
    tmp_path: Path,
) -> None:
    write_feed(tmp_path / "home", "one.txt", f"{images.address}/20.png")
    scored = run_job("score_images", "--experiment", page, environment=SECRETS)
    assert (scored.code, scored.result["statuses"]) == (0, {"ok": 1}), scored.output
    short = ("--set", "sweep.trials=2", "--set", "sweep.epochs=1")
    arguments = ("--experiment", page_file, "--dataset", digits, "--study", tmp_path / "study", *short)
    swept = run_job("sweep", *arguments, environment=SECRETS)
    assert swept.code == 0, swept.output
    assert splits_sent == ["train", "validation"], "a sweep sends no test image"

    files = dict(files_sent())
    sent = [*pickled, *files.values()]
    for known in (b"windrow.scoring.pipeline", b"TrialSpec", b"dark"):  # what executors do need is seen here
        assert any(known in text for text in pickled), known
    assert {"windrow.zip/windrow/scoring/pipeline.py", "windrow.zip/windrow/sweep/trial.py"} <= files.keys()
    assert [name for name in files if re.match(r"windrow\.zip/windrow/(ui|laptop|containers)/", name)] == []
    unwanted = [*SECRETS.values(), str(tmp_path / "home" / "mlflow")]
    assert [word for word in unwanted if any(word.encode() in text for text in sent)] == []
    told = [*spark.sparkContext.environment.items(), *spark.sparkContext.getConf().getAll()]
    assert [name for name, value in told if any(word in value for word in SECRETS.values())] == []
