"""A mail server that says yes to everything, and keeps what it gets. Loopback only."""

from __future__ import annotations

import email
import email.policy
import socketserver
import threading
from email.message import EmailMessage
from typing import Self


class PostOffice:
    """A server on a free port, from entering to leaving.

    Attributes:
        mails: (recipients, message) of each, in the order in which they came.
        port: where it listens on 127.0.0.1.
    """

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], EmailMessage]] = []
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _counter(self.mails))
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _counter(mails: list[tuple[list[str], EmailMessage]]) -> type[socketserver.StreamRequestHandler]:
    class Counter(socketserver.StreamRequestHandler):
        def answer(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

        def handle(self) -> None:
            recipients: list[str] = []
            self.answer("220 office")
            for line in self.rfile:
                word = line.strip().upper()
                if word.startswith(b"RCPT TO"):
                    recipients.append(line.decode().split("<")[1].split(">")[0])
                if word == b"DATA":
                    self.answer("354 go on")
                    lines = iter(self.rfile.readline, b".\r\n")
                    mails.append((recipients, email.message_from_bytes(b"".join(lines), policy=email.policy.default)))
                self.answer("221 bye" if word == b"QUIT" else "250 yes")

    return Counter
