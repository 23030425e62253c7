"""Whatever a mirror answers, a download ends with a file of a limited size, or with a reason that can be printed."""

from __future__ import annotations

import hashlib
import socket
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

from windrow.data import download
from windrow.errors import DownloadError

from fuzz.bounds import bounded, lowered
from fuzz.targets import answer

LONGEST = 1500
TOKENS = [
    *answer.TOKENS,
    "Content-Range: bytes 5-9/10\r\n",
    "HTTP/1.1 206 ",
    "HTTP/1.1 416 ",
    "Location: http:",
    "Location: /",
]
_OK = b"HTTP/1.1 200 OK\r\n"
SEEDS = [
    *(seed for seed in answer.SEEDS if len(seed) <= LONGEST),
    b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\nworld",
    b"HTTP/1.1 416 Range\r\nContent-Length: 0\r\n\r\n",
    _OK + b"Content-Length: 10\r\n\r\nhello",
    _OK + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b",
    *(
        b"HTTP/1.1 302 Found\r\nLocation: " + to + b"\r\n\r\n"
        for to in (b"/a.bin", b"http://[", b"ftp://a", b"//\xff..a")
    ),
]
_MOST = 1000
_SECONDS = 10.0
_look_up = socket.getaddrinfo


class _Mirror:
    """A server that answers each request with the same bytes, and hangs up."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/a.bin"
        self._serving = threading.Thread(target=self._serve, daemon=True)
        self._serving.start()

    def __enter__(self) -> _Mirror:
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._serving.join(_SECONDS)

    def _serve(self) -> None:
        while True:
            try:
                end, _ = self._listening.accept()
            except OSError:
                return
            with end, suppress(OSError):
                end.settimeout(_SECONDS)
                asked = b""
                while b"\r\n\r\n" not in asked and (more := end.recv(4096)):
                    asked += more
                end.sendall(self._content)


def check(data: bytes) -> None:
    """Download a file that nobody knows, and go on with one of which five bytes are there."""
    low = lowered({"windrow.data.download._PAUSE_SECONDS": 0}, True)
    with low, mock.patch.object(socket, "getaddrinfo", _loopback), _Mirror(data) as mirror:
        for begun in (b"", b"hello"):
            with tempfile.TemporaryDirectory(prefix="windrow-fuzz-") as folder:
                _check(mirror.url, Path(folder), begun)


def _loopback(host: str, *rest: Any, **named: Any) -> Any:
    """Look up this machine alone: a redirect may lead anywhere."""
    if host != "127.0.0.1":
        raise socket.gaierror(socket.EAI_NONAME, "only loopback is asked")
    return _look_up(host, *rest, **named)


def _check_text(text: str) -> None:
    text.encode()
    assert all(line.isprintable() for line in text.split("\n")), text
    assert len(text) < 2000, text


def _check(url: str, folder: Path, begun: bytes) -> None:
    digest = hashlib.sha256(b"helloworld").hexdigest() if begun else None
    if begun:
        mark = hashlib.sha256(url.encode()).hexdigest()[:8]
        (folder / f".a.bin.{mark}.part").write_bytes(begun)
    try:
        with bounded(mebibytes=50, seconds=5):
            found = download.fetch_trusted(url, folder, digest, key="scoring.network.sha256", max_bytes=_MOST)
    except DownloadError as error:
        _check_text(str(error))
        return
    content = found.read_bytes()
    assert len(content) <= _MOST
    assert not begun or content == b"helloworld"
