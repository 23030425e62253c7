"""The space of a page that has a backbone and no space of its own."""

from __future__ import annotations

from collections.abc import Mapping

HEAD_SPACE: dict[str, dict[str, object]] = {
    # Adam on features of a size near 1: below, 20 epochs do not reach the end; above, the loss jumps.
    "learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True},
    # Logistic regression is best for few images; one hidden layer gains a point from about 1,000 images on.
    "layers": {"type": "int", "low": 0, "high": 1},
    "units": {"type": "int", "low": 64, "high": 512, "log": True, "when": {"layers": 1}},
    "dropout": {"type": "float", "low": 0.0, "high": 0.6},
    # Decoupled, per step and learning rate: at 1e-2 and 0.5 a weight loses half a per cent a step.
    "weight_decay": {"type": "float", "low": 1e-5, "high": 0.5, "log": True},
    # More than 0.2 costs accuracy on every data set that was tried in the literature (Müller et al. 2019).
    "label_smoothing": {"type": "float", "low": 0.0, "high": 0.2},
}
"""The hyper-parameters of a head and their ranges, each with the reason for its ends."""


def filled(values: Mapping[str, object]) -> dict[str, object]:
    """Return a page's values, with HEAD_SPACE if the page has a backbone and no space.

    What `network.parameters` sets is not searched, nor what a condition leaves unused then.
    """
    network = values.get("network")
    if "space" in values or not isinstance(network, dict) or network.get("backbone") is None:
        return dict(values)
    if network.get("builder", "head") != "head":  # a mistake, which is reported by itself
        return {**values, "space": {"learning_rate": HEAD_SPACE["learning_rate"]}}
    parameters = network.get("parameters")
    fixed = parameters if isinstance(parameters, dict) else {}
    space = {name: _dimension(name, fixed) for name in HEAD_SPACE if name not in fixed}
    if fixed.get("layers") == 0:
        space.pop("units", None)
    return {**values, "space": space}


def _dimension(name: str, fixed: Mapping[str, object]) -> dict[str, object]:
    """Return a dimension without a condition on what is fixed."""
    return {key: value for key, value in HEAD_SPACE[name].items() if key != "when" or "layers" not in fixed}
