"""score_images.py with a champion at int8: real spark-submit, real registry, real conversion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import PAGE, SCORING, Images, write_feed

Submit = Callable[..., Any]
pytestmark = [pytest.mark.spark, pytest.mark.mlflow, pytest.mark.tensorflow, pytest.mark.timeout(900)]


@pytest.fixture
def levels(tmp_path: Path) -> Path:
    """40 grey images, a folder a label."""
    from PIL import Image

    folder = tmp_path / "levels"
    for number in range(40):
        place = folder / ("bright" if number % 2 else "dark")
        place.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 60 + number if number % 2 == 0 else 180 + number).save(place / f"{number}.png")
    return folder


@pytest.fixture
def low_page(page: Path, levels: Path) -> Path:
    path = page.with_name("low.yaml")
    path.write_text(PAGE + SCORING.replace("top_k: 2", f"top_k: 2, precision: {{type: int8, images: {levels}}}"))
    return path


@pytest.mark.usefixtures("champion")
def test_a_champion_at_int8_labels_new_urls_only_and_the_next_night_needs_no_tensorflow(
    submit: Submit, page: Path, low_page: Path, images: str, tmp_path: Path
) -> None:
    import mlflow
    from deltalake import DeltaTable
    from windrow import tracking

    pytest.importorskip("nncf", reason="needs nncf, which is in the lock but for Linux on arm64")
    write_feed(tmp_path / "home", "1.txt", f"{images}/20.png")
    plain = submit("score_images", "--experiment", page)
    assert plain.code == 0, plain.output
    assert plain.result["precision"] is None

    write_feed(
        tmp_path / "home", "2.txt", f"{images}/20.png", f"{images}/30.png", f"{images}/230.png", f"{images}/none.png"
    )
    Images.asked.clear()
    low = submit("score_images", "--experiment", low_page)
    assert low.code == 0, low.output
    assert sorted(Images.asked) == ["/230.png", "/30.png", "/none.png"]
    told = low.result["precision"]
    assert (told["type"], told["images"], told["same_labels"], told["accuracy"]) == ("int8", 20, 1.0, 1.0)
    assert "computed in int8 by OpenVINO" in low.output

    # The next night, in a Python where TensorFlow can't be imported.
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "tensorflow.py").write_text("raise ImportError('nobody needs TensorFlow here')\n")
    write_feed(tmp_path / "home", "3.txt", f"{images}/240.png")
    night = submit("score_images", "--experiment", low_page, environment={"PYTHONPATH": str(tmp_path / "without")})
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
    digests = [rows.loc[f"{images}/{name}.png", "model_digest"] for name in ("20", "30", "240")]
    assert digests[0] != digests[1] == digests[2]

    run = tracking.connect().get_run(low.result["run_id"])
    assert (run.data.params["precision"], run.data.params["runtime"]) == ("int8", told["runtime"])
    assert (run.data.metrics["precision.same_labels"], run.data.metrics["precision.accuracy"]) == (1.0, 1.0)
    before = mlflow.get_run(plain.result["run_id"])
    assert (before.data.params["precision"], before.data.params["runtime"]) == ("as it is", "TensorFlow")


@pytest.mark.usefixtures("champion")
def test_a_precision_that_can_not_be_measured_ends_the_job_before_any_host_is_asked(
    submit: Submit, low_page: Path, levels: Path, images: str, tmp_path: Path
) -> None:
    pytest.importorskip("nncf", reason="needs nncf, which is in the lock but for Linux on arm64")
    write_feed(tmp_path / "home", "1.txt", f"{images}/20.png")
    for path in (levels / "dark").iterdir():
        path.unlink()
    refused = submit("score_images", "--experiment", low_page)
    assert refused.code == 2, refused.output
    last = refused.output.strip().splitlines()[-1]
    assert last.startswith("error: scoring.precision.images must hold 32 to 2,000 images")
    assert Images.asked == []
