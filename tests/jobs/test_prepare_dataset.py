"""prepare_dataset.py as a user runs it, on real Spark."""

from __future__ import annotations

import functools
import gzip
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from windrow.data import manifest as manifests
from windrow.data import shards

pytestmark = pytest.mark.spark
REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = REPOSITORY / "dags" / "experiments"
Submit = Callable[..., Any]


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


@pytest.fixture
def idx_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "small"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for prefix, count in (("train", 40), ("t10k", 20)):
        write_idx(folder / f"{prefix}-images-idx3-ubyte.gz", draw.integers(0, 256, (count, 4, 4)))
        write_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", np.arange(count) % 10)
    return folder


@pytest.fixture
def server(real_data: Path) -> Iterator[str]:
    """The real MNIST files over HTTP."""
    handler = functools.partial(_Quiet, directory=str(real_data / "mnist"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def prepare(submit: Submit, page: str, out: Path, *overrides: str, **options: Any) -> Any:
    settings = [word for override in overrides for word in ("--set", override)]
    return submit("prepare_dataset", "--experiment", PAGES / f"{page}.yaml", "--out", out, *settings, **options)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("dataset.source=absent", "dataset.source must be digits, mnist, fashion_mnist or a folder; got 'absent'"),
        ("dataset.sauce=digits", "unknown key 'dataset.sauce'"),
        ("dataset.test=2", "dataset.test"),
    ],
)
def test_a_mistake_of_the_user_exits_with_2(submit: Submit, tmp_path: Path, override: str, message: str) -> None:
    done = prepare(submit, "digits", tmp_path / "out", override)
    assert done.code == 2
    assert message in done.output
    assert "Traceback" not in done.output
    assert done.result == {}
    assert not (tmp_path / "out" / manifests.FILE).exists()


def test_mirrors_that_are_away_exit_with_1_and_the_cure(
    submit: Submit, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    mirror = f"http://127.0.0.1:{free_port()}/"
    done = prepare(
        submit, "mnist", tmp_path / "out", f"dataset.mirrors=['{mirror}']", environment={"NO_PROXY": "127.0.0.1"}
    )
    assert done.code == 1
    assert f"{mirror}: Connection refused" in done.output
    assert "--set dataset.source=FOLDER" in done.output
    assert "Traceback" not in done.output


def test_a_folder_inside_the_source_is_refused(submit: Submit, idx_folder: Path) -> None:
    done = prepare(submit, "mnist", idx_folder / "out", f"dataset.source={idx_folder}")
    assert done.code == 2
    assert "--out must not be inside the source" in done.output
    assert not (idx_folder / "out").exists()


def test_digits_are_prepared_and_the_second_time_found(submit: Submit, tmp_path: Path) -> None:
    done = prepare(submit, "digits", tmp_path / "out")
    assert done.code == 0, done.output
    manifest = manifests.read(tmp_path / "out")
    assert done.result == {
        "dataset": str(tmp_path / "out"),
        "digest": manifest.digest,
        "shape": [8, 8, 1],
        "classes": 10,
        "labels": list("0123456789"),
        "splits": manifest.splits,
        "source": "digits",
        "left_out": 0,
    }
    assert manifest.splits == {"train": 1151, "validation": 287, "test": 359}
    assert manifest.digest.startswith("0178485decfbc50f"), "the README's and the demo's accuracy is on this very split"
    written = (tmp_path / "out" / "train-images.npy").stat().st_mtime_ns
    again = prepare(submit, "digits", tmp_path / "out")
    assert again.result == done.result
    assert (tmp_path / "out" / "train-images.npy").stat().st_mtime_ns == written
    other = prepare(submit, "digits", tmp_path / "out", "dataset.seed=1")
    assert other.result["digest"] != done.result["digest"]


def test_a_source_folder_that_changed_is_read_again(submit: Submit, tmp_path: Path, idx_folder: Path) -> None:
    first = prepare(submit, "mnist", tmp_path / "out", f"dataset.source={idx_folder}")
    assert first.code == 0, first.output
    write_idx(idx_folder / "t10k-images-idx3-ubyte.gz", np.zeros((20, 4, 4)))
    second = prepare(submit, "mnist", tmp_path / "out", "dataset.source=small")  # the same, relative
    assert second.result["digest"] != first.result["digest"]


def test_test_images_that_are_in_training_too_are_refused_with_their_number(
    submit: Submit, tmp_path: Path, idx_folder: Path
) -> None:
    draw = np.random.default_rng(0)
    copies = draw.integers(0, 256, (40, 4, 4))[:3]
    write_idx(idx_folder / "t10k-images-idx3-ubyte.gz", np.concatenate([copies, draw.integers(0, 256, (17, 4, 4))]))
    for _ in range(2):  # what is prepared already is looked at as well
        done = prepare(submit, "mnist", tmp_path / "out", f"dataset.source={idx_folder}")
        assert done.code == 2
        assert "3 of 20" in done.output


@pytest.mark.usefixtures("cluster_work")
def test_a_folder_of_images_is_the_same_on_local_slots_and_on_a_cluster(submit: Submit, tmp_path: Path) -> None:
    for name, value in (("cat", 10), ("dog", 200)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(20):
            Image.new("RGB", (6, 4), (value, number, 0)).save(tmp_path / "photos" / name / f"{number}.png")
    (tmp_path / "photos" / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut")
    local = prepare(submit, "digits", tmp_path / "local", "dataset.source=photos")
    assert local.code == 0, local.output
    assert "left out 1 of 41 images that can't be decoded: cat/broken.jpg" in local.output
    assert (local.result["shape"], local.result["labels"], local.result["left_out"]) == ([4, 6, 3], ["cat", "dog"], 1)
    images, labels = shards.load_split(tmp_path / "local", "train")
    assert images[:, 0, 0, 0].tolist() == [200 if label else 10 for label in labels]
    master = "local-cluster[2,1,1024]"
    cluster = prepare(submit, "digits", tmp_path / "cluster", "dataset.source=photos", master=master)
    assert cluster.code == 0, cluster.output
    assert cluster.result["digest"] == local.result["digest"]


def test_the_real_mnist_is_downloaded_and_checked(submit: Submit, tmp_path: Path, server: str) -> None:
    done = prepare(
        submit, "mnist", tmp_path / "out", f"dataset.mirrors=['{server}']", environment={"NO_PROXY": "127.0.0.1"}
    )
    assert done.code == 0, done.output
    assert done.result["splits"] == {"train": 54_001, "validation": 5_999, "test": 10_000}
    assert done.output.count("downloaded ") == 4
    images, labels = shards.load_split(tmp_path / "out", "test")
    assert (images.shape, labels[:5].tolist()) == ((10_000, 28, 28, 1), [7, 2, 1, 0, 4])


def test_help_needs_neither_spark_nor_tensorflow() -> None:
    script = REPOSITORY / "jobs" / "prepare_dataset.py"
    done = subprocess.run([sys.executable, "-X", "importtime", script, "--help"], capture_output=True, text=True)
    assert "spark-submit --master 'local[*]' jobs/prepare_dataset.py" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "windrow.data.shards" in imported
    assert not imported & {"pyspark", "tensorflow", "mlflow", "sklearn"}
