"""Build a network by its name: dense, cnn, head, or a user's own function.

Every network takes float32 images (n, height, width, channels) in 0..255, so that the scaling is part of it. It returns
(n, classes) probabilities. A head takes the features of a backbone instead, float32 (n, 1, 1, features), as they are.
"""

from __future__ import annotations

import ast
import math
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windrow import text_files
from windrow.errors import BuilderError, UserError
from windrow.experiment import Experiment, NetworkSection
from windrow.experiment import parameters as known
from windrow.experiment.parameters import Value
from windrow.training import dense, runtime
from windrow.training.data import FEATURES_AXES, as_images

Shape = tuple[int, int, int]
"""(height, width, channels) of an image."""

HEAD = "head"
"""The builder that trains on a backbone's features."""

REVISION = 2
"""The revision of the built-in networks with batch normalisation. Raise it when they train differently.

In revision 1, a step kept 0.99 of the moving averages; in revision 2, dense.AVERAGE_MOMENTUM.
"""

HEAD_REVISION = 2
"""The revision of heads with dropout. Raise it when they train differently.

In revision 1, Keras drew which activations are dropped; in revision 2, heads.free_head.drop.
"""

_LONGEST_REASON = 200  # characters of an error of Keras
_TOLERANCE = 0.01  # of a row's sum: float16 rounds each probability


@dataclass(frozen=True)
class Builder:
    """A network that an executor can build: a built-in one by name, or a user's function with the text of its file."""

    name: str
    source: str | None = None
    function: str | None = None

    def build(self, parameters: Mapping[str, Value], shape: Shape, classes: int) -> Any:
        """Build an untrained keras.Model.

        Args:
            parameters: every hyper-parameter of the trial; a user's function does not get those of parameters.TRAINING.
            shape: (height, width, channels) of an image.
            classes: number of labels.

        Raises:
            BuilderError: a user's file can't be imported, or its function does not return a keras.Model for this
                shape and number of classes.
            Exception: whatever a user's function raises; it may fail for some points of the space only.
        """
        if self.source is None:
            return _BUILT_IN[self.name](parameters, shape, classes)
        own = {name: value for name, value in parameters.items() if name not in known.TRAINING}
        network = self._function()(shape=shape, classes=classes, **own)
        _check(self.name, network, shape, classes)
        return network

    def _function(self) -> Callable[..., Any]:
        file, _, name = self.name.partition(":")
        module = types.ModuleType(Path(file).stem)
        try:
            exec(compile(self.source or "", file, "exec"), module.__dict__)  # noqa: S102  the user's own code
        except Exception as error:
            raise BuilderError(f"{file} must be importable; {type(error).__name__}: {error}; fix the file") from error
        return getattr(module, name)  # type: ignore[no-any-return]


def read_builder(network: NetworkSection, page: Path) -> Builder:
    """Return the page's builder; a user's file is read, not run, and must define the function.

    Raises:
        BuilderError: the file is not next to the page, is not Python, or does not define the function.
    """
    if network.function is None:
        return Builder(network.builder)
    file, function = network.function
    path = page.parent / file
    try:
        source = text_files.read(path)
        tree = ast.parse(source, filename=file)
    except (OSError, UserError) as error:
        raise BuilderError(f"network.builder must name a Python file next to the page; {path}: {error}") from error
    except SyntaxError as error:
        raise BuilderError(f"{file} must be Python; line {error.lineno}: {error.msg}") from error
    if function not in (defined := _functions(tree)):
        raise BuilderError(f"{file} must define {function}(); got {', '.join(defined) or 'no functions'}")
    return Builder(network.builder, source, function)


def check_parameters(builder: Builder) -> None:
    """Check that a user's function has no parameter of the training loop: it would never get the page's value.

    Only a new study needs the check. One that began before there was a check continues, and can be promoted and drawn.

    Raises:
        BuilderError: it has one; the message names it.
    """
    if builder.source is None or builder.function is None:
        return
    names = _parameters(_functions(ast.parse(builder.source))[builder.function])
    if taken := [name for name in known.TRAINING if name in names]:
        raise BuilderError(
            f"{builder.name} must leave the parameters of the training loop to it; got {', '.join(taken)} "
            f"({known.TRAINING[taken[0]].help}); rename it in the file and on the page, or remove it from the function"
        )


def revision(page: Experiment) -> int:
    """Return the revision of the networks that a page's trials may have.

    It is HEAD_REVISION for heads with dropout, REVISION for other built-in networks with batch normalisation, and 1
    for all others.
    """
    if page.network.function is not None:
        return 1
    name, number = ("dropout", HEAD_REVISION) if page.network.builder == HEAD else ("batch_norm", REVISION)
    return number if name in page.space or page.network.defaults().get(name) else 1


def _functions(tree: ast.Module) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def _parameters(function: ast.FunctionDef) -> set[str]:
    """Return the names of a function's parameters, and of what it reads by name from its **parameters."""
    given = function.args
    names = {each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)}
    rest = given.kwarg.arg if given.kwarg else None
    for node in ast.walk(function):
        match node:
            case ast.Subscript(value=ast.Name(id=read), slice=ast.Constant(value=str(name))) if read == rest:
                names.add(name)
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=read), attr="get" | "pop"),
                args=[ast.Constant(value=str(name)), *_],
            ) if read == rest:
                names.add(name)
    return names


def count_weights(builder: str, parameters: Mapping[str, Value], shape: Shape, classes: int) -> int | None:
    """Count the trainable weights of a network without TensorFlow; None for a user's function, which would have to run.

    Args:
        builder: the name on the page.
        parameters: every hyper-parameter of the trial.
        shape: (height, width, channels) of an image.
        classes: number of labels.
    """
    if builder not in _BUILT_IN:
        return None
    found = list_weights(builder, parameters, shape, classes)
    return sum(math.prod(own) for name, own in found if name not in dense.AVERAGES)


