"""The champion as functions of Spark SQL and as a stage of a pipeline."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.web import Web
from windrow import experiment, sql
from windrow.errors import UserError

pytestmark = [pytest.mark.spark, pytest.mark.tensorflow]
PAGE = """
name: brightness
scoring:
  feed: feeds/*.txt
  network: {{file: {file}, labels: [{labels}]}}
  allow_addresses: [127.0.0.0/8]
  batch_size: 4
"""


def picture(level: int) -> bytes:
    from PIL import Image

    content = io.BytesIO()
    Image.new("L", (8, 8), level).save(content, "PNG")
    return content.getvalue()


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    """/LEVEL.png is a grey image; anything else is a 404."""
    with Web({f"/{level}.png": picture(level) for level in (20, 230)}) as images:
        yield images


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that says dark or bright, in a file of its own."""
    import keras
    import numpy as np

    folder = tmp_path_factory.mktemp("page")
    layers = [keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")]
    network = keras.Sequential(layers)
    slope = np.array([-10.0, 10.0], np.float32) / (255 * 64)
    network.layers[-1].set_weights([np.tile(slope, (64, 1)), np.array([10.0, 0.0], np.float32)])
    network.save(folder / "brightness.keras")
    (folder / "labels.txt").write_text("dark\nbright\n")
    path = folder / "brightness.yaml"
    path.write_text(PAGE.format(file=folder / "brightness.keras", labels=folder / "labels.txt"))
    return path


@pytest.fixture(scope="module")
def registered(spark: Any, page: Path) -> Any:
    """The session, which other tests share: it is not stopped here."""
    sql.register(spark, experiment.load(page))
    return spark


def test_urls_are_labelled_in_their_rows_and_a_twin_is_asked_once(registered: Any, web: Web) -> None:
    web.requests.clear()
    urls = [
        f"{web.address}/20.png",
        f"{web.address}/230.png",
        None,
        f"{web.address}/none.png",
        f"{web.address}/20.png",
        "ftp://127.0.0.1/1",
    ]
    frame = registered.createDataFrame([(number, url) for number, url in enumerate(urls)], "id long, url string")
    frame.coalesce(1).createOrReplaceTempView("feed")
    # Without ORDER BY, for which Spark would run the query twice.
    rows = sorted(registered.sql("SELECT id, label_image(url) AS p FROM feed").collect())
    found = [row["p"] and (row["p"]["status"], row["p"]["label"], row["p"]["http_status"]) for row in rows]
    dark, absent = ("ok", "dark", 200), ("http_error", None, 404)
    assert found == [dark, ("ok", "bright", 200), None, absent, dark, ("refused_scheme", None, None)]
    assert web.counts["/20.png"] == 1
    assert rows[0]["p"]["top_k"][0]["rank"] == 1
    assert rows[0]["p"]["score"] == pytest.approx(rows[0]["p"]["top_k"][0]["score"])


def test_bytes_are_labelled_in_their_rows_whatever_is_in_them(registered: Any) -> None:
    contents = [picture(20), b"<html>", None, picture(230), b"", *[picture(200 + number) for number in range(9)]]
    frame = registered.createDataFrame(
        [(number, each) for number, each in enumerate(contents)], "id long, content binary"
    )
    frame.coalesce(1).createOrReplaceTempView("files")
    rows = sorted(registered.sql("SELECT id, label_bytes(content) AS p FROM files").collect())
    found = [row["p"] and (row["p"]["status"], row["p"]["label"]) for row in rows]
    nothing = ("not_an_image", None)
    assert found == [("ok", "dark"), nothing, None, ("ok", "bright"), nothing, *[("ok", "bright")] * 9]


def test_a_stage_takes_urls_or_bytes_and_can_be_kept(registered: Any, page: Path, web: Web, tmp_path: Path) -> None:
    from windrow.transformer import ImageLabeler

    ImageLabeler(page=str(page), inputCol="url", outputCol="p").save(str(tmp_path / "stage"))
    stage = ImageLabeler.load(str(tmp_path / "stage"))
    urls = registered.createDataFrame([(f"{web.address}/20.png",)], "url string")
    assert [row["label"] for row in stage.transform(urls).select("p.label").collect()] == ["dark"]
    contents = registered.createDataFrame([(picture(230),)], "url binary")
    assert [row["label"] for row in stage.transform(contents).select("p.label").collect()] == ["bright"]


def test_a_stage_refuses_a_column_of_numbers(registered: Any, page: Path) -> None:
    from windrow.transformer import ImageLabeler

    numbers = registered.createDataFrame([(1,)], "url long")
    with pytest.raises(UserError, match="strings or binaries; got url, bigint; cast it"):
        ImageLabeler(page=str(page)).transform(numbers)


def test_a_page_that_does_not_score_is_refused(registered: Any) -> None:
    page = experiment.parse("name: a\nspace: {learning_rate: {type: float, low: 0.1, high: 0.2}}")
    with pytest.raises(UserError, match="a needs a scoring section"):
        sql.register(registered, page)
