"""Reckon how much memory a promotion's networks need, before any of them is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from windrow.errors import UserError
from windrow.plural import counted
from windrow.sweep.ledger import Entry
from windrow.sweep.spec import facts_of
from windrow.training.networks import HEAD, count_weights

if TYPE_CHECKING:
    from windrow.data.manifest import Manifest
    from windrow.experiment import Experiment
    from windrow.experiment.parameters import Value

_WEIGHT_BYTES = 4  # float32


def largest(page: Experiment, dataset: Manifest, trials: Sequence[Entry]) -> tuple[dict[str, Value], int]:
    """Return the hyper-parameters of the trial whose head has the most weights, and their number.

    Args:
        dataset: the result of `trained_on`.
        trials: at least one.
    """
    every = [facts_of(page, trial.number, trial.point).parameters for trial in trials]
    counts = [count_weights(HEAD, known, dataset.shape, len(dataset.labels)) or 0 for known in every]
    most = max(counts)
    return every[counts.index(most)], most


def network_bytes(backbone: int, weights: int) -> int:
    """Return about how many bytes a network has: those of its backbone's file, and 4 for each weight of its head."""
    return backbone + _WEIGHT_BYTES * weights


def check_memory(count: int, size: int, available: int) -> None:
    """Check that the driver can hold the networks that a promotion keeps until one of them is chosen.

    Args:
        count: number of networks, those of the winner's fine-tuning included.
        size: bytes of each.
        available: bytes of memory that are free.

    Raises:
        UserError: they need more.
    """
    if count * size > available:
        networks = counted(count, "network")
        raise UserError(
            f"promotion.seeds must leave memory for all networks until one is chosen; got {networks} of "
            f"{size >> 20:,} MiB, and {available >> 20:,} MiB are free; lower it"
        )
