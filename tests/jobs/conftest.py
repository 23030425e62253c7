"""What the tests of score_images.py share: a web of images, a page, and a registry with champions of two versions."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from harness.web import Reply, Request, Web

PAGE = """\
name: brightness
space: {learning_rate: {type: float, low: 0.001, high: 0.01}}
"""
SCORING = (
    "scoring: {feed: feeds/*.txt, allow_addresses: [127.0.0.0/8], timeout_seconds: 60, batch_size: 16, top_k: 2, "
    "host_rate: null}\n"
)


class Images(Web):
    """/LEVEL.png is a grey image; /flaky/LEVEL.png is one once `awake`; /page is no image; anything else is a 404.

    /wide/LEVEL.png has this grey in its middle only: cropped it is like /LEVEL.png, squashed it is not.

    Attributes:
        awake: whether what is flaky answers.
        at_each: called with the path of each request, before it is answered.
    """

    def __init__(self) -> None:
        super().__init__({"/page": b"<html>"}, self._image)
        self.awake = False
        self.at_each: Callable[[str], object] = str

    def _image(self, request: Request) -> Reply | bytes | int:
        self.at_each(request.path)
        if request.path.startswith("/flaky") and not self.awake:
            return 503
        if request.path.startswith("/wide/"):
            return wide(int(request.path.removeprefix("/wide/").removesuffix(".png")))
        name, _, kind = request.path.removeprefix("/flaky").strip("/").partition(".")
        return grey(int(name)) if kind == "png" and name.isdigit() else 404


@lru_cache
def grey(level: int) -> bytes:
    """A PNG of one grey level."""
    from PIL import Image

    body = io.BytesIO()
    Image.new("L", (8, 8), level).save(body, "PNG")
    return body.getvalue()


def wide(level: int) -> bytes:
    """A PNG three times as wide as high, of one grey level in its middle, and of the opposite one at both ends."""
    from PIL import Image

    body, picture = io.BytesIO(), Image.new("L", (24, 8), 255 - level)
    picture.paste(level, (8, 0, 16, 8))
    picture.save(body, "PNG")
    return body.getvalue()


@pytest.fixture
def images() -> Iterator[Images]:
    with Images() as web:
        yield web


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "brightness.yaml"
    path.write_text(PAGE + SCORING)
    return path


@pytest.fixture(scope="session")
def levels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 grey images, a folder a label."""
    folder = tmp_path_factory.mktemp("levels")
    for number in range(40):
        place = folder / ("bright" if number % 2 else "dark")
        place.mkdir(exist_ok=True)
        (place / f"{number}.png").write_bytes(grey(60 + number if number % 2 == 0 else 180 + number))
    return folder


@pytest.fixture(scope="session")
def lowered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where networks at a lower precision are kept: made once a session, as a home keeps them over nights."""
    return tmp_path_factory.mktemp("lowered")


@pytest.fixture
def low_page(tmp_path: Path, levels: Path, lowered: Path) -> Path:
    """The page with its champion at int8, which needs no TensorFlow once it is converted."""
    pytest.importorskip("nncf", reason="needs nncf, which is in the lock but for Linux on arm64")
    (tmp_path / "home").mkdir(exist_ok=True)
    (tmp_path / "home" / "lowered").symlink_to(lowered)
    path = tmp_path / "low.yaml"
    path.write_text(PAGE + SCORING.replace("top_k: 2", f"top_k: 2, precision: {{type: int8, images: {levels}}}"))
    return path


def brightness(threshold: float) -> Any:
    """A network for (8, 8, 1): dark or bright, by a threshold in 0..255."""
    import keras
    import numpy as np

    layers = [keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")]
    network = keras.Sequential(layers)
    slope = np.array([-10.0, 10.0], np.float32) / (255 * 64)
    network.layers[-1].set_weights([np.tile(slope, (64, 1)), np.array([20.0 * threshold / 255, 0.0], np.float32)])
    return network


def register(artifacts: str | None, *thresholds: float) -> None:
    """Make versions 1, 2, ... of brightness, which crop images, where MLflow is; the first one is the champion."""
    import mlflow
    from windrow.tracking.server import connect

    client = connect()
    experiment = client.create_experiment("brightness", artifact_location=artifacts)
    client.create_registered_model("brightness")
    for threshold in thresholds:
        with mlflow.start_run(experiment_id=experiment):
            logged = mlflow.tensorflow.log_model(
                brightness(threshold),
                name="network",
                pip_requirements=["tensorflow"],
                metadata={"windrow": {"shape": [8, 8, 1], "labels": ["dark", "bright"], "fit": "crop"}},
            )
        client.create_model_version("brightness", logged.model_uri, model_id=logged.model_id)
    crown("1")


def crown(version: str) -> None:
    """Make a version of brightness the champion."""
    from windrow.tracking.server import connect

    connect().set_registered_model_alias("brightness", "champion", version)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home's mlflow folder with two versions of brightness: the first finds bright above 127.5, the second 200."""
    home = tmp_path_factory.mktemp("registry")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WINDROW_HOME", str(home))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        register((home / "artifacts").as_uri(), 127.5, 200.0)
    return home / "mlflow"


@pytest.fixture
def champion(registry: Path, tmp_path: Path) -> None:
    """brightness@champion, version 1, in the test's embedded registry; version 2 can be crowned.

    The networks stay where they were registered, for the registry names their files by absolute paths.
    """
    shutil.copytree(registry, tmp_path / "home" / "mlflow")


def write_feed(home: Path, name: str, *lines: str) -> None:
    (home / "feeds").mkdir(parents=True, exist_ok=True)
    (home / "feeds" / name).write_text("\n".join(lines) + "\n")


def rows_of(table: Path) -> dict[str, str]:
    """URL → status as two readers see it; fails where a URL has two rows of a version, or the readers disagree."""
    import pyarrow.parquet as pq
    from deltalake import DeltaTable

    delta = DeltaTable(str(table))
    frame = delta.to_pandas().set_index(["url", "model_version"], verify_integrity=True)
    plain = [row for file in delta.file_uris() for row in pq.read_table(file, columns=["url", "status"]).to_pylist()]
    rows: dict[str, str] = frame["status"].droplevel(1).to_dict()
    assert sorted((row["url"], row["status"]) for row in plain) == sorted(rows.items())
    return rows


def scorings() -> list[Any]:
    """The scoring runs that MLflow has, oldest first."""
    from windrow.tracking.server import connect

    client = connect()
    experiment = client.get_experiment_by_name("brightness")
    kinds = "tags.`windrow.kind` = 'scoring'"
    return list(client.search_runs([experiment.experiment_id], kinds, order_by=["attributes.start_time ASC"]))
