"""Promotions in MLflow: the finalists' runs, the registered version with its evidence, and the current champion."""
