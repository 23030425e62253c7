"""Train trials that differ only in numbers, such as widths and rates, side by side as one graph.

A step of a small network is mostly the cost of starting operations; a stack of networks (stacked.py) pays it once. Each
member draws its own order of images, and its epochs equal those of a trial that trains alone, up to the order in which
numbers are added. Dropout is drawn for the whole stack: with dropout, the two agree on average only.
"""

from __future__ import annotations

import gc
import math
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windrow.experiment.parameters import Value
from windrow.training import augment, dense, layers, loop
from windrow.training.data import Examples, class_weights, tensors
from windrow.training.graphs import batch_size
from windrow.training.loop import Epoch
from windrow.training.networks import HEAD, Builder
from windrow.training.stack_trainer import EFFECTS, ClassWeights, Member, StackTrainer
from windrow.training.stacked import NetworkStack

__all__ = ["FusedRun", "Member", "gain", "key", "prepare"]

_CACHED_STACKS = 4
# Widths are padded with zeros to whole vector registers. The padding costs nothing, and a later group of similar width
# can reuse the graph.
_UNITS_MULTIPLE = 16
_SCALES = {"dense": 1 / 255, HEAD: 1.0}
"""The networks that can share a graph, and the factor of their input."""
_FREE = ("learning_rate", "momentum", "units", "views", *EFFECTS)
_PROBE_STEPS, _PROBE_REPEATS = 20, 3


def key(builder: Builder, parameters: Mapping[str, Value]) -> Hashable | None:
    """Return a key that is equal for trials that can train as one graph.

    None: the trial must train alone, because its network is no built-in one of dense layers or because it uses
    augmentation.
    """
    if builder.source is not None or builder.name not in _SCALES or augment.kinds(parameters):
        return None
    return builder.name, tuple(sorted((name, value) for name, value in parameters.items() if name not in _FREE))


def prepare(
    builder: Builder,
    members: Sequence[Member],
    shape: tuple[int, int, int],
    classes: int,
    training: Examples,
    validation: Examples,
    epochs: int,
    macro_f1: bool = False,
) -> FusedRun:
    """Prepare a group of trials for training; a group prepared earlier must no longer be trained or saved.

    The arguments are those of loop.prepare, for several members.

    Raises:
        ValueError: the members' keys differ, or are None.
    """
    keys = {key(builder, member.parameters) for member in members}
    if len(keys) != 1 or None in keys:
        raise ValueError(f"members of a fused run must have one key; got {keys or 'no member'}; train them one by one")
    balanced = members[0].parameters["class_weight"] == "balanced"
    weights = class_weights(training.labels, classes) if balanced else None
    data = tensors(training), tensors(validation)
    return FusedRun(builder, members, shape, classes, data, epochs, macro_f1, weights)


class FusedRun:
    """A group of trials that train together as one graph."""

    def __init__(
        self,
        builder: Builder,
        members: Sequence[Member],
        shape: tuple[int, int, int],
        classes: int,
        data: tuple[Any, Any],
        epochs: int,
        macro_f1: bool,
        weights: ClassWeights,
    ) -> None:
        self._builder, self._members, self._shape, self._classes = builder, list(members), shape, classes
        self._data, self._epochs, self._macro_f1, self._weights = data, epochs, macro_f1, weights
        self._alive = set(range(len(members)))
        self._stacked = list(range(len(members)))  # index of the member at each position in the stack
        initial = [
            layers.initial_weights(
                dense.weights(member.parameters, int(member.parameters["units"]), shape, classes), member.seed
            )
            for member in members
        ]
        self._trainer = self._borrow()
        self._trainer.stack.begin(initial, self._rates())

    def epochs(self) -> Iterator[tuple[Epoch | None, ...]]:
        """Train, and yield after each epoch a tuple with one Epoch per member, or None for a member that was dropped.

        The seconds of an Epoch are the member's share of the wall clock. Once half of the stack was dropped between
        epochs, the remaining members are faster.

        Raises:
            RuntimeError: a group that was prepared later uses the same graphs.
        """
        for number in range(self._epochs):
            if not self._alive:
                return
            start = perf_counter()
            self._shrink()
            if self._trainer.lent_to is not self:
                raise RuntimeError("a run must end before the next prepare(); got another epoch; iterate the new run")
            figures = self._trainer.epoch(
                self._data, [self._members[index] for index in self._stacked], self._epochs, number, self._weights
            )
            seconds = (perf_counter() - start) / len(self._alive)
            found = {}
            for index, (loss, accuracy, val_loss, val_accuracy, *f1) in zip(
                self._stacked, figures.tolist(), strict=True
            ):
                found[index] = Epoch(loss, accuracy, val_loss, val_accuracy, seconds, *f1)
            yield tuple(found[index] if index in self._alive else None for index in range(len(self._members)))

    def drop(self, index: int) -> None:
        """Stop training a member that was pruned or has diverged. Its network() is valid until the next epoch."""
        self._alive.discard(index)

    def network(self, index: int) -> Any:
        """Return the network of a member that still trains, as a keras.Model of the member's own width."""
        member = self._members[index]
        network = self._builder.build(member.parameters, self._shape, self._classes)
        wide = self._trainer.stack.weights(self._stacked.index(index))
        network.set_weights(
            [array[tuple(slice(size) for size in own.shape)] for own, array in zip(network.weights, wide, strict=True)]
        )
        return network

    def step_all(self) -> None:
        """Run the training steps of the first epoch, without evaluation, for timing."""
        for value in self._trainer.steps(self._data[0], self._members, 1, 0, self._weights):
            value.numpy()  # waits for the device

    def _shrink(self) -> None:
        """Continue in a smaller stack once half of the members were dropped; for fewer, a new graph does not pay."""
        if 2 * len(self._alive) > len(self._stacked):
            return
        state = self._trainer.stack.state()
        kept = [position for position, index in enumerate(self._stacked) if index in self._alive]
        self._stacked = [self._stacked[position] for position in kept]
        self._trainer = self._borrow()
        self._trainer.stack.load([list(values[kept]) for values in state], self._rates())

    def _rates(self) -> NDArray[np.float32]:
        return np.array([self._members[index].parameters["learning_rate"] for index in self._stacked], np.float32)

    def _borrow(self) -> StackTrainer:
        members = [self._members[index] for index in self._stacked]
        trainer = _trainer(self._builder, members, self._shape, self._classes, len(self._data[0][1]), self._macro_f1)
        trainer.lent_to = self
        return trainer


