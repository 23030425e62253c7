"""A user's way without Airflow: a folder becomes a page, the page a champion, and the champion labels a feed."""

# ruff: noqa: RUF001

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import pytest
from harness.web import Web
from PIL import Image
from windrow.laptop.page import new

pytestmark = [pytest.mark.faults, pytest.mark.spark, pytest.mark.tensorflow, pytest.mark.mlflow]

IMAGES = 120
"""Of each class."""

FOLDERS = (
    "_$\\frac{1}$ <b>|`*x*` [x](y) &amp; ~a~ \\",
    f"-%s {{0}}: 'a' \"b\" #1 ?c=d&e; 100%, @f + .. * {'below-' * 25}",
    unicodedata.normalize("NFD", "Ödland 👩\u200d🚀 שלום می\u200cخواهم ❤\ufe0f ") + "ﬁ train",
)
"""Names that are markup to matplotlib, HTML, Markdown and Python, a long one that MLflow, URLs and shells would read in
their own way, and one as macOS writes it, in two directions."""

CLASSES = [unicodedata.normalize("NFC", FOLDERS[place]) for place in (1, 0, 2)]


def draw(folder: Path) -> None:
    """Write noise that is brighter above, below or nowhere."""
    random = np.random.default_rng(0)
    for name, rows in zip(FOLDERS, (slice(0, 8), slice(8, 16), slice(0, 0)), strict=True):
        (folder / name).mkdir(parents=True)
        for number in range(IMAGES):
            pixels = random.integers(0, 100, (16, 16), np.uint8)
            pixels[rows] += 120
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


@pytest.mark.usefixtures("client")
def test_a_page_that_was_written_from_a_folder_ends_in_labels(
    run_job: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deltalake import DeltaTable

    images, feed = tmp_path / "images", tmp_path / "urls"
    draw(images)
    feed.mkdir()
    monkeypatch.setattr(new, "PAGES", tmp_path)
    assert new.main(["--name", "wasteland", "--folder", str(images), "--feed", str(feed)]) == 0
    here = ("scoring.allow_addresses=['127.0.0.0/8']", "scoring.host_rate=null")
    short = ("sweep.trials=2", "sweep.epochs=6", "promotion.finalists=1", "promotion.seeds=1")
    settings = [word for override in (*here, *short) for word in ("--set", override)]
    page = ("--experiment", tmp_path / "wasteland.yaml", *settings)
    study = ("--dataset", tmp_path / "data", "--study", tmp_path / "study")

    prepared = run_job("prepare_dataset", *page, "--out", tmp_path / "data")
    assert prepared.code == 0, prepared.output
    assert prepared.result["labels"] == CLASSES
    for job in ("sweep", "promote_best"):
        done = run_job(job, *page, *study)
        assert done.code == 0, done.output
    assert done.result["promoted"], done.result["reason"]
    assert done.result["warnings"] == [], "every picture is drawn"
    assert CLASSES[2] in done.output
    drawn = run_job("draw_atlas", *page, *study)
    assert (drawn.code, drawn.result["warnings"]) == (0, []), drawn.output

    with Web() as web:
        web.serve(images)
        names = [f"{name}/{number}.png" for name in FOLDERS for number in range(5)]
        (feed / "monday.txt").write_text("".join(f"{web.address}/{quote(name)}\n" for name in names))
        scored = run_job("score_images", *page)
    assert scored.code == 0, scored.output
    labels = DeltaTable(scored.result["table"]).to_pandas().set_index("url")["label"]
    assert set(labels) <= set(CLASSES)
    true = [unicodedata.normalize("NFC", unquote(url).split("/")[-2]) for url in labels.index]
    assert sum(label == name for label, name in zip(labels, true, strict=True)) >= 13
    (gallery,) = Path(scored.result["table"]).glob("_windrow/galleries/*/gallery.html")
    assert escape(CLASSES[1]) in gallery.read_text(encoding="utf-8")
