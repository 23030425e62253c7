"""A backbone is converted once, known by the digest of its source, and checked before it is used."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness.disk import FILLER, fill, small_disk
from harness.web import Web
from windrow.errors import DownloadError, ServiceError, UserError
from windrow.model import canaries
from windrow.model.backbone import check
from windrow.model.backbones import bring, bringing, keras_sources


def network(seed: int = 0) -> Any:
    """A small network of drawn weights that gives 5 features."""
    from windrow.training.runtime import import_tensorflow

    import_tensorflow(threads=1)
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    image = keras.Input((8, 8, 3))
    x = layers.BatchNormalization()(layers.Conv2D(5, 3, name="maps")(layers.Rescaling(1 / 255)(image)))
    return keras.Model(image, layers.GlobalAveragePooling2D(name="pooled")(x))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "small.keras"
    network().save(file)
    return file


def digest_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.tensorflow
def test_a_keras_file_gives_a_backbone_whose_features_are_the_networks_own(small: Path, tmp_path: Path) -> None:
    import keras

    backbone = bring("small.keras", None, None, tmp_path, small.parent)

    assert (backbone.name, backbone.shape, backbone.features) == ("small", (8, 8, 3), 5)
    assert backbone.file == tmp_path / "backbones" / f"{backbone.digest}.keras"
    kept = keras.saving.load_model(backbone.file)
    drawn = canaries.images(backbone.shape).astype(np.float32)
    features = np.asarray(kept(drawn, training=True))
    assert np.abs(features - np.asarray(network()(drawn))).max() < 1e-6
    assert kept.trainable_weights == []
    check(features, backbone, "host")


@pytest.mark.tensorflow
def test_the_second_call_finds_the_file_and_loads_no_tensorflow(small: Path, tmp_path: Path) -> None:
    first = bring("small.keras", None, None, tmp_path, small.parent)
    script = (
        "import json, sys; from pathlib import Path; from windrow.model.backbones import bring\n"
        f"found = bring('small.keras', None, None, Path({str(tmp_path)!r}), Path({str(small.parent)!r}))\n"
        "print(json.dumps([found.to_json(), sorted({'tensorflow', 'keras', 'pyspark', 'mlflow'} & set(sys.modules))]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [first.to_json(), []]


@pytest.mark.tensorflow
def test_a_conversion_hides_no_gpu_from_the_executors_which_inherit_the_environment(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    bring("small.keras", None, None, tmp_path, small.parent)
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.mark.tensorflow
def test_the_digest_is_the_sources_and_the_same_wherever_it_is_converted(small: Path, tmp_path: Path) -> None:
    here = bring("small.keras", None, None, tmp_path / "here", small.parent)
    there = bring(str(small), digest_of(small), None, tmp_path / "there", tmp_path)
    assert (here.digest, here.canaries) == (there.digest, there.canaries)


@pytest.mark.tensorflow
def test_another_layer_and_other_weights_are_other_backbones(small: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.keras"
    network(seed=1).save(other)
    digests = {
        bring(str(file), None, layer, tmp_path, tmp_path).digest
        for file, layer in ((small, None), (small, "maps"), (other, None))
    }
    assert len(digests) == 3


@pytest.mark.tensorflow
def test_two_calls_at_once_convert_once(small: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: bring(str(small), None, None, tmp_path, tmp_path), range(2)))
    assert found[0] == found[1]
    assert capfd.readouterr().err.count("converted now") == 1


@pytest.mark.tensorflow
def test_a_file_that_was_lost_is_converted_again(small: Path, tmp_path: Path) -> None:
    first = bring(str(small), None, None, tmp_path, tmp_path)
    first.file.unlink()
    assert bring(str(small), None, None, tmp_path, tmp_path) == first
    assert first.file.is_file()


@pytest.mark.tensorflow
def test_weights_that_an_older_record_does_not_have_are_counted_once(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = bring(str(small), None, None, tmp_path, tmp_path)
    record = first.file.with_suffix(".json")
    fields = json.loads(record.read_text())
    assert fields.pop("weights") == first.weights > 0
    record.write_text(json.dumps(fields))
    assert bring(str(small), None, None, tmp_path, tmp_path) == first
    monkeypatch.setattr(bringing, "_count", lambda _: pytest.fail("counted again"))
    assert bring(str(small), None, None, tmp_path, tmp_path) == first


@pytest.mark.tensorflow
def test_a_full_disk_is_reported_and_leaves_no_part_of_a_backbone(small: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "home") as home:
        (home / "backbones").mkdir()
        fill(home)
        with pytest.raises(ServiceError, match=r"backbones must have room for the data; got no space left; free some"):
            bring(str(small), None, None, home, tmp_path)
        (home / FILLER).unlink()
        assert [one.name for one in (home / "backbones").iterdir()] == [".lock"]
        assert bring(str(small), None, None, home, tmp_path).features == 5


@pytest.mark.tensorflow
def test_a_url_is_trusted_once_and_then_checked(small: Path, tmp_path: Path) -> None:
    with Web({"/nets/small.keras": small.read_bytes()}) as web:
        url = f"{web.address}/nets/small.keras?raw=1"
        assert bring(url, None, None, tmp_path, tmp_path).name == "small"
        web.routes["/nets/small.keras"] = b"another file"
        bring(url, None, None, tmp_path, tmp_path)  # is there
        assert web.paths == ["/nets/small.keras"]
        next((tmp_path / "downloads" / "networks").glob("*/small.keras?raw=1")).unlink()
        with pytest.raises(DownloadError, match=r"(?s)has another SHA-256 than .*fix network\.backbone_sha256"):
            bring(url, None, None, tmp_path, tmp_path)


@pytest.mark.tensorflow
def test_weights_of_an_application_are_remembered_by_their_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    monkeypatch.setattr(keras_sources, "application", lambda name: opened.append(name) or network())
    first, second = (bring("keras:MobileNetV2", None, None, tmp_path, tmp_path) for _ in range(2))
    assert (first, opened) == (second, ["MobileNetV2"])
    assert bring("keras:MobileNetV2", None, None, tmp_path / "elsewhere", tmp_path).digest == first.digest


def of_means(change: Callable[[Any], Any], batch: int | None = None) -> Any:
    """A network whose features are made of the mean of each colour."""
    import keras

    image = keras.Input(batch_shape=(batch, 8, 8, 3))
    return keras.Model(image, change(keras.layers.GlobalAveragePooling2D()(image)))


def to_nothing(means: Any) -> Any:
    return 0 * means


def less_those_of_all_images(means: Any) -> Any:
    import keras

    return means - keras.ops.mean(means, axis=0, keepdims=True)


def of_two_images(means: Any) -> Any:
    import keras

    return keras.ops.reshape(means, (2, 3))


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: of_means(to_nothing), "finite features that are not all 0; odd does not; check its weights"),
        (lambda: of_means(less_those_of_all_images), "whatever other images there are; odd does not; save it without"),
        (lambda: of_means(of_two_images, 2), r"any number of images of \(8, 8, 3\); odd fails: .*; save it with keras"),
    ],
    ids=("zeros", "other_images", "two_images"),
)
def test_a_network_whose_features_are_of_no_use_is_refused_and_leaves_no_file(
    make: Callable[[], Any], message: str, tmp_path: Path
) -> None:
    make().save(tmp_path / "odd.keras")
    with pytest.raises(UserError, match=message):
        bring("odd.keras", None, None, tmp_path, tmp_path)
    assert list((tmp_path / "backbones").glob("*.keras")) == []


@pytest.mark.parametrize(
    ("name", "sha256", "message"),
    [
        (
            "there.keras",
            "0" * 64,
            r"backbone_sha256 must be the digest of there\.keras; got 0000000000000000\.\.\. for",
        ),
        ("absent.keras", None, r"must be a file that is there; .*absent\.keras is not; bring it"),
        ("lite1", None, r"must be lite0, a \.keras file, a URL of one, or keras:NAME; got 'lite1'"),
        ("network.h5", None, "got 'network.h5'; correct the page"),
        ("https://example.org/network.h5", None, "must be lite0, a .keras file, a URL of one"),
        ("lite0", "0" * 64, r"backbone_sha256 must be empty where network\.backbone is lite0"),
        ("keras:ResNet50", "0" * 64, r"must be empty where network\.backbone is keras:ResNet50"),
    ],
)
def test_a_name_that_leads_to_no_backbone_is_refused(
    name: str, sha256: str | None, message: str, tmp_path: Path
) -> None:
    (tmp_path / "there.keras").write_bytes(b"a network")
    with pytest.raises(UserError, match=message):
        bring(name, sha256, None, tmp_path, tmp_path)
