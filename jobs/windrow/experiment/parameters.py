"""The hyper-parameters that the training loop and the built-in networks know: one table, read by pages and by code.

DAG files import this module through the experiment page, so it must not import anything heavy.
"""

from __future__ import annotations

from dataclasses import dataclass

Value = bool | int | float | str


@dataclass(frozen=True)
class Parameter:
    """The default and the legal values of a hyper-parameter; "" if it has no default, and need not be set.

    Legal values are the numbers from `low` to `high`, both inclusive, or the strings in `choices`, or true and false.
    """

    default: Value
    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def kind(self) -> type:
        """Return the type of the values: bool, int, float or str."""
        return type(self.default)

    def problem(self, value: object) -> str | None:
        """Return what is wrong with a value, as a clause that starts with "must"; None if the value is legal."""
        if self.choices:
            return None if value in self.choices else f"must be one of {', '.join(self.choices)}; got {value!r}"
        if self.kind is bool:
            return None if isinstance(value, bool) else f"must be true or false; got {value!r}"
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return f"must be a number; got {value!r}"
        if self.kind is int and value != int(value):
            return f"must be a whole number; got {value!r}"
        if self.low is not None and value < self.low:
            return f"must be at least {self.low:g}; got {value!r}"
        if self.high is not None and value > self.high:
            return f"must be at most {self.high:g}; got {value!r}"
        return None


TRAINING = {
    "learning_rate": Parameter(1e-3, "step size of the optimizer at the start", low=1e-8, high=10.0),
    "batch_size": Parameter(128, "images per step", low=1, high=65536),
    "optimizer": Parameter("adam", "rule that turns gradients into steps", choices=("adam", "sgd")),
    "momentum": Parameter(0.9, "momentum of sgd; adam ignores it", low=0.0, high=0.9999),
    "weight_decay": Parameter(0.0, "decoupled weight decay, per step and learning rate", low=0.0, high=1.0),
    "decay": Parameter("none", "how the learning rate falls over the trial", choices=("none", "cosine")),
    "shift": Parameter(0.0, "augmentation: largest random shift, pixels", low=0.0, high=64.0),
    "rotation": Parameter(0.0, "augmentation: largest random rotation, degrees", low=0.0, high=180.0),
    "zoom": Parameter(0.0, "augmentation: largest random zoom in or out, share of the image's size", low=0.0, high=0.5),
    "flip": Parameter(False, "augmentation: mirror images left to right, each with probability 0.5"),
    "contrast": Parameter(0.0, "augmentation: largest random change of contrast, share", low=0.0, high=1.0),
    "brightness": Parameter(0.0, "augmentation: largest random change of brightness, share of 255", low=0.0, high=1.0),
    "class_weight": Parameter("none", "weights of the classes in the training loss", choices=("none", "balanced")),
    "label_smoothing": Parameter(
        0.0, "share of a label that the training loss gives to all classes", low=0.0, high=0.5
    ),
}

AUGMENTATION = ("shift", "rotation", "zoom", "flip", "contrast", "brightness")
"""The names in TRAINING that change pixels, which a head does not see: its images are views."""

_ACTIVATIONS = ("relu", "tanh", "elu", "gelu", "selu")

BUILDERS: dict[str, dict[str, Parameter]] = {
    "dense": {
        "layers": Parameter(1, "hidden layers", low=1, high=16),
        "units": Parameter(64, "neurons per hidden layer", low=1, high=16384),
        "activation": Parameter("relu", "activation of hidden layers", choices=_ACTIVATIONS),
        "dropout": Parameter(0.0, "share of activations dropped in training", low=0.0, high=0.95),
        "batch_norm": Parameter(False, "batch normalisation after each hidden layer"),
    },
    "cnn": {
        "blocks": Parameter(2, "blocks of convolutions and a halving of the image", low=1, high=6),
        "convolutions": Parameter(1, "3x3 convolutions per block", low=1, high=4),
        "filters": Parameter(16, "filters of the first block; each block doubles them", low=1, high=1024),
        "units": Parameter(64, "neurons of the dense layer before the classes", low=1, high=16384),
        "dropout": Parameter(0.25, "share of activations dropped before the classes", low=0.0, high=0.95),
        "batch_norm": Parameter(True, "batch normalisation after each convolution"),
    },
    "head": {
        "layers": Parameter(0, "hidden layers; 0 for logistic regression", low=0, high=3),
        "units": Parameter(256, "neurons per hidden layer", low=1, high=16384),
        "activation": Parameter("relu", "activation of hidden layers", choices=_ACTIVATIONS),
        "dropout": Parameter(
            0.0, "share of activations dropped in training; of features without hidden layers", low=0.0, high=0.95
        ),
        "l2_normalized": Parameter(False, "scale each image's features to a mean square of 1"),
        "fit": Parameter(
            "",
            "which images the head learns from where dataset.fit is both: squash or crop",
            choices=("squash", "crop"),
        ),
        "views": Parameter(1, "views of an image that training draws from, the image itself included", low=1, high=8),
        # Other than in TRAINING: a few hundred photographs would make one or two steps of 128 an epoch.
        "batch_size": Parameter(32, "images per step", low=1, high=65536),
    },
}
"""The parameters of the built-in networks. They come before those of TRAINING with the same name."""


def known(builder: str) -> dict[str, Parameter] | None:
    """Return the parameters of a built-in network and of training; None for a user's function, which may take any."""
    if builder not in BUILDERS:
        return None
    unknown = AUGMENTATION if builder == "head" else ()
    return {name: parameter for name, parameter in _all(builder).items() if name not in unknown}


def defaults(builder: str) -> dict[str, Value]:
    """Return the defaults of known parameters that have one. A user's function has only those of training."""
    return {name: parameter.default for name, parameter in _all(builder).items() if parameter.default != ""}


def _all(builder: str) -> dict[str, Parameter]:
    own = BUILDERS.get(builder, {})
    return {**own, **TRAINING, **own}
