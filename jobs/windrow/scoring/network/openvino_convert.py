"""Convert a TensorFlow network to a lower precision and measure the loss, in a separate process.

    python -m windrow.scoring.network.openvino_convert REQUEST.json FOLDER

The network is written to FOLDER/network, and as the last step its loss to FOLDER/report.json. The driver
(low_precision.py) starts this process, so that the driver itself never imports TensorFlow. Every second image
calibrates the ranges of int8; the networks are compared on the other images, which the calibration has not seen. The
exit codes are those of a job, and the last line on stderr is the reason for a failure.
"""

from __future__ import annotations

import json
import math
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
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
_FIRST_SHARE = 0.05
"""The largest share of the multiplications with which the first convolution stays in float32."""


@dataclass(frozen=True)
class Request:
    """The description of a conversion, passed between the processes as JSON.

    Attributes:
        file: the path of the network's file.
        form: how the file is read.
        shape: the (height, width, channels) of an image; None to take it from the file.
        precision: the precision to convert to.
        images: the paths of the images.
        classes: the true class number of each image; None if they are not known.
        canaries: the network's labels for the canaries; empty if they are not recorded.
    """

    file: str
    form: Form
    shape: Sequence[int] | None
    precision: Precision
    images: Sequence[str]
    classes: Sequence[int] | None
    canaries: Sequence[Canary]

    def write(self, file: Path) -> None:
        """Write the request as JSON."""
        file.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, file: Path) -> Request:
        """Read a request from the JSON that `write` wrote."""
        values = json.loads(file.read_text(encoding="utf-8"))
        values["form"] = Form(**values["form"])
        values["canaries"] = [Canary.of(**one) for one in values["canaries"]]
        return cls(**values)


def main() -> int:
    """Run the conversion of the command line; return the exit code."""
    request = Request.read(Path(sys.argv[1]))
    try:
        convert(request, Path(sys.argv[2]))
    except WindrowError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def convert(request: Request, folder: Path) -> None:
    """Write the converted network and its loss into a folder.

    Raises:
        UserError: the network can't be converted, this processor lacks the instructions, or an image can't be decoded.
        WindrowError: the network labels images differently here than where it was registered.
    """
    openvino = openvino_runtime.import_openvino()
    core = openvino.Core()
    if request.precision == "bf16":  # fail early, before the slow steps
        openvino_runtime.check_bf16(core)
    form, shape = request.form, _shape(request.shape) if request.shape else None
    threads = os.cpu_count() or 1
    plain = predict.LoadedNetwork(Path(request.file), shape, _BATCH, canaries.KEPT, threads, form)
    canaries.check(plain.canaries, request.canaries, socket.gethostname())
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
"""The best class of each image, and its score."""


def loss(before: Labels, after: Labels, truth: NDArray[np.int64] | None) -> dict[str, int | float | None]:
    """Return how two networks' labels differ: shares of equal and of right labels, and changes of the best score."""
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
        # `source` is a variable because its trace is usable only while it lives. Weights shared with TensorFlow would
        # be freed with `source` when this function returns.
        return openvino.convert_model(getattr(source, "get_concrete_function", lambda: source)(), share_weights=False)
    except Exception as error:  # any error is the network's fault: OpenVINO raises a page of text
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
        ignored_scope=nncf.IgnoredScope(names=kept_in_float(network)),
        fast_bias_correction=False,  # the slower correction takes only seconds, and gets closer to the original
        advanced_parameters=advanced.AdvancedQuantizationParameters(
            # Use half of the weights' range in all layers: beyond it, processors without VNNI saturate when they add
            # two products.
            overflow_fix=advanced.OverflowFix.ENABLE,
            # The default limit, the mean of the images' maxima, would cut off activations above an average maximum.
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
        ),
    )


def kept_in_float(network: Any) -> list[str]:
    """Return the name of the first convolution if it is a small part of the network, else nothing.

    It reads the pixels, and all layers after it see its error. On photographs, with EfficientNet-Lite0, this error was
    a third of the whole, for 3 % of the multiplications (docs/benchmarks.md).
    """
    work = [(step.get_friendly_name(), step.get_type_name(), _products(step)) for step in network.get_ordered_ops()]
    first = next(((name, products) for name, kind, products in work if kind == "Convolution"), None)
    total = sum(products for _, _, products in work)
    return [first[0]] if first is not None and first[1] <= _FIRST_SHARE * total else []


def _products(step: Any) -> float:
    """Return the multiplications of a step for one image; 0 if it has no weights, or its sizes are not known."""
    kind = step.get_type_name()
    if kind not in ("Convolution", "GroupConvolution", "MatMul"):
        return 0.0
    shape, weights = step.output(0).partial_shape[1:], step.input(1).get_partial_shape()
    if not (shape.is_static and weights.is_static):
        return 0.0
    outputs, sizes = list(shape.to_shape()), list(weights.to_shape())
    if kind == "MatMul":
        return float(math.prod(outputs[:-1]) * math.prod(sizes))
    # The weights' first dimensions number the outputs, and a group's outputs.
    return float(math.prod(outputs) * math.prod(sizes[1 if kind == "Convolution" else 2 :]))


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
