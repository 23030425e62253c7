"""Open each kind of network file. TensorFlow is imported inside the functions.

| kind | file | input |
|---|---|---|
| keras | a .keras file with one input and one output | batches |
| saved_model | a folder with the signature serving_default | batches |
| graph | a frozen GraphDef of TensorFlow 1 | batches, or the bytes of one JPEG, by the type of the tensor `feed` |
| openvino | a folder that openvino_convert.py made from one of these | batches |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from windrow.errors import UserError
from windrow.model.form import Form, Shape
from windrow.scoring.network import frozen
from windrow.scoring.network.frozen import reason


@dataclass(frozen=True)
class Opened:
    """A network that is ready to label.

    Attributes:
        best: the function that labels pixels, uint8 (n, *shape), or one JPEG's bytes if `takes_bytes`. The result is
            the best classes and their scores, best first, each of shape (n, k).
        shape: the (height, width, channels) of an image; None if a network that decodes by itself does not need it.
        classes: the number of classes.
        takes_bytes: whether the network decodes JPEG files by itself.
    """

    best: Callable[[Any], tuple[Any, Any]]
    shape: Shape | None
    classes: int
    takes_bytes: bool = False


@dataclass(frozen=True)
class _Loaded:
    """A network as a function `call`, which takes images of type `dtype` and returns scores."""

    call: Callable[[Any], Any]
    shape: Shape
    dtype: str


def open_network(file: Path, form: Form, shape: Shape | None, batch_size: int, top_k: int, threads: int = 1) -> Opened:
    """Load a network, and return it ready to label.

    Args:
        file: the network's file or folder, of the kind `form.kind`.
        form: the kind of the file, and the form of the input.
        shape: the (height, width, channels) of an image; None to take it from the file.
        batch_size: images per step, the same in every step.
        top_k: labels per image; fewer if the network has fewer classes.
        threads: the number of OpenVINO's threads; TensorFlow's are set once for the process.

    Raises:
        UserError: the file is not such a network, or does not fit `form` or `shape`.
    """
    if form.kind == "openvino":
        from windrow.scoring.network import openvino_runtime

        compiled = openvino_runtime.compile_folder(file, form.precision == "bf16", batch_size, threads)
        return Opened(partial(openvino_runtime.best, compiled, top_k), *openvino_runtime.sizes(compiled))
    if form.kind == "graph":
        return _open_graph(file, form, shape, batch_size, top_k)
    return _function(_LOADERS[form.kind](file, form, shape), form, batch_size, top_k)


def traced(file: Path, form: Form, shape: Shape | None) -> Any:
    """Return a network's scores as a function of any number of uint8 images, for a conversion.

    The result is a tf.function, or a graph with one placeholder.

    Raises:
        UserError: the network takes the bytes of files; or for the reasons of `open_network`.
    """
    if form.kind != "graph":
        return _scores(_LOADERS[form.kind](file, form, shape), form, None)
    graph, entry, _, _ = _graph(file, form, shape, None)
    if not entry.dtype.is_integer:
        raise UserError(
            f"scoring.precision needs a network that is fed decoded images; {form.feed} takes a file's bytes; "
            "let scoring.network.feed be a tensor after the decoding, or remove scoring.precision"
        )
    return graph


def _load_keras(file: Path, form: Form, shape: Shape | None) -> _Loaded:
    import keras

    try:
        network = keras.saving.load_model(file, compile=False)
    except Exception as error:  # any error is the file's fault: Keras raises a dozen types
        raise UserError(f"a .keras file must be one that Keras can load; got {reason(error)}") from error
    if len(network.inputs or ()) != 1 or len(network.outputs or ()) != 1:
        raise UserError("a .keras file must have one input and one output; got more, or none; save such a model")
    agreed = _agreed(tuple(network.inputs[0].shape)[1:], shape)
    return _Loaded(lambda pixels: network(pixels, training=False), agreed, "float32")


def _load_saved_model(file: Path, form: Form, shape: Shape | None) -> _Loaded:
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(str(file))  # owns the variables that its signature only refers to
        signature = loaded.signatures["serving_default"]
    except Exception as error:  # any error is the file's fault, as above
        raise UserError(f"a SavedModel must load and have a serving_default; got {reason(error)}") from error
    feeds, fetches = signature.structured_input_signature[1], signature.structured_outputs
    feed, fetch = _one_of("feed", form.feed, feeds), _one_of("fetch", form.fetch, fetches)
    dtype = feeds[feed].dtype
    if not (dtype.is_floating or dtype.is_integer):
        raise UserError(f"a SavedModel must be fed numbers; {feed} takes {dtype.name}; export it with decoded images")
    agreed = _agreed(tuple(feeds[feed].shape)[1:] if feeds[feed].shape.rank else (), shape)

    def call(pixels: Any) -> Any:
        return loaded.signatures["serving_default"](**{feed: pixels})[fetch]

    return _Loaded(call, agreed, dtype.name)


_LOADERS = {"keras": _load_keras, "saved_model": _load_saved_model}


def _open_graph(file: Path, form: Form, shape: Shape | None, batch_size: int, top_k: int) -> Opened:
    """Open a graph in a session of TensorFlow 1, because functions of TensorFlow 2 reject some older operations."""
    import tensorflow as tf

    graph, entry, scores, shape = _graph(file, form, shape, batch_size)
    classes = _classes(scores)
    with graph.as_default():
        best = tf.math.top_k(scores, k=min(top_k, classes))
    config = tf.compat.v1.ConfigProto(gpu_options=tf.compat.v1.GPUOptions(allow_growth=True))
    run = tf.compat.v1.Session(graph=graph, config=config).make_callable([best.indices, best.values], [entry])
    return Opened(run, shape, classes, takes_bytes=entry.dtype == tf.string)


def _graph(file: Path, form: Form, shape: Shape | None, batch_size: int | None) -> tuple[Any, Any, Any, Shape | None]:
    """Return the part of a GraphDef from feed to fetch, as (graph, placeholder, scores, shape of an image)."""
    import tensorflow as tf

    definition = frozen.read(file)
    with tf.Graph().as_default() as whole:
        tf.compat.v1.import_graph_def(definition, name="")
    feed, fetch = (frozen.tensor(whole, key, getattr(form, key) or "") for key in ("feed", "fetch"))
    takes_bytes = feed.dtype == tf.string
    if not takes_bytes:
        shape = _agreed(tuple(feed.shape)[1:] if feed.shape.rank == 4 else (), shape)
    part = frozen.between(definition, feed.name, fetch.name)
    with tf.Graph().as_default() as graph:
        entry = tf.compat.v1.placeholder(
            *((tf.string, []) if takes_bytes else (tf.uint8, [batch_size, *(shape or ())]))
        )
        given = entry if takes_bytes else _scaled(entry, form, feed.dtype.name)
        (scores,) = tf.compat.v1.import_graph_def(part, {feed.name: given}, [fetch.name], name="network")
    return graph, entry, scores, shape


def _scores(loaded: _Loaded, form: Form, batch_size: int | None) -> Any:
    """Return a function that scales images and calls the network, for tracing."""
    import tensorflow as tf

    def scores(pixels: Any) -> Any:
        return loaded.call(_scaled(pixels, form, loaded.dtype))

    return tf.function(scores, [tf.TensorSpec((batch_size, *loaded.shape), tf.uint8)], autograph=False)


def _function(loaded: _Loaded, form: Form, batch_size: int, top_k: int) -> Opened:
    """Open a network as one traced function, which computes the scores and finds the best classes."""
    import tensorflow as tf

    found: list[int] = []

    @tf.function(input_signature=[tf.TensorSpec((batch_size, *loaded.shape), tf.uint8)], autograph=False)  # type: ignore[untyped-decorator]
    def best(pixels: Any) -> Any:
        scores = loaded.call(_scaled(pixels, form, loaded.dtype))
        found.append(_classes(scores))
        return tf.math.top_k(scores, k=min(top_k, found[0]))

    step = best.get_concrete_function()

    def run(pixels: Any) -> tuple[Any, Any]:
        top = step(tf.constant(pixels))
        return top.indices.numpy(), top.values.numpy()

    return Opened(run, loaded.shape, found[0])


def _scaled(pixels: Any, form: Form, dtype: str) -> Any:
    """Scale uint8 pixels to the range and type of the network's input."""
    import tensorflow as tf

    if (form.black, form.white) == (0.0, 255.0):
        return tf.cast(pixels, dtype)
    return tf.cast(tf.cast(pixels, tf.float32) * ((form.white - form.black) / 255) + form.black, dtype)


