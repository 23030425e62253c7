"""What the Windrow page in Airflow shows: read from the study's ledger, the predictions table and MLflow's registry.

Everything here only reads, and gives values that JSON has. Who may see what is the business of the plugin that serves
it (plugins/windrow_page_routes.py). A part that can't be shown is an AbsentError: one sentence, and the rest works.
"""
