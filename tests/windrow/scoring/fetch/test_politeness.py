"""Turns at a host, and how tasks that say no word to each other keep its limits together."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from windrow.scoring.fetch import politeness
from windrow.scoring.fetch.politeness import ALONE, Host, Hosts, HostUnavailableError, Sharing, retry_after

NAMES = [f"host{number}.example" for number in range(200)]


@given(st.integers(1, 100), st.integers(1, 100), st.text(max_size=20), st.booleans())
def test_what_the_owners_of_a_host_may_do_adds_up_to_its_limits(
    tasks: int, at_once: int, name: str, is_spread: bool
) -> None:
    spread = frozenset({name} if is_spread else ())
    shares = [Sharing(tasks, task, spread).share(name, at_once) for task in range(tasks)]
    owners = Sharing(tasks, 0, spread).owners(name, at_once)
    owning = sorted(shares, key=lambda share: -share[1])[:owners]
    assert owners == (min(tasks, at_once) if is_spread else 1)
    assert sum(requests for requests, _ in owning) == at_once
    assert sum(part for _, part in owning) == pytest.approx(1)
    assert min(requests for requests, _ in owning) >= 1
    # The others come there by redirects only.
    assert sum(part for _, part in shares) <= 2


def test_hosts_of_one_task_each_are_spread_over_all_tasks() -> None:
    owners = [next(task for task in range(4) if Sharing(4, task).share(name, 4) == (4, 1)) for name in NAMES]
    assert all(30 <= owners.count(task) <= 70 for task in range(4))


async def take_turns(host: Host, turns: int, held: float = 0.0) -> tuple[list[float], int]:
    """(seconds at which each turn began, the most at once)."""
    begun: list[float] = []
    at_once = most = 0
    started = time.monotonic()

    async def one() -> None:
        nonlocal at_once, most
        async with host.turn(patience=10):
            begun.append(time.monotonic() - started)
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(held)
            at_once -= 1

    await asyncio.gather(*(one() for _ in range(turns)))
    return begun, most


def test_no_more_than_so_many_are_at_a_host_at_once() -> None:
    host = Hosts(at_once=3, rate=None, sharing=ALONE).of("http://a.example/")
    begun, most = asyncio.run(take_turns(host, 12, held=0.02))
    assert (len(begun), most) == (12, 3)


@pytest.mark.parametrize("spread", [frozenset[str](), frozenset({"a.example"})])
def test_turns_come_at_the_rate_of_the_tasks_share(spread: frozenset[str]) -> None:
    host = Hosts(at_once=4, rate=50, sharing=Sharing(1 + len(spread), 0, spread)).of("http://a.example/")
    begun, _ = asyncio.run(take_turns(host, 6))
    interval = 1 / 50 * (2 if spread else 1)
    # None is early, however late a busy machine lets one be.
    assert all(at >= 0.99 * number * interval for number, at in enumerate(sorted(begun)))


def test_a_host_has_one_set_of_turns_whatever_the_port_and_the_scheme() -> None:
    hosts = Hosts(4, 10, ALONE)
    one = hosts.of("http://a.example/x")
    assert hosts.of("https://a.example.:8443/y") is one
    assert hosts.of("http://b.example/x") is not one


def test_a_pause_longer_than_patience_is_not_waited_for() -> None:
    async def ask() -> datetime | None:
        host = Host(4, 0, 1)
        host.pause(datetime.now(UTC) + timedelta(seconds=100))
        with pytest.raises(HostUnavailableError, match="pause of 20 s") as caught:
            async with host.turn(patience=20):
                pass
        return caught.value.next_attempt

    due = asyncio.run(ask())
    assert due is not None
    assert 95 < (due - datetime.now(UTC)).total_seconds() <= 100


def given_up(*outcomes: bool) -> bool:
    """Whether a host gets no turn after these outcomes: True for an answer, False for a URL that failed."""

    async def ask() -> bool:
        host = Host(4, 0, 1)
        for is_answer in outcomes:
            host.answered() if is_answer else host.failed()
        try:
            async with host.turn(1):
                return False
        except HostUnavailableError:
            return True

    return asyncio.run(ask())


def test_a_host_that_fails_in_a_row_is_given_up_and_one_answer_clears_it() -> None:
    failures = [False] * politeness.FAILURES_IN_A_ROW
    assert not given_up(*failures[1:])
    assert given_up(*failures)
    assert not given_up(*failures[1:], True, *failures[1:])


@pytest.mark.parametrize(
    ("answered", "failed", "most"), [(1, 0, 60), (500, 0, 11), (500, 500, 21), (200, 600, 41), (1, 9, 100)]
)
def test_a_host_that_answers_a_part_is_given_up_after_more_failures(answered: int, failed: int, most: int) -> None:
    history = [False] * (failed // answered)
    whole = [*history, True] * answered
    assert not given_up(*whole, *[False] * (most - 1))
    assert given_up(*whole, *[False] * most)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.8, 0.9])
def test_a_host_that_fails_a_share_at_random_is_seldom_given_up(share: float) -> None:
    chance = random.Random(7)

    def is_given_up() -> bool:
        host = Host(4, 0, 1)
        host.answered()
        for _ in range(3000):
            host.failed() if chance.random() < share else host.answered()
            with contextlib.suppress(HostUnavailableError):
                host._wait(1)
                continue
            return True
        return False

    assert sum(is_given_up() for _ in range(10)) <= (1 if share < 0.9 else 3)


async def order_of_turns(host: Host, first: Sequence[tuple[str, bool]]) -> list[str]:
    """The order in which requests that come while all turns are taken get theirs: (name, whether it has begun)."""
    got: list[str] = []

    async def one(name: str, begun: bool) -> None:
        async with host.turn(10, begun=begun):
            got.append(name)

    async with host.turn(10):
        tasks = [asyncio.create_task(one(name, begun)) for name, begun in first]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    return got


def test_what_has_begun_and_what_has_not_come_in_turn() -> None:
    waiting = [("a", False), ("b", False), ("second try", True), ("c", False), ("next hop", True)]
    assert asyncio.run(order_of_turns(Host(1, 0, 1), waiting)) == ["second try", "a", "next hop", "b", "c"]


def test_a_doubtful_host_is_asked_for_any_url_that_waits_and_none_is_lost() -> None:
    names = [str(number) for number in range(1000)]
    waiting = [(name, False) for name in names]
    assert asyncio.run(order_of_turns(Host(1, 0, 1), waiting)) == names
    host = Host(1, 0, 1)
    for _ in range(5):
        host.failed()
    mixed = asyncio.run(order_of_turns(host, waiting))
    assert sorted(mixed) == sorted(names)
    assert len([name for name in mixed[:10] if int(name) >= 10]) >= 5


def test_a_request_that_is_given_up_while_it_waits_takes_no_turn_with_it() -> None:
    async def ask() -> list[str]:
        host = Host(1, 0, 1)
        got: list[str] = []

        async def one(name: str) -> None:
            async with host.turn(10):
                got.append(name)

        async with host.turn(10):
            tasks = [asyncio.create_task(one(name)) for name in "abc"]
            await asyncio.sleep(0)
            tasks[1].cancel()
        tasks[0].cancel()  # in the moment in which it has got its turn
        await asyncio.gather(*tasks, return_exceptions=True)
        async with host.turn(10):
            return got

    assert asyncio.run(ask()) == ["c"]


def test_the_time_that_the_longest_queue_needs_is_known() -> None:
    async def ask() -> list[float]:
        hosts = Hosts(1, 2, ALONE)
        slow, quick = hosts.of("http://slow.example/"), hosts.of("http://quick.example/")
        slow.slow_down(10)
        known = [hosts.seconds_left]

        async def one(host: Host) -> None:
            async with host.turn(1000):
                pass

        async with slow.turn(10), quick.turn(10):
            tasks = [asyncio.create_task(one(host)) for host in (slow, slow, slow, quick)]
            await asyncio.sleep(0)
            known.append(hosts.seconds_left)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return known

    nothing, waiting = asyncio.run(ask())
    assert nothing == 0
    assert waiting == pytest.approx(40, abs=1)  # three turns, and ten seconds to the first of them


def test_hosts_not_met_for_long_are_forgotten_but_for_those_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(politeness, "_REMEMBERED_HOSTS", 10)
    hosts = Hosts(4, None, ALONE)
    paused = hosts.of("http://paused.example/")
    paused.pause(datetime.now(UTC) + timedelta(seconds=60))
    quiet = hosts.of("http://quiet.example/")
    for name in NAMES:
        hosts.of(f"http://{name}/")
    assert hosts.of("http://paused.example/") is paused
    assert hosts.of("http://quiet.example/") is not quiet
    assert len(hosts._hosts) <= 11


@given(
    st.text(max_size=40)
    | st.text("0123456789 :,-+GMTFriDec", max_size=40)
    | st.builds(
        "Fri, 31 Dec {} 23:59:59 {}{:04}".format, st.integers(1, 12_000), st.sampled_from("+-"), st.integers(0, 2500)
    )
)
def test_whatever_a_retry_after_says_is_a_time_from_now_to_a_month_or_nothing(header: str) -> None:
    before = datetime.now(UTC)
    wanted = retry_after(header)
    if wanted is not None:
        assert before <= wanted <= datetime.now(UTC) + politeness.LONGEST_WAIT


@given(st.integers(0, 10**30), st.sampled_from(["", " ", "\t"]))
def test_a_retry_after_in_seconds_is_so_many_from_now(seconds: int, blank: str) -> None:
    before = datetime.now(UTC)
    wanted = retry_after(f"{blank}{seconds}{blank}")
    waits = min(timedelta(seconds=min(seconds, 10**8)), politeness.LONGEST_WAIT)
    assert wanted is not None
    assert before + waits <= wanted <= datetime.now(UTC) + waits


def stamp(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0),
        (" 120 ", 120),
        ("0" * 12 + "120", 120),
        ("9" * 400, 30 * 86_400),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 30 * 86_400),
    ],
)
def test_retry_after_is_read_in_both_forms_and_ends_at_a_month(header: str, seconds: float) -> None:
    wanted = retry_after(header)
    assert wanted is not None
    assert politeness.seconds_until(wanted) == pytest.approx(seconds, abs=60)


@pytest.mark.parametrize(
    ("from_now", "zone", "seconds"),
    [(100, "GMT", 100), (100, "-0000", 100), (-5000, "GMT", 0), (400 * 86_400, "GMT", 30 * 86_400)],
)
def test_retry_after_as_a_date_is_read_from_now_on(from_now: float, zone: str, seconds: float) -> None:
    wanted = retry_after(stamp(from_now).replace("GMT", zone))
    assert wanted is not None
    assert politeness.seconds_until(wanted) == pytest.approx(seconds, abs=60)


@pytest.mark.parametrize(
    "header", [None, "", "soon", "-1", "1.5", "1e3", "²", "٣", "Fri, 99 Foo 2026", ", ,", "\udcff"]
)
def test_a_retry_after_that_is_not_clear_says_nothing(header: str | None) -> None:
    assert retry_after(header) is None
