"""Keep the graphs of the latest networks for the next trials."""
