"""Copy the predictions table to a store, one commit at a time."""
