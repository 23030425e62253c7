"""Small data sets, and a mirror that misbehaves as told."""

from __future__ import annotations

import gzip
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def idx_bytes() -> Callable[[np.ndarray], bytes]:
    return idx


@pytest.fixture
def idx_files() -> dict[str, bytes]:
    """Name → gzipped bytes of a small MNIST: 40 + 20 images of 4 x 4, ten classes."""
    draw = np.random.default_rng(0)
    return {
        "train-images-idx3-ubyte.gz": gzip.compress(idx(draw.integers(0, 256, (40, 4, 4)))),
        "train-labels-idx1-ubyte.gz": gzip.compress(idx(np.arange(40) % 10)),
        "t10k-images-idx3-ubyte.gz": gzip.compress(idx(draw.integers(0, 256, (20, 4, 4)))),
        "t10k-labels-idx1-ubyte.gz": gzip.compress(idx(np.arange(20) % 10)),
    }


@pytest.fixture
def idx_folder(tmp_path: Path, idx_files: dict[str, bytes]) -> Path:
    folder = tmp_path / "small"
    folder.mkdir()
    for name, content in idx_files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Ten PNGs of 6 x 4 pixels a class: cats are dark (their number), dogs are bright (200 + their number)."""
    folder = tmp_path / "photos"
    for name, base in (("cat", 0), ("dog", 200)):
        (folder / name).mkdir(parents=True)
        for number in range(10):
            Image.new("L", (6, 4), base + number).save(folder / name / f"{number}.png")
    return folder


@dataclass
class Mirror:
    """A server of files on loopback. Each public field is a way to misbehave.

    Attributes:
        files: contents by path below the base URL.
        cuts: bytes after which each of the next answers is cut off.
        ignores_range: it always sends the whole file.
        status: sent instead of a file.
        stall_seconds: how long it keeps silent before an answer.
        hides_length: no Content-Length, so that a cut looks like the end.
        asked: (path, Range header) of every request.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    ignores_range: bool = False
    status: int | None = None
    stall_seconds: float = 0.0
    hides_length: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)


def _handler(mirror: Mirror) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            mirror.asked.append((self.path, self.headers["Range"]))
            time.sleep(mirror.stall_seconds)
            content = mirror.files.get(self.path.removeprefix("/data/"))
            if mirror.status or content is None:
                self.send_error(mirror.status or 404)
                return
            self._send(content, 0 if mirror.ignores_range else self._start())

        def _start(self) -> int:
            return int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").removesuffix("-"))

        def _send(self, content: bytes, start: int) -> None:
            if start and start >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            if not mirror.hides_length:
                self.send_header("Content-Length", str(len(content) - start))
            for name, value in mirror.headers.items():
                self.send_header(name, value)
            self.end_headers()
            body = content[start:]
            self.wfile.write(body[: mirror.cuts.pop(0)] if mirror.cuts else body)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@pytest.fixture
def make_mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Mirror]]:
    """Start mirrors that serve `files` below /data/."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    servers = []

    def make(files: dict[str, bytes], **habits: Any) -> Mirror:
        mirror = Mirror(files=files, **habits)
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(mirror))
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        servers.append(server)
        mirror.url = f"http://127.0.0.1:{server.server_port}/data/"
        return mirror

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def sha256() -> Callable[[bytes], str]:
    return lambda content: hashlib.sha256(content).hexdigest()
