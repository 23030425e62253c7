"""jobs/sweep.py with trials of a third of a second: the same driver, workers, line and books; nothing is trained.

    spark-submit --master 'local[2]' light_sweep.py --experiment PAGE --dataset DIR --study DIR --result FILE

WINDROW_FAULTS_WORK names a file that takes a line "began trial attempt lease" for every attempt that begins work, and
one "ended ..." for every attempt that comes to the end of its last epoch.
WINDROW_FAULTS_DIE lists trials whose first attempt kills its worker in the third epoch.
WINDROW_FAULTS_CLOCK=jumps makes the driver's wall clock jump by hours, back and forth.
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
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from windrow import command
from windrow.sweep.attempt import RunningAttempt
from windrow.sweep.outcomes import Outcome
from windrow.sweep.spec import TrialSpec
from windrow.training.loop import Epoch

EPOCH_SECONDS = 0.03


def epoch_of(parameters: Mapping[str, Any], number: int) -> Epoch:
    """What epoch `number`, from 1, of a trial at this point gives: whoever asks, and when."""
    far = abs(math.log10(float(parameters["learning_rate"])) + 2.5) / 4 + int(parameters["units"]) / 1000
    accuracy = 1.0 - far - 0.5 / (number + 1)
    return Epoch(far + 1 / number, accuracy, far + 1.5 / number, accuracy - 0.01, EPOCH_SECONDS)


@dataclass(frozen=True)
class LightTrials:
    """What a worker does for light trials: every word of a trial's to the driver, a nap instead of training.

    It takes with it what the driver's environment says: that of a worker is as old as its JVM.
    """

    work: str
    dying: frozenset[str]

    def __call__(self, specs: Iterable[TrialSpec]) -> Iterator[Outcome]:
        for spec in specs:
            attempt = RunningAttempt(spec)
            with attempt.watched():
                attempt.begin()
                outcome = attempt.stopped() if attempt.stop else self._work(attempt)
            yield attempt.end(outcome)

    def _work(self, attempt: RunningAttempt) -> Outcome:
        spec = attempt.spec
        self._note("began", spec)
        for number in range(1, spec.epochs + 1):
            time.sleep(EPOCH_SECONDS)
            if number == 3 and spec.attempt == 1 and str(spec.number) in self.dying:
                os.kill(os.getpid(), signal.SIGKILL)
            attempt.add(epoch_of(spec.parameters, number))
            if attempt.stop:
                break
        outcome = attempt.verdict()
        if outcome.value is not None:
            self._note("ended", spec)
        return outcome

    def _note(self, what: str, spec: TrialSpec) -> None:
        """One write, so that lines of two workers never mix."""
        book = os.open(self.work, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(book, f"{what} {spec.number} {spec.attempt} {spec.lease}\n".encode())
        os.close(book)


def start_workers(spark: Any, count: int, *_: Any) -> list[float]:
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
    """Run the job; the exit code."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "jobs"))
    import sweep

    if os.environ.get("WINDROW_FAULTS_CLOCK") == "jumps":
        _let_the_clock_jump()
    dying = frozenset(os.environ.get("WINDROW_FAULTS_DIE", "").split())
    body = LightTrials(os.environ["WINDROW_FAULTS_WORK"], dying)
    return command.run(partial(sweep.sweep, body=body, warm=start_workers), sweep.parse_args())


if __name__ == "__main__":
    sys.exit(main())
