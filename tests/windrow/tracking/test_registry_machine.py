"""The registry and its aliases in any order of promotions, answers, choices and rollbacks, each maybe cut off.

A job may be killed, or its line to MLflow cut, before or after anything that it says; then it is run again, or nobody
does and others come first. No alias may then point to nothing, a model that has had a champion has one, none that was
champion is deleted, and the same job again finishes what was decided.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest
from harness.crash import Crasher, KilledError, machine_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from windrow import experiment
from windrow.data.manifest import Manifest
from windrow.errors import TrackingError, UserError
from windrow.selection.promotion_result import PromotionResult
from windrow.selection.rule import Ruling
from windrow.tracking import registry
from windrow.tracking.promotions.manual import answer, promote, rollback
from windrow.tracking.promotions.promotion import Promotion
from windrow.tracking.server import connect

pytestmark = pytest.mark.mlflow

DATA = Manifest("x", "x", "d", (8, 8, 1), ("0", "1"), {}, {}, {})
RULINGS = st.sampled_from([Ruling.PROMOTED, Ruling.AWAITING_APPROVAL, *Ruling])
MOST_WRITES = 15
"""More than any of the jobs has."""


class Cut(NamedTuple):
    """The write at which a job is cut off, whether it is killed (else its line to MLflow is cut), and is run again."""

    writes: int
    how: str = "before"
    killed: bool = True
    again: bool = True


def cuts(most: int) -> st.SearchStrategy[Cut | None]:
    """Where to cut a job off: nowhere, or at one of its first writes."""
    how, again = st.sampled_from(["before", "after"]), st.sampled_from([True, False])
    return st.none() | st.builds(Cut, st.integers(0, most), how, st.booleans(), again)


class Jobs:
    """Jobs of some studies for a model of their own, any of which may be cut off."""

    home: ClassVar[Path]
    models: ClassVar[Iterator[int]] = itertools.count()
    writers: ClassVar = (
        *("create_model_version", "delete_model_version", "update_model_version", "set_model_version_tag"),
        *("set_registered_model_alias", "delete_registered_model_alias"),
        *("set_registered_model_tag", "delete_registered_model_tag"),
    )

    def __init__(self) -> None:
        from mlflow import MlflowClient

        self.crasher, self.patch = Crasher(), pytest.MonkeyPatch()
        self.patch.setenv("WINDROW_HOME", str(self.home))
        self.patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        self.client = connect()
        for name in self.writers:
            self.patch.setattr(MlflowClient, name, self._mortal(getattr(MlflowClient, name)))
        self.model = f"model-{next(self.models)}"
        self.page = experiment.parse(
            f"name: a\nspace: {{units: {{type: int, low: 1, high: 2}}}}\npromotion: {{model: {self.model}}}"
        )
        self.client.create_registered_model(self.model)
        self._named: dict[str, str] | None = None
        self._known: dict[str, Any] | None = None

    def _mortal(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def write(*given: Any, **named: Any) -> Any:
            self._named = self._known = None
            return self.crasher.write(partial(real, *given, **named))

        return write

    def promotion(self, study: str, key: str = "key") -> Promotion:
        return Promotion(self.client, self.page, DATA, study, study, "0", key)

    def promote(self, study: str, ruling: Ruling, key: str = "key") -> dict[str, Any]:
        """As jobs/promote_best.py does it, from a result that might have been."""
        promotion = self.promotion(study, key)
        with promotion.alone():
            if (decided := promotion.decided()) is not None:
                return decided.to_json()
            promotion._forget_undecided()
            champion = registry.aliased(self.client, self.model, "champion")
            tags = {"windrow.finalists": key}
            version = str(self.client.create_model_version(self.model, "file:///x", study, tags=tags).version)
            result = {
                "model_name": self.model,
                "model_version": version,
                "decision": ruling.value,
                "promoted": ruling is Ruling.PROMOTED,
                "reason": "promoted",
                "approval": "" if ruling is Ruling.AWAITING_APPROVAL else None,
                "champion_before": str(champion.version) if champion else None,
                **{"trial": 1, "point": {}, "objective": "val_accuracy", "val_accuracy": 0.5, "seeds": 1},
                **{"test_images": 9, "evidence": ""},
            }
            self.client.set_model_version_tag(self.model, version, registry.RESULT, json.dumps(result))
            registry.settle(self.client, PromotionResult.from_json(result), "words")
            return result

    def answer(self, version: str, approved: bool) -> dict[str, Any]:
        return answer(self.model, version, approved, "ada").to_json()

    def choose(self, version: str) -> dict[str, Any]:
        return promote(self.model, version, "ada")

    def rollback(self) -> dict[str, Any]:
        return rollback(self.model, "ada")

    def is_cut_off(self, job: Callable[[], dict[str, Any]], cut: Cut) -> bool:
        """Run a job, which may end before the write at which it would be cut off."""
        from mlflow.exceptions import MlflowException

        error = KilledError if cut.killed else partial(MlflowException, "the line was cut")
        self.crasher.arm(cut.writes, cut.how, error)
        try:
            job()
        except (KilledError, TrackingError):
            assert self.crasher.dead, "it is cut off by nothing"
            return True
        finally:
            self.crasher.disarm()
        return False

    def aliases(self) -> dict[str, str]:
        if self._named is None:
            named = self.client.get_registered_model(self.model).aliases
            self._named = {alias: str(number) for alias, number in named.items()}
        return self._named

    def versions(self) -> dict[str, Any]:
        """Every version, with its tags: a search may leave them out."""
        if self._known is None:
            found = [str(one.version) for one in self.client.search_model_versions(f"name = '{self.model}'")]
            self._known = {number: self.client.get_model_version(self.model, number) for number in found}
        return self._known

    def result(self, number: str) -> dict[str, Any]:
        """What is decided of a version; empty before it is."""
        return json.loads(self.versions()[number].tags.get("windrow.result", "{}"))

    def settled(self) -> set[str]:
        """The versions of which all that is decided has been done."""
        tags = {number: version.tags for number, version in self.versions().items()}
        return {
            number for number in tags if tags[number].get("windrow.settled", "") == self.result(number).get("decision")
        }

    def newest(self, study: str) -> str | None:
        """A study's newest version."""
        mine = [int(number) for number, version in self.versions().items() if version.run_id == study]
        return str(max(mine)) if mine else None

    def begun(self) -> dict[str, Any] | None:
        """The rollback that is under way."""
        return json.loads(self.client.get_registered_model(self.model).tags.get("windrow.rollback", "null"))

    def end(self) -> None:
        self.patch.undo()