def _classes(scores: Any) -> int:
    if scores.shape.rank != 2 or scores.shape[-1] is None:
        raise UserError(
            f"a network must give scores as (images, classes); it gives {scores.shape}; let fetch name such a tensor"
        )
    return int(scores.shape[-1])


def _agreed(own: tuple[int | None, ...], given: Shape | None) -> Shape:
    """Return the shape of an image: the shape in the file, with sides that the file leaves open taken from `given`.

    Args:
        own: the shape in the file, without the batch; None for a side that the file leaves open; empty for no shape.
        given: the shape on the page, or a registered model's.
    """
    if own and len(own) != 3:
        raise UserError(f"a network must take images as (height, width, channels); it takes {own}; feed another tensor")
    sides = tuple(own) or (None, None, None)
    if given is None and None in sides:
        raise UserError(
            "scoring.network.shape must say what the file leaves open; got none; add it, e.g. [224, 224, 3]"
        )
    agreed = tuple(side if fixed is None else fixed for fixed, side in zip(sides, given or sides, strict=True))
    if given is not None and agreed != given:
        raise UserError(f"shape must be what the network takes, {list(sides)}; got {list(given)}; correct or remove it")
    if agreed[2] not in (1, 3):
        raise UserError(f"a network must take 1 or 3 channels; it takes {list(agreed)}; feed another tensor")
    return agreed  # type: ignore[return-value]


def _one_of(key: str, name: str | None, names: Any) -> str:
    """Return the name of a SavedModel's input or output: the name on the page, or the only one in the file."""
    known = sorted(names)
    if name is None and len(known) == 1:
        return str(known[0])
    if name is None or name not in known:
        choice = " or ".join(known)
        raise UserError(f"scoring.network.{key} must be a name of the SavedModel's; got {name}; take {choice}")
    return name
