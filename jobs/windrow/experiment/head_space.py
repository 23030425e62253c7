"""What a page with a backbone gets by default: a space, images in both fits, networks trained on all images."""

from __future__ import annotations

from collections.abc import Mapping

HEAD_SPACE: dict[str, dict[str, object]] = {
    # Whether the ends of photographs matter differs from one set of them to the next: by one or two points.
    "fit": {"type": "categorical", "choices": ["squash", "crop"]},
    # Adam on features of a size near 1: below, 20 epochs do not reach the end; above, the loss jumps.
    "learning_rate": {"type": "float", "low": 3e-4, "high": 1e-2, "log": True},
    # 1,024 neurons take twice the time of 512, for half a point at most.
    "units": {"type": "int", "low": 128, "high": 512, "log": True},
    "dropout": {"type": "float", "low": 0.0, "high": 0.6},
    # Decoupled, per step and learning rate: at 1e-2 and 0.5 a weight loses half a per cent a step.
    "weight_decay": {"type": "float", "low": 1e-5, "high": 0.5, "log": True},
    # More raises the loss.
    "label_smoothing": {"type": "float", "low": 0.0, "high": 0.1},
}
"""The hyper-parameters of a head and their ranges, each with the reason for its ends."""

HEAD_PARAMETERS: dict[str, object] = {
    # Not searched: without a hidden layer heads have as small a loss, and are right for a point fewer of trashnet's
    # photographs. Two layers are no better than one.
    "layers": 1,
    # The last epoch counts, and a small rate there makes it less of a draw.
    "decay": "cosine",
    # The default configuration, which the search has to beat: good on few and on many images, and inside the space.
    "units": 512,
    "dropout": 0.5,
    "weight_decay": 0.1,
    # With ten times as many images of one class as of another, macro-F1 is two to seven points higher, and accuracy no
    # lower; with classes of equal size it changes nothing.
    "class_weight": "balanced",
}
"""Values that go with HEAD_SPACE, unless the page has others; those that HEAD_SPACE searches are trial 0's.

bench/head_choices.py compares them with others by cross-validation; docs/transfer.md has its table.
"""

PROMOTION: dict[str, object] = {
    # Heads cost little, and the few images for validation are missed in training.
    "train_on": "all",
    # Each seed is validated on other images, so five of 15 % see three quarters of them.
    "seeds": 5,
    # Three of each `fit`.
    "finalists": 6,
}
"""Defaults of the section `promotion` for a page with a backbone, each with its reason."""

_STEPS = 32
_BATCHES = (4, 128)

OBJECTIVE = "val_loss"
"""The objective that goes with HEAD_SPACE, unless the page has another one.

Of 30 photographs for validation, dozens of heads get the same number right, and their losses still differ.
"""


def batch_size(images: int) -> int:
    """Return the number of images per step of a head's training, unless a page or its space has another one.

    It is the smallest power of two that is not below a 32nd of the training images, between 4 and 128. So an epoch has
    at least 16 steps from 128 images on, and few images still make several.
    """
    return min(_BATCHES[1], max(_BATCHES[0], 1 << (max(0, -(-images // _STEPS) - 1)).bit_length()))


def filled(values: Mapping[str, object]) -> dict[str, object]:
    """Return a page's values, with HEAD_SPACE and HEAD_PARAMETERS if the page has a backbone and no space.

    What `network.parameters` sets is not searched, nor units without a layer. With a backbone, dataset.fit is both by
    default; if the page's own space leaves out `fit`, it is squash. PROMOTION has the defaults of its section.
    """
    network = values.get("network")
    if not isinstance(network, dict) or network.get("backbone") is None:
        return dict(values)
    return _with_promotion(_with_fit(_with_space(values, network)))


def _with_promotion(values: Mapping[str, object]) -> dict[str, object]:
    promotion = values.get("promotion")
    promotion = {} if promotion is None else promotion
    if not isinstance(promotion, dict):
        return dict(values)
    return {**values, "promotion": {**PROMOTION, **promotion}}


def _with_fit(values: Mapping[str, object]) -> dict[str, object]:
    """Return a page's values with dataset.fit, and with a value of `fit` for the default configuration if needed.

    If `network.parameters` sets `fit`, and no trial chooses another one, images are prepared in this way only.
    """
    dataset, network, space = (values.get(name) for name in ("dataset", "network", "space"))
    dataset = {} if dataset is None else dataset
    if not isinstance(dataset, dict) or not isinstance(network, dict) or not isinstance(space, dict):
        return dict(values)
    parameters = network.get("parameters")
    parameters = {} if parameters is None else parameters
    if not isinstance(parameters, dict):
        return dict(values)
    if "fit" in space:
        dataset = {"fit": "both", **dataset}
    elif "fit" not in dataset:
        fixed = parameters.get("fit", "squash")
        if fixed in ("squash", "crop"):
            parameters = {name: value for name, value in parameters.items() if name != "fit"}
            network = {**network, "parameters": parameters}
        dataset = {"fit": fixed if fixed in ("squash", "crop") else "both", **dataset}
    if dataset["fit"] == "both" and "fit" in space:
        network = {**network, "parameters": {"fit": "squash", **parameters}}
    return {**values, "dataset": dataset, "network": network}


def _with_space(values: Mapping[str, object], network: Mapping[str, object]) -> dict[str, object]:
    if "space" in values:
        return dict(values)
    if network.get("builder", "head") != "head":  # a mistake, which is reported by itself
        return {**values, "space": {"learning_rate": HEAD_SPACE["learning_rate"]}}
    parameters = network.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):  # a mistake, too
        return {**values, "space": {"learning_rate": HEAD_SPACE["learning_rate"]}}
    fixed = parameters or {}
    space = {
        name: dict(dimension) for name, dimension in HEAD_SPACE.items() if name not in fixed
    }  # overrides change it
    dataset = values.get("dataset")
    if isinstance(dataset, dict) and dataset.get("fit", "both") != "both":
        space.pop("fit", None)
    own = dict(HEAD_PARAMETERS)
    if fixed.get("layers") == 0:
        space.pop("units", None)
        del own["units"], own["dropout"]  # which is of features then, and takes half of the time
    network = {**network, "parameters": {**own, **fixed}}
    sweep = values.get("sweep")
    if sweep is None or isinstance(sweep, dict):
        values = {**values, "sweep": {"objective": OBJECTIVE, **(sweep or {})}}
    return {**values, "network": network, "space": space}