class Registry(RuleBasedStateMachine):
    """Jobs of three studies that promote networks to one model, people who answer or choose, and rollbacks."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs = Jobs()
        self.champions: set[str] = set()
        self.answered: dict[str, bool] = {}

    @rule(study=st.sampled_from("abc"), ruling=RULINGS, cut=cuts(9))
    def a_study_is_promoted(self, study: str, ruling: Ruling, cut: Cut | None) -> None:
        jobs = self.jobs
        before, settled, newest = jobs.aliases(), jobs.settled(), jobs.newest(study)
        is_decided = newest in settled and not self.waits(newest)
        result = self.done(lambda: jobs.promote(study, ruling), cut)
        if result is None:
            return
        version, after = result["model_version"], jobs.aliases()
        decision = jobs.result(version)["decision"]
        assert version in jobs.settled()
        assert decision == result["decision"]
        assert not is_decided or version == newest, "what is decided is judged anew"
        left = {number for number in jobs.versions() if jobs.versions()[number].run_id == study} - jobs.settled()
        assert not [number for number in left if "promoted" not in jobs.result(number)], "an undecided one is left"
        assert settled <= set(jobs.versions()), "one that was decided and moved is deleted"
        if version in settled:
            assert after == before, "a promotion that is decided moves nothing"
        elif decision == Ruling.PROMOTED:
            self.check_promoted(version, result["champion_before"], before)
        else:
            assert after == before | {"challenger": version}

    @rule(data=st.data(), approved=st.sampled_from([True, True, False]), cut=cuts(8))
    @precondition(lambda self: self.jobs.versions())
    def a_person_answers(self, data: st.DataObject, approved: bool, cut: Cut | None) -> None:
        jobs = self.jobs
        waiting = [number for number in sorted(jobs.versions()) if self.waits(number)]
        version = data.draw(st.sampled_from([*waiting, *waiting, *sorted(jobs.versions())]))
        before, decided, settled = jobs.aliases(), jobs.result(version), jobs.settled()
        result = self.done(lambda: jobs.answer(version, approved), cut)
        if result is None:
            if cut is None:
                assert jobs.aliases() == before, "an answer that is refused moves nothing"
            return
        assert decided["approval"] is not None
        assert result["promoted"] is approved
        assert version in jobs.settled()
        assert self.answered.setdefault(version, approved) is approved, "a person's word is changed by another"
        if version in settled and decided["decision"] != Ruling.AWAITING_APPROVAL:
            assert jobs.aliases() == before, "the same word again moves nothing"
        elif approved:
            assert before.get("champion") in (decided["champion_before"], version), "another champion by now"
            self.check_promoted(version, decided["champion_before"], before)
        else:
            assert jobs.aliases() == before | {"challenger": version}

    @rule(data=st.data(), cut=cuts(8))
    @precondition(lambda self: self.jobs.versions())
    def a_person_chooses(self, data: st.DataObject, cut: Cut | None) -> None:
        jobs = self.jobs
        version = data.draw(st.sampled_from(sorted(jobs.versions())))
        before = jobs.aliases()
        result = self.done(lambda: jobs.choose(version), cut)
        after = jobs.aliases()
        if result is None:
            assert cut is not None or (after == before and (self.waits(version) or not jobs.result(version)))
            return
        assert after["champion"] == version
        assert after.get("challenger") == (None if before.get("challenger") == version else before.get("challenger"))
        if before.get("champion") not in (None, version):
            assert after["previous"] == before["champion"]

    @rule(cut=cuts(5))
    def a_rollback(self, cut: Cut | None) -> None:
        jobs = self.jobs
        before, begun = jobs.aliases(), jobs.begun()
        result = self.done(jobs.rollback, cut)
        after = jobs.aliases()
        if result is None:
            assert cut is not None or (after == before and "previous" not in before)
        elif cut is None or cut[:2] != (5, "after"):  # there it was over, and the next is another rollback
            places = before["previous"], before.get("champion")
            if begun and begun["back"] == places[1] and places[0] in (begun["back"], begun["from"]):
                places = begun["back"], begun["from"]  # one that was cut off
            assert (after.get("champion"), after.get("previous")) == places
            assert after.get("challenger") == before.get("challenger")

    def check_promoted(self, version: str, champion: str | None, before: dict[str, str]) -> None:
        after, challenger = self.jobs.aliases(), before.get("challenger")
        assert after["champion"] == version
        assert after.get("challenger") == (challenger if challenger in {*self.jobs.versions()} - {version} else None)
        if champion not in (None, version):
            assert after["previous"] == champion
        else:
            assert after.get("previous") == before.get("previous")

    def done(self, job: Callable[[], dict[str, Any]], cut: Cut | None) -> dict[str, Any] | None:
        """A job's result; None where it was refused, or was cut off and not run again as Airflow does."""
        try:
            if cut is not None and self.jobs.is_cut_off(job, cut):
                self.no_alias_points_to_nothing()
                if not cut.again:
                    return None
            return job()
        except UserError:
            return None

    def waits(self, number: str | None) -> bool:
        return number is not None and self.jobs.result(number).get("decision") == Ruling.AWAITING_APPROVAL

    @invariant()
    def no_alias_points_to_nothing(self) -> None:
        jobs = self.jobs
        aliases, versions, settled = jobs.aliases(), jobs.versions(), jobs.settled()
        assert set(aliases) <= {"champion", "previous", "challenger"}
        assert set(aliases.values()) <= set(versions)
        assert "champion" in aliases or not self.champions, "a champion is gone"
        begun = jobs.begun()
        for alias in {"champion", "previous"} & set(aliases):
            chosen = "windrow.chosen_by" in versions[aliases[alias]].tags or (begun and begun["back"] == aliases[alias])
            assert chosen or jobs.result(aliases[alias]).get("promoted"), (
                f"{alias} is a version that was never promoted"
            )
        if "champion" in aliases:
            champion = aliases["champion"]
            self.champions.add(champion)
            assert champion != aliases.get("challenger") or champion not in settled
            if champion == aliases.get("previous"):
                assert begun, "champion and previous are one"
                assert begun["back"] == champion
        assert self.champions <= set(versions), "one that has been champion is deleted"

    def teardown(self) -> None:
        self.jobs.end()


