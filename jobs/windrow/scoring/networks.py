"""The kinds of network that label: what each file says of itself, and how it is run. TensorFlow is imported inside.

| kind | file | fed |
|---|---|---|
| keras | a .keras file with one input and one output | batches |
| saved_model | a folder with the signature serving_default | batches |
| graph | a frozen GraphDef of TensorFlow 1 | batches, or the bytes of one JPEG, as its feed's type says |
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from windrow.data.image import Resize
from windrow.errors import UserError

Shape = tuple[int, int, int]
Kind = Literal["keras", "graph", "saved_model"]
_ANY_BATCH = "windrow_any_batch"


@dataclass(frozen=True)
class Form:
    """How a network's file is read and fed.

    `feed` and `fetch` are tensors of a graph, or names of a SavedModel's input and output. `black` and `white` are what
    it is fed for the levels 0 and 255.
    """

    kind: Kind = "keras"
    feed: str | None = None
    fetch: str | None = None
    resize: Resize = "smooth"
    black: float = 0.0
    white: float = 255.0


@dataclass(frozen=True)
class Opened:
    """A network at hand.

    `best` takes pixels, uint8 (n, *shape), or one JPEG's bytes where `takes_bytes`, and gives the best classes and
    their scores, best first, each of shape (n, k). `shape` is None where neither the file nor the page says it.
    """

    best: Callable[[Any], tuple[Any, Any]]
    shape: Shape | None
    classes: int
    takes_bytes: bool = False


def open_network(file: Path, form: Form, shape: Shape | None, batch_size: int, top_k: int) -> Opened:
    """Load a network.

    Args:
        file: as `form.kind` says.
        form: how it is fed.
        shape: what it is fed, (height, width, channels); what its file says if None.
        batch_size: images a step, always.
        top_k: labels an image; fewer where it has fewer classes.

    Raises:
        UserError: the file is no such network, or does not fit `form` or `shape`.
    """
    openers = {"keras": _open_keras, "graph": _open_graph, "saved_model": _open_saved_model}
    return openers[form.kind](file, form, shape, batch_size, top_k)


def _open_keras(file: Path, form: Form, shape: Shape | None, batch_size: int, top_k: int) -> Opened:
    import keras

    try:
        network = keras.saving.load_model(file, compile=False)
    except Exception as error:  # the fault boundary of a file: Keras raises a dozen kinds
        raise UserError(f"a .keras file must be one that Keras can load; got {_reason(error)}") from error
    if len(network.inputs or ()) != 1 or len(network.outputs or ()) != 1:
        raise UserError("a .keras file must have one input and one output; got more, or none; save such a model")
    agreed = _agreed(tuple(network.inputs[0].shape)[1:], shape)
    return _function(lambda pixels: network(pixels, training=False), form, agreed, "float32", batch_size, top_k)


def _open_saved_model(file: Path, form: Form, shape: Shape | None, batch_size: int, top_k: int) -> Opened:
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(str(file))  # owns the variables that its signature only refers to
        signature = loaded.signatures["serving_default"]
    except Exception as error:  # the same
        raise UserError(f"a SavedModel must load and have a serving_default; got {_reason(error)}") from error
    feeds, fetches = signature.structured_input_signature[1], signature.structured_outputs
    feed, fetch = _one_of("feed", form.feed, feeds), _one_of("fetch", form.fetch, fetches)
    dtype = feeds[feed].dtype
    if not (dtype.is_floating or dtype.is_integer):
        raise UserError(f"a SavedModel must be fed numbers; {feed} takes {dtype.name}; export it with decoded images")
    agreed = _agreed(tuple(feeds[feed].shape)[1:] if feeds[feed].shape.rank else (), shape)

    def call(pixels: Any) -> Any:
        return loaded.signatures["serving_default"](**{feed: pixels})[fetch]

    return _function(call, form, agreed, dtype.name, batch_size, top_k)


def _open_graph(file: Path, form: Form, shape: Shape | None, batch_size: int, top_k: int) -> Opened:
    """A session of TensorFlow 1: such graphs may hold operations that functions of TensorFlow 2 no longer take."""
    import tensorflow as tf

    definition = _read_graph(file)
    with tf.Graph().as_default() as whole:
        tf.compat.v1.import_graph_def(definition, name="")
    feed, fetch = (_tensor(whole, key, getattr(form, key) or "") for key in ("feed", "fetch"))
    takes_bytes = feed.dtype == tf.string
    if not takes_bytes:
        shape = _agreed(tuple(feed.shape)[1:] if feed.shape.rank == 4 else (), shape)
    part = _between(definition, feed.name, fetch.name)
    with tf.Graph().as_default() as graph:
        entry = tf.compat.v1.placeholder(
            *((tf.string, []) if takes_bytes else (tf.uint8, [batch_size, *(shape or ())]))
        )
        given = entry if takes_bytes else _scaled(entry, form, feed.dtype.name)
        (scores,) = tf.compat.v1.import_graph_def(part, {feed.name: given}, [fetch.name], name="network")
        classes = _classes(scores)
        best = tf.math.top_k(scores, k=min(top_k, classes))
    config = tf.compat.v1.ConfigProto(gpu_options=tf.compat.v1.GPUOptions(allow_growth=True))
    run = tf.compat.v1.Session(graph=graph, config=config).make_callable([best.indices, best.values], [entry])
    return Opened(run, shape, classes, takes_bytes)


def _function(call: Callable[[Any], Any], form: Form, shape: Shape, dtype: str, batch_size: int, top_k: int) -> Opened:
    """What calls the network and finds its best classes, as one traced function."""
    import tensorflow as tf

    found: list[int] = []

    @tf.function(input_signature=[tf.TensorSpec((batch_size, *shape), tf.uint8)], autograph=False)  # type: ignore[untyped-decorator]
    def best(pixels: Any) -> Any:
        scores = call(_scaled(pixels, form, dtype))
        found.append(_classes(scores))
        return tf.math.top_k(scores, k=min(top_k, found[0]))

    step = best.get_concrete_function()

    def run(pixels: Any) -> tuple[Any, Any]:
        top = step(tf.constant(pixels))
        return top.indices.numpy(), top.values.numpy()

    return Opened(run, shape, found[0])


def _scaled(pixels: Any, form: Form, dtype: str) -> Any:
    """uint8 pixels as the network is fed them."""
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


def _agreed(own: tuple[int | None, ...], told: Shape | None) -> Shape:
    """The shape that the network is fed: what its file says, and the page where the file leaves it open.

    Args:
        own: the file's, without the batch; empty where it says nothing, None where it leaves a side open.
        told: the page's, or a registered model's.
    """
    if own and len(own) != 3:
        raise UserError(f"a network must take images as (height, width, channels); it takes {own}; feed another tensor")
    sides = tuple(own) or (None, None, None)
    if told is None and None in sides:
        raise UserError(
            "scoring.network.shape must say what the file leaves open; got none; add it, e.g. [224, 224, 3]"
        )
    agreed = tuple(side if said is None else said for said, side in zip(sides, told or sides, strict=True))
    if told is not None and agreed != told:
        raise UserError(f"shape must be what the network takes, {list(sides)}; got {list(told)}; mend or remove it")
    if agreed[2] not in (1, 3):
        raise UserError(f"a network must take 1 or 3 channels; it takes {list(agreed)}; feed another tensor")
    return agreed  # type: ignore[return-value]


def _one_of(key: str, name: str | None, names: Any) -> str:
    """A SavedModel's input or output: the one that the page names, or the only one."""
    known = sorted(names)
    if name is None and len(known) == 1:
        return str(known[0])
    if name is None or name not in known:
        choice = " or ".join(known)
        raise UserError(f"scoring.network.{key} must be a name of the SavedModel's; got {name}; take {choice}")
    return name


