"""score_images.py with a network that is not in the registry: real photographs, a real network, real spark-submit."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
Submit = Callable[..., Any]
pytestmark = [pytest.mark.spark, pytest.mark.tensorflow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def imagenet() -> Path:
    """The folder with the photographs and the networks, where this machine has one."""
    data = Path(os.environ.get("WINDROW_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
    if not (data / "imagenet" / "photos").is_dir():
        pytest.skip(f"needs the photographs: no {data / 'imagenet' / 'photos'}; set WINDROW_TEST_DATA")
    return data / "imagenet"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def photos(imagenet: Path) -> Iterator[list[str]]:
    """The photographs' URLs."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(imagenet / "photos"))) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        names = sorted(path.name for path in (imagenet / "photos").iterdir())
        yield [f"http://127.0.0.1:{http.server_port}/{name}" for name in names]
        http.shutdown()


def page(network: str, batch_size: int = 32) -> str:
    return (
        "name: photographs\n"
        "scoring:\n"
        "  {feed: feed.txt, schedule: null, top_k: 5, allow_addresses: [127.0.0.0/8], host_rate: null, "
        f"host_concurrency: 32, batch_size: {batch_size},\n   network: {{{network}}}}}\n"
    )


def right(rows: Any) -> tuple[int, int]:
    """How many photographs have their name first, and how many among the first five."""

    def holds(label: str, name: str) -> bool:
        return name in (synonym.strip().lower() for synonym in label.split(","))

    first = among = 0
    for row in rows.itertuples():
        name = row.url.rsplit("/", 1)[1].removesuffix(".JPEG").partition("_")[2].replace("_", " ").lower()
        found = [holds(one["label"], name) for one in row.top_k]
        first, among = first + found[0], among + any(found)
    return first, among


def label(submit: Submit, home: Path, text: str, urls: list[str]) -> tuple[Any, Any]:
    """(the job's result, the table)."""
    from deltalake import DeltaTable

    home.mkdir(parents=True)
    (home / "feed.txt").write_text("\n".join(urls) + "\n")
    (home / "page.yaml").write_text(text)
    done = submit("score_images", "--experiment", home / "page.yaml")
    assert done.code == 0, done.output
    assert done.result["statuses"] == {"ok": len(urls)}
    return done.result, DeltaTable(done.result["table"]).to_pandas()


def test_the_graph_labels_the_photographs_as_it_does_by_itself(
    submit: Submit, imagenet: Path, photos: list[str], tmp_path: Path
) -> None:
    file = imagenet / "mobilenet_v1_0.75_192_graph_def.pb"
    network = f"file: {file}, labels: [{imagenet / 'imagenet_labels.txt'}], fetch: 'softmax:0'"
    result, rows = label(submit, tmp_path / "home", page(f"{network}, feed: 'DecodeJpeg/contents:0'"), photos)
    assert right(rows) == (49, 60)
    assert result["model_name"] == "mobilenet_v1_0.75_192_graph_def"
    assert set(rows["model_digest"].str[:12]) == set(rows["model_version"]) == {result["model_version"]}
    assert rows["predict_ms"].min() > 0


@pytest.mark.parametrize(
    "network",
    ["file: {0}/mobilenet_v1_0.75_192.keras", "file: {0}/mobilenet_v1_0.75_192_graph_def.pb, {1}"],
    ids=["keras", "graph-in-batches"],
)
def test_in_batches_windrow_resizes_and_one_photograph_at_the_margin_changes(
    submit: Submit, imagenet: Path, photos: list[str], tmp_path: Path, network: str
) -> None:
    written = network.format(imagenet, "feed: 'ResizeBilinear:0', fetch: 'softmax:0'")
    _, rows = label(submit, tmp_path / "home", page(f"{written}, labels: [{imagenet / 'imagenet_labels.txt'}]"), photos)
    assert right(rows) == (48, 60)
