"""score_images.py as a user runs it: real Spark, a real network from a real registry, real HTTP."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
Submit = Callable[..., Any]
PAGE = """\
name: brightness
space: {learning_rate: {type: float, low: 0.001, high: 0.01}}
"""
SCORING = "scoring: {feed: feeds/*.txt, allow_addresses: [127.0.0.0/8], timeout_seconds: 5, batch_size: 16, top_k: 2}\n"


class _Images(BaseHTTPRequestHandler):
    """/LEVEL.png is a grey image; /page is no image; anything else is a 404."""

    asked: list[str] = []

    def do_GET(self) -> None:
        from PIL import Image

        self.asked.append(self.path)
        name, _, kind = self.path.strip("/").partition(".")
        body = io.BytesIO(b"<html>")
        if kind == "png" and name.isdigit():
            body = io.BytesIO()
            Image.new("L", (8, 8), int(name)).save(body, "PNG")
        self.send_response(200 if body.getvalue() != b"<html>" or name == "page" else 404)
        self.end_headers()
        self.wfile.write(body.getvalue())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def images() -> Iterator[str]:
    _Images.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Images) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "brightness.yaml"
    path.write_text(PAGE + SCORING)
    return path


@pytest.fixture
def champion(tmp_path: Path) -> None:
    """brightness@champion in the embedded registry: (8, 8, 1) images are dark or bright by their mean."""
    import keras
    import mlflow
    import numpy as np
    from windrow import tracking

    network = keras.Sequential(
        [keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")]
    )
    slope = np.array([-10.0, 10.0], np.float32) / (255 * 64)
    network.layers[-1].set_weights([np.tile(slope, (64, 1)), np.array([10.0, 0.0], np.float32)])
    client = tracking.connect()
    experiment = client.create_experiment("brightness", artifact_location=(tmp_path / "artifacts").as_uri())
    with mlflow.start_run(experiment_id=experiment):
        logged = mlflow.tensorflow.log_model(
            network,
            name="network",
            pip_requirements=["tensorflow"],
            metadata={"windrow": {"shape": [8, 8, 1], "labels": ["dark", "bright"]}},
        )
    client.create_registered_model("brightness")
    client.create_model_version("brightness", logged.model_uri)
    client.set_registered_model_alias("brightness", "champion", "1")


def write_feed(home: Path, name: str, *lines: str) -> None:
    (home / "feeds").mkdir(parents=True, exist_ok=True)
    (home / "feeds" / name).write_text("\n".join(lines) + "\n")


def counts(result: dict[str, Any]) -> dict[str, int]:
    return {key: result[key] for key in ("urls", "new", "already_scored", "rows", "table_version")}


@pytest.mark.spark
@pytest.mark.tensorflow
@pytest.mark.mlflow
@pytest.mark.timeout(600)  # three spark-submits, two of which import TensorFlow
@pytest.mark.usefixtures("champion")
def test_every_new_url_gets_one_row_once(submit: Submit, page: Path, images: str, tmp_path: Path) -> None:
    from deltalake import DeltaTable

    home = tmp_path / "home"
    labels = {f"{images}/{level}.png": "dark" if level < 128 else "bright" for level in (0, 50, 100, 150, 200, 255)}
    broken = {f"{images}/absent.png": "http_error", f"{images}/page": "not_an_image", "no url": "invalid_url"}
    write_feed(home, "one.txt", *labels, *broken, "", next(iter(labels)))
    # Loopback, but not what the page allows: a test must not rely on the guard to keep it off other machines.
    write_feed(home, "two.txt", "http://[::1]:9/a.png")
    broken["http://[::1]:9/a.png"] = "refused_address"

    first = submit("score_images", "--experiment", page, environment={"AIRFLOW_CTX_DAG_RUN_ID": "manual__1"})
    assert first.code == 0, first.output
    assert first.result["statuses"] == {"ok": 6} | dict.fromkeys(broken.values(), 1)
    assert counts(first.result) == {"urls": 10, "new": 10, "already_scored": 0, "rows": 10, "table_version": 1}
    assert (first.result["model_name"], first.result["model_version"]) == ("brightness", "1")
    assert first.result["images_per_second"] > 0
    table = Path(first.result["table"])
    assert table == home / "tables" / "brightness"
    frame = DeltaTable(str(table)).to_pandas().set_index("url")
    assert frame["label"].dropna().to_dict() == labels
    assert frame["status"][lambda column: column != "ok"].to_dict() == broken
    assert set(frame["dag_run_id"]) == {"manual__1"}

    asked = len(_Images.asked)
    again = submit("score_images", "--experiment", page)
    assert again.code == 0, again.output
    assert counts(again.result) == {"urls": 0, "new": 0, "already_scored": 0, "rows": 0, "table_version": 1}
    assert (again.result["files"], again.result["files_read"]) == (2, 0)
    assert len(_Images.asked) == asked
    assert "keras" not in again.output

    write_feed(home, "three.txt", f"{images}/20.png", f"{images}/0.png#known")
    third = submit(
        "score_images", "--experiment", page, "--feed", home / "feeds" / "t*.txt", "--set", "scoring.top_k=1"
    )
    assert third.code == 0, third.output
    assert counts(third.result) == {"urls": 2, "new": 1, "already_scored": 1, "rows": 1, "table_version": 2}
    assert third.result["files_read"] == 1
    assert DeltaTable(str(table)).to_pyarrow_table().num_rows == 11


@pytest.mark.spark
@pytest.mark.parametrize(
    ("text", "lines", "arguments", "message"),
    [
        (PAGE, ["http://127.0.0.1/"], [], "needs a scoring section"),
        (PAGE + SCORING, [], [], "feed must match at least one file"),
        (PAGE + SCORING, ["http://127.0.0.1/"], ["--table", __file__], "choose another --table"),
        (PAGE + SCORING, ["http://127.0.0.1/"], ["--set", "scoring.batch=4"], "did you mean"),
    ],
    ids=["no-section", "no-feed", "no-table", "no-key"],
)
def test_a_mistake_of_the_user_exits_with_2(
    submit: Submit, tmp_path: Path, text: str, lines: list[str], arguments: list[str], message: str
) -> None:
    (tmp_path / "page.yaml").write_text(text)
    if lines:
        write_feed(tmp_path / "home", "one.txt", *lines)
    finished = submit("score_images", "--experiment", tmp_path / "page.yaml", *arguments)
    assert finished.code == 2
    assert message in finished.output


@pytest.mark.spark
@pytest.mark.mlflow
def test_without_a_champion_nothing_is_asked_and_nothing_written(
    submit: Submit, page: Path, images: str, tmp_path: Path
) -> None:
    write_feed(tmp_path / "home", "one.txt", f"{images}/1.png")
    finished = submit("score_images", "--experiment", page)
    assert finished.code == 2
    assert "models:/brightness@champion" in finished.output
    assert _Images.asked == []
    assert {path.name for path in (tmp_path / "home" / "tables" / "brightness").iterdir()} == {"_delta_log", "_windrow"}


def test_help_needs_neither_spark_nor_tensorflow() -> None:
    program = (
        "import sys, runpy\n"
        "sys.argv = ['score_images.py', '--help']\n"
        "try: runpy.run_path('jobs/score_images.py', run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0\n"
        "print(sorted({'pyspark', 'tensorflow', 'mlflow', 'keras', 'deltalake'} & set(sys.modules)))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "jobs")}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=REPOSITORY, env=environment, check=True
    )
    assert "--feed" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