def list_weights(
    builder: str, parameters: Mapping[str, Value], shape: Shape, classes: int
) -> list[tuple[str, tuple[int, ...]]]:
    """Return names and shapes of the weights of a built-in network, in Keras' order, without TensorFlow.

    The arguments are those of `count_weights`.
    """
    if builder == "cnn":
        return _cnn_weights(parameters, shape, classes)
    return dense.weights(parameters, int(parameters["units"]), shape, classes)


def try_out(
    builder: Builder, parameters: Mapping[str, Value], shape: Shape, classes: int, images: NDArray[Any]
) -> None:
    """Build a network and pass a batch of images (n, *shape) through it, untrained.

    Raises:
        BuilderError: as for Builder.build, or the outputs are not (n, classes) probabilities: finite, 0 or more, and
            with a sum of 1 in each row. A scoring run would refuse such a network, but only after it became champion.
            Or the network can't be loaded without the user's file, as promotion and scoring load it.
        Exception: whatever a user's function raises.
    """
    images = as_images(images)[: len(images)] if builder.name == HEAD and images.ndim == FEATURES_AXES else images
    network = builder.build(parameters, shape, classes)
    outputs = np.asarray(network(images.astype(np.float32), training=False), np.float64)
    wanted = f"{builder.name} must turn {len(images)} images into {(len(images), classes)} probabilities"
    if outputs.shape != (len(images), classes):
        raise BuilderError(f"{wanted}; got {outputs.shape}; return one row per image, one column per class")
    if not np.isfinite(outputs).all():
        cure = "begin with a scaling: keras.layers.Rescaling(1 / 255)"
        raise BuilderError(f"{wanted}; got numbers that are not finite, before any training; {cure}")
    sums = outputs.sum(axis=1)
    if outputs.min() < -_TOLERANCE or not np.allclose(sums, 1, rtol=0, atol=_TOLERANCE):
        cure = "end with a softmax: keras.layers.Dense(classes, activation='softmax')"
        raise BuilderError(f"{wanted}; got rows that sum to {sums.min():.3g} to {sums.max():.3g}; {cure}")
    if builder.source is not None:
        _check_file(builder.name, network)


def _check_file(name: str, network: Any) -> None:
    """Save and load a user's network as where the user's file is not imported, and so no class of it is known."""
    import keras

    known = keras.saving.get_custom_objects()
    registered = dict(known)
    known.clear()
    try:
        runtime.from_bytes(runtime.to_bytes(network))
    except Exception as error:  # Keras raises many kinds
        last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise BuilderError(
            f"{name} must return a network that Keras saves and loads without {name.partition(':')[0]}; got: "
            f"{last[:_LONGEST_REASON]}; build it from Keras' own layers, without classes or lambdas of your own"
        ) from error
    finally:
        known.update(registered)


def _check(name: str, network: Any, shape: Shape, classes: int) -> None:
    import keras

    if not isinstance(network, keras.Model):
        raise BuilderError(f"{name} must return a keras.Model; got {type(network).__name__}")
    if tuple(network.input_shape[1:]) != shape or tuple(network.output_shape[1:]) != (classes,):
        raise BuilderError(
            f"{name} must map {shape} images to {classes} probabilities; "
            f"got {network.input_shape[1:]} to {network.output_shape[1:]}"
        )


def _cnn(parameters: Mapping[str, Value], shape: Shape, classes: int) -> Any:
    from keras import Input, Model, layers

    image = Input(shape)
    x = layers.Rescaling(1 / 255)(image)
    blocks = int(parameters["blocks"])
    for block in range(blocks):
        for _ in range(int(parameters["convolutions"])):
            filters = int(parameters["filters"]) * 2**block
            x = layers.Conv2D(filters, 3, padding="same", use_bias=not parameters["batch_norm"])(x)
            if parameters["batch_norm"]:
                x = layers.BatchNormalization(momentum=dense.AVERAGE_MOMENTUM)(x)
            x = layers.Activation("relu")(x)
        if min(x.shape[1:3]) >= 2:
            x = layers.MaxPooling2D()(x)
    x = layers.Dense(int(parameters["units"]), activation="relu")(layers.Flatten()(x))
    if parameters["dropout"]:
        x = layers.Dropout(float(parameters["dropout"]))(x)
    return Model(image, layers.Softmax()(layers.Dense(classes)(x)))


def _cnn_weights(parameters: Mapping[str, Value], shape: Shape, classes: int) -> list[tuple[str, tuple[int, ...]]]:
    height, width, channels = shape
    vectors = ("gamma", "beta", *dense.AVERAGES) if parameters["batch_norm"] else ("bias",)
    found: list[tuple[str, tuple[int, ...]]] = []
    for block in range(int(parameters["blocks"])):
        filters = int(parameters["filters"]) * 2**block
        for _ in range(int(parameters["convolutions"])):
            found += [("kernel", (3, 3, channels, filters)), *((name, (filters,)) for name in vectors)]
            channels = filters
        if min(height, width) >= 2:
            height, width = height // 2, width // 2
    units = int(parameters["units"])
    found += [("kernel", (height * width * channels, units)), ("bias", (units,))]
    return [*found, ("kernel", (units, classes)), ("bias", (classes,))]


_BUILT_IN: dict[str, Callable[[Mapping[str, Value], Shape, int], Any]] = {
    "dense": dense.build,
    "cnn": _cnn,
    HEAD: partial(dense.build, scale=1.0),
}
