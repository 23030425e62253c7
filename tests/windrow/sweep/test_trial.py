from __future__ import annotations

import math
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from windrow.data import manifest
from windrow.experiment import parameters
from windrow.sweep import trial
from windrow.sweep.attempt import RunningAttempt
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.spec import TrialSpec
from windrow.sweep.tuning import epochs
from windrow.training import loop, runtime
from windrow.training.data import joined
from windrow.training.loop import Examples
from windrow.training.networks import Builder

pytestmark = pytest.mark.tensorflow


def attempt(digits: Path, builder: Builder | None = None, **changes: Any) -> Outcome:
    own = (
        "epochs",
        "objective",
        "keep_network",
        "seed",
        "seconds",
        "mebibytes",
        "address",
        "lease",
        "prune",
        "digests",
        "patience",
        "cost",
        "keep_hits",
    )
    settings = {key: changes.pop(key) for key in own if key in changes}
    builder = builder or Builder("dense")
    spec = TrialSpec(
        number=4,
        attempt=2,
        builder=builder,
        parameters={**parameters.defaults(builder.name), **changes},
        shape=(8, 8, 1),
        classes=10,
        **{"epochs": 2, "objective": "val_accuracy", "seed": 1, **settings},
    )
    return trial.run(spec, digits)


def test_a_good_trial_gives_back_its_metrics_and_its_objective(digits: Path) -> None:
    outcome = attempt(digits, epochs=3)
    assert (outcome.number, outcome.attempt, outcome.ending) == (4, 2, Ending.OK)
    assert len(outcome.epochs) == 3
    assert outcome.value == outcome.epochs[-1].val_accuracy
    assert (outcome.network, outcome.hits) == (None, None)
    assert outcome.seconds >= sum(epoch.seconds for epoch in outcome.epochs)


def test_a_second_goal_is_measured_before_the_training_and_is_the_same_in_every_epoch(digits: Path) -> None:
    source = (
        "import keras\ndef build(shape, classes, units, **_):\n    i = keras.Input(shape)\n"
        "    x = keras.layers.BatchNormalization()(keras.layers.Flatten()(i))\n"
        "    x = keras.layers.Dense(classes, activation='softmax')(keras.layers.Dense(units)(x))\n"
        "    return keras.Model(i, x)\n"
    )
    for builder, weights in ((Builder("dense"), 64 * 5 + 5 + 50 + 10), (Builder("a.py:build", source, "build"), 513)):
        outcome = attempt(digits, builder, units=5, cost="weights")
        assert [epoch.weights for epoch in outcome.epochs] == [weights, weights]
    small, large = (attempt(digits, units=units, cost="milliseconds") for units in (4, 4096))
    assert len({epoch.milliseconds for epoch in large.epochs}) == 1
    assert 0 < (small.epochs[0].milliseconds or 0) < (large.epochs[0].milliseconds or 0) < 100
    alone = attempt(digits, units=4)
    assert alone.epochs[0].metrics().keys() == small.epochs[0].metrics().keys() - {"milliseconds"}
    assert alone.value == small.value, "the measurement changes nothing in the training"


def test_the_objective_may_be_the_loss(digits: Path) -> None:
    outcome = attempt(digits, objective="val_loss")
    assert outcome.value == outcome.epochs[-1].val_loss


def test_a_network_that_is_kept_predicts_what_was_measured(digits: Path) -> None:
    from windrow.training.loop import compile_evaluation

    outcome = attempt(digits, keep_network=True)
    assert outcome.network is not None
    network = runtime.from_bytes(outcome.network)
    validation = trial.examples(digits, "validation")
    _, predicted, _ = compile_evaluation(network, validation)()
    assert (predicted == validation.labels).mean() == pytest.approx(outcome.value)


