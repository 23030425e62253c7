"""Any robots.txt is read in bounded time, means what a whole parser makes of it, and delays by what can be waited."""

from __future__ import annotations

import math
import re

from protego import Protego
from windrow.scoring.fetch import robots, urls
from windrow.scoring.fetch.robots import AGENT, Rules, forbidden_by

from fuzz.bounds import bounded, lowered

LONGEST = 4000
TOKENS = [
    *(
        "User-agent:",
        "user agent",
        "User-Agent: *\n",
        "User-agent: Windrow\n",
        "windrow/2",
        "Disallow:",
        "Disallow: /\n",
    ),
    *(
        "disalow",
        "dissallow",
        "Allow:",
        "Crawl-delay:",
        "Crawl delay",
        "Sitemap:",
        "*",
        "$",
        "#",
        "%2F",
        "%ff",
        "/a/b.png",
    ),
    *("\r", "\r\n", "\u2028", "\x85", "\ufeff", "noai", "noindex", "none", "unavailable_after:", "windrow:", "\0"),
]
# Lines that every parser takes the same way. Elsewhere protego differs from RFC 9309: in parts of agents' names, say.
_PLAIN = re.compile(r"(?:User-agent: (?:\*|Windrow|x+)|(?:Disallow|Allow): /[^\s#]*|#.*|)")
_LOW = {"windrow.scoring.fetch.robots._MAX_PATTERNS": 3, "windrow.scoring.fetch.robots.MAX_BYTES": 1000}
_A = "http://example.com/a/b.png?c=d"
SEEDS = [
    text.encode()
    for text in (
        *("", "User-agent: *\nDisallow: /\n", "User-agent: *\nDisallow: /*.png$\nAllow: /a/\nCrawl-delay: 2\n"),
        "\ufeffUser-agent: Windrow/2.0 # us\r\nDisallow: /x\r\n\r\nUser-agent: other\r\nUser-agent: *\r\nDisallow: /a",
        "user agent: *\ndissalow /a\nallow: /a/b\ncrawl delay: 0.5\nSitemap: http://example.com/s.xml\n",
        "User-agent: *\n" + "Allow: /*\nDisallow: /b$\n" * 5 + "Disallow: /a*b\nAllow: /a/*.png",
        "<html>User-agent: *\nDisallow: /",
        "User-agent: *\nDisallow: /%61/\nAllow: /é*\n\0googlebot: noindex\0windrow: noai\0unavailable_after: 1, none",
    )
]


def check(data: bytes) -> None:
    """Read the bytes before the first NUL as a robots.txt, and those between the others as X-Robots-Tag headers.

    Inputs with an odd length meet low limits.
    """
    is_low = len(data) % 2 == 1
    with lowered(_LOW, is_low), bounded(mebibytes=100, seconds=3):
        _check(data, is_low)


def _check(data: bytes, is_low: bool) -> None:
    body, *headers = data.split(b"\0")
    rules = Rules(body)
    allowed = rules.allow(_A)
    assert allowed in (True, False)
    assert rules.crawl_delay >= 0
    assert math.isfinite(rules.crawl_delay)
    assert rules.characters <= robots.MAX_BYTES + 100_000, "the rules that are kept are no longer than the file"
    text = body.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    reduced = robots._ours(text)
    assert robots._ours(reduced) == reduced, reduced
    if not is_low and all(_PLAIN.fullmatch(line) for line in text.splitlines()):
        assert Protego.parse(text).can_fetch(_A, AGENT) == allowed, (text, reduced)
    tags = [header.decode("latin-1") for header in headers]
    found = forbidden_by(tags)
    assert found is None or (found in robots._FORBIDDING and any(found in tag.lower() for tag in tags)), tags
    if (address := _as_url(body)) is not None:
        assert rules.allow(address) in (True, False)


def _as_url(line: bytes) -> str | None:
    target = urls.understand(line[:200])
    return target.address if target else None
