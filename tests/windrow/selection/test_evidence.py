from __future__ import annotations

import json

import numpy as np
import pytest
from windrow.experiment import parse
from windrow.selection import evidence, metrics
from windrow.selection.common_images import CommonImages, RegisteredChampion, Rival
from windrow.selection.finalists import Final
from windrow.selection.ranking import contest
from windrow.selection.readout import Readout
from windrow.sweep.ledger import Entry
from windrow.sweep.outcomes import Ending, Outcome

PAGE = parse("name: a\nspace: {units: {type: int, low: 1, high: 99}}\npromotion: {seeds: 2}\n")
DEFAULT, SEVENTH = (Entry(number, {"units": 9}, number, Outcome(number, 1, Ending.OK, 0.5)) for number in (0, 7))
IMAGES = 1000


def final(*, may_default_win: bool = False, default_value: float | None = 0.7) -> Final:
    def trained(number: int, repeat: int, value: float | None) -> Outcome:
        ending = Ending.DIVERGED if value is None else Ending.OK
        network = None if value is None else f"{number}/{repeat}".encode()
        return Outcome(number, 1, ending, value, network=network, repeat=repeat)

    outcomes = [trained(7, 1, 0.8), trained(7, 2, 0.9), trained(0, 1, default_value), trained(0, 2, default_value)]
    return contest.rank(PAGE, [SEVENTH, *([DEFAULT] if may_default_win else [])], [DEFAULT], outcomes)


def wrong(errors: int) -> Readout:
    """A network that gets the first `errors` of the images wrong; three in four are of class 0."""
    truth = (np.arange(IMAGES) % 4 == 0).astype(np.int64)
    return Readout(np.where(np.arange(IMAGES) < errors, 2, truth), truth, loss=0.1)


def champion(errors: int | None, compared: int = IMAGES) -> Rival:
    """Version 4, which gets the first `errors` images wrong and is compared on the first `compared` ones."""
    common = CommonImages(np.where(np.arange(IMAGES) < compared, 0, -1))
    read = None if errors is None else wrong(errors).on(common.chosen)
    return Rival(RegisteredChampion("4", None, accuracy=0.96, images=50), common, read)


def read(trained: Final, **errors: int) -> dict[str, Readout]:
    """Every network that is to be read, with 40 errors unless told."""
    figures = {name: wrong(40) for name in (evidence.CHALLENGER, *evidence.to_read(trained))}
    return figures | {name: wrong(count) for name, count in errors.items()}


def test_every_seed_of_winner_and_default_is_read_but_for_the_registered_one() -> None:
    assert sorted(evidence.to_read(final()).values()) == [b"0/1", b"0/2", b"7/1"]


def test_each_row_tells_what_was_read_of_it() -> None:
    trained = final()
    rows = evidence.rows(trained, read(trained, challenger=10), champion(30))
    challenger, default, other = rows
    assert [row.name for row in rows] == ["challenger", "default", "champion"]
    assert [row.readout.errors for row in rows] == [10, 40, 30]
    assert challenger.seeds is not None
    assert (challenger.seeds.low, challenger.seeds.high) == (0.96, 0.99)
    assert challenger.comparison is None
    assert default.comparison is not None
    assert default.comparison.difference == pytest.approx(0.03)
    assert other.seeds is None
    assert other.comparison is not None
    assert other.comparison.p == pytest.approx(2 / 2**20)


def test_a_champion_is_compared_with_the_challenger_on_the_images_that_are_new_to_both() -> None:
    trained = final()
    rows = evidence.rows(trained, read(trained, challenger=10), champion(30, compared=600))
    assert [row.name for row in rows] == ["challenger", "default", "challenger_compared", "champion"]
    assert [row.readout.images for row in rows] == [IMAGES, IMAGES, 600, 600]
    assert rows[3].comparison is not None
    assert rows[3].comparison.difference == pytest.approx(20 / 600)
    part, other = evidence.table(rows, champion(30, compared=600)).splitlines()[4:6]
    assert part.startswith("| challenger, on the 600 images below | 0.9833 | 0.9696 to 0.9909 | 10 of 600 |")
    assert other.startswith("| champion, version 4 | 0.9500 | 0.9295 to 0.9648 | 30 of 600 |")


