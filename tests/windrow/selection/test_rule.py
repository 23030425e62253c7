from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from windrow.experiment import PromotionSection
from windrow.selection.common_images import CommonImages, RegisteredChampion, Rival
from windrow.selection.readout import Readout
from windrow.selection.rule import Decision, Ruling, decide

IMAGES = 1000
CLASSES = 4


def figures(errors: int, images: int = IMAGES) -> Readout:
    """A network that gets the first `errors` images wrong: the worse of two errs wherever the better does."""
    truth = np.arange(images) % CLASSES
    predicted = np.where(np.arange(images) < errors, (truth + 1) % CLASSES, truth)
    return Readout(predicted, truth, loss=1.0)


def rival(errors: int, doubt: str = "", compared: int = IMAGES, accuracy: float | None = 0.97) -> Rival:
    """A champion that gets the first `errors` images wrong, and is compared on the first `compared` ones."""
    read = figures(errors)
    truth = np.where(np.arange(IMAGES) < compared, read.truth, -1)
    common = CommonImages(truth, doubt)
    champion = RegisteredChampion("4", None, accuracy=accuracy, images=None if accuracy is None else 800)
    return Rival(champion, common, read.on(common.chosen) if compared else None)


def rule(**keys: object) -> PromotionSection:
    return PromotionSection.model_validate(keys)


def test_the_first_network_becomes_champion() -> None:
    decision = decide(figures(500), None, rule())
    assert decision.promoted
    assert decision.reason == "promoted with test accuracy 0.5000, guessing 0.2500: there was no champion"


@pytest.mark.parametrize(
    ("challenger", "champion", "least", "promoted"),
    [
        (20, 30, 0.0, True),
        (30, 30, 0.0, False),
        (40, 30, 0.0, False),
        (20, 30, 0.01, True),
        (21, 30, 0.01, False),
        (20, 30, 0.0104, False),
        (0, 100, 0.1, True),
    ],
)
def test_a_challenger_must_be_better_and_by_enough(
    challenger: int, champion: int, least: float, promoted: bool
) -> None:
    decision = decide(figures(challenger), rival(champion), rule(minimum_improvement=least))
    assert decision.promoted is promoted
    assert f"{1 - champion / IMAGES:.4f}" in decision.reason


@pytest.mark.parametrize(("errors", "promoted"), [(25, False), (24, True)])
def test_a_lead_must_be_more_than_luck_where_the_page_says_so(errors: int, promoted: bool) -> None:
    """Five images more against none have p = 0.0625, six have 0.031."""
    assert decide(figures(errors), rival(30), rule(significant=True)).promoted is promoted
    assert decide(figures(errors), rival(30), rule()).promoted


def test_a_lead_that_may_be_luck_is_told_with_its_p() -> None:
    reason = decide(figures(29), rival(30), rule(significant=True)).reason
    assert reason.startswith("not promoted: test accuracy 0.9710 against the champion's 0.9700 (guessing 0.2500)")
    assert reason.endswith("may be luck: McNemar's p is 1, not below 0.05")


@pytest.mark.parametrize("keys", [{}, {"significant": True}, {"approval": True}, {"minimum_improvement": 0.9}])
def test_a_champion_that_can_not_be_compared_is_left_to_a_person_whatever_the_page_says(
    keys: dict[str, object],
) -> None:
    champion = rival(0, "was made for 28 x 28 x 1 images, and these are 8 x 8 x 1", compared=0, accuracy=0.5417)
    decision = decide(figures(500), champion, rule(**keys))
    assert decision.ruling is Ruling.AWAITING_APPROVAL
    assert decision.reason == (
        "awaits approval with test accuracy 0.5000, guessing 0.2500: the champion was made for 28 x 28 x 1 images, and "
        "these are 8 x 8 x 1 (recorded test accuracy 0.5417 on 800 images)"
    )


