"""Log a network to MLflow with its signature, an input example, pinned requirements, and metadata for scoring."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from windrow.model import canaries
from windrow.model.canaries import Canary

if TYPE_CHECKING:
    from windrow.data.manifest import Manifest

_ROOTS = ("tensorflow", "keras", "numpy")


def log_network(
    run_id: str, network: bytes, dataset: Manifest, example: NDArray[np.uint8], trial: int
) -> tuple[str, str]:
    """Log a network to a run; return its URI and the digest of its weights.

    Args:
        network: bytes of a .keras file.
        example: one or more images, uint8 (n, height, width, channels).
        trial: number of the trial that the network comes from.
    """
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # the driver only saves the network
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    from windrow.training.runtime import from_bytes, import_tensorflow, weights_digest

    import_tensorflow(threads=1)
    loaded, shape = from_bytes(network), list(dataset.shape)
    with mlflow.start_run(run_id=run_id):
        logged = mlflow.tensorflow.log_model(
            loaded,
            name="network",
            signature=ModelSignature(
                Schema([TensorSpec(np.dtype(np.float32), (-1, *shape))]),
                Schema([TensorSpec(np.dtype(np.float32), (-1, len(dataset.labels)))]),
            ),
            input_example=example.astype(np.float32),
            # Without pinned requirements, MLflow would load the model again in another process to guess them.
            pip_requirements=requirements(),
            metadata={
                "windrow": {
                    **{"shape": shape, "labels": list(dataset.labels), "trial": trial},
                    "canaries": [canary.plain() for canary in _canaries(loaded, dataset.shape)],
                }
            },
        )
    return str(logged.model_uri), weights_digest(loaded)


def _canaries(network: Any, shape: tuple[int, int, int]) -> tuple[Canary, ...]:
    """Compute the labels and scores of the canary images, which every worker that uses the network must reproduce."""

    def run(image: NDArray[np.uint8]) -> tuple[Any, Any]:
        scores = np.asarray(network(image[None].astype(np.float32), training=False))[0]
        best = np.argsort(-scores)
        return best, scores[best]

    return canaries.label(list(canaries.images(shape)), run)


def requirements() -> list[str]:
    """List the packages that a saved network needs, with all dependencies, pinned to the installed versions."""
    found: dict[str, str] = {}
    for root in _ROOTS:
        _add(root, found)
    return [f"{name}=={version}" for name, version in sorted(found.items())]


def _add(name: str, found: dict[str, str]) -> None:
    if name not in found:
        found[name] = metadata.version(name)
        for needed in _needs(name):
            _add(needed, found)


def _needs(name: str) -> Iterator[str]:
    """Yield the names of a package's dependencies on this machine, without extras."""
    from packaging.requirements import Requirement

    for text in metadata.requires(name) or []:
        needed: Any = Requirement(text)
        if needed.marker is None or needed.marker.evaluate({"extra": ""}):
            yield re.sub(r"[-_.]+", "-", needed.name).lower()
