"""Remember which of the page's keys decided a row, and find out whether another value could decide otherwise.

    keys = DecidingKeys.of(page.scoring)
    keys.decided_by(Status.TOO_LARGE, final=True)           # '{"scoring.max_bytes":20000000}'
    keys.loosened('{"scoring.max_bytes":1000000}')          # ["max_bytes"]: the URL is due again

A row holds the values that decided it. A page that returns to an earlier value therefore makes no row due: that
value is no looser than the one in the row. status.py says which keys decide which status.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from itertools import chain
from typing import TYPE_CHECKING, Any

from windrow.scoring.fetch.status import RULES, Status

if TYPE_CHECKING:
    from windrow.experiment import ScoringSection

ATTEMPTS = "attempts"
"""The key that makes a passing status final."""

NAMES = frozenset({ATTEMPTS, *chain.from_iterable(rule.keys for rule in RULES.values())})
"""The keys that can decide a row; like everywhere here, without the section's name."""

_SECTION = "scoring."


@dataclass(frozen=True)
class DecidingKeys:
    """The page's values of the keys that can decide a row, as JSON values; without values no key decides any row."""

    values: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, section: ScoringSection) -> DecidingKeys:
        """Take the values from a page's scoring section."""
        return cls(section.model_dump(mode="json", include=set(NAMES)))

    def decided_by(self, status: Status, final: bool) -> str | None:
        """Return the keys that decide a row, with their values, as a JSON object; None if no key does.

        Args:
            status: the row's status.
            final: whether the row has no next attempt.
        """
        names = [*status.rule.keys, *([ATTEMPTS] if status.passing and final else [])]
        found = {f"{_SECTION}{name}": self.values[name] for name in names if name in self.values}
        return json.dumps(found, separators=(",", ":")) if found else None

    def loosened(self, decided_by: str) -> list[str]:
        """Return the keys whose value on the page could now decide otherwise than the value in a row's `decided_by`."""
        before = {name.removeprefix(_SECTION): value for name, value in json.loads(decided_by).items()}
        return [name for name, value in before.items() if name in self.values and _looser(value, self.values[name])]


def _looser(before: Any, now: Any) -> bool:
    """Return whether a value permits what an earlier one did not: a larger number, more networks, no robots rules."""
    if isinstance(now, bool):
        return bool(before) and not now  # scoring.robots: true forbids
    if isinstance(now, list):
        return not _covers(before, now)
    return bool(now > before)


def _covers(before: Sequence[str], now: Sequence[str]) -> bool:
    """Return whether all addresses of the networks `now` are in the networks `before`."""
    return set(_collapsed([*before, *now])) == set(_collapsed(before))


def _collapsed(networks: Sequence[str]) -> list[IPv4Network | IPv6Network]:
    """Return the fewest networks with the same addresses."""
    found = [ip_network(network) for network in networks]
    fours = [network for network in found if isinstance(network, IPv4Network)]
    sixes = [network for network in found if isinstance(network, IPv6Network)]
    return [*collapse_addresses(fours), *collapse_addresses(sixes)]


NO_KEYS = DecidingKeys()
