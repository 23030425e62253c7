"""Run the stack on one machine: environment, services, doctor, demo. Uses Airflow and MLflow over HTTP only."""
