"""What promote_best.py decides, says and moves: real networks and a real MLflow, read out in this process."""

from __future__ import annotations

import getpass
import json
import re
import shutil
import sqlite3
import sys
import urllib.request
import zipfile
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import promote_best
import pytest
from harness.jobs import run_main, serving
from harness.web import Line
from windrow.data import manifest, shards
from windrow.data.splits import StoredFit
from windrow.errors import DatasetError, TrackingError, UserError
from windrow.experiment import parse
from windrow.selection import common_images, finalists
from windrow.selection.ranking import contest
from windrow.selection.readout import Readout, readout
from windrow.sweep import trial
from windrow.sweep.outcomes import Outcome
from windrow.sweep.study import open_study, read_study
from windrow.tracking.models import fetch_model
from windrow.tracking.promotions.manual import answer as record_answer
from windrow.tracking.promotions.manual import rollback
from windrow.tracking.promotions.promotion import open_promotion
from windrow.tracking.registry import logged_model
from windrow.tracking.server import connect
from windrow.training.networks import Builder
from windrow.training.runtime import from_bytes, weights_digest

pytestmark = [pytest.mark.tensorflow, pytest.mark.mlflow]

PAGE = """
name: digits
description: Digits.
network: {{parameters: {{learning_rate: {rate}}}}}
space: {{units: {{type: int, low: 16, high: 17}}}}
sweep: {{trials: 2, epochs: {epochs}, seed: {seed}}}
promotion: {{finalists: 1, seeds: 2}}
"""
WEAK, STRONG = 3, 12  # epochs
RATE, NO_RATE = 1e-3, 1e-8  # at the second one, a network learns nothing


def answer(model: str, version: str, approved: bool, by: str) -> dict[str, Any]:
    """A person's answer, as the job's result has it."""
    return record_answer(model, version, approved, by).to_json()


class Judged:
    """A study of two trials, and everything that judging its finalists takes. Nothing is trained until it is needed."""

    def __init__(
        self, folder: Path, dataset: Path, client: Any, experiment: str, epochs: int, seed: int, rate: float
    ) -> None:
        self.page = parse(PAGE.format(epochs=epochs, seed=seed, rate=rate))
        self.data, self.folder = manifest.read(dataset), dataset
        with open_study(folder, self.page, self.data.digest) as study:
            while (asked := study.ask()) is not None:
                value = 0.5 + asked.number / 10  # the default configuration is not the best
                study.settle(Outcome(asked.number, asked.attempt, trial.Ending.OK, value, lease=asked.token))
            study.remember(run_id=client.create_run(experiment).info.run_id, experiment_id=experiment)
        self.study = read_study(folder, self.page, self.data.digest)
        self.scored: dict[str, bytes] = {}

    @cached_property
    def final(self) -> finalists.Final:
        """The finalists, trained."""
        best, default = finalists.best(self.page, self.study), finalists.default(self.study)
        specs = finalists.specs(self.page, Builder("dense"), self.data, [*best, *default])
        return contest.rank(self.page, best, default, [trial.run(spec, self.folder) for spec in specs])

    def promote(self, objective: str = "val_accuracy", **rule: object) -> dict[str, Any]:
        """Judge as the job does, or repeat what is decided."""
        sweep = self.page.sweep.model_copy(update={"objective": objective})
        page = self.page.model_copy(update={"promotion": self.page.promotion.model_copy(update=rule), "sweep": sweep})
        promotion = open_promotion(page, self.data, self.study, [self.final.winner.trial.number])
        return promote_best.judge(self.read, page, self.folder, self.final, promotion)

    def read(
        self, networks: Mapping[str, bytes], truths: Mapping[str, np.ndarray], fits: Mapping[str, StoredFit]
    ) -> dict[str, Readout]:
        assert set(fits.values()) == {"main"}, "this data set holds its images once"
        self.scored = dict(networks)
        own = {name: truth.tobytes() for name, truth in truths.items()}
        return {name: _read_once(network, self.folder, own.get(name)) for name, network in networks.items()}


@cache
def _read_once(network: bytes, folder: Path, truth: bytes | None) -> Readout:
    return readout(network, folder, 1, None if truth is None else np.frombuffer(truth, np.int64))


