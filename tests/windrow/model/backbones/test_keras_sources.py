"""Networks are loaded without running code of theirs; those of keras.applications carry their preprocessing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness.web import Web
from windrow.errors import DownloadError, UserError
from windrow.model.backbones import keras_sources

pytestmark = pytest.mark.tensorflow


@pytest.fixture(autouse=True)
def _threads() -> None:
    from windrow.training.runtime import import_tensorflow

    import_tensorflow(threads=1)


def test_a_lambda_is_refused_and_not_run(tmp_path: Path) -> None:
    import keras

    image = keras.Input((8, 8, 3))
    keras.Model(image, keras.layers.Lambda(lambda x: x * 2)(image)).save(tmp_path / "lambda.keras")
    with pytest.raises(UserError, match=r"Keras' own layers, without Lambda; got .* for lambda.keras; name another"):
        keras_sources.load(tmp_path / "lambda.keras")


def test_a_layer_that_is_not_keras_own_is_refused_and_its_module_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "foreign_layers.py").write_text(
        "import keras\nclass Mine(keras.layers.Layer):\n    def call(self, x):\n        return x\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    from foreign_layers import Mine

    image = keras.Input((8, 8, 3))
    keras.Model(image, Mine()(image)).save(tmp_path / "own.keras")
    del sys.modules["foreign_layers"]

    with pytest.raises(UserError, match=r"Keras' own layers.* for own\.keras"):
        keras_sources.load(tmp_path / "own.keras")
    assert "foreign_layers" not in sys.modules


@pytest.mark.parametrize("content", [b"", b"no network", b"PK\x03\x04 and then nothing"])
def test_a_file_that_is_no_network_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "text.keras").write_bytes(content)
    with pytest.raises(UserError, match=r"must be a \.keras file of Keras' own layers.*; got .* for text\.keras"):
        keras_sources.load(tmp_path / "text.keras")


def test_an_unknown_application_is_refused_with_those_there_are() -> None:
    with pytest.raises(UserError, match=r"keras\.applications; got 'MobileNetV9'; .*MobileNetV2.*ResNet50"):
        keras_sources.application("MobileNetV9")
    with pytest.raises(UserError, match="got 'mobilenet_v2'"):
        keras_sources.application("mobilenet_v2")


@pytest.fixture
def public(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A server on this machine in place of Keras' public one, and an empty folder in place of ~/.keras."""
    import keras.src.applications.mobilenet_v2 as module
    import keras.src.backend.config as settings

    monkeypatch.setattr(settings, "_KERAS_DIR", str(tmp_path / ".keras"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".keras").mkdir()
    with Web() as web:
        monkeypatch.setattr(module, "BASE_WEIGHT_PATH", f"{web.address}/mobilenet_v2/")
        yield web


FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"


def weights_file(path: Path) -> Any:
    """Write a file like the public one, with drawn weights, and return the network that has them."""
    import h5py
    import keras
    from keras.src.legacy.saving import legacy_h5_format

    keras.utils.set_random_seed(5)
    network = keras.applications.MobileNetV2(weights=None, include_top=False, pooling="avg", input_shape=(224, 224, 3))
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, network)
    return network


def test_an_application_is_downloaded_once_and_scales_pixels_itself(public: Web, tmp_path: Path) -> None:
    network = weights_file(tmp_path / FILE)
    public.routes[f"/mobilenet_v2/{FILE}"] = (tmp_path / FILE).read_bytes()
    image = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3)).astype(np.float32)

    found = keras_sources.application("MobileNetV2")

    assert public.paths == [f"/mobilenet_v2/{FILE}"]
    assert np.abs(np.asarray(found(image)) - np.asarray(network(image / 127.5 - 1))).max() < 1e-5
    assert [one.name for one in (tmp_path / ".keras" / "models").iterdir()] == [FILE]


def test_offline_it_says_where_the_weights_belong(public: Web) -> None:
    with pytest.raises(DownloadError, match=r"keras:MobileNetV2 needs ImageNet's weights; got .*404.*~/\.keras/models"):
        keras_sources.application("MobileNetV2")


def test_damaged_weights_are_reported(public: Web) -> None:
    public.routes[f"/mobilenet_v2/{FILE}"] = b"no weights"
    with pytest.raises(DownloadError, match=r"needs ImageNet's weights; got .*; where a damaged one is there, remove"):
        keras_sources.application("MobileNetV2")


@pytest.mark.parametrize("name", ["ResNet50", "DenseNet121"])
def test_every_way_of_preprocessing_can_be_kept_in_a_file(name: str, tmp_path: Path) -> None:
    import keras

    build = getattr(keras.applications, name)
    preprocess = sys.modules[build.__module__].preprocess_input
    image = keras.Input((8, 8, 3))
    keras.Model(image, preprocess(image)).save(tmp_path / "part.keras")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype(np.float32)

    found = np.asarray(keras_sources.load(tmp_path / "part.keras")(pixels))

    assert np.abs(found - preprocess(pixels.copy())).max() < 1e-4
