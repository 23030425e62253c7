"""What a real MLflow gives back of a version, and what is said where something of it is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from windrow.data.manifest import Manifest
from windrow.errors import UserError
from windrow.experiment import parse
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.sampling.champion_point import ChampionRecord
from windrow.sweep.spec import facts_of
from windrow.sweep.study import open_study
from windrow.tracking.record import read_champion, read_record
from windrow.tracking.sweep_log import open_sweep
from windrow.training.networks import Builder

pytestmark = pytest.mark.mlflow

SOURCE = "def build(shape, classes, width):\n    ...\n"
PAGE = """
name: {0}
dataset: {{source: pictures, validation: 0.3}}
network: {{builder: "nets/mine.py:build", parameters: {{momentum: 0.5}}}}
space: {{width: {{type: categorical, choices: ["4", 5, 6.5, true]}}}}
sweep: {{sampler: grid, trials: 4, deterministic: true, trial_seconds: 9}}
"""
DATASET = Manifest("pictures", "/data/pictures", "d" * 64, (8, 8, 1), ("0", "1"), {"train": 7}, {}, {})
TAGS = {
    "windrow.trial": "2",
    "windrow.seed": "4294967295",
    "windrow.dataset.digest": "d" * 64,
    "windrow.weights": "w" * 64,
    "windrow.test_accuracy": "0.987654",
    "windrow.version.tensorflow": "1.0",
}


Recorded = tuple[str, dict[int, Any]]


def recorded(server: str, folder: Path, text: str, source: str | None) -> Recorded:
    """Record a sweep of a page with the override sweep.epochs=3: its run's id, and its trials' points by number."""
    (folder / "page.yaml").write_text(text)
    page = parse(text, ["sweep.epochs=3"])
    points = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WINDROW_HOME", str(folder / "home"))
        patch.setenv("MLFLOW_TRACKING_URI", server)
        with (
            open_study(folder / "study", page, "data", source) as study,
            open_sweep(page, folder / "page.yaml", DATASET, study, source) as log,
        ):
            while (asked := study.ask()) is not None:
                points[asked.number] = {**page.network.defaults(), **asked.point}
                log.begin(asked, facts_of(page, asked.number, asked.point))
                study.settle(outcome := Outcome(asked.number, 1, Ending.OK, 0.5, (), 1.0, lease=asked.token))
                log.end(outcome, over=True)
    return log.run_id, points


@pytest.fixture(scope="module")
def sweep(mlflow_server: str, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A recorded sweep of a user's network. Each test registers a version of its own."""
    return recorded(mlflow_server, tmp_path_factory.mktemp("sweep"), PAGE.format("recorded"), SOURCE)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A model's name that is the test's own."""
    return f"r{abs(hash(request.node.name)) % 10**9}"


def register(client: Any, name: str, run_id: str, tags: dict[str, str]) -> None:
    client.create_registered_model(name)
    source = client.get_run(run_id).info.artifact_uri
    client.create_model_version(name, source, run_id=run_id, tags=tags)


def empty_run(client: Any, name: str) -> str:
    return str(client.create_run(client.create_experiment(name)).info.run_id)


def test_a_record_has_the_page_the_network_and_the_point_as_they_were(client: Any, sweep: Recorded, name: str) -> None:
    run_id, points = sweep
    register(client, name, run_id, TAGS)
    record = read_record(name, "1")
    assert str(record) == f"{name} version 1"
    expected = parse(PAGE.format("recorded"), ["sweep.epochs=3", "dataset.source=/data/pictures"])
    assert record.page == expected
    assert record.builder == Builder("nets/mine.py:build", SOURCE, "build")
    assert record.backbone_digest is None
    assert record.parameters == points[2]
    assert type(record.parameters["width"]) is type(points[2]["width"])
    assert (record.trial, record.seed, record.test_accuracy) == (2, 4294967295, 0.987654)
    assert set(record.packages) == {"tensorflow"}
    assert record.packages["tensorflow"][0] == "1.0"
    client.set_model_version_tag(name, "1", "windrow.backbone.digest", "b" * 64)
    assert read_record(name, "1").backbone_digest == "b" * 64
    assert read_record(name, "1").page.promotion.train_on == "train"  # no version of before had all
    client.set_model_version_tag(name, "1", "windrow.train_on", "all")
    assert read_record(name, "1").page.promotion.train_on == "all"


def test_a_champion_is_read_with_what_it_was_made_of_and_none_if_its_record_has_gaps(
    client: Any, sweep: Recorded, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id, points = sweep
    assert read_champion(client, name) is None
    register(client, name, run_id, TAGS)
    assert read_champion(client, name) is None
    client.set_registered_model_alias(name, "champion", "1")
    assert read_champion(client, name) == ChampionRecord(name, "1", "nets/mine.py:build", points[2])
    assert "not tried" not in capsys.readouterr().err
    client.set_model_version_tag(name, "1", "windrow.trial", "99")
    assert read_champion(client, name) is None
    assert "the champion's point is not tried: a version must have its whole record" in capsys.readouterr().err


def test_a_version_of_built_in_networks_that_train_differently_now_says_so(
    client: Any, mlflow_server: str, name: str, tmp_path: Path
) -> None:
    text = f"name: {name}\nnetwork: {{builder: cnn}}\nspace: {{filters: {{type: int, low: 4, high: 8}}}}\n"
    run_id, _ = recorded(mlflow_server, tmp_path, f"{text}sweep: {{trials: 1}}\n", None)
    tags = {**TAGS, "windrow.trial": "0"}
    register(client, name, run_id, tags)
    assert read_record(name, "1").packages["built-in networks"] == ("revision 1", "revision 2")
    client.set_model_version_tag(name, "1", "windrow.networks.revision", "2")
    assert set(read_record(name, "1").packages) == {"tensorflow"}


@pytest.mark.parametrize("lacking", [tag for tag in TAGS if "version" not in tag])
def test_a_version_without_a_tag_is_refused_with_its_name(
    client: Any, sweep: Recorded, name: str, lacking: str
) -> None:
    run_id, _ = sweep
    register(client, name, run_id, {tag: value for tag, value in TAGS.items() if tag != lacking})
    with pytest.raises(UserError, match=f"{name} version 1 has no tag {lacking}; take one that this Windrow's"):
        read_record(name, "1")


def test_a_version_that_something_else_registered_is_refused(client: Any) -> None:
    register(client, "strange", empty_run(client, "strange"), {})
    with pytest.raises(UserError, match=r"strange version 1 has no tag windrow\.trial"):
        read_record("strange", "1")


@pytest.mark.parametrize("absent", ["2", "0", "x", "-1"])
def test_a_version_that_is_not_there_is_told_with_its_cure(
    client: Any, sweep: Recorded, name: str, absent: str
) -> None:
    run_id, _ = sweep
    register(client, name, run_id, TAGS)
    with pytest.raises(UserError, match=f"models:/{name}/{absent} must be in the registry; it is not"):
        read_record(name, absent)


def test_a_trial_whose_run_was_deleted_is_named(client: Any, sweep: Recorded, name: str) -> None:
    run_id, _ = sweep
    register(client, name, run_id, {**TAGS, "windrow.trial": "3"})
    experiment = client.get_run(run_id).info.experiment_id
    (run,) = client.search_runs([experiment], "tags.windrow.trial = '3'")
    client.delete_run(run.info.run_id)
    with pytest.raises(UserError, match=f"{name} version 1 has no run of trial 3"):
        read_record(name, "1")


def test_a_run_that_never_kept_its_page_is_told(client: Any) -> None:
    register(client, "bare", empty_run(client, "bare"), TAGS)
    with pytest.raises(UserError, match=r"bare version 1 has no artifact page-with-overrides\.yaml on its sweep's run"):
        read_record("bare", "1")
