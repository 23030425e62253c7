"""The hand-written loop: an epoch is one call of one compiled graph, as a careful user writes it in 40 lines."""

from __future__ import annotations

from typing import Any


def train(point: dict[str, Any], sweep: dict[str, Any], images: Any, labels: Any, held_out: Any, truth: Any) -> float:
    """Train the network of a point; its validation accuracy after the last epoch, 0..1."""
    import keras
    import networks
    import tensorflow as tf

    keras.backend.clear_session()
    keras.utils.set_random_seed(point["seed"])
    network = networks.build(point)
    optimizer = keras.optimizers.Adam(point["learning_rate"])
    optimizer.build(network.trainable_variables)
    run_epoch = _compile(network, optimizer, tf.constant(images), tf.constant(labels), sweep["batch_size"])
    for _ in range(sweep["epochs"]):
        run_epoch()
    probabilities = network(tf.cast(held_out, tf.float32) / 255)
    return float(tf.reduce_mean(tf.cast(tf.argmax(probabilities, -1) == truth, tf.float32)))


def _compile(network: Any, optimizer: Any, images: Any, labels: Any, batch: int) -> Any:
    import keras
    import tensorflow as tf

    crossentropy = keras.losses.SparseCategoricalCrossentropy()

    @tf.function  # type: ignore[untyped-decorator]
    def run_epoch() -> None:
        order = tf.random.shuffle(tf.range(len(images)))
        for step in tf.range(len(images) // batch):
            rows = order[step * batch : (step + 1) * batch]
            with tf.GradientTape() as tape:
                pixels = tf.cast(tf.gather(images, rows), tf.float32) / 255
                loss = crossentropy(tf.gather(labels, rows), network(pixels, training=True))
            optimizer.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)

    return run_epoch
