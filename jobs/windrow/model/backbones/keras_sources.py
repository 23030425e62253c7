"""Open backbones that are Keras networks: a .keras file, or a network of keras.applications with ImageNet's weights."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from windrow.errors import DownloadError, UserError


def load(file: Path) -> Any:
    """Load a .keras file without running any code that comes with it.

    Raises:
        UserError: Keras can't load the file, or would have to run code from the file or classes that are not Keras'.
    """
    import keras

    try:
        with tempfile.TemporaryDirectory(prefix="windrow-") as folder:
            link = Path(folder) / "network.keras"  # Keras goes by the name, and a download may be `net.keras?raw=1`
            link.symlink_to(file.resolve())
            return keras.saving.load_model(link, compile=False, safe_mode=True)
    except Exception as error:  # any error is the file's fault: Keras raises a dozen types
        raise UserError(
            f"network.backbone must be a .keras file of Keras' own layers, without Lambda; got {_reason(error)} for "
            f"{file.name}; name another file, or save the network again with layers of Keras"
        ) from error


def application(name: str) -> Any:
    """Return a network of keras.applications with ImageNet's weights, pooled, with its preprocessing inside.

    Keras looks for the weights in its own folder, ~/.keras/models, and downloads them if they are not there.

    Args:
        name: a function of keras.applications, such as MobileNetV2.

    Raises:
        UserError: there is no such network.
        DownloadError: the weights can't be downloaded, or are damaged.
    """
    import keras

    build = getattr(keras.applications, name, None)
    if not name[:1].isupper() or not callable(build):
        known = ", ".join(sorted(key for key in vars(keras.applications) if key[:1].isupper()))
        raise UserError(f"network.backbone keras:NAME must be a network of keras.applications; got {name!r}; {known}")
    # The network without its top takes any size; only the whole network knows the size that it was trained with.
    shape = build(weights=None, classes=1).input_shape[1:]
    try:
        network = build(weights="imagenet", include_top=False, pooling="avg", input_shape=shape)
    except Exception as error:  # Keras raises a bare Exception where a download fails
        raise DownloadError(
            f"network.backbone keras:{name} needs ImageNet's weights; got {_reason(error)}; connect this machine, or "
            "bring the file of that name into ~/.keras/models; where a damaged one is there, remove it"
        ) from error
    image = keras.Input(shape, name="image")
    return keras.Model(image, network(sys.modules[build.__module__].preprocess_input(image)), name=network.name)


def _reason(error: Exception) -> str:
    """Return an error's first sentence: what follows advises to change the code that loads the file."""
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return first.partition(". ")[0][:300]
