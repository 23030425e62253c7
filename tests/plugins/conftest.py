"""The real Airflow that operators run in; and the plugins can be imported."""

import os
import tempfile
from unittest.mock import patch

from harness.airflow import airflow, dag_folder

__all__ = ["airflow", "dag_folder"]

# Importing Airflow makes its home, sets up logging and opens a database. Not the user's, and not in the tests' process.
with tempfile.TemporaryDirectory() as home, patch.dict(os.environ, {"AIRFLOW_HOME": home, "_AIRFLOW__AS_LIBRARY": "1"}):
    import windrow_dags  # noqa: F401
    import windrow_drift  # noqa: F401
    import windrow_process  # noqa: F401
    import windrow_promotion  # noqa: F401
    import windrow_spark  # noqa: F401
