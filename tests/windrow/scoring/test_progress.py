"""Progress: what tasks tell adds up, a line now and then says it, and no task is held up or fails by it."""

from __future__ import annotations

import math
import queue
import re
import threading
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest
from harness.predictions import row_of
from windrow.channel import Address, Channel
from windrow.scoring import progress
from windrow.scoring.progress import Tally
from windrow.scoring.table.prediction import Prediction


def rows(*statuses: str) -> Iterator[Prediction]:
    yield from (row_of("http://a.example/1", status) for status in statuses)


def heard(*contents: dict[str, Any], urls: int = 100) -> Tally:
    tally = Tally(urls)
    for content in contents:
        tally.add(content)
    return tally


def said(task: int, attempt: int, **counts: int) -> dict[str, Any]:
    return {"task": task, "attempt": attempt, "counts": counts}


def test_a_task_says_what_it_counted_and_its_rows_pass_unchanged() -> None:
    with Channel("127.0.0.1") as line:
        listener = progress._Listener(line.inbox, 3)
        listener.start()
        passed = list(progress.reported(rows("ok", "timeout", "ok"), line.address, task=4, attempt=9))
        line.inbox.put(None)
        listener.join(20)
    assert passed == list(rows("ok", "timeout", "ok"))
    assert listener._tally.counts == {"ok": 2, "timeout": 1}


def test_the_first_word_and_the_last_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with Channel("127.0.0.1") as line:
        listener = progress._Listener(line.inbox, 4)
        listener.start()
        for task in (0, 1):
            list(progress.reported(rows("ok", "http_error"), line.address, task, task))
        line.inbox.put(None)
        listener.join(20)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("[4/4] 2 ok; 2 failed: 2 http_error")
    assert 1 < len(lines) <= 3


def test_without_an_address_nobody_is_told() -> None:
    assert list(progress.reported(rows("ok"), None)) == list(rows("ok"))
    assert "progress" not in {thread.name for thread in threading.enumerate()}


def test_a_driver_that_is_not_there_costs_no_row() -> None:
    with Channel("127.0.0.1") as line:
        gone = line.address
    assert len(list(progress.reported(rows(*["ok"] * 1000), gone))) == 1000


def test_one_that_does_not_know_the_secret_is_not_heard() -> None:
    with Channel("127.0.0.1") as line:
        stranger = Address(line.address.host, line.address.port, b"x" * 32)
        assert len(list(progress.reported(rows("ok"), stranger))) == 1
        with pytest.raises(queue.Empty):
            line.inbox.get(timeout=0.2)


def test_a_pass_that_is_left_early_ends_its_thread() -> None:
    with Channel("127.0.0.1") as line:
        listener = progress._Listener(line.inbox, 9)
        listener.start()
        passing = progress.reported(rows("ok", "ok", "ok"), line.address)
        next(passing)
        passing.close()  # type: ignore[attr-defined]
        line.inbox.put(None)
        listener.join(20)
        assert not [thread for thread in threading.enumerate() if thread.name == "progress"]


def test_a_later_word_of_a_task_replaces_an_earlier_one() -> None:
    tally = heard(said(0, 5, ok=3), said(1, 6, ok=1), said(0, 5, ok=7, timeout=1))
    assert tally.counts == {"ok": 8, "timeout": 1}


def test_a_task_that_runs_again_begins_again_and_its_first_try_is_heard_no_more() -> None:
    assert heard(said(0, 5, ok=30), said(0, 8, ok=2)).done == 2
    assert heard(said(0, 5, ok=30), said(0, 8, ok=2), said(0, 5, ok=31)).done == 2


@pytest.mark.parametrize(
    "nonsense",
    [
        *({}, {"task": 0}, said(0, 1, no_status=3), {"task": "x", "attempt": 1, "counts": {}}),
        *({"task": 0, "attempt": 1, "counts": 5}, {"task": 0, "attempt": 1, "counts": {"ok": "many"}}),
        {"task": [], "attempt": {}, "counts": None},
        {"task": math.inf, "attempt": 1, "counts": {}},
        *(said(0, 1, ok=count) for count in (-3, 10**400, math.inf, math.nan, 1.5)),
        *({**said(0, 1, ok=3), "seconds_left": left} for left in (math.inf, math.nan, 1e300, -1e300, "x", 10**400)),
    ],
)
def test_what_makes_no_sense_is_dropped(nonsense: dict[str, Any]) -> None:
    assert heard(said(0, 1, ok=2), nonsense).counts == {"ok": 2}


def test_a_line_says_how_far_how_well_and_what_fails_most() -> None:
    counts = {"ok": 40, "timeout": 5, "http_error": 4, "too_large": 3, "broken_image": 2, "invalid_url": 1}
    tally = heard(said(0, 1, **counts), urls=2000)
    line = "[55/2,000] 40 ok; 15 failed: 5 timeout, 4 http_error, 3 too_large, 2 broken_image, 1 other"
    assert tally.line() == line  # it is too early for a pace
    tally._started = monotonic() - 20
    assert re.fullmatch(re.escape(line) + r"; [12]\.\d images a second; about 1[12] min left", tally.line())


def test_the_time_that_is_left_goes_by_the_pace_so_far() -> None:
    tally = Tally(400)
    assert tally._time_left(100, 20.0) == ["about 60 s left"]
    assert tally._time_left(100, 200.0) == ["about 10 min left"]
    assert tally._time_left(400, 20.0) == tally._time_left(0, 20.0) == tally._time_left(100, 0.1) == []


@pytest.mark.spark
def test_tasks_on_spark_are_heard_and_counted(spark: Any, capsys: pytest.CaptureFixture[str]) -> None:
    row = row_of("http://a.example/1")  # here: executors have no test's files
    with progress.shown(spark, 20) as address:

        def task(number: int, items: Any) -> Any:
            yield from progress.reported((row for _ in items), address, number)

        assert spark.sparkContext.parallelize(range(20), 4).mapPartitionsWithIndex(task).count() == 20
    assert capsys.readouterr().err.splitlines()[-1].startswith("[20/20] 20 ok")


def test_the_time_left_is_the_slowest_hosts_where_that_is_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(progress, "monotonic", lambda: now + 1000)
    tally = Tally(5010)
    tally.add({**said(0, 1, ok=0), "seconds_left": 0.0})
    now = 1500.0
    tally.add({**said(0, 1, ok=5000), "seconds_left": 100.0})
    tally.add({**said(1, 1), "seconds_left": 20.0})
    assert "about 2 min left" in tally.line()  # by the pace it would be 3 s
    now = 1597.0
    assert "about 3 s left" in tally.line()


def test_a_task_reports_what_its_hosts_need() -> None:
    with Channel("127.0.0.1") as line:
        listener = progress._Listener(line.inbox, 9)
        listener.start()
        list(progress.reported(rows("ok"), line.address, 4, 1, lambda: 7000.0))
        line.inbox.put(None)
        listener.join(20)
    assert listener._tally._free_at[4] == pytest.approx(monotonic() + 7000, abs=60)
