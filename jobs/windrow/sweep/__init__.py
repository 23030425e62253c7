"""Studies and their trials: choose points, train them on Spark, and record how each trial ended."""
