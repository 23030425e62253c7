"""Train trials on an executor: specifications in, outcomes out. Errors become outcomes, too; MLflow is not used."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from windrow.data import features, manifest, shards
from windrow.data.splits import Split, StoredFit
from windrow.errors import BuilderError
from windrow.model.composition import compose
from windrow.sweep.attempt import RunningAttempt, limited_output
from windrow.sweep.goals import hits
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.spec import FineTuning, TrialSpec
from windrow.sweep.tuning import epochs, tuning, upper
from windrow.sweep.tuning.map_files import MapFiles
from windrow.training import fused, loop, networks, runtime
from windrow.training.data import folded, joined
from windrow.training.fused import Member
from windrow.training.loop import Examples

_TRACEBACK_TAIL_CHARACTERS = 2000
BACKBONE = "backbone.keras"
"""Name of the backbone's file in the folder of the features that were sent."""
WORTHWHILE = 1.1
"""Trials are trained in one graph if `fused.gain` measures at least this gain in images per second."""


def run_all(specs: Iterable[TrialSpec]) -> Iterator[Outcome]:
    """Run a Spark task's trials and return their outcomes.

    All input is read, and a trial's errors become outcomes, because only then does Spark reuse the Python worker, where
    TensorFlow is already imported.
    """
    return iter([one for group in groups(list(specs)) for one in _run_group(group, shipped(group[0].dataset))])


def run(spec: TrialSpec, dataset: Path, gain: float = 0.0) -> Outcome:
    """Train one trial on the data set's files in `dataset`. Every error but KeyboardInterrupt becomes an outcome.

    Args:
        gain: the gain that `fused.gain` measured if it was too small for one graph; 0 if it was not measured. Recorded
            in the outcome.
    """
    attempt = RunningAttempt(spec)
    try:
        with attempt.watched(), limited_output(spec.number):
            attempt.import_seconds = start_tensorflow(spec.threads, spec.deterministic)
            attempt.begin()
            outcome = attempt.stopped() if attempt.stop else _train(attempt, dataset)
    except BaseException as error:  # the only place that catches a trial's errors, also exit() in a user's builder
        attempt.leave_if_forked()
        tail = traceback.format_exc()[-_TRACEBACK_TAIL_CHARACTERS:]
        if isinstance(error, KeyboardInterrupt):
            raise
        outcome = attempt.outcome(Ending.FAILED, error=tail)
    return attempt.end(replace(outcome, gain=gain))


def mistake(spec: TrialSpec, dataset: Path) -> str:
    """Build a specification's network and try it on a batch of training images; return what is wrong, or "".

    Only a mistake in the builder's file, or in the network that the builder returns, is returned. Any other error of a
    user's function may be due to this point of the space, so it is left to the trials, which record it. After
    `spec.seconds`, or above `spec.mebibytes`, this process is killed.
    """
    attempt = RunningAttempt(replace(spec, address=None))
    try:
        with attempt.watched(), limited_output(spec.number):
            start_tensorflow(spec.threads, spec.deterministic)
            with _time_limit(spec.seconds):
                images = _examples(spec, dataset, "train").images[: int(spec.parameters["batch_size"])]
                networks.try_out(spec.builder, spec.parameters, spec.shape, spec.classes, images)
    except BuilderError as error:
        return str(error)
    except BaseException as error:
        attempt.leave_if_forked()
        if isinstance(error, KeyboardInterrupt):
            raise
    return ""


@contextmanager
def _time_limit(seconds: float | None) -> Iterator[None]:
    """Kill this process if the block takes longer than `seconds`: a user's function can't be stopped otherwise."""
    timer = threading.Timer(seconds or 0.0, os.kill, (os.getpid(), signal.SIGKILL))
    timer.daemon = True
    if seconds is not None:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def groups(specs: Sequence[TrialSpec]) -> list[list[TrialSpec]]:
    """Group the specifications that may be trained in one graph; every other one forms a group of its own."""

    def key(spec: TrialSpec) -> str:
        # Limits apply to one trial, but trials in a shared graph share time and memory.
        limited = spec.seconds is not None or spec.mebibytes is not None
        shared = None if limited or not spec.fused else fused.key(spec.builder, spec.parameters)
        return f"alone {spec.number}" if shared is None else repr((shared, spec.epochs, spec.fit))

    found = [list(group) for _, group in groupby(sorted(specs, key=key), key)]
    return [part for group in found for part in (_portions(group) if _is_head(group[0]) else [group])]


