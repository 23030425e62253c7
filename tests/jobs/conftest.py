"""What the tests of score_images.py share: a web of images, a page, and champions of two versions."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

PAGE = """\
name: brightness
space: {learning_rate: {type: float, low: 0.001, high: 0.01}}
"""
SCORING = "scoring: {feed: feeds/*.txt, allow_addresses: [127.0.0.0/8], timeout_seconds: 5, batch_size: 16, top_k: 2}\n"


class Images(BaseHTTPRequestHandler):
    """/LEVEL.png is a grey image; /page is no image; /flaky/LEVEL.png is one once `awake`; anything else is a 404."""

    asked: list[str] = []
    awake = False
    at_each: Callable[[str], None] | None = None

    def do_GET(self) -> None:
        from PIL import Image

        if self.path == "/robots.txt":  # there is none
            self.send_error(404)
            return
        self.asked.append(self.path)
        if Images.at_each is not None:
            Images.at_each(self.path)
        name, _, kind = self.path.removeprefix("/flaky").strip("/").partition(".")
        body = io.BytesIO(b"<html>")
        if kind == "png" and name.isdigit():
            body = io.BytesIO()
            Image.new("L", (8, 8), int(name)).save(body, "PNG")
        found = body.getvalue() != b"<html>" or name == "page"
        asleep = self.path.startswith("/flaky") and not Images.awake
        self.send_response(503 if asleep else 200 if found else 404)
        self.end_headers()
        self.wfile.write(body.getvalue())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def images() -> Iterator[str]:
    Images.asked.clear()
    Images.awake, Images.at_each = False, None
    with ThreadingHTTPServer(("127.0.0.1", 0), Images) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "brightness.yaml"
    path.write_text(PAGE + SCORING)
    return path


@pytest.fixture
def register(tmp_path: Path) -> Callable[[float], None]:
    """Make a new version of brightness the champion: (8, 8, 1) images are dark or bright, by a threshold in 0..255."""
    import keras
    import mlflow
    import numpy as np
    from windrow import tracking

    def make(threshold: float) -> None:
        layers = [keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")]
        network = keras.Sequential(layers)
        slope = np.array([-10.0, 10.0], np.float32) / (255 * 64)
        network.layers[-1].set_weights([np.tile(slope, (64, 1)), np.array([20.0 * threshold / 255, 0.0], np.float32)])
        client = tracking.connect()
        found = client.get_experiment_by_name("brightness")
        artifacts = (tmp_path / "artifacts").as_uri()
        experiment = (
            found.experiment_id if found else client.create_experiment("brightness", artifact_location=artifacts)
        )
        with mlflow.start_run(experiment_id=experiment):
            logged = mlflow.tensorflow.log_model(
                network,
                name="network",
                pip_requirements=["tensorflow"],
                metadata={"windrow": {"shape": [8, 8, 1], "labels": ["dark", "bright"]}},
            )
        if found is None:
            client.create_registered_model("brightness")
        version = client.create_model_version("brightness", logged.model_uri, model_id=logged.model_id).version
        client.set_registered_model_alias("brightness", "champion", str(version))

    return make


@pytest.fixture
def champion(register: Callable[[float], None]) -> None:
    """brightness@champion, version 1, in the embedded registry."""
    register(127.5)


def write_feed(home: Path, name: str, *lines: str) -> None:
    (home / "feeds").mkdir(parents=True, exist_ok=True)
    (home / "feeds" / name).write_text("\n".join(lines) + "\n")
