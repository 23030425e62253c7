-- The second of two databases; the image itself makes the first, which is Airflow's.
CREATE DATABASE mlflow;
