"""A network at a lower precision: real conversions by OpenVINO, what they lose, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from windrow.errors import UserError, WindrowError
from windrow.experiment import PrecisionSection
from windrow.model.canaries import Canary
from windrow.model.form import Form
from windrow.model.network import Network
from windrow.model.precision_loss import PrecisionLoss
from windrow.scoring.network import low_precision, openvino_convert, openvino_runtime, predict
from windrow.scoring.network.openvino_convert import Request
from windrow.scoring.network.own_network import digest_of

COLOURS = ("red", "green", "blue", "nothing")


def fill(folder: Path, colours: tuple[str, ...] = COLOURS[:3], each: int = 12) -> Path:
    """A folder of noisy PNGs of 6 x 5, a sub-folder a colour."""
    noise = np.random.default_rng(0)
    for colour in colours:
        (folder / colour).mkdir(parents=True)
        for number in range(each):
            pixels = noise.integers(0, 120, (6, 5, 3))
            pixels[..., COLOURS.index(colour)] += 130
            Image.fromarray(pixels.astype(np.uint8)).save(folder / colour / f"{number}.png")
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return fill(tmp_path / "photos")


def model(file: Path, form: Form | None = None, **more: Any) -> Network:
    digest = digest_of(file)
    shape = (6, 5, 3) if form is None else None
    return Network("colours", digest[:12], file, digest, shape, COLOURS, form or Form(), False, **more)


def section(photos: Path, **more: Any) -> PrecisionSection:
    return PrecisionSection(**{"type": "int8", "images": str(photos), "same_labels": 0.9, **more})


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small convolutional network that tells red, green and blue apart."""
    import keras

    layers = keras.layers
    network = keras.Sequential(
        [
            layers.Input((6, 5, 3)),
            layers.Rescaling(1 / 128, -1),
            layers.Conv2D(4, 1, use_bias=False),
            layers.GlobalAveragePooling2D(),
            layers.Softmax(),
        ]
    )
    kernel = np.zeros((1, 1, 3, 4), np.float32)
    kernel[0, 0, :, :3] = np.eye(3) * 5
    network.layers[1].set_weights([kernel])
    path = tmp_path_factory.mktemp("network") / "colours.keras"
    network.save(path)
    return path


@pytest.fixture
def packages() -> None:
    """What a conversion needs, which a machine without the lock's packages has not."""
    pytest.importorskip("nncf", reason="needs nncf, which is in the lock but for Linux on arm64")
    openvino_runtime.import_openvino()


