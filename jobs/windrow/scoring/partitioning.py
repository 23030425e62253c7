"""Which task asks which URL: by host, so that what politeness.py promises holds over all tasks of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from windrow.scoring.fetch import urls
from windrow.scoring.fetch.politeness import Sharing

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

# A host is large from this part of a task's even share on: a few for each task at most.
_LARGE = 0.25


def divide(targets: DataFrame, urls_in_all: int, tasks: int, at_once: int) -> tuple[DataFrame, Sharing]:
    """`targets` (the columns of urls.Target; `urls_in_all` rows) in just `tasks` partitions, and what each must know.

    A host's URLs go to one task. Those of a large host go to several, which share its limits: to all tasks, or as many
    as it may have requests `at_once`, each as many as the others but for one. Rows name their partition themselves:
    adaptive execution may merge those of other shuffles, and would then download one by one.
    """
    from pyspark.sql import functions as F  # noqa: N812

    sharing = Sharing(tasks, spread=_large_hosts(targets, urls_in_all, tasks))
    host = _host()
    task = F.crc32(F.when(host == "", F.col("url_key")).otherwise(host))
    if sharing.spread:
        owners = min(tasks, at_once)
        task += F.when(host.isin(*sharing.spread), F.pmod(_number(host), F.lit(owners))).otherwise(0)
    numbered = targets.withColumn("task", F.pmod(task, F.lit(tasks)).cast("int"))
    divided = numbered.repartitionById(tasks, F.col("task")).drop("task")
    # Numbering leaves host after host, as many feeds are. A task would have one to ask at a time, and wait for it.
    return divided.sortWithinPartitions(F.crc32("url_key")), sharing


def _number(host: Column) -> Column:
    """Of a URL among those of its host, from 1.

    By a checksum instead, as hosts are divided, one of 64 tasks would have a fifth more than its share of 10,000 URLs,
    and the others would wait for it. It follows from the rows alone, so that a task that is run again gets the same.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F  # noqa: N812

    return F.row_number().over(Window.partitionBy(host).orderBy("url_key"))


def _host() -> Column:
    """The host of a target's address; empty where it has none."""
    from pyspark.sql import functions as F  # noqa: N812

    return F.coalesce(F.regexp_extract("address", urls.HOST, 1), F.lit(""))


def _large_hosts(targets: DataFrame, urls_in_all: int, tasks: int) -> frozenset[str]:
    """The hosts that would make one task much longer than the others."""
    from pyspark.sql import functions as F  # noqa: N812

    if tasks == 1:
        return frozenset()
    counts = targets.groupBy(_host().alias("host")).count().where("host != ''")
    largest = counts.orderBy(F.desc("count")).limit(int(tasks / _LARGE)).collect()
    enough = urls_in_all / tasks * _LARGE
    return frozenset(row["host"] for row in largest if row["count"] > enough)
