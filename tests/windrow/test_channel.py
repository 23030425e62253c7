from __future__ import annotations

import json
import os
import pickle
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import pytest
from harness.waiting import wait_for
from windrow import channel
from windrow.channel import Address, Channel, Line, reach


@pytest.fixture
def line() -> Iterator[Channel]:
    """A driver that stops whoever says so, and keeps what it hears."""
    with Channel("127.0.0.1") as opened:
        yield opened
    channel.forget(opened.address)


def serve(driver: Channel, count: int) -> list[dict[str, Any]]:
    heard: list[dict[str, Any]] = []

    def answer() -> None:
        for _ in range(count):
            message = driver.inbox.get(timeout=10)
            heard.append(message.content)
            message.answer(message.content.get("want", ""))

    threading.Thread(target=answer, daemon=True).start()
    return heard


def test_a_trial_tells_and_hears(line: Channel) -> None:
    heard = serve(line, 2)
    mine = reach(line.address)
    assert mine is not None
    assert mine.ask({"event": "began"}) == ""
    assert mine.ask({"event": "epochs", "want": "pruned"}) == "pruned"
    assert [content["event"] for content in heard] == ["began", "epochs"]


def test_a_process_keeps_one_line(line: Channel) -> None:
    assert reach(line.address) is reach(line.address)


def test_many_workers_are_heard_at_once(line: Channel) -> None:
    serve(line, 50)
    lines = [Line(line.address) for _ in range(10)]
    threads = [threading.Thread(target=lambda one=one: [one.ask({"event": "beat"}) for _ in range(5)]) for one in lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)


def test_whoever_does_not_know_the_secret_is_not_heard(line: Channel) -> None:
    assert reach(replace(line.address, secret=b"guess" * 8)) is None
    with pytest.raises(queue.Empty):
        line.inbox.get(timeout=0.2)


def test_a_stranger_who_asks_for_no_proof_and_gives_a_wrong_one_is_hung_up_on(line: Channel) -> None:
    """A worker's own check of the driver refuses a wrong secret as well: this one leaves it out."""
    with socket.create_connection((line.address.host, line.address.port), 10) as connected:
        connected.settimeout(None)
        stranger = Connection(os.dup(connected.fileno()))
    with stranger:
        assert stranger.recv_bytes(256).startswith(b"#CHALLENGE#")
        stranger.send_bytes(bytes(16))
        with suppress(EOFError, OSError):  # hung up on at one of these, by how quick it is
            stranger.recv_bytes(256)
            stranger.send_bytes(b"#CHALLENGE#" + bytes(20))
            stranger.recv_bytes(256)
            stranger.send_bytes(b"#WELCOME#")
            stranger.send_bytes(b'{"event": "began"}')
    with pytest.raises(queue.Empty):
        line.inbox.get(timeout=0.2)