@pytest.mark.parametrize("errors", [0, 30, 60])
def test_a_comparison_in_doubt_is_left_to_a_person_with_its_figures(errors: int) -> None:
    decision = decide(figures(errors), rival(30, "does not know 1 class (boot)", compared=600), rule())
    assert decision.ruling is Ruling.AWAITING_APPROVAL
    assert f"{1 - errors / 600:.4f} against the champion's 0.9500 on 600 of 1,000 test images" in decision.reason
    assert decision.reason.endswith("; the champion does not know 1 class (boot)")


@pytest.mark.parametrize(
    ("errors", "least", "ruling", "said"),
    [
        (3, 0.0, Ruling.KEPT, "is not better"),
        (2, 0.0, Ruling.KEPT, "is not better"),
        (1, 0.1, Ruling.KEPT, "is better by 0.0500, less than the page's 0.1"),
        (1, 0.0, Ruling.AWAITING_APPROVAL, "; the champion can be compared on 20 images only, and the rule needs 30"),
        (0, 0.1, Ruling.AWAITING_APPROVAL, "; the champion can be compared on 20 images only, and the rule needs 30"),
    ],
)
def test_with_few_images_a_person_is_asked_about_a_lead_alone(
    errors: int, least: float, ruling: Ruling, said: str
) -> None:
    decision = decide(figures(errors), rival(2, compared=20), rule(minimum_improvement=least))
    assert decision.ruling is ruling
    assert decision.reason.endswith(said)


def test_with_no_common_image_a_person_is_asked_for_want_of_a_comparison() -> None:
    decision = decide(figures(30), rival(2, compared=0), rule())
    assert decision.ruling is Ruling.AWAITING_APPROVAL
    assert "the champion can be compared on 0 images only, and the rule needs 30 (recorded" in decision.reason


@pytest.mark.parametrize(
    ("errors", "least", "ruling"),
    [
        (29, 0.0, Ruling.PROMOTED),  # any lead will do
        (29, 0.0001, Ruling.AWAITING_APPROVAL),
        (28, 0.0001, Ruling.PROMOTED),  # also with one image less
        (29, 0.001, Ruling.PROMOTED),  # one image of 1,000 is just the page's margin
        (30, 0.0001, Ruling.KEPT),
    ],
)
def test_a_lead_of_one_image_does_not_show_a_margin_of_less_than_one(errors: int, least: float, ruling: Ruling) -> None:
    decision = decide(figures(errors), rival(30), rule(minimum_improvement=least))
    assert decision.ruling is ruling
    if ruling is Ruling.AWAITING_APPROVAL:
        assert decision.reason.endswith(
            "is better by 0.0010, no more than one image of 1,000, which can't show the page's 0.0001"
        )


def test_the_rule_counts_the_images_that_the_champion_has_not_seen_and_no_others() -> None:
    """The challenger has its 30 errors on the 600 images, and the champion 24: on those alone it is worse."""
    other = rival(24, compared=600)
    assert decide(figures(24), rival(30, compared=600), rule()).promoted
    decision = decide(figures(30), other, rule())
    assert decision.ruling is Ruling.KEPT
    assert "0.9500 against the champion's 0.9600 on 600 of 1,000 test images" in decision.reason


@pytest.mark.parametrize(("right", "promoted"), [(13, True), (12, False)])
def test_a_first_champion_must_be_better_than_guessing_by_its_interval(right: int, promoted: bool) -> None:
    """Of 30 images in four classes, 8 are of one class: 0.2667. Wilson's interval of 13 begins at 0.2738."""
    decision = decide(figures(30 - right, 30), None, rule(), ["raise sweep.epochs"])
    assert decision.promoted is promoted
    if not promoted:
        assert decision.ruling is Ruling.KEPT
        assert decision.reason.startswith(
            "not promoted: test accuracy 0.4000 may be guessing, because its 95 % interval"
        )
        assert decision.reason.endswith(
            "is not above 0.2667, the share of the most frequent class; there is still no champion; raise sweep.epochs"
        )


def test_a_test_split_of_one_class_says_so_and_asks_for_images_of_others() -> None:
    truth = np.zeros(65, np.int64)
    decision = decide(Readout(truth, truth, 0.1), None, rule(), ["raise sweep.epochs"])
    assert decision.ruling is Ruling.KEPT
    assert "there is still no champion; all test images are of one class: add images of other classes; raise" in (
        decision.reason
    )


