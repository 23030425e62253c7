"""Downloads that run beside the caller: an event loop in a thread, with a bounded buffer between."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from windrow.scoring.fetch import Fetched, Fetcher, FetchPolicy
from windrow.scoring.kept import KeptBytes
from windrow.scoring.status import Status
from windrow.scoring.urls import Target

BUFFER_BYTES = 64 * 1024 * 1024


class Downloads:
    """One session and `concurrency` fetches at once, as a context manager.

    with Downloads(policy, ahead=128) as downloads:
        for target, fetched in downloads.stream(targets): ...

    Args:
        policy: how hosts are asked.
        ahead: URLs that may be taken from the input before their results are taken out.
        buffer_bytes: downloads wait while more than this lies ready. Beyond it only what is on its way is held:
            at most concurrency x max_bytes.
    """

    def __init__(self, policy: FetchPolicy, ahead: int = 64, buffer_bytes: int = BUFFER_BYTES) -> None:
        self._policy = policy
        self._ahead = ahead + policy.concurrency
        self._free_bytes = buffer_bytes
        self._loop = asyncio.new_event_loop()
        self._asked: asyncio.Queue[Target] = asyncio.Queue()
        self._room = asyncio.Event()
        self._stop = asyncio.Event()
        self._ready: queue.SimpleQueue[tuple[Target, Fetched] | BaseException] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="downloads", daemon=True)

    def __enter__(self) -> Downloads:
        self._room.set()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: a bug ended it early
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def stream(
        self, targets: Iterable[Target], kept: KeptBytes | None = None
    ) -> Iterator[tuple[Target, Fetched | None]]:
        """Every target with its download, in the order they end; None for a target that is not to be asked.

        Takes the whole input, and a few targets ahead of what it has given. Raises what a bug in a fetch raised.
        """
        outstanding = 0
        for target in targets:
            if target.address is None:
                yield target, None
                continue
            if kept and (content := kept.get(target.content_hash)):
                yield target, Fetched(Status.OK, content=content)  # not asked for again
                continue
            self._loop.call_soon_threadsafe(self._asked.put_nowait, target)
            outstanding += 1
            if outstanding >= self._ahead:
                yield self._take()
                outstanding -= 1
        for _ in range(outstanding):
            yield self._take()

    def _take(self) -> tuple[Target, Fetched]:
        ready = self._ready.get()
        if isinstance(ready, BaseException):
            raise ready
        self._loop.call_soon_threadsafe(self._make_room, len(ready[1].content))
        return ready

    def _run(self) -> None:
        # Name look-ups block a thread each; the loop's own pool has too few for many slow names.
        self._loop.set_default_executor(ThreadPoolExecutor(self._policy.concurrency, thread_name_prefix="names"))
        serving = self._loop.create_task(self._serve())
        serving.add_done_callback(self._report)
        self._loop.run_until_complete(asyncio.wait([serving]))
        self._loop.close()

    async def _serve(self) -> None:
        async with Fetcher(self._policy) as fetcher:
            workers = [asyncio.create_task(self._work(fetcher)) for _ in range(self._policy.concurrency)]
            for worker in workers:
                worker.add_done_callback(self._report)
            await self._stop.wait()
            for worker in workers:
                worker.cancel()
            await asyncio.wait(workers)

    async def _work(self, fetcher: Fetcher) -> None:
        while True:
            target = await self._asked.get()
            await self._room.wait()
            fetched = await fetcher.fetch(target.address or "")
            self._make_room(-len(fetched.content))
            self._ready.put((target, fetched))

    def _make_room(self, size: int) -> None:
        """Count bytes given back (or taken, if negative); runs in the loop's thread only."""
        self._free_bytes += size
        if self._free_bytes > 0:
            self._room.set()
        else:
            self._room.clear()

    def _report(self, worker: asyncio.Task[None]) -> None:
        """A worker ends by itself only through a bug: hand it over, or the caller would wait for ever."""
        if not worker.cancelled() and (error := worker.exception()) is not None:
            self._ready.put(error)
