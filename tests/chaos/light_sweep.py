"""jobs/sweep.py with trials of a third of a second: the same driver, line and books; no TensorFlow in the workers.

    spark-submit --master 'local[2]' light_sweep.py --experiment PAGE --dataset DIR --study DIR --result FILE

WINDROW_CHAOS_WORK names a file that takes a line "began trial attempt lease" for every attempt that begins work, and
one "ended ..." for every attempt that comes to the end of its last epoch.
WINDROW_CHAOS_DIE lists trials whose first attempt kills its worker in the third epoch.
WINDROW_CHAOS_CLOCK=jumps makes the driver's wall clock jump by hours, back and forth.
"""

from __future__ import annotations

import itertools
import math
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from windrow.sweep import cluster, schedule
from windrow.sweep.attempt import Attempt, TrialSpec
from windrow.sweep.outcomes import Outcome
from windrow.training.loop import Epoch

EPOCH_SECONDS = 0.03


def epoch_of(parameters: Mapping[str, Any], number: int) -> Epoch:
    """What epoch `number`, from 1, of a trial at this point gives: whoever asks, and when."""
    far = abs(math.log10(float(parameters["learning_rate"])) + 2.5) / 4 + int(parameters["units"]) / 1000
    accuracy = 1.0 - far - 0.5 / (number + 1)
    return Epoch(far + 1 / number, accuracy, far + 1.5 / number, accuracy - 0.01, EPOCH_SECONDS)


def _is_to_die(spec: TrialSpec, epoch: int) -> bool:
    return epoch == 3 and spec.attempt == 1 and str(spec.number) in os.environ.get("WINDROW_CHAOS_DIE", "").split()


def play(specs: Iterable[TrialSpec]) -> Iterator[Outcome]:
    """What a worker does for light trials: every word of a trial's to the driver, a nap instead of training."""
    for spec in specs:
        attempt = Attempt(spec)
        with attempt.watched():
            attempt.begin()
            outcome = attempt.stopped() if attempt.stop else _work(attempt)
        yield attempt.end(outcome)


def _work(attempt: Attempt) -> Outcome:
    spec = attempt.spec
    _note("began", spec)
    for number in range(1, spec.epochs + 1):
        time.sleep(EPOCH_SECONDS)
        if _is_to_die(spec, number):
            os.kill(os.getpid(), signal.SIGKILL)
        attempt.add(epoch_of(spec.parameters, number))
        if attempt.stop:
            break
    outcome = attempt.verdict()
    if outcome.value is not None:
        _note("ended", spec)
    return outcome


def _note(what: str, spec: TrialSpec) -> None:
    """One write, so that lines of two workers never mix."""
    book = os.open(os.environ["WINDROW_CHAOS_WORK"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(book, f"{what} {spec.number} {spec.attempt} {spec.lease}\n".encode())
    os.close(book)


def _start_workers(spark: Any, count: int, *_: Any) -> list[float]:
    """In the place of importing TensorFlow; a worker that is killed meanwhile is the trials' business, as there."""
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    with suppress(PySparkException, Py4JJavaError):
        spark.sparkContext.parallelize(range(count), count).mapPartitions(lambda _: iter([0.0])).collect()
    return []


def _let_the_clock_jump() -> None:
    """Every look at the clock is hours before or after the one before it."""
    true, hours = time.time, itertools.cycle((0, 5, -7, 1, -30, 12))
    time.time = lambda: true() + 3600 * next(hours)


def main() -> int:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "jobs"))
    import sweep

    if os.environ.get("WINDROW_CHAOS_CLOCK") == "jumps":
        _let_the_clock_jump()
    cluster.warm = _start_workers
    schedule.run = partial(schedule.run, body=play)
    return sweep.main()


if __name__ == "__main__":
    sys.exit(main())
