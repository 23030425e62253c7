"""A registered version's files at hand, or a sentence that says what to do."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from windrow import experiment
from windrow.errors import NoChampionError, TrackingError, UserError
from windrow.tracking import models
from windrow.tracking.models import fetch_model
from windrow.tracking.promotions.champion import fetch_champion
from windrow.tracking.server import connect

pytestmark = [pytest.mark.mlflow, pytest.mark.usefixtures("registry_file")]


def test_files_that_only_a_server_gives_out_are_asked_of_the_embedded_store_with_a_cure(tmp_path: Path) -> None:
    client = connect()
    client.create_registered_model("served")
    client.create_model_version("served", "mlflow-artifacts:/1/models/m-1/artifacts")
    with pytest.raises(TrackingError, match=r"models:/served/1 must be available; .* set MLFLOW_TRACKING_URI to its"):
        fetch_model("models:/served/1", tmp_path)


def test_the_champion_of_a_sqlite_file_is_looked_up_without_mlflows_client_where_its_tables_are_as_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = experiment.parse("name: light\nspace: {units: {type: int, low: 1, high: 2}}\nscoring: {feed: x}\n")
    with pytest.raises(NoChampionError, match="models:/light@champion must be in the registry"):
        models.current(page)
    client = connect()
    client.create_registered_model("light")
    for number in ("1", "2"):
        client.create_model_version("light", tmp_path.as_uri())
        client.set_registered_model_alias("light", "champion", number)
    with monkeypatch.context() as patch:
        patch.setattr(models, "connect", lambda: pytest.fail("MLflow's client was imported"))
        assert models.current(page) == ("light", "2")
        client.set_registered_model_alias("light", "champion", "1")
        assert models.current(page) == ("light", "1")
    monkeypatch.setattr(models, "_in_file", lambda *_: None)  # as in a file with other tables
    assert models.current(page) == ("light", "1")


def test_a_version_that_was_registered_before_its_pyfunc_form_gave_names_is_fetched(tmp_path: Path) -> None:
    """Its MLmodel file is one that Windrow wrote on that day."""
    folder, client = tmp_path / "model", connect()
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "model.keras").write_bytes(b"a network")
    shutil.copy(Path(__file__).parent / "examples" / "MLmodel-2026-11-27.yaml", folder / "MLmodel")
    client.create_registered_model("old")
    client.create_model_version("old", folder.as_uri(), tags={"windrow.dataset.digest": "d"})
    network = fetch_model("models:/old/1", tmp_path / "files")
    assert (network.name, network.version, network.dataset_digest) == ("old", "1", "d")
    assert (network.shape, network.labels) == ((8, 8, 1), tuple("0123456789"))
    assert network.digest == hashlib.sha256(b"a network").hexdigest()
    assert [canary.label_ids[0] for canary in network.canaries] == [4, 4, 4]


@pytest.mark.parametrize(
    "content",
    [
        b"metadata: {windrow: [",
        b"\xff\xfe",
        b"only words",
        b"metadata: {windrow: {labels: [a, b]}}",
        b"metadata: {windrow: {shape: 8, labels: [a, b]}}",
        b"metadata: {windrow: {shape: [8, 8, 1], labels: [a, b], canaries: [3]}}",
    ],
)
def test_a_damaged_mlmodel_file_is_told_and_leaves_the_champion_to_a_person(tmp_path: Path, content: bytes) -> None:
    folder, client, name = tmp_path / "model", connect(), f"damaged-{hashlib.sha256(content).hexdigest()[:8]}"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "model.keras").write_bytes(b"a network")
    (folder / "MLmodel").write_bytes(content)
    client.create_registered_model(name)
    client.create_model_version(name, folder.as_uri())
    client.set_registered_model_alias(name, "champion", "1")
    with pytest.raises(UserError, match="its MLmodel there is damaged; restore it, or give the alias"):
        fetch_model(f"models:/{name}/1", tmp_path / "files")
    champion = fetch_champion(client, name, tmp_path / "champion")
    assert champion is not None
    assert champion.network is None
    assert champion.problem.startswith(f"can't be evaluated: models:/{name}/1 must have whole files")
