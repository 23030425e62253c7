"""Each page that is shipped, from the page to scored rows, on a handful of images."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness.idx import write_split
from harness.web import Web
from windrow import experiment
from windrow.errors import UserError
from windrow.tracking.server import connect

pytestmark = [pytest.mark.spark, pytest.mark.tensorflow, pytest.mark.mlflow]

PAGES = Path(__file__).resolve().parents[2] / "dags" / "experiments"
TRAINED = ["digits", "fashion_mnist", "mnist", "mnist_dense", "mnist_sensitivity", "photos"]
IN_MAKE_TEST = {
    "mnist"
}  # the most that a page asks for: convolutions, augmentation, a decay, ASHA and points of its own
RunJob = Callable[..., Any]


@pytest.fixture(scope="module")
def handful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 images of 28x28 as MNIST's four files: a bright block whose place is the label, on noise."""
    folder, draw = tmp_path_factory.mktemp("handful"), np.random.default_rng(0)
    for split, count in (("train", 60), ("t10k", 20)):
        labels, images = np.arange(count) % 10, draw.integers(0, 60, (count, 28, 28))
        for image, label in zip(images, labels, strict=True):
            image[7 * (label // 4) : 7 * (label // 4 + 1), 7 * (label % 4) : 7 * (label % 4 + 1)] += 190
        write_split(folder, split, images, labels)
    return folder


@pytest.fixture
def photographs(real_data: Path, tmp_path: Path) -> Path:
    """20 photographs of ants and 20 of bees."""
    for name in ("ants", "bees"):
        (tmp_path / "photographs" / name).mkdir(parents=True)
        for path in sorted((real_data / "hymenoptera" / "train" / name).iterdir())[:20]:
            shutil.copy(path, tmp_path / "photographs" / name)
    return tmp_path / "photographs"


@pytest.fixture(scope="module")
def pictures() -> Iterator[Web]:
    """Three images as PNG, and a page that is none."""
    from PIL import Image

    draw = np.random.default_rng(1)
    with Web({"/page": b"<html>"}) as web:
        for number in range(3):
            file = io.BytesIO()
            Image.fromarray(draw.integers(0, 256, (28, 28), dtype=np.uint8)).save(file, "PNG")
            web.routes[f"/{number}.png"] = file.getvalue()
        yield web


def test_every_shipped_page_that_trains_is_trained_here() -> None:
    def trains(path: Path) -> bool:
        try:
            return bool(experiment.load_to_train(path, []))
        except UserError:
            return False

    assert [path.stem for path in sorted(PAGES.glob("*.yaml")) if trains(path)] == TRAINED


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in IN_MAKE_TEST else pytest.mark.faults) for name in TRAINED]
)
def test_a_shipped_page_is_trained_and_labels_urls(
    run_job: RunJob, name: str, handful: Path, pictures: Web, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    trials = 2 if name in IN_MAKE_TEST else 3  # the default, a point of the page's own or the sampler's first
    short = [f"sweep.trials={trials}", "sweep.epochs=2", "promotion.finalists=1", "promotion.seeds=1"]
    if name != "digits":
        source = request.getfixturevalue("photographs") if name == "photos" else handful
        short.append(f"dataset.source={source}")
    page = ("--experiment", PAGES / f"{name}.yaml", *(word for one in short for word in ("--set", one)))
    trained_on = ("--dataset", tmp_path / "data", "--study", tmp_path / "study")

    prepared = run_job("prepare_dataset", *page, "--out", tmp_path / "data")
    assert prepared.code == 0, prepared.output
    if experiment.load(PAGES / f"{name}.yaml").network.backbone:
        embedded = run_job("embed_images", *page, "--dataset", tmp_path / "data")
        assert embedded.code == 0, embedded.output
    swept = run_job("sweep", *page, *trained_on)
    assert swept.code == 0, swept.output
    assert swept.result["trials"] == trials
    assert set(swept.result["outcomes"]) <= {"ok", "pruned"}
    promoted = run_job("promote_best", *page, *trained_on)
    assert promoted.code == 0, promoted.output
    assert promoted.result["decision"] in ("promoted", "kept"), "after two epochs a network may still be guessing"
    connect().set_registered_model_alias(name, "champion", promoted.result["model_version"])

    feed = tmp_path / "feed.txt"
    feed.write_text("".join(f"{pictures.address}{path}\n" for path in pictures.routes))
    own = ("--set", f"scoring.feed={feed}", "--set", "scoring.allow_addresses=['127.0.0.0/8']")
    scored = run_job("score_images", *page, *own)
    assert scored.code == 0, scored.output
    assert scored.result["statuses"] == {"ok": 3, "not_an_image": 1}
    assert scored.result["model_name"] == name
    from deltalake import DeltaTable

    labels = DeltaTable(scored.result["table"]).to_pyarrow_table().column("label").to_pylist()
    assert sum(label in prepared.result["labels"] for label in labels) == 3
    assert set(prepared.result["labels"]) in ({*"0123456789"}, {*FASHION}, {"ants", "bees"})


FASHION = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
