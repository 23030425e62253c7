"""The registry and its aliases in any order of promotions, answers and rollbacks, each of which may be cut off.

A job may be killed, or its line to MLflow cut, before or after anything that it says. No alias may then point to
nothing, a model that has had a champion has one, and the same job again finishes what was decided.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from harness.crash import Crasher, KilledError, machine_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from windrow import experiment
from windrow.data.manifest import Manifest
from windrow.errors import TrackingError, UserError
from windrow.selection.promotion_result import PromotionResult
from windrow.selection.rule import Ruling
from windrow.tracking import registry
from windrow.tracking.promotion import Promotion
from windrow.tracking.registry import answer, rollback
from windrow.tracking.server import connect

pytestmark = pytest.mark.mlflow

DATA = Manifest("x", "x", "d", (8, 8, 1), ("0", "1"), {}, {}, {})
RULINGS = st.sampled_from([Ruling.PROMOTED, Ruling.AWAITING_APPROVAL, *Ruling])
HOW = st.sampled_from(["before", "after"]), st.booleans()
CUTS = st.none() | st.tuples(st.integers(0, 7), *HOW)
"""The write at which a job is cut off, and whether it is killed; else its line to MLflow is cut."""


class Registry(RuleBasedStateMachine):
    """Jobs of three studies that promote networks to one model, people who answer, and rollbacks."""

    home: ClassVar[Path]
    models: ClassVar[Iterator[int]]
    writers: ClassVar = (
        *("create_model_version", "delete_model_version", "update_model_version", "set_model_version_tag"),
        *("set_registered_model_alias", "delete_registered_model_alias"),
        *("set_registered_model_tag", "delete_registered_model_tag"),
    )

    def __init__(self) -> None:
        super().__init__()
        from mlflow import MlflowClient

        self.crasher, self.patch = Crasher(), pytest.MonkeyPatch()
        self.patch.setenv("WINDROW_HOME", str(self.home))
        self.patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{self.home}/mlflow.db")
        self.client = connect()
        for name in self.writers:
            self.patch.setattr(MlflowClient, name, self._mortal(getattr(MlflowClient, name)))
        self.model = f"model-{next(self.models)}"
        self.had_champion = False
        self.answered: dict[str, bool] = {}

    def _mortal(self, real: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *given, **named: self.crasher.write(partial(real, *given, **named))

    @initialize()
    def a_model(self) -> None:
        self.client.create_registered_model(self.model)

    @rule(study=st.sampled_from("abc"), ruling=RULINGS, cut=CUTS)
    def a_study_is_promoted(self, study: str, ruling: Ruling, cut: tuple[int, str, bool] | None) -> None:
        before, settled = self.aliases(), self.settled()
        result = self.done(lambda: self.promote(study, ruling), cut)
        if result is None:
            return
        version, after = result["model_version"], self.aliases()
        decided = json.loads(self.version(version).tags[registry.RESULT])
        assert decided["decision"] == result["decision"] == self.version(version).tags[registry.SETTLED]
        if cut is not None:
            return  # it may have been cut off and begun again: what is so then, the invariants say
        if version in settled:
            assert after == before, "a promotion that is decided moves nothing"
        elif result["decision"] == Ruling.PROMOTED:
            self.check_promoted(version, result["champion_before"], before, after)
        else:
            assert after == before | {"challenger": version}

    @rule(data=st.data(), approved=st.booleans(), cut=CUTS)
    @precondition(lambda self: self.versions())
    def a_person_answers(self, data: st.DataObject, approved: bool, cut: tuple[int, str, bool] | None) -> None:
        waiting = [number for number in sorted(self.versions()) if self.waits(number)]
        version = data.draw(st.sampled_from([*waiting, *waiting, *sorted(self.versions())]))
        before, decided = self.aliases(), self.recorded(version)
        settled = version in self.settled()
        result = self.done(lambda: answer(self.model, version, approved, "ada").to_json(), cut)
        if result is None:
            if cut is None:
                assert self.aliases() == before, "an answer that is refused moves nothing"
            return
        assert decided["approval"] is not None
        assert result["promoted"] is approved
        assert self.answered.setdefault(version, approved) is approved, "a person's word is changed by another"
        after = self.aliases()
        if cut is None and settled and decided["decision"] != Ruling.AWAITING_APPROVAL:
            assert after == before, "the same word again moves nothing"
        elif cut is None and approved:
            assert before.get("champion") in (decided["champion_before"], version), "another champion by now"
            self.check_promoted(version, decided["champion_before"], before, after)

    @rule(cut=st.none() | st.tuples(st.integers(0, 3), *HOW))
    def a_rollback(self, cut: tuple[int, str, bool] | None) -> None:
        before = self.aliases()
        begun = json.loads(self.client.get_registered_model(self.model).tags.get(registry._ROLLBACK, "null"))
        result = self.done(lambda: rollback(self.model), cut)
        after = self.aliases()
        if result is None:
            assert cut is not None or (after == before and "previous" not in before)
        elif cut is None:
            left = begun["from"] if begun and before["previous"] == before.get("champion") else before.get("champion")
            assert after.get("champion") == before["previous"]
            assert after.get("previous") == left
            assert after.get("challenger") == before.get("challenger")

    def check_promoted(self, version: str, champion: str | None, before: dict[str, str], after: dict[str, str]) -> None:
        assert after["champion"] == version
        assert after.get("challenger") != version
        if champion not in (None, version):
            assert after["previous"] == champion
        else:
            assert after.get("previous") == before.get("previous")

    def promote(self, study: str, ruling: Ruling) -> dict[str, Any]:
        """As jobs/promote_best.py does it, from a result that might have been."""
        promotion = self.promotion(study)
        with promotion.alone():
            if (decided := promotion.decided()) is not None:
                return decided.to_json()
            promotion._forget_undecided()
            champion = registry.aliased(self.client, self.model, "champion")
            tags = {"windrow.finalists": "key"}
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

    def promotion(self, study: str) -> Promotion:
        page = experiment.parse(
            f"name: a\nspace: {{units: {{type: int, low: 1, high: 2}}}}\npromotion: {{model: {self.model}}}"
        )
        return Promotion(self.client, page, DATA, study, study, "0", "key")

    def done(self, job: Callable[[], dict[str, Any]], cut: tuple[int, str, bool] | None) -> dict[str, Any] | None:
        """A job's result; None where it was refused. One that was cut off is run again, as Airflow does."""
        from mlflow.exceptions import MlflowException

        if cut is not None:
            writes, how, killed = cut
            self.crasher.arm(writes, how, KilledError if killed else partial(MlflowException, "the line was cut"))
        try:
            return job()
        except UserError:
            return None
        except (KilledError, TrackingError):
            assert self.crasher.dead, "it is cut off by nothing"
            self.no_alias_points_to_nothing()
        finally:
            self.crasher.disarm()
        try:
            return job()
        except UserError:
            return None

    def versions(self) -> set[str]:
        return {str(one.version) for one in self.client.search_model_versions(f"name = '{self.model}'")}

    def version(self, number: str) -> Any:
        return self.client.get_model_version(self.model, number)

    def waits(self, number: str) -> bool:
        return bool(self.recorded(number).get("decision") == Ruling.AWAITING_APPROVAL)

    def recorded(self, number: str) -> dict[str, Any]:
        result = registry.recorded(self.version(number))
        return result.to_json() if result else {}

    def settled(self) -> set[str]:
        return {number for number in self.versions() if registry.SETTLED in self.version(number).tags}

    def aliases(self) -> dict[str, str]:
        named = self.client.get_registered_model(self.model).aliases
        return {alias: str(number) for alias, number in named.items()}

    @invariant()
    def no_alias_points_to_nothing(self) -> None:
        if not self.client.search_registered_models(f"name = '{self.model}'"):
            return
        aliases, versions = self.aliases(), self.versions()
        assert set(aliases) <= {"champion", "previous", "challenger"}
        assert set(aliases.values()) <= versions
        assert "champion" in aliases or not self.had_champion, "a champion is gone"
        self.had_champion = "champion" in aliases
        for alias in {"champion", "previous"} & set(aliases):
            result = self.recorded(aliases[alias])
            assert result.get("promoted"), f"{alias} is a version that was never promoted"
        if not self.crasher.dead:
            assert aliases.get("champion", "none") not in (aliases.get("previous"), aliases.get("challenger"))

    def teardown(self) -> None:
        self.patch.undo()


@pytest.fixture
def one_database(tmp_path: Path) -> None:
    """One for all examples, each with a model of its own: to make one takes seconds."""
    Registry.home, Registry.models = tmp_path, itertools.count()


@pytest.mark.usefixtures("one_database")
def test_aliases_hold_whatever_is_cut_off() -> None:
    run_state_machine_as_test(Registry, settings=machine_settings(steps=20, share=0.5))


@pytest.mark.faults
@pytest.mark.usefixtures("one_database")
def test_aliases_hold_whatever_is_cut_off_at_length() -> None:
    run_state_machine_as_test(Registry, settings=machine_settings(steps=20, share=0.3))