@pytest.mark.parametrize("objective", ["val_accuracy", "val_loss", "val_macro_f1"])
def test_a_patient_trial_ends_early_and_keeps_the_network_of_its_best_epoch(digits: Path, objective: str) -> None:
    from sklearn.metrics import f1_score
    from windrow.training.loop import compile_evaluation

    changes: dict[str, Any] = {"learning_rate": 0.05, "optimizer": "adam", "batch_size": 32}
    outcome = attempt(digits, keep_network=True, keep_hits=True, objective=objective, epochs=40, patience=2, **changes)
    values = [epoch.metrics()[objective] for epoch in outcome.epochs]
    best = min(values) if objective == "val_loss" else max(values)
    assert (outcome.ending, outcome.value) == (Ending.OK, best)
    assert len(values) == values.index(best) + 3 < 40
    assert outcome.network is not None
    validation = trial.examples(digits, "validation")
    loss, predicted, _ = compile_evaluation(runtime.from_bytes(outcome.network), validation)()
    measured = {
        "val_accuracy": (predicted == validation.labels).mean(),
        "val_loss": loss,
        "val_macro_f1": f1_score(validation.labels, predicted, average="macro"),
    }
    assert measured[objective] == pytest.approx(best, rel=1e-5)
    assert outcome.hits is not None
    assert (outcome.hits.unpack() == (predicted == validation.labels)).all()


def test_the_same_seed_gives_the_same_value(digits: Path) -> None:
    assert attempt(digits, seed=5, objective="val_loss").value == attempt(digits, seed=5, objective="val_loss").value


def test_divergence_is_an_outcome_that_tells_the_epoch(digits: Path) -> None:
    outcome = attempt(digits, learning_rate=10.0, optimizer="sgd", layers=8, units=512, momentum=0.99, epochs=9)
    assert outcome.ending is Ending.DIVERGED
    assert outcome.value is None
    assert not math.isfinite(outcome.epochs[-1].loss + outcome.epochs[-1].val_loss)
    assert f"in epoch {len(outcome.epochs)}; lower the learning rate" in outcome.error


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("raise ValueError('no luck')", "no luck"),
        ("import sys; sys.exit(3)", "SystemExit"),
        ("return None", "must return a keras.Model"),
        ("return undefined_name", "undefined_name"),
        ("x = [0] * (1 << 62)", "MemoryError"),
    ],
)
def test_whatever_a_users_builder_does_becomes_a_failed_outcome(digits: Path, body: str, told: str) -> None:
    builder = Builder("mine.py:build", f"def build(shape, classes, **_):\n    {body}\n", "build")
    outcome = attempt(digits, builder)
    assert outcome.ending is Ending.FAILED
    assert told in outcome.error


def test_a_builder_that_sets_the_global_seed_does_not_change_the_order_of_images(digits: Path) -> None:
    source = (
        "import keras\ndef build(shape, classes):\n    {line}\n    i = keras.Input(shape)\n"
        "    x = keras.layers.Flatten()(i)\n"
        "    return keras.Model(i, keras.layers.Dense(classes, activation='softmax', kernel_initializer='zeros')(x))\n"
    )
    values = [
        attempt(digits, Builder("mine.py:build", source.format(line=line), "build"), objective="val_loss").value
        for line in ("pass", "keras.utils.set_random_seed(999)")
    ]
    assert values[0] == values[1]


LAST = (
    "import keras\ndef build(shape, classes, **_):\n    i = keras.Input(shape)\n"
    "    return keras.Model(i, keras.layers.Dense(classes{end})(keras.layers.Flatten()(i)))\n"
)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (LAST.format(end=", activation='softmax'"), ""),
        (LAST.format(end=""), "end with a softmax: keras.layers.Dense(classes, activation='softmax')"),
        ("import no_such_module\ndef build(**_): ...", "No module named 'no_such_module'"),
        ("def build(**_): return None", "must return a keras.Model"),
        ("def build(**_): raise ValueError('not at this point')", ""),
        ("import sys\ndef build(**_): sys.exit(3)", ""),
    ],
)
def test_a_network_is_tried_before_a_trial_and_only_its_files_mistakes_are_told(
    digits: Path, source: str, told: str
) -> None:
    builder = Builder("mine.py:build", source, "build")
    values = parameters.defaults(builder.name)
    spec = TrialSpec(0, 1, builder, values, (8, 8, 1), 10, 3, "val_accuracy", 1)
    found = trial.mistake(spec, digits)
    assert told in found
    assert bool(found) == bool(told)


