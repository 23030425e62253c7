"""A web server with routes and counters, and a line to another server that can be cut. Loopback only.

with Web({"/a.png": Reply(body=png)}) as web:
    fetch(f"{web.address}/a.png")
    assert web.paths == ["/a.png"]
"""

from __future__ import annotations

import http.client
import json
import mimetypes
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

_POLL_SECONDS = 0.02  # how soon a server that is asked to stop does


@dataclass(frozen=True)
class Request:
    """What was asked: `path` is without the query, `target` with it."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


@dataclass(frozen=True)
class Reply:
    """What is answered. The length is sent unless `hides_length`; a body in pieces is sent one after another."""

    status: int = 200
    body: bytes | Iterable[bytes] = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    hides_length: bool = False


Answer = Reply | bytes | int | Callable[[Request], "Reply | bytes | int"]
"""A reply, a body for 200, a status without a body, or a function that gives one of them."""


class _Serving:
    """Serves from entering to leaving, on a free port of this machine."""

    def __init__(self, answer: Callable[[Request], Reply | None]) -> None:
        self._server = _Server(("127.0.0.1", 0), _handler(answer))
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(_POLL_SECONDS,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class Web(_Serving):
    """A server on a free port, from entering to leaving. A path without a route is a 404, also /robots.txt.

    Attributes:
        routes: answers by path; may be changed while the server runs.
        otherwise: the answer to a path without a route.
        requests: everything that was asked, in order.
    """

    def __init__(self, routes: Mapping[str, Answer] | None = None, otherwise: Answer = 404) -> None:
        self.routes: dict[str, Answer] = dict(routes or {})
        self.otherwise = otherwise
        self.requests: list[Request] = []
        super().__init__(self._answer)

    @property
    def paths(self) -> list[str]:
        """The paths that were asked, in order, without /robots.txt."""
        return [request.path for request in self.requests if request.path != "/robots.txt"]

    @property
    def counts(self) -> Counter[str]:
        """How often each path was asked, /robots.txt included."""
        return Counter(request.path for request in self.requests)

    def serve(self, folder: Path) -> None:
        """Answer paths without a route by the files of a folder."""

        def file(request: Request) -> Reply:
            path = (folder / unquote(request.path).lstrip("/")).resolve()
            if not path.is_relative_to(folder.resolve()) or not path.is_file():
                return Reply(404)
            kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            return Reply(body=path.read_bytes(), headers={"Content-Type": kind})

        self.otherwise = file

    def _answer(self, request: Request) -> Reply:
        self.requests.append(request)
        answer = self.routes.get(request.path, self.otherwise)
        found = answer(request) if callable(answer) else answer
        if isinstance(found, int):
            return Reply(found)
        return Reply(body=found) if isinstance(found, bytes) else found


class WebHook(Web):
    """A chat's web hook.

    Attributes:
        url: its address, with a secret in the path.
    """

    def __init__(self) -> None:
        super().__init__({"/services/secret": 200})
        self.url = f"{self.address}/services/secret"

    @property
    def posts(self) -> list[dict[str, Any]]:
        """The JSON that was posted there, in order."""
        return [json.loads(request.body) for request in self.requests if request.path == "/services/secret"]


class Line(_Serving):
    """A way to an HTTP server that can be cut: at once, or at a request that `cut_at` names.

    Attributes:
        cut_at: method, end of the path, and a word of the body; the first such request cuts the line.
        is_cut: whether requests are dropped instead of passed on.
    """

    def __init__(self, server: str) -> None:
        self.cut_at: tuple[str, str, str] | None = None
        self.is_cut = False
        self._there = urlsplit(server)
        super().__init__(self._pass_on)

    def cut(self) -> None:
        """Drop every request from now on."""
        self.is_cut = True

    def repair(self) -> None:
        """Pass requests on again."""
        self.cut_at, self.is_cut = None, False

    def _pass_on(self, request: Request) -> Reply | None:
        if self.cut_at is not None:
            method, end, word = self.cut_at
            hit = request.method == method and request.path.endswith(end) and word.encode() in request.body
            self.is_cut = self.is_cut or hit
        if self.is_cut:
            return None
        onward = http.client.HTTPConnection(self._there.hostname or "", self._there.port, timeout=60)
        try:
            headers = {key: value for key, value in request.headers.items() if key.lower() != "host"}
            onward.request(request.method, request.target, request.body, {**headers, "Host": self._there.netloc})
            answer = onward.getresponse()
            own = ("transfer-encoding", "content-length", "connection")
            kept = {key: value for key, value in answer.getheaders() if key.lower() not in own}
            return Reply(answer.status, answer.read(), kept)
        finally:
            onward.close()


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # the five of the standard library refuse a burst

    def handle_error(self, *_: Any) -> None:
        """Nothing on the test's output: clients that go away are part of many tests."""


def _handler(answer: Callable[[Request], Reply | None]) -> type[BaseHTTPRequestHandler]:
    """A handler that sends what `answer` gives; None closes the connection without a word."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            reply = answer(Request(self.command, self.path, dict(self.headers.items()), body))
            if reply is None:
                self.close_connection = True
                return
            whole = isinstance(reply.body, bytes) and not reply.hides_length
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if whole and not any(name.lower() == "content-length" for name in reply.headers):
                self.send_header("Content-Length", str(len(reply.body)))  # type: ignore[arg-type]
            if not whole:
                self.send_header("Connection", "close")
                self.close_connection = True
            self.end_headers()
            if self.command != "HEAD":
                for piece in [reply.body] if isinstance(reply.body, bytes) else reply.body:
                    self.wfile.write(piece)
                    self.wfile.flush()

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815  as http.server names them

        def log_message(self, *_: object) -> None:
            """Nothing on the test's output."""

    return Handler