def _read_graph(file: Path) -> Any:
    import tensorflow as tf

    definition, content = tf.compat.v1.GraphDef(), file.read_bytes()
    try:
        definition.ParseFromString(content)
    except Exception as error:  # protobuf's own kind
        raise UserError(f"a .pb file must be a frozen GraphDef; got {_reason(error)}; freeze the graph") from error
    if not definition.node:
        raise UserError("a .pb file must be a frozen GraphDef; got one without operations; freeze the graph")
    return definition


def _tensor(graph: Any, key: str, name: str) -> Any:
    try:
        return graph.get_tensor_by_name(name)
    except (KeyError, ValueError):
        names = [tensor.name for operation in graph.get_operations() for tensor in operation.outputs]
        close = difflib.get_close_matches(name, names, n=3, cutoff=0.3)
        raise UserError(
            f"scoring.network.{key} must be a tensor of the graph; got {name}; near it are {', '.join(close) or 'none'}"
        ) from None


def _between(definition: Any, feed: str, fetch: str) -> Any:
    """The part of a graph that leads from one tensor to another, for any number of images."""
    import tensorflow as tf

    nodes = {node.name: node for node in definition.node}
    kept: set[str] = set()
    waiting, fed = [_operation(fetch)], False
    while waiting:
        name = waiting.pop()
        if name in kept:
            continue
        kept.add(name)
        for taken in nodes[name].input:
            if feed in (taken, f"{taken}:0"):
                fed = True
            else:
                waiting.append(_operation(taken))
    if not fed:
        raise UserError(f"scoring.network.fetch must follow from the feed; {fetch} does not use {feed}; name others")
    if others := sorted(name for name in kept if nodes[name].op.startswith("Placeholder")):
        raise UserError(f"feed must be all that a graph needs; {fetch} also needs {others[0]}; name a later tensor")
    part = tf.compat.v1.GraphDef(versions=definition.versions, library=definition.library)
    part.node.extend(node for node in definition.node if node.name in kept)
    _free_batch(part)
    return part


def _operation(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]


def _free_batch(part: Any) -> None:
    """Let each Reshape to (1, ...) take any number of images: the graph was made for one at a time, and says so.

    For one image this changes nothing, since -1 then stands for the 1 that it replaces.
    """
    import numpy as np
    import tensorflow as tf

    constants = {node.name: node for node in part.node if node.op == "Const"}
    for node in [node for node in part.node if node.op == "Reshape"]:
        constant = constants.get(_operation(node.input[1]))
        if constant is None:
            continue
        sides = tf.make_ndarray(constant.attr["value"].tensor)
        if sides.size > 1 and sides[0] == 1 and sides.min() > 0:
            free = part.node.add(name=f"{node.name}/{_ANY_BATCH}", op="Const")
            free.attr["dtype"].CopyFrom(constant.attr["dtype"])
            free.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(np.array([-1, *sides[1:]], sides.dtype)))
            node.input[1] = free.name


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200] or type(error).__name__
