"""Fork Spark's Python workers from a process that has TensorFlow: Spark runs this in place of pyspark.daemon.

Otherwise each worker imports TensorFlow, which takes 2 to 5 seconds of a core, also one that replaces a lost one. The
import looks at no device and starts none of TensorFlow's threads, because those do not outlive a fork.
"""

from __future__ import annotations

import os
import select
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

_LOOK_SECONDS = 0.2


def main() -> None:
    """Import what a trial needs, then do what pyspark.daemon does, until Spark ends this process."""
    from pyspark import daemon

    with redirect_stdout(sys.stderr), _ended_with_spark():  # Spark reads a port from standard output
        try:
            prepare()
        except Exception:  # the trials will show the same error, and each is recorded
            traceback.print_exc()
    daemon.manager()


def prepare() -> None:
    """Import what a trial needs, for as many threads as a task has cores."""
    from windrow.spark import TASK_CORES
    from windrow.sweep import trial  # noqa: F401  with all that it imports
    from windrow.training import runtime

    runtime.load(int(os.environ[TASK_CORES]))


@contextmanager
def _ended_with_spark() -> Iterator[None]:
    """End this process if Spark ends during the block: pyspark's own loop, which looks for that, has not begun."""
    done, pipe = threading.Event(), select.poll()
    pipe.register(0, 0)  # standard input, which Spark holds open; a closed pipe is reported without being asked for

    def watch() -> None:
        while not done.is_set():
            if pipe.poll(1000 * _LOOK_SECONDS):
                os._exit(1)

    watcher = threading.Thread(target=watch, name="spark", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()  # no thread may run when a worker is forked


if __name__ == "__main__":
    main()
