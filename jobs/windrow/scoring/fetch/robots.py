"""What a host says about being asked: robots.txt (RFC 9309) and X-Robots-Tag.

rules = Rules(body)
rules.allow("http://example.com/a.png"), rules.crawl_delay
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Generic, TypeVar

Failure = TypeVar("Failure")

AGENT = "Windrow"
MAX_BYTES = 500 * 1024  # what RFC 9309 wants read at least; more is cut
_KEPT_SECONDS = 24 * 3600
# Of rules' text; what protego makes of it takes up to 75 times as much.
_KEPT_CHARACTERS = 2 * 1024 * 1024
_KEPT_HOSTS = 10_000
# Each is tried on each URL: a file of nothing else would cost a second a URL.
_MAX_PATTERNS = 500
_FORBIDDING = frozenset({"noai", "noimageai", "noindex", "noimageindex", "none"})
_WITH_VALUES = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})
_LINE = re.compile(r"\s*(user[- ]?agent|d\w{2,6}l[oa]w|allow|crawl[- ]delay)\s*:?\s*([^\s#]*)", re.IGNORECASE)
_PRODUCT = re.compile(rf"{AGENT}(?![a-z_-])", re.IGNORECASE)


class Rules:
    """What one robots.txt says to us."""

    def __init__(self, body: bytes = b"") -> None:
        from protego import Protego

        text = _ours(body[:MAX_BYTES].removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace"))
        self._parser = Protego.parse(text)
        self.crawl_delay = float(self._parser.crawl_delay(AGENT) or 0)  # seconds
        self.characters = len(text)

    def allow(self, url: str) -> bool:
        """Whether a normalised URL may be asked."""
        return bool(self._parser.can_fetch(url, AGENT))


def _ours(text: str) -> str:
    """What of a robots.txt can concern us, in a form that is read quickly whatever it holds.

    Thousands of agents would be compared with each other: those that are not we become one. Beyond 500 patterns, what
    they forbid is widened to everything that begins like them, and what they allow is not.
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
    """The rules of the hosts met: asked once however many await them, kept for a day or until they are too many.

    Args:
        ask: an origin (http://example.com:8080) to its rules, or to what says why they can't be had.
    """

    def __init__(self, ask: Callable[[str], Coroutine[Any, Any, Rules | Failure]]) -> None:
        self._ask = ask
        self._kept: OrderedDict[str, tuple[float, asyncio.Task[Rules | Failure]]] = OrderedDict()
        self._characters = 0

    async def of(self, origin: str) -> Rules | Failure:
        """The rules of an origin."""
        expires, asking = self._kept.get(origin, (0.0, None))
        if asking is None or expires < time.monotonic():
            asking = asyncio.create_task(self._ask(origin))
            asking.add_done_callback(self._count)
            self._kept[origin] = (time.monotonic() + _KEPT_SECONDS, asking)
        self._kept.move_to_end(origin)
        # One of those who wait may be cancelled; the others go on waiting.
        return await asyncio.shield(asking)

    async def close(self) -> None:
        """End what is being asked."""
        asking = [task for _, task in self._kept.values()]
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    def _count(self, asked: asyncio.Task[Rules | Failure]) -> None:
        self._characters += _size(asked)
        while len(self._kept) > _KEPT_HOSTS or self._characters > _KEPT_CHARACTERS:
            _, (_, oldest) = self._kept.popitem(last=False)
            self._characters -= _size(oldest)


def _size(asked: asyncio.Task[Rules | Failure]) -> int:
    """Characters of rules; 0 for those that are not there, or not yet."""
    if not asked.done() or asked.cancelled() or asked.exception() is not None:
        return 0
    rules = asked.result()
    return rules.characters if isinstance(rules, Rules) else 0


def forbidden_by(headers: Iterable[str]) -> str | None:
    """The directive of X-Robots-Tag headers that keeps us away from an image; None if there is none.

    A header may begin with the name of the one that it speaks to: `googlebot: noindex` is not for us.
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