needs_packages = pytest.mark.usefixtures("packages")


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Conversions in this process, which has TensorFlow already: to import it and OpenVINO again takes seconds."""

    def convert(command: list[str]) -> None:
        *_, request, folder = command
        openvino_convert.convert(Request.read(Path(request)), Path(folder))

    monkeypatch.setattr(low_precision, "_run", convert)


in_this_process = pytest.mark.usefixtures("here")


def test_loss_counts_labels_that_stay_and_how_far_winning_scores_move() -> None:
    before = np.array([0, 1, 2, 1]), np.array([0.9, 0.8, 0.7, 0.6])
    after = np.array([0, 1, 2, 2]), np.array([0.9, 0.7, 0.7, 0.3])
    told = openvino_convert.loss(before, after, np.array([0, 1, 0, 2]))
    assert told["images"] == 4
    assert (told["same_labels"], told["score_change_mean"], told["score_change_max"]) == (0.75, 0.1, 0.3)
    assert (told["accuracy_as_it_is"], told["accuracy"]) == (0.5, 0.75)
    assert openvino_convert.loss(before, after, None)["accuracy"] is None


def test_images_lie_at_the_top_or_in_a_folder_a_class(photos: Path) -> None:
    (photos / "red" / ".hidden.png").touch()
    (photos / "notes.txt").touch()
    assert len(low_precision.list_images(photos)) == 36
    with pytest.raises(UserError, match=r"must hold 32 to 2,000 images .* got 12 in .*; name a folder of images like"):
        low_precision.list_images(photos / "red")
    with pytest.raises(UserError, match=r"must be a folder of images; .*none does not exist; bring it"):
        low_precision.list_images(photos / "none")
    (photos / "red" / "0.png").write_bytes(b"<html>")
    with pytest.raises(UserError, match=r"must be images; .*red/0\.png is a web page; remove it"):
        low_precision.list_images(photos)


def test_a_folders_name_is_a_label_or_one_of_its_synonyms(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = low_precision.list_images(photos)
    assert (
        low_precision.true_classes(photos, images, ["scarlet, Red", "green", "blue"]) == [2] * 12 + [1] * 12 + [0] * 12
    )
    assert low_precision.true_classes(photos, images, ["tench", "goldfish"]) is None
    assert capsys.readouterr().err == ""
    assert low_precision.true_classes(photos, images, ["green", "blue"]) is None
    assert "accuracy is not measured" in (told := capsys.readouterr().err)
    assert "no label is called 'red'" in told


def test_a_missing_package_is_one_sentence(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(low_precision, "_PACKAGES", {"int8": ("openvino_that_is_not_there",)})
    with pytest.raises(UserError, match=r"type int8 needs openvino_that_is_not_there; got an environment without; run"):
        low_precision.check_installed(section(photos))


@dataclass(frozen=True)
class Converted:
    after: Network
    loss: PrecisionLoss
    home: Path
    person: Path


@pytest.fixture(scope="module")
def converted(keras_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Converted:
    """The network that tells colours apart at int8, made by a process of its own; Windrow's home and the person's."""
    pytest.importorskip("nncf", reason="needs nncf, which is in the lock but for Linux on arm64")
    home, person = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("person")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(person))
        after, loss = low_precision.lower(model(keras_file), section(fill(home / "photos")), home)
    assert isinstance(after, Network)
    return Converted(after, loss, home, person)


@pytest.mark.tensorflow
def test_a_champion_keeps_its_name_and_version_and_gets_another_file(keras_file: Path, converted: Converted) -> None:
    before, after, loss = model(keras_file), converted.after, converted.loss
    assert (after.identity, after.labels, after.shape) == (before.identity, COLOURS, (6, 5, 3))
    assert after.digest == digest_of(after.file) != before.digest
    assert after.form == Form("openvino", precision="int8")
    assert len(after.canaries) == 3
    assert loss.runtime.startswith("OpenVINO 20")
    told = (loss.type, loss.images, loss.same_labels, loss.accuracy, loss.accuracy_as_it_is)
    assert told == ("int8", 18, 1.0, 1.0, 1.0)
    assert 0 <= loss.score_change_mean <= loss.score_change_max < 0.2
    assert not (converted.person / "intel").exists(), "OpenVINO's telemetry keeps a client's number there"


@in_this_process
@pytest.mark.tensorflow
def test_the_next_night_converts_nothing_and_other_images_do(
    keras_file: Path, photos: Path, converted: Converted
) -> None:
    first, home = converted.after, converted.home
    made = (first.file / openvino_runtime.FILE).stat().st_mtime_ns
    again, _ = low_precision.lower(model(keras_file), section(photos, same_labels=0.5), home)
    assert (again.file, (again.file / openvino_runtime.FILE).stat().st_mtime_ns) == (first.file, made)
    (photos / "red" / "0.png").unlink()
    more, _ = low_precision.lower(model(keras_file), section(photos), home)
    assert more.file != first.file


@needs_packages
@in_this_process
@pytest.mark.tensorflow
def test_too_few_labels_kept_is_refused_with_the_share_and_the_cure(tmp_path: Path) -> None:
    import keras

    # Layers of random weights, and 64 classes that are nearly equal.
    layers, weights = keras.layers, keras.initializers.RandomNormal
    guesses = keras.Sequential(
        [
            layers.Input((6, 5, 3)),
            *(layers.Conv2D(16, 3, activation="relu", kernel_initializer=weights(0, 0.3, seed=n)) for n in (1, 2)),
            layers.Flatten(),
            layers.Dense(64, "softmax", kernel_initializer=weights(0, 1e-5, seed=3)),
        ]
    )
    guesses.save(tmp_path / "guesses.keras")
    given = replace(model(tmp_path / "guesses.keras"), labels=tuple(map(str, range(64))))
    wanted = section(fill(tmp_path / "photos"), same_labels=1)
    sentence = r"same_labels of 1 must be kept; at int8 \d+ of 18 images keep .*; bring more .*, lower it, or remove"
    for _ in range(2):  # the second time by what is kept
        with pytest.raises(UserError, match=sentence):
            low_precision.lower(given, wanted, tmp_path)


def convolutions(network: Network) -> list[bool]:
    """Whether each convolution of a converted network computes in int8, in their order."""
    steps = openvino_runtime.import_openvino().Core().read_model(network.file / openvino_runtime.FILE).get_ordered_ops()
    found = [step for step in steps if step.get_type_name().endswith("Convolution")]
    return [step.input_value(0).get_node().get_type_name() == "FakeQuantize" for step in found]


@needs_packages
@in_this_process
@pytest.mark.tensorflow
def test_the_first_convolution_stays_in_float32_where_it_is_a_small_part(converted: Converted, tmp_path: Path) -> None:
    import keras

    layers, photos = keras.layers, fill(tmp_path / "photos")
    steps = [
        layers.Conv2D(4, 1, use_bias=False),  # 12 products a pixel; the others have 128, 288 and 1,024
        layers.Conv2D(32, 1, activation="relu"),
        layers.DepthwiseConv2D(3, padding="same", activation="relu"),
        layers.Conv2D(32, 1, activation="relu"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(4, "softmax"),
    ]
    keras.utils.set_random_seed(0)
    keras.Sequential([layers.Input((6, 5, 3)), layers.Rescaling(1 / 128, -1), *steps]).save(tmp_path / "deep.keras")
    deep, _ = low_precision.lower(model(tmp_path / "deep.keras"), section(photos, same_labels=0.1), tmp_path)
    assert convolutions(deep) == [False, True, True, True]
    assert convolutions(converted.after) == [True], "the only one is nearly all of the network"


@needs_packages
@pytest.mark.tensorflow
def test_a_conversion_that_fails_leaves_nothing(
    keras_file: Path, photos: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    (photos / "red" / "0.png").write_bytes(b"GIF89a")
    with pytest.raises(UserError, match=r"images must be images; .*red/0\.png is not_an_image: .*; remove it"):
        low_precision.lower(model(keras_file), section(photos), tmp_path)
    assert not list(tmp_path.glob(f"{low_precision.FOLDER}/*/{openvino_convert.REPORT}"))
    request.getfixturevalue("here")
    wrong = (Canary((3,), (0.9,)),)
    with pytest.raises(WindrowError, match=r"must label the image 'gradient' as it was labelled before"):
        low_precision.lower(model(keras_file, canaries=wrong), section(fill(tmp_path / "more")), tmp_path)
    assert not list(tmp_path.glob(f"{low_precision.FOLDER}/*/{openvino_convert.REPORT}"))


@needs_packages
@in_this_process
@pytest.mark.tensorflow
def test_a_graph_is_converted_where_it_is_fed_images_and_refused_where_it_is_fed_bytes(
    stock_graph: Path, photos: Path, tmp_path: Path
) -> None:
    form = Form("graph", "ResizeBilinear:0", "softmax:0", resize="corner")
    after, loss = low_precision.lower(model(stock_graph, form), section(photos), tmp_path)
    assert (after.shape, after.form.resize, loss.accuracy) == ((6, 5, 3), "corner", 1.0)
    with pytest.raises(UserError, match="needs a network that is fed decoded images; DecodeJpeg/contents:0 takes a fi"):
        low_precision.lower(model(stock_graph, replace(form, feed="DecodeJpeg/contents:0")), section(photos), tmp_path)


@needs_packages
@in_this_process
@pytest.mark.tensorflow
def test_a_saved_model_is_converted_with_the_range_that_it_is_fed(
    keras_file: Path, photos: Path, tmp_path: Path
) -> None:
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, 6, 5, 3), tf.float32, name="image")])  # type: ignore[untyped-decorator]
    def scores(image: Any) -> Any:
        return tf.nn.softmax(tf.pad(tf.reduce_mean(image, [1, 2]) * 5, [[0, 0], [0, 1]]))

    tf.saved_model.save(tf.Module(), str(tmp_path / "saved"), {"serving_default": scores})
    after, loss = low_precision.lower(
        model(tmp_path / "saved", Form("saved_model", black=-1.0, white=1.0)), section(photos), tmp_path
    )
    assert loss.accuracy == 1.0
    plain = predict.LoadedNetwork(tmp_path / "saved", None, 4, 4, form=Form("saved_model", black=-1.0, white=1.0))
    low = predict.LoadedNetwork(after.file, None, 4, 4, form=after.form)
    pixels = np.full((2, 6, 5, 3), 90, np.uint8)
    pixels[0, ..., 0] = pixels[1, ..., 2] = 200
    assert low.label(pixels)[0][:, 0].tolist() == plain.label(pixels)[0][:, 0].tolist() == [0, 2]
    np.testing.assert_allclose(low.label(pixels)[1][:, 0], plain.label(pixels)[1][:, 0], atol=0.05)


@needs_packages
@in_this_process
@pytest.mark.tensorflow
def test_bf16_is_taken_where_the_processor_has_it(keras_file: Path, photos: Path, tmp_path: Path) -> None:
    if "BF16" not in openvino_runtime.import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("needs a processor with bf16 instructions")
    _, loss = low_precision.lower(model(keras_file), section(photos, type="bf16"), tmp_path)
    assert (loss.type, loss.same_labels) == ("bf16", 1.0)


class WithoutBf16:
    """OpenVINO's core on a processor that no test can ask for."""

    def get_property(self, device: str, name: str) -> object:
        return ["FP32", "INT8"] if name == "OPTIMIZATION_CAPABILITIES" else "an older one"


