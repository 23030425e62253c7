"""draw_atlas.py on a real study's folder and a real MLflow."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.jobs import read_result, run_main
from windrow import experiment
from windrow.data import manifest
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.study import open_study
from windrow.tracking.sweep_log import open_sweep
from windrow.training.loop import Epoch

pytestmark = pytest.mark.mlflow
Draw = Callable[..., tuple[int, str, dict[str, Any]]]


@pytest.fixture
def client(mlflow_server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    return mlflow.MlflowClient(mlflow_server, mlflow_server)


def swept(folder: Path, page_file: Path, digits: Path, name: str, told: bool = True, source: str | None = None) -> str:
    """A study of three trials that nobody trained, told to MLflow as a sweep tells it; the parent run's id."""
    page_file.write_text(page_file.read_text().replace("name: digits", f"name: {name}"))
    page, dataset = experiment.load(page_file), manifest.read(digits)
    with open_study(folder, page, dataset.digest, source) as study:
        while (asked := study.ask()) is not None:
            accuracy = 0.9 + 0.02 * asked.number
            epochs = (Epoch(1.0, 0.5, 1.0, 0.5, 0.1), Epoch(0.5, 0.9, 0.5, accuracy, 0.1))
            at = 1e9 + 3 * asked.number
            outcome = Outcome(asked.number, 1, Ending.OK, accuracy, epochs, 2.0, lease=asked.token)
            study.settle(Outcome(**{**vars(outcome), "worker": "host/1", "began_at": at, "ended_at": at + 2}))
        if not told:
            return ""
        with open_sweep(page, page_file, dataset, study, source) as log:
            return log.run_id


@pytest.fixture
def draw(page_file: Path, capsys: pytest.CaptureFixture[str]) -> Draw:
    """Run the job on a study's folder: exit code, what was said, and the result."""

    def run(folder: Path, *more: object) -> tuple[int, str, dict[str, Any]]:
        result = folder / "result.json"
        result.unlink(missing_ok=True)
        arguments = ("--experiment", page_file, "--study", folder, "--result", result, *more)
        capsys.readouterr()
        code = run_main("draw_atlas", [*map(str, arguments)])
        return code, capsys.readouterr().err, read_result(result)

    return run


def test_the_atlas_is_on_the_sweeps_run_and_can_be_drawn_again(
    client: Any, draw: Draw, page_file: Path, digits: Path, tmp_path: Path, mlflow_server: str
) -> None:
    folder = tmp_path / "study"
    run_id = swept(folder, page_file, digits, "drawn")
    code, said, result = draw(folder, "--dataset", digits)
    assert code == 0, said
    assert result["run_id"] == run_id
    stored = {file.path for file in client.list_artifacts(run_id, "atlas")}
    assert {"atlas/atlas.html", "atlas/atlas-heat-map.png", "atlas/atlas-accuracy-weights.png"} <= stored
    assert {f"atlas/{Path(page).name}" for page in result["pages"]} == stored
    address = f"{mlflow_server}/#/experiments/{client.get_run(run_id).info.experiment_id}/runs/{run_id}"
    assert result["links"] == {"mlflow_run": address, "atlas": f"{address}/artifacts/atlas/atlas.html"}
    back = Path(client.download_artifacts(run_id, "atlas/atlas.html", str(tmp_path)))
    assert back.read_bytes() == (folder / "atlas" / "atlas.html").read_bytes()
    assert "Best is trial 2" in back.read_text()
    assert "(guessing: 89." in back.read_text()

    code, said, again = draw(folder, "--out", tmp_path / "pictures")
    assert code == 0, said
    assert {file.path for file in client.list_artifacts(run_id, "atlas")} == stored, "drawn over, not beside"
    assert Path(again["pages"][0]) == tmp_path / "pictures" / "atlas.html"
    assert not any("accuracy-weights" in page for page in again["pages"]), (
        "nothing to count weights of without --dataset"
    )


def test_what_a_user_can_mend_ends_with_2(
    client: Any, draw: Draw, page_file: Path, digits: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "study"
    swept(folder, page_file, digits, "untold", told=False)
    for more, sentence in (
        ((), "the study has no run in MLflow; run sweep.py first"),
        (("--set", "sweep.seed=9"), "has another search; take another folder"),
        (("--study", tmp_path / "nothing"), "--study must hold a study"),
        (("--dataset", tmp_path), "must hold a prepared data set"),
    ):
        code, said, _ = draw(folder, *more)
        assert (code, sentence in said) == (2, True), said
    identity = json.loads((folder / "study.json").read_text())
    (folder / "study.json").write_text(json.dumps({**identity, "run_id": "0" * 32}))
    code, said, _ = draw(folder)
    assert (code, "is not in this MLflow" in said) == (2, True), said


def test_a_study_that_began_before_builders_were_refused_their_parameters_is_drawn(
    client: Any, draw: Draw, page_file: Path, digits: Path, tmp_path: Path
) -> None:
    source = "def build(shape, classes, optimizer='adam', **more):\n    return more.get('momentum')\n"
    (tmp_path / "mine.py").write_text(source)
    page_file.write_text(page_file.read_text().replace("builder: dense", "builder: 'mine.py:build'"))
    swept(tmp_path / "study", page_file, digits, "begun", source=source)
    code, said, _ = draw(tmp_path / "study")
    assert code == 0, said


def test_an_mlflow_that_is_away_ends_with_1_and_the_files_are_there(
    client: Any,
    draw: Draw,
    page_file: Path,
    digits: Path,
    tmp_path: Path,
    free_port: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "study"
    swept(folder, page_file, digits, "away")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    code, said, _ = draw(folder)
    assert code == 1
    assert "MLflow must answer at MLFLOW_TRACKING_URI" in said.splitlines()[-1]
    assert (folder / "atlas" / "atlas.html").is_file()
