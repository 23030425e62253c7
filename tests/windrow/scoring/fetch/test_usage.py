"""What headers say about the use of an image."""

from __future__ import annotations

import json

import pytest
from multidict import CIMultiDict
from windrow.scoring.fetch import usage

REFUSED = (
    *("train-ai=n", "search=y, train-ai=n", "train-ai=n;a=b", "train-ai=y,train-ai=n", 'x="a,train-ai=y", train-ai=n'),
    *("train-ai=n ,search", "?!, train-ai=n", "search=y,\ttrain-ai=n"),
)
TAKEN = (
    *("", "train-ai=y", "train-ai", "search=n", "train-ai=n,train-ai=y", 'x="train-ai=n"', 'x="a, train-ai=n, b"'),
    *("no-train-ai=n", "train-ai=no", "train-ai-x=n", 'x="train-ai=n', "search;train-ai=n"),
)


def told(*headers: tuple[str, str]) -> str | None:
    return usage.stated(CIMultiDict(headers))


@pytest.mark.parametrize("value", REFUSED)
def test_training_is_refused(value: str) -> None:
    assert (usage.refusal(told(("Content-Usage", value))) or "").startswith("Content-Usage: ")


@pytest.mark.parametrize("value", TAKEN)
def test_nothing_else_is_a_refusal(value: str) -> None:
    assert usage.refusal(told(("Content-Usage", value))) is None


@pytest.mark.parametrize(
    ("value", "refused"), [("1", True), (" 1 ", True), ("0", False), ("10", False), ("yes", False)]
)
def test_mining_is_reserved_by_1(value: str, refused: bool) -> None:
    assert usage.refusal(told(("TDM-Reservation", value))) == ("tdm-reservation: 1" if refused else None)


def test_headers_that_come_twice_are_one_and_others_are_not_kept() -> None:
    found = told(("Content-Usage", "search=y"), ("ETag", "a"), ("content-usage", "train-ai=n"))
    assert json.loads(found or "") == {"content-usage": "search=y, train-ai=n"}
    assert usage.refusal(found) == "Content-Usage: search=y, train-ai=n"


def test_without_headers_nothing_is_stated() -> None:
    assert told(("ETag", "a")) is None
    assert usage.refusal(None) is None


def test_a_servers_words_are_cut_and_can_be_printed_but_no_preference_is_lost() -> None:
    found = json.loads(told(("Content-Usage", "\x1b" + "a" * 1000)) or "")
    assert found == {"content-usage": "\ufffd" + "a" * 299}
    long = told(("Content-Usage", ", ".join(f"x{number}=y" for number in range(200)) + ", train-ai=n"))
    assert usage.refusal(long) == "Content-Usage: train-ai=n"
