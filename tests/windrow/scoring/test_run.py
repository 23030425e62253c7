"""A scoring run without Spark: nothing to do, commits to log, and rows that a drift gate withholds."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from windrow import experiment
from windrow.errors import DriftError, TrackingError
from windrow.experiment import Experiment
from windrow.model.network import Network
from windrow.scoring import work
from windrow.scoring.report.figures import Drift, Figures, UrlCounts
from windrow.scoring.report.result import CommittedRun, Logged
from windrow.scoring.run import Options, ScoringRun
from windrow.scoring.table import withheld
from windrow.scoring.table.lock import held
from windrow.scoring.table.predictions_table import PredictionTable
from windrow.scoring.table.withheld import WithheldRun

from tests.windrow.scoring.table.test_predictions_table import urls_in, write_rows

PAGE = experiment.parse("name: a\nspace: {units: {type: int, low: 1, high: 2}}\nscoring: {feed: x, drift_gate: 0.25}\n")
NETWORK = Network(name="m", version="3", file=Path("x"), digest="d", shape=(8, 8, 1), labels=("a", "b"))
MOVED = Figures(
    rows=1,
    statuses={"ok": 1},
    counts=UrlCounts(files_read=1, urls=1, new=1),
    model_name="m",
    model_version="3",
    drift=Drift(labels=0.5, scores=0.1, runs=1, images=300, moved=("a", 0.1, 0.6)),
)


@dataclass
class Tracking:
    """A registry with one network, and a list of what is logged."""

    network: Network | None = None
    away: bool = False
    logged: list[tuple[str, bool]] = field(default_factory=list)

    def pin(self, page: Experiment, scratch: Path) -> Network:
        assert self.network is not None, "no network is needed"
        return self.network

    def log_scoring(self, page: Experiment, run: CommittedRun, note: str, gallery: Path, withheld: bool) -> Logged:
        if self.away:
            raise TrackingError("no answer")
        self.logged.append((run.run_id, withheld))
        return {"run_id": f"mlflow-{run.run_id}", "links": {"mlflow_run": run.run_id}}


def run_on(folder: Path, tracking: Tracking, run_id: str = "r1", options: Options = Options()) -> ScoringRun:  # noqa: B008
    with held(folder, run_id):
        pass  # makes the folder for everything that is not a row
    assert PAGE.scoring is not None
    return ScoringRun(PAGE, PAGE.scoring, PredictionTable(folder), run_id, options, tracking)


def test_a_run_without_anything_new_needs_neither_spark_nor_a_network(tmp_path: Path) -> None:
    result = run_on(tmp_path / "t", Tracking()).score([])
    assert (result.figures, result.table_version, result.logged) == (None, 0, None)
    assert result.to_json()["links"] == {}


def test_counting_nothing_logs_nothing(tmp_path: Path) -> None:
    tracking = Tracking()
    assert run_on(tmp_path / "t", tracking).count([]).to_json()["dry_run"] is True
    assert tracking.logged == []


def test_a_commit_that_was_not_logged_is_logged_by_the_next_run(tmp_path: Path) -> None:
    table = PredictionTable(tmp_path / "t")
    table.commit(table.folder / "run-r0", "r0", {"figures": MOVED.to_json()})
    away, back = Tracking(away=True), Tracking()
    with pytest.raises(TrackingError, match="the next run logs them: no answer"):
        run_on(table.folder, away).score([])
    assert run_on(table.folder, back, "r2").score([]).logged is None  # that was another run
    assert back.logged == [("r0", False)]
    assert PredictionTable(table.folder).untold() == []


def test_withheld_rows_wait_for_a_person_and_are_committed_without_a_download(tmp_path: Path) -> None:
    feed, tracking = tmp_path / "feed.txt", Tracking(NETWORK)
    feed.write_text("http://example.com/a\n")
    run = run_on(tmp_path / "t", tracking)
    table = PredictionTable(tmp_path / "t")
    search = work.look(table, [feed], rescore=False)
    write_rows(table.folder / "run-r0", "a")
    waiting = WithheldRun("r0", run._digest(search, NETWORK), MOVED.to_json(), [], search.marks, time.time())
    withheld.keep(table.folder, table.folder / "run-r0", waiting)

    with pytest.raises(DriftError, match=r"the labels moved by 0.50 \(a most, .* 1 row is withheld"):
        run.score([feed])
    assert (urls_in(table.folder), tracking.logged) == ([], [("r0", True)])

    result = run_on(table.folder, tracking, "r2", Options(accept_drift=True)).score([feed])
    assert urls_in(table.folder) == ["http://example.com/a"]
    assert (result.run_id, result.logged and result.logged["run_id"]) == ("r0", "mlflow-r0")
    assert result.to_json()["drift_accepted"] is True
    assert withheld.read(table.folder) is None
    assert PredictionTable(table.folder).seen() == search.marks
