"""A registered version's files at hand, or a sentence that says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from windrow.errors import TrackingError
from windrow.tracking.models import fetch_model
from windrow.tracking.server import connect

pytestmark = [pytest.mark.mlflow, pytest.mark.usefixtures("registry_file")]


def test_files_that_only_a_server_gives_out_are_asked_of_the_embedded_store_with_a_cure(tmp_path: Path) -> None:
    client = connect()
    client.create_registered_model("served")
    client.create_model_version("served", "mlflow-artifacts:/1/models/m-1/artifacts")
    with pytest.raises(TrackingError, match=r"models:/served/1 must be available; .* set MLFLOW_TRACKING_URI to its"):
        fetch_model("models:/served/1", tmp_path)
