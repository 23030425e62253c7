"""Fixtures that tests of several rooms share: Spark, jobs, an MLflow server, free ports. See tests/harness."""

from __future__ import annotations

import gc
import os
import shutil
import socket
import sys
import tempfile
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from harness import budget
from harness.jobs import Finished, read_result, run_main, serving, submit_job
from harness.lanes import lane_of
from harness.results import check_documented
from harness.web import Web
from hypothesis import settings
from windrow.clusters import free_memory

# Before anything imports them: neither MLflow nor Airflow may tell the internet about a test.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["AIRFLOW__USAGE_DATA_COLLECTION__ENABLED"] = "False"
# A store's client without a key would ask the machine's metadata service, at an address that is not loopback.
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
# Nobody runs MLflow's background jobs here, and their five processes take a third of a core.
os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"

# A busy machine is no finding: Hypothesis would fail an example that takes 200 ms, whatever it checks.
# The same examples each time: a failure is the change's. To look for new ones: WINDROW_HYPOTHESIS=search.
settings.register_profile("quick", deadline=None, max_examples=30, derandomize=True)
settings.register_profile("thorough", deadline=None, max_examples=500, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=500)
settings.load_profile(os.environ.get("WINDROW_HYPOTHESIS", "quick"))

REPOSITORY = Path(__file__).resolve().parents[1]
WORKER_BYTES = 2.5 * 2**30
"""What a worker of the suite may hold: a JVM, two Python workers with TensorFlow, and MLflow."""
HEAVY = ("stack", "airflow", "submit", "spark", "tensorflow", "mlflow", "store")
"""Markers of tests that are not of make unit, the longest files first: those begin first."""
SERVERS = {"spark", "mlflow_server", "client"}
"""Fixtures that start something, so that a test without a marker must not use them."""
TIMEOUTS = {
    "faults": 1200,
    "stack": 900,
    "submit": 600,
    "airflow": 600,
    "spark": 300,
    "tensorflow": 300,
    "mlflow": 300,
    "store": 300,
}
"""Seconds until a test that hangs is ended, where it says nothing itself; pyproject.toml has those of all others."""


