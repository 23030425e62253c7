"""Prepare the further training of a finalist's network, and measure what it will take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import psutil  # type: ignore[import-untyped]

from windrow.clusters import free_memory
from windrow.errors import UserError
from windrow.experiment.parameters import Value
from windrow.model import blocks
from windrow.model.composition import compose
from windrow.sweep.spec import TrialSpec
from windrow.sweep.tuning import map_files, upper
from windrow.sweep.tuning.upper import UnfrozenNetwork
from windrow.training import loop, runtime
from windrow.training.loop import Examples, Run
from windrow.training.networks import Builder

if TYPE_CHECKING:
    from windrow.experiment import FineTuneSection

BATCH = 32
"""Images per step, whatever the head's batches were: a step on images takes far more memory than one on features."""
_MEBIBYTE = 1 << 20


def parameters(trial: Mapping[str, Value], section: FineTuneSection) -> dict[str, Value]:
    """Return the hyper-parameters of the further training: the trial's own, but for the optimizer and its steps."""
    steps: dict[str, Value] = {"optimizer": "adam", "decay": "cosine", "batch_size": BATCH}
    return {**trial, **steps, "learning_rate": section.learning_rate}


def prepare(spec: TrialSpec, opened: UnfrozenNetwork, maps: tuple[Examples, Examples]) -> Run:
    """Prepare an opened network for its training on images.

    Args:
        spec: the training, whose parameters are those of `parameters`.
        opened: the network.
        maps: training and validation maps, with their labels.
    """
    macro_f1 = spec.objective == "val_macro_f1"
    return loop.go_on(
        opened.upper, opened.forward, spec.parameters, spec.classes, *maps, spec.epochs, spec.seed, macro_f1
    )


@dataclass(frozen=True)
class Need:
    """What further training takes on a worker, measured on a few images with one thread as in the training.

    Attributes:
        first, last: names of the first and the last layer that is trained.
        weights: number of the backbone's weights that are trained.
        all_weights: number of the backbone's weights.
        trunk_seconds: seconds for the maps of an image, which are computed once.
        step_seconds: seconds of a training step for an image.
        evaluation_seconds: seconds of an evaluation for an image.
        map_bytes: bytes of an image's maps.
        mebibytes: resident memory of the worker after a step, MiB.
        room: number of such workers that the host has memory for, this one included, at least 1.
        error: what the user can fix; empty if nothing.
    """

    first: str = ""
    last: str = ""
    weights: int = 0
    all_weights: int = 0
    trunk_seconds: float = 0.0
    step_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    map_bytes: int = 0
    mebibytes: float = 0.0
    room: int = 1
    error: str = ""


def room(available: int, resident: int) -> int:
    """Return the number of processes that a host has memory for, the one that asks included.

    Args:
        available: bytes of memory that are free for further processes.
        resident: bytes that one process takes.
    """
    return 1 + available // resident


def need(backbone: Path, section: FineTuneSection, head: Mapping[str, Value], classes: int) -> Need:
    """Measure what the further training of a backbone takes, with a head of these hyper-parameters on it.

    Args:
        backbone: the backbone's .keras file.
        section: the page's section.
        head: every hyper-parameter of the head.
        classes: number of classes.
    """
    import keras

    network = keras.saving.load_model(backbone, compile=False)
    try:
        blocks.cut(network, section.blocks)
    except UserError as error:  # Spark would repeat the task three times, and hide the sentence in a traceback
        return Need(error=str(error))
    own = Builder("head").build(head, (1, 1, network.output_shape[-1]), classes)
    opened = upper.open_network(runtime.to_bytes(compose(backbone, own)), section.blocks)
    images = np.random.default_rng(0).integers(0, 256, (BATCH, *network.input_shape[1:]), np.uint8)
    labels = np.arange(BATCH, dtype=np.int64) % classes
    maps = Examples(np.zeros((BATCH, 1, *opened.cut.shape), np.float16), labels)
    settings = {**parameters(head, section), "views": 1}
    run = loop.go_on(opened.upper, opened.forward, settings, classes, maps, maps, 2, 0)
    _, epoch = run.epochs()  # the first one also compiles
    start = perf_counter()
    run.step_all()
    step = perf_counter() - start
    resident = psutil.Process().memory_info().rss
    return Need(
        first=opened.cut.trained[0].name,
        last=opened.cut.trained[-1].name,
        weights=sum(layer.count_params() for layer in opened.cut.trained),
        all_weights=network.count_params(),
        trunk_seconds=map_files.seconds_per_image(opened.cut, images),
        step_seconds=step / BATCH,
        evaluation_seconds=max(0.0, epoch.seconds - step) / BATCH,
        map_bytes=maps.images[0].nbytes if opened.cut.trunk else images[0].nbytes,
        mebibytes=resident / _MEBIBYTE,
        room=room(free_memory.free_bytes(), resident),
    )
