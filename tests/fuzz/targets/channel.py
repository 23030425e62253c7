"""The channel: a stranger is not listened to, no message ends the driver, and a worker survives any driver."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from dataclasses import fields
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from typing import Any

from windrow import channel
from windrow.channel import Address, Channel
from windrow.scoring.progress import Tally
from windrow.sweep.leased_job import Report
from windrow.sweep.outcomes import Outcome
from windrow.training.loop import Epoch

from fuzz.bounds import lowered

LONGEST = 3000
STRANGER, WORKER, DRIVER, CONTENT = b"s", b"w", b"d", b"c"
"""The first byte of an input: whose part the rest plays."""
_SEPARATOR = b"\xff\xfe"
TOKENS = [
    *("#CHALLENGE#", "{sha256}", "#WELCOME#", "#FAILURE#", "\\x00\\x00\\x00\\x10", '{"lease": "', '"event": "epochs"'),
    *('"began"', '"beat"', '"ended"', '"first": 1', '"epochs": [', '"outcome": {', '"ending": "ok"', '"counts": {'),
    *(
        '"task": 0',
        '"attempt": 1',
        '"seconds_left": ',
        '"stop": "',
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "null",
        "true",
        "[",
        "{",
        "\\ud800",
    ),
    *(f'"{each.name}": ' for each in (*fields(Outcome), *fields(Epoch))),
]
_EPOCH = {"loss": 1.0, "accuracy": 0.5, "val_loss": 1.0, "val_accuracy": 0.5, "seconds": 0.1}
_REPORTS: list[dict[str, Any]] = [
    {"lease": "a", "event": "began"},
    {"lease": "a", "event": "beat"},
    {"lease": "a", "event": "epochs", "first": 1, "epochs": [_EPOCH, {**_EPOCH, "val_macro_f1": 0.5}]},
    {"lease": "a", "event": "ended", "outcome": Outcome(0, 1, "ok", 0.5, lease="a").record()},  # type: ignore[arg-type]
    {"task": 0, "attempt": 1, "counts": {"ok": 12, "timeout": 3}},
    {"task": 0, "attempt": 1, "counts": {"ok": 12, "unresolved_host": 1, "http_error": 3}, "seconds_left": 100.5},
]
SEEDS = [
    *(STRANGER + frame for frame in (b"", b"\0\0\0\x10" + bytes(16), b"\xff" * 12, b"GET / HTTP/1.1\r\n\r\n")),
    *(WORKER + json.dumps(report).encode() for report in _REPORTS),
    WORKER + _SEPARATOR.join((b'{"a": 1}', b"{}", b"[1]", b"3", b"")),
    *(DRIVER + frame for frame in (b"", b"\0\0\0\x08SSH-2.0-", b"\0\0\0\x1f#CHALLENGE#" + bytes(20))),
    *(CONTENT + json.dumps(report).encode() for report in _REPORTS),
]
_SECONDS = 10.0
_LOW = {"windrow.channel._LARGEST_MESSAGE": 100, "windrow.scoring.progress._PACE_SECONDS": 1e-9}


class _Driver:
    """A channel whose messages are kept and answered, and whose threads' errors are kept as well."""

    def __init__(self) -> None:
        self._received: list[dict[str, Any]] = []
        self._errors: list[BaseException] = []
        self._hook = threading.excepthook
        self._channel = Channel("127.0.0.1")
        self.address = self._channel.address
        self._answering = threading.Thread(target=self._answer, daemon=True)
        self._answering.start()
        self._stays = set(threading.enumerate())

    def __enter__(self) -> _Driver:
        threading.excepthook = lambda failed: self._errors.append(failed.exc_value or AssertionError("no value"))
        return self

    def __exit__(self, *_: object) -> None:
        threading.excepthook = self._hook
        self._channel.close()
        self._channel.inbox.put(None)
        self._answering.join(_SECONDS)

    def check(self, received: list[dict[str, Any]]) -> None:
        """Wait until nobody is served, and check what was received."""
        for thread in set(threading.enumerate()) - self._stays:
            if thread.name == "channel":
                thread.join(_SECONDS)
                assert not thread.is_alive(), "a client that has hung up is still served"
        assert not self._errors, self._errors
        assert json.dumps(self._received) == json.dumps(received), (self._received, received)

    def _answer(self) -> None:
        while (message := self._channel.inbox.get()) is not None:
            self._received.append(message.content)
            message.answer("")


