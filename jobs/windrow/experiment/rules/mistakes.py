"""Report every mistake on a page in Windrow's own words: those of one key, and those that involve several keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from windrow.errors import Problem
from windrow.experiment import parameters
from windrow.experiment.airflow import EMAIL_ADDRESS
from windrow.experiment.dimensions import DIMENSIONS
from windrow.experiment.promotion_section import MODEL_NAME
from windrow.experiment.rules import cross_field
from windrow.experiment.sections import SLUG, Experiment, section_of
from windrow.experiment.values import DIGEST
from windrow.experiment.wording import Key, Mistake, dotted, guess, shown, unknown

_RULES = {
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a whole number of at most 18 digits",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "one_value": "must be one value: a number, a text, true or false",
    "tuple_type": "must be a list",
    "too_short": "needs at least one value",
    "dict_type": "must be names with something under each",
    "model_type": "must be a section with keys under it",
    "model_attributes_type": "must be a range or a list of choices",
    "literal_error": "must be {expected}",
    "union_tag_invalid": "must be float, int or categorical",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "builder": f"must be {', '.join(parameters.BUILDERS)} or FILE.py:FUNCTION",
}
"""The rule for each type of pydantic error that a page can cause, including the types that Windrow adds."""

_CURES = {
    "string_too_long": "shorten it",
    "too_short": "add one",
    "model_type": "write KEY: VALUE, one a line, and indent them",
    "model_attributes_type": "for example {type: int, low: 32, high: 256}",
    "greater_than": "raise it",
    "greater_than_equal": "raise it",
    "less_than": "lower it",
    "less_than_equal": "lower it",
}

_PATTERNS = {
    EMAIL_ADDRESS: "must be one address such as ann@example.org",
    SLUG: "must be lower-case letters, digits and _, starting with a letter, 63 characters at most",
    MODEL_NAME: "must be a name without '/', ':', quotes and spaces, at most 255 characters, and not begin with '..'",
    DIGEST: "must be 64 hexadecimal digits in lower case",
}


@dataclass
class Places:
    """The places of a page's keys: `lines` are counted from 1; keys in `overridden` come from `--set`."""

    lines: dict[Key, int] = field(default_factory=dict)
    overridden: set[Key] = field(default_factory=set)

    def problem(self, key: Key, message: str) -> Problem:
        """Return a mistake with its place: the line of the key, or of its section if the key is missing; or `--set`."""
        places = [key[:length] for length in range(len(key), 0, -1)]
        if not self.overridden.isdisjoint(places):
            return Problem(f"--set {dotted(key)}", message)
        return Problem(dotted(key), message, next((self.lines[place] for place in places if place in self.lines), None))


def find(values: Mapping[str, object], places: Places) -> list[Problem]:
    """Return each mistake in a page's values once; an empty list if the values are valid."""
    try:
        Experiment.model_validate(values)
        errors = []
    except ValidationError as error:
        errors = error.errors()
    found = [_mistake(details) for details in errors if not (_is_about_a_range(details) or _is_about_items(details))]
    found += cross_field.find(values, {_key(details) for details in errors})
    return [places.problem(key, message) for key, message in dict.fromkeys(found)]


def _key(details: ErrorDetails) -> Key:
    key = [str(part) for part in details["loc"]]
    if key[0] == "space" and len(key) > 2:
        del key[2]  # pydantic puts the dimension's type here
    if details["type"].startswith("union_tag"):
        key.append("type")
    return tuple(key)


def _is_about_a_range(details: ErrorDetails) -> bool:
    """Return whether a mistake is in a dimension's range as a whole, which cross_field reports better.

    cross_field names the key at fault, and reports the mistake even if other keys of the range are wrong, too.
    """
    return details["type"] == "value_error" and details["loc"][0] == "space" and len(details["loc"]) == 3


def _is_about_items(details: ErrorDetails) -> bool:
    """Return whether a list counts as empty only because all its items are wrong: each of them has its own mistake."""
    return details["type"] == "too_short" and bool(details["input"])


def _mistake(details: ErrorDetails) -> Mistake:
    """Translate one pydantic error into Windrow's own words."""
    key, kind, value, context = _key(details), details["type"], details["input"], details.get("ctx", {})
    if kind == "extra_forbidden":
        return key, unknown(key[-1], _keys_beside(details))
    if kind == "value_error":
        return key, str(context["error"])
    if kind in {"missing", "union_tag_not_found"}:
        return key, f"is missing; {_missing(key)}"
    if kind == "union_tag_invalid":
        value = value["type"]
    if kind == "string_pattern_mismatch":
        rule = _PATTERNS[context["pattern"]]
    else:
        limits = {name: f"{limit:g}" if isinstance(limit, float) else limit for name, limit in context.items()}
        rule = _RULES[kind].format(**limits) if kind in _RULES else f"is wrong: {details['msg']}"
    return key, f"{rule}; got {shown(value)}{_cure(key, kind, value, rule)}"


def _missing(key: Key) -> str:
    examples = {"name": "digits", "type": "float, int or categorical", "choices": "[16, 32, 64]"}
    example = "int8" if key == ("scoring", "precision", "type") else examples.get(key[-1])
    return f"add {key[-1]}: {example}" if example else "add it"


def _cure(key: Key, kind: str, value: object, rule: str) -> str:
    """Return a clause that suggests what to write; "" where the rule is enough."""
    if kind in _CURES:
        return f"; {_CURES[kind]}"
    if kind == "dict_type":
        examples = {"space": cross_field.EXAMPLE, "when": "{optimizer: sgd}"}
        return f"; for example {examples.get(key[-1], 'dropout: 0.2')}"
    if value is None:
        return "; give a value, or leave the key out"
    if kind in {"string_type", "float_type", "int_type"} and not isinstance(value, dict | list):
        if kind == "string_type":
            return "; put it in quotes"
        return "; leave the quotes out" if re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", str(value), re.IGNORECASE) else ""
    if kind == "tuple_type" and not isinstance(value, dict):
        return f"; write [{value}]"
    return guess(str(value), re.findall(r"\w{2,}", rule)) if kind in {"literal_error", "union_tag_invalid"} else ""


def _keys_beside(details: ErrorDetails) -> list[str]:
    """Return the legal keys of the section in which an unknown key was found."""
    location = [str(part) for part in details["loc"]]
    if location[0] == "space" and len(location) > 1:
        return list(DIMENSIONS[location[2]].model_fields)
    section: Any = Experiment
    for name in location[:-1]:
        section = section_of(section.model_fields[name].annotation)
    return list(section.model_fields)