def rare(found: int, false: int, images: int = 200) -> Readout:
    """A network for two classes, of which 10 images are of the rare one: how many it finds, and its false alarms."""
    truth = (np.arange(images) < 10).astype(np.int64)
    predicted = (np.arange(images) < found).astype(np.int64)
    predicted[10 : 10 + false] = 1
    return Readout(predicted, truth, loss=0.1)


@pytest.mark.parametrize("objective", ["val_accuracy", "val_macro_f1"])
def test_always_answering_with_a_very_frequent_class_is_guessing_by_every_figure(objective: str) -> None:
    assert not decide(rare(0, 0), None, rule(), objective=objective).promoted


def test_a_network_that_finds_the_rare_class_becomes_champion_where_the_page_searches_for_macro_f1() -> None:
    """Its accuracy of 0.97 is not above 0.95 by its interval, and so by accuracy there would never be a champion."""
    good = rare(8, 4)
    kept = decide(good, None, rule(), ["class 0 has 95 % of the images: set sweep.objective: val_macro_f1"])
    assert kept.ruling is Ruling.KEPT
    assert "is not above 0.9500, the share of the most frequent class" in kept.reason
    assert kept.reason.endswith("set sweep.objective: val_macro_f1")
    promoted = decide(good, None, rule(), objective="val_macro_f1")
    assert promoted.reason == "promoted with test macro-F1 0.8557, guessing 0.5000: there was no champion"
    few = decide(rare(2, 4), None, rule(), objective="val_macro_f1")
    assert few.ruling is Ruling.KEPT
    assert "test macro-F1 0.6094 may be guessing, because its 95 % interval on 200 images, " in few.reason
    assert "is not above 0.5000, which is 1 divided by the number of classes" in few.reason


@pytest.mark.parametrize(
    ("challenger", "keys", "promoted", "said"),
    [
        (rare(9, 3), {}, True, "test macro-F1 0.9038 against the champion's 0.8557 (guessing 0.5000)"),
        (rare(5, 0), {}, False, "is not better"),
        (rare(9, 3), {"minimum_improvement": 0.05}, False, "is better by 0.0481, less than the page's 0.05"),
        (rare(9, 3), {"significant": True}, False, "may be luck: the lead's 95 % interval, "),
        (rare(10, 0), {"significant": True, "minimum_improvement": 0.1}, True, "test macro-F1 1.0000"),
    ],
)
def test_the_rule_compares_by_macro_f1_where_the_page_searches_for_it(
    challenger: Readout, keys: dict[str, object], promoted: bool, said: str
) -> None:
    """The second challenger has the champion's accuracy plus 0.005, and finds fewer of the rare class."""
    other = rare(8, 4)
    champion = Rival(RegisteredChampion("4", None), CommonImages(other.truth), other)
    decision = decide(challenger, champion, rule(**keys), objective="val_macro_f1")
    assert decision.promoted is promoted
    assert said in decision.reason


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize(("errors", "promoted"), [(40, False), (20, True)])
def test_a_lead_in_macro_f1_is_as_significant_in_whatever_order_the_champion_has_the_classes(
    order: tuple[int, int], errors: int, promoted: bool
) -> None:
    truth, images = np.arange(200) % 2, np.arange(200)
    number = np.array(order)
    champion = Readout(number[np.where(images < 41, 1 - truth, truth)], number[truth], loss=0.1)
    other = Rival(RegisteredChampion("4", None), CommonImages(champion.truth), champion)
    challenger = Readout(np.where(images < errors, 1 - truth, truth), truth, loss=0.1)
    decision = decide(challenger, other, rule(significant=True), objective="val_macro_f1")
    assert decision.promoted is promoted
    assert promoted or "may be luck: the lead's 95 % interval, " in decision.reason


