"""A web of hosts that misbehave: their web server, and the name server that knows them. For a namespace of their own.

Everything here listens on 127.0.0.1 at the ports that URLs have where they name none, and names are looked up by the
system: harness.alone makes the place where that is so.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import shutil
import socket
import ssl
import struct
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from harness import alone

from tests.windrow.scoring.conftest import Behaviour, answer

NOT_FOUND = answer("404 Not Found", b"no")
# What a name resolves to: addresses, or a function of how often it was asked before; None is no answer at all.
Addresses = tuple[str, ...] | Callable[[int], tuple[str, ...]] | None


@dataclass(frozen=True)
class Host:
    """A host by its name: what it serves by path ("*" for any path), and where its name leads."""

    name: str
    serve: Mapping[str, Behaviour | bytes] = field(default_factory=dict)
    addresses: Addresses = ("127.0.0.1",)


class WebServer:
    """Serves hosts on 127.0.0.1, ports 80, 81 and 443."""

    def __init__(self, certificates: Path) -> None:
        self._certificates = certificates
        for port in (80, 81, 443):
            listener = socket.create_server(("127.0.0.1", port), backlog=256)
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def know(self, hosts: list[Host]) -> None:
        """Serve these hosts, of whom none was asked yet."""
        self._hosts = {host.name: host for host in hosts}
        self.asked: Counter[str] = Counter()  # by "host/path"

    def _accept(self, listener: socket.socket) -> None:
        secure = listener.getsockname()[1] == 443
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=self._serve, args=(connection, secure), daemon=True).start()

    def _serve(self, connection: socket.socket, secure: bool) -> None:
        with contextlib.suppress(OSError), contextlib.closing(connection):
            connection = self._tls(connection) if secure else connection
            head = b""
            while b"\r\n\r\n" not in head:
                piece = connection.recv(65_536)
                if not piece:
                    return
                head += piece
                if head.startswith(b"\x16"):
                    raise ConnectionError("TLS where none is spoken")
            path = head.split(b" ")[1].decode("latin-1")
            name = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"host:"))[5:].strip()
            name = name.decode().partition(":")[0]
            self.asked[name + path] += 1
            serve = self._hosts[name].serve if name in self._hosts else {}
            behaviour = serve.get(path) or (NOT_FOUND if path == "/robots.txt" else serve.get("*", NOT_FOUND))
            if callable(behaviour):
                behaviour(connection)
            else:
                connection.sendall(behaviour)

    def _tls(self, connection: socket.socket) -> socket.socket:
        """The certificate is the one of the name that the client sends, or else the one for tls.test."""
        context = self._context("tls.test")

        def choose(given: ssl.SSLObject, name: str, _: ssl.SSLContext) -> None:
            if (self._certificates / f"{name}.pem").exists():
                given.context = self._context(name)

        context.sni_callback = choose  # type: ignore[assignment]
        return context.wrap_socket(connection, server_side=True)

    def _context(self, name: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._certificates / f"{name}.pem")
        return context


class NameServer:
    """Knows the hosts' addresses, on 127.0.0.1, port 53."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 53))
        threading.Thread(target=self._answer, daemon=True).start()

    def know(self, hosts: list[Host]) -> None:
        """Know these hosts, of whom none was asked for yet."""
        self._hosts = {host.name: host for host in hosts}
        self.asked: Counter[str] = Counter()  # by "name kind", where that decides the answer

    def _answer(self) -> None:
        while True:
            query, client = self._socket.recvfrom(512)
            if reply := self._reply(query):
                self._socket.sendto(reply, client)

    def _reply(self, query: bytes) -> bytes | None:
        """A DNS answer to one question (RFC 1035), with a time to live of none."""
        end = query.index(b"\0", 12)
        name, labels = "", query[12:end]
        while labels:
            size = labels[0]
            name, labels = f"{name}.{labels[1 : size + 1].decode().lower()}", labels[size + 1 :]
        kind = struct.unpack(">H", query[end + 1 : end + 3])[0]
        addresses = self._addresses(name[1:], kind)
        if addresses is None:
            return None
        family = {1: 4, 28: 6}.get(kind)
        packed = [ip_address(each).packed for each in addresses if ip_address(each).version == family]
        code = 0 if name[1:] in self._hosts else 3
        records = b"".join(struct.pack(">HHHIH", 0xC00C, kind, 1, 0, len(each)) + each for each in packed)
        return query[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(packed), 0, 0) + query[12 : end + 5] + records

    def _addresses(self, name: str, kind: int) -> tuple[str, ...] | None:
        addresses = self._hosts[name].addresses if name in self._hosts else ()
        if callable(addresses):
            before = self.asked[f"{name} {kind}"]
            self.asked[f"{name} {kind}"] += 1
            return addresses(before)
        return addresses


