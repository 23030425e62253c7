from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from windrow.training import runtime

pytestmark = pytest.mark.tensorflow

JOBS = Path(__file__).resolve().parents[3] / "jobs"

TRIALS = """
import gc, sys, weakref
import numpy as np, psutil
from windrow.experiment import parameters
from windrow.training import loop, runtime
from windrow.training.networks import Builder

class Large:
    pass

own = Large()
own.itself, gone = own, weakref.ref(own)
del own
assert runtime.import_tensorflow(int(sys.argv[1]), deterministic=True) > 0
assert runtime.import_tensorflow(7, deterministic=True) == 0
assert gc.isenabled()
assert gone() is None, "garbage of before the import is freed"
assert len(gc.get_objects()) < 50_000, "PySpark collects garbage after each task"
import tensorflow as tf

tf.zeros(1) + 1
print(psutil.Process().num_threads())
if "train" not in sys.argv:
    sys.exit()
generator = np.random.default_rng(0)
examples = loop.Examples(generator.integers(0, 256, (600, 12, 12, 1), dtype=np.uint8), generator.integers(0, 10, 600))
own = {"dropout": 0.3, "shift": 1.0, "rotation": 10.0, "decay": "cosine", "weight_decay": 0.01, "learning_rate": 0.01}
for builder, more in (("dense", {"units": 200, "batch_norm": True}), ("cnn", {"filters": 4, "optimizer": "sgd"})):
    values = {**parameters.defaults(builder), **own, **more}
    run = loop.prepare(Builder(builder), values, (12, 12, 1), 10, examples, examples, 2, 5)
    print([(epoch.loss.hex(), epoch.val_loss.hex()) for epoch in run.epochs()])
    print(sum(float(np.abs(weights, dtype=np.float64).sum()) for weights in run.network.get_weights()).hex())
"""


def told(*commands: str) -> list[list[str]]:
    """What processes of their own print, side by side: each with a number of threads, and "train" or nothing more."""
    command, environment = [sys.executable, "-c", TRIALS], {"PYTHONPATH": str(JOBS)}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = [subprocess.Popen([*command, *one.split()], env=environment, **pipes) for one in commands]
    ended = [process.communicate(timeout=250) for process in running]
    assert [process.returncode for process in running] == [0] * len(commands), ended[0][1][-2000:]
    return [out.splitlines() for out, _ in ended]


def test_deterministic_trials_give_the_same_bits_in_every_process_on_as_many_threads_as_the_task_has_cores() -> None:
    first, second, wide = told("2 train", "2 train", "5")
    assert first == second
    assert (len(first), len(wide)) == (5, 1)
    assert int(wide[0]) - int(first[0]) == 5 - 2


@pytest.mark.faults
def test_deterministic_trials_on_one_thread_give_the_same_bits_in_every_process() -> None:
    first, second = told("1 train", "1 train")
    assert first == second


def digest_of(*weights: np.ndarray) -> str:
    return runtime.weights_digest(SimpleNamespace(get_weights=lambda: list(weights)))


def test_weights_that_are_equal_bit_for_bit_have_one_digest_however_they_lie_in_memory() -> None:
    kernel, bias = np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros(3, np.float32)
    expected = digest_of(kernel, bias)
    assert digest_of(np.asfortranarray(kernel), bias.copy()) == expected
    assert digest_of(kernel.astype(">f4"), bias) == expected


@pytest.mark.parametrize(
    "other",
    [
        [np.zeros((2, 3), np.float32), np.array([0, 0, np.nextafter(np.float32(0), np.float32(1))])],  # one bit
        [np.zeros((2, 3), np.float32), np.array([0, 0, -0.0], np.float32)],
        [np.zeros((3, 2), np.float32), np.zeros(3, np.float32)],
        [np.zeros(3, np.float32), np.zeros((2, 3), np.float32)],
        [np.zeros((2, 3), np.float32), np.zeros(3, np.int32)],
        [np.zeros((2, 3), np.float32)],
    ],
)
def test_another_bit_shape_type_order_or_number_of_weights_gives_another_digest(other: list[np.ndarray]) -> None:
    assert digest_of(*other) != digest_of(np.zeros((2, 3), np.float32), np.zeros(3, np.float32))


def test_a_network_has_the_digest_of_its_file_loaded_back() -> None:
    import keras

    runtime.import_tensorflow(threads=1)
    image = keras.Input((4,))
    network = keras.Model(
        image, keras.layers.Dense(3)(keras.layers.BatchNormalization()(keras.layers.Dropout(0.1)(image)))
    )
    assert runtime.weights_digest(runtime.from_bytes(runtime.to_bytes(network))) == runtime.weights_digest(network)
