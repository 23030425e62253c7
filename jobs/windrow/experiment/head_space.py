"""The space of a page that has a backbone and no space of its own, and how such a page fits images."""

from __future__ import annotations

from collections.abc import Mapping

HEAD_SPACE: dict[str, dict[str, object]] = {
    # Adam on features of a size near 1: below, 20 epochs do not reach the end; above, the loss jumps.
    "learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True},
    # Logistic regression is best for few images; one hidden layer gains a point from about 1,000 images on.
    "layers": {"type": "int", "low": 0, "high": 1},
    "units": {"type": "int", "low": 64, "high": 512, "log": True, "when": {"layers": 1}},
    "dropout": {"type": "float", "low": 0.0, "high": 0.6},
    # Whether the ends of photographs matter differs from one set of them to the next: up to three points.
    "fit": {"type": "categorical", "choices": ["squash", "crop"]},
    # Decoupled, per step and learning rate: at 1e-2 and 0.5 a weight loses half a per cent a step.
    "weight_decay": {"type": "float", "low": 1e-5, "high": 0.5, "log": True},
    # More than 0.2 costs accuracy on every data set that was tried in the literature (Müller et al. 2019).
    "label_smoothing": {"type": "float", "low": 0.0, "high": 0.2},
}
"""The hyper-parameters of a head and their ranges, each with the reason for its ends."""


def filled(values: Mapping[str, object]) -> dict[str, object]:
    """Return a page's values, with HEAD_SPACE if the page has a backbone and no space, and with dataset.fit.

    What `network.parameters` sets is not searched, nor what a condition leaves unused then. With a backbone,
    dataset.fit is both by default, unless the page's own space leaves out `fit`. Then images are squashed first.
    """
    network = values.get("network")
    if not isinstance(network, dict) or network.get("backbone") is None:
        return dict(values)
    return _with_fit(_with_space(values, network))


def _with_fit(values: Mapping[str, object]) -> dict[str, object]:
    """Return a page's values with dataset.fit, and with a value of `fit` for the default configuration if needed."""
    dataset, network, space = (values.get(name) for name in ("dataset", "network", "space"))
    dataset = {} if dataset is None else dataset
    if not isinstance(dataset, dict) or not isinstance(network, dict) or not isinstance(space, dict):
        return dict(values)
    parameters = network.get("parameters")
    parameters = {} if parameters is None else parameters
    if not isinstance(parameters, dict):
        return dict(values)
    named = "fit" in space or "fit" in parameters
    dataset = {"fit": "both" if named else "squash", **dataset}
    if dataset["fit"] == "both" and "fit" in space:
        network = {**network, "parameters": {"fit": "squash", **parameters}}
    return {**values, "dataset": dataset, "network": network}


def _with_space(values: Mapping[str, object], network: Mapping[str, object]) -> dict[str, object]:
    if "space" in values:
        return dict(values)
    if network.get("builder", "head") != "head":  # a mistake, which is reported by itself
        return {**values, "space": {"learning_rate": HEAD_SPACE["learning_rate"]}}
    parameters = network.get("parameters")
    fixed = parameters if isinstance(parameters, dict) else {}
    space = {name: _dimension(name, fixed) for name in HEAD_SPACE if name not in fixed}
    dataset = values.get("dataset")
    if isinstance(dataset, dict) and dataset.get("fit", "both") != "both":
        space.pop("fit", None)
    if fixed.get("layers") == 0:
        space.pop("units", None)
    return {**values, "space": space}


def _dimension(name: str, fixed: Mapping[str, object]) -> dict[str, object]:
    """Return a dimension without a condition on what is fixed."""
    return {key: value for key, value in HEAD_SPACE[name].items() if key != "when" or "layers" not in fixed}