@pytest.mark.timeout(300)  # thousands of bootstraps
@given(st.permutations(range(5)), st.lists(st.integers(0, 4), min_size=100, max_size=100))
def test_the_same_answers_with_the_classes_in_another_order_are_not_better(
    order: list[int], answers: list[int]
) -> None:
    """The F1 of the classes are then added in another order, which rounds the sum otherwise."""
    truth = np.arange(400) % 5
    challenger = Readout(np.concatenate([np.array(answers), truth[100:]]), truth, loss=0.1)
    champion = Readout(np.array(order)[challenger.predicted], np.array(order)[truth], loss=0.1)
    other = Rival(RegisteredChampion("4", None), CommonImages(champion.truth), champion)
    assert decide(challenger, other, rule(), objective="val_macro_f1").reason.endswith(" is not better")


def test_copies_of_a_picture_do_not_show_that_a_network_is_not_guessing() -> None:
    """Of 40 images in four classes, 32 are right, all of them copies of one; 9 differ."""
    different = np.arange(40) < 9
    assert decide(figures(8, 40), None, rule()).promoted
    decision = decide(figures(8, 40), None, rule(), (), different)
    assert decision.ruling is Ruling.KEPT
    assert "test accuracy 0.1111 may be guessing, because its 95 % interval on 9 images that differ, of 40 test" in (
        decision.reason
    )
    assert decide(figures(8, 40), None, rule(), (), np.ones(40, bool)).promoted


@pytest.mark.parametrize("compared", [IMAGES, 0])
def test_a_challenger_that_may_be_guessing_is_kept_though_the_champion_is_worse(compared: int) -> None:
    decision = decide(figures(740), rival(900, "" if compared else "is gone", compared), rule(approval=True))
    assert decision.ruling is Ruling.KEPT
    assert "version 4 stays champion; train longer" in decision.reason


@given(
    errors=st.tuples(st.integers(0, IMAGES), st.integers(0, IMAGES)),
    doubt=st.sampled_from(["", "does not know 1 class (boot)"]),
    compared=st.integers(0, IMAGES),
    least=st.sampled_from([0.0, 0.01, 0.2]),
    significant=st.booleans(),
    approval=st.booleans(),
)
def test_a_champion_is_never_replaced_without_a_comparison_that_the_challenger_won(
    errors: tuple[int, int], doubt: str, compared: int, least: float, significant: bool, approval: bool
) -> None:
    page = rule(minimum_improvement=least, significant=significant, approval=approval)
    champion = rival(errors[1], doubt, compared)
    challenger = figures(errors[0])
    if decide(challenger, champion, page).promoted:
        assert not doubt
        assert not approval
        assert champion.readout is not None
        assert champion.same_images(challenger).accuracy >= champion.readout.accuracy + least - 1e-8
        assert champion.same_images(challenger).errors < champion.readout.errors
        assert challenger.accuracy > challenger.baseline


@pytest.mark.parametrize("champion", [None, rival(30)])
def test_a_person_is_asked_about_a_challenger_that_the_rule_lets_pass(champion: Rival | None) -> None:
    decision = decide(figures(20), champion, rule(approval=True))
    assert decision.ruling is Ruling.AWAITING_APPROVAL
    assert not decision.promoted
    assert decision.reason.startswith("awaits approval")


def test_nobody_is_asked_about_a_challenger_that_lost() -> None:
    assert decide(figures(40), rival(30), rule(approval=True)).ruling is Ruling.KEPT


@pytest.mark.parametrize(
    ("approved", "ruling", "told"), [(True, Ruling.PROMOTED, "promoted"), (False, Ruling.KEPT, "not promoted")]
)
def test_a_persons_word_settles_it_and_is_told_with_the_name(approved: bool, ruling: Ruling, told: str) -> None:
    waiting = decide(figures(20), rival(30), rule(approval=True))
    settled = Decision.of(waiting.ruling.value, waiting.reason).settled(approved, "ada")
    assert settled.ruling is ruling
    assert settled.reason.startswith(f"{told}: test accuracy 0.9800 against")
    assert settled.reason.endswith("ed by ada")
