"""The fixed points that every tool trains: seeded, so the file can be made again anywhere.

python bench/points.py --count 40 --out var/bench/points.json
"""

from __future__ import annotations

import argparse
import json
import math
import random
from pathlib import Path
from typing import Any

SIZES = {"dense": {"units": (32, 128)}, "cnn": {"filters": (5, 16), "units": (32, 128)}}
"""The lowest and the highest value of each size, by network; both are drawn."""
LEARNING_RATE = (3e-4, 1e-2)
SEED = 0


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=40, metavar="N", help="points (default 40)")
    parser.add_argument("--network", choices=SIZES, default="dense", help="whose sizes they have (default dense)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="where to write them as JSON")
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(draw(arguments.count, arguments.network), indent=1) + "\n")


def draw(count: int, network: str = "dense") -> list[dict[str, Any]]:
    """The first `count` points of a network: sizes of their own, as long as there are any, learning rate, and a seed.

    Learning rates are log-uniform and have 6 digits, so that text keeps them.
    """
    random_numbers = random.Random(SEED)  # noqa: S311  a sample, not a secret
    sizes = {
        name: random_numbers.sample(range(low, high + 1), high - low + 1)
        for name, (low, high) in SIZES[network].items()
    }
    low, high = map(math.log, LEARNING_RATE)
    return [
        {
            **{name: values[number % len(values)] for name, values in sizes.items()},
            "learning_rate": float(f"{math.exp(random_numbers.uniform(low, high)):.6g}"),
            "seed": number,
        }
        for number in range(count)
    ]


if __name__ == "__main__":
    main()
