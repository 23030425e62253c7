"""Use an experiment page's model, or its backbone, as a stage of a Spark ML pipeline (pyspark.ml).

    from windrow.transformer import ImageLabeler

    labeler = ImageLabeler(page="dags/experiments/digits.yaml", inputCol="url", outputCol="prediction")
    labeler.transform(photographs).select("url", "prediction.label")

A column of strings holds URLs, a column of binaries holds encoded images. The stage can be saved and loaded with a
pipeline. What is saved is the path of the page: each transform reads the page again, and uses the model that the page
names then.
"""

from __future__ import annotations

from pyspark.ml import Transformer  # noqa: TID253 - the base class; only a user's session imports this
from pyspark.ml.param import Param, Params, TypeConverters  # noqa: TID253
from pyspark.ml.param.shared import HasInputCol, HasOutputCol  # noqa: TID253
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsWritable  # noqa: TID253
from pyspark.sql import DataFrame  # noqa: TID253

from windrow import experiment, featurizer, sql
from windrow.errors import UserError
from windrow.experiment import Experiment

_FUNCTIONS = {"string": "label_image", "binary": "label_bytes"}


class _PageStage(Transformer, HasInputCol, HasOutputCol, DefaultParamsWritable):
    """A stage with the parameters page, inputCol and outputCol."""

    page = Param(Params._dummy(), "page", "path of the experiment page", TypeConverters.toString)

    def _read_page(self) -> Experiment:
        return experiment.load(self.getOrDefault(self.page))


class ImageLabeler(_PageStage, DefaultParamsReadable["ImageLabeler"]):
    """A stage that adds a column of predictions (windrow.sql.RESULT); its parameters are page, inputCol, outputCol."""

    def __init__(
        self,
        *,
        page: str | None = None,
        inputCol: str = "url",  # noqa: N803 - Spark's own names
        outputCol: str = "prediction",  # noqa: N803
    ) -> None:
        super().__init__()
        self._set(page=page, inputCol=inputCol, outputCol=outputCol)

    def _transform(self, dataset: DataFrame) -> DataFrame:
        name, kind = self.getInputCol(), dict(dataset.dtypes)[self.getInputCol()]
        if kind not in _FUNCTIONS:
            raise UserError(f"inputCol must be a column of strings or binaries; got {name}, {kind}; cast it")
        function = sql.functions(dataset.sparkSession, self._read_page())[_FUNCTIONS[kind]]
        return dataset.withColumn(self.getOutputCol(), function(name))


class ImageFeaturizer(_PageStage, DefaultParamsReadable["ImageFeaturizer"]):
    """A stage that adds a column of features, an array of floats; its parameters are page, inputCol, outputCol.

    The input column holds encoded images. What is no image gets null.
    """

    def __init__(
        self,
        *,
        page: str | None = None,
        inputCol: str = "content",  # noqa: N803 - Spark's own names
        outputCol: str = "features",  # noqa: N803
    ) -> None:
        super().__init__()
        self._set(page=page, inputCol=inputCol, outputCol=outputCol)

    def _transform(self, dataset: DataFrame) -> DataFrame:
        name, kind = self.getInputCol(), dict(dataset.dtypes)[self.getInputCol()]
        if kind != "binary":
            raise UserError(
                f"inputCol must be a column of binaries, encoded images; got {name}, {kind}; read the files"
            )
        function = featurizer.function(dataset.sparkSession, self._read_page())
        return dataset.withColumn(self.getOutputCol(), function(name))
