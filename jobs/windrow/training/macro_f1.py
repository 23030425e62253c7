"""Measure the macro-F1 inside a graph: counts are added up over batches, and the score follows from their sums."""

from __future__ import annotations

from typing import Any


def count(truth: Any, outputs: Any, classes: int) -> Any:
    """Count per class the images that were found, predicted and true, float32 (..., classes, 3).

    Args:
        truth: labels, int tensor (..., n).
        outputs: logits or probabilities, (..., n, classes).
        classes: number of classes.
    """
    import tensorflow as tf

    true, predicted = tf.one_hot(truth, classes), tf.one_hot(tf.argmax(outputs, -1), classes)
    return tf.stack([tf.reduce_sum(each, axis=-2) for each in (true * predicted, predicted, true)], axis=-1)


def of(counts: Any) -> Any:
    """Return the macro-F1, float64 (...): the mean of the classes' F1 scores, each 2 found / (predicted + true).

    As scikit-learn's f1_score(labels=np.unique(truth), average="macro", zero_division=0): a class without images does
    not count.
    """
    import tensorflow as tf

    found, predicted, true = tf.unstack(tf.cast(counts, tf.float64), axis=-1)
    seen = predicted + true  # without images, found is 0 and the F1 as well
    classes = tf.math.count_nonzero(true, axis=-1, dtype=tf.float64)
    return tf.reduce_sum(tf.math.divide_no_nan(2 * found, seen), axis=-1) / classes
