"""Keep the predictions: one Delta table, one commit a scoring run."""
