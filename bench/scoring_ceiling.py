"""The ceiling of the cores: decoding and the network, warm, with nothing else around them.

    with Ceiling(photos, network) as ceiling:
        ceiling.measure()["images_per_second"]

Each core has a process of its own that stays between measurements. "Alone" is one of them while the other cores rest,
"together" all of them at once: cores that share a processor's parts slow each other down, and a job uses all of them.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from threading import BrokenBarrierError
from types import TracebackType
from typing import Any

from scoring_peers import BATCH, SIDE, SLOTS

_TIMES = 3
_PIXELS = 40_000_000
_held: dict[str, Any] = {}
"""In a process of the pool: its photographs, network, batch, and where all of them meet."""


class Ceiling:
    """Processes, one a core, each with the network. A context manager.

    Args:
        photos: JPEG files.
        file: the network, one of Keras.
    """

    def __init__(self, photos: list[bytes], file: Path) -> None:
        context = multiprocessing.get_context("spawn")  # TensorFlow stays out of this process
        everyone = context.Barrier(SLOTS)
        arguments = (photos, file, everyone)
        self._pool = ProcessPoolExecutor(SLOTS, context, initializer=_hold, initargs=arguments)

    def __enter__(self) -> Ceiling:
        self._together()  # each process has loaded its network by then
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()

    def measure(self) -> dict[str, float]:
        """Milliseconds an image and images a second of all cores, alone and together (`both_...`)."""
        decode_ms, network_ms = self._pool.submit(_work, False).result()
        both_decode_ms, both_network_ms = self._together()
        return {
            "decode_ms": round(decode_ms, 3),
            "network_ms": round(network_ms, 3),
            "images_per_second": round(SLOTS * 1000 / (decode_ms + network_ms), 1),
            "both_decode_ms": round(both_decode_ms, 3),
            "both_network_ms": round(both_network_ms, 3),
            "both_images_per_second": round(SLOTS * 1000 / (both_decode_ms + both_network_ms), 1),
        }

    def _together(self) -> tuple[float, ...]:
        each = [self._pool.submit(_work, True) for _ in range(SLOTS)]
        return tuple(map(statistics.mean, zip(*(work.result() for work in each), strict=True)))


def _hold(photos: list[bytes], file: Path, everyone: Any) -> None:
    import numpy as np
    from windrow.scoring.network.pixels import decode
    from windrow.scoring.network.predict import LoadedNetwork as Network

    shape = (SIDE, SIDE, 3)
    network = Network(file, shape, BATCH, top_k=5)
    pixels = [decode(photo, shape, _PIXELS).pixels for photo in photos]
    batch = np.stack((pixels * (BATCH // len(pixels) + 1))[:BATCH])
    _held.update(photos=photos, network=network, batch=batch, everyone=everyone)


def _work(together: bool) -> tuple[float, float]:
    """(decoding, network), milliseconds of this process's core an image."""
    from windrow.scoring.network.pixels import decode

    shape, photos, network, batch = (SIDE, SIDE, 3), _held["photos"], _held["network"], _held["batch"]

    def milliseconds(work: Any, images: int) -> float:
        times = []
        for _ in range(_TIMES):
            if together:
                _meet()
            started = time.process_time()
            work()
            times.append(time.process_time() - started)
        return statistics.median(times) * 1000 / images

    decoding = milliseconds(lambda: [decode(photo, shape, _PIXELS) for photo in photos], len(photos))
    return decoding, milliseconds(lambda: network.label(batch), len(batch))


def _meet() -> None:
    try:
        _held["everyone"].wait(120)
    except BrokenBarrierError as error:
        raise RuntimeError("a process of the ceiling did not come; look above for why") from error
