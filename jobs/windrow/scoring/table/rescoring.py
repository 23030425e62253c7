"""Find the URLs for `--rescore`: URLs whose newest label is of another model than the one that labels now.

Usually the other model is an earlier one, and this one has no row of the URL. After a rollback the other one is the
version that was withdrawn. Then this model has an older row, which the run replaces, or keeps if it fails:
a URL has one row per version.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windrow.scoring.feed.new_urls import TARGET_SCHEMA, spark_path
from windrow.scoring.fetch.status import Status
from windrow.scoring.table import prediction

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def targets(spark: SparkSession, table: Sequence[Path], model: tuple[str, str]) -> DataFrame:
    """Return the URLs that other models have labelled later than the given model (name, version), or instead of it.

    The result has the columns of urls.Target. URLs that failed are left out: a 404 does not depend on the model. The
    column `attempt`, the number of tries so far, is always 1: a URL with a label is no first try, but gets more tries.
    """
    from pyspark.sql import functions as F  # noqa: N812

    rows = _rows(spark, table)
    own = rows.where(_is_of(model)).groupBy("url_key").agg(F.max("scored_at").alias("own_at"))
    labelled = rows.where((F.col("status") == Status.OK.value) & ~_is_of(model))
    latest = F.max_by(
        F.struct("url", F.coalesce("address", "url").alias("address"), "extra", "content_hash"), "scored_at"
    )
    old = (
        labelled.groupBy("url_key")
        .agg(latest.alias("row"), F.max("scored_at").alias("at"))
        .join(own, "url_key", "left")
        .where(F.col("own_at").isNull() | (F.col("at") > F.col("own_at")))
        .select("url_key", "row.*")
    )
    nothing = F.lit(None).cast("string")
    every = old.withColumns({"status": nothing, "error": nothing, "attempt": F.lit(1)})
    return every.select(*TARGET_SCHEMA.names)


def agreement(
    spark: SparkSession, table: Sequence[Path], run: Sequence[Path], model: tuple[str, str]
) -> tuple[int, float | None]:
    """Compare a run's labels with the latest labels that another model or version gave the same URLs.

    Returns:
        The number of URLs compared, and the share of these URLs that keep their label, None if no URL was compared.
    """
    from pyspark.sql import functions as F  # noqa: N812

    ok = F.col("status") == Status.OK.value
    before = (
        _rows(spark, table)
        .where(ok & ~_is_of(model))
        .groupBy("url_key")
        .agg(F.max_by("label", "scored_at").alias("old"))
    )
    both = _rows(spark, run).where(ok).select("url_key", "label").join(before, "url_key")
    row = both.agg(
        F.count("*").alias("compared"), F.avg((F.col("label") == F.col("old")).cast("int")).alias("agree")
    ).first()
    return (row["compared"], row["agree"]) if row else (0, None)


def _rows(spark: SparkSession, files: Sequence[Path]) -> DataFrame:
    from pyspark.sql.pandas.types import from_arrow_schema

    return spark.read.schema(from_arrow_schema(prediction.SCHEMA)).parquet(*map(spark_path, files))


def _is_of(model: tuple[str, str]) -> Any:
    from pyspark.sql import functions as F  # noqa: N812

    return (F.col("model_name") == model[0]) & (F.col("model_version") == model[1])
