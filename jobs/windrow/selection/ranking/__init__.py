"""Train a promotion's finalists, and rank them: by validation, or by cross-validation with its noise."""