def pytest_configure(config: pytest.Config) -> None:
    gc.disable()  # thousands of tests are collected, and the collector looks through them again and again
    if not hasattr(config, "workerinput"):  # the workers inherit the environment
        budget.begin(Path(tempfile.mkdtemp(prefix="windrow-budget-")))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what make unit runs, give each test its time limit, and put what takes longest first."""
    for item in items:
        marks = {mark.name for mark in item.iter_markers()}
        if not marks & {*HEAVY, "faults", "cluster"}:
            item.add_marker("unit")
            if started := SERVERS & {*getattr(item, "fixturenames", ())}:
                raise pytest.UsageError(f"{item.nodeid} uses {', '.join(started)}, and needs the marker for it")
        if "spark" in getattr(item, "fixturenames", ()) and lane_of(item.nodeid) is None:
            raise pytest.UsageError(
                f"{item.nodeid} uses a worker's Spark session, and its file needs a lane: see LANES"
            )
        if "timeout" not in marks:
            item.add_marker(pytest.mark.timeout(max([60, *(TIMEOUTS[mark] for mark in marks & TIMEOUTS.keys())])))
    weights: dict[Path, int] = {}
    for item in items:
        weight = min((HEAVY.index(mark.name) for mark in item.iter_markers() if mark.name in HEAVY), default=len(HEAVY))
        weights[item.path] = min(weight, weights.get(item.path, len(HEAVY)))
    items.sort(key=lambda item: (weights[item.path] > 0, lane_of(item.nodeid) is None, weights[item.path]))


def pytest_collection_finish() -> None:
    """Look for garbage from now on, and not among the tests."""
    gc.freeze()
    gc.enable()


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One worker more than cores, for much of the suite waits, and no more than memory allows."""
    return max(1, min(len(os.sched_getaffinity(0)) + 1, 4, int(free_memory.free_bytes() / WORKER_BYTES)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let files that start the same things share a worker."""
    from harness.lanes import Lanes

    return Lanes(config, log) if config.option.dist == "loadfile" else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    budget.report(terminalreporter, config.option.markexpr)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput") and budget.overdrawn(session.config.option.markexpr):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        budget.end()


@pytest.fixture(autouse=True)
def _home_of_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes into the checkout's var/, and none finds a tracking server that it did not start."""
    monkeypatch.setenv("WINDROW_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    def ask() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return ask


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    """A session on two local slots, with the package shipped as a job ships it."""
    from windrow.spark import open_session
    from windrow.sweep.cluster import DAEMON

    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    options = "--master local[2] --driver-memory 1g --conf spark.ui.enabled=false"
    os.environ["PYSPARK_SUBMIT_ARGS"] = f"{options} pyspark-shell"
    with open_session("tests", daemon=DAEMON) as session:
        yield session


@pytest.fixture
def run_job(
    spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Finished]:
    """Run a job in this process on the worker's session: run_job("sweep", "--experiment", page, ...), as `submit` does.

    What Python workers and the JVM print is not in the output: only what the driver prints.
    """

    def run(name: str, *arguments: object, environment: dict[str, str] | None = None) -> Finished:
        result = tmp_path / f"{name}-result.json"
        result.unlink(missing_ok=True)
        capfd.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path)
            for variable, value in (environment or {}).items():
                patch.setenv(variable, value)
            code = run_main(name, [*map(str, arguments), "--result", str(result)])
        out, err = capfd.readouterr()
        return Finished(code, out + err, check_documented(name, read_result(result)))

    return run


@pytest.fixture
def submit(tmp_path: Path) -> Callable[..., Finished]:
    """Run a job as a user does: spark-submit jobs/NAME.py ARGS, on local[2] unless told otherwise."""
    return partial(submit_job, folder=tmp_path)


@pytest.fixture
def cluster_work() -> Iterator[None]:
    """local-cluster leaves a folder an application in the installed package: remove those that the test made."""
    import pyspark

    work = Path(pyspark.__file__).resolve().parent / "work"  # as a process names its folder
    before = set(work.glob("app-*"))
    yield
    for folder in set(work.glob("app-*")) - before:
        if not _is_at_work_in(folder):  # another test run's executors may share the installation
            shutil.rmtree(folder)


def _is_at_work_in(folder: Path) -> bool:
    import psutil

    here = (process.info["cwd"] or "" for process in psutil.process_iter(["cwd"]))
    return any(Path(cwd).is_relative_to(folder) for cwd in here)


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[str]:
    """The address of a real MLflow server with its own SQLite file and artifact folder."""
    home = tmp_path_factory.mktemp("mlflow")
    port = free_port()
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{home}/mlflow.db", "--artifacts-destination", str(home / "artifacts")),
    ]
    with serving(command, home / "log", f"http://127.0.0.1:{port}/health"):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def client(mlflow_server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of the real MLflow server that the test's jobs speak to."""
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    return mlflow.MlflowClient(mlflow_server, mlflow_server)


@pytest.fixture(scope="session")
def _empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's file with its tables and nothing in them: to make them takes seconds."""
    from windrow.tracking.server import connect

    home = tmp_path_factory.mktemp("empty")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WINDROW_HOME", str(home))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        connect().search_experiments()
    return home / "mlflow" / "mlflow.db"


@pytest.fixture
def registry_file(_empty_registry: Path, tmp_path: Path) -> Path:
    """MLflow's file in the test's own home, made already."""
    file = tmp_path / "home" / "mlflow" / "mlflow.db"
    file.parent.mkdir(parents=True)
    return Path(shutil.copy(_empty_registry, file))


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[str]:
    """The address of a real S3 server on this machine, which keeps everything in its memory."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    with serving(command, tmp_path_factory.mktemp("store") / "log", f"http://127.0.0.1:{port}/moto-api/data.json"):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def bucket(object_store: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a new bucket there. The environment has what a driver needs to write to it."""
    import s3fs

    for name in [name for name in os.environ if name.startswith("AWS_") and name != "AWS_EC2_METADATA_DISABLED"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_store)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")  # else twelve seconds pass before a store counts as away
    s3fs.S3FileSystem.clear_instance_cache()  # they remember the environment of an earlier test
    name = f"b{uuid.uuid4().hex}"
    with urllib.request.urlopen(urllib.request.Request(f"{object_store}/{name}", method="PUT"), timeout=30):
        return f"s3://{name}"


@pytest.fixture
def real_data() -> Path:
    """The folder with the real MNIST and Fashion-MNIST files, where this machine has one."""
    folder = Path(os.environ.get("WINDROW_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
    if not (folder / "mnist").is_dir():
        pytest.skip(f"needs the real MNIST files: no {folder / 'mnist'}; set WINDROW_TEST_DATA")
    return folder


PAGE = """
name: digits
dataset: {source: digits}
network: {builder: dense}
space:
  learning_rate: {type: float, low: 1e-4, high: 1e-1, log: true}
  units: {type: int, low: 16, high: 128, log: true}
sweep: {trials: 3, epochs: 3}
promotion: {finalists: 2}
"""


@pytest.fixture
def page_file(tmp_path: Path) -> Path:
    """A small page on disk: three short trials of a dense net on digits."""
    path = tmp_path / "digits.yaml"
    path.write_text(PAGE)
    return path


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits data set, prepared once; tests only read it."""
    from windrow import experiment
    from windrow.data import shards, sources

    folder = tmp_path_factory.mktemp("digits")
    section = experiment.parse(PAGE).dataset
    shards.write(folder, sources.load(section, folder / "downloads"), section)
    return folder


@pytest.fixture(scope="session")
def digit_images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of real digits as PNG: /0.png, /1.png, ..."""
    from PIL import Image
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("images")
    for index, pixels in enumerate(load_digits().images[:100]):
        Image.fromarray((pixels * 15.9375).round().astype("uint8")).save(folder / f"{index}.png")
    with Web() as web:
        web.serve(folder)
        yield web.address


@pytest.fixture(scope="session")
def stock_graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A frozen graph like the stock network of 2015: class 0 is red, 1 green, 2 blue, 3 nothing.

    It takes one JPEG, holds an operation that TensorFlow has withdrawn since, and fixes the batch at one image.
    """
    import numpy as np
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph:
        contents = v1.placeholder(tf.string, [], name="DecodeJpeg/contents")
        decoded = tf.io.decode_jpeg(contents, channels=3, name="DecodeJpeg")
        batch = tf.expand_dims(tf.cast(decoded, tf.float32, name="Cast"), 0, name="ExpandDims")
        resized = tf.raw_ops.ResizeBilinear(images=batch, size=[6, 5], name="ResizeBilinear")
        scaled = tf.multiply(tf.subtract(resized, 128.0, name="Sub"), 0.0078125, name="Mul")
        kernel = np.zeros((1, 1, 3, 4), np.float32)
        kernel[0, 0, :, :3] = np.eye(3) * 5
        convolved = tf.nn.conv2d(scaled, tf.constant(kernel), 1, "SAME")
        one = tf.constant(np.ones(4, np.float32))
        normal = v1.nn.batch_norm_with_global_normalization(convolved, one * 0, one, one * 0, one, 0.001, True)
        pooled = tf.reduce_mean(normal, [1, 2], keepdims=True, name="pool_3")
        tf.nn.softmax(tf.reshape(pooled, [1, 4], name="pool_3/_reshape"), name="softmax")
        v1.placeholder_with_default(tf.zeros([1, 6, 5, 3]), None, name="other")
    definition = graph.as_graph_def()
    definition.versions.producer = 8  # TensorFlow 0.6
    path = tmp_path_factory.mktemp("graph") / "stock.pb"
    path.write_bytes(definition.SerializeToString())
    return path
