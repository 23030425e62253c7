"""score_images.py with a network that is not in the registry: a stock one from its publisher, and real photographs."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.jobs import run_main
from harness.web import Web

REPOSITORY = Path(__file__).resolve().parents[2]
Run = Callable[..., Any]
IMAGENET = REPOSITORY / "dags" / "experiments" / "imagenet.yaml"


@pytest.fixture(scope="module")
def imagenet() -> Path:
    """The folder with the photographs and the networks, where this machine has one."""
    data = Path(os.environ.get("WINDROW_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
    if not (data / "imagenet" / "photos").is_dir():
        pytest.skip(f"needs the photographs: no {data / 'imagenet' / 'photos'}; set WINDROW_TEST_DATA")
    return data / "imagenet"


@pytest.fixture(scope="module")
def photos(imagenet: Path) -> Iterator[list[str]]:
    """The photographs' URLs."""
    with Web() as web:
        web.serve(imagenet / "photos")
        yield [f"{web.address}/{path.name}" for path in sorted((imagenet / "photos").iterdir())]


@pytest.fixture
def publisher(tmp_path: Path, stock_graph: Path) -> Iterator[str]:
    """A server with an archive as TensorFlow's is, of a small graph, and with images of one colour each."""
    from PIL import Image

    folder = tmp_path / "web"
    folder.mkdir()
    entries = (f'entry {{\n  target_class: {number}\n  target_class_string: "n0{number}"\n}}\n' for number in (0, 1, 2))
    files = {
        "classify_image_graph_def.pb": stock_graph.read_bytes(),
        "imagenet_2012_challenge_label_map_proto.pbtxt": "".join(entries).encode(),
        "imagenet_synset_to_human_label_map.txt": b"n00\tred, scarlet\nn01\tgreen\nn02\tblue\n",
    }
    with tarfile.open(folder / "inception-2015-12-05.tgz", "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    for name, kind in (("red", "jpg"), ("lime", "png"), ("blue", "webp")):
        Image.new("RGB", (40, 30), name).save(folder / f"{name}.{kind}")
    with Web() as web:
        web.serve(folder)
        yield web.address


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


def label(run_job: Run, home: Path, text: str, urls: list[str]) -> tuple[Any, Any]:
    """(the job's result, the table)."""
    from deltalake import DeltaTable

    home.mkdir(parents=True)
    (home / "feed.txt").write_text("\n".join(urls) + "\n")
    (home / "page.yaml").write_text(text)
    done = run_job("score_images", "--experiment", home / "page.yaml")
    assert done.code == 0, done.output
    assert done.result["statuses"] == {"ok": len(urls)}
    return done.result, DeltaTable(done.result["table"]).to_pandas()


@pytest.mark.faults
@pytest.mark.spark
@pytest.mark.tensorflow
def test_the_graph_labels_the_photographs_as_it_does_by_itself(
    run_job: Run, imagenet: Path, photos: list[str], tmp_path: Path
) -> None:
    file = imagenet / "mobilenet_v1_0.75_192_graph_def.pb"
    network = f"file: {file}, labels: [{imagenet / 'imagenet_labels.txt'}], fetch: 'softmax:0'"
    result, rows = label(run_job, tmp_path / "home", page(f"{network}, feed: 'DecodeJpeg/contents:0'"), photos)
    assert right(rows) == (49, 60)
    assert result["model_name"] == "mobilenet_v1_0.75_192_graph_def"
    assert set(rows["model_digest"].str[:12]) == set(rows["model_version"]) == {result["model_version"]}
    assert rows["predict_ms"].min() > 0


@pytest.mark.faults
@pytest.mark.spark
@pytest.mark.tensorflow
@pytest.mark.parametrize(
    "network",
    ["file: {0}/mobilenet_v1_0.75_192.keras", "file: {0}/mobilenet_v1_0.75_192_graph_def.pb, {1}"],
    ids=["keras", "graph-in-batches"],
)
def test_in_batches_windrow_resizes_and_one_photograph_at_the_margin_changes(
    run_job: Run, imagenet: Path, photos: list[str], tmp_path: Path, network: str
) -> None:
    written = network.format(imagenet, "feed: 'ResizeBilinear:0', fetch: 'softmax:0'")
    _, rows = label(
        run_job, tmp_path / "home", page(f"{written}, labels: [{imagenet / 'imagenet_labels.txt'}]"), photos
    )
    assert right(rows) == (48, 60)


@pytest.mark.spark
@pytest.mark.tensorflow
def test_the_shipped_page_downloads_a_stock_network_trusts_it_once_and_labels_with_it(
    run_job: Run, publisher: str, tmp_path: Path
) -> None:
    from deltalake import DeltaTable

    (tmp_path / "feed.txt").write_text(
        "".join(f"{publisher}/{name}\n" for name in ("red.jpg", "lime.png", "blue.webp"))
    )
    overrides = (
        f"scoring.network.file={publisher}/inception-2015-12-05.tgz",
        "scoring.network.shape=[6, 5, 3]",
        "scoring.allow_addresses=[127.0.0.0/8]",
    )
    arguments = ["--experiment", IMAGENET, "--feed", tmp_path / "feed.txt"]
    arguments += [word for override in overrides for word in ("--set", override)]
    short = run_job(
        "score_images", *arguments, "--set", "scoring.network.labels=[imagenet_synset_to_human_label_map.txt]"
    )
    assert short.code == 2, short.output
    assert "trusted now, checked from now on; scoring.network.sha256 can say it" in short.output
    assert "a label for each of the network's 4 classes; got 3" in short.output.splitlines()[-1]

    done = run_job("score_images", *arguments)
    assert done.code == 0, done.output
    assert "trusted now" not in done.output
    rows = DeltaTable(done.result["table"]).to_pandas()
    labels = {row.url.rsplit("/", 1)[1]: row.label for row in rows.itertuples()}
    assert labels == {"red.jpg": "red, scarlet", "lime.png": "green", "blue.webp": "blue"}
    assert {one["label"] for top in rows["top_k"] for one in top} == {*labels.values(), "class 3"}
    assert (done.result["model_name"], done.result["table_version"]) == ("classify_image_graph_def", 1)


@pytest.mark.parametrize(
    ("job", "arguments"),
    [
        ("prepare_dataset", ["--out", "data"]),
        ("sweep", ["--dataset", "data", "--study", "study"]),
        ("promote_best", ["--dataset", "data", "--study", "study"]),
        ("promote_best", ["--rollback"]),
        ("draw_atlas", ["--study", "study", "--dataset", "data"]),
    ],
)
def test_a_job_that_trains_refuses_a_page_that_only_scores(
    job: str, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_main(job, ["--experiment", str(IMAGENET), *arguments]) == 2
    told = capsys.readouterr().err.splitlines()
    assert told[-1].startswith("  space: must be there to train; got a page that only scores; add it")
    assert list(tmp_path.iterdir()) == []
