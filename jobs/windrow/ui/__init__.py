"""Read the data of the Windrow page in Airflow: studies' ledgers, predictions tables and MLflow's registry.

Everything here only reads, and returns JSON values. The plugin that serves the page checks permissions
(plugins/windrow_page_routes.py). A part that can't be shown raises an AbsentError with one sentence for the reader; the
other parts still work.
"""