@pytest.fixture
def one_database(registry_file: Path) -> None:
    """One for all examples, each with a model of its own: to make one takes seconds."""
    Jobs.home = registry_file.parents[1]


@pytest.fixture
def jobs(one_database: None) -> Iterator[Jobs]:
    """Jobs for a new model."""
    made = Jobs()
    yield made
    made.end()


@pytest.mark.usefixtures("one_database")
def test_aliases_hold_whatever_is_cut_off() -> None:
    run_state_machine_as_test(Registry, settings=machine_settings(steps=20, share=0.4))


@pytest.mark.faults
@pytest.mark.usefixtures("one_database")
def test_aliases_hold_whatever_is_cut_off_at_length() -> None:
    run_state_machine_as_test(Registry, settings=machine_settings(steps=20, share=0.3))


# What a random search finds by chance alone: each job, cut off at each of its writes, and what comes just so.


def at_each_write(prepared: Callable[[Jobs], Callable[[], dict[str, Any]]]) -> Iterator[tuple[Jobs, dict[str, Any]]]:
    """A job that was cut off before each of its writes in turn, and what it gave when it was run again."""
    for writes in range(MOST_WRITES):
        jobs = Jobs()
        try:
            job = prepared(jobs)
            if not jobs.is_cut_off(job, Cut(writes)):
                assert writes > 0
                return
            yield jobs, job()
        finally:
            jobs.end()
    pytest.fail(f"a job has more than {MOST_WRITES} writes")


