"""Read a frozen GraphDef of TensorFlow 1, and cut it down to the part between two tensors."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from windrow.errors import UserError

_ANY_BATCH = "windrow_any_batch"


def read(file: Path) -> Any:
    """Read the graph definition in a file.

    Raises:
        UserError: the file is not a GraphDef.
    """
    import tensorflow as tf

    definition, content = tf.compat.v1.GraphDef(), file.read_bytes()
    try:
        definition.ParseFromString(content)
    except Exception as error:  # protobuf raises its own types
        raise UserError(f"a .pb file must be a frozen GraphDef; got {reason(error)}; freeze the graph") from error
    if not definition.node:
        raise UserError("a .pb file must be a frozen GraphDef; got one without operations; freeze the graph")
    return definition


def tensor(graph: Any, key: str, name: str) -> Any:
    """Return a tensor of a graph by the name that the experiment page has under `key`.

    Raises:
        UserError: the graph has no tensor of that name.
    """
    try:
        return graph.get_tensor_by_name(name)
    except (KeyError, ValueError):
        names = [tensor.name for operation in graph.get_operations() for tensor in operation.outputs]
        close = difflib.get_close_matches(name, names, n=3, cutoff=0.3)
        raise UserError(
            f"scoring.network.{key} must be a tensor of the graph; got {name}; near it are {', '.join(close) or 'none'}"
        ) from None


def between(definition: Any, feed: str, fetch: str) -> Any:
    """Return the part of a graph that computes the tensor `fetch` from `feed`, for any number of images.

    Raises:
        UserError: `fetch` does not depend on `feed`, or needs another input as well.
    """
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
    """Let each Reshape to a constant shape (1, ...) take any number of images; the graph was made for one at a time.

    For one image this changes nothing, since -1 then means the 1 that it replaces.
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


def reason(error: Exception) -> str:
    """Return the first line of a library's error, or the error's type if it has no text."""
    return (str(error).strip().splitlines() or [""])[0][:200] or type(error).__name__
