"""Find the test images that challenger and champion can be compared on: those that neither was trained or chosen on.

A version remembers the images that it was trained and chosen on by a key of each, in a file among its own. A data set
may therefore grow between two trainings, and the champion is still compared on images that are new to it. Images with
the same pixels count as one, because copies are no further evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from windrow.data import manifest, shards
from windrow.data.manifest import Manifest
from windrow.data.splits import Split, StoredFit
from windrow.model.network import Network
from windrow.plural import counted
from windrow.selection.readout import Readout
from windrow.selection.statistics import LEAST_IMAGES

FILE = "seen-images.npy"
"""Name of a version's file with the keys of the images that it was trained and chosen on, uint64 (n,), sorted."""

_SHOWN_CLASSES = 3
_KEY_BYTES = 8  # of 100,000 images, any two have the same key with a probability of 3e-10

Keys = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class RegisteredChampion:
    """The current champion, for the comparison with a challenger.

    Attributes:
        version: its number in the registry.
        network: its file and its classes; None if they can't be read.
        problem: why they can't be read; empty if they can.
        seen: keys of the images that it was trained and chosen on; None if it does not record them.
        accuracy, images: its recorded test accuracy, and the number of images behind it; None if not recorded.
    """

    version: str
    network: Network | None
    problem: str = ""
    seen: Keys | None = field(default=None, repr=False)
    accuracy: float | None = None
    images: int | None = None

    @property
    def recorded(self) -> str:
        """The recorded test figures in words."""
        if self.accuracy is None:
            return "no recorded test accuracy"
        return f"recorded test accuracy {self.accuracy:.4f}" + (
            f" on {counted(self.images, 'image')}" if self.images else ""
        )


@dataclass(frozen=True, eq=False)
class CommonImages:
    """The test images that a challenger and the champion are compared on.

    Attributes:
        truth: the images' labels as the champion numbers its classes, int64 (n,); -1 for an image that is left out.
        doubt: what a person must weigh whatever the figures are, as the rest of a sentence about the champion; empty
            if there is nothing.
        fit: name under which the champion's images are stored, from Manifest.stored.
    """

    truth: NDArray[np.int64]
    doubt: str = ""
    fit: StoredFit = "main"

    @property
    def chosen(self) -> NDArray[np.bool_]:
        """Return whether each test image is compared, bool (n,)."""
        return np.greater_equal(self.truth, 0)

    @property
    def count(self) -> int:
        """Number of images that are compared; 0 if no comparison is possible."""
        return int(np.count_nonzero(self.chosen))

    @property
    def too_few(self) -> str:
        """Why a person must weigh a lead, as the rest of a sentence about the champion; empty with enough images."""
        if self.count >= LEAST_IMAGES:
            return ""
        return f"can be compared on {counted(self.count, 'image')} only, and the rule needs {LEAST_IMAGES}"


@dataclass(frozen=True, eq=False)
class Rival:
    """The current champion in a promotion.

    Attributes:
        champion: the version, with its recorded figures.
        common: the test images that it is compared on, and what a person must weigh.
        readout: its predictions on these images; None before they are read, and without such images.
    """

    champion: RegisteredChampion
    common: CommonImages
    readout: Readout | None = None

    @property
    def to_read(self) -> bytes | None:
        """Bytes of the champion's .keras file; None if it can't be compared on any image."""
        network = self.champion.network
        return network.file.read_bytes() if network is not None and self.common.count else None

    def same_images(self, challenger: Readout) -> Readout:
        """Return the challenger's predictions on the images that the champion is compared on."""
        return challenger if self.common.chosen.all() else challenger.on(self.common.chosen)


def keys(hashes: NDArray[np.uint8]) -> Keys:
    """Return a key for each image, uint64 (n,): the first 8 bytes of its hash, uint8 (n, 16)."""
    return np.ascontiguousarray(hashes[:, :_KEY_BYTES]).view(">u8").ravel().astype(np.uint64)


def seen_in(folder: Path) -> Keys:
    """Return the sorted keys of the images that a network is trained and chosen on: training and validation images.

    Where the data set holds them squashed and cropped, an image has a key of each: a later data set may have only one.

    Args:
        folder: a prepared data set.

    Raises:
        DatasetError: its hashes are broken, or its images are missing.
    """
    learned: tuple[Split, ...] = ("train", "validation")
    every = [(split, fit) for split in learned for fit in manifest.read(folder).stored]
    return np.unique(np.concatenate([keys(shards.load_hashes(folder, *each)) for each in every]))


def first_of_copies(folder: Path) -> NDArray[np.bool_]:
    """Return whether each test image of a prepared data set is the first one with its pixels, bool (n,).

    Raises:
        DatasetError: the test split is missing or broken.
    """
    found = keys(shards.load_hashes(folder, "test"))
    chosen = np.zeros(len(found), bool)
    chosen[np.unique(found, return_index=True)[1]] = True
    return chosen


def between(champion: RegisteredChampion, dataset: Manifest, folder: Path) -> CommonImages:
    """Choose the test images of a prepared data set that the champion can be compared on with a network trained on it.

    Args:
        dataset, folder: the challenger's data set, and its folder.

    Raises:
        DatasetError: the test split is missing or broken.
    """
    _, truth = shards.load_split(folder, "test")
    network = champion.network
    if network is None:
        return _none(truth, champion.problem)
    if network.shape != dataset.shape:
        return _none(truth, f"was made for {_shape(network.shape)} images, and these are {_shape(dataset.shape)}")
    wanted = "crop" if network.form.resize == "crop" else "squash"
    fits = [fit for fit in dataset.stored if dataset.fit_of(fit) == wanted]
    if not fits:
        return _none(truth, f"was made for images that are {_fitted(network)}, and these are not")
    if champion.seen is not None:
        forms = [keys(shards.load_hashes(folder, "test", fit)) for fit in dataset.stored]
        is_new = ~np.isin(forms, champion.seen).any(axis=0)
    elif network.dataset_digest == dataset.digest:
        is_new = np.ones(len(truth), bool)
    else:
        return _none(truth, "does not record which images it was trained on, and these test images may be among them")
    own = np.array([_place(network.labels, label) for label in dataset.labels])
    chosen = is_new & first_of_copies(folder)
    return CommonImages(np.where(chosen, own[truth], -1), _doubt(network.labels, dataset.labels), fits[0])


def _doubt(champion: Sequence[str], challenger: Sequence[str]) -> str:
    new = [label for label in challenger if label not in champion]
    gone = [label for label in champion if label not in challenger]
    return " and ".join(
        [*([f"does not know {_named(new)}"] if new else []), *([f"knows {_named(gone)}, now gone"] if gone else [])]
    )


def _named(labels: Sequence[str]) -> str:
    """Return the number of classes with the names of the first ones: 4 classes (a, b, c and others)."""
    names = ", ".join(labels[:_SHOWN_CLASSES])
    return (
        f"{counted(len(labels), 'class', 'classes')} ({names}{' and others' if len(labels) > _SHOWN_CLASSES else ''})"
    )


def _none(truth: NDArray[np.int64], doubt: str) -> CommonImages:
    return CommonImages(np.full(len(truth), -1, np.int64), doubt)


def _place(labels: Sequence[str], label: str) -> int:
    return labels.index(label) if label in labels else -1


def _fitted(network: Network) -> str:
    return "cropped" if network.form.resize == "crop" else "squashed"


def _shape(shape: Sequence[int] | None) -> str:
    return " x ".join(map(str, shape or ("unknown",)))
