"""What promote_best.py decides, says and moves: real networks and a real MLflow, read out in this process."""

from __future__ import annotations

import http.client
import json
import shutil
import threading
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import promote_best
import pytest
from windrow import tracking
from windrow.data import manifest
from windrow.errors import DatasetError, TrackingError, UserError
from windrow.experiment import Experiment, parse
from windrow.selection import finalists
from windrow.selection.readout import Readout, readout
from windrow.sweep import trial
from windrow.sweep.outcomes import Outcome
from windrow.sweep.study import StudyRecord, open_study, read_study
from windrow.training.networks import Builder
from windrow.training.runtime import from_bytes, weights_digest

pytestmark = [pytest.mark.tensorflow, pytest.mark.mlflow, pytest.mark.timeout(600)]

PAGE = """
name: {name}
description: Digits.
space: {{units: {{type: int, low: 16, high: 17}}}}
sweep: {{trials: 2, epochs: {epochs}, seed: {seed}}}
promotion: {{finalists: 1, seeds: 2, model: {model}{more}}}
"""
WEAK, STRONG = 1, 12  # epochs


class Network:
    """An MLflow server at the other end of a line that can be cut, at a request that `cut_at` names."""

    def __init__(self, server: str) -> None:
        self.cut_at: tuple[str, str, str] | None = None  # method, end of the path, and a word of the body
        self.is_cut = False
        outer, there = self, urlsplit(server)

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if outer._cuts(self.command, self.path, body):
                    self.close_connection = True
                    return
                line = http.client.HTTPConnection(there.hostname or "", there.port, timeout=60)
                headers = {key: value for key, value in self.headers.items() if key.lower() != "host"}
                line.request(self.command, self.path, body, {**headers, "Host": there.netloc})
                answer = line.getresponse()
                content = answer.read()
                self.send_response(answer.status)
                for key, value in answer.getheaders():
                    if key.lower() not in ("transfer-encoding", "content-length", "connection"):
                        self.send_header(key, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = handle_any  # noqa: N815  as http.server names them

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def _cuts(self, method: str, path: str, body: bytes) -> bool:
        if self.cut_at is not None:
            wanted, end, word = self.cut_at
            hit = method == wanted and urlsplit(path).path.endswith(end) and word.encode() in body
            self.is_cut = self.is_cut or hit
        return self.is_cut

    def mend(self) -> None:
        self.cut_at, self.is_cut = None, False

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def line(mlflow_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    network = Network(mlflow_server)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", network.address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    yield network
    network.close()


@pytest.fixture
def client(line: Network, mlflow_server: str) -> Any:
    """A client that speaks past the line."""
    import mlflow

    return mlflow.MlflowClient(mlflow_server, mlflow_server)


@dataclass
class Judged:
    """A study of two trials, and everything that judging its finalists takes."""

    page: Experiment
    data: manifest.Manifest
    folder: Path
    study: StudyRecord
    final: finalists.Final

    def promote(self, **rule: object) -> dict[str, Any]:
        """Judge as the job does, or repeat what is decided."""
        page = self.page.model_copy(update={"promotion": self.page.promotion.model_copy(update=rule)})
        promotion = tracking.open_promotion(page, self.data, self.study, [self.final.winner.trial.number])
        return promote_best.judge(self.read, page, self.folder, self.final, promotion)

    def read(self, networks: Mapping[str, bytes]) -> dict[str, Readout]:
        return {name: readout(network, self.folder, 1) for name, network in networks.items()}


@pytest.fixture(scope="module")
def outcomes() -> dict[Any, list[Outcome]]:
    """What was trained, by epochs and seed: networks do not depend on the model that they are promoted to."""
    return {}


@pytest.fixture
def judged(tmp_path: Path, digits: Path, outcomes: dict[Any, list[Outcome]], client: Any) -> Callable[..., Judged]:
    """A study with its run in MLflow and its finalists trained, for a model of the test's own."""

    def make(model: str, epochs: int, seed: int = 0) -> Judged:
        page = parse(PAGE.format(name=model, model=model, epochs=epochs, seed=seed, more=""))
        data = manifest.read(digits)
        folder = tmp_path / f"study-{epochs}-{seed}"
        experiment = client.get_experiment_by_name(model)
        identity = experiment.experiment_id if experiment else client.create_experiment(model)
        with open_study(folder, page, data.digest) as study:
            while (asked := study.ask()) is not None:
                value = 0.5 + asked.number / 10  # the default configuration is not the best
                done = Outcome(asked.number, asked.attempt, trial.Ending.OK, value, lease=asked.lease)
                study.settle(done)
            study.remember(run_id=client.create_run(identity).info.run_id, experiment_id=identity)
        record = read_study(folder, page, data.digest)
        best, default = finalists.best(page, record), finalists.default(record)
        if (epochs, seed) not in outcomes:
            specs = finalists.specs(page, Builder("dense"), data, [*best, *default])
            outcomes[epochs, seed] = [trial.run(spec, digits) for spec in specs]
        final = finalists.rank(page, best, default, outcomes[epochs, seed])
        return Judged(page, data, digits, record, final)

    return make


def aliases(client: Any, model: str) -> dict[str, str]:
    return {alias: str(version) for alias, version in client.get_registered_model(model).aliases.items()}


def runs_of(client: Any, judged: Judged) -> list[Any]:
    parent, experiment = judged.study.identity["run_id"], judged.study.identity["experiment_id"]
    return list(client.search_runs([experiment], f"tags.mlflow.parentRunId = '{parent}'"))


def test_a_version_has_what_it_was_made_of_what_it_is_and_why(judged: Callable[..., Judged], client: Any) -> None:
    import mlflow

    strong = judged("whole_version", STRONG)
    result = strong.promote()
    version = client.get_model_version("whole_version", "1")
    best = strong.final.winner.good[0]
    network = from_bytes(best.network)
    assert version.tags["windrow.trial"] == str(strong.final.winner.trial.number)
    assert version.tags["windrow.seed"] == str(best.seed)
    assert version.tags["windrow.weights"] == weights_digest(network)
    assert version.tags["windrow.dataset.digest"] == strong.data.digest
    assert float(version.tags["windrow.test_accuracy"]) == pytest.approx(result["test_accuracy"], abs=1e-6)
    assert version.run_id == strong.study.identity["run_id"]
    assert version.description.startswith(f"{result['reason']}.")
    assert result["evidence"] in version.description
    assert [row.split(",")[0] for row in result["evidence"].splitlines()[2:]] == ["| challenger", "| default"]
    assert result["figures"]["challenger"]["seeds"]["seeds"] == 2

    model = mlflow.models.get_model_info("models:/whole_version/1")
    assert model.signature.inputs.inputs[0].shape == (-1, 8, 8, 1)
    assert model.signature.outputs.inputs[0].shape == (-1, 10)
    example = mlflow.pyfunc.load_model("models:/whole_version/1").input_example
    assert example.shape == (1, 8, 8, 1)
    repository = Path(promote_best.__file__).resolve().parents[1]
    lock = {line.split(" ")[0] for line in (repository / "requirements.txt").read_text().splitlines()}
    needed = Path(mlflow.pyfunc.get_model_dependencies("models:/whole_version/1")).read_text().split()
    assert {"tensorflow==2.21.0", "keras==3.15.1"} <= set(needed)
    assert set(needed) <= lock


def test_a_test_split_that_overlaps_training_is_refused_before_spark_starts(
    judged: Callable[..., Judged], digits: Path, tmp_path: Path
) -> None:
    page, folder = tmp_path / "page.yaml", shutil.copytree(digits, tmp_path / "overlapping")
    page.write_text(PAGE.format(name="overlapping", model="overlapping", epochs=WEAK, seed=0, more=""))
    images = np.load(folder / "test-images.npy")
    images[:3] = np.load(folder / "train-images.npy")[:3]
    np.save(folder / "test-images.npy", images)
    study = judged("overlapping", WEAK).study.folder
    with pytest.raises(DatasetError, match="3 of 359 in "):
        promote_best.promote_best(Namespace(experiment=page, overrides=[], dataset=folder, study=study))


def test_the_scored_file_is_the_registered_one(
    judged: Callable[..., Judged], client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strong, scored = judged("very_file", STRONG), {}
    monkeypatch.setattr(strong, "read", lambda networks: scored.update(networks) or Judged.read(strong, networks))
    result = strong.promote()
    registered = tracking.fetch_model("models:/very_file@champion", tmp_path / "again")
    assert scored["challenger"] == registered.network.read_bytes()
    assert result["model_digest"] == registered.digest
    assert readout(registered.network.read_bytes(), strong.folder, 1).accuracy == result["test_accuracy"]


def test_every_finalist_and_seed_has_a_run_and_those_that_were_read_their_test_figures(
    judged: Callable[..., Judged], client: Any
) -> None:
    strong = judged("finalist_runs", STRONG)
    result = strong.promote()
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
    assert files == {"confusion.png", "misclassified.png"}


def test_a_promotion_that_is_repeated_repeats_its_decision(judged: Callable[..., Judged], client: Any) -> None:
    strong = judged("repeated", STRONG)
    result = strong.promote()
    assert strong.promote() == json.loads(json.dumps(result))
    assert len(client.search_model_versions("name = 'repeated'")) == 1
    assert len(runs_of(client, strong)) == 4


def test_a_challenger_that_lost_is_on_record_with_its_evidence(judged: Callable[..., Judged], client: Any) -> None:
    judged("lost", STRONG).promote()
    result = judged("lost", WEAK).promote()
    assert (result["decision"], result["promoted"]) == ("kept", False)
    assert result["champion_test_accuracy"] > result["test_accuracy"]
    assert result["figures"]["champion"]["challenger_against_it"]["p"] < 0.05
    assert aliases(client, "lost") == {"champion": "1", "challenger": "2"}
    version = client.get_model_version("lost", "2")
    assert "is not better" in version.description
    assert "| champion, version 1 |" in version.description


def test_a_rollback_changes_places_and_another_changes_back(judged: Callable[..., Judged], client: Any) -> None:
    judged("rolled", WEAK).promote()
    judged("rolled", STRONG).promote()
    assert aliases(client, "rolled") == {"champion": "2", "previous": "1"}
    result = tracking.rollback("rolled")
    assert (result["model_version"], result["champion_before"]) == ("1", "2")
    assert aliases(client, "rolled") == {"champion": "1", "previous": "2"}
    tracking.rollback("rolled")
    assert aliases(client, "rolled") == {"champion": "2", "previous": "1"}


def test_a_rollback_that_was_cut_off_is_finished_and_not_turned_round(
    judged: Callable[..., Judged], client: Any, line: Network
) -> None:
    judged("half_rolled", WEAK).promote()
    judged("half_rolled", STRONG).promote()
    line.cut_at = ("POST", "registered-models/alias", "previous")
    with pytest.raises(TrackingError, match="run this again"):
        tracking.rollback("half_rolled")
    line.mend()
    tracking.rollback("half_rolled")
    assert aliases(client, "half_rolled") == {"champion": "1", "previous": "2"}


def test_a_rollback_without_a_previous_champion_is_refused(judged: Callable[..., Judged], client: Any) -> None:
    with pytest.raises(UserError, match="a rollback needs a version of never_made with the alias previous; got none"):
        tracking.rollback("never_made")
    judged("only_one", WEAK).promote()
    with pytest.raises(UserError, match="got none"):
        tracking.rollback("only_one")
    assert aliases(client, "only_one") == {"champion": "1"}


def test_what_is_decided_is_moved_by_the_command_line_without_a_study(
    judged: Callable[..., Judged], client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, result = tmp_path / "page.yaml", tmp_path / "result.json"
    page.write_text(PAGE.format(name="by_command", model="by_command", epochs=1, seed=0, more=""))

    def run(*arguments: str) -> int:
        command = ["promote_best.py", "--experiment", str(page), "--result", str(result), *arguments]
        monkeypatch.setattr("sys.argv", command)
        return promote_best.main()

    judged("by_command", WEAK).promote()
    assert run("--rollback") == 2
    judged("by_command", STRONG).promote(approval=True)
    assert run("--approve", "2", "--by", "ada") == 0
    assert json.loads(result.read_text())["promoted"] is True
    assert run("--rollback") == 0
    assert json.loads(result.read_text())["model_version"] == "1"
    assert run("--reject", "2") == 2
    with pytest.raises(SystemExit) as end:
        run("--study", str(tmp_path))
    assert end.value.code == 2


def test_a_champion_whose_alias_was_deleted_by_hand_is_none_and_the_way_back_still_works(
    judged: Callable[..., Judged], client: Any
) -> None:
    judged("by_hand", WEAK).promote()
    judged("by_hand", STRONG).promote()
    client.delete_registered_model_alias("by_hand", "champion")
    assert tracking.rollback("by_hand")["reason"] == "rolled back: version 1 is champion again, in place of none"
    assert aliases(client, "by_hand") == {"champion": "1"}
    client.delete_registered_model_alias("by_hand", "champion")
    result = judged("by_hand", WEAK, seed=1).promote()
    assert "there was no champion" in result["reason"]
    assert aliases(client, "by_hand") == {"champion": "3"}


def test_a_champion_of_other_data_or_classes_is_replaced_without_a_comparison(
    judged: Callable[..., Judged], client: Any
) -> None:
    judged("other_data", STRONG).promote()
    client.set_model_version_tag("other_data", "1", "windrow.dataset.digest", "another")
    result = judged("other_data", WEAK).promote()
    assert "was trained on another data set or split" in result["reason"]
    assert "champion" not in result["figures"]
    assert aliases(client, "other_data") == {"champion": "2", "previous": "1"}

    weak = judged("other_data", WEAK, seed=1)
    weak.data = replace(weak.data, labels=tuple("0123456789A"))
    promotion = tracking.open_promotion(weak.page, weak.data, weak.study, [1])
    champion = tracking.fetch_model("models:/other_data@champion", weak.study.folder / "champion")
    assert promotion.incomparable(champion) == "is made for (8, 8, 1) images of 10 labels"


def test_nothing_moves_until_a_person_approves_and_then_it_does_once(
    judged: Callable[..., Judged], client: Any
) -> None:
    judged("approved", WEAK).promote()
    strong = judged("approved", STRONG)
    waiting = strong.promote(approval=True)
    assert (waiting["decision"], waiting["promoted"]) == ("awaiting_approval", False)
    assert aliases(client, "approved") == {"champion": "1", "challenger": "2"}
    assert client.get_model_version("approved", "2").tags["windrow.approval"] == "pending"
    assert strong.promote(approval=True)["decision"] == "awaiting_approval"

    result = tracking.answer("approved", "2", True, "ada")
    assert result["promoted"] is True
    assert result["reason"].endswith("approved by ada")
    assert aliases(client, "approved") == {"champion": "2", "previous": "1"}
    version = client.get_model_version("approved", "2")
    assert (version.tags["windrow.approval"], version.tags["windrow.approval_by"]) == ("approved", "ada")
    assert result["reason"] in version.description
    assert tracking.answer("approved", "2", True, "ada") == result
    assert strong.promote(approval=True)["promoted"] is True
    with pytest.raises(UserError, match="must still await approval; got: promoted"):
        tracking.answer("approved", "2", False, "bob")


def test_a_rejected_challenger_stays_one_and_the_champion_stays(judged: Callable[..., Judged], client: Any) -> None:
    judged("rejected", WEAK).promote()
    judged("rejected", STRONG).promote(approval=True)
    result = tracking.answer("rejected", "2", False, "ada")
    assert (result["decision"], result["promoted"]) == ("kept", False)
    assert result["reason"].startswith("not promoted: ")
    assert result["reason"].endswith("rejected by ada")
    assert aliases(client, "rejected") == {"champion": "1", "challenger": "2"}
    assert client.get_model_version("rejected", "2").tags["windrow.approval"] == "rejected"
    with pytest.raises(UserError, match="must still await approval"):
        tracking.answer("rejected", "2", True, "bob")


def test_an_approval_must_be_of_a_version_that_awaits_it(judged: Callable[..., Judged], client: Any) -> None:
    judged("nobody_asked", WEAK).promote()
    with pytest.raises(UserError, match="only a version that awaits approval can be approved or rejected; got 1"):
        tracking.answer("nobody_asked", "1", True, "ada")
    for version in ("9", "one"):
        with pytest.raises(UserError, match=f"nobody_asked must have the version '{version}'"):
            tracking.answer("nobody_asked", version, True, "ada")


def test_an_approval_of_a_comparison_with_a_champion_of_the_past_is_refused_and_judged_anew(
    judged: Callable[..., Judged], client: Any
) -> None:
    judged("overtaken", WEAK).promote()
    strong = judged("overtaken", STRONG)
    assert strong.promote(approval=True)["champion_before"] == "1"
    judged("overtaken", STRONG, seed=1).promote()
    with pytest.raises(UserError, match="the champion must still be the one that version 2 of overtaken was compared"):
        tracking.answer("overtaken", "2", True, "ada")
    assert aliases(client, "overtaken")["champion"] == "3"
    assert strong.promote(approval=True)["champion_before"] == "3"


def test_of_two_promotions_at_once_the_second_is_compared_with_the_first(
    judged: Callable[..., Judged], client: Any
) -> None:
    both = [judged("at_once", STRONG), judged("at_once", STRONG, seed=1)]
    results: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda one=one: results.append(one.promote())) for one in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first, second = sorted(results, key=lambda result: int(result["model_version"]))
    assert (first["champion_before"], second["champion_before"]) == (None, "1")
    champion = "2" if second["promoted"] else "1"
    assert aliases(client, "at_once")["champion"] == champion


def test_two_promotions_of_one_study_at_once_make_one_version(judged: Callable[..., Judged], client: Any) -> None:
    strong = judged("twice", STRONG)
    results: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: results.append(strong.promote())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result["model_version"] for result in results] == ["1", "1"]
    assert len(client.search_model_versions("name = 'twice'")) == 1


BEFORE_THE_DECISION = [
    ("POST", "runs/create", "finalist"),
    ("POST", "model-versions/create", ""),
    ("POST", "model-versions/set-tag", "windrow.result"),
]
AFTER_IT = [
    ("POST", "registered-models/alias", "champion"),
    ("POST", "registered-models/alias", "previous"),
    ("POST", "model-versions/set-tag", "windrow.settled"),
]


def test_mlflow_that_goes_away_leaves_nothing_half_promoted(
    judged: Callable[..., Judged], client: Any, line: Network
) -> None:
    """Cut at one request after another: until the decision the next run starts again, from then on it finishes."""
    judged("away", WEAK).promote()
    strong = judged("away", STRONG)
    for line.cut_at in BEFORE_THE_DECISION:
        with pytest.raises(TrackingError, match="it finishes what was decided, or starts again"):
            strong.promote()
        line.mend()
        assert aliases(client, "away") == {"champion": "1"}
    for line.cut_at in AFTER_IT:
        with pytest.raises(TrackingError, match="it finishes what was decided, or starts again"):
            strong.promote()
        line.mend()
    result = strong.promote()
    assert result["promoted"] is True
    version = result["model_version"]
    assert aliases(client, "away") == {"champion": version, "previous": "1"}
    assert {v.version for v in client.search_model_versions("name = 'away'")} == {"1", version}
    assert len(runs_of(client, strong)) == 4


def test_an_approval_that_was_cut_off_is_finished_by_the_next(
    judged: Callable[..., Judged], client: Any, line: Network
) -> None:
    judged("half_approved", WEAK).promote()
    strong = judged("half_approved", STRONG)
    strong.promote(approval=True)
    line.cut_at = ("POST", "registered-models/alias", "champion")
    with pytest.raises(TrackingError, match="run this again"):
        tracking.answer("half_approved", "2", True, "ada")
    line.mend()
    assert tracking.answer("half_approved", "2", True, "bob")["reason"].endswith("approved by ada")
    assert aliases(client, "half_approved") == {"champion": "2", "previous": "1"}