def test_a_builder_that_hangs_ends_with_its_process_at_the_limit_of_a_trial() -> None:
    code = "import time\nfrom windrow.sweep.trial import _time_limit\nwith _time_limit(0.1):\n    time.sleep(100)\n"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL


def test_data_that_did_not_arrive_as_it_was_sent_is_an_outcome_too(digits: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(digits, tmp_path, dirs_exist_ok=True)
    digests = tuple(manifest.read(digits).files.items())
    assert attempt(tmp_path, digests=digests, epochs=1).ending is Ending.OK
    damaged = tmp_path / "damaged"
    shutil.copytree(digits, damaged)
    with (damaged / "train-images.npy").open("r+b") as file:
        file.seek(1000)
        file.write(b"\xff")
    outcome = attempt(damaged, digests=digests)
    assert outcome.ending is Ending.FAILED
    assert "must be as prepared" in outcome.error


def test_a_network_whose_outputs_are_no_numbers_has_diverged(digits: Path) -> None:
    source = (
        "import keras\ndef build(shape, classes):\n    i = keras.Input(shape)\n    x = keras.layers.Flatten()(i)\n"
        "    x = keras.layers.Rescaling(float('nan'))(x)\n"
        "    return keras.Model(i, keras.layers.Dense(classes, activation='softmax')(x))\n"
    )
    outcome = attempt(digits, Builder("mine.py:build", source, "build"), epochs=5)
    assert outcome.ending is Ending.DIVERGED
    assert len(outcome.epochs) == 1
    assert "in epoch 1; lower the learning rate" in outcome.error


def test_a_missing_data_set_is_an_outcome_too(tmp_path: Path) -> None:
    outcome = attempt(tmp_path)
    assert outcome.ending is Ending.FAILED
    assert "train-images" in outcome.error


def test_a_data_set_that_was_sent_is_found_where_an_executor_of_a_cluster_keeps_its_files(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There the folder's name is relative, and the files of two data sets lie in it."""
    from pyspark import SparkFiles

    for file in digits.glob("*.npy"):
        shutil.copy(file, tmp_path / f"abc-{file.name}")
    (tmp_path / "abd-train-images.npy").write_bytes(b"another data set's")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(SparkFiles, "getRootDirectory", lambda: ".")
    for _ in range(2):
        assert len(trial.examples(trial.shipped("abc"), "train")) == len(trial.examples(digits, "train"))


def test_a_task_gives_back_one_outcome_a_specification(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "shipped", lambda _: digits)
    spec = TrialSpec(1, 1, Builder("dense"), parameters.defaults("dense"), (8, 8, 1), 10, 1, "val_accuracy", 1)
    assert [outcome.ending for outcome in trial.run_all(iter([spec, spec]))] == [Ending.OK, Ending.OK]


def group(count: int = 4, **changes: Any) -> list[TrialSpec]:
    """Trials of a dense network that differ in width and learning rate."""
    return [
        TrialSpec(
            number=number,
            attempt=1,
            builder=Builder("dense"),
            parameters={
                **parameters.defaults("dense"),
                "units": 8 * (number + 1),
                "learning_rate": 0.01 / (number + 1),
            },
            shape=(8, 8, 1),
            classes=10,
            seed=number,
            lease=f"lease {number}",
            fused=True,
            **{"epochs": 3, "objective": "val_loss", **changes},
        )
        for number in range(count)
    ]


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (4, [4]), (13, [8, 4, 1]), (32, [32])])
def test_heads_share_graphs_of_few_sizes(count: int, sizes: list[int]) -> None:
    head = Builder("head")
    specs = [
        replace(spec, builder=head, parameters={**parameters.defaults("head"), "views": spec.number % 8 + 1})
        for spec in group(count)
    ]
    assert [len(portion) for portion in trial.groups(specs)] == sizes
    assert [spec.number for portion in trial.groups(specs) for spec in portion] == list(range(count))


