"""A backbone's features as a function of Spark SQL and as a stage of a pipeline."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness.documents import blocks
from windrow import experiment, featurizer
from windrow.errors import UserError

pytestmark = [pytest.mark.spark, pytest.mark.tensorflow]
PAGE = """
name: photos
dataset: {source: photos, fit: crop}
network: {backbone: small.keras}
space:
  learning_rate: {type: float, low: 1e-4, high: 1e-2, log: true}
"""


def picture(level: int) -> bytes:
    from PIL import Image

    content = io.BytesIO()
    Image.new("RGB", (8, 8), (level, 255 - level, 7)).save(content, "PNG")
    return content.getvalue()


def with_white_ends(level: int) -> bytes:
    """A picture three times as wide as high, whose middle third has one colour: all that a crop shows."""
    from PIL import Image

    content, wide = io.BytesIO(), Image.new("RGB", (72, 24), "white")
    wide.paste((level, 255 - level, 7), (20, 0, 52, 24))
    wide.save(content, "PNG")
    return content.getvalue()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with a backbone that gives the mean of each colour, and the largest value."""
    import keras

    folder = tmp_path_factory.mktemp("page")
    image = keras.Input((8, 8, 3))
    mean = keras.layers.GlobalAveragePooling2D()(image)
    largest = keras.layers.GlobalMaxPooling2D()(image)
    keras.Model(image, keras.layers.Concatenate()([mean, largest])).save(folder / "small.keras")
    path = folder / "photos.yaml"
    path.write_text(PAGE)
    return path


def test_images_get_their_features_in_their_rows_whatever_is_in_them(spark: Any, page: Path) -> None:
    contents = [picture(20), b"<html>", None, with_white_ends(250), b"", *[picture(number) for number in range(40)]]
    frame = spark.createDataFrame([(number, each) for number, each in enumerate(contents)], "id long, content binary")
    frame.coalesce(1).createOrReplaceTempView("files")

    (block,) = [one.text for one in blocks("docs/sql.md", "python") if "featurizer" in one.text]
    code = block.replace("dags/experiments/photos.yaml", str(page)).replace("path", "id")
    exec(compile(code, "sql.md", "exec"), {"spark": spark, "experiment": experiment})

    rows = sorted(spark.sql("SELECT id, image_features(content) AS f FROM files").collect())

    found = [row["f"] for row in rows]
    assert (found[1], found[2], found[4]) == (None, None, None)
    assert found[0] == pytest.approx([20, 235, 7, 20, 235, 7], abs=0.1)
    assert found[3] == pytest.approx([250, 5, 7, 250, 5, 7], abs=0.1)
    assert np.array(found[5:]) == pytest.approx(np.array([[level, 255 - level, 7] * 2 for level in range(40)]), abs=0.1)


def test_a_stage_can_be_kept_and_takes_encoded_images(spark: Any, page: Path, tmp_path: Path) -> None:
    from windrow.transformer import ImageFeaturizer

    ImageFeaturizer(page=str(page), inputCol="image", outputCol="f").save(str(tmp_path / "stage"))
    stage = ImageFeaturizer.load(str(tmp_path / "stage"))
    frame = spark.createDataFrame([(picture(100),)], "image binary")
    assert stage.transform(frame).schema["f"].dataType.simpleString() == "array<float>"
    assert [len(row["f"]) for row in stage.transform(frame).collect()] == [6]
    with pytest.raises(UserError, match="must be a column of binaries, encoded images; got image, string"):
        stage.transform(spark.createDataFrame([("a",)], "image string"))


def test_a_page_without_a_backbone_is_refused(spark: Any) -> None:
    page = experiment.parse("name: a\nspace: {learning_rate: {type: float, low: 0.1, high: 0.2}}")
    with pytest.raises(UserError, match=r"needs a page with a backbone; a has none; add network\.backbone"):
        featurizer.register(spark, page)
