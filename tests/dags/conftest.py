"""The real Airflow that DAGs run in."""

from harness.airflow import airflow, dag_folder

__all__ = ["airflow", "dag_folder"]