def test_the_challenger_has_a_row_without_near_copies_if_some_of_the_test_images_are_near_copies() -> None:
    trained, near = final(), np.arange(IMAGES) < 4
    rows = evidence.rows(trained, read(trained, challenger=10), champion(30), near)
    names = ["challenger", "challenger_without_near_copies", "default", "champion"]
    assert [row.name for row in rows] == names
    assert [row.readout.images for row in rows] == [1000, 996, 1000, 1000]
    line = evidence.table(rows).splitlines()[3]
    assert line.startswith("| challenger, without 4 near copies | 0.9940 | 0.9869 to 0.9972 | 6 of 996 |")
    for none in (None, np.zeros(IMAGES, bool), np.ones(IMAGES, bool)):
        rows = evidence.rows(trained, read(trained, challenger=10), champion(30), none)
        assert [row.name for row in rows] == [name for name in names if "near" not in name]


def test_the_loss_on_a_part_of_the_images_is_not_known_and_its_json_is_valid() -> None:
    trained = final()
    rows = evidence.rows(trained, read(trained, challenger=10), champion(30, compared=600))
    figures = {row.name: row.values() for row in rows}
    assert figures["challenger_compared"]["test_loss"] is figures["champion"]["test_loss"] is None
    assert figures["challenger"]["test_loss"] == 0.1
    json.dumps(figures, allow_nan=False)


def test_the_champions_recorded_figures_and_those_of_guessing_are_there_though_it_can_not_be_compared() -> None:
    trained, other = final(), champion(None, compared=0)
    rows = evidence.rows(trained, read(trained), other)
    assert [row.name for row in rows] == ["challenger", "default"]
    recorded, guessing = evidence.table(rows, other).splitlines()[-2:]
    assert recorded == "| champion, version 4, as recorded | 0.9600 | 0.8654 to 0.9890 | 2 of 50 |  |  |  |  |"
    assert guessing == "| guessing, at best | 0.7500 |  | 250 of 1000 | 0.5000 |  |  |  |"


def test_warnings_hints_and_figures_by_class_stand_below_the_table() -> None:
    trained = final()
    rows = evidence.rows(trained, read(trained), None)
    found = metrics.figures(rows[0].readout, ("cat", "dog", "bird"))
    classes = metrics.text(found, rows[0].readout)
    assert "- cat taken for bird: 30 of 750\n- dog taken for bird: 10 of 250" in classes
    assert evidence.text(rows, None, (), "", found) == f"{evidence.table(rows)}\n\n{classes}"
    whole = evidence.text(rows, None, ["raise sweep.epochs"], "Less certain:\n\n- few images", found)
    assert whole.endswith(
        f" |\n\nLess certain:\n\n- few images\n\nWhat the curves suggest:\n\n- raise sweep.epochs\n\n{classes}"
    )


def test_the_figures_go_back_to_the_finalists_and_seeds_that_they_are_of() -> None:
    trained = final()
    by_repeat = evidence.by_repeat(trained, read(trained, challenger=10))
    assert {key: figures.errors for key, figures in by_repeat.items()} == {
        ("trial 7", 2): 10,
        ("trial 7", 1): 40,
        ("trial 0", 1): 40,
        ("trial 0", 2): 40,
    }


def test_a_default_configuration_that_wins_or_diverges_has_no_row_of_its_own() -> None:
    for trained in (final(may_default_win=True, default_value=0.99), final(default_value=None)):
        rows = evidence.rows(trained, read(trained), None)
        assert [row.name for row in rows] == ["challenger"]
        assert len(evidence.to_read(trained)) == 1


def test_the_table_is_markdown_with_a_line_a_row() -> None:
    trained = final()
    other = champion(30)
    lines = evidence.table(evidence.rows(trained, read(trained, challenger=10), other), other).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith(
        "| challenger, trial 7 | 0.9900 | 0.9817 to 0.9946 | 10 of 1000 | 0.9946 | 0.9750 ± 0.0212 (2) |"
    )
    assert lines[4].startswith("| champion, version 4 | 0.9700 |")
    assert lines[4].endswith("| 1.9e-06 |")


def test_a_single_seed_has_no_deviation() -> None:
    one = contest.rank(PAGE, [SEVENTH], [], [Outcome(7, 1, Ending.OK, 0.8, network=b"7/1", repeat=1)])
    line, _ = evidence.table(evidence.rows(one, {evidence.CHALLENGER: wrong(10)}, None)).splitlines()[2:]
    assert "| 0.9900 (1) |" in line
