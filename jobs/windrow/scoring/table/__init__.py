"""Keep the predictions: one Delta table, one commit per scoring run."""
