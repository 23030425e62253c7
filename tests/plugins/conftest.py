"""The Airflow of tests/dags serves here as well, and the plugins can be imported."""

import os
import runpy
import tempfile
from pathlib import Path
from unittest.mock import patch

shared = runpy.run_path(str(Path(__file__).parents[1] / "dags" / "conftest.py"))
airflow, dag_folder = shared["airflow"], shared["dag_folder"]

# Importing Airflow makes its home, sets up logging and opens a database. Not the user's, and not in the tests' process.
with tempfile.TemporaryDirectory() as home, patch.dict(os.environ, {"AIRFLOW_HOME": home, "_AIRFLOW__AS_LIBRARY": "1"}):
    import windrow_dags  # noqa: F401
    import windrow_drift  # noqa: F401
    import windrow_promotion  # noqa: F401
    import windrow_spark  # noqa: F401
