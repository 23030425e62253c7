"""Run the stack on one machine: environment, services, doctor, demo. The demo uses Airflow and MLflow over HTTP."""
