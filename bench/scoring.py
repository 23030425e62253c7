"""Scoring, from URL to committed row: against its ceiling, and against other tools on the same images and cores.

    var/bench/venv/bin/python bench/scoring.py --photos DIR --network FILE.keras
    ... --tools windrow,map --images 200,600 --latency 0.05
    ... --tools windrow,windrow_int8       the same job as it is and at int8, calibrated on the photographs

The photographs are served over and over from a process on the same cores, each under a URL of its own and with bytes of
its own (a number behind the image's end, which decoders do not look at). Every tool runs twice as a process of its own,
with few and with many images: the steady rate is that of the images between, so that no start-up is in it; the start-up
is what is left of the seconds.

The ceiling is arithmetic: cores / (decode and resize + network, milliseconds an image, each alone on one thread, warm).
It is measured again before each run of a tool, since a machine's speed moves, and a second time with all cores busy:
see scoring_ceiling.py. The tools take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import shutil
import statistics
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "jobs"))

import report
import windrow_job
from scoring_ceiling import Ceiling
from scoring_peers import GRAPH, PEERS, SIDE, SLOTS

PAGE = """
name: scoring
space: {learning_rate: {type: float, low: 0.1, high: 0.2}}
scoring:
  feed: feeds/*.txt
  top_k: 5
  batch_size: 16
  allow_addresses: [127.0.0.0/8]
  host_concurrency: 256
  host_rate:
"""
PRECISION = "  precision: {{type: int8, images: {photos}, same_labels: 0.7}}\n"
"""Half of 68 photographs for the ranges, half to compare: a trial, so less is asked for than a page would."""
WINDROW = {"windrow": "", "windrow_int8": PRECISION}
COLUMNS = [
    *("tool", "latency, ms", "images a second", "share of the ceiling", "of that of busy cores"),
    *("start-up, s", "s for all", "its own share"),
]
OWN = ("share_of_ceiling", "images_per_second", "mean_decode_ms", "mean_predict_ms")
"""What Windrow measures of itself, in the pass over the images: its ceiling is of the same seconds as its rate."""


def main() -> int:
    """Measure, then write the table."""
    options = parse_args()
    report.use_cores(SLOTS)
    photos = [path.read_bytes() for path in sorted(options.photos.iterdir())]
    machine = report.machine(SLOTS)
    rounds: list[dict[str, Any]] = []
    addresses = {latency: start_server(photos, latency) for latency in options.latency}
    with Ceiling(photos, options.network) as ceiling:
        for number in range(options.rounds):
            for latency, address in addresses.items():
                for tool in options.tools:
                    best = ceiling.measure()
                    row = measure(tool, address, number, photos, options)
                    rounds.append({"tool": tool, "latency": latency, **row, "ceiling": best})
                    print(json.dumps(rounds[-1]), flush=True)
    table = report.table(COLUMNS, [_line(tool, latency, rounds) for latency in addresses for tool in options.tools])
    report.save(options.out, {"machine": machine, "images": options.images, "rounds": rounds}, table)
    return 0


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    tools = (*WINDROW, *PEERS)
    add("--photos", type=Path, required=True, metavar="DIR", help="JPEG files")
    add("--network", type=Path, required=True, metavar="FILE", help=f"float32 (n, {SIDE}, {SIDE}, 3) in 0..255")
    add("--tools", type=lambda text: text.split(","), default=tools, metavar="A,B", help=f"of {','.join(tools)}")
    add("--images", type=pair, default=(500, 2500), metavar="FEW,MANY", help="images a run (default 500,2500)")
    add("--latency", type=_numbers, default=[0.05], metavar="S,S", help="seconds that the server waits (default 0.05)")
    add("--rounds", type=int, default=3, metavar="N", help="a figure is the median of so many runs (default 3)")
    add("--checkout", type=Path, default=windrow_job.REPOSITORY, metavar="DIR", help="Windrow to measure (this one)")
    add("--out", type=Path, default=report.RESULTS / "scoring.json", metavar="FILE", help="JSON to write")
    return parser.parse_args()


def pair(text: str) -> tuple[int, int]:
    """Read two numbers, as in 500,2500."""
    few, many = map(int, text.split(","))
    return few, many


def _numbers(text: str) -> list[float]:
    return list(map(float, text.split(",")))


def measure(tool: str, address: str, number: int, photos: list[bytes], options: argparse.Namespace) -> dict[str, float]:
    """One round of a tool: the steady rate, what the start costs, and the seconds of the larger run."""
    few, many = options.images
    seconds = {}
    for count in (few, many):
        folder = windrow_job.WORK / "scoring" / tool
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        lines = [f"{address}/{number}-{count}-{item}.jpg" for item in range(count)]
        seconds[count], result = run(tool, folder, lines, photos, options)
    rate = (many - few) / (seconds[many] - seconds[few])
    row = {"rate": round(rate, 2), "start": round(seconds[few] - few / rate, 2), "seconds": round(seconds[many], 2)}
    return row | {key: result[key] for key in OWN if key in result}


def run(
    tool: str, folder: Path, lines: list[str], photos: list[bytes], options: argparse.Namespace
) -> tuple[float, dict[str, Any]]:
    """Label every URL once with a tool; return the seconds of its process, and its result."""
    if tool in WINDROW:
        prepare_windrow(folder, lines, options.network, WINDROW[tool].format(photos=options.photos.absolute()))
        started = time.monotonic()
        page = folder / "scoring.yaml"
        result = windrow_job.submit(options.checkout, "score_images", folder, SLOTS, "--experiment", page)
        seconds = time.monotonic() - started
        labelled = result["statuses"].get("ok", 0)
    else:
        (folder / "urls.txt").write_text("\n".join(lines) + "\n")
        write_bytes(folder, len(lines), photos)
        shutil.copy(options.network.with_name(GRAPH), folder)
        network = shutil.copy(options.network, folder)
        script = Path(__file__).with_name("scoring_peers.py")
        command = [sys.executable, str(script), tool, str(folder), network]
        variables = windrow_job.environment(folder) | {"NO_ALBUMENTATIONS_UPDATE": "1", "WANDB_MODE": "disabled"}
        started = time.monotonic()
        windrow_job.run(command, folder / "log", variables, timeout=3600)
        seconds = time.monotonic() - started
        result = json.loads((folder / "labels.json").read_text())
        labelled = result["images"]
    if labelled != len(lines):
        raise SystemExit(f"{tool} must label every image; got {labelled} of {len(lines)}; see {folder}")
    return seconds, result


def write_bytes(folder: Path, count: int, photos: list[bytes]) -> None:
    """The same images as Parquet, for the tools that do not download."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    contents = [photos[number % len(photos)] + b"%08d" % number for number in range(count)]
    pq.write_table(pa.table({"content": contents}), folder / "bytes.parquet", row_group_size=256)


def prepare_windrow(folder: Path, lines: list[str], network: Path, precision: str) -> None:
    """A feed, a page, and the network as its champion, converted if the page requires it.

    All of it is made in processes of its own, before the clock starts: a conversion is kept from night to night.
    """
    home, kept = folder / "home", windrow_job.WORK / "scoring" / f"champion-{network.stem}"
    (home / "feeds").mkdir(parents=True)
    (home / "feeds" / "urls.txt").write_text("\n".join(lines) + "\n")
    (folder / "scoring.yaml").write_text(PAGE + precision)
    if not kept.is_dir():
        kept.mkdir(parents=True)
        champion(kept, str(network.absolute()))
    if precision:
        champion(kept, "--lower", str(folder / "scoring.yaml"))
        (home / "lowered").symlink_to(kept / "lowered")
    shutil.copytree(kept / "mlflow", home / "mlflow")


def champion(kept: Path, *arguments: str) -> None:
    """Run scoring_champion.py, which keeps what it makes in `kept`."""
    command = [sys.executable, str(Path(__file__).with_name("scoring_champion.py")), *arguments]
    windrow_job.run(command, kept / "log", windrow_job.environment(kept) | {"WINDROW_HOME": str(kept)}, timeout=600)


def start_server(photos: list[bytes], latency: float, host: str = "127.0.0.1") -> str:
    """Serve the photographs from a process of its own; its address."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    context.Process(target=_serve, args=(photos, latency, host, theirs), daemon=True).start()
    return f"http://{host}:{ours.recv()}"


def _serve(photos: list[bytes], latency: float, host: str, line: Connection) -> None:
    head = b"HTTP/1.1 %s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
    absent = head % (b"404 Not Found", 0)

    class Answers(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport, self.heard = transport, b""

        def data_received(self, data: bytes) -> None:
            *requests, self.heard = (self.heard + data).split(b"\r\n\r\n")
            for request in requests:
                asyncio.get_running_loop().call_later(latency, self.transport.write, self.answer(request))

        @staticmethod
        def answer(request: bytes) -> bytes:
            if request.startswith(b"GET /robots.txt "):
                return absent
            number = int(request.split(b".jpg", 1)[0].rsplit(b"-", 1)[1])
            photo = photos[number % len(photos)]
            return head % (b"200 OK", len(photo) + 8) + photo + b"%08d" % number

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Answers, host, 0, backlog=1024)
        line.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


def _line(tool: str, latency: float, rounds: list[dict[str, Any]]) -> list[Any]:
    """Medians of a tool's rounds; a share is that of its own round's ceiling."""
    mine = [each for each in rounds if (each["tool"], each["latency"]) == (tool, latency)]

    def median(of: Any) -> float:
        return statistics.median(map(of, mine))

    shares = (
        f"{median(lambda each, key=key: each['rate'] / each['ceiling'][key]):.0%}"
        for key in ("images_per_second", "both_images_per_second")
    )
    figures = (round(median(lambda each, key=key: each[key]), 1) for key in ("rate", "start", "seconds"))
    rate, start, seconds = figures
    own = f"{median(lambda each: each[OWN[0]]):.0%}" if OWN[0] in mine[0] else None
    return [tool, round(latency * 1000), rate, *shares, start, seconds, own]


if __name__ == "__main__":
    sys.exit(main())
