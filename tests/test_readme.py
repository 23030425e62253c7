"""The README keeps its word: its commands run, its pages load, its tree is the tree."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from windrow import experiment

REPOSITORY = Path(__file__).resolve().parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_smallest_page_is_a_page_and_its_data_set_is_what_it_says() -> None:
    (page,) = blocks("yaml")
    assert experiment.parse(page).name == "shoes"


@pytest.mark.tensorflow
def test_the_users_network_is_one() -> None:
    from windrow.training import parameters
    from windrow.training.networks import Builder

    source = next(block for block in blocks("python") if "def build" in block)
    builder = Builder("mine.py:build", source, "build")
    network = builder.build({**parameters.defaults("mine.py:build"), "width": 4}, (8, 8, 1), 10)
    assert network.output_shape == (None, 10)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`?make ([a-z]+)", README))))
def test_every_make_target_that_is_named_exists(target: str) -> None:
    told = subprocess.run(["make", "-n", target], cwd=REPOSITORY, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr


def test_every_path_of_the_tree_exists() -> None:
    tree = README.split("## The tree", 1)[1].split("## Decisions", 1)[0]
    folders: dict[int, str] = {}
    for line in filter(str.strip, textwrap.dedent(tree).splitlines()):
        depth = len(line) - len(line.lstrip())
        names = re.split(r"\s{2,}", line.strip())[0].split(", ")
        folders[depth] = names[0]
        parents = [folders[level] for level in sorted(folders) if level < depth]
        for name in names:
            path = f"requirements{name}" if name.startswith(".") else "".join(parents) + name
            assert list(REPOSITORY.glob(path)), path


def test_every_linked_file_exists() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (REPOSITORY / target).exists(), target


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like the checkout, with a var/ of its own."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("dags", "plugins"):
        (folder / name).symlink_to(REPOSITORY / name)
    shutil.copytree(REPOSITORY / "jobs", folder / "jobs", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / ".venv").symlink_to(Path(sys.prefix))
    return folder


def by_hand(checkout: Path, images: str, master: str, folder: str) -> dict[str, dict[str, Any]]:
    """Run the README's jobs on a master; each job's result by name."""
    commands = next(block for block in blocks("sh") if "sweep.py" in block)
    commands = commands.replace("local[2]", master).replace("var/hand", f"var/{folder}")
    results = checkout / "results" / folder
    commands = re.sub(r"(jobs/(\w+)\.py .*)", rf"\1 --result {results}/\2.json", commands)
    feed = checkout / "var" / "feeds" / "digits" / "demo.txt"
    feed.parent.mkdir(parents=True, exist_ok=True)
    feed.write_text("".join(f"{images}/{index}.png\n" for index in range(40)) + f"{images}/none.png\n")
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("WINDROW", "MLFLOW"))}
    told = subprocess.run(
        ["/bin/sh", "-ec", commands],
        # A registry of its own for each master: the second would find the first one's champion.
        env={**variables, "WINDROW_HOME": str(checkout / "var" / folder)},
        cwd=checkout,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=800,
    )
    assert told.returncode == 0, told.stdout
    return {path.stem: json.loads(path.read_text()) for path in results.glob("*.json")}


@pytest.mark.spark
@pytest.mark.tensorflow
@pytest.mark.mlflow
@pytest.mark.timeout(1700)
@pytest.mark.usefixtures("cluster_work")
def test_the_jobs_by_hand_give_the_same_on_local_slots_and_on_a_cluster(checkout: Path, digit_images: str) -> None:
    from deltalake import DeltaTable

    masters = {"local[2]": "local", "local-cluster[2,1,1024]": "cluster"}
    results = [by_hand(checkout, digit_images, master, folder) for master, folder in masters.items()]
    local, cluster = results
    assert set(local) == {"prepare_dataset", "sweep", "draw_atlas", "promote_best", "score_images"}
    assert local["prepare_dataset"]["digest"] == cluster["prepare_dataset"]["digest"]
    for key in ("outcomes", "best_trial", "best_value", "best_point"):
        assert local["sweep"][key] == cluster["sweep"][key]
    for key in ("trial", "test_accuracy", "model_version", "promoted"):
        assert local["promote_best"][key] == cluster["promote_best"][key]
    assert local["promote_best"]["test_accuracy"] >= 0.97
    assert local["score_images"]["statuses"] == cluster["score_images"]["statuses"] == {"ok": 40, "http_error": 1}
    labels = [
        DeltaTable(str(checkout / "var" / folder / "table")).to_pandas().set_index("url")["label"].dropna().to_dict()
        for folder in masters.values()
    ]
    assert labels[0] == labels[1]
