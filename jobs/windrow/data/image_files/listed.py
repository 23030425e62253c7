"""Find out what the files of a class's folder are, by their first bytes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from windrow.data.image_files import content
from windrow.stray import is_stray, is_unfinished, kept_in_icloud

_SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".gif", ".bmp", ".dib", ".webp")
UNFINISHED = "an unfinished download"
_THREADS = 16  # most of the time goes into waiting where the folder is on a network's disk
_MOST_AT_ONCE = 64  # files; to hand one to a thread takes five times as long as to look at it on a local disk


@dataclass(frozen=True)
class ListedFile:
    """A file below a class's folder.

    Attributes:
        path: where it is.
        problem: why it can't be used; None for an image.
        lost: whether it may have been meant as an image, so that its loss counts. Text and empty files count only if
            they have the name of an image, and unfinished downloads do not: the whole file may be next to them.
    """

    path: Path
    problem: str | None
    lost: bool


def listed(folder: Path, nested: bool = True) -> list[ListedFile]:
    """Return the files of a class's folder in the order of their names, and if `nested` those in folders inside it.

    Only the first bytes of each file are read. Images in a folder inside the class's are not used.

    Raises:
        OSError: the folder can't be listed.
    """
    entries = sorted(folder.iterdir())
    own = [each for each in entries if not is_stray(each.name) and not _is_folder(each)]
    inside = sorted(set(below(folder)) - set(own)) if nested else []
    every = [*own, *inside]
    size = max(1, min(_MOST_AT_ONCE, len(every) // (4 * _THREADS)))
    parts = [every[start : start + size] for start in range(0, len(every), size)]
    with ThreadPoolExecutor(_THREADS) as threads:
        found = [problem for part in threads.map(_problems, parts) for problem in part]
    rows = [ListedFile(path, problem, _is_lost(path, problem)) for path, problem in zip(own, found, strict=False)]
    rows += [row for path in entries if (row := _absent(path))]
    return rows + [
        ListedFile(path, problem or "in a folder inside the class's folder", _is_lost(path, problem))
        for path, problem in zip(inside, found[len(own) :], strict=True)
    ]


def _absent(path: Path) -> ListedFile | None:
    """Return a row for a stray file in the place of an image that is not there; None for another file."""
    kept = kept_in_icloud(path.name)
    if kept is not None and kept.lower().endswith(_SUFFIXES):
        return ListedFile(path, "in iCloud alone, so download it", lost=True)
    is_file = is_unfinished(path.name) and not _is_folder(path)
    return ListedFile(path, UNFINISHED, lost=False) if is_file else None


def below(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, at any depth; links to folders inside it are not followed.

    Raises:
        OSError: the folder itself can't be listed. A folder inside it that can't be listed is yielded as a file.
    """
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        try:
            entries = sorted(visible(place))
        except OSError:
            if place == folder:
                raise
            yield place
            continue
        for entry in entries:
            if _is_folder(entry):
                waiting.append(entry)
            else:
                yield entry


def visible(folder: Path) -> Sequence[Path]:
    """Return what is in a folder except stray files and folders.

    Raises:
        OSError: the folder can't be listed.
    """
    return [path for path in folder.iterdir() if not is_stray(path.name)]


def _is_folder(path: Path) -> bool:
    """Return whether a path is a folder and no link to one; False if that can't be found out."""
    return os.path.isdir(path) and not os.path.islink(path)  # noqa: PTH112 PTH114  those of Path raise in other folders


def _problems(paths: Sequence[Path]) -> list[str | None]:
    return [_problem(path) for path in paths]


def _problem(path: Path) -> str | None:
    """Return why a file is no image that is read, by its first bytes; None if it is one."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return "a folder that can't be listed" if _is_folder(path) else "not a file"
        with path.open("rb") as file:
            head = file.read(content.HEAD_BYTES)
    except OSError as error:
        is_broken_link = os.path.islink(path) and not os.path.exists(path)  # noqa: PTH110 PTH114  those of Path raise
        return "a link to nothing" if is_broken_link else error.strerror or "not readable"
    return None if content.image_format(head) else content.kind(head)


def _is_lost(path: Path, problem: str | None) -> bool:
    return problem not in (content.TEXT, content.EMPTY) or path.suffix.lower() in _SUFFIXES
