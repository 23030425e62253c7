"""A web server that misbehaves on purpose, image files of many kinds, and a tiny real network."""

from __future__ import annotations

import contextlib
import io
import socket
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

LOOPBACK = (ip_network("127.0.0.0/8"),)
Behaviour = Callable[[socket.socket], None]


class HostileServer:
    """A raw socket server on 127.0.0.1: a path's behaviour gets the connection after the request's head was read."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.log: list[tuple[float, str]] = []  # (monotonic seconds, path) of each request, in order
        self.heads: dict[str, str] = {}
        self.open: Counter[str] = Counter()  # answers that are on their way, by path
        self._behaviours: dict[str, Behaviour] = {}
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def on(self, path: str, behaviour: Behaviour | bytes) -> str:
        """Register a behaviour, or a whole answer as bytes; gives the URL."""
        self._behaviours[path] = behaviour if callable(behaviour) else lambda connection: connection.sendall(behaviour)
        return self.url(path)

    def file(self, path: str, body: bytes, kind: str = "image/png") -> str:
        return self.on(path, answer("200 OK", body, f"Content-Type: {kind}"))

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                piece = connection.recv(65_536)
                if not piece:
                    return
                head += piece
            path = head.split(b" ")[1].decode("latin-1")
            self.heads[path] = head.decode("latin-1")
            self.asked[path] += 1
            self.log.append((time.monotonic(), path))
            self.open[path] += 1
            try:
                self._behaviours.get(path, lambda c: c.sendall(answer("404 Not Found", b"no")))(connection)
            finally:
                self.open[path] -= 1


def answer(status: str, body: bytes = b"", *headers: str) -> bytes:
    """A whole HTTP answer that closes its connection."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def redirect(location: str, status: str = "302 Found") -> bytes:
    return answer(status, b"", f"Location: {location}")


def drip(connection: socket.socket) -> None:
    """An answer that never ends, a byte at a time."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n")
    while True:
        connection.sendall(b"x")
        time.sleep(0.05)


def flood(connection: socket.socket) -> None:
    """An answer that never ends, as fast as it can."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65_536)


def silence(connection: socket.socket) -> None:
    """Accepts, reads, and never answers."""
    connection.recv(1)


def reset(connection: socket.socket) -> None:
    """Hang up with a reset instead of an end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def reset_half_way(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 1000)
    time.sleep(0.05)
    reset(connection)


def in_turn(*answers: bytes) -> Behaviour:
    """The first answer to the first request, and so on; the last one for ever."""
    left = list(answers)

    def serve(connection: socket.socket) -> None:
        connection.sendall(left.pop(0) if len(left) > 1 else left[0])

    return serve


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def grey(level: int, size: tuple[int, int] = (8, 8)) -> bytes:
    """A PNG of one grey level."""
    return encoded(Image.new("L", size, level))


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds a few zero bytes: a bomb of a hundred bytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


@pytest.fixture(autouse=True)
def connects(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that a test connected to. One that is not loopback is not let through, whatever the code does."""
    asked: list[str] = []
    real = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            asked.append(str(address[0]))
            if not ip_address(address[0]).is_loopback:
                raise ConnectionRefusedError(111, f"tests may not connect to {address[0]}")
        real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    return asked


@pytest.fixture
def server() -> Iterator[HostileServer]:
    hostile = HostileServer()
    yield hostile
    hostile.close()


@pytest.fixture(scope="session")
def brightness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real .keras network for (8, 8, 1): class 0 dark, 1 middle, 2 bright, by the mean grey level."""
    import keras

    # A score a class that is linear in the mean m: -4m, 0, 4m - 4 once scaled; the softmax of it picks by thirds.
    network = keras.Sequential(
        [keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3, "softmax")]
    )
    slope = np.array([-40.0, 0.0, 40.0]) / (255 * 64)
    network.layers[-1].set_weights(
        [np.tile(slope, (64, 1)).astype(np.float32), np.array([13.0, 0.0, -27.0], np.float32)]
    )
    path = tmp_path_factory.mktemp("network") / "brightness.keras"
    network.save(path)
    return path
