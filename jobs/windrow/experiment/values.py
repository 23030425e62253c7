"""Define types of values on a page, in addition to pydantic's, and the base classes of the page's sections."""

from __future__ import annotations

import re
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_network
from math import isfinite
from types import NoneType
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError, PydanticKnownError

from windrow.experiment.constraints import Constraint
from windrow.experiment.parameters import Value

DIGEST = r"^[0-9a-f]{64}$"

Fit = Literal["squash", "crop"]
"""How an image becomes a square: its proportions change, or its ends are cut off (data/image.py)."""

Fits = Literal["squash", "crop", "both"]
"""The values of dataset.fit: with both, a data set holds every image twice, and a hyper-parameter chooses."""

OBJECTIVE_DIRECTIONS = {"val_accuracy": "maximize", "val_loss": "minimize", "val_macro_f1": "maximize"}

Cost = Literal["weights", "milliseconds"]
"""A second goal of a search, which is lowered: trainable weights, or the milliseconds that an image takes."""

STORES = ("s3", "gs", "abfs", "file")
"""Schemes of the object stores that a table may be published to."""


def _one_value(value: object) -> object:
    if not isinstance(value, bool | int | float | str):
        raise PydanticCustomError("one_value", "not a number, text, true or false")
    if isinstance(value, float) and not isfinite(value):
        raise PydanticKnownError("finite_number")
    return value


def _listed(value: object) -> object:
    """Return a single value as a tuple of one value, and a list as it is."""
    return value if isinstance(value, list | tuple) else (_one_value(value),)


def _constraint(value: object) -> Constraint:
    if isinstance(value, Constraint):
        return value
    if not isinstance(value, str):
        raise PydanticKnownError("string_type")
    return Constraint.parse(value)


def _web_address(address: str) -> str:
    try:
        parts = urlsplit(address)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        sound = False
    if not sound:
        raise ValueError(f"must be a URL with http:// or https://; got {address!r}; name a local folder in source")
    return address


def _store_address(address: str) -> str:
    example = f"a folder of an object store such as s3://bucket/tables/digits ({', '.join(STORES)})"
    try:
        parts = urlsplit(address)
        login = parts.password is not None or (parts.scheme != "abfs" and "@" in parts.netloc)
    except ValueError:
        raise ValueError(f"must be {example}; got a URL that can't be read; write SCHEME://BUCKET/FOLDER") from None
    # Don't repeat what might be a secret: this message gets into logs and web pages.
    if login or parts.query or parts.fragment:
        raise ValueError(
            f"must be {example} without a key or a signature; got one with something before @ or after ? or #; "
            "give those to the driver by the store's own variables, AWS_ACCESS_KEY_ID for example"
        )
    home = parts.path.strip("/") if parts.scheme == "file" else parts.netloc
    if parts.scheme not in STORES or not home or (parts.scheme == "file" and parts.netloc):
        raise ValueError(f"must be {example}; got {address!r}; write SCHEME://BUCKET/FOLDER, or file:///FOLDER")
    folders = parts.path.rstrip("/").split("/")[1:]
    if {"", ".", ".."} & set(folders):
        raise ValueError(f"must name each folder once; got {address!r}; remove what is empty, . or ..")
    return address.rstrip("/")


def _network(value: object) -> object:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    cure = "write ADDRESS/BITS"
    if isinstance(value, str):
        try:
            return ip_network(value)
        except ValueError:
            with suppress(ValueError):
                cure = f"did you mean {ip_network(value, strict=False)}?"
    raise ValueError(f"must be a network such as 127.0.0.0/8; got {value!r}; {cure}")


_CRON_FIELDS = 5  # croniter takes six and seven as well, with seconds and years, and runs each second of a minute
_DRAWN = re.compile(r"(?<![a-z])r(?![a-z])", re.IGNORECASE)  # R is a number drawn each time that Airflow reads the DAG


def _cron(expression: str | None) -> str | None:
    # The parser that Airflow uses. Imported late, because most pages need it for one key, or for none.
    from croniter import CroniterError, croniter  # type: ignore[import-untyped]

    if not expression:
        return None
    try:
        croniter(expression).get_next()
        is_right = len(expression.split()) <= _CRON_FIELDS and not _DRAWN.search(expression)
    except CroniterError:
        is_right = False
    if not is_right:
        raise ValueError(
            f"must be a cron expression that comes true, such as '0 3 * * *', or empty; got {expression!r}; "
            "write minute, hour, day, month and weekday"
        )
    return expression


PageValue = Annotated[Value, BeforeValidator(_one_value)]
Values = Annotated[tuple[PageValue, ...], Field(min_length=1), BeforeValidator(_listed)]
Expression = Annotated[Constraint, PlainValidator(_constraint), PlainSerializer(str, return_type=str)]
StoreAddress = Annotated[str, AfterValidator(_store_address)]
WebAddress = Annotated[str, AfterValidator(_web_address)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]
Cron = Annotated[str | None, AfterValidator(_cron)]


def no_guessing(cls: type[BaseModel], value: object, info: ValidationInfo) -> object:
    """Return the value, but refuse values that pydantic alone would convert: true to 1, and '8' to 8."""
    annotation = cls.model_fields[str(info.field_name)].annotation
    kinds = {annotation, *get_args(annotation)}
    if value is None and NoneType in kinds:
        return value
    if bool in kinds and not isinstance(value, bool):
        raise PydanticKnownError("bool_type")
    if int in kinds and isinstance(value, bool | str):
        raise PydanticKnownError("int_type")
    if float in kinds and isinstance(value, bool | str):
        raise PydanticKnownError("float_type")
    return value


class Part(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Section(Part):
    """A part of the page with fixed keys. Their values are not converted between text, numbers, and true or false."""

    _exact = field_validator("*", mode="before")(no_guessing)


def _two_goals(goals: tuple[str, ...] | None) -> tuple[str, ...] | None:
    costs = get_args(Cost)
    if goals is not None and (len(goals) != 2 or goals[0] not in OBJECTIVE_DIRECTIONS or goals[1] not in costs):
        raise ValueError(
            f"must be two goals, one of {', '.join(OBJECTIVE_DIRECTIONS)}, and {' or '.join(costs)}; got "
            f"{list(goals)}; for example [val_accuracy, weights]"
        )
    return goals


Goals = Annotated[tuple[str, ...] | None, AfterValidator(_two_goals)]
"""The two goals of a search: a validation metric and a cost; None for a search with one goal."""
