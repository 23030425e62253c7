"""Choose points: the space in Optuna's terms, its samplers and designs."""
