"""Which task asks which URL: by host, so that what politeness.py promises holds over all tasks of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from windrow.scoring import urls
from windrow.scoring.politeness import Sharing

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

# A host is large from this part of a task's even share on: a few for each task at most.
_LARGE = 0.25


def divide(targets: DataFrame, urls_in_all: int, tasks: int, at_once: int) -> tuple[DataFrame, Sharing]:
    """`targets` (the columns of urls.Target; `urls_in_all` rows) in just `tasks` partitions, and what each must know.

    A host's URLs go to one task. Those of a large host go to several, which share its limits: to all tasks, or as many
    as it may have requests `at_once`. Rows name their partition themselves: adaptive execution may merge those of other
    shuffles, and would then download one by one.
    """
    from pyspark.sql import functions as F  # noqa: N812

    sharing = Sharing(tasks, spread=_large_hosts(targets, urls_in_all, tasks))
    host = _host()
    place = F.crc32(F.when(host == "", F.col("url_key")).otherwise(host))
    owners = min(tasks, at_once)
    within = F.when(host.isin(*sharing.spread), F.pmod(F.crc32("url_key"), F.lit(owners))).otherwise(0)
    return targets.repartitionById(tasks, F.pmod(place + within, F.lit(tasks)).cast("int")), sharing


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
