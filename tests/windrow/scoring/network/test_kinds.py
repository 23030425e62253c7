"""Every kind of network file, real ones that TensorFlow wrote: fed, checked, and refused with a sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from windrow.errors import UserError
from windrow.model.form import Form
from windrow.scoring.network import predict

from tests.windrow.scoring.conftest import encoded

pytestmark = pytest.mark.tensorflow

GRAPH = Form("graph", "DecodeJpeg/contents:0", "softmax:0", resize="plain")
BATCHES = replace(GRAPH, feed="ResizeBilinear:0")
Build = Callable[..., Path]


def colours(*names: str) -> np.ndarray:
    levels = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "black": (0, 0, 0)}
    return np.stack([np.broadcast_to(np.uint8(levels[name]), (6, 5, 3)) for name in names])


def jpeg(pixels: np.ndarray) -> bytes:
    from PIL import Image

    return encoded(Image.fromarray(np.kron(pixels, np.ones((4, 4, 1), np.uint8))), "JPEG", quality=95)


def test_a_graph_decodes_one_jpeg_by_itself(stock_graph: Path) -> None:
    network = predict.LoadedNetwork(stock_graph, None, 4, 2, form=GRAPH)
    assert (network.takes_bytes, network.shape, network.classes) == (True, None, 4)
    ids, scores = network.label_bytes(jpeg(colours("green")[0]))
    assert ids.shape == scores.shape == (1, 2)
    assert ids[0, 0] == 1
    assert scores[0, 0] > 0.9


def test_a_graph_says_of_bytes_that_it_cannot_decode_them_and_goes_on(stock_graph: Path) -> None:
    network = predict.LoadedNetwork(stock_graph, None, 4, 2, form=GRAPH)
    sound = jpeg(colours("blue")[0])
    for broken in (b"\xff\xd8\xff\xe0 nothing", sound[: len(sound) // 2], b""):
        with pytest.raises(predict.BadImageError, match=r"(?i)jpeg|empty|format") as caught:
            network.label_bytes(broken)
        assert "Graph execution error" not in str(caught.value)
        assert "node" not in str(caught.value)
    assert network.label_bytes(sound)[0][0, 0] == 2


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_a_graph_made_for_one_image_takes_batches_after_its_decoding(stock_graph: Path, batch_size: int) -> None:
    network = predict.LoadedNetwork(stock_graph, None, batch_size, 2, form=BATCHES)
    assert (network.takes_bytes, network.shape, network.classes) == (False, (6, 5, 3), 4)
    names = ["red", "blue", "green", "blue", "red"][:batch_size]
    ids, _ = network.label(colours(*names))
    assert ids[:, 0].tolist() == [("red", "green", "blue").index(name) for name in names]


def test_what_a_graph_is_fed_is_scaled_as_told(stock_graph: Path) -> None:
    plain = predict.LoadedNetwork(stock_graph, None, 2, 4, form=BATCHES)
    later = replace(BATCHES, feed="Mul:0", black=-1.0, white=127 / 128)
    scaled = predict.LoadedNetwork(stock_graph, None, 2, 4, form=later)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 6, 5, 3), np.uint8)
    np.testing.assert_allclose(scaled.label(pixels)[1], plain.label(pixels)[1], atol=1e-5)


@pytest.mark.parametrize(
    ("change", "shape", "sentence"),
    [
        (
            {"feed": "DecodeJpg/contents:0"},
            None,
            "feed must be a tensor of the graph.*near it are DecodeJpeg/con",
        ),
        ({"fetch": "softmax:7"}, None, "fetch must be a tensor of the graph; got softmax:7; near it are softmax:0"),
        ({"fetch": "pool_3:0"}, None, r"must give scores as \(images, classes\); it gives \(4, 1, 1, 4\)"),
        ({"fetch": "pool_3/_reshape:0"}, None, "must give probabilities, 0 to 1; got"),
        ({"feed": "softmax:0", "fetch": "ResizeBilinear:0"}, (6, 5, 3), "fetch must follow from the feed"),
        ({"feed": "other:0"}, (6, 5, 3), "fetch must follow from the feed; softmax:0 does not use other:0"),
        ({"feed": "ExpandDims:0"}, None, "shape must say what the file leaves open"),
        ({}, (299, 299, 3), r"shape must be what the network takes, \[6, 5, 3\]; got \[299, 299, 3\]"),
    ],
)
def test_a_graph_that_does_not_fit_is_refused(stock_graph: Path, change: Any, shape: Any, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        predict.LoadedNetwork(stock_graph, shape, 4, 2, form=replace(BATCHES, **change))


@pytest.mark.parametrize("content", [b"", b"no graph at all"])
@pytest.mark.parametrize("kind", ["graph", "keras"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, kind: Any, content: bytes) -> None:
    path = tmp_path / f"network.{'pb' if kind == 'graph' else kind}"
    path.write_bytes(content)
    with pytest.raises(UserError, match="file must be"):
        predict.LoadedNetwork(path, (6, 5, 3), 4, 2, form=replace(BATCHES, kind=kind))


def save(folder: Path, call: Callable[[Any], Any], *, dtype: Any = None, sides: tuple[Any, ...] = (4, 4, 3)) -> Path:
    import tensorflow as tf

    module = tf.Module()
    module.offset = tf.Variable([0.0, 1.0, 0.5])

    def scores(image: Any) -> Any:
        return call(tf.cast(image, tf.float32)) + 0 * module.offset if dtype != tf.string else module.offset[None]

    signature = tf.function(scores, input_signature=[tf.TensorSpec((None, *sides), dtype or tf.float32, name="image")])
    tf.saved_model.save(module, str(folder), {"serving_default": signature})
    return folder


def by_channel(image: Any) -> Any:
    import tensorflow as tf

    return tf.nn.softmax(tf.reduce_mean(image, [1, 2]) / 64)


@pytest.mark.parametrize("whole", [True, False])
def test_a_saved_model_is_fed_by_its_signature(tmp_path: Path, whole: bool) -> None:
    import tensorflow as tf

    folder = save(tmp_path / "saved", by_channel, dtype=tf.uint8 if whole else None)
    network = predict.LoadedNetwork(folder, None, 3, 2, form=Form("saved_model"))
    assert (network.shape, network.classes) == ((4, 4, 3), 3)
    pixels = np.zeros((2, 4, 4, 3), np.uint8)
    pixels[0, ..., 2] = pixels[1, ..., 1] = 255
    ids, scores = network.label(pixels)
    assert ids[:, 0].tolist() == [2, 1]
    assert scores.min() >= 0


def test_a_saved_model_that_leaves_its_shape_open_needs_the_pages(tmp_path: Path) -> None:
    folder = save(tmp_path / "saved", by_channel, sides=(None, None, 3))
    with pytest.raises(UserError, match="shape must say what the file leaves open"):
        predict.LoadedNetwork(folder, None, 3, 2, form=Form("saved_model"))
    assert predict.LoadedNetwork(folder, (5, 7, 3), 3, 2, form=Form("saved_model")).shape == (5, 7, 3)


def test_a_saved_model_with_other_ends_is_refused(tmp_path: Path) -> None:
    import tensorflow as tf

    folder = save(tmp_path / "saved", by_channel)
    with pytest.raises(UserError, match="feed must be a name of the SavedModel's; got pixels; take image"):
        predict.LoadedNetwork(folder, None, 3, 2, form=Form("saved_model", feed="pixels"))
    text = save(tmp_path / "text", by_channel, dtype=tf.string, sides=())
    with pytest.raises(UserError, match="must be fed numbers; image takes string"):
        predict.LoadedNetwork(text, (4, 4, 3), 3, 2, form=Form("saved_model"))
    with pytest.raises(UserError, match="must load and have a serving_default"):
        predict.LoadedNetwork(tmp_path, (4, 4, 3), 3, 2, form=Form("saved_model"))


def test_a_network_that_mixes_the_images_of_a_batch_is_refused(tmp_path: Path) -> None:
    import tensorflow as tf

    def mixed(image: Any) -> Any:
        return tf.nn.softmax(tf.reduce_mean(image, [1, 2]) / (1 + tf.reduce_mean(image)))

    folder = save(tmp_path / "saved", mixed)
    with pytest.raises(UserError, match="must label an image in a batch as it does alone"):
        predict.LoadedNetwork(folder, None, 3, 2, form=Form("saved_model"))
    assert predict.LoadedNetwork(folder, None, 1, 2, form=Form("saved_model")).classes == 3


def test_a_worker_whose_network_labels_otherwise_is_found(brightness: Path) -> None:
    from windrow.errors import WindrowError
    from windrow.model.canaries import Canary

    network = predict.load(brightness, "d", (8, 8, 1), 4, 3)
    assert predict.load(brightness, "d", (8, 8, 1), 4, 3, expected=network.canaries) is network
    first, *others = network.canaries
    wrong = Canary(first.label_ids, (first.scores[0] - 0.1, *first.scores[1:]))
    with pytest.raises(WindrowError, match=r"'gradient'.*scores differ by 0\.1000, 0\.02 is"):
        predict.load(brightness, "d", (8, 8, 1), 4, 3, expected=(wrong, *others))
