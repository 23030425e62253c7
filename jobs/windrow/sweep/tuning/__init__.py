"""Train the last blocks of a finalist's backbone further, together with its head, on an executor."""
