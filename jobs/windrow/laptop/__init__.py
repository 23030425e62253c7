"""The stack on one machine: environment, services, doctor and demo. Speaks to Airflow and MLflow over HTTP only."""
