"""Read the names of a network's classes from one or two files."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from windrow import text_files
from windrow.errors import UserError

_MAX_CLASSES = 1_000_000
_ENTRY = re.compile(r"target_class\s*:\s*(\d+)\s+target_class_string\s*:\s*\"([^\"]*)\"")


def read(files: Sequence[Path]) -> tuple[str, ...]:
    """Return one label per class, in order.

    Args:
        files: one file with one label per line, which may contain synonyms; a blank line is a class without a name,
            with the label of `unnamed`. Or two files, as for ImageNet: a label map with the synset of each class
            (pbtxt), and the name of each synset (lines of synset, tab, name). A class whose synset has no name gets the
            synset as its label, and a class that the map leaves out gets the label of `unnamed`.

    Raises:
        UserError: a file can't be read in that format.
    """
    texts = [_text(file) for file in files]
    labels = _lines(texts[0]) if len(texts) == 1 else _mapped(*texts)
    if not labels:
        raise UserError(f"{files[0]} must hold labels; got none; see scoring.network.labels")
    return tuple(labels)


def unnamed(label_id: int) -> str:
    """Return the label of a class without a name."""
    return f"class {label_id}"


def numbers(labels: Sequence[str]) -> dict[str, int]:
    """Return the number of each class by its label, and by the label and the label's parts in lower case.

    Commas separate the parts. If classes share a name, a label counts before a part; else the first class counts.
    `number_of` reads the result.
    """
    found: dict[str, int] = {}
    names = [(number, _composed(label)) for number, label in enumerate(labels)]
    for number, name in names:
        found.setdefault(name, number)
    for number, name in names:
        found.setdefault(name.lower(), number)
    for number, name in names:
        for part in name.split(","):
            found.setdefault(part.strip().lower(), number)
    return found


def number_of(name: str, known: Mapping[str, int]) -> int | None:
    """Return the number of the class with this name; None without such a class.

    A label that is written exactly so comes first, then labels and parts of labels in any case. How Unicode writes an
    accent does not matter.

    Args:
        name: what a person calls the class.
        known: the result of `numbers`.
    """
    composed = _composed(name)
    return known.get(composed, known.get(composed.lower()))


def fit(labels: Sequence[str], classes: int, open_ended: bool) -> tuple[str, ...]:
    """Return one label per class of a network with `classes` classes.

    If `open_ended`, the labels come from a label map, which may leave out the last classes; their labels are then those
    of `unnamed`.

    Raises:
        UserError: the number of labels does not fit the number of classes.
    """
    if len(labels) == classes:
        return tuple(labels)
    if open_ended and len(labels) < classes:
        return (*labels, *(unnamed(number) for number in range(len(labels), classes)))
    raise UserError(
        f"scoring.network.labels must have a label for each of the network's {classes:,} classes; "
        f"got {len(labels):,}; is it another network's file?"
    )


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name.strip())


def _text(file: Path) -> str:
    try:
        return text_files.read(file)
    except OSError as error:
        raise UserError(f"{file} must be text; {error.strerror}; name another in scoring.network.labels") from error


def _lines(text: str) -> list[str]:
    lines = text_files.lines(text.rstrip())
    return [line.strip() or unnamed(number) for number, line in enumerate(lines)] if lines else []


def _mapped(classes: str, names: str) -> list[str]:
    entries = _ENTRY.findall(classes)
    if any(len(number) > len(str(_MAX_CLASSES)) for number, _ in entries):
        return []
    synsets = {int(number): synset for number, synset in entries}
    if not synsets or max(synsets) >= _MAX_CLASSES:
        return []
    lines = (line.partition("\t") for line in text_files.lines(names))
    named = {synset.strip(): name.strip() for synset, _, name in lines}
    every = range(max(synsets) + 1)
    return [named.get(synsets.get(number, ""), synsets.get(number)) or unnamed(number) for number in every]
