"""Scoring by other tools: each labels the images of a folder's urls.txt with a .keras network, on two slots.

    PYTHONPATH=bench var/bench/venv/bin/python bench/scoring_peers.py daft var/bench/scoring/daft NETWORK.keras

Each writes `labels.json` into the folder: how many images it labelled, and the sum of their label ids, so that one sees
that all did the same. Those that have no downloader of their own (Spark's and MLflow's functions) get the bytes from
Parquet (bytes.parquet in the folder), so they do less than the others. Every tool decodes with Pillow and runs the
network in batches of 64 as one compiled graph; what differs is what the tool does around that.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 192
BATCH = 16
SLOTS = 2
AT_ONCE = 128
"""Downloads at once a process, as Windrow has them."""


def main() -> None:
    """Run one peer to its end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("folder", type=Path, help="has urls.txt and bytes.parquet")
    parser.add_argument("network", help=".keras file that takes float32 (n, 192, 192, 3) in 0..255")
    arguments = parser.parse_args()
    labels = PEERS[arguments.peer](arguments.folder, arguments.network)
    values = {"images": len(labels), "sum": int(np.sum(labels))}
    (arguments.folder / "labels.json").write_text(json.dumps(values))


def urls(folder: Path) -> list[str]:
    """The images to label."""
    return (folder / "urls.txt").read_text().split()


def decode(content: bytes) -> Any:
    """uint8 (192, 192, 3) of an encoded image, as Windrow resizes it."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def download(url: str) -> bytes:
    """An image's bytes, by the standard library."""
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - bench/scoring.py wrote it
        content: bytes = answer.read()
    return content


def network(path: str, threads: int) -> Callable[[Any], Any]:
    """A function from uint8 (n, 192, 192, 3), n at most 64, to label ids; traced once."""
    import os

    os.environ |= {"TF_NUM_INTRAOP_THREADS": str(threads), "TF_NUM_INTEROP_THREADS": "1"}
    import keras
    import tensorflow as tf

    model = keras.saving.load_model(path, compile=False)
    signature = [tf.TensorSpec((BATCH, SIDE, SIDE, 3), tf.uint8)]
    best = tf.function(lambda pixels: tf.argmax(model(tf.cast(pixels, tf.float32), training=False), 1), signature)

    def label(pixels: Any) -> Any:
        full = np.zeros((BATCH, SIDE, SIDE, 3), np.uint8)
        full[: len(pixels)] = pixels
        return best(full).numpy()[: len(pixels)]

    return label


_networks: dict[str, Callable[[Any], Any]] = {}


def of_process(path: str) -> Callable[[Any], Any]:
    """The network on one thread, loaded once in a worker process."""
    if path not in _networks:
        _networks[path] = network(path, 1)
    return _networks[path]


def pieces(items: list[Any], size: int = BATCH) -> Iterator[list[Any]]:
    """Lists of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def spark() -> Any:
    """Spark on two local slots."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(f"local[{SLOTS}]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.driver.memory", "2g").config("spark.log.level", "ERROR")
    return builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", 256).getOrCreate()


def content(session: Any, folder: Path) -> Any:
    """The images' bytes as a Spark table of two partitions."""
    return session.read.parquet(str(folder / "bytes.parquet")).repartition(SLOTS)


def naive_map(folder: Path, path: str) -> list[int]:
    """A mapInArrow over bytes, written in an afternoon: decode an Arrow batch, then label it."""
    import pyarrow as pa

    def label(batches: Iterable[Any]) -> Iterator[Any]:
        best = of_process(path)
        for batch in batches:
            for some in pieces(batch.column(0).to_pylist()):
                ids = best(np.stack([decode(each) for each in some]))
                yield pa.RecordBatch.from_arrays([pa.array(ids, pa.int64())], ["label"])

    return collected(content(spark(), folder).mapInArrow(label, "label long"))


def batch_udf_bytes(folder: Path, path: str) -> list[int]:
    """Spark's predict_batch_udf, whose function decodes."""
    from pyspark.ml.functions import predict_batch_udf
    from pyspark.sql.types import LongType

    def make() -> Callable[[Any], Any]:
        best = of_process(path)
        return lambda contents: best(np.stack([decode(each) for each in contents]))

    udf = predict_batch_udf(make, return_type=LongType(), batch_size=BATCH)
    return collected(content(spark(), folder).select(udf("content").alias("label")))


def batch_udf_arrays(folder: Path, path: str) -> list[int]:
    """predict_batch_udf on arrays of floats, as its manual shows it; a pandas function decodes before it."""
    from pyspark.ml.functions import predict_batch_udf
    from pyspark.sql.functions import PandasUDFType, pandas_udf
    from pyspark.sql.types import LongType

    def floats(contents: Any) -> Any:
        return contents.map(lambda each: decode(each).astype(np.float32).ravel())

    session = spark()  # before the function: it asks the session for its settings
    # Its kind in words: annotations are text here, and those that Spark would look at can't be resolved.
    pixels = pandas_udf(floats, "array<float>", PandasUDFType.SCALAR)

    def make() -> Callable[[Any], Any]:
        best = of_process(path)
        return lambda arrays: best(arrays.astype(np.uint8))

    udf = predict_batch_udf(make, return_type=LongType(), batch_size=BATCH, input_tensor_shapes=[[SIDE, SIDE, 3]])
    return collected(content(session, folder).select(udf(pixels("content")).alias("label")))


