from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from windrow.errors import BuilderError
from windrow.experiment import NetworkSection, parameters
from windrow.training.networks import Builder, check_parameters, read_builder, try_out

tensorflow = pytest.mark.tensorflow

IMAGES = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 1), dtype=np.uint8)


def written(folder: Path, source: str, name: str = "build") -> Builder:
    (folder / "mine.py").write_text(source)
    return read_builder(NetworkSection(builder=f"mine.py:{name}"), folder / "page.yaml")


def test_a_builder_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BuilderError, match=r"must name a Python file next to the page; .*absent\.py"):
        read_builder(NetworkSection(builder="absent.py:build"), tmp_path / "page.yaml")


def test_a_builder_file_with_a_syntax_error_tells_the_line(tmp_path: Path) -> None:
    with pytest.raises(BuilderError, match=r"mine\.py must be Python; line 2"):
        written(tmp_path, "x = 1\ndef build(:\n")


def test_a_builder_file_without_the_function_lists_those_it_has(tmp_path: Path) -> None:
    with pytest.raises(BuilderError, match=r"must define build\(\); got other"):
        written(tmp_path, "def other(): ...\n")


@pytest.mark.parametrize(
    "source",
    [
        "def build(shape, classes, width, zoom=0.1, *, flip): ...",
        "def build(shape, classes, **more):\n    return more['zoom'] + more.get('flip', 0) + other['shift']",
        "def build(shape, classes, *, zoom, **more):\n    return more.pop('flip')",
    ],
)
def test_a_builder_that_takes_a_parameter_of_the_training_loop_is_refused_before_it_gets_another_value(
    tmp_path: Path, source: str
) -> None:
    told = r"mine.py:build must leave .* got zoom, flip \(augmentation: largest random zoom .*; rename it in the file"
    with pytest.raises(BuilderError, match=told):
        check_parameters(written(tmp_path, source))


@pytest.mark.parametrize("name", parameters.TRAINING)
def test_no_parameter_of_the_training_loop_is_left_to_a_builder(tmp_path: Path, name: str) -> None:
    with pytest.raises(BuilderError, match=f"got {name} "):
        check_parameters(written(tmp_path, f"def build(shape, classes, {name}=0): ..."))


def test_a_builder_may_use_the_names_otherwise(tmp_path: Path) -> None:
    for source in (
        "def build(shape, classes, **more):\n    zoom = shape['zoom']\n    return more['width'], 'flip'",
        "def other(zoom): ...\ndef build(shape, classes): ...",
    ):
        check_parameters(written(tmp_path, source))
    check_parameters(Builder("dense"))


def test_reading_a_builder_does_not_run_it(tmp_path: Path) -> None:
    written(tmp_path, "open('ran', 'w')\ndef build(): ...\n")
    assert not Path("ran").exists()


@tensorflow
@pytest.mark.parametrize("name", list(parameters.BUILDERS))
@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (5, 7, 3)])
def test_built_in_networks_give_probabilities_for_any_image_shape(name: str, shape: tuple[int, int, int]) -> None:
    network = Builder(name).build({**parameters.defaults(name), "dropout": 0.3}, shape, 7)
    images = np.random.default_rng(0).uniform(0, 255, (3, *shape)).astype(np.float32)
    np.testing.assert_allclose(np.asarray(network(images)).sum(axis=1), 1, rtol=1e-5)
    assert network.output_shape == (None, 7)


@tensorflow
@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import no_such_module\ndef build(**_): ...", "No module named 'no_such_module'"),
        ("def build(**_): return 3", "must return a keras.Model; got int"),
        (
            "import keras\ndef build(shape, classes):\n"
            "    i = keras.Input(shape)\n    return keras.Model(i, keras.layers.Flatten()(i))",
            r"must map \(8, 8, 1\) images to 10 probabilities; got \(8, 8, 1\) to \(64,\)",
        ),
    ],
)
def test_what_is_wrong_with_a_users_network_is_told(tmp_path: Path, source: str, told: str) -> None:
    with pytest.raises(BuilderError, match=told):
        written(tmp_path, source).build(parameters.defaults("mine.py:build"), (8, 8, 1), 10)


