"""Write to and read from MLflow. No other package imports MLflow.

The server is MLFLOW_TRACKING_URI, or a local SQLite file under WINDROW_HOME. This file imports nothing: import the
module that you need, so that the Windrow page in Airflow loads no more than that.
"""
