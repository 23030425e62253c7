"""Turn a file into an Experiment: read YAML with each key's line, apply `--set`, and report all mistakes at once."""

from __future__ import annotations

import difflib
import json
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from windrow import text_files
from windrow.errors import PageError, Problem
from windrow.experiment import head_space
from windrow.experiment.rules.mistakes import Places, find
from windrow.experiment.sections import Experiment, keys, optional_sections, section_of
from windrow.experiment.wording import LIKENESS, Key, dotted, shown

MAX_BYTES = 100_000  # the YAML reader may need 4 s for a file of this size
MAX_DEPTH = 20


def load(page: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read and validate an experiment page; overrides, each KEY=VALUE, replace values of the page.

    A backbone's relative path, which begins in the page's folder, becomes absolute: the page that is recorded in MLflow
    must name the file as well.

    Raises:
        PageError: the file can't be read, or it has mistakes; all of them are listed.
    """
    try:
        with Path(page).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise PageError(
            str(page), [Problem("", f"must be a file to read; {error.strerror}; check the path")]
        ) from error
    if len(content) > MAX_BYTES:
        message = f"must have at most {MAX_BYTES:,} bytes; got more; is it an experiment page?"
        raise PageError(str(page), [Problem("", message)])
    try:
        text = text_files.decoded(content)
    except text_files.EncodingError as error:
        raise PageError(str(page), [Problem("", error.rule, error.line)]) from error
    parsed = parse(text, overrides, name=str(page))
    network = parsed.network.at(Path(page).resolve().parent)
    return parsed.model_copy(update={"network": network})


def load_to_train(page: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read a page like `load`, for jobs that train or use a study's results: the page must have a `space`.

    Raises:
        PageError: as for `load`, or the page has no `space`: it only scores.
    """
    loaded = load(page, overrides)
    if not loaded.trains:
        message = "must be there to train; got a page that only scores; add it, or run score_images.py on this page"
        raise PageError(str(page), [Problem("space", message)])
    return loaded


def parse(text: str, overrides: Sequence[str] = (), name: str = "page") -> Experiment:
    """Read and validate the text of an experiment page. `name` is the page's name in error messages.

    Raises:
        PageError: the text has mistakes; all of them are listed.
    """
    places = Places()
    try:
        root = _compose(text)
        problems = list(_walk(root, (), places.lines))
        values = _construct(root)
    except yaml.YAMLError as error:
        raise PageError(name, [_yaml_problem(error, text)]) from error
    if not isinstance(values, dict):
        message = f"must be sections with keys under them; got {shown(values)}; start with name: and space:"
        raise PageError(name, [Problem("", message)])
    of_space = [each.partition("=")[0].strip().partition(".")[0] == "space" for each in overrides]
    problems += _apply([each for each, inside in zip(overrides, of_space, strict=True) if not inside], values, places)
    # Before the overrides of the space, which may change a part of a dimension, and after the others: they may bring
    # or remove the backbone, and what they set is not searched.
    values = head_space.filled(values)
    problems += _apply([each for each, inside in zip(overrides, of_space, strict=True) if inside], values, places)
    _fill_empty_sections(values)
    problems += find(values, places)
    if problems:
        raise PageError(name, sorted(problems, key=lambda problem: problem.line or 0))
    return Experiment.model_validate(values)


class _RefusalError(yaml.MarkedYAMLError):
    """Legal YAML that an experiment page must not have."""

    def __init__(self, message: str, found: yaml.Event | yaml.Node) -> None:
        super().__init__(problem=message, problem_mark=found.start_mark)  # type: ignore[arg-type]


class _Loader(yaml.SafeLoader):
    """A YAML loader for pages: it reads 1e-3 as a number, and refuses what could grow far beyond the text."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose one node; refuse aliases, tags, deep nesting, and text that UTF-8 can't hold.

        With aliases, nine lines can mean a billion values.
        """
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            raise _RefusalError("must not use * aliases; write the value out", event)
        if event.tag is not None:
            raise _RefusalError(f"must not use ! tags; got {event.tag!r}; remove it", event)
        if self.depth == MAX_DEPTH:
            message = f"must have at most {MAX_DEPTH} levels; got more; take some brackets or indents away"
            raise _RefusalError(message, event)
        if isinstance(event, yaml.ScalarEvent) and not _is_unicode(event.value):
            message = f"must be text that UTF-8 can hold; got {shown(event.value)}; remove the escapes"
            raise _RefusalError(message, event)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Construct a value; refuse dates that do not exist, broken numbers, and integers of more than 18 digits."""
        try:
            value = super().construct_object(node, deep)
        except (ValueError, OverflowError) as error:
            message = f"must be a number or a date that exists; got {shown(node.value)}; put text in quotes"
            raise _RefusalError(message, node) from error
        if isinstance(value, int) and abs(value) >= 10**18:
            message = f"must be a number of at most 18 digits; got {shown(node.value)}; shorten it"
            raise _RefusalError(message, node)
        return value


# YAML 1.1 takes 1.0e-3 as a number, but not 1e-3, which people write.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def _is_unicode(text: str) -> bool:
    """Return whether UTF-8 can hold a text: it has no half of a surrogate pair, which the escape \\ud800 would make."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _compose(text: str) -> yaml.Node | None:
    loader = _Loader(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


def _construct(root: yaml.Node | None) -> Any:
    return None if root is None else _Loader("").construct_document(root)


def _walk(node: yaml.Node | None, path: Key, lines: dict[Key, int]) -> Iterator[Problem]:
    """Record the line of every key and item in `lines`, and yield a problem per duplicate key.

    YAML would silently take the last of two equal keys. Every key becomes text: `on: 1` is the key "on", not true.
    """
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            inner = (*path, str(index))
            lines[inner] = item.start_mark.line + 1
            yield from _walk(item, inner, lines)
    elif isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _RefusalError("must have text as keys; remove the brackets", key)
            key.tag = "tag:yaml.org,2002:str"
            inner, line = (*path, key.value), key.start_mark.line + 1
            if key.value in first:
                message = f"must stand once; got another in line {first[key.value]}; remove one"
                yield Problem(dotted(inner), message, line)
            first.setdefault(key.value, line)
            lines[inner] = line
            yield from _walk(value, inner, lines)


def _yaml_problem(error: yaml.YAMLError, text: str) -> Problem:
    """Turn the YAML reader's error into a problem with its line and how to fix it."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return Problem("", f"must have no control characters; got U+{ord(text[error.position]):04X}; remove it", line)
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return Problem("", f"must be YAML; {error}")
    line = error.problem_mark.line + 1
    if isinstance(error, _RefusalError):
        return Problem("", str(error.problem), line)
    if "'\\t'" in str(error.problem):
        return Problem("", "must be indented with spaces; got a tab; replace it", line)
    what = str(error.problem).replace("'\\x00'", "the end").replace("'<stream end>'", "the end")
    if isinstance(error, yaml.composer.ComposerError):
        return Problem("", "must be one page; got a second below ---; split the file", line)
    return Problem("", f"must be YAML; {what}; check quotes, brackets, colons and indents up to here", line)


def _apply(overrides: Sequence[str], values: dict[str, object], places: Places) -> list[Problem]:
    """Set each KEY=VALUE inside `values`, and return the problems; a VALUE is read as YAML."""
    problems = []
    strangers = []
    for override in overrides:
        key, equals, text = override.partition("=")
        key = key.strip()
        if not _is_unicode(override):
            problems.append(Problem("--set", f"must be text that UTF-8 can hold; got {override!r}; save it as UTF-8"))
        elif not equals:
            problems.append(Problem("--set", f"must be KEY=VALUE; got {override!r}; for example sweep.trials=8"))
        elif not _is_legal(key):
            strangers.append(key)
        else:
            try:
                path = tuple(key.split("."))
                root = _compose(text)
                problems += [Problem(f"--set {p.key}", p.message) for p in _walk(root, path, {})]
                problems += _put(values, path, _construct(root), places)
            except yaml.YAMLError:
                quoted = json.dumps(text, ensure_ascii=not text.isprintable())
                cure = f"if it is text, write --set {shlex.quote(f'{key}={quoted}')}"
                problems.append(Problem(f"--set {key}", f"must be YAML; got {text!r}; {cure}"))
    return [*problems, *_unknown(strangers)]


def _is_legal(key: str) -> bool:
    parts = key.split(".")
    if not (all(parts) and key.isprintable()):
        return False
    if parts[0] == "space" and len(parts) > 1:
        return True  # the section's own validation checks the rest
    return key in (*keys(), *optional_sections()) or (parts[:2] == ["network", "parameters"] and len(parts) == 3)


def _unknown(strangers: Sequence[str]) -> list[Problem]:
    """Return a problem per unknown key, with the closest key, or else the keys of its section, or else the sections."""
    return [Problem("--set", f"unknown key {key!r}{_near(key)}; docs/pages.md has all keys") for key in strangers]


def _near(key: str) -> str:
    known = [name for name in keys() if "*" not in name]
    section = key.partition(".")[0]
    inside = [name for name in known if name.startswith(f"{section}.")]
    # Without the section's name, which would make any two keys of a section look alike.
    full = {name.partition(".")[2] or name: name for name in inside or known}
    rest = key.partition(".")[2] or key
    if close := difflib.get_close_matches(rest, full, n=1, cutoff=LIKENESS):
        return f"; did you mean {full[close[0]]}?"
    sections = dict.fromkeys(name.partition(".")[0] for name in known)
    return f"; {section} has {', '.join(inside)}" if inside else f"; sections are {', '.join(sections)}"


def _put(values: dict[str, object], key: Key, value: Any, places: Places) -> list[Problem]:
    *parents, last = key
    place: Any = values
    for parent in parents:
        if place.get(parent) is None:
            place[parent] = {}
        place = place[parent]
        if not isinstance(place, dict):
            message = f"must be inside a section; got {parent}: {shown(place)} on the page; fix the page first"
            return [Problem(f"--set {'.'.join(key)}", message)]
    place[last] = value
    places.overridden.add(key)
    return []


def _fill_empty_sections(values: dict[str, object]) -> None:
    """Replace empty sections, an empty space and empty network parameters with {}, so that missing keys get defaults.

    An empty `scoring` or `space` is still a mistake: `scoring.feed` has no default, and a space needs a dimension.
    """
    for name, field in Experiment.model_fields.items():
        if name in values and values[name] is None and (section_of(field.annotation) or name == "space"):
            values[name] = {}
    network = values.get("network")
    if isinstance(network, dict) and "parameters" in network and network["parameters"] is None:
        network["parameters"] = {}
