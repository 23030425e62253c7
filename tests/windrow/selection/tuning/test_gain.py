"""What the evidence says that fine-tuning has gained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from windrow.experiment import FineTuneSection, parse
from windrow.selection import evidence
from windrow.selection.finalists import Final, finalist_of
from windrow.selection.ranking import contest
from windrow.selection.readout import Readout
from windrow.selection.tuning import choice, gain
from windrow.sweep.ledger import Entry
from windrow.sweep.outcomes import Ending, Outcome

PAGE = parse("name: a\nspace: {units: {type: int, low: 1, high: 99}}\npromotion: {seeds: 2}\n")
TRIAL, DEFAULT = (Entry(number, {"units": 9}, number, Outcome(number, 1, Ending.OK, 0.5)) for number in (7, 0))


def outcomes(
    number: int, *values: float | None, stage: str = "", frozen: tuple[float | None, ...] = (None, None)
) -> list[Outcome]:
    return [
        Outcome(
            number,
            1,
            Ending.DIVERGED if value is None else Ending.OK,
            value,
            network=None if value is None else f"{number}/{repeat}{stage}".encode(),
            repeat=repeat,
            frozen=frozen[repeat - 1],
        )
        for repeat, value in enumerate(values, start=1)
    ]


def final(*after: float | None, winner: Entry = TRIAL) -> Final:
    """Two seeds of the winner with 0.8 and 0.82, fine-tuned to these values, and the default configuration."""
    trained = outcomes(winner.number, 0.8, 0.82) + ([] if winner is DEFAULT else outcomes(0, 0.7, 0.7))
    before = contest.rank(PAGE, [winner], [DEFAULT], trained)
    tuned = finalist_of(
        PAGE, winner, outcomes(winner.number, *after, stage=" tuned", frozen=(0.8, 0.82)), is_fine_tuned=True
    )
    found = choice.choose(before.winner, tuned, FineTuneSection(blocks=2), PAGE.sweep)
    return replace(before, fine_tuned=found)


def wrong(errors: int) -> Readout:
    truth = np.arange(400) % 2
    return Readout(np.where(np.arange(400) < errors, 1 - truth, truth), truth, loss=0.1)


def read(found: Final, frozen: int, tuned: int) -> dict[str, Readout]:
    """Test predictions: every frozen network has so many errors, and every fine-tuned one so many."""
    names = evidence.to_read(found)
    errors = {name: tuned if b"tuned" in content else frozen for name, content in names.items()}
    challenger = tuned if found.winner.is_fine_tuned else frozen
    return {evidence.CHALLENGER: wrong(challenger), **{name: wrong(count) for name, count in errors.items()}}


def test_the_fine_tuned_network_is_registered_and_the_frozen_one_has_a_row_of_its_own() -> None:
    found = final(0.9, 0.91)
    assert found.winner.good[0].network == b"7/2 tuned"
    assert evidence.to_read(found) == {
        "trial 7, fine-tuned, network 2": b"7/1 tuned",
        "trial 7, network 1": b"7/2",
        "trial 7, network 2": b"7/1",
        "trial 0, network 1": b"0/1",
        "trial 0, network 2": b"0/2",
    }
    assert evidence.to_read(found).keys() < evidence.fits(found, None).keys()
    rows = evidence.rows(found, read(found, 80, 40), None)
    assert [row.name for row in rows] == ["challenger", "frozen", "default"]
    assert rows[1].comparison is not None
    assert rows[1].comparison.difference == pytest.approx(0.1)
    assert rows[1].line().startswith("| frozen, trial 7 | 0.8000 |")
    text = gain.text(found, rows)
    assert text.startswith("Fine-tuning trial 7: val_accuracy 0.9050 against 0.8100 frozen, better by 0.0950 ±")
    assert "it is taken. On the test images the fine-tuned network is ahead of the frozen one by +0.1000 (95 %" in text
    assert text.endswith("which shows that it is better.")


def test_a_fine_tuned_network_that_is_not_taken_is_read_once_too() -> None:
    found = final(0.7, 0.71)
    assert found.winner.good[0].network == b"7/2"
    rows = evidence.rows(found, read(found, 40, 80), None)
    assert [row.name for row in rows] == ["challenger", "fine_tuned", "default"]
    assert rows[1].line().startswith("| fine-tuned, trial 7 | 0.8000 |")
    text = gain.text(found, rows)
    assert "the frozen network is taken. On the test images" in text
    assert "ahead of the frozen one by -0.1000" in text
    assert text.endswith("which shows that it is worse.")


def test_a_difference_on_the_test_images_that_may_be_chance_is_called_noise() -> None:
    found = final(0.9, 0.91)
    assert gain.text(found, evidence.rows(found, read(found, 41, 40), None)).endswith("within the noise.")


def test_fine_tuning_that_did_not_end_leaves_no_row() -> None:
    found = final(None, None)
    rows = evidence.rows(found, read(found, 40, 80), None)
    assert [row.name for row in rows] == ["challenger", "default"]
    assert gain.text(found, rows).endswith("the frozen network is taken.")
    figures = gain.figures(found)
    assert figures is not None
    assert (figures["fine_tuned"], figures["difference"], figures["chosen"]) == (None, None, False)


def test_the_default_configuration_as_the_winner_is_read_once() -> None:
    found = final(0.9, 0.91, winner=DEFAULT)
    assert [row.name for row in evidence.rows(found, read(found, 80, 40), None)] == ["challenger", "frozen"]
    assert len(evidence.to_read(found)) == 3


def test_the_figures_have_what_was_done_and_what_it_gained() -> None:
    figures = gain.figures(final(0.9, 0.91))
    assert figures is not None
    assert (figures["chosen"], figures["seeds"], figures["blocks"], figures["epochs"]) == (True, 2, 2, 5)
    assert (figures["frozen"], figures["fine_tuned"]) == (pytest.approx(0.81), pytest.approx(0.905))
    assert figures["difference"] == pytest.approx(0.095)


def test_without_fine_tuning_there_is_nothing_to_say() -> None:
    found = replace(final(0.9, 0.91), fine_tuned=None)
    assert (gain.text(found, []), gain.figures(found)) == ("", None)