class ServerProcess:
    """A server in a process of its own, so that floods take none of the time of others.

    Args:
        make: the server.
        hosts: what it is to know, anew each time: some hosts remember what they were asked.
    """

    def __init__(self, make: Callable[[], WebServer | NameServer], hosts: Callable[[], list[Host]]) -> None:
        # Only a fork takes behaviours along. To be made before anything starts threads.
        context = multiprocessing.get_context("fork")
        self._line, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(make, hosts, theirs), daemon=True)
        self._process.start()

    def fresh(self) -> None:
        """Serve as if nothing had been asked yet."""
        self.asked(fresh=True)

    def asked(self, *, fresh: bool = False) -> Counter[str]:
        """How often what was asked."""
        self._line.send(fresh)
        return Counter(self._line.recv())

    def close(self) -> None:
        self._process.kill()
        self._process.join()


def _serve(make: Callable[[], WebServer | NameServer], hosts: Callable[[], list[Host]], line: Connection) -> None:
    server = make()
    while True:
        if line.recv():
            server.know(hosts())
        line.send(dict(server.asked))


class Web:
    """The hosts' web server and name server."""

    def __init__(self, hosts: Callable[[], list[Host]], certificates: Path) -> None:
        self._server = ServerProcess(lambda: WebServer(certificates), hosts)
        self._names = ServerProcess(NameServer, hosts)
        self.asked = self._server.asked  # by "host/path"

    def fresh(self) -> Web:
        self._server.fresh()
        self._names.fresh()
        return self

    def close(self) -> None:
        self._server.close()
        self._names.close()


@dataclass
class Connects:
    """Every address that this process has connected to, or tried to."""

    addresses: list[str] = field(default_factory=list)

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit hook: it hears of each connect before it happens, whoever makes it."""
        if event == "socket.connect" and isinstance(arguments[1], tuple):
            self.addresses.append(str(arguments[1][0]))
            if not ip_address(arguments[1][0]).is_loopback:
                raise ConnectionRefusedError(111, f"tests may not connect to {arguments[1][0]}")


@pytest.fixture(scope="session")
def connects() -> Connects:
    """What was connected to, since the first test that wants to know. Takes the place of the outer fixture."""
    seen = Connects()
    sys.addaudithook(seen.see)
    return seen


def make_certificates(folder: Path) -> None:
    """authority.pem, and beside it a NAME.pem a host: right, of another name, expired, and signed by nobody."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    def sign(name: str, file: str, days: int, by: tuple[x509.Name, ec.EllipticCurvePrivateKey] | None) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer, signer = by or (subject, key)
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=400))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .sign(signer, hashes.SHA256())
        )
        form = serialization.Encoding.PEM
        private = key.private_bytes(form, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (folder / file).write_bytes(private + certificate.public_bytes(form))

    root = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
    now = datetime.now(UTC)
    authority = (
        x509.CertificateBuilder(name, name, root.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=400))
        .not_valid_after(now + timedelta(days=400))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(root, hashes.SHA256())
    )
    (folder / "authority.pem").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    sign("tls.test", "tls.test.pem", 10, (name, root))
    sign("other.test", "wrong-name.test.pem", 10, (name, root))
    sign("expired.test", "expired.test.pem", -10, (name, root))
    sign("self-signed.test", "self-signed.test.pem", 10, None)


@pytest.fixture(scope="session")
def certificates() -> Path:
    """The folder of certificates; what is signed there is trusted by this process."""
    return Path(os.environ["SSL_CERT_FILE"]).parent


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Every test here runs where nothing can leave the machine."""
    if Path(__file__).parent not in module_path.parents:
        return None
    if alone.is_inside():  # before anything imports aiohttp, which reads the variable then
        folder = Path(tempfile.mkdtemp(prefix="windrow-certificates-"))
        atexit.register(shutil.rmtree, folder)
        make_certificates(folder)
        os.environ["SSL_CERT_FILE"] = str(folder / "authority.pem")
    return alone.collect(module_path, parent)