def test_what_a_users_function_raises_is_not_taken_for_a_mistake_in_the_file(tmp_path: Path) -> None:
    builder = written(tmp_path, "def build(**_): raise ValueError('not with this point')")
    with pytest.raises(ValueError, match="not with this point"):
        builder.build(parameters.defaults("mine.py:build"), (8, 8, 1), 10)


@tensorflow
def test_a_users_function_gets_its_own_parameters_and_not_the_loops(tmp_path: Path) -> None:
    source = (
        "import keras\ndef build(shape, classes, width):\n    i = keras.Input(shape)\n"
        "    x = keras.layers.Dense(width)(keras.layers.Flatten()(i))\n"
        "    return keras.Model(i, keras.layers.Dense(classes, activation='softmax')(x))"
    )
    values = {**parameters.defaults("mine.py:build"), "width": 5}
    network = written(tmp_path, source).build(values, (8, 8, 1), 10)
    assert network.count_params() == 64 * 5 + 5 + 5 * 10 + 10


ENDS = """
import keras
def build(shape, classes):
    i = keras.Input(shape)
    x = keras.layers.Flatten()(i)
    return keras.Model(i, {end})
"""


@tensorflow
@pytest.mark.parametrize(
    ("end", "told"),
    [
        ("keras.layers.Dense(classes)(x)", r"got rows that sum to .* to .*; end with a softmax: keras\.layers\.Dense"),
        ("keras.layers.Dense(classes, activation='sigmoid')(x)", "end with a softmax"),
        ("keras.layers.Dense(classes, activation='softmax')(x) * 2 - 0.1", "end with a softmax"),
        ("keras.layers.Softmax()(keras.layers.Dense(classes)(x) * float('nan'))", "not finite, before any training"),
    ],
)
def test_outputs_that_are_no_probabilities_are_told_with_what_to_write(tmp_path: Path, end: str, told: str) -> None:
    builder = written(tmp_path, ENDS.format(end=end))
    with pytest.raises(BuilderError, match=told):
        try_out(builder, parameters.defaults(builder.name), (8, 8, 1), 10, IMAGES)


@tensorflow
@pytest.mark.parametrize("name", list(parameters.BUILDERS))
def test_a_built_in_network_passes(name: str) -> None:
    try_out(Builder(name), parameters.defaults(name), (8, 8, 1), 10, IMAGES)


@tensorflow
def test_a_users_network_in_float16_passes(tmp_path: Path) -> None:
    builder = written(tmp_path, ENDS.format(end="keras.layers.Dense(classes, 'softmax', dtype='float16')(x / 255)"))
    try_out(builder, parameters.defaults(builder.name), (8, 8, 1), 10, IMAGES)


OWN_CLASS = """
import keras
{decorator}
class Odd(keras.layers.Layer):
    def call(self, x):
        return x / 255
def build(shape, classes):
    image = keras.Input(shape)
    x = keras.layers.Flatten()({layer}(image))
    return keras.Model(image, keras.layers.Dense(classes, activation="softmax")(x))
"""


@tensorflow
@pytest.mark.parametrize(
    ("decorator", "layer", "told"),
    [
        ("@keras.saving.register_keras_serializable()", "Odd()", "'Odd'"),
        ("", "Odd()", "'Odd'"),
        ("", "keras.layers.Lambda(lambda x: x / 255)", "ambda"),
    ],
)
def test_a_network_that_only_its_own_file_can_load_is_refused_before_it_is_trained(
    tmp_path: Path, decorator: str, layer: str, told: str
) -> None:
    import keras

    builder = written(tmp_path, OWN_CLASS.format(decorator=decorator, layer=layer))
    with pytest.raises(BuilderError, match=r"that Keras saves and loads without mine\.py; got: ") as caught:
        try_out(builder, parameters.defaults(builder.name), (8, 8, 1), 10, IMAGES)
    assert told in str(caught.value)
    assert str(caught.value).endswith("build it from Keras' own layers, without classes or lambdas of your own")
    assert ("Custom>Odd" in keras.saving.get_custom_objects()) is bool(decorator), "what was registered stays"
    keras.saving.get_custom_objects().clear()
