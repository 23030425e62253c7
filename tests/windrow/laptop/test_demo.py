"""What the demo decides: which page, whether to train again, and which score run to wait for. Airflow is a stand-in."""

from __future__ import annotations

import io
import json
import os
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from harness.waiting import wait_for
from windrow import experiment
from windrow.errors import PageError, ServiceError, UserError
from windrow.laptop import demo, demo_request, demo_summary, peak_memory, stack, watch
from windrow.laptop.airflow_api import Task
from windrow.laptop.demo_summary import Champion
from windrow.laptop.services import Running, start_of
from windrow.laptop.stack import Stack
from windrow.laptop.watch import Reporter, RunFailedError
from windrow.paths import home

STACK = Stack("http://airflow", "http://mlflow", "http://images", "secret", {})


@dataclass
class StandIn:
    """An Airflow whose runs end at once."""

    ending: str = "success"
    announced: str = "success"
    asset_runs: list[str] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    triggered: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    pages: str = "http://airflow"

    def trigger(self, dag: str, conf: Mapping[str, Any]) -> str:
        self.triggered.append((dag, conf))
        run = f"run {len(self.triggered)}"
        self.states[run] = self.ending
        return run

    def run_state(self, dag: str, run: str) -> str | None:
        return self.states.get(run)

    def tasks(self, dag: str, run: str) -> list[Task]:
        return [Task("sweep", self.ending, 1), Task("announce_champion", self.announced, 1)]

    def log(self, dag: str, run: str, task: Task) -> list[str]:
        return ["error: no trial ended ok"]

    def runs_since(self, dag: str, moment: str, kind: str) -> list[str]:
        assert kind == "asset_triggered"
        return self.asset_runs


@pytest.fixture
def airflow() -> Any:
    return StandIn()


@pytest.fixture
def reporter() -> Reporter:
    return Reporter(io.StringIO())


@pytest.fixture(autouse=True)
def _champion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_summary, "read_champion", lambda mlflow, model: Champion("1", 0.98))
    monkeypatch.setattr(watch, "POLL_SECONDS", 0.0)


def test_the_first_demo_trains_with_its_overrides(airflow: Any, reporter: Reporter) -> None:
    wanted = demo_request.find("digits", ["sweep.trials=4"])
    run, promoted, _ = demo.train(airflow, STACK, wanted, reporter)
    assert (run, promoted) == ("run 1", True)
    assert airflow.triggered == [("train_digits", {"set": ["sweep.trials=4"]})]


def test_the_same_demo_again_does_not_train_again(airflow: Any, reporter: Reporter) -> None:
    wanted = demo_request.find("digits", ["sweep.trials=4"])
    first, _, _ = demo.train(airflow, STACK, wanted, reporter)
    assert demo.train(airflow, STACK, wanted, reporter)[:2] == (first, False)
    assert len(airflow.triggered) == 1


def test_other_values_or_a_failed_run_or_a_lost_registry_train_again(
    airflow: Any, reporter: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    four, five = demo_request.find("digits", ["sweep.trials=4"]), demo_request.find("digits", ["sweep.trials=5"])
    demo.train(airflow, STACK, four, reporter)
    demo.train(airflow, STACK, five, reporter)
    assert len(airflow.triggered) == 2

    airflow.states["run 2"] = "failed"
    demo.train(airflow, STACK, five, reporter)
    assert len(airflow.triggered) == 3

    monkeypatch.setattr(demo_summary, "read_champion", lambda mlflow, model: None)
    demo.train(airflow, STACK, five, reporter)
    assert len(airflow.triggered) == 4


def test_a_demo_that_was_interrupted_joins_the_run_that_goes_on(airflow: Any, reporter: Reporter) -> None:
    wanted = demo_request.find("digits", [])
    demo.train(airflow, STACK, wanted, reporter)
    states = iter(["running", "running", "success"])
    airflow.run_state = lambda dag, run: next(states)
    run, promoted, _ = demo.train(airflow, STACK, wanted, reporter)
    assert (run, promoted) == ("run 1", True)
    assert len(airflow.triggered) == 1


def test_a_failed_training_is_the_demos_failure(airflow: Any, reporter: Reporter) -> None:
    airflow.ending = "failed"
    with pytest.raises(
        RunFailedError, match=r"(?s)train_digits must succeed.*sweep, attempt 1: error: no trial ended ok"
    ):
        demo.train(airflow, STACK, demo_request.find("digits", []), reporter)


def test_a_new_champion_starts_the_scoring_by_itself(airflow: Any, reporter: Reporter) -> None:
    airflow.asset_runs = ["asset_triggered__1"]
    airflow.states["asset_triggered__1"] = "success"
    wanted = demo_request.find("digits", [])
    _, promoted, since = demo.train(airflow, STACK, wanted, reporter)
    assert demo.score(airflow, wanted, since if promoted else None, reporter) == "asset_triggered__1"
    assert [dag for dag, _ in airflow.triggered] == ["train_digits"]


def test_a_champion_that_stays_has_the_scoring_triggered_by_hand(airflow: Any, reporter: Reporter) -> None:
    airflow.announced = "skipped"
    wanted = demo_request.find("digits", ["scoring.top_k=1"])
    _, promoted, since = demo.train(airflow, STACK, wanted, reporter)
    demo.score(airflow, wanted, since if promoted else None, reporter)
    assert airflow.triggered[1] == ("score_digits", {"set": ["scoring.top_k=1"]})


def test_a_champion_that_starts_nothing_is_a_failure(
    airflow: Any, reporter: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "_ASSET_SECONDS", 0)
    with pytest.raises(ServiceError, match="the new champion must trigger score_digits within 0 s"):
        demo.score(airflow, demo_request.find("digits", []), "2026-11-23T00:00:00+00:00", reporter)


def test_an_unknown_page_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"EXPERIMENT must be a page .*; got 'digit'; there are .*digits.*mnist"):
        demo_request.find("digit", [])