def _portions(group: list[TrialSpec]) -> Iterator[list[TrialSpec]]:
    """Cut a group into portions of 1, 2, 4, 8 ... trials, the largest first.

    Each number of trials needs a graph of its own. Heads train in less time than that takes to make, and a sampler
    proposes them in groups of any size.
    """
    while group:
        size = 1 << (len(group).bit_length() - 1)
        yield group[:size]
        group = group[size:]


def shipped(digest: str) -> Path:
    """Return this host's folder with the splits of a data set that `cluster.ship` sent."""
    from pyspark import SparkFiles

    root = Path(SparkFiles.getRootDirectory()).resolve()  # relative on a cluster's executor
    folder = root / digest
    folder.mkdir(exist_ok=True)
    for file in root.glob(f"{digest}-*"):
        with suppress(FileExistsError):  # another worker was first
            (folder / file.name.removeprefix(f"{digest}-")).symlink_to(file)
    return folder


def examples(dataset: Path, split: Split, fit: StoredFit = "main") -> Examples:
    """Open a split's images of a prepared data set, memory-mapped; `fit` is a name from Manifest.stored."""
    return Examples(*shards.load_split(dataset, split, fit))


def _examples(spec: TrialSpec, dataset: Path, split: Split) -> Examples:
    """Open what a trial learns from: a split's images or, for a head, their features."""
    if _is_head(spec):
        return Examples(*features.load_split(dataset, split, spec.fit))
    return examples(dataset, split, spec.fit)


def _is_head(spec: TrialSpec) -> bool:
    """Return whether a trial learns from features, which a head does until it is trained further on images."""
    return spec.builder.name == networks.HEAD and spec.fine_tuning is None


def _run_group(group: list[TrialSpec], dataset: Path) -> list[Outcome]:
    if len(group) == 1:
        return [run(group[0], dataset)]
    gain = 0.0
    try:
        imported = start_tensorflow(group[0].threads)
        members = [Member(spec.parameters, spec.seed) for spec in group]
        data = _data(group[0], dataset)
        gain = fused.gain(group[0].builder, members, group[0].shape, group[0].classes, *data)
        if gain >= WORTHWHILE:
            return _train_together(group, members, data, gain, imported)
    except Exception:  # the trials may work alone; if not, their outcomes will have the error
        traceback.print_exc()
    return [run(spec, dataset, gain) for spec in group]


def _train_together(
    group: list[TrialSpec], members: list[Member], data: tuple[Examples, Examples], gain: float, imported: float
) -> list[Outcome]:
    """Train the group in one graph, and return the outcomes; a trial that ends before the others leaves the graph."""
    attempts = [RunningAttempt(spec) for spec in group]
    attempts[0].import_seconds = imported
    outcomes: dict[int, Outcome] = {}
    with attempts[0].watched():
        first = group[0]
        together = fused.prepare(
            first.builder, members, first.shape, first.classes, *data, first.epochs, _measures_macro_f1(first)
        )
        for index, attempt in enumerate(attempts):
            attempt.begin()
            if attempt.stop:
                outcomes[index] = attempt.end(attempt.stopped())
        for index in outcomes:
            together.drop(index)
        shared = attempts[0].seconds / len(group)
        for epochs in together.epochs():
            for index, epoch in enumerate(epochs):
                if epoch is None or index in outcomes:
                    continue
                attempt = attempts[index]
                attempt.add(epoch)
                if attempt.over:
                    seconds = shared + sum(epoch.seconds for epoch in attempt.epochs)
                    known = replace(attempt.verdict(), seconds=seconds, fused=len(group), gain=gain)
                    outcomes[index] = attempt.end(known)
                    together.drop(index)
    return [outcomes[index] for index in range(len(group))]


