"""The features of a prepared data set's images: what a backbone gives for each image and its views.

    found = features.read(folder)                       # Features, or an error that says what to run
    images, labels = features.load_split(folder, "train")

embed_images.py computes them once; a network's head learns from them in place of the images.
"""

from __future__ import annotations

from windrow.data.features.feature_files import load_split, read, read_for, split_files
from windrow.data.features.records import Features

__all__ = ["Features", "load_split", "read", "read_for", "split_files"]
