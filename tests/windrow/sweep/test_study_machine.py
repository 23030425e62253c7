"""A study with its ledger and its journal, in any order of asking, settling and dying, against plain dictionaries.

A driver may die before or after each write, and in the middle of a line of the journal. What it had said before must be
there afterwards, and what it was about to say must be there whole or not at all.
"""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from harness.crash import Crasher, KilledError, machine_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from windrow.experiment import Experiment, parse
from windrow.sweep import study_folder
from windrow.sweep.audit import audit, read_books
from windrow.sweep.ledger import Entry, Lease, Ledger
from windrow.sweep.outcomes import RULES, Ending, Outcome
from windrow.sweep.study import Study, open_study
from windrow.training.loop import Epoch

SPACES = {
    "wide": "{learning_rate: {type: float, low: 1e-4, high: 1e-1, log: true}, units: {type: int, low: 16, high: 128}}",
    "small": "{units: {type: int, low: 8, high: 16, step: 4}, batch_norm: {type: categorical, choices: [true, false]}}",
}
PAGES = (
    ("wide", "random", "none", False),
    ("wide", "random", "asha", False),
    ("wide", "random", "none", True),
    ("small", "random", "none", True),
    ("small", "random", "asha", False),
    ("small", "grid", "none", False),
)
GENERATION = 3
MOST_WRITES = 90
"""More than a short study has."""
ENDINGS = st.sampled_from([Ending.OK, Ending.OK, Ending.LOST, Ending.LOST, *Ending])
Given = TypeVar("Given")


@dataclass
class Model:
    """What is true of a study: points and ends by trial, and of each lease whether it counts."""

    points: dict[int, dict[str, Any]] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)
    open: dict[int, str] = field(default_factory=dict)
    lost: Counter[int] = field(default_factory=Counter)
    ended: dict[int, tuple[Ending, float | None, str]] = field(default_factory=dict)

    def counts(self, lease: str) -> bool:
        asked = self.leases.get(lease)
        return asked is not None and self.open.get(asked.number) == lease

    def settle(self, outcome: Outcome) -> None:
        del self.open[outcome.number]
        if outcome.ending is Ending.LOST:
            self.lost[outcome.number] += 1
        if outcome.ending is not Ending.LOST or self.lost[outcome.number] == RULES[Ending.LOST].attempts:
            self.ended[outcome.number] = outcome.ending, outcome.value, outcome.lease


