"""The predictions table in any order of nights, retries, changes of a key, gates, upkeep and deaths, against a plain
dictionary.

A night here is what jobs/score_images.py does, without Spark and without the web: the feed's news and what is due are
found, rows are written as Spark writes them, and one commit decides. It may die before or after anything that it writes
or says to Delta; then the table must be as before the commit or as after it, and the next night goes on.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from harness.crash import Crasher, KilledError, machine_settings
from harness.predictions import row_of
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from windrow import experiment
from windrow.errors import ServiceError
from windrow.scoring import work
from windrow.scoring.feed import feed_marks, known_keys, new_urls
from windrow.scoring.fetch.urls import Target
from windrow.scoring.table import pending, prediction, upkeep, withheld
from windrow.scoring.table.deciding import DecidingKeys
from windrow.scoring.table.lock import held
from windrow.scoring.table.pending import DueRule
from windrow.scoring.table.prediction import Patience, Stamp
from windrow.scoring.table.predictions_table import PredictionTable

from .test_predictions_table import opened

PAGE = experiment.parse("name: a\nspace: {units: {type: int, low: 1, high: 2}}\nscoring: {feed: x}\n")
ATTEMPTS = 3
PASSING = "timeout"
ANSWERS = st.sampled_from(["ok", "ok", "http_error", "timeout now", "timeout later", "too_large"])
WRITES = st.integers(0, 9)
HOW = st.sampled_from(["before", "after", "torn"])
MOST_WRITES = 30
"""More than a night has."""


@dataclass(frozen=True)
class Row:
    """A row as the model has it.

    `due` is "now", "later", or "" where it is final; `max_bytes` the page's value if that decided the row.
    """

    status: str
    attempt: int
    due: str = ""
    max_bytes: int | None = None


Key = tuple[str, str]
Rows = dict[Key, Row]
State = tuple[Rows, Mapping[str, Any]]
"""The rows of a table, and what of the feed has been read: one commit decides both."""
Work = tuple[Mapping[str, Any], int, str, bool, int]
"""What decides the rows of a night: what of the feed is read then, the table's version, the model, `rescore`, a key."""


@dataclass
class Night:
    """A run between its look at the table and its commit."""

    run: str
    version: str
    table: PredictionTable
    search: work.FeedSearch
    targets: list[Target]
    due: pending.Due


