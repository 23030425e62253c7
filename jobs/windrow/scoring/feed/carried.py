"""Write the columns that a feed carries next to its URLs as one line of JSON, without a change to any value.

JSON values stay as they are. Other values that JSON has no form for become text; see arrow_json.py for Parquet's.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

LINE_BYTES = 1 << 20
"""The longest JSON record, which is one line: far above a URL with its columns."""

NESTING = 100
"""The deepest nesting of a JSON record, far below what the json module and readers of the table can take."""

_SURE_DIGITS = 15  # a decimal number with so many digits comes back from a double as it was
_EMPTY: tuple[object, ...] = (None, [], {})
_DIGITS = 4000  # Python converts integers of at most 4,300 digits
_STRUCTURE = re.compile(r'\\.|["\[\]{}]', re.DOTALL)


class RecordError(ValueError):
    """A line that is not a JSON object, or one that can't be carried."""


def parse(line: str, whole: bool = True) -> dict[str, object]:
    """Return a line of JSON as a record.

    Args:
        line: the line.
        whole: False if it is only the beginning of a line that is too long.

    Raises:
        RecordError: it is too long or no object, has a key twice, or is nested too deeply.
    """
    if not whole:
        raise RecordError(f"a record must have at most {LINE_BYTES:,} bytes; got a longer line; leave columns out")
    if line.count("[") + line.count("{") > NESTING and _depth(line) > NESTING:
        raise RecordError(f"a record must be nested at most {NESTING} levels deep; got more; flatten it")
    try:
        found = _DECODER.decode(line)
    except RecordError:
        raise
    except (ValueError, RecursionError) as error:
        raise RecordError(f"a line must be one JSON object; {_short(error)}; write one object a line") from error
    if not isinstance(found, dict):
        raise RecordError(f"a line must be one JSON object; got {type(found).__name__}; write one object a line")
    return found


def dump(record: Mapping[str, object]) -> str:
    """Return a record as one line of JSON, valid as UTF-8; NaN and infinity become null."""
    try:
        text = _ENCODER.encode(record)
    except ValueError:
        text = _ENCODER.encode(_finite(record))
    try:
        text.encode()
    except UnicodeEncodeError:  # bytes that were no UTF-8; half a character from a JSON escape stays an escape
        record_of_text = _decoded(_finite(record))
        text = _ENCODER.encode(record_of_text)
        if any("\ud800" <= character <= "\udfff" for character in text):
            text = json.dumps(record_of_text, separators=(",", ":"))
    return text


def filled(extra: str) -> int:
    """Count the columns that hold something: no null, blank text, empty list or empty object; 0 and false are values.

    Args:
        extra: a record's columns, as `dump` writes them.
    """
    values = _PLAIN.raw_decode(extra)[0].values()  # in less time than json.loads
    return len([True for value in values if (value.strip() if value.__class__ is str else value not in _EMPTY)])


def decoded(text: str) -> str:
    """Return text whose bytes are not UTF-8 as Windows reads it (code page 1252), and as Latin-1 where that has a gap.

    Args:
        text: decoded from UTF-8 with the error handler surrogateescape.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        try:
            octets = text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            return text
        try:
            return octets.decode("cp1252")
        except UnicodeDecodeError:
            return octets.decode("latin-1")
    return text


def _decoded(value: object) -> object:
    if isinstance(value, Mapping):
        return {decoded(key): _decoded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_decoded(part) for part in value]
    return decoded(value) if isinstance(value, str) else value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise RecordError(f"a record must have a key once; got {twice[:80]!r} twice; rename one")
    return found


def _float(text: str) -> float | str:
    """Return a number as a double if that keeps it; otherwise as text."""
    number = float(text)
    if len(text) <= _SURE_DIGITS and "e" not in text and "E" not in text:
        return number
    try:
        return number if math.isfinite(number) and Decimal(text) == Decimal(repr(number)) else text
    except InvalidOperation:  # an exponent of more than 18 digits
        return text


def _int(text: str) -> int | str:
    return int(text) if len(text) <= _DIGITS else text


def _constant(text: str) -> float:
    return float(text.replace("Infinity", "inf"))


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_float, parse_int=_int, parse_constant=_constant)
_PLAIN = json.JSONDecoder()
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _depth(line: str) -> int:
    """Return the nesting of a line of JSON; brackets in texts do not count."""
    depth = deepest = 0
    within = False
    for match in _STRUCTURE.finditer(line):
        found = match[0]
        if found == '"':
            within = not within
        elif within or found[0] == "\\":
            continue
        elif found in "[{":
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return deepest


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _short(error: Exception) -> str:
    return str(error)[:120] if isinstance(error, ValueError) else "it is nested too deeply"