class Registry:
    """An embedded registry of one model, digits, in states that are made once and come back whenever they are asked.

    Attributes:
        weak, strong, weaker, stronger, guessing: studies that were told to it; the third and the fourth have another
            seed, and the networks of the last one learn nothing.
        results: what the promotions gave that lead to a state.
    """

    def __init__(self, home: Path, dataset: Path) -> None:
        self.home, self.client = home, connect()
        where = (home / "mlflow" / "artifacts" / "digits").as_uri()
        experiment = self.client.create_experiment("digits", artifact_location=where)
        self.weak, self.strong, self.weaker, self.stronger, self.guessing = (
            Judged(home / f"study-{epochs}-{seed}-{rate}", dataset, self.client, experiment, epochs, seed, rate)
            for epochs, seed, rate in (
                *((WEAK, 0, RATE), (STRONG, 0, RATE), (WEAK, 1, RATE), (STRONG, 1, RATE), (WEAK, 0, NO_RATE)),
            )
        )
        self.results: dict[str, dict[str, Any]] = {}
        self._copy(self._file, home / "nothing.db")

    def nothing(self) -> None:
        """Nobody promoted anything."""
        self._bring_back("nothing", self.nothing, lambda: {})

    def weak_champion(self) -> dict[str, Any]:
        """Version 1 is champion, after one epoch."""
        return self._bring_back("weak", self.nothing, self.weak.promote)

    def strong_champion(self) -> dict[str, Any]:
        """Version 1 is champion, after twelve."""
        return self._bring_back("strong", self.nothing, self.strong.promote)

    def strong_after_weak(self) -> dict[str, Any]:
        """Version 2 is champion, version 1 was it before."""
        return self._bring_back("after", self.weak_champion, self.strong.promote)

    def strong_waits(self) -> dict[str, Any]:
        """Version 1 is champion, version 2 is better and waits for a person."""
        return self._bring_back("waits", self.weak_champion, lambda: self.strong.promote(approval=True))

    @property
    def _file(self) -> Path:
        return self.home / "mlflow" / "mlflow.db"

    def _bring_back(
        self, state: str, before: Callable[[], object], make: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        kept = self.home / f"{state}.db"
        if kept.exists():
            self._copy(kept, self._file)
        else:
            before()
            self.results[state] = make()
            self._copy(self._file, kept)
        return self.results.get(state, {})

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        """Copy a database into another that others may have open."""
        with closing(sqlite3.connect(source)) as left, closing(sqlite3.connect(target)) as right:
            left.backup(right)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Iterator[Registry]:
    home = tmp_path_factory.mktemp("registry")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WINDROW_HOME", str(home))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield Registry(home, digits)


@pytest.fixture
def registry(made: Registry, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The registry, with nothing in it yet; what is tested speaks to it."""
    monkeypatch.setenv("WINDROW_HOME", str(made.home))
    connect()
    made.nothing()
    return made


@pytest.fixture
def client(registry: Registry) -> Any:
    """A client that speaks to the registry's file, past any line."""
    return registry.client


@pytest.fixture(scope="module")
def server(made: Registry, free_port: Callable[[], int]) -> Iterator[str]:
    """The address of a server of that registry."""
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{made.home / 'mlflow' / 'mlflow.db'}"),
        *("--artifacts-destination", str(made.home / "mlflow" / "artifacts")),
    ]
    with serving(command, made.home / "log", f"{address}/health"):
        yield address


@pytest.fixture
def line(registry: Registry, server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """A way to the registry's server that can be cut. It is used from MLFLOW_TRACKING_URI on: states need none."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with Line(server) as line:
        yield line


def aliases(client: Any) -> dict[str, str]:
    return {alias: str(version) for alias, version in client.get_registered_model("digits").aliases.items()}


def runs_of(client: Any, judged: Judged) -> list[Any]:
    parent, experiment = judged.study.identity["run_id"], judged.study.identity["experiment_id"]
    return list(client.search_runs([experiment], f"tags.mlflow.parentRunId = '{parent}'"))


def test_a_version_has_what_it_was_made_of_what_it_is_and_why(registry: Registry, client: Any) -> None:
    import mlflow

    result, strong = registry.strong_champion(), registry.strong
    version = client.get_model_version("digits", "1")
    best = strong.final.winner.good[0]
    network = from_bytes(best.network)
    assert version.tags["windrow.trial"] == str(strong.final.winner.trial.number)
    assert version.tags["windrow.seed"] == str(best.seed)
    assert version.tags["windrow.weights"] == weights_digest(network)
    assert version.tags["windrow.networks.revision"] == "1", "none of its trials has batch normalisation"
    assert version.tags["windrow.dataset.digest"] == strong.data.digest
    assert float(version.tags["windrow.test_accuracy"]) == pytest.approx(result["test_accuracy"], abs=1e-6)
    assert version.run_id == strong.study.identity["run_id"]
    assert version.description.startswith(f"{result['reason']}.")
    assert result["evidence"] in version.description.replace("&ensp;", " ")
    rows = result["evidence"].partition("\n\n")[0].splitlines()[2:]
    assert [row.split(",")[0] for row in rows] == ["| challenger", "| default", "| guessing"]
    assert result["baseline"] == pytest.approx(37 / 359)
    assert result["figures"]["challenger"]["seeds"]["seeds"] == 2

    example = mlflow.pyfunc.load_model("models:/digits/1").input_example
    assert example.shape == (1, 8, 8, 1)
    repository = Path(promote_best.__file__).resolve().parents[1]
    lock = {line.split(" ")[0] for line in (repository / "requirements.txt").read_text().splitlines()}
    needed = Path(mlflow.pyfunc.get_model_dependencies("models:/digits/1")).read_text().split()
    assert {"tensorflow==2.21.0", "keras==3.15.1"} <= set(needed)
    assert set(needed) <= lock


def test_a_versions_model_has_its_name_its_metrics_of_the_data_set_and_its_evaluation(
    registry: Registry, client: Any, tmp_path: Path
) -> None:
    import mlflow

    result, strong = registry.strong_champion(), registry.strong
    version = client.get_model_version("digits", "1")
    model = client.get_logged_model(logged_model(version))
    assert (model.name, model.params["units"]) == ("digits", str(strong.final.winner.trial.point["units"]))
    logged = {metric.key: metric for metric in model.metrics}
    classes = result["metrics"]["classes"]
    wanted = {"test_accuracy": result["test_accuracy"], "test_macro_f1": result["metrics"]["macro_f1"]}
    wanted |= {"test_ece": result["metrics"]["ece"], **{f"test_recall_{c['label']}": c["recall"] for c in classes}}
    assert {key: logged[key].value for key in wanted} == pytest.approx(wanted)
    assert {logged[key].dataset_name for key in wanted} == {strong.data.name}
    assert set(wanted) <= set(client.get_run(version.run_id).data.metrics)

    folder = Path(mlflow.artifacts.download_artifacts("models:/digits/1/evaluation", dst_path=str(tmp_path)))
    pictures = {"confusion.png", "misclassified.png", "reliability.png"}
    assert {path.name for path in folder.iterdir()} == {*pictures, "metrics.json", "promotion.json"}
    details = json.loads((folder / "metrics.json").read_text())
    wrong = np.array(details["confusion"]) - np.diag(np.diag(details["confusion"]))
    assert np.trace(details["confusion"]) == result["test_images"] - result["figures"]["challenger"]["errors"]
    assert sum(each["images"] for each in details["calibration"]) == result["test_images"] == 359
    assert json.loads((folder / "promotion.json").read_text()) == json.loads(json.dumps(result))

    tag = json.loads(version.tags["windrow.result"])
    assert (tag["reason"], tag["evidence"], list(tag["figures"])) == (result["reason"], "", ["challenger"])
    assert len(version.tags["windrow.result"]) < 2000
    shown = (
        f"The challenger on 359 test images: macro-F1 {result['metrics']['macro_f1']:.4f}, expected calibration error"
    )
    for text in (result["evidence"], version.description.replace("&ensp;", " ")):
        assert text.count(shown) == 1
        assert text.count("| class | test images | predicted | precision | recall | F1 |") == 1
        assert text.count(" taken for ") >= 1
        assert f": {np.max(wrong)} of " in text


def test_a_version_labels_images_of_any_type_with_names_of_classes(registry: Registry) -> None:
    import mlflow

    registry.strong_champion()
    champion, strong = mlflow.pyfunc.load_model("models:/digits@champion"), registry.strong
    images = np.load(strong.folder / "test-images.npy")
    predicted = _read_once(strong.final.winner.good[0].network, strong.folder, None).predicted
    names = np.array(strong.data.labels)[predicted].tolist()
    for kind in (np.uint8, np.float32, np.float64):
        found = champion.predict(images.astype(kind))
        assert list(found.columns) == ["label", "score"]
        assert found["label"].tolist() == names
        assert found["score"].between(0.1, 1).all()
    assert champion.predict(images[..., 0])["label"].tolist() == names, "grey images may lack their channel"
    assert champion.predict(images[:0]).empty
    with pytest.raises(
        ValueError, match=r"must have the shape \(n, 8, 8, 1\); got \(8, 8, 1\); .*\['fit'\].*image\[None\]"
    ):
        champion.predict(images[0])
    probabilities = mlflow.tensorflow.load_model("models:/digits@champion").predict(images, verbose=0)
    np.testing.assert_allclose(probabilities.max(axis=1), champion.predict(images)["score"], atol=1e-5)


def test_a_promotion_prints_no_progress_bars(registry: Registry, capfd: pytest.CaptureFixture[str]) -> None:
    registry.strong.promote()
    printed = capfd.readouterr()
    assert "step" not in printed.out + printed.err
    assert "━" not in printed.out + printed.err


def test_a_test_split_that_overlaps_training_is_refused_before_spark_starts(
    registry: Registry, digits: Path, tmp_path: Path
) -> None:
    page, folder = tmp_path / "page.yaml", shutil.copytree(digits, tmp_path / "overlapping")
    page.write_text(PAGE.format(epochs=WEAK, seed=0, rate=RATE))
    for name in ("images", "hashes"):
        values = np.load(folder / f"test-{name}.npy")
        values[:3] = np.load(folder / f"train-{name}.npy")[:3]
        np.save(folder / f"test-{name}.npy", values)
    study = registry.weak.study.folder
    with pytest.raises(DatasetError, match="3 of 359 in "):
        promote_best.promote_best(Namespace(experiment=page, overrides=[], dataset=folder, study=study))


def test_a_champion_that_mlflow_can_not_hand_out_is_found_before_spark_starts(
    registry: Registry, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, strong = tmp_path / "page.yaml", registry.strong
    page.write_text(PAGE.format(epochs=STRONG, seed=0, rate=RATE))
    client.create_registered_model("digits")
    client.create_model_version("digits", "mlflow-artifacts:/1/models/m-1/artifacts")
    client.set_registered_model_alias("digits", "champion", "1")
    monkeypatch.setattr("windrow.spark.open_session", lambda *_: pytest.fail("Spark starts"))
    with pytest.raises(TrackingError, match="the files of models:/digits/1 must be available"):
        promote_best.promote_best(
            Namespace(experiment=page, overrides=[], dataset=strong.folder, study=strong.study.folder)
        )


def test_the_scored_file_is_the_registered_one(registry: Registry, tmp_path: Path) -> None:
    result = registry.strong.promote()
    scored = registry.strong.scored
    registered = fetch_model("models:/digits@champion", tmp_path / "again")
    assert scored["challenger"] == registered.file.read_bytes()
    assert result["model_digest"] == registered.digest
    assert readout(registered.file.read_bytes(), registry.strong.folder, 1).accuracy == result["test_accuracy"]


def test_every_finalist_and_seed_has_a_run_and_those_that_were_read_their_test_figures(
    registry: Registry, client: Any
) -> None:
    result, strong = registry.strong_champion(), registry.strong
    runs = {(run.data.tags["windrow.trial"], run.data.tags["windrow.repeat"]): run for run in runs_of(client, strong)}
    assert sorted(runs) == [("0", "1"), ("0", "2"), ("1", "1"), ("1", "2")]
    for run in runs.values():
        assert run.data.tags["windrow.kind"] == "finalist"
        assert run.info.status == "FINISHED"
        assert {"units", "learning_rate", "batch_size"} <= set(run.data.params)
        assert {"val_accuracy", "test_accuracy", "test_loss", "test_errors"} <= set(run.data.metrics)
        history = client.get_metric_history(run.info.run_id, "val_accuracy")
        assert [metric.step for metric in history] == list(range(1, STRONG + 1))
    best = strong.final.winner.good[0].number
    assert runs["1", str(best)].data.metrics["test_accuracy"] == pytest.approx(result["test_accuracy"])
    pictured = {key for key, run in runs.items() if client.list_artifacts(run.info.run_id)}
    default = strong.final.default
    assert default is not None
    assert pictured == {("1", str(best)), ("0", str(default.good[0].number))}
    files = {file.path for file in client.list_artifacts(runs["1", str(best)].info.run_id)}
    assert files == {"confusion.png", "misclassified.png", "reliability.png"}


def test_a_promotion_that_is_repeated_repeats_its_decision(registry: Registry, client: Any) -> None:
    result = registry.strong_champion()
    assert registry.strong.promote() == json.loads(json.dumps(result))
    assert len(client.search_model_versions("name = 'digits'")) == 1
    assert [(run.info.status, "val_loss" in run.data.metrics) for run in runs_of(client, registry.strong)] == [
        ("FINISHED", True)
    ] * 4


def test_a_challenger_that_lost_is_on_record_with_its_evidence(registry: Registry, client: Any) -> None:
    registry.strong_champion()
    result = registry.weak.promote()
    assert (result["decision"], result["promoted"]) == ("kept", False)
    assert result["champion_test_accuracy"] > result["test_accuracy"]
    assert result["figures"]["champion"]["challenger_against_it"]["p"] < 0.05
    assert aliases(client) == {"champion": "1", "challenger": "2"}
    version = client.get_model_version("digits", "2")
    assert "is not better" in version.description
    assert "| champion, version 1&ensp;|" in version.description


def test_a_rollback_changes_places_and_another_changes_back(registry: Registry, client: Any) -> None:
    registry.strong_after_weak()
    assert aliases(client) == {"champion": "2", "previous": "1"}
    result = rollback("digits", "ada")
    assert (result["model_version"], result["champion_before"]) == ("1", "2")
    assert aliases(client) == {"champion": "1", "previous": "2"}
    rollback("digits", "ada")
    assert aliases(client) == {"champion": "2", "previous": "1"}


def test_a_rollback_that_was_cut_off_is_finished_and_not_turned_round(
    registry: Registry, client: Any, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.strong_after_weak()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", line.address)
    line.cut_at = ("POST", "registered-models/alias", "previous")
    with pytest.raises(TrackingError, match="run this again"):
        rollback("digits", "ada")
    line.repair()
    rollback("digits", "ada")
    assert aliases(client) == {"champion": "1", "previous": "2"}


def test_a_rollback_without_a_previous_champion_is_refused(registry: Registry, client: Any) -> None:
    with pytest.raises(UserError, match="a rollback needs a version of never_made with the alias previous; got none"):
        rollback("never_made", "ada")
    registry.weak_champion()
    with pytest.raises(UserError, match="got none"):
        rollback("digits", "ada")
    assert aliases(client) == {"champion": "1"}


def test_what_is_decided_is_moved_by_the_command_line_without_a_study(registry: Registry, tmp_path: Path) -> None:
    page, result = tmp_path / "page.yaml", tmp_path / "result.json"
    page.write_text(PAGE.format(epochs=1, seed=0, rate=RATE))

    def run(*arguments: str) -> int:
        return run_main("promote_best", ["--experiment", str(page), "--result", str(result), *arguments])

    registry.weak_champion()
    assert run("--rollback") == 2
    registry.strong_waits()
    assert run("--approve", "2", "--by", "ada") == 0
    assert json.loads(result.read_text())["promoted"] is True
    assert run("--rollback", "--by", "bob") == 0
    assert json.loads(result.read_text())["model_version"] == "1"
    assert json.loads(result.read_text())["by"] == "bob"
    version = registry.client.get_model_version("digits", "1")
    assert version.tags["windrow.chosen_by"] == "bob"
    assert version.description.startswith("Made champion by bob on ")
    assert run("--promote", "2") == 0
    assert registry.client.get_model_version("digits", "2").tags["windrow.chosen_by"] == getpass.getuser()
    assert run("--reject", "2") == 2
    assert run("--study", str(tmp_path)) == 2


def test_a_champion_whose_alias_was_deleted_by_hand_is_none_and_the_way_back_still_works(
    registry: Registry, client: Any
) -> None:
    registry.strong_after_weak()
    client.delete_registered_model_alias("digits", "champion")
    assert rollback("digits", "ada")["reason"] == "rolled back by ada: version 1 is champion again, in place of none"
    assert aliases(client) == {"champion": "1"}
    client.delete_registered_model_alias("digits", "champion")
    result = registry.weaker.promote()
    assert "there was no champion" in result["reason"]
    assert aliases(client) == {"champion": "3"}


def files_of(client: Any, version: str) -> Path:
    """The folder with a version's files."""
    model = client.get_logged_model(client.get_model_version("digits", version).source.removeprefix("models:/"))
    return Path(model.artifact_location.removeprefix("file://"))


@contextmanager
def changed(file: Path, change: Callable[[Path], object]) -> Iterator[None]:
    """A file that is changed during a block."""
    content = file.read_bytes()
    try:
        change(file)
        yield
    finally:
        file.write_bytes(content)


def of_other_data(client: Any) -> None:
    """Let version 1 be of another data set."""
    client.set_model_version_tag("digits", "1", "windrow.dataset.digest", "another")


def test_a_version_remembers_the_images_that_it_was_trained_and_chosen_on(registry: Registry, client: Any) -> None:
    registry.weak_champion()
    (file,) = files_of(client, "1").rglob("seen-images.npy")
    seen, splits = np.load(file), registry.weak.data.splits
    assert len(seen) == splits["train"] + splits["validation"]
    np.testing.assert_array_equal(seen, common_images.seen_in(registry.weak.folder))


def test_a_champion_of_other_data_is_compared_on_the_test_images_that_are_new_to_it(
    registry: Registry, client: Any
) -> None:
    registry.strong_champion()
    of_other_data(client)
    tests = common_images.keys(shards.load_hashes(registry.weak.folder, "test"))
    (file,) = files_of(client, "1").rglob("seen-images.npy")
    with changed(file, lambda file: np.save(file, tests[:100])):
        result = registry.weak.promote()
    assert (result["decision"], result["compared_images"]) == ("kept", 259)
    assert result["figures"]["champion"]["images"] == result["figures"]["challenger_compared"]["images"] == 259
    assert "on 259 of 359 test images" in result["reason"]
    assert "| challenger, on the 259 images below |" in result["evidence"]
    recorded = registry.results["strong"]["test_accuracy"]
    assert f"| champion, version 1, as recorded | {recorded:.4f} |" in result["evidence"]
    assert aliases(client) == {"champion": "1", "challenger": "2"}


def test_a_comparison_on_few_images_is_left_to_a_person_though_the_challenger_is_better(
    registry: Registry, client: Any
) -> None:
    recorded = registry.weak_champion()["test_accuracy"]
    of_other_data(client)
    tests = common_images.keys(shards.load_hashes(registry.weak.folder, "test"))
    (file,) = files_of(client, "1").rglob("seen-images.npy")
    with changed(file, lambda file: np.save(file, tests[:350])):
        result = registry.strong.promote()
    assert (result["decision"], result["promoted"], result["compared_images"]) == ("awaiting_approval", False, 9)
    assert re.search(r"\b9\b.*images", result["reason"])
    assert f"| champion, version 1, as recorded | {recorded:.4f} |" in result["evidence"]
    assert aliases(client) == {"champion": "1", "challenger": "2"}


def of_another_class(file: Path) -> None:
    """Let a .keras file have a layer of a class that is not known here."""
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["config.json"] = parts["config.json"].replace(b'"Dense"', b'"Odd"')
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    ("name", "change", "doubt"),
    [
        ("model.keras", of_another_class, "can't be evaluated: Keras can't run its file model.keras here: "),
        ("seen-images.npy", Path.unlink, "does not record which images it was trained on"),
        ("model.keras", lambda file: file.write_bytes(file.read_bytes()[:-99]), "can't be evaluated: its file"),
        (
            "MLmodel",
            Path.unlink,
            "can't be evaluated: models:/digits/1 must have its files in MLflow; version 1 has no",
        ),
    ],
)
def test_a_champion_that_can_not_be_compared_stays_until_a_person_decides(
    registry: Registry, client: Any, name: str, change: Callable[[Path], object], doubt: str
) -> None:
    recorded = registry.weak_champion()["test_accuracy"]
    of_other_data(client)
    (file,) = files_of(client, "1").rglob(name)
    with changed(file, change):
        result = registry.strong.promote()
    assert (result["decision"], result["promoted"], result["approval"]) == ("awaiting_approval", False, "")
    assert doubt in result["reason"]
    assert result["reason"].endswith(f"(recorded test accuracy {recorded:.4f} on 359 images)")
    assert (result["champion_recorded_accuracy"], result["champion_recorded_images"]) == (recorded, 359)
    assert f"| champion, version 1, as recorded | {recorded:.4f} |" in result["evidence"]
    assert "champion" not in result["figures"]
    assert aliases(client) == {"champion": "1", "challenger": "2"}
    assert answer("digits", "2", True, "ada")["promoted"]
    assert aliases(client) == {"champion": "2", "previous": "1"}


def test_what_keeps_a_champion_from_being_compared_is_said_before_the_training(
    registry: Registry, client: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.weak_champion()
    client.set_model_version_tag("digits", "1", "windrow.version.keras", "2.0.1")
    strong = registry.strong
    (file,) = files_of(client, "1").rglob("model.keras")
    capsys.readouterr()
    with changed(file, of_another_class):
        open_promotion(strong.page, strong.data, strong.study, [1]).check_champion(tmp_path, strong.folder)
    said = capsys.readouterr().err
    assert said.startswith(
        "version 1, the champion, can't be evaluated: Keras can't run its file model.keras here (made"
    )
    assert "(made by Keras 2.0.1, and this is 3" in said
    assert "keras.layers.Odd" in said
    assert "a person will be asked" in said


def test_a_champion_of_an_older_windrow_is_compared_on_the_same_data_set(registry: Registry, client: Any) -> None:
    registry.weak_champion()
    (file,) = files_of(client, "1").rglob("seen-images.npy")
    with changed(file, Path.unlink):
        assert registry.strong.promote()["decision"] == "promoted"


def test_a_champion_that_does_not_know_a_class_is_compared_on_the_others_and_a_person_decides(
    registry: Registry, client: Any, tmp_path: Path
) -> None:
    registry.strong_champion()
    weak = registry.weak
    other = replace(weak.data, labels=tuple("012345678A"))
    promotion = open_promotion(weak.page, other, weak.study, [1])
    rival = promotion.rival(tmp_path, weak.folder)
    assert rival is not None
    assert rival.common.doubt == "does not know 1 class (A) and knows 1 class (9), now gone"
    assert rival.to_read is not None
    figures = weak.read({"champion": rival.to_read}, {"champion": rival.common.truth}, {"champion": "main"})["champion"]
    _, truth = shards.load_split(weak.folder, "test")
    assert figures.images == np.count_nonzero(truth != 9)
    assert figures.accuracy > 0.5


def test_a_page_that_searches_for_macro_f1_is_judged_by_it(registry: Registry) -> None:
    registry.weak_champion()
    result = registry.strong.promote("val_macro_f1", significant=True)
    own, other = (result["figures"][name]["macro_f1"] for name in ("challenger", "champion"))
    assert result["reason"] == (
        f"promoted: test macro-F1 {own:.4f} against the champion's {other:.4f} (guessing 0.1000)"
    )
    assert "| guessing, at best | 0.1031 |  | 322 of 359 | 0.1000 |" in result["evidence"]


def test_a_network_that_may_be_guessing_is_no_first_champion_and_the_reason_says_what_to_do(
    registry: Registry, client: Any
) -> None:
    result = registry.guessing.promote()
    assert (result["decision"], result["promoted"], result["champion_before"]) == ("kept", False, None)
    assert "may be guessing" in result["reason"]
    assert "there is still no champion; " in result["reason"]
    assert result["hints"]
    assert all(f"- {hint}" in result["evidence"] for hint in result["hints"])
    assert aliases(client) == {"challenger": "1"}


def test_nothing_moves_until_a_person_approves_and_then_it_does_once(registry: Registry, client: Any) -> None:
    waiting = registry.strong_waits()
    assert (waiting["decision"], waiting["promoted"]) == ("awaiting_approval", False)
    assert aliases(client) == {"champion": "1", "challenger": "2"}
    assert client.get_model_version("digits", "2").tags["windrow.approval"] == "pending"
    assert registry.strong.promote(approval=True)["decision"] == "awaiting_approval"

    result = answer("digits", "2", True, "ada")
    assert result["promoted"] is True
    assert result["reason"].endswith("approved by ada")
    assert aliases(client) == {"champion": "2", "previous": "1"}
    version = client.get_model_version("digits", "2")
    assert (version.tags["windrow.approval"], version.tags["windrow.approval_by"]) == ("approved", "ada")
    assert result["reason"] in version.description
    assert answer("digits", "2", True, "ada") == result
    assert registry.strong.promote(approval=True)["promoted"] is True
    with pytest.raises(UserError, match="must still await approval; got: promoted"):
        answer("digits", "2", False, "bob")


def test_a_rejected_challenger_stays_one_and_the_champion_stays(registry: Registry, client: Any) -> None:
    registry.strong_waits()
    result = answer("digits", "2", False, "ada")
    assert (result["decision"], result["promoted"]) == ("kept", False)
    assert result["reason"].startswith("not promoted: ")
    assert result["reason"].endswith("rejected by ada")
    assert aliases(client) == {"champion": "1", "challenger": "2"}
    assert client.get_model_version("digits", "2").tags["windrow.approval"] == "rejected"
    with pytest.raises(UserError, match="must still await approval"):
        answer("digits", "2", True, "bob")


def test_an_approval_must_be_of_a_version_that_awaits_it(registry: Registry) -> None:
    registry.weak_champion()
    with pytest.raises(UserError, match="only a version that awaits approval can be approved or rejected; got 1"):
        answer("digits", "1", True, "ada")
    for version in ("9", "one"):
        with pytest.raises(UserError, match=f"digits must have the version '{version}'"):
            answer("digits", version, True, "ada")


def test_an_approval_of_a_comparison_with_a_champion_of_the_past_is_refused_and_judged_anew(
    registry: Registry, client: Any
) -> None:
    assert registry.strong_waits()["champion_before"] == "1"
    registry.stronger.promote()
    with pytest.raises(UserError, match="the champion must still be the one that version 2 of digits was compared"):
        answer("digits", "2", True, "ada")
    assert aliases(client)["champion"] == "3"
    assert registry.strong.promote(approval=True)["champion_before"] == "3"


def at_once(*promotions: Callable[[], dict[str, Any]]) -> list[dict[str, Any]]:
    """What promotions give that begin at the same moment."""
    with ThreadPoolExecutor(len(promotions)) as pool:
        return [running.result() for running in [pool.submit(promotion) for promotion in promotions]]


def test_of_two_promotions_at_once_the_second_is_compared_with_the_first(registry: Registry, client: Any) -> None:
    results = at_once(registry.strong.promote, registry.stronger.promote)
    first, second = sorted(results, key=lambda result: int(result["model_version"]))
    assert (first["champion_before"], second["champion_before"]) == (None, "1")
    champion = "2" if second["promoted"] else "1"
    assert aliases(client)["champion"] == champion


def test_two_promotions_of_one_study_at_once_make_one_version(registry: Registry, client: Any) -> None:
    results = at_once(registry.strong.promote, registry.strong.promote)
    assert [result["model_version"] for result in results] == ["1", "1"]
    assert len(client.search_model_versions("name = 'digits'")) == 1


BEFORE_THE_DECISION = [
    ("POST", "runs/create", "finalist"),
    ("POST", "runs/log-batch", "val_loss"),
    ("POST", "model-versions/create", ""),
    ("POST", "model-versions/set-tag", "windrow.result"),
]
AFTER_IT = [
    ("POST", "registered-models/alias", "champion"),
    ("POST", "registered-models/alias", "previous"),
    ("POST", "model-versions/set-tag", "windrow.settled"),
]


def test_mlflow_that_goes_away_leaves_nothing_half_promoted(
    registry: Registry, client: Any, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut at one request after another: until the decision the next run starts again, from then on it finishes."""
    registry.weak_champion()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", line.address)
    for line.cut_at in BEFORE_THE_DECISION:
        with pytest.raises(TrackingError, match="it finishes what was decided, or starts again"):
            registry.strong.promote()
        line.repair()
        assert aliases(client) == {"champion": "1"}
        finalists = [run for run in runs_of(client, registry.strong) if run.data.tags["windrow.kind"] == "finalist"]
        assert "RUNNING" not in {run.info.status for run in finalists}, "a killed promotion leaves one for ever"
    for line.cut_at in AFTER_IT:
        with pytest.raises(TrackingError, match="it finishes what was decided, or starts again"):
            registry.strong.promote()
        line.repair()
    result = registry.strong.promote()
    assert result["promoted"] is True
    version = result["model_version"]
    pictures = re.findall(r"!\[\w+\]\((.*?)\)", client.get_model_version("digits", version).description)
    for picture in pictures:
        with urllib.request.urlopen(f"{line.address}/{picture}", timeout=30) as answer:
            assert answer.read().startswith(b"\x89PNG")
    assert len(pictures) == 3
    assert aliases(client) == {"champion": version, "previous": "1"}
    assert {str(v.version) for v in client.search_model_versions("name = 'digits'")} == {"1", version}
    assert [(run.info.status, "val_loss" in run.data.metrics) for run in runs_of(client, registry.strong)] == [
        ("FINISHED", True)
    ] * 4


def test_an_approval_that_was_cut_off_is_finished_by_the_next(
    registry: Registry, client: Any, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.strong_waits()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", line.address)
    line.cut_at = ("POST", "registered-models/alias", "champion")
    with pytest.raises(TrackingError, match="run this again"):
        answer("digits", "2", True, "ada")
    line.repair()
    assert answer("digits", "2", True, "bob")["reason"].endswith("approved by ada")
    assert aliases(client) == {"champion": "2", "previous": "1"}
