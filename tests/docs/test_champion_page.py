"""docs/use_the_champion.md: its blocks as they stand, with a small network that was registered as a promotion does."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.documents import blocks
from harness.jobs import serving

pytestmark = [pytest.mark.mlflow, pytest.mark.tensorflow, pytest.mark.usefixtures("registry_file")]

PAGE = "docs/use_the_champion.md"


@pytest.fixture
def champion(tmp_path: Path) -> list[str]:
    """Make digits@champion of a logistic regression; return the true labels of the page's images."""
    import keras
    import mlflow
    import numpy as np
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from windrow.data.manifest import Manifest
    from windrow.tracking.network_artifact import log_network
    from windrow.tracking.server import connect
    from windrow.training.runtime import to_bytes

    found = load_digits()
    fit = LogisticRegression(C=100, max_iter=500).fit(found.data[:200] / 16, found.target[:200])
    layers = [keras.layers.Input((8, 8, 1)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    network = keras.Sequential([*layers, keras.layers.Dense(10, "softmax")])
    network.layers[-1].set_weights([fit.coef_.T.astype(np.float32), fit.intercept_.astype(np.float32)])
    client = connect()
    experiment = client.create_experiment("digits", artifact_location=(tmp_path / "artifacts").as_uri())
    run = client.create_run(experiment).info.run_id
    data = Manifest("digits", "digits", "d" * 64, (8, 8, 1), tuple("0123456789"), {}, {}, {})
    example = np.zeros((1, 8, 8, 1), np.uint8)
    source, _ = log_network(run, "digits", to_bytes(network), data, example, 3, {"units": 9}, np.array([], np.uint64))
    mlflow.register_model(source, "digits")
    client.set_registered_model_alias("digits", "champion", "1")
    return [str(label) for label in found.target[:8]]


def run_block(block: str, names: dict[str, Any]) -> None:
    exec(compile(block, PAGE, "exec"), names)


def test_a_notebook_gets_names_and_probabilities_and_files_of_other_formats(
    champion: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import numpy as np
    import tensorflow as tf

    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    labelling, network, _, files = (block.text for block in blocks(PAGE, "python"))
    run_block(labelling, names)
    assert re.findall(r"^\d +(\d) ", capsys.readouterr().out, re.MULTILINE) == champion
    run_block(network, names)
    rows = [ast.literal_eval(line) for line in capsys.readouterr().out.splitlines()]
    assert [max(row, key=row.__getitem__) for row in rows] == champion
    run_block(files, names)
    pixels = names["images"][..., None].astype(np.float32)
    wanted = names["network"].predict(pixels, verbose=0)
    saved = tf.saved_model.load("champion")
    np.testing.assert_allclose(saved.serve(pixels), wanted, atol=1e-5)
    lite = tf.lite.Interpreter("champion.tflite")
    lite.resize_tensor_input(lite.get_input_details()[0]["index"], pixels.shape)
    lite.allocate_tensors()
    lite.set_tensor(lite.get_input_details()[0]["index"], pixels)
    lite.invoke()
    np.testing.assert_allclose(lite.get_tensor(lite.get_output_details()[0]["index"]), wanted, atol=1e-5)


@pytest.mark.faults
def test_a_web_service_labels_images_as_json(
    champion: list[str], tmp_path: Path, free_port: Callable[[], int], capsys: pytest.CaptureFixture[str]
) -> None:
    from windrow.tracking.server import uri

    port = free_port()
    (typed,) = (block.text for block in blocks(PAGE, "sh"))
    command = shlex.split(typed.splitlines()[-1].replace("5001", str(port)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri())
        labelling, _, asking, _ = (block.text for block in blocks(PAGE, "python"))
        names: dict[str, Any] = {}
        run_block(labelling, names)
        capsys.readouterr()
        with serving(command, tmp_path / "log", f"http://127.0.0.1:{port}/health"):
            run_block(asking.replace("5001", str(port)), names)
    assert [row["label"] for row in ast.literal_eval(capsys.readouterr().out)] == champion
