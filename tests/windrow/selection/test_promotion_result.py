"""The result of a promotion: the same keys as when it was a dictionary, and readable whichever version wrote it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from windrow.selection.promotion_result import PromotionResult
from windrow.selection.rule import Ruling

EXAMPLES = json.loads((Path(__file__).parent / "examples" / "promotion-results-2026-11-27.json").read_text())
"""What Windrow wrote on two versions on that day: one that awaits approval, and the first champion."""


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_result_that_was_written_as_a_dictionary_is_read_and_written_key_by_key(example: dict[str, Any]) -> None:
    written = json.loads(json.dumps(PromotionResult.from_json(example).to_json()))
    assert [(key, value) for key, value in written.items() if key in example] == list(example.items())
    assert not any(value for key, value in written.items() if key not in example)


def test_what_was_written_is_found_in_the_record() -> None:
    waiting, first = map(PromotionResult.from_json, EXAMPLES)
    assert (waiting.awaits_approval, waiting.approval, waiting.champion_before) == (True, "", "4")
    assert (waiting.objective, waiting.value, waiting.point) == ("val_accuracy", pytest.approx(0.85), {"units": 9})
    assert waiting.figures["champion"]["errors"] == 30
    assert (first.decision, first.promoted) == (Ruling.PROMOTED, True)
    assert (first.approval, first.champion_before) == (None, None)


@pytest.mark.parametrize(("approved", "ruling"), [(True, Ruling.PROMOTED), (False, Ruling.KEPT)])
def test_an_answer_changes_the_decision_and_nothing_else(approved: bool, ruling: Ruling) -> None:
    waiting = PromotionResult.from_json(EXAMPLES[0])
    answered = waiting.answered(approved, "ada")
    assert (answered.decision, answered.promoted, answered.approval) == (ruling, approved, "ada")
    assert answered.reason.endswith("; approved by ada" if approved else "; rejected by ada")
    changed = {key for key, value in answered.to_json().items() if value != waiting.to_json()[key]}
    assert changed - {"promoted"} == {"decision", "reason", "approval"}


def test_a_version_of_before_there_were_rulings_and_one_of_a_later_windrow_are_read() -> None:
    old = PromotionResult.from_json({"model_name": "m", "model_version": "1", "promoted": True, "later": 1})
    assert (old.decision, old.promoted, old.test_accuracy, old.figures) == (None, True, None, {})
    assert "" not in old.to_json()


def test_near_copies_are_written_and_read_and_a_short_result_has_their_number_alone() -> None:
    whole = PromotionResult("m", "1", near_copies={"images": 12, "examples": [["a.png", "b.png"]]})
    assert PromotionResult.from_json(json.loads(json.dumps(whole.to_json()))).near_copies == whole.near_copies
    assert whole.short().near_copies == {"images": 12, "examples": []}
    assert all(PromotionResult.from_json(old).near_copies is None for old in EXAMPLES)


def test_a_short_result_is_completed_with_all_that_was_left_out_and_keeps_an_answer() -> None:
    first = PromotionResult.from_json(EXAMPLES[0])
    whole = replace(first, near_copies={"images": 1, "examples": [["a.png", "b.png"]]}, hints=("more",), evidence="| |")
    assert whole.short() != whole
    assert whole.short().completed(whole) == whole
    answered = whole.short().answered(True, "ada")
    assert answered.completed(whole) == whole.answered(True, "ada")


def test_a_loss_that_was_written_as_no_number_is_none_and_written_so() -> None:
    written = json.dumps(EXAMPLES[0] | {"figures": {"challenger_compared": {"test_loss": float("nan"), "images": 9}}})
    assert "NaN" in written
    old = PromotionResult.from_json(json.loads(written))
    assert old.figures["challenger_compared"] == {"test_loss": None, "images": 9}
    fresh = PromotionResult("m", "1", test_loss=float("inf"), hints=("add images",))
    assert json.loads(json.dumps(fresh.to_json(), allow_nan=False))["test_loss"] is None
