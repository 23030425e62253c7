"""Run the network in a Python worker: load it once, trace it once, feed it batches of one size."""

from __future__ import annotations

import io
import socket
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from windrow.errors import UserError, WindrowError
from windrow.model import canaries
from windrow.model.canaries import Canary
from windrow.model.form import Form, Shape
from windrow.scoring.network import graph_errors
from windrow.scoring.network.kinds import open_network

Ranked = tuple[NDArray[np.int32], NDArray[np.float32]]
_PLAIN = Form()
_CANARY_SIDE = 64
"""Pixels on each side of the canary images for a network that decodes and resizes by itself."""


class BadImageError(Exception):
    """A network that decodes by itself can't decode these bytes; the message says why."""


class LoadedNetwork:
    """A network's file as a function from images to their best labels.

    Args:
        file: by default a .keras file that takes float32 (n, *shape) in 0..255 and gives (n, classes) probabilities.
        shape: (height, width, channels); None to take it from the file.
        batch_size: images per step; a smaller batch is filled up with zeros, so that the graph is traced only once.
        top_k: labels per image, at most the number of classes.
        threads: threads per batch; for TensorFlow, only the process's first import of it sets them.
        form: the kind of the file, and the form of the input.
        proven: whether to skip the check that an image gets the same labels in a batch as alone. The check costs one
            batch per canary.

    Attributes:
        takes_bytes: whether the network takes JPEG files, one by one, instead of pixels.
        canaries: the network's labels for the images of canaries.py.

    Raises:
        UserError: the file is not such a network.
    """

    def __init__(
        self,
        file: Path,
        shape: Shape | None,
        batch_size: int,
        top_k: int,
        threads: int = 1,
        form: Form = _PLAIN,
        proven: bool = False,
    ) -> None:
        from windrow.training.runtime import import_tensorflow, take_gpus

        if form.kind != "openvino":
            take_gpus()
            import_tensorflow(threads)
        opened = open_network(file, form, shape, batch_size, top_k, threads)
        self._best = opened.best
        self.shape, self.classes, self.takes_bytes = opened.shape, opened.classes, opened.takes_bytes
        self._batch = np.zeros((batch_size, *(opened.shape or ())), np.uint8)
        self.canaries = self._label_canaries(proven)

    def label(self, pixels: NDArray[np.uint8]) -> Ranked:
        """Return the best classes and their probabilities, best first: two arrays of shape (n, top_k).

        Args:
            pixels: uint8 (n, *shape), n from 1 to batch_size.
        """
        count = len(pixels)
        self._batch[:count] = pixels
        self._batch[count:] = 0
        ids, scores = self._best(self._batch)
        return ids[:count], scores[:count]

    def label_bytes(self, content: bytes) -> Ranked:
        """Label the bytes of one JPEG if the network `takes_bytes`; return two arrays of shape (1, top_k).

        Raises:
            BadImageError: the network can't decode the bytes.
        """
        import tensorflow as tf

        try:
            return self._best(content)
        except tf.errors.InvalidArgumentError as error:
            raise BadImageError(graph_errors.reason(error.message)) from error

    def _label_canaries(self, proven: bool) -> tuple[Canary, ...]:
        """Label the canaries and check the labels.

        This also keeps the time of tracing, which the first call includes, out of the times of the run's images.
        """
        if self.takes_bytes:
            drawn = canaries.images((_CANARY_SIDE, _CANARY_SIDE, 3))
            return self._checked(canaries.label([_jpeg(pixels) for pixels in drawn], self._label_own_bytes))
        if self.shape is None:
            raise UserError("a network that takes pixels must have a shape; got none; set scoring.network.shape")
        drawn = canaries.images(self.shape)
        size = len(self._batch)
        batches = [self.label(drawn[start : start + size]) for start in range(0, len(drawn), size)]
        ranked = [pair for ids, scores in batches for pair in zip(ids, scores, strict=True)]
        together = self._checked(tuple(Canary.of(ids.tolist(), scores.tolist()) for ids, scores in ranked))
        if proven:
            return together
        alone = canaries.label(list(drawn), lambda pixels: self.label(pixels[None]))
        try:
            canaries.check(together, alone, "here")
        except WindrowError as error:
            raise UserError(
                "a network must label an image in a batch as it does alone; this one does not; "
                "let scoring.network.feed be the tensor of one image's bytes, or set scoring.batch_size=1"
            ) from error
        return together

    def _label_own_bytes(self, content: bytes) -> Ranked:
        try:
            return self.label_bytes(content)
        except BadImageError as error:
            raise UserError(
                f"a network that is fed bytes must take a JPEG's; it says {error}; feed another tensor"
            ) from (error)

    def _checked(self, labelled: tuple[Canary, ...]) -> tuple[Canary, ...]:
        scores = [score for canary in labelled for score in canary.scores]
        if not all(-1e-3 <= score <= 1 + 1e-3 for score in scores):  # NaN fails this too
            raise UserError(
                f"a network must give probabilities, 0 to 1; got {min(scores):.3g} to {max(scores):.3g}; "
                "end a Keras network with a softmax; for a GraphDef, let scoring.network.fetch be the tensor after it"
            )
        return labelled


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95)
    return stream.getvalue()


_loaded: dict[tuple[str, int, int, Form], LoadedNetwork] = {}


def load(
    file: Path,
    digest: str,
    shape: Shape | None,
    batch_size: int,
    top_k: int,
    threads: int = 1,
    form: Form = _PLAIN,
    expected: Sequence[Canary] = (),
) -> LoadedNetwork:
    """Return the network with this digest, loaded unless this Python worker has it; a worker keeps one at a time.

    Args:
        file: the network's file.
        digest: the file's SHA-256.
        shape, batch_size, top_k, threads, form: as for LoadedNetwork.
        expected: the labels that the network must give for the canaries. Each call compares them, which costs nothing.

    Raises:
        WindrowError: the network gives the canaries other labels.
        UserError: the file is not such a network.
    """
    key = (digest, batch_size, top_k, form)
    network = _loaded.get(key)
    if network is None or shape not in (None, network.shape):
        _loaded.clear()
        network = _loaded[key] = LoadedNetwork(file, shape, batch_size, top_k, threads, form, bool(expected))
    canaries.check(network.canaries, expected, socket.gethostname())
    return network
