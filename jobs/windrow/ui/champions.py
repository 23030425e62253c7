"""A model's versions for the page: which is champion, which were, and why each became it or did not."""

from __future__ import annotations

import time
from collections.abc import Mapping
from threading import Lock
from typing import Any

from windrow.errors import AbsentError, TrackingError
from windrow.tracking.history import Version, versions

_KEPT_SECONDS = 15.0


class Registry:
    """Asks for a model's versions once in a while, however many readers there are and however long MLflow takes."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[float, list[Version] | TrackingError]] = {}
        self._lock = Lock()

    def show(self, model: str, dag: str) -> dict[str, Any]:
        """The versions for the page, newest first.

        Args:
            model: its name in the registry.
            dag: what to trigger where there is no version yet.

        Raises:
            AbsentError: MLflow is away, or has no version of it.
        """
        found = self._found(model)
        if isinstance(found, TrackingError):
            raise AbsentError("MLflow does not answer, so the champion's history can't be shown now.") from found
        if not found:
            raise AbsentError(f"No version of {model} is registered yet. Trigger {dag}, and its champion appears here.")
        return {"model": model, "versions": [_line(version) for version in found]}

    def _found(self, model: str) -> list[Version] | TrackingError:
        with self._lock:  # the second of two readers waits for the first one's answer
            at, found = self._kept.get(model, (0.0, []))
            if not at or time.monotonic() - at > _KEPT_SECONDS:
                found = _look(model)
                self._kept[model] = (time.monotonic(), found)
            return found


def _look(model: str) -> list[Version] | TrackingError:
    try:
        return versions(model)
    except TrackingError as error:
        return error


def _line(version: Version) -> dict[str, Any]:
    result = version.result
    figures = result.get("figures") or {}
    return {
        "version": version.number,
        "at": round(version.at, 1),
        "aliases": version.aliases,
        "decision": result.get("decision"),
        "reason": result.get("reason") or "Nothing is decided about it yet.",
        "test_accuracy": result.get("test_accuracy"),
        "interval": _interval(figures.get("challenger") or {}),
        "test_images": result.get("test_images"),
        "trial": result.get("trial"),
        "approved_by": version.approved_by,
    }


def _interval(figures: Mapping[str, Any]) -> list[float] | None:
    interval = figures.get("interval")
    return [interval["low"], interval["high"]] if interval else None
