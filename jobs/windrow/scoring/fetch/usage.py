"""Read what an answer's headers say about the use of its content.

    stated(response.headers)                    # '{"content-usage":"train-ai=n"}'
    refusal('{"tdm-reservation":"1"}')          # "tdm-reservation: 1"

Content-Usage is a draft of the IETF (draft-ietf-aipref-attach and draft-ietf-aipref-vocab): a dictionary of categories
of use with y or n. tdm-reservation is of the W3C's Community Group TDMRep: 1 reserves text and data mining.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from windrow.scoring.fetch.reasons import LONGEST, clean

if TYPE_CHECKING:
    from multidict import MultiMapping

TRAINING = "train-ai"
"""The category of Content-Usage for the training of models."""

_USAGE, _RESERVATION = "content-usage", "tdm-reservation"
_BETWEEN = re.compile(r'(?:[^,"]|"[^"]*"?)+')  # what stands between commas; those in quotes are text
_MEMBER = re.compile(r'[ \t]*([a-z*][a-z0-9_.*-]*)(?:=("[^"]*"|[^ \t;"]*))?[ \t]*(?:;|$)')  # a key, and its value


def stated(headers: MultiMapping[str]) -> str | None:
    """Return an answer's headers about use as a JSON object, with names in lower case; None if there is none.

    They are cut to 300 characters, but a preference about training is not lost.
    """
    found = {name: ", ".join(headers.getall(name)) for name in (_USAGE, _RESERVATION) if name in headers}
    if len(found.get(_USAGE, "")) > LONGEST and (training := _members(found[_USAGE]).get(TRAINING)) is not None:
        found[_USAGE] = f"{TRAINING}={training}"
    kept = {name: clean(text) for name, text in found.items()}
    return json.dumps(kept, separators=(",", ":")) if kept else None


def refusal(usage: str | None) -> str | None:
    """Return the header that reserves the training of models; None if none does.

    Args:
        usage: what `stated` returned.
    """
    said: dict[str, str] = json.loads(usage) if usage else {}
    if _members(said.get(_USAGE, "")).get(TRAINING) == "n":
        return f"Content-Usage: {said[_USAGE]}"
    return f"{_RESERVATION}: 1" if said.get(_RESERVATION) == "1" else None


def _members(text: str) -> dict[str, str]:
    """Return the members of a dictionary of structured fields (RFC 9651) with their values; the last of a key counts.

    A member that can't be read is skipped, so that one mistake does not undo a host's other preferences.
    """
    found = (_MEMBER.match(member) for member in _BETWEEN.findall(text))
    return {match[1]: match[2] or "" for match in found if match}
