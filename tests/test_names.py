"""A name stands for one thing: no two public classes and no two files of the project share one."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCES = [path for room in ("jobs", "plugins", "dags") for path in sorted((REPOSITORY / room).rglob("*.py"))]


def classes(text: str) -> list[str]:
    """The public classes of a source, also those inside functions and other classes."""
    found = [node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef)]
    return [name for name in found if not name.startswith("_")]


def shared(places: Iterable[tuple[str, Path]]) -> dict[str, list[str]]:
    """The names that stand in several places, with the files."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, path in places:
        found[name].append(str(path.relative_to(REPOSITORY)))
    return {name: files for name, files in found.items() if len(files) > 1}


def test_no_two_public_classes_have_one_name() -> None:
    places = [(name, path) for path in SOURCES for name in classes(path.read_text(encoding="utf-8"))]
    assert len(places) > 100
    assert shared(places) == {}


def test_no_two_files_have_one_name() -> None:
    assert shared((path.name, path) for path in SOURCES if path.name != "__init__.py") == {}


def test_what_is_shared_is_seen() -> None:
    first, second, *_ = SOURCES
    assert classes("class A:\n    class B: ...\nclass _C: ...") == ["A", "B"]
    assert list(shared([("A", first), ("B", first), ("A", second)])) == ["A"]
