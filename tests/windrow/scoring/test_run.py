"""A scoring run without Spark: nothing to do, commits to log, and rows that a drift gate withholds."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from windrow import experiment
from windrow.errors import DriftError, ShortfallError, TrackingError, UserError
from windrow.experiment import Experiment
from windrow.model.network import Network
from windrow.scoring import work
from windrow.scoring.feed import feed_marks, known_keys, new_urls
from windrow.scoring.report import text
from windrow.scoring.report.feed_figures import FeedFigures
from windrow.scoring.report.figures import Drift, Figures, UrlCounts
from windrow.scoring.report.result import CommittedRun, Logged
from windrow.scoring.run import Options, ScoringRun
from windrow.scoring.table import withheld
from windrow.scoring.table.lock import held
from windrow.scoring.table.predictions_table import DAG_RUN, PredictionTable
from windrow.scoring.table.withheld import WithheldRun

from tests.windrow.scoring.feed.test_parquet_rows import tear, write_two_groups
from tests.windrow.scoring.table.test_predictions_table import urls_in, write_pending, write_rows

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

    def version(self, page: Experiment) -> tuple[str, str] | None:
        if self.away:
            raise TrackingError("no answer")
        return self.network and self.network.identity

    def pin(self, page: Experiment, scratch: Path) -> Network:
        assert self.network is not None, "no network is needed"
        return self.network

    def log_scoring(self, page: Experiment, run: CommittedRun, note: str, gallery: Path, withheld: bool) -> Logged:
        if self.away:
            raise TrackingError("no answer")
        self.logged.append((run.run_id, withheld))
        return {"run_id": f"mlflow-{run.run_id}", "links": {"mlflow_run": run.run_id}}


def run_on(
    folder: Path,
    tracking: Tracking,
    run_id: str = "r1",
    options: Options = Options(),  # noqa: B008
    **keys: object,
) -> ScoringRun:
    """A run of the page with these keys of its section scoring changed."""
    with held(folder, run_id):
        pass  # makes the folder for everything that is not a row
    assert PAGE.scoring is not None
    scoring = PAGE.scoring.model_copy(update=keys)
    return ScoringRun(PAGE, scoring, PredictionTable(folder), run_id, options, tracking)


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
    result = run_on(table.folder, back, "r2").score([]).to_json()
    assert back.logged == [("r0", False)]
    assert PredictionTable(table.folder).untold() == []
    assert [result[key] for key in ("rows", "earlier_rows", "new", "scoring", "run_id", "model_version")] == [
        *(1, 1, 1, "r0", "mlflow-r0", "3"),
    ]
    again = run_on(table.folder, back, "r3").score([]).to_json()
    assert (again["rows"], "earlier_rows" in again) == (0, False)


def test_a_try_of_the_same_dag_run_reports_what_was_committed_whatever_failed_after_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit was logged, and then the store was away: nothing is left to log, and Airflow knows of no row."""
    table = PredictionTable(tmp_path / "t")
    table.commit(table.folder / "run-r0", "r0", {"figures": MOVED.to_json(), DAG_RUN: "scheduled__1"})
    (table.folder / "_windrow").mkdir()
    PredictionTable(table.folder).told()
    for dag_run, rows in (("scheduled__1", 1), ("scheduled__2", 0)):
        monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", dag_run)
        assert run_on(table.folder, Tracking(), "r2").score([]).to_json()["rows"] == rows


FEW = Figures(
    rows=96,
    statuses={"refused_address": 93, "ok": 3},
    first_tries={"refused_address": 93, "ok": 3},
    model_name="m",
    model_version="3",
)


def test_a_run_that_labelled_too_few_fails_after_its_commit_and_so_does_its_retry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "scheduled__1")
    table = PredictionTable(tmp_path / "t")
    table.commit(table.folder / "run-r0", "r0", {"figures": FEW.to_json(), DAG_RUN: "scheduled__1"})
    sentence = "93 of 96 URLs ended as refused_address; scoring.allow_addresses decided that; the rows are committed"
    tracking = Tracking()
    for number in range(2):
        with pytest.raises(ShortfallError, match=sentence):
            run_on(table.folder, tracking, f"retry{number}").score([])
    assert tracking.logged == [("r0", False)]
    assert run_on(table.folder, tracking, "lower", minimum_ok_share=0.03).score([]).to_json()["rows"] == 96
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "scheduled__2")
    assert run_on(table.folder, tracking, "next").score([]).figures is None


