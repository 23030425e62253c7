"""Log a network to MLflow in two forms, with an input example, pinned requirements, and metadata for scoring."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from windrow.data.splits import StoredFit
from windrow.experiment.parameters import Value
from windrow.model import canaries, windrow_pyfunc
from windrow.model.canaries import Canary
from windrow.selection import common_images
from windrow.selection.common_images import Keys

if TYPE_CHECKING:
    from mlflow.models import Model, ModelSignature

    from windrow.data.manifest import Manifest

_ROOTS = ("tensorflow", "keras", "numpy", "pandas", "pyyaml")


def log_network(
    run_id: str,
    name: str,
    network: bytes,
    dataset: Manifest,
    example: NDArray[np.uint8],
    trial: int,
    parameters: Mapping[str, Value],
    seen: Keys,
    fit: StoredFit = "main",
) -> tuple[str, str]:
    """Log a network to a run as a logged model; return its URI and the digest of its weights.

    MLflow loads it in two forms: as a Keras network by mlflow.tensorflow, which gives the probabilities of all classes,
    and by mlflow.pyfunc, which gives names of classes (model/windrow_pyfunc.py).

    Args:
        name: the logged model's name.
        network: bytes of a .keras file.
        example: one or more images, uint8 (n, height, width, channels).
        trial: number of the trial that the network comes from.
        parameters: every hyper-parameter of the trial.
        seen: keys of the images that the network was trained and chosen on, uint64 (n,), sorted.
        fit: name under which the network's images are stored, from Manifest.stored.
    """
    from mlflow.models import Model

    from windrow.training.runtime import from_bytes, import_without_gpus, weights_digest

    import_without_gpus()
    loaded, shape = from_bytes(network), list(dataset.shape)
    with tempfile.TemporaryDirectory(prefix="windrow-") as folder:
        np.save(images := Path(folder) / common_images.FILE, seen)
        logged = Model.log(
            artifact_path=None,
            name=name,
            flavor=SimpleNamespace(save_model=_save),
            flavor_name="tensorflow",
            run_id=run_id,
            params={key: str(value) for key, value in parameters.items()},
            tags={"windrow.dataset.digest": dataset.digest, "windrow.trial": str(trial)},
            model=loaded,
            extra_files=[str(images)],
            signature=_signature(),
            input_example=example,
            # Without pinned requirements, MLflow would load the model again in another process to guess them.
            pip_requirements=requirements(),
            metadata={
                "windrow": {
                    **{"shape": shape, "labels": list(dataset.labels), "trial": trial},
                    "fit": dataset.fit_of(fit),
                    "canaries": [canary.plain() for canary in _canaries(loaded, dataset.shape)],
                }
            },
        )
    return str(logged.model_uri), weights_digest(loaded)


def _signature() -> ModelSignature:
    """Return a signature that takes images of any type: with a type in it, MLflow would refuse all others.

    An object tensor of shape (-1,) is MLflow's way to allow any type. windrow_pyfunc.py checks the images' shape.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    return ModelSignature(
        Schema([TensorSpec(np.dtype(object), (-1,))]),
        Schema([ColSpec("string", "label"), ColSpec("double", "score")]),
    )


def _save(path: str, mlflow_model: Model, **options: Any) -> None:
    """Save a model as mlflow.tensorflow does, with the names of classes in its pyfunc form."""
    import mlflow

    mlflow.tensorflow.save_model(path=path, mlflow_model=mlflow_model, code_paths=[windrow_pyfunc.__file__], **options)
    mlflow_model.flavors["python_function"]["loader_module"] = Path(windrow_pyfunc.__file__).stem
    mlflow_model.save(str(Path(path) / "MLmodel"))


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
