"""What robots.txt and X-Robots-Tag mean, also where somebody wrote them to hurt."""

from __future__ import annotations

import asyncio
import gzip
import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from windrow.scoring.fetch import robots
from windrow.scoring.fetch.robots import Rules, RulesCache, forbidden_by

A = "http://example.com/a/b.png"


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("", True),
        ("User-agent: *\nDisallow:", True),
        ("User-agent: *\nDisallow: /", False),
        ("\ufeffUser-agent: *\nDisallow: /", False),
        ("user-agent:*\r\ndisallow:/a", False),
        ("User-agent: *\nDisallow: /b", True),
        ("User-agent: *\nDisallow: /*.png$", False),
        ("User-agent: *\nDisallow: /*.gif$", True),
        ("User-agent: *\nDisallow: /\nAllow: /a/", True),
        ("User-agent: *\nDisallow: / # all of it", False),
        ("User-agent: other\nDisallow: /", True),
        ("User-agent: wind\nDisallow: /", True),
        ("User-agent: windrower\nDisallow: /", True),
        ("User-agent: WINDROW/2.0\nDisallow: /", False),
        ("User-agent: *\nDisallow: /\n\nUser-agent: Windrow\nDisallow: /x", True),
        ("User-agent: *\nDisallow: /x\n\nUser-agent: other\nUser-agent: windrow\nDisallow: /", False),
        ("User-agent: windrow\nUser-agent: other\nDisallow: /", False),
        ("Disallow: /", True),
        ("User-agent: *\nDisallow /", False),
        ("User-agent: *\nDisallow: /\nAllow/a /b:*", False),
        ("<html><body>User-agent: *\nDisallow: /</body>", True),
        ("Sitemap: http://example.com/x\nUser-agent: *\nSitemap: http://example.com/y\nDisallow: /", False),
    ],
)
def test_a_robots_txt_says_what_it_says(text: str, allowed: bool) -> None:
    assert Rules(text.encode()).allow(A) == allowed


@pytest.mark.parametrize(("text", "delay"), [("2", 2), ("0.5", 0.5), ("-1", 0), ("nan", 0), ("inf", 0), ("x", 0)])
def test_a_crawl_delay_is_a_number_of_seconds(text: str, delay: float) -> None:
    assert Rules(f"User-agent: *\nCrawl-delay: {text}\nDisallow: /x".encode()).crawl_delay == delay


@pytest.mark.parametrize(
    "lines",
    [
        "User-agent: bot{}\n",
        "User-agent: *\nDisallow: /*{}*x*y*z$\n",
        "User-agent: *\nDisallow: /{}\n",
        "Allow: /*{}$\n",
        "\0\xff{}",
    ],
)
def test_a_robots_txt_that_was_written_to_hurt_is_read_in_time(lines: str) -> None:
    text = "User-agent: *\nAllow: /a\n" + "".join(lines.format(number) for number in range(40_000))
    rules = Rules(text.encode())
    kept = robots._ours(text).splitlines()
    agents, paths = ({line for line in kept if line.lower().startswith("user") == of_agents} for of_agents in (1, 0))
    # Each pattern is tried on each URL, and each agent is compared with all others.
    assert sum("*" in path or "$" in path for path in paths) <= robots._MAX_PATTERNS
    assert len(agents) <= 3
    for _ in range(20):
        rules.allow(f"http://example.com/{'xyz' * 2500}")


ANY_RULES = st.lists(
    st.sampled_from(["User-agent: *", "User-agent: Windrow", "Disallow: /a", "Allow: *", "Crawl-delay: ", "\r", "#"])
    | st.text(max_size=20)
).map("\n".join)


@given(ANY_RULES.map(str.encode) | st.binary(max_size=60))
def test_any_robots_txt_gives_an_answer_and_a_delay_that_can_be_waited(body: bytes) -> None:
    rules = Rules(body)
    assert rules.allow(A) in (True, False)
    assert rules.crawl_delay >= 0
    assert math.isfinite(rules.crawl_delay)


PATHS = st.text("ab/", max_size=4).map(lambda path: f"/{path}")


