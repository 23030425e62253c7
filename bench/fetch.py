"""Fetching alone: many small images from a local server on another core, with all that politeness and safety cost.

    python bench/fetch.py
    python bench/fetch.py --images 2000 --rounds 1 --profile

The fetching process is kept to the first core, the server to the second. The URLs are distinct, of one host, and go
through windrow.scoring.fetch.downloads as they do in a Spark task: robots.txt, X-Robots-Tag, address guard, turns.
Both the wall clock and the process's own CPU time are given: on a machine that others use, only the second holds.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import io
import multiprocessing
import os
import pstats
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "jobs"))

import report
from windrow.experiment import ScoringSection
from windrow.scoring.fetch import urls
from windrow.scoring.fetch.downloads import Downloads
from windrow.scoring.fetch.fetcher import FetchPolicy
from windrow.scoring.fetch.status import Status

SIDE = 64  # pixels of a small image


def main() -> int:
    """Measure, then write the table."""
    options = parse_args()
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    machine = report.machine(len(cores))
    port = start_server(cores[-1])
    keep_to(cores[0])
    lines = [f"http://127.0.0.1:{port}/{number}.jpg".encode() for number in range(options.images)]
    fetch(lines[:200], options.concurrency)  # imports, and the first connections
    if options.profile:
        profile(lambda: fetch(lines, options.concurrency))
        return 0
    rounds = [fetch(lines, options.concurrency) for _ in range(options.rounds)]
    row = {key: round(statistics.median(each[key] for each in rounds), 1) for key in rounds[0]}
    table = report.table(
        ["images a second, wall clock", "images a second of CPU", "CPU microseconds an image"],
        [[row["images_per_second"], row["images_per_cpu_second"], row["cpu_microseconds"]]],
    )
    report.save(
        options.out, {"machine": machine, "images": options.images, "bytes": len(image()), "rounds": rounds}, table
    )
    return 0


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--images", type=int, default=10_000, metavar="N", help="images a round (default 10000)")
    add("--rounds", type=int, default=5, metavar="N", help="the figure is their median (default 5)")
    add("--concurrency", type=int, default=64, metavar="N", help="requests at once (default 64)")
    add("--profile", action="store_true", help="show where the event loop's time goes, and measure nothing")
    out = report.RESULTS / "fetch.json"
    add("--out", type=Path, default=out, metavar="FILE", help="JSON to write (default bench/results/fetch.json)")
    return parser.parse_args()


def image() -> bytes:
    """A small photograph-like JPEG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.effect_noise((SIDE, SIDE), 40).convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()


def fetch(lines: list[bytes], concurrency: int) -> dict[str, float]:
    """Fetch every line's URL once; rates by the wall clock and by this process's CPU time."""
    policy = replace(
        FetchPolicy.of(ScoringSection(feed="feeds/*.txt")),
        concurrency=concurrency,
        host_concurrency=concurrency,
        host_rate=None,
        allow_addresses=(ip_network("127.0.0.0/8"),),
    )
    targets = [target for target in map(urls.understand, lines) if target is not None]
    wall, cpu = time.perf_counter(), time.process_time()
    with Downloads(policy) as downloads:
        ended = [fetched is not None and fetched.status is Status.OK for _, fetched in downloads.stream(targets)]
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if not (all(ended) and len(ended) == len(lines)):
        raise SystemExit(f"every image must arrive; got {sum(ended)} of {len(lines)}")
    return {
        "images_per_second": len(lines) / wall,
        "images_per_cpu_second": len(lines) / cpu,
        "cpu_microseconds": 1e6 * cpu / len(lines),
    }


def profile(work: Callable[[], Any]) -> None:
    """Print the most expensive functions of the downloads' own thread."""
    run, profiler = Downloads._run, cProfile.Profile()
    Downloads._run = lambda self: profiler.runcall(run, self)  # type: ignore[method-assign]
    work()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(30)


def keep_to(core: int) -> None:
    """Keep this process to one core, where the system can (Linux)."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def start_server(core: int) -> int:
    """Serve the image under any path but /robots.txt, in a process of its own on `core`; the port."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    context.Process(target=_serve, args=(core, image(), theirs), daemon=True).start()
    return int(ours.recv())


def _serve(core: int, content: bytes, line: Connection) -> None:
    keep_to(core)
    head = b'HTTP/1.1 %s\r\nContent-Type: image/jpeg\r\nETag: "1"\r\nContent-Length: %d\r\n\r\n'
    found, absent = head % (b"200 OK", len(content)) + content, head % (b"404 Not Found", 0)

    class Answers(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport, self.heard = transport, b""

        def data_received(self, data: bytes) -> None:
            *requests, self.heard = (self.heard + data).split(b"\r\n\r\n")
            for request in requests:
                self.transport.write(absent if request.startswith(b"GET /robots.txt ") else found)

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Answers, "127.0.0.1", 0, backlog=1024)
        line.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


if __name__ == "__main__":
    sys.exit(main())
