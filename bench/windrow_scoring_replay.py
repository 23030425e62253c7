"""jobs/score_images.py with a network that sleeps. Run by cluster_scoring.py through spark-submit.

spark-submit bench/windrow_scoring_replay.py MILLISECONDS and then what score_images.py takes
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "jobs"))

import score_images
from windrow.scoring import pipeline


class Sleeper:
    """A network that was loaded and is not asked: each image takes its time, and gets the first labels."""

    def __init__(self, loaded: Any, seconds: float, top_k: int) -> None:
        self._seconds, self._top_k = seconds, min(top_k, loaded.classes)

    def label(self, pixels: Any) -> Any:
        """As predict.LoadedNetwork.label, of uint8 (n, *shape)."""
        import numpy as np

        time.sleep(self._seconds * len(pixels))
        ids = np.tile(np.arange(self._top_k, dtype=np.int32), (len(pixels), 1))
        return ids, np.full(ids.shape, 1 / self._top_k, np.float32)


def task(batches: Iterator[Any], plan: Any, seconds: float) -> Iterator[Any]:
    """The code of a Spark task, in place of the pipeline's own."""
    from windrow.scoring import pipeline as ours  # the executor's, which is unchanged
    from windrow.scoring.network import predict

    def network(plan: Any) -> Any:
        model = plan.model
        steps = plan.batch_size, plan.top_k, plan.threads
        loaded = predict.load(Path(model.file), model.digest, model.shape, *steps, model.form, model.canaries)
        return Sleeper(loaded, seconds, plan.top_k)

    ours.network = network  # type: ignore[assignment]
    yield from ours._task(batches, plan)


def main() -> int:
    """Score with the sleeper; the exit code of score_images.py."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0], epilog="All that follows goes to jobs/score_images.py."
    )
    parser.add_argument("milliseconds", type=float, help="what an image takes")
    arguments, rest = parser.parse_known_args()
    pipeline._task = partial(task, seconds=arguments.milliseconds / 1000)  # type: ignore[assignment]
    sys.argv[1:] = rest
    return score_images.main()


if __name__ == "__main__":
    sys.exit(main())
