"""Download in the background: an event loop in a thread, with a bounded buffer between it and the caller.

Two threads share a Downloads object. The caller's thread takes results and hands over targets; the event loop's thread
owns everything else. They meet in two places only: `call_soon_threadsafe`, from the caller to the loop, and the queue
`_ready`, from the loop to the caller. So neither needs a lock.
"""

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
# Large, so that URLs of a slow host fill the window only rarely, and other hosts' URLs get in.
AHEAD = 4096
_NAME_LOOK_UPS = 16


class Downloads:
    """A session that downloads in the background, at most policy.concurrency URLs at once; a context manager.

    with Downloads(policy) as downloads:
        for target, fetched in downloads.stream(targets): ...

    Args:
        policy: the limits.
        ahead: how many URLs may be taken from the input before the caller has taken their results.
        buffer_bytes: limit on downloaded bytes that wait for the caller; at the limit, no new request starts. Requests
            already under way can exceed it: by 1 MiB each, plus 128 MiB in all for bodies larger than 1 MiB.
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
        with contextlib.suppress(RuntimeError):  # the loop is closed already: a bug ended it
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    @property
    def seconds_left(self) -> float:
        """The least seconds that the hosts need for the URLs that wait for them, by their limits."""
        return self._fetcher.seconds_left

    def stream(
        self, targets: Iterable[Target], cache: ByteCache | None = None
    ) -> Iterator[tuple[Target, Fetched | None]]:
        """Yield every target with its download, or None if the target has no address, in the order of completion.

        A target whose bytes are in the cache is yielded with these bytes and not downloaded. At most `ahead` targets
        are taken from the input before their results are yielded. An unexpected error of the event loop's thread is
        raised again here.
        """
        outstanding = 0
        for target in targets:
            if target.address is None:
                yield target, None
                continue
            if cache and (content := cache.get(target.content_hash)):
                yield target, Fetched(Status.OK, content=content)
                continue
            self._loop.call_soon_threadsafe(self._start, target)
            outstanding += 1
            # Take what is ready before more input, so that results do not pile up while the input is slow; block only
            # when the window is full.
            while outstanding >= self._ahead or not self._ready.empty():
                yield self._take()
                outstanding -= 1
        for _ in range(outstanding):
            yield self._take()

    def _take(self) -> tuple[Target, Fetched]:
        ready = self._ready.get()
        if isinstance(ready, BaseException):
            raise ready
        # Give the bytes' room back only now, when the caller takes them. Only the loop's thread may change the count.
        self._loop.call_soon_threadsafe(self._make_room, len(ready[1].content))
        return ready

    def _run(self) -> None:
        # A DNS lookup blocks a thread; the loop's own pool is too small when many lookups are slow.
        self._loop.set_default_executor(ThreadPoolExecutor(_NAME_LOOK_UPS, thread_name_prefix="names"))
        serving = self._loop.create_task(self._serve())
        serving.add_done_callback(self._report)
        self._loop.run_until_complete(asyncio.wait([serving]))
        self._loop.close()

    async def _serve(self) -> None:
        async with self._fetcher:
            await self._stop.wait()
            # The caller has left early, or has all results. Connections must be closed before the session.
            for fetch in self._fetches:
                fetch.cancel()
            await asyncio.gather(*self._fetches, return_exceptions=True)

    def _start(self, target: Target) -> None:
        """Start a download, which waits for its host's turn and for room in the buffer.

        This method and all methods below run in the loop's thread.
        """
        fetch = self._loop.create_task(self._fetch(target))
        self._fetches.add(fetch)  # the loop itself keeps only weak references to tasks
        fetch.add_done_callback(self._fetches.discard)
        fetch.add_done_callback(self._report)

    async def _fetch(self, target: Target) -> None:
        fetched = await self._fetcher.fetch(target.address or "")
        self._make_room(-len(fetched.content))  # before the caller can take them, which gives the room back
        self._ready.put((target, fetched))

    def _make_room(self, size: int) -> None:
        """Add to the free bytes of the buffer; subtract if `size` is negative."""
        self._free_bytes += size
        if self._free_bytes > 0:
            self._room.set()
        else:
            self._room.clear()

    def _report(self, task: asyncio.Task[None]) -> None:
        """Pass an unexpected error to the caller, who would otherwise wait for a result that never comes."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._ready.put(error)