@pytest.mark.usefixtures("one_database")
def test_a_promotion_cut_off_anywhere_is_finished_by_the_next() -> None:
    def prepared(jobs: Jobs) -> Callable[[], dict[str, Any]]:
        jobs.promote("a", Ruling.PROMOTED)
        return lambda: jobs.promote("b", Ruling.PROMOTED)

    for jobs, result in at_each_write(prepared):
        version = result["model_version"]
        assert jobs.aliases() == {"champion": version, "previous": "1"}
        assert set(jobs.versions()) == {"1", version}, "a version is left that nobody can use"
        assert jobs.settled() == {"1", version}


@pytest.mark.usefixtures("one_database")
def test_an_approval_cut_off_anywhere_is_finished_by_the_next() -> None:
    def prepared(jobs: Jobs) -> Callable[[], dict[str, Any]]:
        jobs.promote("a", Ruling.PROMOTED)
        jobs.promote("b", Ruling.AWAITING_APPROVAL)
        assert jobs.aliases() == {"champion": "1", "challenger": "2"}
        return lambda: jobs.answer("2", True)

    for jobs, _ in at_each_write(prepared):
        assert jobs.aliases() == {"champion": "2", "previous": "1"}
        assert jobs.settled() == {"1", "2"}
        assert jobs.versions()["2"].tags["windrow.approval_by"] == "ada"