@pytest.mark.parametrize("greeting", [b"#CHALLENGE#{sha256}" + bytes(40), b"SSH-2.0-x", b""])
def test_a_driver_that_asks_for_no_proof_and_gives_a_wrong_one_is_not_spoken_to(greeting: bytes) -> None:
    """Somebody else may listen at the driver's port by now. The driver's own check of a worker is left out here."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def pretend() -> None:
            with Connection(listening.accept()[0].detach()) as stranger, suppress(EOFError, OSError):
                stranger.send_bytes(greeting)
                stranger.recv_bytes(256)
                stranger.send_bytes(b"#WELCOME#")
                stranger.recv_bytes(256)
                stranger.send_bytes(bytes(16))
                stranger.recv_bytes(256)

        threading.Thread(target=pretend, daemon=True).start()
        address = Address("127.0.0.1", listening.getsockname()[1], b"secret")
        assert reach(address) is None
    channel.forget(address)


def test_each_channel_has_a_secret_of_its_own_and_does_not_show_it(line: Channel) -> None:
    with Channel("127.0.0.1") as other:
        assert other.address.secret != line.address.secret
        assert reach(replace(line.address, port=other.address.port)) is None
    assert line.address.secret.hex() not in repr(line.address)
    assert str(line.address.secret) not in repr(line.address)


def test_a_pickle_is_never_opened(line: Channel) -> None:
    """What a stranger who knew the secret could send: bytes that would run code in whoever unpickles them."""

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.putenv, ("WINDROW_TRAPPED", "yes")

    mine = Line(line.address)
    mine._line.send_bytes(pickle.dumps(Trap()))
    with pytest.raises((EOFError, OSError)):
        mine._line.recv_bytes()
    with pytest.raises(queue.Empty):
        line.inbox.get(timeout=0.1)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[1, 2]", b"3", b"{", json.dumps("x").encode()])
def test_what_is_not_a_json_object_is_hung_up_on(line: Channel, content: bytes) -> None:
    mine = Line(line.address)
    mine._line.send_bytes(content)
    with pytest.raises((EOFError, OSError)):
        mine._line.recv_bytes()


def test_a_message_of_a_hundred_thousand_brackets_is_hung_up_on_like_any_other(line: Channel) -> None:
    mine = Line(line.address)
    mine._line.send_bytes(b"[" * 100_000)
    with pytest.raises((EOFError, OSError)):
        mine._line.recv_bytes()
    wait_for(lambda: not line._connected)  # its thread has ended as any other


def test_a_message_beyond_the_limit_is_hung_up_on(line: Channel) -> None:
    mine = Line(line.address)
    with pytest.raises((EOFError, OSError)):
        mine.ask({"event": "x" * (channel._LARGEST_MESSAGE + 1)})


def test_a_stranger_who_says_nothing_does_not_keep_others_out(line: Channel) -> None:
    with socket.create_connection((line.address.host, line.address.port)):
        serve(line, 1)
        mine = reach(line.address)
        assert mine is not None
        assert mine.ask({"event": "began"}) == ""


FULL = """
import os, resource, sys
from windrow.channel import Channel
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
with Channel("127.0.0.1") as driver:
    files = []
    try:
        while True:
            files.append(open(os.devnull))
    except OSError:
        print(driver.address.port, driver.address.secret.hex(), flush=True)
    sys.stdin.readline()
    for file in files:
        file.close()
    driver.inbox.get(timeout=30).answer("heard")
    sys.stdin.read()
"""
"""A driver that has as many files open as it may, until it reads a line."""


def test_a_driver_that_could_open_no_file_for_a_while_hears_workers_again() -> None:
    options: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", FULL], **options) as driver:
        port, secret = driver.stdout.readline().split()
        address = Address("127.0.0.1", int(port), bytes.fromhex(secret))
        with socket.create_connection((address.host, address.port), 0.3) as waiting, suppress(TimeoutError):
            assert waiting.recv(100) == b""  # or no answer
        driver.stdin.write("\n")
        driver.stdin.flush()
        worker = wait_for(lambda: reach(address) or channel.forget(address))
        assert worker.ask({"event": "began"}) == "heard"
        _, errors = driver.communicate("")
    channel.forget(address)
    assert (driver.returncode, errors) == (0, "")


def test_a_driver_that_is_away_is_asked_once_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[object] = []

    def refuse(*arguments: object) -> None:
        tried.append(arguments)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", refuse)
    address = Address("127.0.0.1", 9, b"secret")
    assert reach(address) is None
    assert reach(address) is None
    assert len(tried) == 1
    channel.forget(address)


def test_a_driver_that_leaves_is_an_error_at_once_and_the_next_trial_tries_anew(line: Channel) -> None:
    mine = reach(line.address)
    assert mine is not None

    def leave() -> None:
        line.inbox.get(timeout=10)
        line.close()

    threading.Thread(target=leave, daemon=True).start()
    with pytest.raises((EOFError, OSError)):
        mine.ask({"event": "beat"})
    channel.forget(line.address)
    assert reach(line.address) is not mine


def test_no_address_is_no_line() -> None:
    assert reach(None) is None


def test_the_line_belongs_to_the_process_that_opened_it(line: Channel) -> None:
    mine = reach(line.address)
    assert mine is not None
    assert mine.mine
    mine._owner += 1  # as a fork would see it
    assert not mine.mine
    assert reach(line.address) is not mine
