"""Time a sweep of heads on 3,000 x 1,280 features, next to Optuna with keras.fit on the same features.

    python bench/heads.py --trials 200 --peer-trials 20

The images are noise of eight classes that overlap, and the backbone is one random dense layer, so that the features
cost nothing. The sweep is the real job on all cores, in a process of its own, with Spark's start; its work is the time
from the first trial's start to the last one's end. Optuna has all cores too, as threads of TensorFlow. Both search the
space that a page with a backbone gets, at random, with batches of 128 and as many epochs, and neither prunes. A sampler
that learns would go to wide heads after some dozen trials, which take longer, so a few trials of one and 200 of the
other could not be compared.
keras.fit is as it is, without XLA on a CPU: with `--xla` it took 77 s a trial where it took 8.8 s without,
in batches of 32.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from time import perf_counter

import windrow_job

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "jobs"))
TRAINING, VALIDATION, CLASSES, FEATURES, EPOCHS, BATCH = 3000, 600, 8, 1280, 20, 128
PATTERN = 13  # in 50 of noise: the best heads get nine in ten images right
XLA: dict[str, str | bool] = {"as it is": "auto"}
PAGE = """
name: bench_heads
dataset: {{source: {folder}, fit: squash}}
network: {{backbone: random.keras, parameters: {{batch_size: {batch}}}}}
sweep: {{trials: {trials}, epochs: {epochs}, sampler: random, objective: val_accuracy}}
"""


def main() -> None:
    """Make the features, time the sweep, then the peer, and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200, help="trials of the sweep")
    parser.add_argument("--peer-trials", type=int, default=20, help="trials of the peer, of which the mean is taken")
    parser.add_argument("--xla", action="store_true", help="train the peer's trials by XLA, too, in turns")
    parser.add_argument("--peer", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.xla:
        XLA["with XLA"] = True
    if arguments.peer is not None:
        print(json.dumps(peer(arguments.peer, arguments.peer_trials)))
        return
    with tempfile.TemporaryDirectory(prefix="windrow-heads-") as name:
        folder = Path(name)
        prepare(folder)
        page = folder / "heads.yaml"
        page.write_text(PAGE.format(folder=folder, trials=arguments.trials, epochs=EPOCHS, batch=BATCH))
        run(folder, "embed_images", "--experiment", page, "--dataset", folder / "data")
        paths = ("--dataset", folder / "data", "--study", folder / "study")
        sweep = run(folder, "sweep", "--experiment", page, *paths)
        trials = windrow_job.trials(folder / "study")
        work = max(trial["ended"] for trial in trials) - min(trial["started"] for trial in trials)
        command = [sys.executable, __file__, "--peer", folder / "data", "--peer-trials", arguments.peer_trials]
        command += ["--xla"] if arguments.xla else []
        answer = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout
    others = json.loads(answer.splitlines()[-1])
    print(json.dumps({"efficiency": sweep["efficiency"]}, indent=1))
    print("| | trials | seconds | seconds a trial | best validation accuracy |\n|---|---|---|---|---|")
    for label, trials, seconds, best in (
        ("Windrow, whole job with Spark's start", sweep["trials"], sweep["seconds"], sweep["best_value"]),
        ("Windrow, work", sweep["trials"], work, sweep["best_value"]),
        *(
            (f"Optuna and keras.fit, {name}", one["trials"], one["seconds"], one["best"])
            for name, one in others.items()
        ),
    ):
        print(f"| {label} | {trials} | {seconds:.1f} | {seconds / trials:.3f} | {best:.4f} |")
    least = min(one["seconds"] / one["trials"] for one in others.values())
    print(f"the faster way of keras.fit takes {least * sweep['trials'] / work:.1f} times Windrow's work a trial")


def prepare(folder: Path) -> None:
    """Write a data set of noise with a pattern per class, and a backbone of one random layer."""
    import keras
    import numpy as np
    from windrow.data import shards
    from windrow.data.sources import Source
    from windrow.experiment import DatasetSection

    generator, count = np.random.default_rng(0), TRAINING + VALIDATION + 400
    labels = np.arange(count, dtype=np.int64) % CLASSES
    patterns = generator.normal(0, PATTERN, (CLASSES, 8, 8, 3))
    images = np.clip(generator.normal(128, 50, (count, 8, 8, 3)) + patterns[labels], 0, 255).astype(np.uint8)
    source = Source("noise", images[:-400], labels[:-400], images[-400:], labels[-400:], tuple("abcdefgh"))
    shards.write(folder / "data", source, DatasetSection(validation=VALIDATION / (TRAINING + VALIDATION)))
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Input((8, 8, 3)), keras.layers.Rescaling(1 / 64, -2), keras.layers.Flatten()]
    keras.Sequential([*layers, keras.layers.Dense(FEATURES, "relu", name="features")]).save(folder / "random.keras")


