"""Windrow: hyper-parameter sweeps of TensorFlow networks on Spark, and image URLs labelled with the winner.

Nothing happens at import: no session, no network, no folder, no tracking server.
"""

__version__ = "0.1.0"
