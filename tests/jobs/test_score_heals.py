"""score_images.py on a page that forbids too much: it fails with the key, and a changed key heals its rows."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from .conftest import PAGE, SCORING, Images, grey, scorings

pytestmark = [pytest.mark.spark, pytest.mark.tensorflow, pytest.mark.mlflow]

FORBIDDEN = ("/private.png", "/heavy.png", "/wide.png")
"""Addresses that robots.txt, scoring.max_bytes and scoring.max_pixels forbid, in this order."""

NO_ADDRESS = ("scoring.allow_addresses=['::1/128']",)  # loopback, and not where the images are
SMALL = ("scoring.max_bytes=1000", "scoring.max_pixels=64")


def serve_forbidden(images: Images) -> None:
    wide = io.BytesIO()
    Image.new("L", (16, 16), 220).save(wide, "PNG")
    images.routes |= {
        "/robots.txt": b"User-agent: *\nDisallow: /private.png\n",
        "/private.png": grey(30),
        "/heavy.png": grey(40) + bytes(2000),  # after the end of the image, where no decoder looks
        "/wide.png": wide.getvalue(),
    }


@pytest.mark.usefixtures("champion")
def test_a_key_that_forbids_all_urls_makes_the_run_red_and_each_loosened_key_heals_its_rows_once(
    run_job: Callable[..., Any], images: Images, tmp_path: Path
) -> None:
    from deltalake import DeltaTable
    from windrow.tracking.server import connect

    serve_forbidden(images)
    page, feed = tmp_path / "page.yaml", tmp_path / "feed.csv"
    page.write_text(PAGE + SCORING.replace("top_k: 2", "top_k: 2, truth: seen"))
    truths = {level: "dark" if level < 128 else "bright" for level in range(10, 210, 10)}
    truths |= {10: "Bär", 20: "", 200: "dark"}  # a class that the network does not know, none, and a wrong label
    lines = [f"{images.address}/{level}.png,{seen}" for level, seen in truths.items()]
    lines += [f"{images.address}{path}," for path in FORBIDDEN]
    feed.write_text("\n".join(["url,seen", *lines]) + "\n")

    def score(*overrides: str, dag_run: str = "") -> Any:
        images.requests.clear()
        settings = [word for override in overrides for word in ("--set", override)]
        arguments = ("score_images", "--experiment", page, "--feed", feed, *settings)
        return run_job(*arguments, environment={"AIRFLOW_CTX_DAG_RUN_ID": dag_run})

    for _ in range(2):  # as Airflow tries again
        refused = score(*NO_ADDRESS, *SMALL, dag_run="scheduled__1")
        assert refused.code == 1
        assert (
            "at least 20.0% of a run's URLs must get a label (scoring.minimum_ok_share); got 0.0%: 23 of 23 URLs ended "
            "as refused_address; scoring.allow_addresses decided that; the rows are committed; change that on the page"
        ) in refused.error
        assert images.requests == []
    assert "downloads took" not in refused.output

    allowed = score(*SMALL)
    assert allowed.code == 0, allowed.output
    forbidden = {"refused_robots": 1, "too_large": 1, "image_too_large": 1}
    assert allowed.result["statuses"] == {"ok": 20, **forbidden}
    assert (allowed.result["retried"], allowed.result["reopened"], allowed.result["rows"]) == (23, 23, 23)
    keys = {"refused_robots": "robots", "too_large": "max_bytes", "image_too_large": "max_pixels"}
    assert allowed.result["deciding_keys"] == {status: [f"scoring.{key}"] for status, key in keys.items()}
    assert "too_large                    1  scoring.max_bytes decides" in allowed.output
    truth = allowed.result["truth"]
    assert (truth["images"], truth["right"], truth["unknown"], truth["unknown_names"]) == (18, 17, 1, ["Bär"])
    assert "94.4% of 18 labels are right by the feed's column seen" in allowed.output
    assert "1 image has a true class that the network does not know: Bär" in allowed.output

    run = connect().get_run(scorings()[-1].info.run_id)
    assert run.info.end_time - run.info.start_time > 0
    assert [used.dataset.name for used in run.inputs.dataset_inputs] == ["brightness feed"]
    assert len(run.inputs.model_inputs) == 1

    loose = score("scoring.robots=false")
    assert loose.code == 0, loose.output
    assert (loose.result["statuses"], loose.result["reopened"]) == ({"ok": 3}, 3)
    assert sorted(images.paths) == sorted(FORBIDDEN)
    for overrides in ((*NO_ADDRESS, *SMALL), SMALL, ("scoring.robots=false",)):  # the page goes back and forth
        again = score(*overrides)
        assert (again.code, again.result["rows"], images.requests) == (0, 0, []), again.output
    rows = DeltaTable(loose.result["table"]).to_pandas().set_index("url", verify_integrity=True)
    assert (len(rows), set(rows["status"]), set(rows["attempt"])) == (23, {"ok"}, {1})
