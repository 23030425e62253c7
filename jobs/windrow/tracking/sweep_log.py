"""Log a sweep to MLflow, in a separate thread: one parent run, and one child run per trial.

The ledger has the truth: each of its trials must have one run that shows the trial's outcome. `open_sweep` corrects
the runs after a driver was killed or MLflow was down.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped]

from windrow.errors import TrackingError
from windrow.sweep.outcomes import RULES, best_figure
from windrow.sweep.spec import TrialFacts, facts_of
from windrow.tracking import parent
from windrow.tracking.record import PARAMETERS_TAG, read_champion
from windrow.tracking.runs import trial_runs
from windrow.tracking.server import compare_link, connect, epoch_metrics, experiment_id, metrics_at, run_link

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, Run, RunTag

    from windrow.data.manifest import Manifest
    from windrow.experiment import Experiment
    from windrow.experiment.parameters import Value
    from windrow.sweep.ledger import Entry, Lease
    from windrow.sweep.outcomes import Outcome
    from windrow.sweep.study import Study
    from windrow.training.loop import Epoch

_BATCH_METRICS = 1000  # MLflow's limit per call
_CPU = "system/cpu_utilization_percentage"  # of the driver's host, by the name that MLflow uses for it
_COMPARED = 10  # the sweep's link compares this many of the best trials
_FIGURES_SECONDS = 2.0  # between two updates of the parent run's figures


def open_sweep(
    page: Experiment, path: Path, dataset: Manifest, study: Study, network_source: str | None = None
) -> SweepLog:
    """Begin a study's parent run, or open it again; make its child runs agree with the ledger, and return the log.

    Args:
        path: the experiment page's file.
        network_source: the text of a user's network file; None for a built-in network.
    """
    client = connect()
    experiment = experiment_id(client, page)
    if study.wants_champion and (champion := read_champion(client, page.model_name)) is not None:
        study.try_champion(champion)
    run_id = study.identity.get("run_id")
    if run_id is None or not _alive(client, run_id):
        run_id = parent.begin(client, experiment, page, path, dataset, study, network_source)
    log = SweepLog(client, experiment, run_id, study, dataset)
    log.reconcile()
    return log


def _alive(client: MlflowClient, run_id: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # any other error does not mean that the run is lost
            raise
        return False


class SweepLog:
    """A context manager that logs a sweep as a parent run with one child run per trial.

    A parameter or metric has the same name in every trial's run. `begin`, `epochs`, `end` and `progress` return at
    once, so a slow or failing MLflow does not delay a trial. Leaving the `with` block waits until everything is logged.
    After a failure of MLflow the rest is dropped, and `summarize` raises an error.
    """

    def __init__(self, client: MlflowClient, experiment: str, run_id: str, study: Study, dataset: Manifest) -> None:
        self.client, self.experiment, self.run_id = client, experiment, run_id
        self._study, self._dataset = study, dataset
        self._runs: dict[int, str] = {}
        self._logged: dict[int, int] = {}
        self._figures_at = 0.0
        self._failure: Exception | None = None
        self._killed = False
        # During the sweep, one thread makes the calls to MLflow in the order of this queue, without a lock: a run
        # begins before its metrics, and ends after them. None ends the thread.
        self._pending: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="mlflow", daemon=True)

    def reconcile(self) -> None:
        """Leave exactly one child run per finished trial, which shows the outcome in the ledger.

        A finished trial without such a run is logged; all other trials' runs of this sweep are deleted.
        """
        runs: dict[int, list[Run]] = {}
        for run in trial_runs(self.client, self.experiment, self.run_id):
            runs.setdefault(int(run.data.tags.get("windrow.trial", -1)), []).append(run)
        for entry in self._study.entries():
            if entry.outcome is None:
                continue  # the trial will be trained again, with a new run
            found = runs.get(entry.number, [])
            wanted = next((run for run in found if _shows(run, entry.outcome)), None)
            if wanted is not None:
                found.remove(wanted)
                self._runs[entry.number] = wanted.info.run_id
            else:
                facts = facts_of(self._study.page, entry.number, entry.point)
                self._begin(entry.number, entry.outcome.attempt, entry.point, facts)
                self._end(entry.outcome, over=True)
        for run in (run for left in runs.values() for run in left):
            self.client.delete_run(run.info.run_id)
        self._note_runs()

    def begin(self, lease: Lease, facts: TrialFacts) -> None:
        """Begin a child run for an attempt, and delete the run of the trial's earlier attempt: a trial has one run."""
        self._pending.put(lambda: self._begin(lease.number, lease.attempt, lease.point, facts))

    def epochs(self, number: int, first: int, epochs: Sequence[Epoch]) -> None:
        """Log metrics of epochs while a trial trains; `first` is the number of the first of these epochs, from 1."""
        self._pending.put(lambda: self._epochs(number, first, epochs))

    def end(self, outcome: Outcome, over: bool) -> None:
        """Log the remaining epochs, the ending and the error; `over` is True if the trial gets no further attempt."""
        self._pending.put(lambda: self._end(outcome, over))

    def progress(self, finished: int, pruned: int, best: Entry | None) -> None:
        """Log the sweep's progress as metrics of the parent run, at most once every 2 seconds."""
        if time.monotonic() - self._figures_at < _FIGURES_SECONDS:
            return
        self._figures_at = time.monotonic()
        figures = {"trials": float(finished), "trials_pruned": float(pruned)}
        if best is not None and best.value is not None:
            figures[f"best_{self._study.page.sweep.objective}"] = best.value
        self._pending.put(lambda: self._log(self.run_id, metrics=metrics_at(finished, figures)))

    def estimate(self, text: str) -> None:
        """Log an estimate of the sweep's time in the parent run's note, until `summarize` writes the result."""
        from mlflow.entities import RunTag

        note = f"{parent.searched(self._study, self._dataset)}\n\n{text}"
        self._pending.put(lambda: self._log(self.run_id, tags=[RunTag("mlflow.note.content", note)]))

    def summarize(self, result: Mapping[str, Any]) -> dict[str, object]:
        """Wait until everything is logged, log the sweep's figures to the parent run; return the run's id and links.

        Args:
            result: the result of jobs/sweep.py.

        Raises:
            TrackingError: MLflow failed during the sweep, so that something is not logged.
        """
        from mlflow.entities import RunTag

        self._finish()
        if self._failure is not None:
            raise TrackingError(
                f"MLflow must take what a sweep logs; it stopped with {type(self._failure).__name__}: {self._failure}; "
                "every outcome is in the ledger: repair MLflow and run the sweep again, and it logs what is missing"
            ) from self._failure
        figures = {f"trials_{ending}": float(count) for ending, count in result["outcomes"].items()}
        figures |= {"trials": result["trials"], "sweep_seconds": result["seconds"], **result["efficiency"]}
        figures[f"best_{result['objective']}"] = result["best_value"]
        figures[_CPU] = psutil.cpu_percent()
        best_run = self._runs[result["best_trial"]]
        note = parent.summary(self._study, self._dataset, result, self.experiment, self.run_id, best_run)
        tags = [RunTag("windrow.best_trial", str(result["best_trial"])), RunTag("mlflow.note.content", note)]
        self.client.log_batch(self.run_id, metrics=metrics_at(int(result["trials"]), figures), tags=tags)
        best = [self._runs[trial.number] for trial in self._study.ranked()[:_COMPARED]]
        links = run_link(self.experiment, self.run_id) | compare_link(self.experiment, best)
        return {"run_id": self.run_id, "links": links}

    def __enter__(self) -> SweepLog:
        self.client.update_run(self.run_id, status="RUNNING")
        psutil.cpu_percent()  # the next call returns the average since this call
        self._writer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait until everything is logged, and end the runs: a stopped sweep must not look as if it were running.

        If MLflow has failed during the sweep, the runs are left as they are.
        """
        self._finish()
        if self._failure is None:
            self._close("FINISHED" if kind is None else "FAILED")

    def kill(self) -> None:
        """End the runs as killed, and drop what is still to be logged: the process has seconds left."""
        self._killed = True
        if self._writer.is_alive():  # else it could begin a run after this method has ended all runs
            self._pending.put(None)
            self._writer.join(timeout=1)
        self._close("KILLED")

    def _close(self, status: str) -> None:
        self.client.set_terminated(self.run_id, status)
        for run in trial_runs(self.client, self.experiment, self.run_id, "attributes.status = 'RUNNING'"):
            self.client.set_terminated(run.info.run_id, "KILLED")

    def _finish(self) -> None:
        """If the thread runs, wait until it has logged everything and ended, then note the runs' ids in the ledger."""
        if self._writer.is_alive():
            self._pending.put(None)
            self._writer.join()
            self._note_runs()

    def _note_runs(self) -> None:
        for entry in self._study.entries():
            if (run_id := self._runs.get(entry.number)) and run_id != entry.run_id:
                self._study.note_run(entry.number, run_id)

    def _write(self) -> None:
        while (call := self._pending.get()) is not None:
            # After a failure the rest of the queue is dropped: MLflow must not get later epochs without earlier ones.
            # In the next sweep, `reconcile` logs all that is missing.
            if self._failure is None and not self._killed:
                try:
                    call()
                except Exception as error:  # `summarize` raises it later; the trials continue
                    self._failure = error

    def _begin(self, number: int, attempt: int, point: Mapping[str, Value], facts: TrialFacts) -> None:
        from mlflow.entities import Param

        before = self._runs.pop(number, None)
        run = self.client.create_run(
            self.experiment,
            tags={
                "mlflow.runName": f"trial {number}",
                "mlflow.parentRunId": self.run_id,
                "windrow.kind": "trial",
                "windrow.study": self._study.id,
                "windrow.trial": str(number),
                "windrow.attempt": str(attempt),
                "windrow.seed": str(facts.seed),
                "windrow.dataset.digest": self._dataset.digest,
                PARAMETERS_TAG: json.dumps(facts.parameters),
            },
        )
        self._runs[number], self._logged[number] = run.info.run_id, 0
        if before is not None:
            self.client.delete_run(before)  # only now, so that a running trial always has a run
        known = facts.parameters.items()
        shown = {name: value for name, value in known if name in point or not self._conditional(name)}
        self._log(run.info.run_id, params=[Param(name, str(value)) for name, value in sorted(shown.items())])

    def _conditional(self, name: str) -> bool:
        """Return whether a hyper-parameter is searched only under a condition.

        For trials where the condition does not hold, MLflow's plots would show its default as if it had been searched.
        """
        dimension = self._study.page.space.get(name)
        return dimension is not None and bool(dimension.when)

    def _epochs(self, number: int, first: int, epochs: Sequence[Epoch]) -> None:
        start = max(first, self._logged[number] + 1)
        if new := epochs[start - first :]:
            self._log(self._runs[number], metrics=epoch_metrics(start, new))
            self._logged[number] = start + len(new) - 1

    def _end(self, outcome: Outcome, over: bool) -> None:
        from mlflow.entities import RunTag

        run_id = self._runs[outcome.number]
        logged = self._logged[outcome.number]
        metrics = epoch_metrics(logged + 1, outcome.epochs[logged:])
        figures = {"trial_seconds": outcome.seconds, "tensorflow_import_seconds": outcome.import_seconds}
        figures["peak_mebibytes"] = outcome.peak_mebibytes
        figures |= best_figure(outcome, self._study.page.sweep)
        tags = {
            "windrow.ending": outcome.ending.value,
            "windrow.attempt": str(outcome.attempt),
            "windrow.worker": outcome.worker,
            "windrow.error": outcome.error,
            "windrow.fused": str(outcome.fused) if outcome.fused > 1 else "",
        }
        given = [RunTag(key, value[:4000]) for key, value in tags.items() if value]
        self._log(run_id, metrics=metrics + metrics_at(0, figures), tags=given)
        if over:
            self.client.set_terminated(run_id, RULES[outcome.ending].status)

    def _log(self, run_id: str, metrics: Sequence[Metric] = (), **more: list[Param] | list[RunTag]) -> None:
        for start in range(0, len(metrics) or 1, _BATCH_METRICS):
            self.client.log_batch(run_id, metrics=metrics[start : start + _BATCH_METRICS], **more)
            more = {}


def _shows(run: Run, outcome: Outcome) -> bool:
    """Return whether a run has ended and shows this outcome."""
    tags = run.data.tags
    shown = tags.get("windrow.ending"), tags.get("windrow.attempt"), run.info.status
    return shown == (outcome.ending.value, str(outcome.attempt), RULES[outcome.ending].status)