@pytest.mark.usefixtures("one_database")
def test_a_rollback_cut_off_anywhere_is_finished_by_the_next() -> None:
    def prepared(jobs: Jobs) -> Callable[[], dict[str, Any]]:
        jobs.promote("a", Ruling.PROMOTED)
        jobs.promote("b", Ruling.PROMOTED)
        return jobs.rollback

    for jobs, _ in at_each_write(prepared):
        assert jobs.aliases() == {"champion": "1", "previous": "2"}
        assert jobs.begun() is None
        assert jobs.versions()["1"].tags["windrow.chosen_by"] == "ada"


@pytest.mark.usefixtures("one_database")
def test_a_choice_cut_off_anywhere_is_finished_by_the_next() -> None:
    def prepared(jobs: Jobs) -> Callable[[], dict[str, Any]]:
        jobs.promote("a", Ruling.PROMOTED)
        jobs.promote("b", Ruling.PROMOTED)
        jobs.promote("c", Ruling.KEPT)
        return lambda: jobs.choose("3")

    for jobs, result in at_each_write(prepared):
        assert jobs.aliases() == {"champion": "3", "previous": "2"}
        assert jobs.begun() is None
        assert jobs.versions()["3"].tags["windrow.chosen_by"] == "ada"
        assert result["model_version"] == "3"


@pytest.mark.parametrize("chosen", ["1", "3"])
def test_a_change_that_was_cut_off_before_it_came_leaves_no_name_on_the_version(jobs: Jobs, chosen: str) -> None:
    jobs.promote("a", Ruling.PROMOTED)
    jobs.promote("b", Ruling.PROMOTED)
    jobs.promote("c", Ruling.KEPT)
    change = jobs.rollback if chosen == "1" else partial(jobs.choose, chosen)
    for writes in range(MOST_WRITES):
        assert jobs.is_cut_off(change, Cut(writes))
        if jobs.aliases()["champion"] == chosen:
            break
        version = jobs.versions()[chosen]
        assert "windrow.chosen_by" not in version.tags
        assert not version.description.startswith("Made champion")
    assert (jobs.begun() or {})["by"] == "ada"
    change()
    assert jobs.versions()[chosen].description.startswith("Made champion by ada")
    assert jobs.versions()[chosen].description.partition("\n")[0].endswith("in place of version 2.")


def test_a_choice_over_a_rollback_that_was_cut_off_counts(jobs: Jobs) -> None:
    jobs.promote("a", Ruling.PROMOTED)
    jobs.promote("b", Ruling.PROMOTED)
    assert jobs.is_cut_off(jobs.rollback, Cut(4))
    assert jobs.aliases() == {"champion": "1", "previous": "1"}
    assert jobs.choose("2")["promoted"]
    assert jobs.aliases() == {"champion": "2", "previous": "1"}


def test_a_version_that_waits_for_an_answer_is_not_chosen_past_it(jobs: Jobs) -> None:
    jobs.promote("a", Ruling.AWAITING_APPROVAL)
    with pytest.raises(UserError, match="awaits approval; run --approve 1 or --reject 1"):
        jobs.choose("1")
    with pytest.raises(UserError, match="must have the version '9' in the registry"):
        jobs.choose("9")
    assert jobs.aliases() == {"challenger": "1"}


@pytest.mark.usefixtures("one_database")
def test_a_version_that_waits_over_a_champion_of_the_past_is_chosen_wherever_it_is_cut_off() -> None:
    def prepared(jobs: Jobs) -> Callable[[], dict[str, Any]]:
        jobs.promote("a", Ruling.PROMOTED)
        jobs.promote("b", Ruling.AWAITING_APPROVAL)
        jobs.promote("c", Ruling.PROMOTED)
        with pytest.raises(UserError, match=r"it has changed; .* or with --promote 2"):
            jobs.answer("2", True)
        return lambda: jobs.choose("2")

    for jobs, result in at_each_write(prepared):
        assert result["promoted"]
        assert jobs.result("2")["reason"].endswith("approved by ada")
        assert jobs.versions()["2"].tags["windrow.approval"] == "approved"
        assert jobs.answer("2", True)["promoted"]
        assert jobs.promote("b", Ruling.KEPT)["model_version"] == "2"
        assert jobs.aliases() == {"champion": "2", "previous": "3"}, "the champion of now is the previous one"


