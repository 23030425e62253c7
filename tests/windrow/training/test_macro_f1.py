from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from windrow.training import macro_f1

pytestmark = pytest.mark.tensorflow


@st.composite
def labelled(draw: st.DrawFn) -> tuple[int, np.ndarray, np.ndarray]:
    """A number of classes, true labels and predicted ones, (2, n) each, in which some classes may have no images."""
    classes, images, seed = draw(st.integers(1, 12)), draw(st.integers(1, 300)), draw(st.integers(0, 10**6))
    random = np.random.default_rng(seed)
    shown = random.choice(classes, random.integers(1, classes + 1), replace=False)
    truth, predicted = random.choice(shown, (2, images)), random.choice(classes, (2, images))
    return classes, truth, np.where(random.random((2, images)) < 0.5, truth, predicted)


@given(labelled())
def test_it_is_scikit_learns_for_any_predictions_and_each_member_of_a_stack(
    drawn: tuple[int, np.ndarray, np.ndarray],
) -> None:
    from sklearn.metrics import f1_score

    classes, truth, predicted = drawn
    found = macro_f1.of(macro_f1.count(truth, np.eye(classes, dtype=np.float32)[predicted], classes)).numpy()
    wanted = [
        f1_score(true, given, labels=np.unique(true), average="macro", zero_division=0)
        for true, given in zip(truth, predicted, strict=True)
    ]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
