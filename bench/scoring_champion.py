"""Register a .keras network as scoring@champion, as promote_best.py leaves one; scoring.py starts it once.

WINDROW_HOME=var/bench/scoring/champion var/bench/venv/bin/python bench/scoring_champion.py NETWORK.keras
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "jobs"))


def main() -> None:
    """Log it and give it its alias."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path, help=".keras file")
    arguments = parser.parse_args()
    import keras
    import mlflow
    from windrow import tracking
    from windrow.paths import home

    network = keras.saving.load_model(arguments.network, compile=False)
    shape, classes = list(network.input_shape[1:]), network.output_shape[-1]
    facts = {"windrow": {"shape": shape, "labels": [f"label {number}" for number in range(classes)]}}
    client = tracking.connect()
    experiment = client.create_experiment("scoring", artifact_location=(home() / "artifacts").as_uri())
    with mlflow.start_run(experiment_id=experiment):
        logged = mlflow.tensorflow.log_model(network, name="network", pip_requirements=["tensorflow"], metadata=facts)
    client.create_registered_model("scoring")
    client.create_model_version("scoring", logged.model_uri)
    client.set_registered_model_alias("scoring", "champion", "1")


if __name__ == "__main__":
    main()