def test_mistakes_are_found_before_anything_starts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PageError):
        demo_request.find("digits", ["sweep.trails=4"])
    assert demo.main(["--set", "sweep.trails=4"]) == 2
    assert "sweep.trials" in capsys.readouterr().err
    assert not home().exists()


def test_a_page_without_a_demo_is_refused_by_the_command_before_anything_starts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert demo.main(["--experiment", "imagenet"]) == 2
    assert capsys.readouterr().err.startswith("error: the demo trains a network; got imagenet")
    assert not home().exists()


def request(tmp_path: Path, scoring: str, space: str = "space: {units: {type: int, low: 1, high: 2}}") -> Any:
    """A request for the demo of a page of one's own."""
    file = tmp_path / "shoes.yaml"
    file.write_text(f"name: shoes\n{space}\n{scoring}\n")
    return demo_request.DemoRequest(file, experiment.load(file), ())


HERE = "allow_addresses: [127.0.0.0/8]"


@pytest.mark.parametrize(
    ("scoring", "wrong"),
    [
        (
            f"scoring: {{feed: /data/urls, {HERE}}}",
            r"writes its own feed to .*/feeds/shoes/demo.txt; the feed of shoes",
        ),
        (
            f"scoring: {{feed: feeds/shoes/*.csv, {HERE}}}",
            r"the feed of shoes is .*/feeds/shoes/\*.csv; run make train",
        ),
        (
            f"scoring: {{feed: feeds/shoes, model: 'models:/x@champion', {HERE}}}",
            "shoes scores with models:/x@champion",
        ),
        ("scoring: {feed: feeds/shoes}", r"write scoring.allow_addresses: \[127.0.0.0/8\]"),
    ],
)
def test_a_demo_that_could_not_end_well_is_refused_before_anything_starts(
    scoring: str, wrong: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=wrong) as refused:
        demo_request.check(request(tmp_path, scoring))
    assert "make train EXPERIMENT=shoes" in str(refused.value)


def test_a_page_that_only_scores_has_no_demo() -> None:
    with pytest.raises(
        UserError, match="the demo trains a network; got imagenet, a page without a space; run make score"
    ):
        demo_request.check(demo_request.find("imagenet", []))


def test_what_the_command_line_changes_does_not_reach_the_run_that_the_champion_starts(tmp_path: Path) -> None:
    own = request(tmp_path, "scoring: {feed: /data/urls}")
    overridden = experiment.load(own.path, ["scoring.feed=feeds/shoes", "scoring.allow_addresses=[127.0.0.0/8]"])
    with pytest.raises(UserError, match="the demo writes its own feed"):
        demo_request.check(demo_request.DemoRequest(own.path, overridden, ()))


