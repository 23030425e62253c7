"""The line between Spark tasks and the driver: a worker tells how a trial or a pass goes, and hears whether to go on.

    with Channel(host) as channel:                      # driver
        message = channel.inbox.get(timeout=1.0)
        message.answer(go_on)

    line = reach(address)                               # executor; None where the driver can't be reached
    line.ask({"lease": ..., "event": "epochs", ...})    # the reason to stop, or ""

Each side proves that it knows the job's secret (HMAC, the standard library's challenge). After that only JSON of
limited size passes, never a pickle: a worker can say wrong things about its own work, and nothing else.
"""

from __future__ import annotations

import json
import os
import queue
import secrets
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_CONNECT_SECONDS = 3.0
_SILENT_SECONDS = 60.0  # a driver that takes longer to answer is taken for dead
_LARGEST_MESSAGE = 1 << 22  # bytes: an outcome of 10,000 epochs has 1.6 MB


@dataclass(frozen=True)
class Address:
    """Where a job's driver listens, and the secret to say there."""

    host: str
    port: int
    secret: bytes = field(repr=False)


class Message:
    """What a worker said. It waits for `answer`."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content
        self._answered: queue.SimpleQueue[str] = queue.SimpleQueue()

    def answer(self, stop: str = "") -> None:
        """Let the worker go on, or say why to stop: an ending's word."""
        self._answered.put(stop)

    def wait(self) -> str:
        """The answer."""
        return self._answered.get(timeout=_SILENT_SECONDS)


class Channel:
    """The driver's end: one thread accepts, one thread a worker listens; all messages arrive in `inbox`."""

    def __init__(self, host: str, bind: str | None = None, inbox: queue.SimpleQueue[Any] | None = None) -> None:
        self.inbox: queue.SimpleQueue[Any] = inbox or queue.SimpleQueue()
        self._socket = socket.create_server((bind or host, 0), backlog=512, family=_family(bind or host))
        self.address = Address(host, self._socket.getsockname()[1], secrets.token_bytes(32))
        self._connected: set[socket.socket] = set()
        threading.Thread(target=self._accept, name="channel", daemon=True).start()

    def close(self) -> None:
        """Stop listening, and hang up on every worker."""
        for open_socket in (self._socket, *list(self._connected)):
            with suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                connected, _ = self._socket.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._listen, args=(connected,), name="channel", daemon=True).start()

    def _listen(self, connected: socket.socket) -> None:
        """Serve one worker until it leaves. Whoever does not know the secret, or says nothing, is hung up on."""
        hung_up = (OSError, EOFError, ValueError, AuthenticationError, queue.Empty)
        with connected, _connection(connected) as line, suppress(*hung_up):
            self._connected.add(connected)
            deliver_challenge(line, self.address.secret)
            answer_challenge(line, self.address.secret)
            _set_timeout(line, 0.0)
            while True:
                message = Message(_read(line))
                self.inbox.put(message)
                line.send_bytes(json.dumps({"stop": message.wait()}).encode())
        self._connected.discard(connected)


def beside(spark: SparkSession) -> Channel:
    """A channel that listens where Spark's own driver does."""
    configured = spark.sparkContext.getConf()
    host = configured.get("spark.driver.host", "127.0.0.1") or "127.0.0.1"
    return Channel(host.strip("[]"), configured.get("spark.driver.bindAddress", None))


class Line:
    """A worker's end. One question at a time; threads take turns. It belongs to the process that opened it."""

    def __init__(self, address: Address) -> None:
        connected = socket.create_connection((address.host, address.port), _CONNECT_SECONDS)
        connected.settimeout(None)
        with connected:
            self._line = _connection(connected)
        self._turn = threading.Lock()
        self._owner = os.getpid()
        answer_challenge(self._line, address.secret)
        deliver_challenge(self._line, address.secret)
        _set_timeout(self._line, _SILENT_SECONDS)

    @property
    def mine(self) -> bool:
        """False in a process that was forked off: speaking there would garble the line."""
        return os.getpid() == self._owner

    def ask(self, content: dict[str, Any]) -> str:
        """Say something; why to stop, or an empty text.

        Raises:
            OSError, EOFError: the driver is gone.
        """
        with self._turn:
            self._line.send_bytes(json.dumps(content).encode())
            return str(_read(self._line)["stop"])

    def close(self) -> None:
        """Hang up."""
        self._line.close()


_lines: dict[Address, Line | None] = {}
"""Lines of this process. None: the driver was tried and can't be reached from here."""


def reach(address: Address | None) -> Line | None:
    """This process' line to the driver, opened at the first call; None where there is no way, or no address."""
    if address is None:
        return None
    line = _lines.get(address)
    if address not in _lines or (line is not None and not line.mine):
        _lines.clear()
        try:
            _lines[address] = Line(address)
        except (OSError, EOFError, AuthenticationError):
            _lines[address] = None
    return _lines[address]


def forget(address: Address | None) -> None:
    """The line has broken: the next one who reaches tries anew."""
    line = _lines.pop(address, None) if address is not None else None
    if line is not None:
        line.close()


def _connection(connected: socket.socket) -> Connection:
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line: Connection = Connection(os.dup(connected.fileno()))
    _set_timeout(line, _CONNECT_SECONDS)
    return line


def _set_timeout(line: Connection, seconds: float) -> None:
    """How long a read or a write may block; 0 for ever. The kernel's own: a Connection has none."""
    span = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
    end = socket.socket(fileno=os.dup(line.fileno()))
    with end:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, span)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, span)


def _read(line: Connection) -> dict[str, Any]:
    content = json.loads(line.recv_bytes(_LARGEST_MESSAGE))
    if not isinstance(content, dict):
        raise ValueError(f"a message must be a JSON object; got {type(content).__name__}")  # noqa: TRY004  hung up on
    return content


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
