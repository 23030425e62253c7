"""The real Airflow that DAGs run in."""

from harness.airflow import airflow, dag_folder, parser

__all__ = ["airflow", "dag_folder", "parser"]