def test_a_page_with_one_attempt_is_not_promised_a_second_one(tmp_path: Path) -> None:
    table = PredictionTable(tmp_path / "t")
    figures = replace(FEW, first_tries={"timeout": 30})
    table.commit(table.folder / "run-r0", "r0", {"figures": figures.to_json()})
    with pytest.raises(ShortfallError, match=r"timeout are not tried again, because scoring.attempts is 1; raise that"):
        run_on(table.folder, Tracking(), attempts=1).score([])


def test_a_retry_with_rows_of_its_own_fails_for_what_an_earlier_try_did_not_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The retry's own URL gets a label, and the try before it had labelled too few: once, with its sentence."""
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "scheduled__1")
    for earlier in ("r0", "r1"):
        table = PredictionTable(tmp_path / "t")
        table.commit(table.folder / f"run-{earlier}", earlier, {"figures": FEW.to_json(), DAG_RUN: "scheduled__1"})
    feed, tracking = tmp_path / "feed.txt", Tracking(NETWORK)
    feed.write_text("http://example.com/a\n")
    run = run_on(table.folder, tracking, "r2", Options(accept_drift=True))
    search = work.look(PredictionTable(table.folder), [feed], rescore=False)
    write_rows(table.folder / "run-r2", "a")
    waiting = WithheldRun("r2", run._digest(search, NETWORK), MOVED.to_json(), [], search.marks, time.time())
    withheld.keep(table.folder, table.folder / "run-r2", waiting)
    with pytest.raises(ShortfallError, match="93 of 96 URLs ended as refused_address") as caught:
        run.score([feed])
    assert str(caught.value).count("93 of 96 URLs") == 1
    assert (urls_in(table.folder), len(tracking.logged)) == (["http://example.com/a"], 3)


def test_a_run_that_can_not_be_logged_says_that_it_labelled_too_few_as_well(tmp_path: Path) -> None:
    table = PredictionTable(tmp_path / "t")
    table.commit(table.folder / "run-r0", "r0", {"figures": FEW.to_json()})
    with pytest.raises(TrackingError, match=r"the next run logs them: no answer; at least 20.0% of a run's URLs"):
        run_on(table.folder, Tracking(away=True)).score([])


def table_of_version(folder: Path, version: str) -> Path:
    """A table with labels of one version, a, and its figures in the commit."""
    table = PredictionTable(folder)
    write_rows(table.folder / "run-r0", "a")
    figures = replace(MOVED, model_name="model", model_version=version, other_versions={})
    table.commit(table.folder / "run-r0", "r0", {"figures": figures.to_json()})
    (table.folder / "_windrow").mkdir()
    PredictionTable(table.folder).told()
    return table.folder


def test_a_run_without_anything_new_says_how_many_labels_are_of_an_earlier_version(tmp_path: Path) -> None:
    folder = table_of_version(tmp_path / "t", "1")
    older, newer = (replace(NETWORK, name="model", version=version) for version in "12")
    assert run_on(folder, Tracking(older)).score([]).earlier_labels == {}
    assert run_on(folder, Tracking(newer)).score([]).earlier_labels == {"1": 1}
    assert run_on(folder, Tracking(newer)).count([]).earlier_labels == {"1": 1}
    assert run_on(folder, Tracking(newer, away=True)).score([]).earlier_labels is None


def test_a_page_that_re_scores_with_each_champion_looks_for_work_only_where_there_is_some(tmp_path: Path) -> None:
    folder = table_of_version(tmp_path / "t", "1")
    older, newer = (Tracking(replace(NETWORK, name="model", version=version)) for version in "12")
    assert not run_on(folder, older, rescore="champion")._look([])
    assert run_on(folder, newer, rescore="champion")._look([]).rescore
    assert not run_on(folder, newer)._look([])
    assert not run_on(tmp_path / "empty", newer, rescore="champion")._look([])
    with pytest.raises(TrackingError):  # what there is to do can't be known
        run_on(folder, Tracking(away=True), rescore="champion").score([])


