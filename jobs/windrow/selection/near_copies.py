"""Find the test images that nearly coincide with an image of training or validation, which may flatter a network.

near = near_copies.find(page, folder, dataset)
challenger.on(~near.chosen)                         # the predictions without them, if near.chosen is not None
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from windrow.data import features, shards
from windrow.data.manifest import Manifest
from windrow.experiment import Experiment
from windrow.experiment.network_section import EMBEDDED
from windrow.plural import counted
from windrow.selection.promotion_result import NearCopyFigures

_SHOWN = 5  # pairs in a sentence
_RECORDED = 10  # pairs in a result


@dataclass(frozen=True, eq=False)
class NearCopiesOfTest:
    """Test images that nearly coincide with an image of training or validation.

    Attributes:
        images: how many there are; None if they were not looked for.
        chosen: whether each test image is one of them, bool (n,); None if only their number is known.
        examples: names of some of them, each with the name of the image that it is most like.
        unmeasured: whether they were found by a backbone for which the limit was not measured.
    """

    images: int | None
    chosen: NDArray[np.bool_] | None
    examples: tuple[tuple[str, str], ...]
    unmeasured: bool = False

    def figures(self) -> NearCopyFigures | None:
        """Return their number and at most ten pairs as JSON values; None if they were not looked for."""
        if self.images is None:
            return None
        return {"images": self.images, "examples": [list(pair) for pair in self.examples[:_RECORDED]]}

    def warnings_text(self, dataset: Manifest) -> str:
        """Return the data set's warnings as Manifest.warnings_text, with these images in place of its own near copies.

        Where only the number is known, the data set's warning stays.
        """
        if self.chosen is None or not self.images:
            return dataset.warnings_text()
        pairs = "; ".join(" ~ ".join(pair) for pair in self.examples[:_SHOWN])
        limit = f"; what is near was measured with {EMBEDDED[0]} only, so look at the pairs" if self.unmeasured else ""
        sentence = (
            f"{counted(self.images, 'test image nearly coincides', 'test images nearly coincide')} with an image of "
            f"training or validation, so the test accuracy may be too high; remove one of each, e.g. {pairs}{limit}"
        )
        others = (warning for warning in dataset.warnings if warning != str(dataset.near_copies))
        return replace(dataset, warnings=(*others, sentence)).warnings_text()


def find(page: Experiment, folder: Path, dataset: Manifest) -> NearCopiesOfTest:
    """Return the near copies in the test split that the features of the page's backbone and the data set's pixels show.

    The manifest names ten at most. So without a backbone, which images they are is known for up to ten.

    Args:
        folder, dataset: the folder of the prepared data set, and its manifest.

    Raises:
        DatasetError: the page has a backbone, and its features are not in the folder.
    """
    by_pixels = dataset.near_copies
    by_features = None if page.network.backbone is None else features.read_for(page, folder).near_copies
    if by_features is not None and by_features.missing:
        by_features = None
    if by_features is None and by_pixels.images != len(by_pixels.examples):
        return NearCopiesOfTest(by_pixels.images, None, by_pixels.examples)
    names = shards.load_names(folder, "test")
    pairs = dict(by_pixels.examples)
    chosen = np.array([name in pairs for name in names], np.bool_)
    if by_features is not None:
        pairs = {**dict(by_features.examples), **pairs}
        chosen[list(by_features.tests)] = True
    unmeasured = by_features is not None and page.network.backbone not in EMBEDDED
    return NearCopiesOfTest(int(np.count_nonzero(chosen)), chosen, tuple(pairs.items()), unmeasured)