def test_bf16_is_refused_where_the_processor_has_it_not() -> None:
    words = (
        r"bf16 needs processors with bf16 instructions, .*\(an older one\) has FP32, INT8; run elsewhere, or take int8"
    )
    with pytest.raises(UserError, match=words):
        openvino_runtime.check_bf16(WithoutBf16())


@pytest.mark.tensorflow
def test_a_worker_labels_without_tensorflow_and_asks_nobody(converted: Converted, tmp_path: Path) -> None:
    after = converted.after
    code = f"""
import json, sys
from pathlib import Path
asked = []
sys.addaudithook(lambda event, given: asked.append(str(given[1])) if event == "socket.connect" else None)
from windrow.model.form import Form
from windrow.scoring import pipeline
from windrow.scoring.network import predict
import numpy as np
network = predict.load(Path({str(after.file)!r}), "d", (6, 5, 3), 8, 2, 1, Form("openvino", precision="int8"))
pixels = np.full((3, 6, 5, 3), 40, np.uint8)
for number, channel in enumerate((2, 0, 1)):
    pixels[number, ..., channel] = 220
ids, scores = network.label(pixels)
loaded = [name for name in ("tensorflow", "keras", "nncf", "openvino_telemetry.main") if name in sys.modules]
print(json.dumps([ids[:, 0].tolist(), scores.shape, loaded, asked]))
"""
    variables = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[2, 0, 1], [3, 2], [], []]
    assert not (tmp_path / "intel").exists()