class Books(RuleBasedStateMachine):
    """Drivers of one study, one after the other; the one at work may die in any write."""

    def __init__(self) -> None:
        super().__init__()
        self.scratch = tempfile.TemporaryDirectory()
        self.folder = Path(self.scratch.name) / "study"
        self.crasher = Crasher()
        self.patch = pytest.MonkeyPatch()
        self.connections: list[sqlite3.Connection] = []
        self.model = Model()
        self.trials = 6
        self.kind = PAGES[0]
        self.driver: AbstractContextManager[Study] | None = None
        self._watch_the_writes()

    def _watch_the_writes(self) -> None:
        from optuna.storages.journal import JournalFileBackend

        connect, append, write = sqlite3.connect, JournalFileBackend.append_logs, study_folder.write_json
        crasher, connections = self.crasher, self.connections

        class Watched(sqlite3.Connection):
            def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:  # type: ignore[override]
                if statement.split()[0] not in ("INSERT", "UPDATE", "BEGIN", "COMMIT"):
                    return super().execute(statement, *values)
                return crasher.write(lambda: super(Watched, self).execute(statement, *values))

        def connected(*arguments: Any, **options: Any) -> sqlite3.Connection:
            connections.append(connect(*arguments, factory=Watched, **options))
            return connections[-1]

        def appended(journal: Any, logs: list[dict[str, Any]]) -> None:
            def torn() -> None:
                text = "\n".join(json.dumps(log, separators=(",", ":")) for log in logs)
                with Path(journal._file_path).open("a") as file:
                    file.write(text[: len(text) // 2])

            crasher.write(lambda: append(journal, logs), torn)

        self.patch.setattr(os, "fsync", lambda _: None)  # a process dies here, and not the machine
        self.patch.setattr(sqlite3, "connect", connected)
        self.patch.setattr(JournalFileBackend, "append_logs", appended)
        self.patch.setattr(study_folder, "write_json", lambda *what: crasher.write(lambda: write(*what)))

    def page(self) -> Experiment:
        space, sampler, pruner, deterministic = self.kind
        return parse(
            f"name: a\nspace: {SPACES[space]}\nsweep: {{trials: {self.trials}, sampler: {sampler}, pruner: {pruner}, "
            f"deterministic: {str(deterministic).lower()}, generation: {GENERATION}}}\n"
        )

    @initialize(kind=st.sampled_from(PAGES))
    def begin(self, kind: tuple[str, str, str, bool]) -> None:
        self.kind = kind
        self.reopen()

    @rule(writes=st.integers(0, 6), how=st.sampled_from(["before", "after", "torn"]))
    def the_driver_will_die_in_a_write(self, writes: int, how: str) -> None:
        self.crasher.arm(writes, how)

    @rule(more=st.integers(0, 3))
    def the_study_is_opened_again(self, more: int) -> None:
        self.trials += more
        self.reopen()

    @rule(slots=st.integers(1, 4))
    def free_slots_ask_for_trials(self, slots: int) -> None:
        for _ in range(slots):
            deaths = self.crasher.deaths
            asked = self.does(lambda study: study.ask())
            if asked is not None:
                self.check_asked(asked)
            elif self.crasher.deaths == deaths:
                left = set(self.model.points) - set(self.model.ended) - set(self.model.open)
                assert not left, f"trials {left} wait, and are not asked"

    @precondition(lambda self: self.model.open)
    @rule(data=st.data(), ending=ENDINGS, value=st.floats(0, 1), epochs=st.integers(0, 2))
    def an_attempt_ends(self, data: st.DataObject, ending: Ending, value: float, epochs: int) -> None:
        lease = data.draw(st.sampled_from(list(self.model.open.values())))
        self.settle(lease, ending, value, epochs)

    @precondition(lambda self: self.model.open)
    @rule(data=st.data(), ending=ENDINGS, writes=st.integers(0, 3), how=st.sampled_from(["before", "after", "torn"]))
    def the_driver_dies_while_an_attempt_ends(self, data: st.DataObject, ending: Ending, writes: int, how: str) -> None:
        self.crasher.arm(writes, how)
        self.settle(data.draw(st.sampled_from(list(self.model.open.values()))), ending, 0.25, 1)

    @precondition(lambda self: self.model.leases)
    @rule(data=st.data(), ending=ENDINGS)
    def an_outcome_comes_late_or_twice(self, data: st.DataObject, ending: Ending) -> None:
        """Of any lease that was ever handed out: of workers that were given up, and of killed drivers' ones."""
        self.settle(data.draw(st.sampled_from(list(self.model.leases))), ending, 0.125, 1)

    @precondition(lambda self: self.model.leases)
    @rule(data=st.data())
    def an_attempt_is_given_back(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(list(self.model.leases)))
        asked = self.model.leases[lease]
        if self.does(lambda study: study.give_back(asked) or True) and self.model.counts(lease):
            del self.model.open[asked.number]

    @precondition(lambda self: self.model.open)
    @rule(data=st.data(), epoch=st.integers(1, 5), value=st.floats(0, 1))
    def an_epoch_is_heard_of(self, data: st.DataObject, epoch: int, value: float) -> None:
        number = data.draw(st.sampled_from(sorted(self.model.open)))
        stop = self.does(lambda study: study.report(number, epoch, Epoch(1.0, 0.5, 1.0, value, 0.1)))
        assert not (stop and self.kind[2] == "none")

    def settle(self, lease: str, ending: Ending, value: float, epochs: int) -> None:
        asked, model = self.model.leases[lease], self.model
        outcome = Outcome(
            asked.number,
            asked.attempt,
            ending,
            value if ending is Ending.OK else None,
            tuple(Epoch(1.0, 0.5, 1.0, value, 0.1) for _ in range(epochs)),
            lease=lease,
        )
        counts, before = model.counts(lease), len(model.ended)
        with self.a_death_may_have_come_after(lambda: self.settled_on_disk(lease), outcome, counts):
            entry = self.does(lambda study: (study.settle(outcome),), dies=True)[0]
            assert (entry is not None) == counts, f"{lease} of trial {asked.number} counts: {counts}"
            if counts:
                model.settle(outcome)
                assert (entry.outcome is not None) == (len(model.ended) > before)

    @contextmanager
    def a_death_may_have_come_after(
        self, on_disk: Callable[[], bool], outcome: Outcome, counts: bool
    ) -> Iterator[None]:
        """Where the driver dies in a call, its word is on the disk whole, or not at all."""
        try:
            yield
        except KilledError:
            self.put_down()
            if on_disk():
                if counts:
                    self.model.settle(outcome)
            else:
                assert not counts or outcome.number not in self.model.ended
            self.reopen()

    def settled_on_disk(self, lease: str) -> bool:
        return self.rows("SELECT count(*) FROM attempts WHERE lease = ? AND state = 'settled'", lease)[0][0] == 1

    def does(self, what: Callable[[Study], Given], dies: bool = False) -> Given | Any:
        """Do something with the study; None where the driver died meanwhile, and another was started."""
        try:
            return what(self.study)
        except KilledError:
            if dies:
                raise
            self.reopen()
            return None

    def check_asked(self, asked: Lease) -> None:
        model, number = self.model, asked.number
        assert number not in model.ended, f"trial {number} has ended and is asked again"
        assert number not in model.open, f"trial {number} is under way and is asked again"
        assert asked.token not in model.leases
        if number not in model.points:
            assert number == len(model.points)
            assert self.kind[1] != "grid" or asked.point not in model.points.values()
        assert model.points.setdefault(number, asked.point) == asked.point, f"trial {number} has another point"
        if self.kind[3]:
            first = number // GENERATION * GENERATION
            assert all(other in model.ended for other in range(first)), f"trial {number} before its generation"
        assert len(model.points) <= self.trials
        model.leases[asked.token], model.open[number] = asked, asked.token

    def put_down(self) -> None:
        """A process that is gone holds no lock, and its transaction is rolled back."""
        for connection in self.connections:
            connection.close()
        self.connections.clear()
        if self.driver is not None:
            self.driver.__exit__(None, None, None)
        self.driver = None
        self.crasher.disarm()

    def reopen(self) -> None:
        """Another driver; it may die while it opens, and then there is another one. What was open counts no longer."""
        armed = self.crasher.armed if self.driver is None or not self.crasher.dead else None
        self.put_down()
        if armed is not None:
            self.crasher.arm(*armed)
        while True:
            self.driver = open_study(self.folder, self.page(), "data")
            try:
                self.study = self.driver.__enter__()
                break
            except KilledError:
                self.driver = None
                self.put_down()
        self.model.open.clear()
        for entry in self.study.entries():  # drawn, and not handed out before the death
            point = self.model.points.setdefault(entry.number, entry.point)
            assert point == entry.point, f"trial {entry.number} has another point"
        assert len(self.study.entries()) == len(self.model.points)
        self.check_journal()

    def on_disk(self) -> list[Entry]:
        book = Ledger(self.folder, reading=True)
        book.close()
        return book.entries()

    def rows(self, query: str, *values: Any) -> list[Any]:
        book = sqlite3.Connection(self.folder / "ledger.db")
        try:
            return book.execute(query, values).fetchall()
        finally:
            book.close()

    @invariant()
    def the_ledger_is_what_happened(self) -> None:
        if self.driver is None:
            return
        entries = self.on_disk()
        remembered = [(entry.number, entry.point, entry.outcome) for entry in self.study.entries()]
        assert remembered == [(entry.number, entry.point, entry.outcome) for entry in entries]
        assert [entry.number for entry in entries] == list(range(len(entries)))
        ended = {
            entry.number: (entry.outcome.ending, entry.outcome.value, entry.outcome.lease)
            for entry in entries
            if entry.outcome is not None
        }
        assert ended == self.model.ended
        assert self.study.endings == Counter(ending for ending, *_ in ended.values())
        values = [(-value, number) for number, (_, value, _) in ended.items() if value is not None]
        assert (self.study.best and self.study.best.number) == (min(values)[1] if values else None)
        opened = self.rows("SELECT trial, lease FROM attempts WHERE state = 'open'")
        assert dict(opened) == self.model.open

    def check_journal(self) -> None:
        """The sampler hears of each trial once, and the two books agree. Looked at whenever a driver begins or ends."""
        lines = [json.loads(line) for line in (self.folder / "journal.log").read_text().splitlines()]
        ends = Counter(line["trial_id"] for line in lines if line["op_code"] == 6 and line["state"] > 0)
        assert max(ends.values(), default=1) == 1
        for entry in self.on_disk():
            if entry.number not in self.model.ended:
                assert not entry.told
            elif not self.kind[3]:
                assert entry.told, f"the sampler was not told of trial {entry.number}"
        books = read_books(self.folder)
        assert audit(books) == []
        points = list(self.model.points.values())
        drawn = [trial.params for trial in books.journal.values() if trial.params and trial.state.name != "FAIL"]
        assert all(point in points for point in drawn), "a point was drawn and is lost"

    def teardown(self) -> None:
        self.crasher.disarm()
        try:
            if self.driver is not None:
                self.finish()
        finally:
            self.put_down()
            self.patch.undo()
            self.scratch.cleanup()

    def finish(self) -> None:
        """Without any more deaths a study comes to its end, whatever was before."""
        for number in list(self.model.open):
            self.study.give_back(self.model.leases[self.model.open.pop(number)])
        while (asked := self.study.ask()) is not None:
            self.check_asked(asked)
            self.settle(asked.token, Ending.OK, 0.5, 1)
        assert len(self.model.ended) == self.study.budget or self.study._optuna.exhausted
        assert all(entry.told for entry in self.on_disk())
        self.check_journal()


TestBooks = Books.TestCase
TestBooks.pytestmark = [pytest.mark.timeout(300)]
TestBooks.settings = machine_settings(steps=40, share=2)


@pytest.mark.faults
class TestBooksAtLength(Books.TestCase):  # type: ignore[misc]
    """The same by the profile of make test-faults."""

    settings = machine_settings(steps=40)


# What a random search finds by chance alone: a driver that dies in each of its writes.


def a_short_study(books: Books, ending: Ending) -> Iterator[None]:
    """Trials that are asked for, given back, lost and ended, as far as no death came between; a step at a time."""
    books.free_slots_ask_for_trials(3)
    yield
    for number, how in ((0, Ending.LOST), (1, ending), (0, ending), (2, Ending.OK)):
        if number in books.model.open:
            books.settle(books.model.open[number], how, 0.5, 1)
            yield
    books.free_slots_ask_for_trials(2)
    yield
    books.reopen()
    yield
    books.free_slots_ask_for_trials(2)
    yield


@pytest.mark.parametrize("ending", [Ending.OK, Ending.PRUNED, Ending.FAILED])
@pytest.mark.parametrize("kind", [PAGES[0], PAGES[2]], ids=["by itself", "deterministic"])
def test_a_driver_that_dies_in_any_write_loses_nothing(kind: tuple[str, str, str, bool], ending: Ending) -> None:
    for writes in range(MOST_WRITES):
        books = Books()
        try:
            books.begin(kind)
            books.crasher.arm(writes, "torn")
            for _ in a_short_study(books, ending):
                books.the_ledger_is_what_happened()
        finally:
            books.teardown()
        if not books.crasher.deaths:
            assert writes > 0
            return
    pytest.fail(f"a short study has more than {MOST_WRITES} writes")
