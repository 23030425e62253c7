"""Describe the training of a trial completely: its parameters and seed, the data set and the limits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from windrow.channel import Address
from windrow.data import features, shards
from windrow.data.splits import STORED, StoredFit
from windrow.experiment.parameters import Value
from windrow.experiment.values import Cost
from windrow.sweep.seeds import seed_of
from windrow.training.networks import Builder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from windrow.data.manifest import Manifest
    from windrow.experiment import Experiment

_SHIPPED = {
    file.name
    for part in (shards, features)
    for fit in STORED
    for file in part.split_files("", "train", "validation", fit=fit)
}


@dataclass(frozen=True)
class TrialFacts:
    """Every hyper-parameter of a trial, and the seed for its weights, order of images, dropout and augmentation."""

    parameters: dict[str, Value]
    seed: int


@dataclass(frozen=True)
class TrialSpec:
    """Everything that an attempt depends on, except the data set's files.

    Attributes:
        number: the trial's number in its study.
        attempt: number of the attempt at the trial, from 1.
        shape: height, width and channels of an image; for a head, 1, 1 and the number of features.
        classes: number of classes.
        seed: seed for the initial weights, the order of images, dropout and augmentation.
        threads: number of TensorFlow's threads, which is the number of cores that Spark gives the task.
        keep_network: whether to return the trained network as bytes.
        lease: the attempt's token in the ledger; empty for a training outside a sweep.
        address: the driver's address for reports; None to send no reports.
        seconds: most wall-clock seconds for the attempt; None for no limit.
        mebibytes: most resident memory of the worker; None for no limit.
        prune: whether to ask the driver after every epoch if the trial should go on.
        fused: whether the trial may be trained in one graph with others.
        deterministic: whether to train bit for bit reproducibly, which is slower.
        dataset: digest of the data set, or of its features, by which a worker finds the files that were sent.
        digests: (name, SHA-256) of each file of the data set except those of the test split; a worker checks each once.
        ask_first: whether to train only with the driver's consent. Set if the connection to the driver is known to
            work, so that no answer means that the driver is gone.
        repeat: number of a finalist's seed, from 1; 0 for a trial of the sweep.
        patience: epochs without a better objective after which training ends, and the best epoch counts; None to train
            all epochs, and the last one counts.
        fit: name under which the images, or their features, are stored, from Manifest.stored.
        on_all: whether the network that is kept is trained once more, on training and validation images, for as many
            epochs as counted; the outcome's figures stay those of the training that validates.
        fold: number of the division of training and validation images that validates, from 1, which is the data set's
            own (training.data.folded); only for a head.
        cost: the second goal of the search, or what makes a finalist small, measured before the training
            (goals.measured_cost); None if no one asks for it.
        keep_hits: whether to return which validation images a network that is kept gets right.
        fine_tuning: the head that is trained before, if this is the training of a backbone's last blocks with that head
            on images; else None.
    """

    number: int
    attempt: int
    builder: Builder
    parameters: dict[str, Value]
    shape: tuple[int, int, int]
    classes: int
    epochs: int
    objective: str
    seed: int
    threads: int = 1
    keep_network: bool = False
    lease: str = ""
    address: Address | None = None
    seconds: float | None = None
    mebibytes: int | None = None
    prune: bool = False
    fused: bool = False
    deterministic: bool = False
    dataset: str = ""
    digests: tuple[tuple[str, str], ...] = ()
    ask_first: bool = False
    repeat: int = 0
    patience: int | None = None
    fit: StoredFit = "main"
    on_all: bool = False
    fold: int = 1
    cost: Cost | None = None
    keep_hits: bool = False
    fine_tuning: FineTuning | None = None


@dataclass(frozen=True)
class FineTuning:
    """What is trained on images, after its head has been trained on features.

    Attributes:
        head: the head's training, as that of a finalist.
        blocks: number of the backbone's last blocks that are trained, and the head with them.
    """

    head: TrialSpec
    blocks: int


def sized(page: Experiment, dataset: Manifest) -> Experiment:
    """Return a page whose default configuration suits the number of training images; the page's own values stay."""
    return page.model_copy(update={"network": page.network.sized(dataset.splits.get("train", 0))})


def facts_of(page: Experiment, number: int, point: Mapping[str, Value]) -> TrialFacts:
    """Derive a trial's hyper-parameters from its point and the page's default configuration, and its seed.

    The page is the result of `sized`, unless the point has every hyper-parameter.

    The sweep, the log in MLflow and the promotion all call this, so that a trial that is trained or logged again does
    not differ.
    """
    return TrialFacts({**page.network.defaults(), **point}, seed_of(page.sweep.seed, number))


def stored_fit(page: Experiment, parameters: Mapping[str, Value]) -> StoredFit:
    """Return the name, from Manifest.stored, under which a network with these hyper-parameters has its images."""
    return "crop" if page.dataset.fit == "both" and parameters.get("fit") == "crop" else "main"


def trained_on(page: Experiment, dataset: Manifest, folder: Path) -> Manifest:
    """Describe what a page's trials are trained on, as a data set: `dataset`, or a backbone's features of its images.

    With features, digest, shape and files are theirs, and there is no test split.

    Args:
        dataset, folder: the prepared data set, and its folder.

    Raises:
        DatasetError: the page has a backbone, and its features are not in the folder.
    """
    if page.network.backbone is None:
        return dataset
    found, known = features.read_for(page, folder), {}
    for fit in dataset.stored:
        for file in features.split_files(folder, "train", "validation", fit=fit):
            known[file.name] = {**dataset.files, **found.files}[file.name]
    return replace(dataset, digest=found.digest, shape=found.shape, files=known)


def trial_spec(
    page: Experiment,
    builder: Builder,
    dataset: Manifest,
    number: int,
    facts: TrialFacts,
    keep_network: bool = False,
) -> TrialSpec:
    """Describe the first attempt at a trial on what `trained_on` gave, without limits, lease and second goal."""
    parameters = dict(facts.parameters)
    if page.dataset.fit == "both":  # it decides which features are read, and nothing of the network
        parameters.pop("fit", None)
    return TrialSpec(
        number=number,
        attempt=1,
        builder=builder,
        parameters=parameters,
        shape=dataset.shape,
        classes=len(dataset.labels),
        epochs=page.sweep.epochs,
        objective=page.sweep.objective,
        seed=facts.seed,
        threads=page.sweep.cores,
        keep_network=keep_network,
        deterministic=page.sweep.deterministic,
        dataset=dataset.digest,
        patience=page.sweep.patience,
        fit=stored_fit(page, facts.parameters),
        on_all=keep_network and page.promotion.train_on == "all",
        digests=tuple((name, digest) for name, digest in dataset.files.items() if name in _SHIPPED),
    )


def default_spec(page: Experiment, builder: Builder, dataset: Manifest) -> TrialSpec:
    """Describe the default configuration with a trial's limits, to try its network before a trial begins.

    Searched hyper-parameters of a user's network that have no default get their least or first value.
    """
    ends = {name: one.choices[0] if one.type == "categorical" else one.low for name, one in page.space.items()}
    facts = facts_of(page, 0, {name: end for name, end in ends.items() if name not in page.network.defaults()})
    limits = page.sweep.trial_seconds, page.sweep.trial_mebibytes
    return replace(trial_spec(page, builder, dataset, 0, facts), seconds=limits[0], mebibytes=limits[1])