class Tables(RuleBasedStateMachine):
    """Nights on one table; each may die."""

    def __init__(self) -> None:
        super().__init__()
        self.scratch = tempfile.TemporaryDirectory()
        self.folder = Path(self.scratch.name).resolve() / "table"
        self.feed = Path(self.scratch.name).resolve() / "feed.txt"
        self.feed.touch()
        with held(self.folder, "before"):  # as every run has it, which makes the place for what is no row
            pass
        self.crasher, self.patch = Crasher(), pytest.MonkeyPatch()
        self.rows: Rows = {}
        self.marks: Mapping[str, Any] = {}
        self.lines: list[str] = []
        self.withheld: dict[str, tuple[Work, State]] = {}
        self.runs = 0
        self.max_bytes = 2000
        self.heard: list[str] = []
        self.looked_at: list[str] = []
        self._watch_the_writes()

    def _watch_the_writes(self) -> None:
        from deltalake import DeltaTable

        of_files = [(Path, name) for name in ("write_text", "write_bytes", "replace", "unlink", "mkdir")]
        of_delta = [(DeltaTable, name) for name in ("create_write_transaction", "vacuum")]
        for place, name in (*of_files, *of_delta, (shutil, "rmtree")):
            self.patch.setattr(place, name, self._mortal(getattr(place, name)))

    def _mortal(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def torn(*given: Any, **named: Any) -> None:
            if real.__name__ in ("write_text", "write_bytes"):
                path, content = given
                real(path, content[: len(content) // 2], **named)

        return lambda *given, **named: self.crasher.write(
            partial(real, *given, **named), partial(torn, *given, **named)
        )

    @contextmanager
    def a_death(self, writes: int | None, how: str, after: State | None = None) -> Iterator[None]:
        """What a run decides is there as a whole or not at all, wherever it dies."""
        before = self.rows, self.marks
        if writes is not None:
            self.crasher.arm(writes, how)
        try:
            yield
        except KilledError:
            self.crasher.disarm()
            self.rows, self.marks = self.on_disk(), PredictionTable(self.folder).seen()
            assert (self.rows, self.marks) in (before, after or before)
        finally:
            self.crasher.disarm()

    def urls_arrive(self, count: int) -> None:
        new = [f"http://example.com/{len(self.lines) + number}" for number in range(count)]
        self.lines += new
        with self.feed.open("a") as file:
            file.writelines(f"{line}\n" for line in new)

    @rule(
        arrived=st.integers(0, 2),
        version=st.sampled_from("123"),
        answers=st.lists(ANSWERS, min_size=4, max_size=4),
        rescore=st.booleans(),
        gate=st.sampled_from(["", "", "withhold", "accept"]),
        death=st.none() | st.tuples(WRITES, HOW),
    )
    def a_night(
        self, arrived: int, version: str, answers: list[str], rescore: bool, gate: str, death: tuple[int, str] | None
    ) -> None:
        self.urls_arrive(arrived)
        run = self.new_run()
        waiting = withheld.read(self.folder) if self.folder.exists() else None
        with held(self.folder, run):
            night = self.look(run, version, rescore)
            work, after = self.work(night, rescore), self.model_of(night, answers)
            again = waiting is not None and self.withheld[waiting.run_id][0] == work
            if waiting is not None:
                same = waiting.work == self.digest(night, rescore)
                assert same == again, "what is withheld is of this very work, or of none of it"
                after = self.withheld[waiting.run_id][1] if again else after
            with self.a_death(*(death or (None, "")), after):
                if waiting and again and gate != "withhold":
                    with night.table.staged(waiting.run_id) as folder:
                        self.settle(night, waiting, folder, after)
                    return
                withheld.discard(self.folder)
                self.score(night, answers, rescore, gate, after)

    def score(self, night: Night, answers: list[str], rescore: bool, gate: str, after: State) -> None:
        """Write the rows of a night, then commit or withhold them."""
        if not night.targets:
            if night.search.pieces:
                night.table.note(night.run, night.search.marks)
                self.marks = night.search.marks
            return
        with night.table.staged(night.run) as folder:
            replaced = self.write(night, answers, folder)
            made = withheld.WithheldRun(
                night.run,
                self.digest(night, rescore),
                {"run": night.run},
                replaced,
                night.search.marks,
                at=1e9,
            )
            if gate == "withhold":
                self.withheld[night.run] = self.work(night, rescore), after
                withheld.keep(night.table.folder, folder, made)
            else:
                self.settle(night, made, folder, after)

    def settle(self, night: Night, made: withheld.WithheldRun, folder: Path, after: State) -> None:
        if not folder.is_dir():
            withheld.restore(night.table.folder, made, folder)
        figures = {"figures": dict(made.figures)}
        night.table.commit(folder, made.run_id, figures, made.replaced, made.marks)
        version = night.table.commit(folder, made.run_id, figures, made.replaced, made.marks)  # a replay
        assert version == opened(self.folder).version()
        withheld.discard(night.table.folder)
        self.rows, self.marks = after

    @rule(
        arrived=st.integers(0, 2),
        between=st.integers(0, 1),
        answers=st.lists(ANSWERS, min_size=4, max_size=4),
        first=st.sampled_from("12"),
        second=st.sampled_from("12"),
    )
    def two_nights_at_once(self, arrived: int, between: int, answers: list[str], first: str, second: str) -> None:
        """As where a file system keeps no locks: of two that have looked at the same table, one commits."""
        self.urls_arrive(arrived)
        late = self.look(self.new_run(), first, False)
        if not late.targets and not late.search.pieces:
            return
        self.urls_arrive(between)  # so that what they have read of the feed differs
        early = self.look(self.new_run(), second, False)
        withheld.discard(self.folder)
        self.score(early, answers, False, "", self.model_of(early, answers))
        if not early.targets and not early.search.pieces:
            return
        with pytest.raises(ServiceError, match="one scoring run at a time"):
            self.score(late, answers, False, "", self.model_of(late, answers))
        assert not (self.folder / f"run-{late.run}").exists()

    @precondition(lambda self: self.rows)
    @rule(death=st.none() | st.tuples(WRITES, HOW))
    def upkeep(self, death: tuple[int, str] | None) -> None:
        with self.a_death(*(death or (None, ""))):
            upkeep.maintain(PredictionTable(self.folder), self.new_run())

    @precondition(lambda self: (self.folder / "_delta_log").is_dir())
    @rule()
    def a_week_passes_and_what_nobody_needs_is_removed(self) -> None:
        table = opened(self.folder)
        table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)

    @precondition(lambda self: (self.folder / "_delta_log").is_dir())
    @rule(death=st.none() | st.tuples(st.integers(0, 1), HOW))
    def mlflow_hears_of_the_nights(self, death: tuple[int, str] | None) -> None:
        table = PredictionTable(self.folder)
        self.heard += [figures["run"] for figures in table.untold()]
        with self.a_death(*(death or (None, ""))):
            table.told()
            assert table.untold() == []

    @rule(size=st.sampled_from([1000, 2000, 3000]))
    def the_page_has_another_limit(self, size: int) -> None:
        self.max_bytes = size

    @rule(text=st.sampled_from(["touched", "copied over itself", "rewritten"]))
    def the_feeds_file_changes_and_its_urls_do_not(self, text: str) -> None:
        if text == "rewritten":
            self.lines.sort(reverse=True)
        self.feed.write_text("".join(f"{line}\n" for line in self.lines))
        if text == "touched":
            os.utime(self.feed, (1, 1))

    def new_run(self) -> str:
        self.runs += 1
        return f"r{self.runs}"

    def look(self, run: str, version: str, rescore: bool) -> Night:
        """What there is to ask, as the job finds it."""
        table = PredictionTable(self.folder)
        search = work.look(table, [self.feed], rescore=False, rule=DueRule(keys=self.keys))
        found = new_urls.read_here(search.pieces, known_keys.read(table.files())).rows.to_pylist()
        fresh = [Target(**row) for row in found]
        due = pending.find(search.due, table.files(), ("model", version), search.rule)
        again = [Target(**row) for row in due.targets.to_pylist()]
        asked = {target.url for target in (*fresh, *again)}
        assert len(asked) == len(fresh) + len(again), "a URL is asked twice"
        assert {target.url for target in fresh} == set(self.lines) - {url for url, _ in self.rows}
        assert {target.url for target in again} == self.due(version)
        if rescore:
            fresh += [self.target(url) for url in sorted(self.of_others(version) - asked)]
        return Night(run, version, table, search, [*fresh, *again], due)

    @property
    def keys(self) -> DecidingKeys:
        return DecidingKeys({"max_bytes": self.max_bytes})

    def reopened(self, row: Row) -> bool:
        """A smaller limit than the page's decided it."""
        return row.max_bytes is not None and row.max_bytes < self.max_bytes

    def due(self, version: str) -> set[str]:
        """URLs with a row that is due; another version's only where this one has none of its own."""
        due = {key for key, row in self.rows.items() if row.due == "now" or self.reopened(row)}
        return {url for url, of in due if of == version or (url, version) not in self.rows}

    def of_others(self, version: str) -> set[str]:
        """URLs that others have labelled, and nobody is to ask again; after a rollback this one has rows, too."""
        waiting = {url for (url, _), row in self.rows.items() if row.due or self.reopened(row)}
        return {url for url, of in self.rows if of != version} - waiting

    def target(self, url: str) -> Target:
        (found,) = new_urls.read_here(
            feed_marks.news([self.one_line(url)], {})[0], known_keys.read([])
        ).rows.to_pylist()
        return Target(**found)

    def one_line(self, url: str) -> Path:
        path = Path(self.scratch.name) / "line.txt"
        path.write_text(f"{url}\n")
        return path

    def digest(self, night: Night, rescore: bool) -> str:
        assert PAGE.scoring is not None
        page = PAGE.scoring.model_copy(update={"max_bytes": self.max_bytes})
        return withheld.digest(night.search.marks, night.table.version, night.version, (rescore, None), page)

    def work(self, night: Night, rescore: bool) -> Work:
        return night.search.marks, night.table.version, night.version, rescore, self.max_bytes

    def answer_to(self, target: Target, answers: list[str]) -> Row:
        status, _, due = answers[len(target.url) * 7 % 4 - int(target.url[-1]) % 4].partition(" ")
        attempt = target.attempt + 1
        decided = self.max_bytes if status == "too_large" else None
        return Row(status, attempt, due if attempt < ATTEMPTS else "", decided)

    def model_of(self, night: Night, answers: list[str]) -> State:
        """What there is when a night has committed."""
        rows = dict(self.rows)
        again = self.due(night.version)
        for key in [key for key, row in rows.items() if (row.due or self.reopened(row)) and key[0] in again]:
            del rows[key]
        for target in night.targets:
            key, answer = (target.url, night.version), self.answer_to(target, answers)
            if answer.status == "ok" or key not in rows or rows[key].status != "ok":  # a label stays after a failure
                rows[key] = answer
        return rows, night.search.marks

    def write(self, night: Night, answers: list[str], folder: Path) -> list[Path]:
        """What Spark would have written: final, pending and decided rows in files of their own; what they replace."""
        stamp = Stamp(night.run, "model", night.version, "digest")
        batches: dict[str, list[pa.RecordBatch]] = {"final": [], "pending": [], "decided": []}
        for target in night.targets:
            answer = self.answer_to(target, answers)
            row = row_of(target, answer.status, stamp)
            patience = Patience(ATTEMPTS, hours=0.0 if answer.due == "now" else 1000.0)
            kind = "pending" if answer.due else "decided" if answer.max_bytes else "final"
            batches[kind].append(prediction.record_batch([row], patience, self.keys))
        for kind, some in batches.items():
            path = folder / f"kind={kind}" / "part-0.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            self.crasher.write(partial(pq.write_table, pa.Table.from_batches(some, prediction.SCHEMA), path))
        written = sorted(folder.rglob("part-*.parquet"))
        older = pending.OlderRows.of(night.table.files(), written, ("model", night.version))
        return pending.carry(night.due, folder, older) if night.due.files or older.files else []

    def on_disk(self) -> Rows:
        """The table as anybody with delta-rs reads it."""
        found = opened(self.folder).to_pyarrow_table().to_pylist()
        return self.rows_of(found)

    def rows_of(self, found: list[dict[str, Any]]) -> Rows:
        now = max((row["scored_at"] for row in found), default=None)
        rows: Rows = {}
        for row in found:
            key = row["url"], row["model_version"]
            assert key not in rows, f"two rows for {key}"
            assert row["next_attempt"] is None or row["status"] == PASSING
            due = "" if row["next_attempt"] is None else "now" if row["next_attempt"] <= now else "later"
            decided = json.loads(row["decided_by"] or "{}")
            rows[key] = Row(row["status"], row["attempt"], due, decided.get("scoring.max_bytes"))
        return rows

    @invariant()
    def every_reader_sees_the_rows_that_were_committed(self) -> None:
        files = sorted(path.as_posix() for path in self.folder.rglob("*") if "_windrow" not in path.parts)
        if files == self.looked_at:
            return  # nothing was written since the last look
        self.looked_at = files
        assert self.on_disk() == self.rows
        assert PredictionTable(self.folder).seen() == self.marks
        read = [pq.read_table(path).to_pylist() for path in self.replayed()]
        assert self.rows_of([row for rows in read for row in rows]) == self.rows
        assert sorted(PredictionTable(self.folder).files()) == sorted(self.replayed())
        self.check_told()

    def replayed(self) -> list[Path]:
        """The table's files by a reader of our own, which knows adds and removes and nothing else."""
        files: dict[str, None] = {}
        for entry in sorted((self.folder / "_delta_log").glob("*.json")):
            for action in map(json.loads, entry.read_text().splitlines()):
                if "add" in action:
                    files[action["add"]["path"]] = None
                elif "remove" in action:
                    files.pop(action["remove"]["path"])
        return [self.folder / name.replace("%3D", "=") for name in files]

    def check_told(self) -> None:
        """MLflow hears of each night, in order."""
        said = [entry["figures"]["run"] for entry in opened(self.folder).history() if "figures" in entry]
        untold = [figures["run"] for figures in PredictionTable(self.folder).untold()]
        assert list(dict.fromkeys([*self.heard, *untold])) == said[::-1]

    def teardown(self) -> None:
        try:
            self.patch.undo()
            if self.lines:
                self.finish()
        finally:
            self.scratch.cleanup()

    def finish(self) -> None:
        """A last night that nothing disturbs leaves no URL of the feed without a row."""
        night = self.look(self.new_run(), "1", False)
        withheld.discard(self.folder)
        self.score(night, ["ok"] * 4, False, "", self.model_of(night, ["ok"] * 4))
        assert {url for url, _ in self.on_disk()} == set(self.lines)
        assert self.on_disk() == self.rows
        assert not self.look(self.new_run(), "1", False).targets


TestTables = Tables.TestCase
TestTables.pytestmark = [pytest.mark.timeout(300)]
TestTables.settings = machine_settings(steps=20, share=0.5)


@pytest.mark.faults
class TestTablesAtLength(Tables.TestCase):  # type: ignore[misc]
    """The same by the profile of make test-faults."""

    settings = machine_settings(steps=20, share=0.2)


# What a random search finds by chance alone: runs that die in each of their writes, and what comes just so.

OK, LATER, NOW, LARGE = ["ok"] * 4, ["timeout later"] * 4, ["timeout now"] * 4, ["too_large"] * 4
Step = Callable[[Tables], None]


@contextmanager
def steps(*some: Step) -> Iterator[Tables]:
    """Walk a machine; after each step the table is what the model says."""
    tables = Tables()
    try:
        for step in some:
            walk(tables, step)
        yield tables
    finally:
        tables.teardown()


def walk(tables: Tables, step: Step) -> None:
    step(tables)
    tables.every_reader_sees_the_rows_that_were_committed()


def a_night(
    arrived: int, answers: list[str], gate: str = "", version: str = "1", death: tuple[int, str] | None = None
) -> Step:
    return lambda tables: tables.a_night(arrived, version, answers, False, gate, death)


DYING: dict[str, tuple[list[Step], Callable[[tuple[int, str]], Step]]] = {
    "that asks again": ([a_night(3, NOW), a_night(1, LATER)], lambda death: a_night(1, OK, death=death)),
    "that a key made due": (
        [a_night(2, LARGE), a_night(1, LATER), lambda tables: tables.the_page_has_another_limit(3000)],
        lambda death: a_night(1, OK, death=death),
    ),
    "that finds nothing": ([a_night(1, OK)], lambda death: a_night(0, OK, version="2", death=death)),
    "that takes another's place": (
        [a_night(1, OK), a_night(1, OK, "withhold")],
        lambda death: a_night(1, NOW, "withhold", death=death),
    ),
    "that is accepted": (
        [a_night(2, NOW), a_night(1, OK, "withhold")],
        lambda death: a_night(0, OK, "accept", death=death),
    ),
    "of upkeep": ([a_night(2, OK), a_night(1, OK)], lambda death: lambda tables: tables.upkeep(death)),
    "that tells MLflow": (
        [a_night(1, OK), lambda tables: tables.mlflow_hears_of_the_nights(None), a_night(1, OK)],
        lambda death: lambda tables: tables.mlflow_hears_of_the_nights(death),
    ),
}


@pytest.mark.parametrize("kind", DYING)
def test_a_run_that_dies_in_any_write_is_there_whole_or_not_at_all(kind: str) -> None:
    before, dying = DYING[kind]
    for writes in range(MOST_WRITES):
        with steps(*before) as tables:
            walk(tables, dying((writes, "torn")))  # half of a text is there, and of what can't be halved nothing
            walk(tables, a_night(1, OK))
        if not tables.crasher.deaths:
            assert writes > 0
            return
    pytest.fail(f"a run has more than {MOST_WRITES} writes")


def test_what_the_loser_of_two_nights_has_read_of_the_feed_is_not_written_over_the_winners() -> None:
    with steps(a_night(1, OK), lambda tables: tables.two_nights_at_once(1, 1, OK, "1", "1")) as tables:
        assert tables.marks


@pytest.mark.parametrize(
    "change",
    [
        lambda tables: tables.urls_arrive(1),
        lambda tables: tables.upkeep(None),
        lambda tables: tables.a_night(0, "2", OK, False, "accept", None),
        lambda tables: tables.a_night(0, "1", OK, True, "accept", None),
    ],
    ids=["a URL arrives", "another commit", "another model", "other models' URLs too"],
)
def test_other_work_than_what_is_withheld_is_done_anew(change: Step) -> None:
    with steps(a_night(1, OK), a_night(1, OK), a_night(1, OK, "withhold"), change) as tables:
        walk(tables, a_night(0, NOW, "accept"))


@pytest.mark.parametrize("answers", [LATER, LARGE, ["http_error"] * 4], ids=["pending", "decided", "final"])
def test_a_label_stays_and_is_the_newest_row_where_labelling_it_again_after_a_rollback_fails(
    answers: list[str],
) -> None:
    """A new URL of the same run, whose failure is in the same file, keeps its row."""
    with steps(
        a_night(2, OK),
        lambda tables: tables.a_night(0, "2", OK, True, "", None),
        lambda tables: tables.a_night(1, "1", answers, True, "", None),
    ) as tables:
        found = sorted(opened(tables.folder).to_pyarrow_table().to_pylist(), key=lambda row: row["scored_at"])
        newest = {row["url"][-1]: (row["model_version"], row["status"], row["run_id"]) for row in found}
        assert newest == {
            "0": ("1", "ok", "r1"),
            "1": ("1", "ok", "r1"),
            "2": ("1", answers[0].partition(" ")[0], "r3"),
        }
