"""A network as MLflow keeps it: what scoring must know of it comes back with its files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from windrow.data.manifest import Manifest
from windrow.model import canaries
from windrow.model.form import Form
from windrow.scoring.network import predict
from windrow.tracking.models import fetch_model
from windrow.tracking.server import connect

pytestmark = [pytest.mark.mlflow, pytest.mark.tensorflow, pytest.mark.usefixtures("registry_file")]


def test_a_worker_labels_the_canaries_as_the_network_did_when_it_was_registered(tmp_path: Path) -> None:
    import keras
    import mlflow
    from windrow.tracking.network_artifact import log_network
    from windrow.training.runtime import to_bytes

    keras.utils.set_random_seed(0)
    layers = [keras.layers.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Rescaling(1 / 255)]
    network = keras.Sequential([*layers, keras.layers.Dense(7, "softmax")])
    dataset = Manifest("pictures", "/data", "d" * 64, (8, 8, 3), tuple("abcdefg"), {"train": 7}, {}, {"fit": "crop"})
    client = connect()
    experiment = client.create_experiment("colours", artifact_location=(tmp_path / "artifacts").as_uri())
    run = client.create_run(experiment)
    example, seen = np.zeros((1, 8, 8, 3), np.uint8), np.array([3, 2**63], np.uint64)
    source, _ = log_network(run.info.run_id, "colours", to_bytes(network), dataset, example, 3, {}, seen)
    mlflow.register_model(source, "colours")

    pinned = fetch_model("models:/colours/1", tmp_path / "files")
    assert pinned.form == Form(resize="crop")
    assert len(pinned.canaries) == len(canaries.NAMES)
    assert {len(canary.scores) for canary in pinned.canaries} == {canaries.KEPT}
    loaded = predict.load(pinned.file, pinned.digest, pinned.shape, 4, 7, expected=pinned.canaries)
    for found, recorded in zip(loaded.canaries, pinned.canaries, strict=True):
        assert found.label_ids == recorded.label_ids
        np.testing.assert_allclose(found.scores, recorded.scores, atol=1e-5)