def check(data: bytes) -> None:
    """Play the part that the first byte names, with the rest; inputs with an odd length meet a low limit."""
    with lowered(_LOW, len(data) % 2 == 1):
        _check(data)


def _check(data: bytes) -> None:
    part, rest = data[:1], data[1:]
    if part == STRANGER:
        with _Driver() as driver:
            _check_stranger(driver, rest)
    elif part == WORKER:
        with _Driver() as driver:
            _check_worker(driver, rest.split(_SEPARATOR))
    elif part == DRIVER:
        _check_pretended_driver(rest)
    else:
        _check_content(rest)


def _connected(address: Address) -> socket.socket:
    return socket.create_connection((address.host, address.port), _SECONDS)


def _check_stranger(driver: _Driver, content: bytes) -> None:
    """Send bytes without the secret."""
    with _connected(driver.address) as stranger:
        _send_all(stranger, content)
    driver.check([])


def _send_all(end: socket.socket, content: bytes) -> None:
    """Send the bytes, then nothing more, and read until the other side hangs up."""
    with suppress(OSError):  # hung up on at one of these
        end.sendall(content)
        end.shutdown(socket.SHUT_WR)
        while end.recv(65536):
            pass


def _check_worker(driver: _Driver, frames: list[bytes]) -> None:
    """Send frames with the secret: objects arrive as they are, and the first frame that is none ends the connection."""
    secret = driver.address.secret
    with _connected(driver.address) as connected:
        connected.settimeout(None)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with Connection(connected.detach()) as line:
            answer_challenge(line, secret)
            deliver_challenge(line, secret)
            answered = 0
            with suppress(EOFError, ConnectionError):
                for frame in frames:
                    line.send_bytes(frame)
                    answer = json.loads(line.recv_bytes())
                    assert answer == {"stop": ""}, answer
                    answered += 1
    expected = _objects(frames)
    driver.check(expected)
    assert answered == len(expected)


def _objects(frames: list[bytes]) -> list[dict[str, Any]]:
    """Return the objects before the first frame that is none."""
    found: list[dict[str, Any]] = []
    for frame in frames:
        if len(frame) > channel._LARGEST_MESSAGE:
            break
        try:
            content = json.loads(frame)
        except (ValueError, RecursionError):
            break
        if not isinstance(content, dict):
            break
        found.append(content)
    return found


def _check_pretended_driver(content: bytes) -> None:
    """Let something else listen at the driver's port: the worker has no connection then, and goes on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def pretend() -> None:
            end, _ = listening.accept()
            with end:
                _send_all(end, content)

        pretending = threading.Thread(target=pretend, daemon=True)
        pretending.start()
        address = Address("127.0.0.1", listening.getsockname()[1], b"secret")
        assert channel.reach(address) is None
        channel.forget(address)
        pretending.join(_SECONDS)


def _check_content(content: bytes) -> None:
    """Read a message as the sweep and the scoring run do: it is dropped, or has the types that its record declares."""
    try:
        message = json.loads(content)
    except (ValueError, RecursionError):
        return
    if not isinstance(message, dict):
        return
    tally = Tally(100)
    tally.add(message)
    line = tally.line()
    line.encode()
    assert len(line) < 300, line
    assert "nan" not in line, line
    assert tally.done >= 0
    try:
        report = Report.of(message)
    except (KeyError, TypeError, ValueError, AttributeError):
        return
    _check_types(report)
    for epoch in report.epochs:
        _check_types(epoch)
    if report.outcome is not None:
        _check_types(report.outcome)
        for epoch in report.outcome.epochs:
            _check_types(epoch)
        json.dumps(report.outcome.record()).encode()
        report.outcome.error.encode()  # the ledger and MLflow hold UTF-8


_PLAIN = {"int": int, "float": (int, float), "str": str, "float | None": (int, float, type(None))}


def _check_types(record: Any) -> None:
    kinds = {field.name: str(field.type) for field in fields(record)}
    for name, kind in kinds.items():
        if kind in _PLAIN:
            value = getattr(record, name)
            assert isinstance(value, _PLAIN[kind]), (name, value)  # type: ignore[arg-type]
            if isinstance(value, str):
                value.encode()
