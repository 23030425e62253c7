"""Read from a training's curves and the sizes of classes what may give a better network.

data.division warns of splits that are too small.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from windrow.data import shards
from windrow.selection.measures import measure_of

if TYPE_CHECKING:
    from windrow.data.manifest import Manifest
    from windrow.experiment import Experiment, SweepSection
    from windrow.sweep.study import StudyRecord
    from windrow.training.loop import Epoch

_GAP = 0.15  # of training over validation accuracy: more than dropout or a small split explains
_FALL = 0.01  # of the validation loss over the last fifth of the epochs, as a share
_NEAR = 0.97  # of the loss of guessing
_FREQUENT = 3  # times as many images as the other classes have on average: three quarters, if there are two classes


def hints(
    epochs: Sequence[Epoch], classes: int, sweep: SweepSection | None = None, is_head: bool = False
) -> tuple[str, ...]:
    """Return what the curves suggest, one sentence each without the full stop; may be empty.

    Args:
        epochs: the metrics of a training that ended ok, in order.
        classes: number of classes; a network that guesses evenly among them has a loss of ln(classes) nats.
        sweep: what limits the number of epochs; None if only sweep.epochs does.
        is_head: whether the network is a head on a backbone, which knows views in place of augmentation.
    """
    is_early = sweep is not None and sweep.patience is not None and len(epochs) < sweep.epochs
    longer = "sweep.patience" if is_early else "sweep.epochs"
    return tuple(filter(None, (_curve(epochs, classes, longer), _gap(epochs, is_head))))


def of_sweep(study: StudyRecord, dataset: Manifest, folder: Path) -> dict[str, object]:
    """Return a sweep's hints, by its best trial, and what guessing has on validation, for the job's result.

    Args:
        dataset, folder: the prepared data set, and its folder.
    """
    epochs = study.best.epochs if study.best else ()
    baseline = validation_baseline(folder, study.page.sweep.objective)
    return {"baseline": baseline, "hints": of_training(epochs, study.page, dataset)}


def of_training(epochs: Sequence[Epoch], page: Experiment, dataset: Manifest) -> tuple[str, ...]:
    """Return all hints on a training that ended ok: by its curves and the classes; may be empty."""
    found = hints(epochs, len(dataset.labels), page.sweep, page.network.builder == "head")
    return (*found, *filter(None, [_imbalance(dataset.class_counts.get("train", {}), page)]))


def validation_baseline(folder: Path, objective: str = "val_accuracy") -> float:
    """Return what guessing has on the validation split of a prepared data set.

    It is an accuracy; with the objective val_macro_f1, a macro-F1.
    """
    return measure_of(objective).baseline(shards.load_split(folder, "validation")[1])


def _imbalance(images: Mapping[str, int], page: Experiment) -> str:
    """Return a hint if one class is much more frequent than the others; `images` are counts by class."""
    if len(images) < 2:
        return ""
    most = max(images, key=lambda label: images[label])
    others = (sum(images.values()) - images[most]) / (len(images) - 1)
    is_weighed = "class_weight" in page.space or page.network.parameters.get("class_weight", "none") != "none"
    cures = [
        *(["sweep.objective: val_macro_f1"] if page.sweep.objective != "val_macro_f1" else []),
        *([] if is_weighed else ["network.parameters.class_weight: balanced"]),
    ]
    if images[most] < _FREQUENT * others or not cures:
        return ""
    share = images[most] / sum(images.values())
    where = " in accuracy and loss" if is_weighed else ""  # in training they do
    rule = f"{most} has {share:.0%} of the training images, so other classes hardly count{where}"
    return f"{rule}: set {' and '.join(cures)}"


def _curve(epochs: Sequence[Epoch], classes: int, longer: str) -> str:
    if not epochs:
        return ""
    losses, guessing = [epoch.val_loss for epoch in epochs], math.log(classes)
    before = losses[-1 - max(1, len(losses) // 5)] if len(losses) > 1 else math.inf
    if losses[-1] == min(losses) and losses[-1] < before * (1 - _FALL):
        return f"the validation loss still falls at epoch {len(losses)}, the last one: raise {longer}"
    if (loss := epochs[-1].loss) > _NEAR * guessing:
        return (
            f"the training loss ends at {loss:.2f}, and guessing among {classes} classes has {guessing:.2f}: "
            "search lower values of learning_rate, and check the labels"
        )
    return ""


def _gap(epochs: Sequence[Epoch], is_head: bool) -> str:
    if not epochs or epochs[-1].accuracy - epochs[-1].val_accuracy <= _GAP:
        return ""
    last, more = epochs[-1], "give each more views" if is_head else "augment them"
    return (
        f"training accuracy {last.accuracy:.2f} against {last.val_accuracy:.2f} on validation: "
        f"add images, {more}, or search smaller networks and dropout"
    )
