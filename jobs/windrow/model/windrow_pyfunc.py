"""Label images with a registered network in MLflow's pyfunc form. A copy of this file travels with the network.

    model = mlflow.pyfunc.load_model("models:/digits@champion")
    model.predict(images)  # a DataFrame with the columns label and score

Nothing of Windrow is imported, so that the network can be used where Windrow is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pandas import DataFrame

_BATCH = 256  # images


class Labeller:
    """A network that gives the names of classes; `shape` is (height, width, channels) of an image."""

    def __init__(self, network: Any, shape: Sequence[int], labels: Sequence[str]) -> None:
        self._network, self._shape, self._labels = network, tuple(shape), np.array(labels)

    def predict(self, images: Any, params: dict[str, Any] | None = None) -> DataFrame:
        """Label images.

        Args:
            images: (n, height, width, channels) in 0..255, of uint8, float32, float64 or any other numbers, also as
                lists; grey images may be (n, height, width).
            params: MLflow's, unused.

        Returns:
            A row per image: `label`, the name of its class, and `score`, the probability of that class in 0..1.

        Raises:
            ValueError: the images have another shape.
        """
        from pandas import DataFrame

        pixels = np.asarray(images, dtype=np.float32)
        if self._shape[-1] == 1 and pixels.shape[1:] == self._shape[:2]:
            pixels = pixels[..., None]
        if pixels.shape[1:] != self._shape:
            raise ValueError(
                f"images must have the shape (n, {', '.join(map(str, self._shape))}); got {pixels.shape}; "
                "bring photographs to that height and width as metadata['windrow']['fit'] says (squash: resize both "
                "sides; crop: resize the short side to 256/224 of it, bicubic, and cut out the centre), "
                "and put one image into a batch of one: image[None]"
            )
        batches = [pixels[at : at + _BATCH] for at in range(0, len(pixels), _BATCH)]
        scores = [np.asarray(self._network(batch, training=False), np.float64) for batch in batches]
        every = np.concatenate([np.zeros((0, len(self._labels))), *scores])
        best = every.argmax(axis=1)
        return DataFrame({"label": self._labels[best].astype(object), "score": every[np.arange(len(best)), best]})


def _load_pyfunc(data: str) -> Labeller:
    """Load the network from the model's data folder; MLflow calls this by its name."""
    import keras
    import yaml

    described = yaml.safe_load((Path(data).parent / "MLmodel").read_text(encoding="utf-8"))["metadata"]["windrow"]
    network = keras.models.load_model(Path(data) / "model.keras", compile=False)
    return Labeller(network, described["shape"], described["labels"])