@pytest.mark.parametrize(
    ("override", "wrong"),
    [
        ("scoring.feed=/data/urls", "the feed of shoes with SET=scoring.feed=/data/urls is /data/urls; run make train"),
        ("scoring.model=models:/x@champion", "shoes with SET=.* scores with models:/x@champion"),
        ("scoring.allow_addresses=[]", "shoes with SET=.* allows addresses of the public internet only"),
        ("sweep.trials=4", ""),
    ],
)
def test_what_the_command_line_changes_is_checked_as_well(override: str, wrong: str, tmp_path: Path) -> None:
    own = request(tmp_path, f"scoring: {{feed: feeds/shoes, {HERE}}}")
    changed = demo_request.DemoRequest(own.path, experiment.load(own.path, [override]), (override,))
    with pytest.raises(UserError, match=wrong) if wrong else nullcontext():
        demo_request.check(changed)


def test_a_scoring_section_on_the_command_line_alone_is_refused(tmp_path: Path) -> None:
    own = request(tmp_path, "")
    override = "scoring.feed=feeds/shoes"
    changed = demo_request.DemoRequest(own.path, experiment.load(own.path, [override]), (override,))
    with pytest.raises(UserError, match="of which only one has a scoring section; write it on the page"):
        demo_request.check(changed)


@pytest.mark.parametrize(
    "feed", ["feeds/shoes", "feeds/shoes/*.txt", "feeds/shoes/demo.txt", "feeds/**/*.txt", "feeds/*/*"]
)
def test_a_page_that_finds_the_demos_feed_has_a_demo(feed: str, tmp_path: Path) -> None:
    demo_request.check(request(tmp_path, f"scoring: {{feed: '{feed}', {HERE}}}"))


def test_every_shipped_page_that_trains_has_a_demo_or_says_why_not() -> None:
    folder = Path(demo_request.__file__).parents[3] / "dags" / "experiments"
    refused = set()
    for path in folder.glob("*.yaml"):
        try:
            demo_request.check(demo_request.find(path.stem, []))
        except UserError:
            refused.add(path.stem)
    assert refused == {"imagenet", "photos"}


def test_a_relative_source_means_the_folder_of_whoever_types_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    assert demo_request.find("mnist", ["dataset.source=mine"]).overrides == (f"dataset.source={tmp_path}/mine",)
    assert demo_request.find("mnist", ["dataset.source=digits"]).overrides == ("dataset.source=digits",)


def test_the_key_changes_with_the_page_and_the_overrides(tmp_path: Path) -> None:
    plain = demo_request.find("digits", [])
    assert plain.key() == demo_request.find("digits", []).key()
    assert plain.key() != demo_request.find("digits", ["sweep.trials=4"]).key()
    edited = tmp_path / "digits.yaml"
    edited.write_text(plain.path.read_text() + "# edited\n")
    assert plain.key() != demo_request.DemoRequest(edited, plain.page, ()).key()


def test_the_noted_run_is_whole_or_absent(airflow: Any, reporter: Reporter) -> None:
    demo.train(airflow, STACK, demo_request.find("digits", []), reporter)
    folder = home() / "demo" / "digits"
    assert [path.name for path in folder.iterdir()] == ["last.json"]
    assert json.loads((folder / "last.json").read_text())["run"] == "run 1"


def test_peak_memory_is_the_most_that_was_seen() -> None:
    own, block = psutil.Process(), b""
    before = peak_memory.proportional(own)
    looks: list[int] = []

    def look() -> list[psutil.Process]:
        looks.append(len(block))
        return [own]

    with peak_memory.PeakMemory(look, seconds=0.01) as measured:
        block = b"x" * (256 * 1024**2)
        wait_for(lambda: looks[-2:] == [len(block)] * 2, every=0.01)  # the first of the two is finished
        block = b""
        wait_for(lambda: looks[-2:] == [0, 0], every=0.01)
    now = peak_memory.proportional(own)
    # Of the block nothing is left, but for what the allocator keeps, and what else happened in between.
    assert measured.bytes > max(before, now) + 128 * 1024**2
    (command,) = measured.largest
    assert command.startswith(f"{own.pid} ")


def test_a_service_that_the_demo_started_itself_is_counted_once() -> None:
    with psutil.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        stack.state().note("mlflow", Running(child.pid, start_of(psutil.Process(child.pid)), "log"))
        found = list(demo._processes())
        child.kill()
    # Other tests of the same session may have children of this process at work: a JVM, a server.
    counted = Counter(process.pid for process in found)
    assert counted[child.pid] == counted[os.getpid()] == 1
    assert set(counted.values()) == {1}


def test_a_process_that_ended_counts_nothing() -> None:
    gone = psutil.Popen(["true"])
    gone.wait()
    assert peak_memory.proportional(gone) == 0
