"""Compute the features of a page's backbone inside Spark SQL, in your own session.

    from windrow import experiment, featurizer

    featurizer.register(spark, experiment.load("dags/experiments/photos.yaml"))
    spark.sql("SELECT name, image_features(content) FROM files")

The features are those that embed_images.py computes for the same image; where dataset.fit is both, those of
the squashed image. See docs/sql.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from windrow import paths
from windrow.data.decode import MAX_PIXELS
from windrow.data.features import embed_worker
from windrow.errors import UserError
from windrow.model import backbones
from windrow.model.backbone import Backbone
from windrow.scoring.network import pixels
from windrow.spark import ship_file, ship_package

if TYPE_CHECKING:
    from pyspark.sql import Column, SparkSession

    from windrow.experiment import Experiment

NAME = "image_features"
RESULT = pa.list_(pa.float32())
"""The result type: one float per feature. Null, and what is no image, give null."""


@dataclass(frozen=True)
class _Plan:
    """What a task needs to know: the backbone, whose `file` is the name under which it was sent, and how images fit."""

    backbone: Backbone
    resize: Literal["smooth", "crop"]


def register(spark: SparkSession, page: Experiment) -> None:
    """Add image_features(content BINARY) to a session; it returns ARRAY<FLOAT>.

    Raises:
        UserError: the page has no backbone, or the backbone can't be used.
        DownloadError: the backbone can't be downloaded.
    """
    spark.udf.register(NAME, function(spark, page))


def function(spark: SparkSession, page: Experiment) -> Callable[..., Column]:
    """Return image_features as a function of a column of encoded images, without registering it.

    A relative path of the backbone starts at the page's folder. Raises what `register` raises.
    """
    from pyspark.sql.pandas.functions import arrow_udf
    from pyspark.sql.pandas.types import from_arrow_type

    network = page.network
    if network.backbone is None:
        raise UserError(
            f"{NAME} needs a page with a backbone; {page.name} has none; add network.backbone, such as lite0"
        )
    backbone = backbones.bring(
        network.backbone, network.backbone_sha256, network.backbone_layer, paths.home(), Path.cwd()
    )
    sent = f"{backbone.digest}.keras"
    ship_package(spark)
    ship_file(spark, backbone.file, sent)
    plan = _Plan(replace(backbone, file=Path(sent)), "crop" if page.dataset.fit == "crop" else "smooth")
    make: Any = arrow_udf  # PySpark's annotations allow an array of floats by name only
    made: Callable[..., Column] = make(_over_batches(plan), from_arrow_type(RESULT))
    return made


def _over_batches(plan: _Plan) -> Callable[[Iterator[pa.Array]], Iterator[pa.Array]]:
    """Return a function that turns a task's Arrow batches of encoded images into batches of features."""

    def function(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
        from pyspark import SparkFiles, TaskContext

        context = TaskContext.get()
        threads = context.cpus() if context else 1
        network = embed_worker.load(plan.backbone, Path(SparkFiles.get(str(plan.backbone.file))), threads)
        for batch in batches:
            yield pa.array(_features(batch.to_pylist(), network, plan), RESULT)

    return function


def _features(
    contents: list[bytes | None], network: embed_worker.LoadedBackbone, plan: _Plan
) -> list[NDArray[np.float32] | None]:
    """Return the features of encoded images in their order; None for null and for what can't be decoded."""
    found: list[NDArray[np.float32] | None] = [None] * len(contents)
    waiting: list[tuple[int, NDArray[np.uint8]]] = []
    for place, content in enumerate(contents):
        image = pixels.decode(content or b"", plan.backbone.shape, MAX_PIXELS, plan.resize).pixels
        if image is not None:
            waiting.append((place, image))
        if len(waiting) == embed_worker.BATCH or (waiting and place == len(contents) - 1):
            values = network.features(np.stack([image for _, image in waiting])).astype(np.float32)
            for (where, _), row in zip(waiting, values, strict=True):
                found[where] = row
            waiting = []
    return found
