"""Register a .keras network as scoring@champion, as promote_best.py leaves one; scoring.py starts it once.

WINDROW_HOME=var/bench/scoring/champion var/bench/venv/bin/python bench/scoring_champion.py NETWORK.keras
... bench/scoring_champion.py --lower PAGE.yaml       # then convert it as the page's scoring.precision says
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "jobs"))


def main() -> None:
    """Do either."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path, nargs="?", help=".keras file")
    parser.add_argument("--lower", type=Path, metavar="PAGE", help="convert the champion instead")
    arguments = parser.parse_args()
    lower(arguments.lower) if arguments.lower else register(arguments.network)


def register(file: Path) -> None:
    """Log a .keras file's network, and give it its alias."""
    import keras
    import mlflow
    from windrow.paths import home
    from windrow.tracking.server import connect

    network = keras.saving.load_model(file, compile=False)
    shape, classes = list(network.input_shape[1:]), network.output_shape[-1]
    facts = {"windrow": {"shape": shape, "labels": [f"label {number}" for number in range(classes)]}}
    client = connect()
    experiment = client.create_experiment("scoring", artifact_location=(home() / "artifacts").as_uri())
    with mlflow.start_run(experiment_id=experiment):
        logged = mlflow.tensorflow.log_model(network, name="network", pip_requirements=["tensorflow"], metadata=facts)
    client.create_registered_model("scoring")
    client.create_model_version("scoring", logged.model_uri)
    client.set_registered_model_alias("scoring", "champion", "1")


def lower(file: Path) -> None:
    """Convert the champion at a page's precision into WINDROW_HOME, where the job finds it."""
    from windrow import experiment
    from windrow.paths import home
    from windrow.scoring.network import low_precision
    from windrow.tracking import models

    page: Any = experiment.load(file)
    with tempfile.TemporaryDirectory() as scratch:
        _, loss = low_precision.lower(models.pin(page, Path(scratch)), page.scoring.precision, home())
    print(loss)


if __name__ == "__main__":
    main()