def test_what_a_withdrawn_version_could_not_fetch_is_no_work_for_a_champion_that_has_its_label(tmp_path: Path) -> None:
    """Otherwise each night after a rollback would start Spark and load the network for nothing."""
    table = PredictionTable(tmp_path / "t")
    write_rows(table.folder / "run-r0", "a")  # of version 1
    write_pending(table.folder / "run-r0", "2", a=-1)
    table.commit(table.folder / "run-r0", "r0", {})
    first, third = (Tracking(replace(NETWORK, name="model", version=version)) for version in "13")
    assert not run_on(table.folder, first)._look([])
    assert not run_on(table.folder, first).score([]).counts.to_do
    assert run_on(table.folder, third)._look([])


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


def test_refused_files_are_in_the_result_of_a_run_with_nothing_else_to_do(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.txt", tmp_path / "bad.csv"
    good.write_text("http://example.com/a\n")
    bad.write_text("url,shop\nhttp://example.com/b\n")
    table = table_of_version(tmp_path / "t", "1")
    PredictionTable(table).note("r1", feed_marks.news([good, bad], {}).marks)
    result = run_on(table, Tracking(replace(NETWORK, name="model", version="1"))).score([good, bad])
    values = result.to_json()
    assert (values["files_refused"], values["files_read"]) == (1, 0)
    (found,) = values["refused_files"]  # type: ignore[misc]
    assert (found["file"], found["line"]) == (str(bad), 2)
    assert f"warning: 1 file of the feed is refused\n  {bad}, line 2: a record must have" in text.summary(result)


def test_a_run_whose_new_files_are_all_refused_fails_after_its_work(tmp_path: Path) -> None:
    old, bad = tmp_path / "old.txt", tmp_path / "bad.csv"
    old.write_text("http://example.com/a\n")
    bad.write_text("url,shop\nhttp://example.com/b\n")
    table = table_of_version(tmp_path / "t", "1")
    noted = PredictionTable(table).note("r1", feed_marks.news([old], {}).marks) + 1
    tracking = Tracking(replace(NETWORK, name="model", version="1"))
    with pytest.raises(
        UserError, match=r"a feed needs a new file that can be read; 1 file is refused: .*bad.csv, line 2"
    ):
        run_on(table, tracking, "r2").score([old, bad])
    for run in ("r3", "r4"):  # it is known from now on, and no version is added for it
        result = run_on(table, tracking, run).score([old, bad])
        assert (result.feed_faults.files_refused, result.table_version) == (1, PredictionTable(table).version)
        assert PredictionTable(table).version == noted
    with pytest.raises(UserError, match="a new file that can be read"):  # a feed of which nothing can be read
        run_on(table, tracking, "r5").score([bad])
    with pytest.raises(UserError, match="a new file that can be read"):
        run_on(tmp_path / "other", Tracking()).score([bad])
    assert run_on(tmp_path / "other", Tracking()).count([bad]).to_json()["files_refused"] == 1


@pytest.mark.parametrize("name", ["torn.parquet", "torn\x1b.parquet"])
def test_a_feed_that_fails_while_it_is_read_is_refused_unless_something_was_read(tmp_path: Path, name: str) -> None:
    good, torn = tmp_path / "good.txt", tmp_path / name
    good.write_text("http://example.com/a\n")
    write_two_groups(torn)
    for group in range(2):
        tear(torn, group, column=0)
    table = PredictionTable(tmp_path / "t")
    search = work.look(table, [good, torn], rescore=False)
    read = [new_urls.read_here([piece], known_keys.read([])) for piece in search.pieces]
    faults = [fault for found in read for fault in found.faults]
    feed = FeedFigures.of(search.refused, faults)
    assert feed.files_refused == 1
    search.check(2, UrlCounts(files_read=2, records=1), feed)
    alone = work.look(table, [torn], rescore=False)
    with pytest.raises(UserError, match="a feed needs a new file that can be read; 1 file is refused: "):
        alone.check(1, UrlCounts(files_read=1), feed)
    assert set(feed_marks.without(search.marks, faults)) == {str(good)}
