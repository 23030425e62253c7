"""Downloads that run beside the caller: an event loop in a thread, with a bounded buffer between."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from windrow.scoring.fetch.byte_cache import ByteCache
from windrow.scoring.fetch.fetcher import Fetched, Fetcher, FetchPolicy
from windrow.scoring.fetch.status import Status
from windrow.scoring.fetch.urls import Target

BUFFER_BYTES = 64 * 1024 * 1024
# So that a host that is slow, or asked slowly, keeps no other waiting until it has that many URLs here.
AHEAD = 4096
_NAME_LOOK_UPS = 16


class Downloads:
    """One session and at most `concurrency` requests at once, as a context manager.

    with Downloads(policy) as downloads:
        for target, fetched in downloads.stream(targets): ...

    Args:
        policy: how hosts are asked.
        ahead: URLs that may be taken from the input before their results are taken out.
        buffer_bytes: no request begins while more than this lies ready. Beyond it only what is on its way is held: a
            MiB a request, and 128 MiB of larger bodies.
    """

    def __init__(self, policy: FetchPolicy, ahead: int = AHEAD, buffer_bytes: int = BUFFER_BYTES) -> None:
        self._ahead = ahead
        self._free_bytes = buffer_bytes
        self._loop = asyncio.new_event_loop()
        self._room = asyncio.Event()
        self._fetcher = Fetcher(policy, self._room)
        self._stop = asyncio.Event()
        self._fetches: set[asyncio.Task[None]] = set()
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
        self, targets: Iterable[Target], kept: ByteCache | None = None
    ) -> Iterator[tuple[Target, Fetched | None]]:
        """Every target with its download, in the order they end; None for a target that is not to be asked.

        Takes the whole input, and `ahead` targets more than it has given. Raises what a bug in a fetch raised.
        """
        outstanding = 0
        for target in targets:
            if target.address is None:
                yield target, None
                continue
            if kept and (content := kept.get(target.content_hash)):
                yield target, Fetched(Status.OK, content=content)  # not asked for again
                continue
            self._loop.call_soon_threadsafe(self._start, target)
            outstanding += 1
            while outstanding >= self._ahead or not self._ready.empty():
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
        self._loop.set_default_executor(ThreadPoolExecutor(_NAME_LOOK_UPS, thread_name_prefix="names"))
        serving = self._loop.create_task(self._serve())
        serving.add_done_callback(self._report)
        self._loop.run_until_complete(asyncio.wait([serving]))
        self._loop.close()

    async def _serve(self) -> None:
        async with self._fetcher:
            await self._stop.wait()
            for fetch in self._fetches:
                fetch.cancel()
            await asyncio.gather(*self._fetches, return_exceptions=True)

    def _start(self, target: Target) -> None:
        """Begin a fetch; it waits for its host's turn and for room. Like those below, for the loop's thread only."""
        fetch = self._loop.create_task(self._fetch(target))
        self._fetches.add(fetch)
        fetch.add_done_callback(self._fetches.discard)
        fetch.add_done_callback(self._report)

    async def _fetch(self, target: Target) -> None:
        fetched = await self._fetcher.fetch(target.address or "")
        self._make_room(-len(fetched.content))
        self._ready.put((target, fetched))

    def _make_room(self, size: int) -> None:
        """Count bytes given back, or taken, if negative."""
        self._free_bytes += size
        if self._free_bytes > 0:
            self._room.set()
        else:
            self._room.clear()

    def _report(self, task: asyncio.Task[None]) -> None:
        """Hand a bug over, or the caller would wait for ever."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._ready.put(error)
