"""List a model's versions for the Windrow page, with the champion and the reason for each decision."""

from __future__ import annotations

import time
from threading import Lock
from typing import TypedDict

from windrow.errors import AbsentError, TrackingError
from windrow.selection.metrics import MetricFigures, worst
from windrow.tracking.history import Version, versions

_CACHED_SECONDS = 15.0


class ShownVersion(TypedDict):
    """A registered version.

    `at` is Unix time in seconds, `interval` the 95 % interval of the test accuracy, `baseline` the test accuracy of
    guessing the most frequent class. `worst` is the class with the lowest recall, as its name and that recall. Figures
    that an old version does not record are None. `approved_by` is who approved or rejected it, and `chosen_by` who last
    made it champion by a choice or a rollback; empty if nobody did.
    """

    version: int
    at: float
    aliases: tuple[str, ...]
    decision: str | None
    reason: str
    test_accuracy: float | None
    interval: list[float] | None
    test_images: int | None
    baseline: float | None
    macro_f1: float | None
    worst: tuple[str, float] | None
    trial: int | None
    approved_by: str
    chosen_by: str


class ShownVersions(TypedDict):
    """The versions of a model, newest first."""

    model: str
    versions: list[ShownVersion]


class Registry:
    """Fetches a model's versions at most every 15 seconds, for any number of readers and however slow MLflow is."""

    def __init__(self) -> None:
        self._cached: dict[str, tuple[float, list[Version] | TrackingError]] = {}
        self._lock = Lock()

    def show(self, model: str, dag: str) -> ShownVersions:
        """Return the versions for the Windrow page, newest first.

        Args:
            model: the model's name in the registry.
            dag: the DAG that the message asks the reader to trigger if there is no version.

        Raises:
            AbsentError: MLflow does not answer, or has no version of the model.
        """
        found = self._found(model)
        if isinstance(found, TrackingError):
            raise AbsentError("MLflow does not answer, so the champion's history can't be shown now.") from found
        if not found:
            raise AbsentError(f"No version of {model} is registered yet. Trigger {dag}, and its champion appears here.")
        return {"model": model, "versions": [_line(version) for version in found]}

    def _found(self, model: str) -> list[Version] | TrackingError:
        with self._lock:  # the second of two readers waits for the first one's answer
            at, found = self._cached.get(model, (0.0, []))
            if not at or time.monotonic() - at > _CACHED_SECONDS:
                found = _look(model)
                self._cached[model] = (time.monotonic(), found)
            return found


def _look(model: str) -> list[Version] | TrackingError:
    try:
        return versions(model)
    except TrackingError as error:
        return error


def _line(version: Version) -> ShownVersion:
    result = version.result
    challenger = result.figures.get("challenger") if result else None
    interval = challenger.get("interval") if challenger else None
    metrics = result.metrics if result else None
    return {
        "version": version.number,
        "at": round(version.at, 1),
        "aliases": version.aliases,
        "decision": result.decision if result else None,
        "reason": (result.reason if result else "") or "Nothing is decided about it yet.",
        "test_accuracy": result.test_accuracy if result else None,
        "interval": [interval["low"], interval["high"]] if interval else None,
        "test_images": result.test_images if result else None,
        "baseline": result.baseline if result else None,
        "macro_f1": metrics["macro_f1"] if metrics else None,
        "worst": _worst(metrics) if metrics else None,
        "trial": result.trial if result else None,
        "approved_by": version.approved_by,
        "chosen_by": version.chosen_by,
    }


def _worst(found: MetricFigures) -> tuple[str, float] | None:
    named = [(each["label"], each["recall"]) for each in worst(found["classes"]) if each["recall"] is not None]
    return named[0] if named else None
