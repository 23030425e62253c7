"""TensorFlow in a process: imported once, with the right threads; and a network as the bytes of a file."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np


def import_tensorflow(threads: int, deterministic: bool = False) -> float:
    """Import TensorFlow with as many threads as the task has cores; the seconds it took, 0 if it was there already.

    Args:
        threads: read at the first import only.
        deterministic: the same trial gives the same bits, whatever the threads do; operations that can't do that raise.
    """
    seconds = 0.0 if "tensorflow" in sys.modules else _import(threads)
    if deterministic:
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    return seconds


def take_gpus() -> None:
    """Limit TensorFlow to the GPUs that Spark gave this task, if Spark assigns GPUs. Call before its import.

    A worker keeps the GPUs of its first task: where an executor has several, give each executor one of its own.
    """
    if "pyspark" not in sys.modules or "tensorflow" in sys.modules:
        return
    from pyspark import TaskContext

    context = TaskContext.get()
    gpus = context.resources().get("gpu") if context else None
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus.addresses)


def _import(threads: int) -> float:
    start = perf_counter()
    # Read at import only, and Spark's OMP_NUM_THREADS is not looked at.
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(threads)
    os.environ["TF_NUM_INTEROP_THREADS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _native_silence():
        import tensorflow as tf

        # By default one process takes the whole GPU's memory, and several tasks may share it.
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
    return perf_counter() - start


@contextmanager
def _native_silence() -> Iterator[None]:
    """Drop what native code writes to standard error: TensorFlow greets before it reads its own log level."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)


def to_bytes(network: Any) -> bytes:
    """A network as the bytes of a .keras file."""
    with tempfile.TemporaryDirectory(prefix="windrow-") as folder:
        path = Path(folder) / "network.keras"
        network.save(path)
        return path.read_bytes()


def from_bytes(content: bytes) -> Any:
    """The network in a .keras file's bytes."""
    import keras

    with tempfile.TemporaryDirectory(prefix="windrow-") as folder:
        path = Path(folder) / "network.keras"
        path.write_bytes(content)
        return keras.models.load_model(path, compile=False)


def weights_digest(network: Any) -> str:
    """SHA-256 over a network's weights, in order: type, shape and little-endian values of each array.

    Equal for two networks whose weights are equal bit for bit, whatever their names and their files' bytes.
    """
    digest = hashlib.sha256()
    for weights in network.get_weights():
        digest.update(f"{weights.dtype.name} {weights.shape} ".encode())
        digest.update(np.asarray(weights, weights.dtype.newbyteorder("<"), order="C").tobytes())
    return digest.hexdigest()
