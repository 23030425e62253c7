"""docs/sql.md: its first two blocks, as they stand, with a small registered network."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from typing import Any

import pytest
from harness.documents import REPOSITORY, blocks

DIGITS = range(8)
"""Images that are labelled: of scikit-learn's digits, the first ten of which are 0 to 9."""


def register() -> None:
    """Make digits@champion of a logistic regression, in the embedded registry: no training of a network is needed."""
    import keras
    import mlflow
    import numpy as np
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from windrow.tracking.server import connect

    found = load_digits()
    fit = LogisticRegression(C=100, max_iter=500).fit(found.data[:200] / 16, found.target[:200])
    layers = [keras.layers.Input((8, 8, 1)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    network = keras.Sequential([*layers, keras.layers.Dense(10, "softmax")])
    network.layers[-1].set_weights([fit.coef_.T.astype(np.float32), fit.intercept_.astype(np.float32)])
    client = connect()
    with mlflow.start_run(experiment_id=client.create_experiment("digits")):
        kind = {"shape": [8, 8, 1], "labels": list("0123456789")}
        logged = mlflow.tensorflow.log_model(
            network, name="network", pip_requirements=["tensorflow"], metadata={"windrow": kind}
        )
    client.create_registered_model("digits")
    version = client.create_model_version("digits", logged.model_uri, model_id=logged.model_id).version
    client.set_registered_model_alias("digits", "champion", str(version))


def table(printed: str) -> dict[str, list[str]]:
    """First cell of each row that Spark has shown -> the others; it cuts long cells."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in printed.splitlines() if line[:1] == "|"]
    return {cells[0]: cells[1:] for cells in rows[1:]}


@pytest.mark.spark
@pytest.mark.mlflow
@pytest.mark.tensorflow
def test_the_page_labels_urls_and_images_in_sql_and_in_a_pipeline(
    spark: Any,
    digit_images: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    register()
    (tmp_path / "var" / "feeds" / "digits").mkdir(parents=True)
    (tmp_path / "var" / "images").mkdir()
    for number in DIGITS:
        with urllib.request.urlopen(f"{digit_images}/{number}.png", timeout=30) as image:
            (tmp_path / "var" / "images" / f"{number}.png").write_bytes(image.read())
    urls = [f"{digit_images}/{name}.png" for name in (*DIGITS, "none")]
    (tmp_path / "var" / "feeds" / "digits" / "demo.txt").write_text("".join(f"{url}\n" for url in urls))
    labelling, pipeline, _ = blocks("docs/sql.md", "python")
    told: dict[str, dict[str, list[str]]] = {}
    names: dict[str, Any] = {}
    for block, title in ((labelling, "sql"), (pipeline, "stage")):
        # The JVM's working folder is not this one.
        code = block.text.replace('"var/', f'"{tmp_path}/var/').replace('"dags/', f'"{REPOSITORY}/dags/')
        code = code.replace(".show()", ".show(truncate=False)")  # so that cells can be told apart
        capsys.readouterr()
        exec(compile(code, "sql.md", "exec"), names)
        told[title] = table(capsys.readouterr().out)
    url, file = f"{digit_images}/{{}}.png", f"file:{tmp_path}/var/images/{{}}.png"
    assert [told["sql"][url.format(number)] for number in DIGITS] == [[str(number), "ok"] for number in DIGITS]
    assert told["sql"][url.format("none")] == ["NULL", "http_error"]
    assert [told["sql"][file.format(number)][0] for number in DIGITS] == [str(number) for number in DIGITS]
    assert [told["stage"][url.format(number)] for number in DIGITS] == [[str(number)] for number in DIGITS]
