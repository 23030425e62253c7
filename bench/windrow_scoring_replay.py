"""jobs/score_images.py with a network that sleeps. Run by cluster_scoring.py through spark-submit.

spark-submit bench/windrow_scoring_replay.py MILLISECONDS and then what score_images.py takes
"""

from __future__ import annotations

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
        """As predict.Network.label, of uint8 (n, *shape)."""
        import numpy as np

        time.sleep(self._seconds * len(pixels))
        ids = np.tile(np.arange(self._top_k, dtype=np.int32), (len(pixels), 1))
        return ids, np.full(ids.shape, 1 / self._top_k, np.float32)


def task(batches: Iterator[Any], plan: Any, seconds: float) -> Iterator[Any]:
    """What a Spark task runs in place of pipeline's own."""
    from windrow.scoring import pipeline as ours  # the executor's, which nobody has changed
    from windrow.scoring import predict

    def network(plan: Any) -> Any:
        model = plan.model
        steps = plan.batch_size, plan.top_k, plan.threads
        loaded = predict.load(Path(model.file), model.digest, model.shape, *steps, model.form, model.canaries)
        return Sleeper(loaded, seconds, plan.top_k)

    ours.network = network  # type: ignore[assignment]
    yield from ours._task(batches, plan)


if __name__ == "__main__":
    pipeline._task = partial(task, seconds=float(sys.argv.pop(1)) / 1000)  # type: ignore[assignment]
    sys.exit(score_images.main())
