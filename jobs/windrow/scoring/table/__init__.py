"""Store the predictions in a Delta table, with one commit per scoring run."""
