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

UNITS = (32, 128)
LEARNING_RATE = (3e-4, 1e-2)
SEED = 0


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=40, metavar="N", help="points (default 40)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="where to write them as JSON")
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(draw(arguments.count), indent=1) + "\n")


def draw(count: int) -> list[dict[str, Any]]:
    """The first `count` points: a width of their own, as long as there are any, learning rate log-uniform, a seed.

    Learning rates have 6 digits, so that text keeps them.
    """
    random_numbers = random.Random(SEED)  # noqa: S311  a sample, not a secret
    widths = random_numbers.sample(range(UNITS[0], UNITS[1] + 1), UNITS[1] - UNITS[0] + 1)
    low, high = map(math.log, LEARNING_RATE)
    return [
        {
            "units": widths[number % len(widths)],
            "learning_rate": float(f"{math.exp(random_numbers.uniform(low, high)):.6g}"),
            "seed": number,
        }
        for number in range(count)
    ]


if __name__ == "__main__":
    main()
