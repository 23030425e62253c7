"""Which Spark task gets which host."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import pytest
from windrow.scoring import partitioning
from windrow.scoring.feed.new_urls import TARGET_SCHEMA
from windrow.scoring.fetch import urls
from windrow.scoring.fetch.politeness import Sharing

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def divided(spark: Any) -> tuple[Any, Sharing]:
    """Three tasks: one host with half of the URLs, one with a fifth, 300 small ones, and lines that are no URLs."""
    lines = [f"http://large.example:8{number % 2}/{number}" for number in range(500)]
    lines += [f"https://[2001:4860::8]:444/{number}" for number in range(200)]
    lines += [f"http://small{number}.example/a" for number in range(300)]
    lines += [f"no url {number}" for number in range(100)]
    targets = [urls.understand(line.encode()) for line in lines]
    from pyspark.sql.pandas.types import from_arrow_schema

    frame = spark.createDataFrame([vars(target) for target in targets if target], from_arrow_schema(TARGET_SCHEMA))
    return partitioning.divide(frame, frame.count(), tasks=3, at_once=2)


def by_task(divided: tuple[Any, Sharing]) -> dict[int, list[Any]]:
    frame, _ = divided
    parts = frame.rdd.glom().collect()
    assert len(parts) == 3
    return dict(enumerate(parts))


def test_each_url_is_in_one_task_and_all_tasks_have_much_to_do(divided: tuple[Any, Sharing]) -> None:
    rows = by_task(divided)
    assert len({row["url_key"] for part in rows.values() for row in part}) == sum(map(len, rows.values())) == 1100
    assert min(map(len, rows.values())) > 100


def test_only_those_who_own_a_host_have_its_urls(divided: tuple[Any, Sharing]) -> None:
    sharing = divided[1]
    assert sharing.spread == {"large.example", "[2001:4860::8]"}
    tasks = defaultdict(set)
    for task, part in by_task(divided).items():
        for row in part:
            if row["address"]:
                tasks[urls.host(row["address"])].add(task)
    for host, asking in tasks.items():
        owners = {
            task
            for task in range(3)
            # One request at once and a third of the rate is what those get who own nothing of it.
            if Sharing(3, task, sharing.spread).share(host, 2) != (1, 1 / 3)
        }
        assert asking == owners
        assert len(owners) == (2 if host in sharing.spread else 1)


def test_a_large_host_is_halved_between_its_owners(divided: tuple[Any, Sharing]) -> None:
    counts = Counter(task for task, part in by_task(divided).items() for row in part if "large.example" in row["url"])
    assert list(counts.values()) == [250, 250]


def test_a_task_has_the_hosts_one_among_the_others(divided: tuple[Any, Sharing]) -> None:
    for part in by_task(divided).values():
        hosts = [urls.host(row["address"]) for row in part if row["address"]]
        for host in divided[1].spread & set(hosts):
            half = len(hosts) // 2
            assert hosts[:half].count(host) == pytest.approx(hosts[half:].count(host), rel=0.5)


def test_adaptive_execution_merges_none_of_it(divided: tuple[Any, Sharing]) -> None:
    frame, _ = divided
    assert frame.sparkSession.conf.get("spark.sql.adaptive.enabled") == "true"
    rows = frame.mapInArrow(lambda batches: batches, frame.schema)
    rows.collect()
    plan = rows._jdf.queryExecution().executedPlan().toString()
    above, _, below = plan.partition("REPARTITION_BY_NUM")
    assert below
    assert "AQEShuffleRead coalesced" not in above
    assert rows.rdd.getNumPartitions() == 3