def run_group(monkeypatch: pytest.MonkeyPatch, digits: Path, specs: list[TrialSpec], gain: float) -> list[Outcome]:
    """Run the specifications as one Spark task does, where the probe measures `gain`."""
    monkeypatch.setattr(trial, "shipped", lambda _: digits)
    monkeypatch.setattr(trial.fused, "gain", lambda *_: gain)
    return sorted(trial.run_all(iter(specs)), key=lambda outcome: outcome.number)


def test_trials_as_one_graph_end_as_they_would_alone(monkeypatch: pytest.MonkeyPatch, digits: Path) -> None:
    together = run_group(monkeypatch, digits, group(), gain=2.0)
    alone = run_group(monkeypatch, digits, group(), gain=1.09)  # less than a tenth
    assert [outcome.fused for outcome in together] == [4] * 4
    assert [outcome.fused for outcome in alone] == [1] * 4
    assert {outcome.gain for outcome in together} == {2.0}
    assert {outcome.gain for outcome in alone} == {1.09}  # so that the driver learns that it does not pay
    for left, right in zip(together, alone, strict=True):
        assert left.ending is right.ending is Ending.OK
        assert left.value == pytest.approx(right.value, rel=1e-2)
        assert (left.lease, len(left.epochs)) == (right.lease, 3)


def test_a_patient_trial_leaves_the_graph_where_it_ends(monkeypatch: pytest.MonkeyPatch, digits: Path) -> None:
    specs = group(3, epochs=30, patience=1, objective="val_macro_f1")
    for outcome in run_group(monkeypatch, digits, specs, gain=2.0):
        values = [epoch.metrics()["val_macro_f1"] for epoch in outcome.epochs]
        assert (outcome.ending, outcome.fused, outcome.value) == (Ending.OK, 3, max(values))
        assert len(values) in (values.index(max(values)) + 2, 30)


def test_a_graph_that_can_not_be_made_leaves_each_trial_to_itself(
    monkeypatch: pytest.MonkeyPatch, digits: Path
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(trial.fused, "prepare", fail)
    outcomes = run_group(monkeypatch, digits, group(3), gain=2.0)
    assert [outcome.ending for outcome in outcomes] == [Ending.OK] * 3
    assert [outcome.fused for outcome in outcomes] == [1] * 3


def test_a_trial_that_is_pruned_leaves_the_graph_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, digits: Path
) -> None:
    from windrow.sweep.attempt import RunningAttempt

    said = RunningAttempt._report

    def say(self: RunningAttempt, content: dict[str, object]) -> None:
        said(self, content)
        if self.spec.number == 1 and len(self.epochs) == 2:
            self.stop = "pruned"

    monkeypatch.setattr(RunningAttempt, "_report", say)
    outcomes = run_group(monkeypatch, digits, group(3, prune=True, epochs=4), gain=2.0)
    assert [outcome.ending for outcome in outcomes] == [Ending.OK, Ending.PRUNED, Ending.OK]
    assert [len(outcome.epochs) for outcome in outcomes] == [4, 2, 4]


def test_a_trial_whose_lease_counts_no_longer_trains_in_no_graph(monkeypatch: pytest.MonkeyPatch, digits: Path) -> None:
    from windrow.sweep.attempt import RunningAttempt

    monkeypatch.setattr(
        RunningAttempt, "begin", lambda self: setattr(self, "stop", "lost" if self.spec.number == 0 else self.stop)
    )
    outcomes = run_group(monkeypatch, digits, group(3), gain=2.0)
    assert [outcome.ending for outcome in outcomes] == [Ending.LOST, Ending.OK, Ending.OK]
    assert outcomes[0].epochs == ()


