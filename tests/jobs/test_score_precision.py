"""score_images.py with a champion at int8: real Spark, real registry, real conversion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Images, write_feed

Run = Callable[..., Any]
pytestmark = [pytest.mark.spark, pytest.mark.mlflow, pytest.mark.tensorflow]


@pytest.mark.usefixtures("champion")
def test_a_champion_at_int8_labels_new_urls_only_and_is_converted_once(
    run_job: Run, page: Path, low_page: Path, images: Images, tmp_path: Path
) -> None:
    import mlflow
    from deltalake import DeltaTable
    from windrow.tracking.server import connect

    write_feed(tmp_path / "home", "1.txt", f"{images.address}/20.png")
    plain = run_job("score_images", "--experiment", page)
    assert plain.code == 0, plain.output
    assert plain.result["precision"] is None

    write_feed(
        tmp_path / "home",
        "2.txt",
        f"{images.address}/20.png",
        f"{images.address}/wide/30.png",
        f"{images.address}/230.png",
        f"{images.address}/none.png",
    )
    images.requests.clear()
    low = run_job("score_images", "--experiment", low_page)
    assert low.code == 0, low.output
    assert sorted(images.paths) == ["/230.png", "/none.png", "/wide/30.png"]
    told = low.result["precision"]
    assert (told["type"], told["images"], told["same_labels"], told["accuracy"]) == ("int8", 20, 1.0, 1.0)
    assert "computed in int8 by OpenVINO" in low.output

    # What was converted is kept; that a worker labels without TensorFlow is shown by test_precision.py.
    write_feed(tmp_path / "home", "3.txt", f"{images.address}/240.png")
    night = run_job("score_images", "--experiment", low_page)
    assert night.code == 0, night.output
    assert "converting" in low.output
    assert "converting" not in night.output

    rows = DeltaTable(low.result["table"]).to_pandas().set_index("url")
    found = {url.rsplit("/", 1)[1]: (row.status, row.label) for url, row in rows.iterrows()}
    dark, bright = ("ok", "dark"), ("ok", "bright")
    assert found == {
        **{"20.png": dark, "30.png": dark, "230.png": bright, "240.png": bright},
        "none.png": ("http_error", None),
    }
    assert set(rows["model_version"]) == {"1"}
    digests = [rows.loc[f"{images.address}/{name}.png", "model_digest"] for name in ("20", "wide/30", "240")]
    assert digests[0] != digests[1] == digests[2]

    run = connect().get_run(low.result["run_id"])
    assert (run.data.params["precision"], run.data.params["runtime"]) == ("int8", told["runtime"])
    assert (run.data.metrics["precision.same_labels"], run.data.metrics["precision.accuracy"]) == (1.0, 1.0)
    before = mlflow.get_run(plain.result["run_id"])
    assert (before.data.params["precision"], before.data.params["runtime"]) == ("as it is", "TensorFlow")


@pytest.mark.usefixtures("champion")
def test_a_precision_that_can_not_be_measured_ends_the_job_before_any_host_is_asked(
    run_job: Run, low_page: Path, levels: Path, images: Images, tmp_path: Path
) -> None:
    write_feed(tmp_path / "home", "1.txt", f"{images.address}/20.png")
    refused = run_job("score_images", "--experiment", low_page, "--set", f"scoring.precision.images={levels / 'dark'}")
    assert refused.code == 2, refused.output
    assert refused.error.startswith("error: scoring.precision.images must hold 32 to 2,000 images")
    assert images.paths == []
