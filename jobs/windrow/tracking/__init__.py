"""Everything that is written to and read from MLflow. No other room imports it.

The server is MLFLOW_TRACKING_URI, or an embedded SQLite file under WINDROW_HOME. This file imports nothing: import the
module that you mean, so that the Airflow page loads no more than that.
"""