def test_only_trials_that_may_be_one_graph_are_grouped() -> None:
    import dataclasses

    specs = group(4)
    specs[1] = dataclasses.replace(specs[1], seconds=5.0)
    specs[2] = dataclasses.replace(specs[2], parameters={**specs[2].parameters, "activation": "tanh"})
    numbers = sorted(sorted(spec.number for spec in together) for together in trial.groups(specs))
    assert numbers == [[0, 3], [1], [2]]


def test_trials_on_cropped_and_on_squashed_images_are_not_grouped() -> None:
    specs = [replace(spec, fit="crop" if spec.number % 2 else None) for spec in group(4)]
    numbers = sorted(sorted(spec.number for spec in together) for together in trial.groups(specs))
    assert numbers == [[0, 2], [1, 3]]


def again_on_all(patience: int | None, learning_rate: float) -> tuple[Any, Examples]:
    """A head that was trained again on images of two classes, and on those for validation, which are of a third one."""
    centres = np.eye(3, 8) * 4
    training, validation = (
        Examples((centres[labels][:, None] + noise).astype(np.float16), labels)
        for labels, noise in (
            (np.arange(64) % 2, np.random.default_rng(0).normal(0, 0.1, (64, 2, 8))),
            (np.full(32, 2), np.zeros((32, 1, 8))),
        )
    )
    known = {**parameters.defaults("head"), "learning_rate": learning_rate}
    spec = TrialSpec(1, 1, Builder("head"), known, (1, 1, 8), 3, 10, "val_loss", 1, patience=patience, on_all=True)
    running = RunningAttempt(spec)
    running.best = 8  # the epoch that counts
    both = joined(training, validation)
    run = loop.prepare(spec.builder, known, spec.shape, spec.classes, both, validation, spec.epochs, spec.seed)
    return epochs.run_again(running, run), validation


@pytest.mark.parametrize("patience", [None, 2])
def test_a_head_that_is_kept_has_learned_from_the_images_for_validation_too(patience: int | None) -> None:
    network, validation = again_on_all(patience, 0.05)
    found = np.asarray(network(validation.images[:, 0].reshape(-1, 1, 1, 8).astype(np.float32))).argmax(axis=1)
    assert (found == 2).all()


def test_a_training_on_all_images_that_diverges_is_an_error_and_no_network() -> None:
    with pytest.raises(FloatingPointError, match="the training on all images, of training and validation, diverged"):
        again_on_all(None, 1e38)


def test_a_head_on_another_fold_is_validated_on_images_for_training(tmp_path: Path) -> None:
    """The images for validation have a wrong label each, so only another fold has a head that is right."""
    generator, labels = np.random.default_rng(0), {"train": np.arange(80) % 2, "validation": np.arange(16) % 2}
    for split, known in labels.items():
        for fit in ("", "-crop"):
            values = np.eye(2, 8)[known][:, None] * 4 + generator.normal(0, 0.1, (len(known), 1, 8))
            np.save(tmp_path / f"{split}-features{fit}.npy", values.astype(np.float16))
        np.save(tmp_path / f"{split}-labels.npy", known if split == "train" else 1 - known)
    settings = {**parameters.defaults("head"), "learning_rate": 0.05, "batch_size": 8}
    spec = TrialSpec(1, 1, Builder("head"), settings, (1, 1, 8), 2, 10, "val_accuracy", 1)
    own, second, third = (trial.run(replace(spec, fold=fold, fit="crop"), tmp_path) for fold in (1, 2, 3))
    assert [outcome.ending for outcome in (own, second, third)] == [Ending.OK] * 3, own.error
    assert own.value == 0
    assert second.value == third.value == 1
    assert second.epochs[-1].val_loss != third.epochs[-1].val_loss