def mlflow_udf(folder: Path, path: str) -> list[int]:
    """mlflow.pyfunc.spark_udf of a model that takes bytes."""
    import mlflow

    class Labels(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def load_context(self, context: Any) -> None:
            self.best = network(context.artifacts["network"], 1)

        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            contents = list(model_input["content"])  # a dict of arrays, or a frame: as the signature is read
            ids = [self.best(np.stack([decode(each) for each in some])) for some in pieces(contents)]
            return np.concatenate(ids)

    signature = mlflow.models.infer_signature({"content": np.array([b"1"], object)}, np.array([1]))
    model = folder / "mlflow-model"
    mlflow.pyfunc.save_model(
        model, python_model=Labels(), artifacts={"network": path}, pip_requirements=[], signature=signature
    )
    session = spark()
    udf = mlflow.pyfunc.spark_udf(session, str(model), result_type="long", env_manager="local")
    return collected(content(session, folder).select(udf("content").alias("label")))


def collected(frame: Any) -> list[int]:
    """The column `label`."""
    return [row["label"] for row in frame.select("label").collect()]


def ray_data(folder: Path, path: str) -> list[int]:
    """Ray Data: downloads in threads inside a task, then one actor a core that decodes and labels."""
    import ray

    ray.init(num_cpus=SLOTS, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")

    class Label:
        def __init__(self) -> None:
            self.best = network(path, 1)

        def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                contents = list(pool.map(download, batch["item"].tolist()))
            return {"label": self.best(np.stack([decode(each) for each in contents]))}

    data = ray.data.from_items(urls(folder), override_num_blocks=SLOTS * 8)
    return [row["label"] for row in data.map_batches(Label, batch_size=BATCH, concurrency=SLOTS).take_all()]


def daft_frame(folder: Path, path: str) -> list[int]:
    """Daft: its own downloads, image decoding and resizing, then a class with the network."""
    import daft

    @daft.cls(max_concurrency=1)
    class Label:
        def __init__(self) -> None:
            self.best = network(path, SLOTS)

        @daft.method.batch(return_dtype=daft.DataType.int64(), batch_size=BATCH)
        def label(self, images: daft.Series) -> Any:
            return [int(each) for each in self.best(np.stack(images.to_pylist()))]

    frame = daft.from_pydict({"url": urls(folder)})
    image = frame["url"].download(max_connections=AT_ONCE).decode_image(mode="RGB").resize(SIDE, SIDE)
    labelled: list[int] = frame.select(Label().label(image).alias("label")).to_pydict()["label"]
    return labelled


def img2dataset_then_score(folder: Path, path: str) -> list[int]:
    """img2dataset downloads and resizes into files; a tf.data pipeline labels them afterwards."""
    from img2dataset import download as fetch_all

    out = folder / "files"
    fetch_all(
        url_list=str(folder / "urls.txt"),
        output_folder=str(out),
        processes_count=SLOTS,
        thread_count=AT_ONCE * SLOTS,
        image_size=SIDE,
        resize_mode="no",
        output_format="files",
        enable_wandb=False,
        disallowed_header_directives=[],
    )
    best = network(path, SLOTS)
    import tensorflow as tf

    def pixels(name: Any) -> Any:
        image = tf.io.decode_jpeg(tf.io.read_file(name), channels=3)
        return tf.cast(tf.image.resize(image, (SIDE, SIDE)), tf.uint8)

    files = sorted(map(str, out.rglob("*.jpg")))
    data = tf.data.Dataset.from_tensor_slices(files).map(pixels, num_parallel_calls=SLOTS).batch(BATCH).prefetch(2)
    return [int(each) for batch in data.as_numpy_iterator() for each in best(batch)]


def graph_an_image(folder: Path, path: str) -> list[int]:
    """As the 2016 post did it: a Spark map whose function, makes a new graph and session for each image.

    The network's file is a frozen GraphDef that takes a JPEG's bytes, broadcast as its text.
    """
    session = spark()
    definition = session.sparkContext.broadcast(Path(path).with_name(GRAPH).read_bytes())

    def label(url: str) -> int:
        import os

        os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
        import tensorflow.compat.v1 as tf

        graph_def = tf.GraphDef.FromString(definition.value)
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(graph_def, name="")
            with tf.Session(graph=graph) as opened:
                scores = opened.run("softmax:0", {"DecodeJpeg/contents:0": download(url)})
        return int(np.argmax(scores))

    found: list[int] = session.sparkContext.parallelize(urls(folder), SLOTS).map(label).collect()
    return found


GRAPH = "mobilenet_v1_0.75_192_graph_def.pb"
PEERS: dict[str, Callable[[Path, str], list[int]]] = {
    "map": naive_map,
    "batch_udf_bytes": batch_udf_bytes,
    "batch_udf_arrays": batch_udf_arrays,
    "mlflow": mlflow_udf,
    "ray": ray_data,
    "daft": daft_frame,
    "img2dataset": img2dataset_then_score,
    "post": graph_an_image,
}

if __name__ == "__main__":
    sys.exit(main())
