"""The section scoring.network, which labels with a network file instead of a registered model.

This module has the section's keys, and checks which of them go together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from windrow.experiment.values import DIGEST, Section
from windrow.experiment.wording import Key, Mistake, shown

Kind = Literal["keras", "graph", "saved_model"]
"""A Keras file, a frozen GraphDef, or the folder of a SavedModel."""

Resize = Literal["plain", "corner", "smooth"]
"""The filter that resizes an image; data/image.py describes all three."""

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")
_TENSOR = re.compile(r"[A-Za-z0-9.][\w./\\-]*:\d+")


def _names(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(names) not in (1, 2) or not all(names):
        raise ValueError(
            f"must be one file with one label per line, or a map of classes and a list of names; got {list(names)}; "
            "for example [labels.txt]"
        )
    return names


def _numbers(value: object, count: int) -> list[Any] | None:
    """Return `value` as a list if it has exactly `count` numbers; otherwise None."""
    listed = list(value) if isinstance(value, list | tuple) else []
    sound = len(listed) == count and all(isinstance(item, int | float) for item in listed)
    return listed if sound and not any(isinstance(item, bool) for item in listed) else None


def _shape(value: object) -> object:
    numbers = _numbers(value, 3)
    if value is not None and (numbers is None or not _is_shape(numbers)):
        raise ValueError(
            f"must be height, width (1 to 4,096) and channels (1 or 3); got {shown(value)}; for example [224, 224, 3]"
        )
    return value


def _is_shape(numbers: list[Any]) -> bool:
    whole = all(isinstance(number, int) for number in numbers)
    return whole and all(1 <= side <= 4096 for side in numbers[:2]) and numbers[2] in (1, 3)


def _range(value: object) -> object:
    numbers = _numbers(value, 2)
    if value is not None and (numbers is None or not -1e6 <= numbers[0] < numbers[1] <= 1e6):
        raise ValueError(
            f"must be two numbers, the values of black and of white; got {shown(value)}; for example [-1, 1]"
        )
    return value


class NetworkFileSection(Section):
    """A network file that labels instead of a registered model: its place, its labels, and what it leaves open."""

    file: str = Field(
        min_length=1,
        description="a .keras file, a SavedModel's folder, a frozen GraphDef (.pb), or an archive that holds one; a "
        "path (under WINDROW_HOME if relative) or a URL",
    )
    sha256: str | None = Field(None, pattern=DIGEST, description="SHA-256 of that file; the first one seen if empty")
    member: str | None = Field(None, min_length=1, description="the network's place in the archive")
    labels: Annotated[tuple[str, ...], AfterValidator(_names)] = Field(
        description="file with one label per line; or two files: classes to synsets, synsets to names"
    )
    feed: str | None = Field(None, min_length=1, description="tensor of a GraphDef that is fed, or SavedModel's input")
    fetch: str | None = Field(None, min_length=1, description="tensor with the probabilities, or SavedModel's output")
    shape: Annotated[tuple[int, int, int] | None, BeforeValidator(_shape)] = Field(
        None, description="height, width and channels that it is fed, where its file does not say"
    )
    resize: Resize = Field(
        "plain",
        description="how images are resized: plain as TensorFlow does, corner as it did, smooth as training does",
    )
    range: Annotated[tuple[float, float] | None, BeforeValidator(_range)] = Field(
        None, description="values of black and white that it is fed; 0 and 255 if empty"
    )

    @property
    def kind(self) -> Kind:
        """Return the kind of the network's file."""
        return kind(self.member or self.file)

    @property
    def name(self) -> str:
        """Return the network's name in the predictions table: the file's name without folders or suffix."""
        return PurePosixPath(_bare(self.member or self.file)).stem


def kind(name: str) -> Kind:
    """Return the kind of a network's file, judged by its name."""
    suffix = PurePosixPath(_bare(name)).suffix.lower()
    return "keras" if suffix == ".keras" else "graph" if suffix == ".pb" else "saved_model"


def is_archive(name: str) -> bool:
    """Return whether a file is an archive, judged by its name."""
    return _bare(name).lower().endswith(ARCHIVES)


def is_web_address(name: str) -> bool:
    """Return whether a name is an http or https URL, so that the file must be downloaded."""
    return name.lower().startswith(("http://", "https://"))


def _bare(name: str) -> str:
    return re.split(r"[?#]", name)[0] if is_web_address(name) else name


def mistakes(scoring: Mapping[str, Any], wrong: set[Key]) -> Iterator[Mistake]:
    """Yield mistakes for keys of scoring.network that contradict each other, or scoring.model."""
    base = ("scoring", "network")
    written = scoring.get("network")
    if not isinstance(written, dict) or base in wrong:
        return
    given = {name: None if (*base, name) in wrong else value for name, value in written.items()}
    if scoring.get("model") is not None and ("scoring", "model") not in wrong:
        message = f"must be empty where scoring.network labels; got {shown(scoring['model'])}; remove either"
        yield ("scoring", "model"), message
    if scoring.get("rescore") == "champion":
        message = "must be never where scoring.network labels, which no champion replaces; got champion; run --rescore"
        yield ("scoring", "rescore"), message
    file, member = given.get("file"), given.get("member")
    if file is None or (*base, "member") in wrong:
        return
    if is_archive(file) and member is None:
        yield (*base, "member"), f"is missing; {file} is an archive; add the network's place in it"
    elif not is_archive(file) and member is not None:
        yield (*base, "member"), f"must be empty for a file that is no archive; got {member!r}; remove it"
    else:
        yield from (((*base, key), message) for key, message in _file_mistakes(file, member, given, wrong))


def _file_mistakes(
    file: str, member: str | None, given: Mapping[str, Any], wrong: set[Key]
) -> Iterator[tuple[str, str]]:
    """Yield (key, message) for each key of the section that does not fit the kind of the file."""
    place, what = ("member", member) if member else ("file", file)
    if PurePosixPath(_bare(what)).name == "saved_model.pb":
        yield place, f"must be the SavedModel's folder; got {what!r}, which is a part of one; name the folder"
        return
    if kind(what) == "saved_model" and is_web_address(file) and not member:
        yield (
            "file",
            f"must be a .keras file, a GraphDef (.pb) or an archive to be downloaded; got {file!r}; name it so",
        )
    for key, example in (("feed", "DecodeJpeg/contents:0"), ("fetch", "softmax:0")):
        tensor = given.get(key)
        if kind(what) == "keras" and tensor is not None:
            yield key, f"must be empty for a .keras file, which has one input and one output; got {tensor!r}; remove it"
        if kind(what) != "graph" or ("scoring", "network", key) in wrong:
            continue
        if tensor is None:
            yield key, f"is missing; a GraphDef does not say where it begins and ends; add {key}: {example}"
        elif not _TENSOR.fullmatch(tensor):
            yield key, f"must be a tensor, OPERATION:NUMBER; got {tensor!r}; for example {example}"