def test_a_promotion_that_was_cut_off_after_a_rollback_that_was_is_no_mistake(jobs: Jobs) -> None:
    """The rollback that is begun is of other versions by then."""
    jobs.promote("a", Ruling.PROMOTED)
    jobs.promote("b", Ruling.PROMOTED)
    assert jobs.is_cut_off(jobs.rollback, Cut(4))
    assert jobs.aliases() == {"champion": "1", "previous": "1"}
    jobs.promote("c", Ruling.PROMOTED)
    assert jobs.aliases() == {"champion": "3", "previous": "1"}
    jobs.rollback()
    assert jobs.aliases() == {"champion": "1", "previous": "3"}


def test_a_rollback_after_one_that_was_cut_off_at_its_end_is_of_todays_champion(jobs: Jobs) -> None:
    jobs.promote("a", Ruling.PROMOTED)
    jobs.promote("b", Ruling.PROMOTED)
    assert jobs.is_cut_off(jobs.rollback, Cut(5))
    assert jobs.is_cut_off(lambda: jobs.promote("c", Ruling.PROMOTED), Cut(5))
    assert jobs.aliases() == {"champion": "3", "previous": "2"}
    jobs.rollback()
    assert jobs.aliases() == {"champion": "2", "previous": "3"}


def test_of_two_decisions_about_the_same_finalists_the_newer_one_counts(jobs: Jobs) -> None:
    jobs.promote("a", Ruling.PROMOTED)
    jobs.promote("b", Ruling.AWAITING_APPROVAL)
    jobs.promote("c", Ruling.PROMOTED)
    assert jobs.promote("b", Ruling.KEPT)["model_version"] == "4"
    jobs.rollback()
    assert jobs.promote("b", Ruling.KEPT)["model_version"] == "4"


def test_a_version_compared_with_a_champion_of_the_past_is_not_promoted_and_stays_on_record(jobs: Jobs) -> None:
    jobs.promote("a", Ruling.PROMOTED)
    jobs.promote("b", Ruling.AWAITING_APPROVAL)
    jobs.promote("c", Ruling.PROMOTED)
    with pytest.raises(UserError, match="it has changed"):
        jobs.answer("2", True)
    assert jobs.promote("b", Ruling.KEPT)["model_version"] == "4"
    assert jobs.aliases() == {"champion": "3", "previous": "1", "challenger": "4"}
    assert set(jobs.versions()) == {"1", "2", "3", "4"}


def test_a_persons_word_again_moves_nothing_and_another_word_is_refused(jobs: Jobs) -> None:
    jobs.promote("a", Ruling.AWAITING_APPROVAL)
    jobs.answer("1", True)
    jobs.promote("b", Ruling.PROMOTED)
    assert jobs.answer("1", True)["promoted"]
    with pytest.raises(UserError, match="must still await approval"):
        jobs.answer("1", False)
    assert jobs.aliases() == {"champion": "2", "previous": "1"}


def test_an_approval_that_was_cut_off_moves_nothing_once_another_is_champion(jobs: Jobs) -> None:
    jobs.promote("a", Ruling.PROMOTED)
    jobs.promote("b", Ruling.AWAITING_APPROVAL)
    assert jobs.is_cut_off(lambda: jobs.answer("2", True), Cut(1))
    assert jobs.result("2")["promoted"]
    jobs.promote("c", Ruling.PROMOTED)
    with pytest.raises(UserError, match="it has changed"):
        jobs.answer("2", True)
    assert jobs.aliases() == {"champion": "3", "previous": "1", "challenger": "2"}


