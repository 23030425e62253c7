"""Check, before anything is trained, that the page allows the addresses in its feed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from itertools import islice
from pathlib import Path

from windrow.errors import UserError
from windrow.experiment.scoring import ScoringSection
from windrow.plural import counted
from windrow.scoring.feed import formats
from windrow.scoring.fetch import urls
from windrow.scoring.fetch.addresses import refusal

_LOOKED_AT = 100  # URLs; enough to see a feed that is meant for one server


def check(scoring: ScoringSection, files: Sequence[Path]) -> None:
    """Refuse a feed whose first 100 URLs all have addresses that a scoring run would not contact.

    Only hosts that are written as an address, and localhost, are judged: nothing is looked up.

    Args:
        scoring: the page's section.
        files: the feed's files, one or more.

    Raises:
        UserError: all are refused, or a file can't be read as a feed.
    """
    hosts = [urls.host(target.address) for target in islice(_targets(files), _LOOKED_AT) if target.address]
    refused = {host for host in hosts if (found := _address(host)) and refusal(found, scoring.allow_addresses)}
    if hosts and refused.issuperset(hosts):
        shown = min(refused)
        raise UserError(
            f"the feed's hosts must be on the public internet or in scoring.allow_addresses; got {shown} in "
            f"{files[0]}, and no other kind in the first {counted(len(hosts), 'URL')}; if these hosts are yours, write "
            f"allow_addresses: [{_network(shown)}] under scoring on the page"
        )


def _address(host: str) -> str | None:
    """Return the address that a host is; None for a name that must be looked up."""
    if host == "localhost":
        return "127.0.0.1"
    try:
        return str(ip_address(host.strip("[]")))
    except ValueError:
        return None


def _network(host: str) -> str:
    """Return the network of one host as it is written on a page."""
    address = _address(host) or host
    return f'"{address}/128"' if ":" in address else f"{address}/32"


def _targets(files: Sequence[Path]) -> Iterator[urls.Target]:
    for path in files:
        for piece in formats.pieces(path, formats.kind(path), 0, path.stat().st_size):
            yield from formats.targets(piece)
