"""A network of TensorFlow's made into one of a lower precision, and what that loses; a process of its own.

    python -m windrow.scoring.network.openvino_convert REQUEST.json FOLDER

FOLDER gets network/, and at last report.json. The driver (precision.py) starts it, so that TensorFlow stays out of
there. Of the images every second one tells int8 the ranges of its values; by the others, which it has not seen, both
networks are compared. The exit codes are a job's, and the last line says why.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from windrow.errors import UserError, WindrowError
from windrow.model import canaries
from windrow.model.canaries import Canary
from windrow.model.form import Form, Shape
from windrow.scoring.network import frozen, kinds, openvino_runtime, predict
from windrow.scoring.network.pixels import decode

if TYPE_CHECKING:
    from windrow.experiment.precision import Precision

NETWORK = "network"
REPORT = "report.json"
_BATCH = 16
_MAX_PIXELS = 40_000_000


@dataclass(frozen=True)
class Request:
    """What is to be converted, as JSON between the processes.

    `classes` are the images' true ones, a class number each, where they are known.
    """

    file: str
    form: Mapping[str, Any]
    shape: Sequence[int] | None
    precision: Precision
    images: Sequence[str]
    classes: Sequence[int] | None
    canaries: Sequence[Mapping[str, Any]]


def main() -> int:
    """Convert; the exit code."""
    request = Request(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    try:
        convert(request, Path(sys.argv[2]))
    except WindrowError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def convert(request: Request, folder: Path) -> None:
    """Write the converted network and what it loses into a folder.

    Raises:
        UserError: it can't be converted, this processor can't compute so, or an image is none.
        WindrowError: the network labels otherwise here than where it was registered.
    """
    openvino = openvino_runtime.import_openvino()
    core = openvino.Core()
    if request.precision == "bf16":  # before anything takes seconds
        openvino_runtime.check_bf16(core)
    form, shape = Form(**request.form), _shape(request.shape) if request.shape else None
    threads = os.cpu_count() or 1
    plain = predict.LoadedNetwork(Path(request.file), shape, _BATCH, canaries.KEPT, threads, form)
    canaries.check(plain.canaries, [Canary.of(**one) for one in request.canaries], socket.gethostname())
    converted = _converted(openvino, Path(request.file), form, plain.shape)
    pixels = np.stack([_pixels(Path(name), plain.shape, form) for name in request.images])  # type: ignore[arg-type]
    if request.precision == "int8":
        converted = _quantised(converted, pixels[::2])
    (folder / NETWORK).mkdir()
    openvino.save_model(converted, folder / NETWORK / openvino_runtime.FILE, compress_to_fp16=False)
    low_form = Form("openvino", resize=form.resize, precision=request.precision)
    low = predict.LoadedNetwork(folder / NETWORK, None, _BATCH, canaries.KEPT, threads, low_form)
    truth = None if request.classes is None else np.array(request.classes)[1::2]
    report = {
        "runtime": f"OpenVINO {openvino.__version__.partition('-')[0]}",
        "processor": openvino_runtime.processor(core),
        "shape": low.shape,
        "canaries": [canary.plain() for canary in low.canaries],
        "calibrated": len(pixels[::2]) if request.precision == "int8" else 0,
        **loss(_labels(plain, pixels[1::2]), _labels(low, pixels[1::2]), truth),
    }
    (folder / REPORT).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


Labels = tuple[NDArray[np.int32], NDArray[np.float32]]
"""The best class and its score of each image."""


def loss(before: Labels, after: Labels, truth: NDArray[np.int64] | None) -> dict[str, Any]:
    """What changes from one network to the other: shares of the images, and changes of the winning score."""
    moved = np.abs(after[1] - before[1])
    return {
        "images": len(moved),
        "same_labels": round(float(np.mean(before[0] == after[0])), 4),
        "score_change_mean": round(float(moved.mean()), 4),
        "score_change_max": round(float(moved.max()), 4),
        "accuracy_as_it_is": None if truth is None else round(float(np.mean(before[0] == truth)), 4),
        "accuracy": None if truth is None else round(float(np.mean(after[0] == truth)), 4),
    }


def _converted(openvino: Any, file: Path, form: Form, shape: Shape | None) -> Any:
    source = kinds.traced(file, form, shape)
    try:
        # A graph is taken as it is; a function must live as long as what is traced of it. Weights that are shared with
        # TensorFlow's would be gone with the function.
        return openvino.convert_model(getattr(source, "get_concrete_function", lambda: source)(), share_weights=False)
    except Exception as error:  # the fault boundary of a network: OpenVINO says so in a page of text
        raise UserError(
            f"scoring.precision needs a network that OpenVINO can convert; it says: {frozen.reason(error)}; "
            "remove scoring.precision"
        ) from error


def _quantised(network: Any, images: NDArray[np.uint8]) -> Any:
    import nncf
    from nncf.quantization import advanced_parameters as advanced
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    return nncf.quantize(
        network,
        nncf.Dataset([image[None] for image in images]),
        subset_size=len(images),
        fast_bias_correction=False,  # the slower one is a matter of seconds, and nearer to the network as it is
        advanced_parameters=advanced.AdvancedQuantizationParameters(
            # Half of the weights' range in all layers: without VNNI, sums of two products saturate beyond it.
            overflow_fix=advanced.OverflowFix.ENABLE,
            # By default the mean of the images' maxima, which cuts off what is brighter than the average image.
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
        ),
    )


def _pixels(path: Path, shape: Shape, form: Form) -> NDArray[np.uint8]:
    decoded = decode(path.read_bytes(), shape, _MAX_PIXELS, form.resize)
    if decoded.pixels is None:
        raise UserError(
            f"scoring.precision.images must be images; {path} is {decoded.status.value}: {decoded.error}; remove it"
        )
    return decoded.pixels


def _labels(network: predict.LoadedNetwork, pixels: NDArray[np.uint8]) -> Labels:
    pairs = [network.label(pixels[start : start + _BATCH]) for start in range(0, len(pixels), _BATCH)]
    return np.concatenate([ids[:, 0] for ids, _ in pairs]), np.concatenate([scores[:, 0] for _, scores in pairs])


def _shape(sides: Sequence[int]) -> Shape:
    height, width, channels = sides
    return height, width, channels


if __name__ == "__main__":
    sys.exit(main())