_cached: OrderedDict[Hashable, StackTrainer] = OrderedDict()


def _trainer(
    builder: Builder,
    members: Sequence[Member],
    shape: tuple[int, int, int],
    classes: int,
    count: int,
    macro_f1: bool,
) -> StackTrainer:
    """Return cached graphs that fit this group, or make and cache new ones."""
    first, units = members[0].parameters, _widest(builder, members)
    effects = frozenset(name for name in EFFECTS if any(member.parameters[name] for member in members))
    batch = batch_size(first, count)
    name = (key(builder, first), len(members), units, shape, classes, batch, effects, macro_f1)
    if name not in _cached:
        while len(_cached) >= _CACHED_STACKS:
            _cached.popitem(last=False)
        gc.collect()
        stack = NetworkStack(first, len(members), units, shape, classes, _SCALES[builder.name])
        _cached[name] = StackTrainer(stack, batch, effects, classes if macro_f1 else None)
    _cached.move_to_end(name)
    return _cached[name]


def _widest(builder: Builder, members: Sequence[Member]) -> int:
    """Return the width of the stack's hidden layers; the least one if there are none, so that any such stack fits."""
    if not members[0].parameters["layers"]:
        return _UNITS_MULTIPLE
    widest = max(int(member.parameters["units"]) for member in members)
    # In coarser steps for heads, so that a few graphs serve all of them: 512 units for 385.
    multiple = max(_UNITS_MULTIPLE, 1 << (widest.bit_length() - 2)) if builder.name == HEAD else _UNITS_MULTIPLE
    return math.ceil(widest / multiple) * multiple


_gains: dict[Hashable, float] = {}


def gain(
    builder: Builder,
    members: Sequence[Member],
    shape: tuple[int, int, int],
    classes: int,
    training: Examples,
    validation: Examples,
) -> float:
    """Measure how many times faster these members train fused than one after another, on a few compiled steps.

    Only the widest member is timed alone; the others are assumed to take as long. The result is cached per key, number
    of members and width.

    Raises:
        ValueError: the members' keys differ, or are None.
    """
    name = (key(builder, members[0].parameters), len(members), _widest(builder, members))
    if name not in _gains:
        batch = batch_size(members[0].parameters, len(training))
        probe = Examples(training.images[: batch * _PROBE_STEPS], training.labels[: batch * _PROBE_STEPS])
        widest = max(members, key=lambda member: int(member.parameters["units"]))
        solo = loop.prepare(builder, widest.parameters, shape, classes, probe, validation, 1, widest.seed)
        fused = prepare(builder, members, shape, classes, probe, validation, 1)
        seconds = _seconds(solo.step_all, fused.step_all)
        _gains[name] = seconds[0] * len(members) / seconds[1]
    return _gains[name]


def _seconds(*actions: Any) -> list[float]:
    """Return the seconds of each action: the shortest of a few runs, taken in turn, after a first run that compiles."""
    taken: list[list[float]] = [[] for _ in actions]
    for _ in range(1 + _PROBE_REPEATS):
        for action, times in zip(actions, taken, strict=True):
            start = perf_counter()
            action()
            times.append(perf_counter() - start)
    return [min(times[1:]) for times in taken]