def _train(attempt: RunningAttempt, dataset: Path) -> Outcome:
    """Train one trial alone, and return its outcome.

    Each epoch is added to the attempt at once, so that the outcome of a failure has the earlier epochs.
    """
    spec = attempt.spec
    data = _data(spec, dataset)
    if spec.fine_tuning is not None:
        return _fine_tune(attempt, spec.fine_tuning, data, dataset)
    fold = data if spec.fold == 1 else folded(*data, spec.fold, _data(replace(spec, fit="main"), dataset))
    training = loop.prepare(
        spec.builder, spec.parameters, spec.shape, spec.classes, *fold, spec.epochs, spec.seed, _measures_macro_f1(spec)
    )
    attempt.leave_if_forked()
    outcome, best = epochs.run(attempt, training)
    if not spec.keep_network or outcome.ending is not Ending.OK:
        return outcome
    network = training.network
    if best is not None:
        network.set_weights(best)
    if spec.keep_hits:
        outcome = replace(outcome, hits=hits.measured(network, data[1]))
    if spec.on_all:
        network = _trained_on_all(attempt, data)
    if _is_head(spec):
        network = compose(dataset / BACKBONE, network)
    return replace(outcome, network=runtime.to_bytes(network))


def _trained_on_all(attempt: RunningAttempt, data: tuple[Examples, Examples]) -> Any:
    """Train a trial that has been validated once more, on training and validation images; return the keras.Model."""
    spec = attempt.spec
    both = joined(*data)
    training = loop.prepare(
        spec.builder, spec.parameters, spec.shape, spec.classes, both, data[1], spec.epochs, spec.seed
    )
    return epochs.run_again(attempt, training)


def _fine_tune(attempt: RunningAttempt, further: FineTuning, data: tuple[Examples, Examples], folder: Path) -> Outcome:
    """Train a head as before, and then the last blocks of its backbone with it on images; return the latter's outcome.

    With `spec.on_all`, the network that is kept begins with a head that has learned from all images, too.

    Args:
        data: the training and validation images.
        folder: this host's folder for files of the data set.
    """
    spec, maps = attempt.spec, MapFiles(folder, *data, int(attempt.spec.parameters["views"]), attempt.spec.fit)
    for on_all in (False, True) if spec.on_all else (False,):
        head = _train(RunningAttempt(replace(further.head, on_all=on_all)), shipped(further.head.dataset))
        if head.network is None:
            return attempt.outcome(head.ending, error=head.error)
        opened = upper.open_network(head.network, further.blocks)
        training = tuning.prepare(spec, opened, maps.of(opened.cut, on_all))
        if on_all:
            epochs.run_again(attempt, training)
        else:
            outcome, best = epochs.run(attempt, training)
            if outcome.ending is not Ending.OK:
                return outcome
            if best is not None:
                opened.upper.set_weights(best)
            outcome = replace(outcome, frozen=head.value)
    return replace(outcome, network=opened.to_bytes())


def _measures_macro_f1(spec: TrialSpec) -> bool:
    return spec.objective == "val_macro_f1"


def start_tensorflow(threads: int, deterministic: bool = False) -> float:
    """Import TensorFlow for the task's cores and the GPUs that Spark gave the task; return the seconds that it took."""
    runtime.take_gpus()
    return runtime.import_tensorflow(threads, deterministic)


def _data(spec: TrialSpec, dataset: Path) -> tuple[Examples, Examples]:
    """Open the training and validation splits, after a check of their files.

    Raises:
        DatasetError: a file is missing, or its digest is wrong.
    """
    for name, digest in spec.digests:
        _verify_once(dataset / name, digest)
    return _examples(spec, dataset, "train"), _examples(spec, dataset, "validation")


@cache
def _verify_once(path: Path, digest: str) -> None:
    manifest.verify_file(path, digest)
