"""A network at a lower precision on OpenVINO, without TensorFlow: what conversion.py has made, opened in a worker.

What OpenVINO gives does not depend on the batch, the threads, or what else the processor could do: int8 is told to
compute all the rest in float32, and the weights leave room for processors whose sums of int8 products saturate.
"""

from __future__ import annotations

import platform
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windrow.errors import UserError

FILE = "network.xml"
"""The network's file in its folder; its weights lie beside it."""


def import_openvino() -> Any:
    """OpenVINO without its telemetry, which tells Google Analytics of each import unless that can't be imported."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def compile_folder(folder: Path, bf16: bool, batch_size: int, threads: int) -> Any:
    """A network for batches of one size.

    Raises:
        UserError: this processor does not compute in bf16, and the network shall.
    """
    core = import_openvino().Core()
    if bf16:
        check_bf16(core)
    network = core.read_model(folder / FILE)
    network.reshape([batch_size, *network.input(0).partial_shape[1:]])
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        # It is on by default, and a worker knows nothing of the others that would be bound to the same cores.
        "ENABLE_CPU_PINNING": False,
    }
    return core.compile_model(network, "CPU", settings)


def check_bf16(core: Any) -> None:
    """OpenVINO itself would compute in float32 instead, no quicker, and say nothing.

    Raises:
        UserError: this processor has no instructions for bf16.
    """
    able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if "BF16" not in able:
        raise UserError(
            "scoring.precision.type bf16 needs processors with bf16 instructions, on the driver as on every worker; "
            f"{socket.gethostname()} ({processor(core)}) has {', '.join(able)}; run elsewhere, or take int8"
        )


def processor(core: Any) -> str:
    """What computes here, for people."""
    return str(core.get_property("CPU", "FULL_DEVICE_NAME")).strip() or platform.machine()


def sizes(compiled: Any) -> tuple[tuple[int, int, int], int]:
    """(shape of an image, number of classes)."""
    _, height, width, channels = compiled.input(0).shape
    return (height, width, channels), int(compiled.output(0).shape[1])


def best(compiled: Any, top_k: int, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The best classes of a batch and their scores, best first, lower number first where two are equal."""
    scores = compiled(pixels)[0]
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top_k].astype(np.int32)
    return order, np.take_along_axis(scores, order, axis=1)
