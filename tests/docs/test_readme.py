"""The README keeps its word: its page loads, its network is one, its tree is the tree, its table is read."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
from harness.documents import REPOSITORY, block, text_of
from windrow import experiment


def test_the_smallest_page_is_a_page_and_its_data_set_is_what_it_says() -> None:
    page = experiment.parse(block("README.md", "name: shoes"))
    assert (page.name, page.dataset.source, page.network.builder) == ("shoes", "/data/shoes", "cnn")


@pytest.mark.tensorflow
def test_the_users_network_is_one() -> None:
    from windrow.experiment import parameters
    from windrow.training.networks import Builder

    builder = Builder("mine.py:build", block("README.md", "def build"), "build")
    network = builder.build({**parameters.defaults("mine.py:build"), "width": 4}, (8, 8, 1), 10)
    assert network.output_shape == (None, 10)


def test_the_predictions_are_read_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet as pq
    from harness.predictions import PATIENCE, labelled_row
    from windrow.scoring.fetch.urls import understand
    from windrow.scoring.table import prediction
    from windrow.scoring.table.prediction import Stamp
    from windrow.scoring.table.predictions_table import PredictionTable

    monkeypatch.chdir(tmp_path)
    target = understand(b"http://127.0.0.1/7.png")
    assert target is not None
    row = labelled_row(target, [7], [0.75], list("0123456789"), Stamp("run", "digits", "1", "digest"))
    predictions = PredictionTable(tmp_path / "var" / "tables" / "digits")
    with predictions.staged("run") as staging:
        batch = prediction.record_batch([row], PATIENCE)
        staging.mkdir(exist_ok=True)
        with pq.ParquetWriter(staging / "part-0.parquet", prediction.SCHEMA) as writer:
            writer.write_batch(batch)
        predictions.commit(staging, "run", {"modelVersion": "1"})
    names: dict[str, Any] = {}
    exec(compile(block("README.md", "DeltaTable("), "README.md", "exec"), names)
    assert names["labels"].to_dict("records") == [
        {"url": "http://127.0.0.1/7.png", "status": "ok", "label": "7", "score": 0.75}
    ]


def test_every_path_of_the_tree_exists() -> None:
    tree = text_of("README.md").split("## The tree", 1)[1].split("## Decisions", 1)[0]
    folders: dict[int, str] = {}
    for line in filter(str.strip, textwrap.dedent(tree).splitlines()):
        depth = len(line) - len(line.lstrip())
        names = re.split(r"\s{2,}", line.strip())[0].split(", ")
        folders[depth] = names[0]
        parents = [folders[level] for level in sorted(folders) if level < depth]
        for name in names:
            path = f"requirements{name}" if name.startswith(".") else "".join(parents) + name
            assert list(REPOSITORY.glob(path)), path


def test_the_tree_has_every_job_and_every_plugin() -> None:
    tree = text_of("README.md").split("## The tree", 1)[1].split("## Decisions", 1)[0]
    names = [path.name for folder in ("jobs", "plugins") for path in (REPOSITORY / folder).glob("*.py")]
    assert [name for name in names if name not in tree] == []
