"""What the pages' commands are read by: a real Airflow, and Spark's own reader of command lines."""

from collections.abc import Callable
from typing import Any

import pytest
from harness.airflow import airflow, dag_folder

__all__ = ["airflow", "dag_folder"]


@pytest.fixture
def spark_submit(spark: Any) -> Callable[..., Any]:
    """Read a command line as spark-submit does: it raises where an option is unknown, and starts nothing."""

    def read(*arguments: str, **variables: str) -> Any:
        environment = spark._jvm.java.util.HashMap()
        for name, value in variables.items():
            environment.put(name, value)
        python = spark._jvm.org.apache.spark.api.python.PythonUtils
        given = (python.toSeq([*arguments]), python.toScalaMap(environment))
        return spark._jvm.org.apache.spark.deploy.SparkSubmitArguments(*given)

    return read
