"""Run a converted network on OpenVINO in a worker, without TensorFlow.

The results do not depend on the batch, the threads, or the processor's optional instructions. At int8, operations that
are not computed in int8 are computed in float32, and the weights use half of their range, because on some processors
sums of int8 products would otherwise saturate.
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
"""The network's file in its folder, next to its weights."""


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry package, which would report each import to Google Analytics."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def compile_folder(folder: Path, bf16: bool, batch_size: int, threads: int) -> Any:
    """Compile a network for batches of one size.

    Raises:
        UserError: the network needs bf16, and this processor does not compute in it.
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
        # Pinning is on by default, but workers do not know of each other, and would pin threads to the same cores.
        "ENABLE_CPU_PINNING": False,
    }
    return core.compile_model(network, "CPU", settings)


def check_bf16(core: Any) -> None:
    """Check that this processor has bf16; without it OpenVINO would silently compute in float32, and no faster.

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
    """Return the processor's name, for messages and reports."""
    return str(core.get_property("CPU", "FULL_DEVICE_NAME")).strip() or platform.machine()


def sizes(compiled: Any) -> tuple[tuple[int, int, int], int]:
    """Return (shape of an image, number of classes)."""
    _, height, width, channels = compiled.input(0).shape
    return (height, width, channels), int(compiled.output(0).shape[1])


def best(compiled: Any, top_k: int, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the best classes of a batch and their scores, best first; of equal scores, the lower class first."""
    scores = compiled(pixels)[0]
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top_k].astype(np.int32)
    return order, np.take_along_axis(scores, order, axis=1)
