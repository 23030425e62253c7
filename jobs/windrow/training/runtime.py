"""Import TensorFlow once per process with the right number of threads; convert networks to and from bytes."""

from __future__ import annotations

import gc
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np


def import_tensorflow(threads: int, deterministic: bool = False) -> float:
    """Import TensorFlow, and return the seconds that this took: 0 if it was imported already.

    Args:
        threads: number of threads, one per core of the task; ignored if TensorFlow was imported already.
        deterministic: whether the same trial must give the same bits, whatever the threads do; an operation that can't
            guarantee this raises an error.
    """
    seconds = 0.0 if "tensorflow" in sys.modules else load(threads)
    _let_gpu_memory_grow()
    if deterministic:
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    return seconds


def load(threads: int) -> float:
    """Import TensorFlow and Keras without a look at any device, so that this process may fork; return the seconds.

    Args:
        threads: number of threads that TensorFlow will start, here or in a fork.
    """
    start = perf_counter()
    # TensorFlow reads these when it starts its threads, and ignores the OMP_NUM_THREADS that Spark sets.
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(threads)
    os.environ["TF_NUM_INTEROP_THREADS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    gc.collect()  # what is garbage already would be kept for ever by the freeze below
    with _native_silence(), _without_collector():
        import keras  # noqa: F401
        import tensorflow  # noqa: F401
    # None of these half a million objects is ever garbage. Spark's worker collects after each task, which takes 0.2 s
    # if the collector has to look at all of them.
    gc.freeze()
    return perf_counter() - start


@cache
def _let_gpu_memory_grow() -> None:
    """Let TensorFlow take a GPU's memory as it needs it: by default it takes all, and several tasks may share a GPU."""
    import tensorflow as tf

    with suppress(RuntimeError):  # this process has used its GPUs already
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)


def import_without_gpus() -> None:
    """Import TensorFlow in a driver, which leaves the GPUs to the executors.

    No environment variable is set, because the executors of a local master would inherit it.
    """
    if import_tensorflow(threads=1):
        import tensorflow as tf

        tf.config.set_visible_devices([], "GPU")


def take_gpus() -> None:
    """Limit TensorFlow to the GPUs that Spark gave this task, if Spark assigns GPUs.

    This has no effect once TensorFlow is imported.

    A Python worker keeps the GPUs of its first task. On a host with several GPUs, give each executor one of its own.
    """
    if "pyspark" not in sys.modules or "tensorflow" in sys.modules:
        return
    from pyspark import TaskContext

    context = TaskContext.get()
    gpus = context.resources().get("gpu") if context else None
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus.addresses)


@contextmanager
def _native_silence() -> Iterator[None]:
    """Discard what native code writes to standard error: TensorFlow prints before it reads its own log level."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Turn Python's garbage collector off: it finds nothing while TensorFlow is imported, and takes a fifth of that."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def to_bytes(network: Any) -> bytes:
    """Return a network as the bytes of a .keras file."""
    with tempfile.TemporaryDirectory(prefix="windrow-") as folder:
        path = Path(folder) / "network.keras"
        network.save(path)
        return path.read_bytes()


def from_bytes(content: bytes) -> Any:
    """Load a network from the bytes of a .keras file."""
    import keras

    with tempfile.TemporaryDirectory(prefix="windrow-") as folder:
        path = Path(folder) / "network.keras"
        path.write_bytes(content)
        return keras.models.load_model(path, compile=False)


def weights_digest(network: Any) -> str:
    """Return the SHA-256 of a network's weights, in order: type, shape and little-endian values of each array.

    Two networks have the same digest if their weights are equal bit for bit, even if their names or files differ.
    """
    digest = hashlib.sha256()
    for weights in network.get_weights():
        digest.update(f"{weights.dtype.name} {weights.shape} ".encode())
        digest.update(np.asarray(weights, weights.dtype.newbyteorder("<"), order="C").tobytes())
    return digest.hexdigest()