def run(folder: Path, job: str, *arguments: object) -> dict[str, object]:
    """Run a job by spark-submit on all cores, and return its result."""
    result = folder / f"{job}.json"
    master = f"local[{len(os.sched_getaffinity(0))}]"
    command = ["spark-submit", "--master", master, REPOSITORY / "jobs" / f"{job}.py", *arguments, "--result", result]
    environment = {**os.environ, "WINDROW_HOME": str(folder / "home"), "SPARK_LOCAL_IP": "127.0.0.1"}
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return json.loads(result.read_text())


def peer(folder: Path, trials: int) -> dict[str, dict[str, float]]:
    """Search the same space with Optuna and keras.fit in each way, one trial after another, `trials` of each way."""
    import keras
    import numpy as np
    import optuna
    from windrow.data import features
    from windrow.experiment.head_space import HEAD_PARAMETERS, HEAD_SPACE

    (train, truth), (validation, labels) = (features.load_split(folder, split) for split in ("train", "validation"))
    train, validation = (np.array(part[:, 0], np.float32) for part in (train, validation))
    hot, other = np.eye(CLASSES)[truth], np.eye(CLASSES)[labels]
    ends = {name: (dimension["low"], dimension["high"]) for name, dimension in HEAD_SPACE.items() if "low" in dimension}

    def fit(trial: optuna.Trial, xla: str | bool) -> float:
        keras.backend.clear_session()
        layers = int(HEAD_PARAMETERS["layers"])
        parts: list[keras.layers.Layer] = [keras.layers.Input((FEATURES,))]
        if layers:
            units = trial.suggest_int("units", *ends["units"], log=True)
            parts += [keras.layers.Dense(units, "relu") for _ in range(layers)]
        dropout = keras.layers.Dropout(trial.suggest_float("dropout", *ends["dropout"]))
        network = keras.Sequential([*parts, dropout, keras.layers.Dense(CLASSES, "softmax")])
        rate = trial.suggest_float("learning_rate", *ends["learning_rate"], log=True)
        decay = trial.suggest_float("weight_decay", *ends["weight_decay"], log=True)
        smoothing = trial.suggest_float("label_smoothing", *ends["label_smoothing"])
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=smoothing)
        rates = keras.optimizers.schedules.CosineDecay(rate, EPOCHS * -(-TRAINING // BATCH))
        optimizer = keras.optimizers.AdamW(rates, weight_decay=decay)
        network.compile(optimizer, loss, metrics=["accuracy"], jit_compile=xla)
        history = network.fit(
            train, hot, batch_size=BATCH, epochs=EPOCHS, validation_data=(validation, other), verbose=0
        ).history
        return float(history["val_accuracy"][-1])

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    studies = {
        name: optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0)) for name in XLA
    }
    seconds = dict.fromkeys(XLA, 0.0)
    for number in range(1 + trials):
        for name, study in studies.items():
            start = perf_counter()
            study.optimize(partial(fit, xla=XLA[name]), n_trials=1)
            seconds[name] += perf_counter() - start if number else 0.0  # the first loads what is loaded only once
    return {
        name: {"trials": trials, "seconds": seconds[name], "best": study.best_value} for name, study in studies.items()
    }


if __name__ == "__main__":
    main()