@pytest.mark.tensorflow
def test_a_worker_that_labels_otherwise_than_the_conversion_did_is_found(converted: Converted) -> None:
    after = converted.after
    loaded = predict.load(after.file, after.digest, after.shape, 8, 4, 1, after.form, after.canaries)
    assert [canary.label_ids for canary in loaded.canaries] == [canary.label_ids for canary in after.canaries]
    first = after.canaries[0]
    wrong = replace(first, scores=(first.scores[0] - 0.1, *first.scores[1:]))
    with pytest.raises(WindrowError, match=r"'gradient'.*scores differ by 0\.1"):
        predict.load(after.file, after.digest, after.shape, 8, 4, 1, after.form, (wrong, *after.canaries[1:]))


def test_a_process_that_ends_badly_ends_the_run_with_its_last_word(capfd: pytest.CaptureFixture[str]) -> None:
    sentence = r"the conversion must end well; got exit code 1; it said: the canary differs"
    with pytest.raises(WindrowError, match=sentence) as failed:
        low_precision._run([sys.executable, "-c", "raise SystemExit('a warning\\nthe canary differs')"])
    assert not isinstance(failed.value, UserError), "nobody who wrote a page can correct it"
    assert "a warning" in capfd.readouterr().err
    with pytest.raises(WindrowError, match=r"got exit code -9; it said: nothing"):
        low_precision._run([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])


def test_a_request_is_the_same_in_the_process_that_converts(tmp_path: Path) -> None:
    form = Form("graph", "a:0", "b:0", "corner", -1.0, 1.0)
    request = Request("/n.pb", form, [4, 5, 3], "int8", ["/a.png"], None, [Canary((2, 0), (0.75, 0.123456))])
    request.write(tmp_path / "request.json")
    assert Request.read(tmp_path / "request.json") == request
