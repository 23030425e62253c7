"""Connect Spark tasks to the driver: a worker reports its progress, and the answer says whether to go on.

    with Channel(host) as channel:                      # driver
        message = channel.inbox.get(timeout=1.0)
        message.answer("")                              # go on; or an Ending as the reason to stop

    line = reach(address)                               # executor; None if the driver can't be reached
    line.ask({"lease": ..., "event": "epochs", ...})    # the reason to stop, or ""

Each side proves that it knows the job's secret (HMAC, the standard library's challenge). After that only JSON of
limited size passes, never a pickle: a worker can send wrong reports about its own work, and nothing else.
"""

from __future__ import annotations

import json
import os
import queue
import secrets
import socket
import struct
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_CONNECT_SECONDS = 3.0
_SILENT_SECONDS = 60.0  # a driver that takes longer to answer counts as dead
_PAUSE_SECONDS = 0.1  # before a driver that could accept nobody tries again
_LARGEST_MESSAGE = 1 << 22  # bytes: an outcome of 10,000 epochs is 1.6 MB
_NO_PROOF = (AuthenticationError, AssertionError)
"""What the standard library raises if the other side does not know the secret, or asks for no proof (Python 3.11)."""


@dataclass(frozen=True)
class Address:
    """The address of a job's driver, and the secret that proves a worker belongs to the job."""

    host: str
    port: int
    secret: bytes = field(repr=False)


class Message:
    """A worker's message. The worker blocks until the driver calls `answer`, for a minute at most."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content
        # A queue of one: the thread that serves the worker waits on it, and the thread that reads the inbox fills it.
        self._answered: queue.SimpleQueue[str] = queue.SimpleQueue()

    def answer(self, stop: str = "") -> None:
        """Send the answer: empty to let the worker go on, or an Ending as the reason to stop, such as "pruned"."""
        self._answered.put(stop)

    def wait(self) -> str:
        """Return the answer.

        Raises:
            queue.Empty: no answer came in time; the driver's main thread may have ended.
        """
        return self._answered.get(timeout=_SILENT_SECONDS)


class Channel:
    """The driver's side of the connections to workers. The workers' messages arrive in `inbox`.

    One thread accepts workers, and each worker has a thread that listens.
    """

    def __init__(self, host: str, bind: str | None = None, inbox: queue.SimpleQueue[Any] | None = None) -> None:
        self.inbox: queue.SimpleQueue[Any] = inbox or queue.SimpleQueue()
        self._socket = socket.create_server((bind or host, 0), backlog=512, family=_family(bind or host))
        self.address = Address(host, self._socket.getsockname()[1], secrets.token_bytes(32))
        self._connected: set[socket.socket] = set()
        self._closing = threading.Event()
        # Daemon threads: a thread that waits for a worker must not keep a finished driver alive.
        threading.Thread(target=self._accept, name="channel", daemon=True).start()

    def close(self) -> None:
        """Stop listening, and hang up on every worker."""
        self._closing.set()
        # shutdown, not close: only shutdown wakes a thread that is blocked in accept or recv on the socket. Iterate
        # over a copy of the set, because these threads remove their sockets from it as they end.
        for open_socket in (self._socket, *list(self._connected)):
            with suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connected, _ = self._socket.accept()
            except OSError:  # closed; or, for a while, the process has too many files open
                self._closing.wait(_PAUSE_SECONDS)
                continue
            try:
                threading.Thread(target=self._listen, args=(connected,), name="channel", daemon=True).start()
            except RuntimeError:  # the process has too many threads
                connected.close()

    def _listen(self, connected: socket.socket) -> None:
        """Serve one worker until it disconnects. Hang up on a client that does not know the secret, or is silent."""
        hung_up = (OSError, EOFError, ValueError, RecursionError, *_NO_PROOF, queue.Empty)
        with suppress(*hung_up), connected, _connection(connected) as line:
            self._connected.add(connected)
            # Both sides authenticate under the short timeout of _connection: a port scanner that sends nothing must
            # not occupy a thread. After that, a worker may be silent for as long as an epoch lasts.
            deliver_challenge(line, self.address.secret)
            answer_challenge(line, self.address.secret)
            _set_timeout(line, 0.0)
            while True:
                # One message at a time: the worker reads the answer before it sends the next message, so it learns
                # that it should stop before it reports later epochs.
                message = Message(_read(line))
                self.inbox.put(message)
                line.send_bytes(json.dumps({"stop": message.wait()}).encode())
        self._connected.discard(connected)


def open_channel(spark: SparkSession) -> Channel:
    """Open a channel on the address of Spark's own driver, because executors can reach that address."""
    configured = spark.sparkContext.getConf()
    host = configured.get("spark.driver.host", "127.0.0.1") or "127.0.0.1"
    return Channel(host.strip("[]"), configured.get("spark.driver.bindAddress", None))


class Line:
    """The worker's side of the connection to the driver.

    One message at a time: threads take turns. Only the process that opened the connection may use it.
    """

    def __init__(self, address: Address) -> None:
        connected = socket.create_connection((address.host, address.port), _CONNECT_SECONDS)
        connected.settimeout(None)
        with connected:
            self._line = _connection(connected)
        # On one connection, the training thread reports epochs and the watching thread sends heartbeats: without the
        # lock, one thread could read the other's answer.
        self._turn = threading.Lock()
        self._owner = os.getpid()
        answer_challenge(self._line, address.secret)
        deliver_challenge(self._line, address.secret)
        _set_timeout(self._line, _SILENT_SECONDS)

    @property
    def mine(self) -> bool:
        """Return whether this process opened the connection; a fork shares the socket and would mix up the messages."""
        return os.getpid() == self._owner

    def ask(self, content: Mapping[str, object]) -> str:
        """Send a message and wait for the answer; return the reason to stop, or "" to go on.

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
"""This process's connection to each driver; None if an attempt to connect to the driver has failed."""


def reach(address: Address | None) -> Line | None:
    """Return this process's connection to the driver; the first call opens the connection.

    Return None if the driver can't be reached, or could not be at the first call, or if `address` is None.
    """
    if address is None:
        return None
    line = _lines.get(address)
    # A Python worker serves one driver after another, and may be a fork of a worker that had a connection: drop
    # connections to an earlier driver or from the parent process. Remember a failure, or every trial would wait for
    # the timeout again.
    if address not in _lines or (line is not None and not line.mine):
        _lines.clear()
        try:
            _lines[address] = Line(address)
        except (OSError, EOFError, *_NO_PROOF):
            _lines[address] = None
    return _lines[address]


def forget(address: Address | None) -> None:
    """Close a broken connection, or forget a failed attempt, so that the next call of `reach` connects again."""
    line = _lines.pop(address, None) if address is not None else None
    if line is not None:
        line.close()


def _connection(connected: socket.socket) -> Connection:
    # Messages are small, and each waits for its answer: Nagle's algorithm would delay every message.
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line: Connection = Connection(os.dup(connected.fileno()))
    _set_timeout(line, _CONNECT_SECONDS)
    return line


def _set_timeout(line: Connection, seconds: float) -> None:
    """Set the socket's kernel timeouts (0 = none); multiprocessing's Connection has no timeout of its own."""
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
