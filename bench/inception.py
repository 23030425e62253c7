"""Make a network of the size of the stock Inception, for scoring.py: InceptionV3 behind a layer that enlarges.

.venv/bin/python bench/inception.py var/bench/inception.keras

Its weights are random. What an image costs does not depend on them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from scoring_peers import SIDE


def main() -> None:
    """Make it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path, help="where it goes, with the ending .keras")
    file: Path = parser.parse_args().file

    import keras

    keras.utils.set_random_seed(1)
    pixels = keras.Input((SIDE, SIDE, 3))
    large = keras.layers.Resizing(299, 299)(keras.layers.Rescaling(1 / 127.5, -1)(pixels))
    network = keras.applications.InceptionV3(weights=None, input_tensor=large)
    file.parent.mkdir(parents=True, exist_ok=True)
    network.save(file)


if __name__ == "__main__":
    main()
