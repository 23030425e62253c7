"""Conditions: parents come before children, in an order that never changes, because samplers draw in it."""

from __future__ import annotations

import pytest
from windrow import experiment
from windrow.errors import PageError
from windrow.experiment import Dimension, IntDimension, conditions


def space(*dimensions: tuple[str, str]) -> dict[str, Dimension]:
    """Dimensions in the page's order, each with the names of its parents."""
    return {
        name: IntDimension(type="int", low=1, high=2, when=dict.fromkeys(parents.split(), (1,)))
        for name, parents in dimensions
    }


@pytest.mark.parametrize(
    ("dimensions", "expected"),
    [
        ([("b", ""), ("a", ""), ("c", "")], "b a c"),
        ([("c", "b"), ("b", "a"), ("a", "")], "a b c"),
        ([("c", "a"), ("b", "a"), ("a", ""), ("d", "")], "a d c b"),  # the page's order within a generation
        ([("e", "d a"), ("d", "b"), ("c", "b"), ("b", ""), ("a", "")], "b a d c e"),  # behind the later parent
        ([("c", "layers"), ("b", "c"), ("a", "")], "c a b"),  # a parent that is not searched is no parent
        ([("f", "e"), ("e", "c d"), ("d", "a"), ("c", "b"), ("b", "a"), ("a", "")], "a d b c e f"),
    ],
)
def test_dimensions_are_drawn_generation_by_generation_each_as_on_the_page(
    dimensions: list[tuple[str, str]], expected: str
) -> None:
    assert conditions.order(space(*dimensions)) == expected.split()


def test_a_cycle_is_refused_with_its_way() -> None:
    with pytest.raises(ValueError, match=r"must not form a cycle; got (a → b → a|b → a → b)"):
        conditions.order(space(("c", "a"), ("a", "b"), ("b", "a")))


def test_cycles_that_share_a_dimension_are_both_reported() -> None:
    text = "name: a\nspace:\n" + "".join(
        f"  {name}: {{type: int, low: 1, high: 2, when: {{{parents}}}}}\n"
        for name, parents in (
            ("units", "layers: 1"),
            ("layers", "units: 1, batch_size: 1"),
            ("batch_size", "layers: 1"),
        )
    )
    with pytest.raises(PageError) as caught:
        experiment.parse(text)
    assert [problem.key for problem in caught.value.problems] == [
        "space.units.when.layers",
        "space.layers.when.batch_size",
    ]
