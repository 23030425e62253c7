"""Make a network of the size of the stock Inception, for scoring.py: InceptionV3 behind a layer that enlarges.

.venv/bin/python bench/inception.py var/bench/inception.keras

Its weights are random. What an image costs does not depend on them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from scoring_peers import SIDE


def main() -> None:
    """Make it."""
    import keras

    keras.utils.set_random_seed(1)
    pixels = keras.Input((SIDE, SIDE, 3))
    large = keras.layers.Resizing(299, 299)(keras.layers.Rescaling(1 / 127.5, -1)(pixels))
    network = keras.applications.InceptionV3(weights=None, input_tensor=large)
    Path(sys.argv[1]).parent.mkdir(parents=True, exist_ok=True)
    network.save(sys.argv[1])


if __name__ == "__main__":
    main()