@given(st.lists(st.tuples(st.booleans(), PATHS), max_size=6), PATHS)
def test_of_plain_paths_the_longest_decides_and_of_two_as_long_the_one_that_allows(
    rules: list[tuple[bool, str]], path: str
) -> None:
    text = "".join(f"{'Allow' if allows else 'Disallow'}: {start}\n" for allows, start in rules)
    matching = [(len(start), allows) for allows, start in rules if path.startswith(start)]
    expected = max(matching, default=(0, True))[1]
    assert Rules(f"User-agent: *\n{text}".encode()).allow(f"http://example.com{path}") == expected


@given(st.lists(st.text(max_size=30) | st.sampled_from(["noai", "x: noai", "windrow: none, all", ",,:"]), max_size=4))
def test_any_tags_forbid_by_a_word_that_stands_there_or_not_at_all(headers: list[str]) -> None:
    found = forbidden_by(headers)
    assert found is None or (found in robots._FORBIDDING and any(found in header.lower() for header in headers))


def test_patterns_beyond_the_limit_forbid_more_and_allow_no_more() -> None:
    many = "".join(f"Disallow: /no{number}*\n" for number in range(500))
    rules = Rules(f"User-agent: *\n{many}Disallow: /a/*.gif\nAllow: /a/*.png\n".encode())
    assert not rules.allow(A)
    assert rules.allow("http://example.com/c.png")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize(
    "packing", [bytes, gzip.compress, lambda body: gzip.compress(body)[:-9], lambda body: body[:-1]]
)
def test_a_robots_txt_forbids_in_any_encoding_and_packing(encoding: str, packing: Callable[[bytes], bytes]) -> None:
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    text = f"{mark}User-agent: *\r\nDisallow: /private/\r\n# end\r\n"
    rules = Rules(packing(text.encode(encoding)))
    assert not rules.allow("http://example.com/private/a.png")
    assert rules.allow("http://example.com/a.png")


def test_a_packed_robots_txt_is_unpacked_up_to_its_limit() -> None:
    text = b"User-agent: *\nDisallow: /a/\n" + b"#" * robots.MAX_BYTES + b"\nDisallow: /b/\n"
    rules = Rules(gzip.compress(text * 3))
    assert [rules.allow(f"http://example.com/{place}/c.png") for place in "ab"] == [False, True]


def test_what_comes_after_500_kib_does_not_count() -> None:
    text = b"User-agent: *\n" + b"# " + b"x" * robots.MAX_BYTES + b"\nDisallow: /\n"
    assert Rules(text).allow(A)


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([], None),
        (["nofollow, noarchive"], None),
        (["noai"], "noai"),
        (["NoImageAI, nofollow"], "noimageai"),
        (["nofollow", "noindex"], "noindex"),
        (["none"], "none"),
        (["all"], None),
        (["googlebot: noindex, noai"], None),
        (["Windrow: noindex"], "noindex"),
        (["noarchive, windrow: noai"], None),
        (["unavailable_after: 25 Jun 2010 15:00:00 PST, noai"], "noai"),
        (["max-snippet:-1, noai"], "noai"),
    ],
)
def test_a_tag_speaks_to_all_or_to_the_one_that_it_names(headers: list[str], found: str | None) -> None:
    assert forbidden_by(headers) == found


def test_rules_are_asked_once_however_many_wait_even_if_one_gives_up() -> None:
    asked: list[str] = []
    answered = asyncio.Event()

    async def ask(origin: str) -> Rules | str:
        asked.append(origin)
        await answered.wait()
        return Rules()

    async def many() -> None:
        kept = RulesCache(ask)
        waiting = [asyncio.create_task(kept.of("http://a")) for _ in range(10)]
        while not asked:
            await asyncio.sleep(0)
        waiting[0].cancel()
        answered.set()
        await asyncio.gather(*waiting[1:])
        await kept.of("http://a")
        await kept.of("http://b")

    asyncio.run(many())
    assert asked == ["http://a", "http://b"]


def test_what_rules_are_kept_has_a_bound() -> None:
    rules = Rules(b"User-agent: *\n" + b"Disallow: /x\nDisallow: /y\n" * 10_000)

    async def ask(_: str) -> Rules | str:
        return rules

    async def many() -> tuple[int, int]:
        kept = RulesCache(ask)
        for number in range(40):
            await kept.of(f"http://{number}")
        return len(kept._cached), kept._characters

    hosts, characters = asyncio.run(many())
    assert 0 < characters <= robots._CACHED_CHARACTERS
    assert 0 < hosts < 40
