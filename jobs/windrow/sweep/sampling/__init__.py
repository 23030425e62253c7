"""Choose points: translate a page's space for Optuna, and provide samplers, pruners and experimental designs."""
