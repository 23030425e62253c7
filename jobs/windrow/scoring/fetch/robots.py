"""Read what a host forbids: robots.txt (RFC 9309) and X-Robots-Tag.

rules = Rules(body)
rules.allow("http://example.com/a.png"), rules.crawl_delay
"""

from __future__ import annotations

import asyncio
import codecs
import re
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, Generic, TypeVar

Failure = TypeVar("Failure")

AGENT = "Windrow"
MAX_BYTES = 500 * 1024  # the minimum that RFC 9309 requires; the rest is cut off
_CACHED_SECONDS = 24 * 3600
# The limit of a cache on the rules' texts, all together; protego's parsed form takes up to 75 times as much memory.
_CACHED_CHARACTERS = 2 * 1024 * 1024
_CACHED_HOSTS = 10_000
# Each pattern is matched with each URL: a file full of patterns would cost a second per URL.
_MAX_PATTERNS = 500
_GZIP = b"\x1f\x8b"
_FORBIDDING = frozenset({"noai", "noimageai", "noindex", "noimageindex", "none"})
_WITH_VALUES = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})
_FIELD = r"(user[- ]?agent|d\w{2,6}l[oa]w|allow|crawl[- ]delay)(?![^\s:#])"
_LINE = re.compile(rf"\s*{_FIELD}\s*:?\s*([^\s#]*)", re.IGNORECASE)
_PRODUCT = re.compile(rf"{AGENT}(?![a-z_-])", re.IGNORECASE)


class Rules:
    """The rules of one robots.txt for this program."""

    def __init__(self, body: bytes = b"") -> None:
        from protego import Protego

        text = _ours(_text(body[:MAX_BYTES]))
        self._parser = Protego.parse(text)
        self.crawl_delay = float(self._parser.crawl_delay(AGENT) or 0)  # seconds
        self.characters = len(text)

    def allow(self, url: str) -> bool:
        """Return whether a normalised URL may be requested."""
        return bool(self._parser.can_fetch(url, AGENT))


def _text(body: bytes) -> str:
    """Return a robots.txt as text, also from a server that packs it without being asked to, or keeps it in UTF-16."""
    if body.startswith(_GZIP):
        with suppress(zlib.error):
            body = zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(body, MAX_BYTES)
    encoding = "utf-16" if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    return body.decode(encoding, "replace")


def _ours(text: str) -> str:
    """Reduce a robots.txt to its lines on user agents, paths and delays, so that any file is parsed quickly.

    All other user agents get one name, because protego compares every agent with every other. Beyond 500 patterns, a
    forbidden pattern is widened to its prefix before the first wildcard, and an allowed pattern is dropped.
    """
    lines: list[str] = []
    patterns = 0
    for field, value in (match.groups() for match in map(_LINE.match, text.splitlines()) if match):
        name = field.lower()
        if name.startswith("user"):
            value = AGENT if _PRODUCT.match(value) else value if value in ("*", "") else "another"
        elif "*" in value or "$" in value:
            patterns += 1
            if patterns > _MAX_PATTERNS:
                if name == "allow":
                    continue
                value = re.split(r"[*$]", value)[0] or "/"
        line = f"{name}: {value}"
        if not (lines and lines[-1] == line):
            lines.append(line)
    return "\n".join(lines)


class RulesCache(Generic[Failure]):
    """The robots.txt rules by origin: downloaded once, and cached for a day or until there are too many.

    Args:
        fetch: returns the rules of an origin (http://example.com:8080), or the reason why they are not known.
    """

    def __init__(self, fetch: Callable[[str], Coroutine[Any, Any, Rules | Failure]]) -> None:
        self._fetch = fetch
        self._cached: OrderedDict[str, tuple[float, asyncio.Task[Rules | Failure]]] = OrderedDict()
        self._characters = 0

    async def of(self, origin: str) -> Rules | Failure:
        """Return the rules of an origin, downloading them if they are not cached."""
        expires, fetching = self._cached.get(origin, (0.0, None))
        if fetching is None or expires < time.monotonic():
            # The task is cached before it is done, so that all URLs that wait for it share one download.
            fetching = asyncio.create_task(self._fetch(origin))
            fetching.add_done_callback(self._count)
            self._cached[origin] = (time.monotonic() + _CACHED_SECONDS, fetching)
        self._cached.move_to_end(origin)
        # If one of the waiting URLs is cancelled, the shared download must not be.
        return await asyncio.shield(fetching)

    async def close(self) -> None:
        """Cancel the downloads that are not finished."""
        fetching = [task for _, task in self._cached.values()]
        for task in fetching:
            task.cancel()
        await asyncio.gather(*fetching, return_exceptions=True)

    def _count(self, fetched: asyncio.Task[Rules | Failure]) -> None:
        self._characters += _size(fetched)
        while len(self._cached) > _CACHED_HOSTS or self._characters > _CACHED_CHARACTERS:
            _, (_, oldest) = self._cached.popitem(last=False)
            self._characters -= _size(oldest)


def _size(fetched: asyncio.Task[Rules | Failure]) -> int:
    """Return the number of characters in the rules; 0 if their download failed or is not finished."""
    if not fetched.done() or fetched.cancelled() or fetched.exception() is not None:
        return 0
    rules = fetched.result()
    return rules.characters if isinstance(rules, Rules) else 0


def forbidden_by(headers: Iterable[str]) -> str | None:
    """Return the first directive of X-Robots-Tag headers that forbids an image; None if none does.

    A header that begins with another agent's name, such as `googlebot: noindex`, is ignored.
    """
    for header in headers:
        agent, colon, rest = header.partition(":")
        named = colon and "," not in agent and agent.strip().lower() not in _WITH_VALUES
        if named and agent.strip().lower() != AGENT.lower():
            continue
        for directive in (rest if named else header).split(","):
            if directive.strip().lower() in _FORBIDDING:
                return directive.strip().lower()
    return None
