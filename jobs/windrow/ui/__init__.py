"""Read the Windrow page in Airflow from the study's ledger, the predictions table and MLflow's registry.

Everything here only reads, and returns JSON values. The plugin that serves the page checks permissions
(plugins/windrow_page_routes.py). A part that can't be shown is an AbsentError: one sentence, and the rest works.
"""