def test_a_promotion_that_was_cut_off_does_not_count_once_another_is_champion(jobs: Jobs) -> None:
    jobs.promote("a", Ruling.PROMOTED)
    assert jobs.is_cut_off(lambda: jobs.promote("b", Ruling.PROMOTED), Cut(2))
    jobs.promote("c", Ruling.PROMOTED)
    assert jobs.promote("b", Ruling.KEPT)["model_version"] == "4"
    assert jobs.aliases() == {"champion": "3", "previous": "1", "challenger": "4"}


def test_a_promotion_over_one_that_was_cut_off_is_finished_whoever_comes_between(jobs: Jobs) -> None:
    """Both were cut off when champion had moved; the first one's study is judged anew, and its version stays."""
    jobs.promote("a", Ruling.PROMOTED)
    assert jobs.is_cut_off(lambda: jobs.promote("b", Ruling.PROMOTED), Cut(5))
    assert jobs.is_cut_off(lambda: jobs.promote("c", Ruling.PROMOTED), Cut(5))
    assert jobs.aliases() == {"champion": "3"}
    jobs.promote("b", Ruling.KEPT)
    jobs.promote("c", Ruling.PROMOTED)
    assert jobs.aliases() == {"champion": "3", "previous": "2", "challenger": "4"}


def test_a_rollback_from_one_that_was_cut_off_is_finished_whoever_comes_between(jobs: Jobs) -> None:
    jobs.promote("a", Ruling.PROMOTED)
    jobs.promote("b", Ruling.PROMOTED)
    assert jobs.is_cut_off(lambda: jobs.promote("c", Ruling.PROMOTED), Cut(5))
    assert jobs.aliases() == {"champion": "3", "previous": "1"}
    assert jobs.is_cut_off(jobs.rollback, Cut(4))
    jobs.promote("c", Ruling.KEPT)
    jobs.rollback()
    assert jobs.aliases() == {"champion": "1", "previous": "3", "challenger": "4"}


@pytest.mark.parametrize("alias", ["champion", "previous"])
def test_a_version_that_a_person_has_given_an_alias_is_not_deleted_as_undecided(jobs: Jobs, alias: str) -> None:
    assert jobs.is_cut_off(lambda: jobs.promote("a", Ruling.PROMOTED), Cut(1))
    jobs.client.set_registered_model_alias(jobs.model, alias, "1")
    assert jobs.promote("a", Ruling.KEPT)["model_version"] == "2"
    assert jobs.aliases() == {alias: "1", "challenger": "2"}


def test_a_challenger_that_was_cut_off_and_is_judged_anew_is_deleted(jobs: Jobs) -> None:
    assert jobs.is_cut_off(lambda: jobs.promote("a", Ruling.KEPT), Cut(2))
    jobs.promote("b", Ruling.PROMOTED)
    assert jobs.promote("a", Ruling.KEPT)["model_version"] == "3"
    assert set(jobs.versions()) == {"2", "3"}


def test_what_is_decided_is_repeated_though_another_is_champion_by_now(jobs: Jobs) -> None:
    jobs.promote("a", Ruling.PROMOTED)
    jobs.promote("b", Ruling.PROMOTED)
    jobs.promote("c", Ruling.PROMOTED)
    assert [jobs.promote(study, Ruling.KEPT)["model_version"] for study in "ab"] == ["1", "2"]
    assert jobs.aliases() == {"champion": "3", "previous": "2"}


def test_other_finalists_of_a_study_are_judged_anew(jobs: Jobs) -> None:
    jobs.promote("a", Ruling.PROMOTED)
    assert jobs.promote("a", Ruling.KEPT, key="others")["model_version"] == "2"
    assert [jobs.promote("a", Ruling.KEPT, key)["model_version"] for key in ("key", "others")] == ["1", "2"]
    assert jobs.aliases() == {"champion": "1", "challenger": "2"}
