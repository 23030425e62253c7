"""Assign URLs to tasks by host, so that the limits of politeness.py hold over all tasks of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from windrow.scoring.fetch import urls
from windrow.scoring.fetch.politeness import Sharing

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

# A host is large if it has more than this share of the URLs that a task gets on average. So there are at most four
# large hosts per task.
_LARGE = 0.25


def divide(targets: DataFrame, urls_in_all: int, tasks: int, at_once: int) -> tuple[DataFrame, Sharing]:
    """Divide targets among tasks, by host.

    All URLs of a host go to one task, unless the host is large. The URLs of a large host are spread evenly over as many
    tasks as the host may have requests at once, or over all tasks if there are fewer; these tasks share its limits.
    Rows are assigned to partitions by number (repartitionById), because adaptive execution may merge the partitions of
    other shuffles, and one task would then do the downloads of several tasks one after another.

    Args:
        targets: the URLs, with the columns of urls.Target.
        urls_in_all: the number of rows of `targets`.
        tasks: the exact number of partitions.
        at_once: requests that a host may have at once.

    Returns:
        The partitioned targets, and how the hosts are shared among the tasks.
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
    # The numbering sorts rows by host, and many feeds are sorted by host as well. In that order a task would have URLs
    # of only one host at a time, and wait for its rate limit.
    return divided.sortWithinPartitions(F.crc32("url_key")), sharing


def _number(host: Column) -> Column:
    """Number the URLs of a host, from 1.

    With a checksum instead, one of 64 tasks would get a fifth more than its share of 10,000 URLs, and the others would
    wait for it. The numbers depend on the rows alone, so a task that runs again gets the same URLs.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F  # noqa: N812

    return F.row_number().over(Window.partitionBy(host).orderBy("url_key"))


def _host() -> Column:
    """Return the host of a target's address; empty without an address."""
    from pyspark.sql import functions as F  # noqa: N812

    return F.coalesce(F.regexp_extract("address", urls.HOST, 1), F.lit(""))


def _large_hosts(targets: DataFrame, urls_in_all: int, tasks: int) -> frozenset[str]:
    """Find the hosts whose URLs would make one task take much longer than the others."""
    from pyspark.sql import functions as F  # noqa: N812

    if tasks == 1:
        return frozenset()
    counts = targets.groupBy(_host().alias("host")).count().where("host != ''")
    largest = counts.orderBy(F.desc("count")).limit(int(tasks / _LARGE)).collect()
    enough = urls_in_all / tasks * _LARGE
    return frozenset(row["host"] for row in largest if row["count"] > enough)
