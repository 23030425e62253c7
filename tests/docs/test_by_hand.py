"""docs/jobs.md: by hand the jobs find what the demo finds, and on a cluster the same, bit for bit."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.documents import REPOSITORY, block
from harness.figures import MEASURED_ON, README, told
from windrow import experiment
from windrow.laptop import demo_feed, demo_summary, image_server

pytestmark = [pytest.mark.faults, pytest.mark.submit, pytest.mark.spark, pytest.mark.tensorflow, pytest.mark.mlflow]
UNRESOLVED = "unresolved_host"
"""The demo's fifth broken URL needs a resolver somewhere else, which no test asks."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that looks like the checkout, with a var/ of its own."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("dags", "plugins"):
        (folder / name).symlink_to(REPOSITORY / name)
    shutil.copytree(REPOSITORY / "jobs", folder / "jobs", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / ".venv").symlink_to(Path(sys.prefix))
    return folder


@pytest.fixture
def truth(checkout: Path) -> Iterator[dict[str, dict[str, str]]]:
    """The demo's feed without the host that nobody knows, and what is true of it, while its images are served."""
    from windrow.data import shards, sources

    home = checkout / "var"
    section = experiment.load(REPOSITORY / "dags" / "experiments" / "digits.yaml").dataset
    folder = demo_feed.dataset_folder(home, "digits")
    shards.write(folder, sources.load(section, folder / "downloads"), section)
    with image_server.make_server(0, home / "demo") as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        demo_feed.write(home, "digits", f"http://127.0.0.1:{server.server_port}")
        urls = {kind: dict(each) for kind, each in demo_feed.read_truth(home, "digits").items()}
        urls["broken"] = {url: why for url, why in urls["broken"].items() if ".invalid/" not in url}
        demo_feed.write_lines(home / "feeds" / "digits" / "demo.txt", [*urls["reachable"], *urls["broken"]])
        yield urls
        server.shutdown()


def by_hand(checkout: Path, master: str, folder: str) -> dict[str, dict[str, Any]]:
    """Run the page's commands on a master; each job's result by name."""
    commands = block("docs/jobs.md", "jobs/sweep.py").replace("local[2]", master).replace("var/hand", f"var/{folder}")
    results = checkout / "results" / folder
    commands = re.sub(r"(jobs/(\w+)\.py .*)", rf"\1 --result {results}/\2.json", commands)
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("WINDROW", "MLFLOW"))}
    done = subprocess.run(
        ["/bin/sh", "-ec", commands],
        # A registry of its own for each master: the second would find the first one's champion.
        env={**variables, "WINDROW_HOME": str(checkout / "var" / folder), "MLFLOW_DISABLE_TELEMETRY": "true"},
        cwd=checkout,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    return {path.stem: json.loads(path.read_text()) for path in results.glob("*.json")}


def without_the_unresolved(line: str) -> str:
    """A line of the README's summary, less the one URL that isn't asked here."""
    line = line.replace(f", 1 {UNRESOLVED}", "")
    if not line.startswith("URLs"):
        return line
    return re.sub(r"(\d+), rows (\d+)", lambda found: f"{int(found[1]) - 1}, rows {int(found[2]) - 1}", line)


@pytest.mark.usefixtures("cluster_work")
def test_the_jobs_by_hand_find_what_the_demo_finds(checkout: Path, truth: dict[str, dict[str, str]]) -> None:
    from deltalake import DeltaTable

    local = by_hand(checkout, "local[2]", "local")
    assert set(local) == {"prepare_dataset", "sweep", "draw_atlas", "promote_best", "score_images"}
    champion = demo_summary.Champion(
        str(local["promote_best"]["model_version"]), local["promote_best"]["test_accuracy"]
    )
    rows = demo_summary.read_table(str(checkout / "var" / "local" / "table"))
    labels = demo_summary.judge(rows, truth["reachable"], truth["broken"])
    if platform.machine() == MEASURED_ON:  # on another kind of processor the last digits may be others
        lines = told(demo_summary.lines(demo_summary.figures(local["sweep"], local["promote_best"], champion, labels)))
        assert [re.sub(r"\(promoted.*", "", line) for line in lines] == [
            re.sub(r"\(promoted.*", "", without_the_unresolved(line)) for line in README
        ]

    cluster = by_hand(checkout, "local-cluster[2,1,1024]", "cluster")
    assert local["prepare_dataset"]["digest"] == cluster["prepare_dataset"]["digest"]
    for key in ("outcomes", "best_trial", "best_value", "best_point"):
        assert local["sweep"][key] == cluster["sweep"][key], key
    for key in ("trial", "test_accuracy", "model_version", "promoted"):
        assert local["promote_best"][key] == cluster["promote_best"][key], key
    assert local["score_images"]["statuses"] == cluster["score_images"]["statuses"]
    answers = [
        DeltaTable(str(checkout / "var" / folder / "table"))
        .to_pandas()
        .set_index("url")[["status", "label"]]
        .sort_index()
        for folder in ("local", "cluster")
    ]
    assert answers[0].equals(answers[1])
