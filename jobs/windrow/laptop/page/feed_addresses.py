"""Check, before anything is trained, that the page allows the addresses in its feed."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from itertools import islice
from pathlib import Path

from windrow.errors import UserError
from windrow.experiment.scoring import ScoringSection
from windrow.plural import counted
from windrow.scoring.feed import file_forms, formats
from windrow.scoring.feed.feed_reports import FeedFileError
from windrow.scoring.feed.formats import Piece
from windrow.scoring.fetch import urls
from windrow.scoring.fetch.addresses import refusal

_FILES = 100  # a feed may have a file for each day of years
_URLS = 100  # of each file; enough to see a file that is meant for one server


def check(scoring: ScoringSection, files: Sequence[Path]) -> None:
    """Refuse a feed whose URLs all have addresses that a scoring run would not contact.

    The first 100 URLs of each file are looked at, in at most 100 files: the last one, and others at equal distances. If
    only some of these URLs would not be contacted, a line on standard error says so. Only hosts that are written
    as an address, and localhost, are judged: nothing is looked up.

    Args:
        scoring: the page's section.
        files: the feed's files, one or more.

    Raises:
        UserError: all are refused, or none of the files can be read as a feed.
    """
    looked_at = files[:: -math.ceil(len(files) / _FILES)]
    found = [(target.address, path) for path, pieces in _readable(looked_at) for target in _first(pieces)]
    hosts = [(urls.host(address), path) for address, path in found if address]
    refused = [(host, path) for host, path in hosts if _is_refused(host, scoring)]
    if not refused:
        return
    shown, path = min(refused)
    allow = f"allow_addresses: [{_network(shown)}] under scoring on the page"
    if len(refused) == len(hosts):
        raise UserError(
            f"the feed's hosts must be on the public internet or in scoring.allow_addresses; got {shown} in "
            f"{path}, and no other kind in the {counted(len(hosts), 'URL')} looked at; if these hosts are yours, write "
            f"{allow}"
        )
    print(
        f"warning: {len(refused):,} of the {counted(len(hosts), 'URL')} looked at in the feed will get no label, "
        f"because scoring.allow_addresses does not have their hosts, such as {shown} in {path}; if these hosts are "
        f"yours, write {allow}",
        file=sys.stderr,
    )


def _is_refused(host: str, scoring: ScoringSection) -> bool:
    found = _address(host)
    return found is not None and refusal(found, scoring.allow_addresses) is not None


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


def _first(pieces: Sequence[Piece]) -> Iterator[urls.Target]:
    return islice((target for piece in pieces for target in formats.targets(piece)), _URLS)


def _readable(files: Sequence[Path]) -> Iterator[tuple[Path, list[Piece]]]:
    """Yield the files that can be read, with their pieces, and warn of the others.

    Raises:
        UserError: none can be read.
    """
    refused: list[FeedFileError] = []
    for path in files:
        try:
            size = path.stat().st_size
            yield path, formats.pieces(path, file_forms.find(path, size)[0], 0, size)
        except FeedFileError as error:
            refused.append(error)
            print(f"warning: a run will refuse {error}", file=sys.stderr)
    if refused and len(refused) == len(files):
        raise refused[0]
