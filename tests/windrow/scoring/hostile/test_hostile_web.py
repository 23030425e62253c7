"""A hostile web, one case a URL: each gets its row, with the right status, and no refused address is connected to.

Runs where nothing can leave the machine: see conftest.py.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import resource
import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from harness.predictions import PATIENCE, policy
from PIL import Image
from windrow.model.network import Network
from windrow.scoring import pipeline
from windrow.scoring.fetch import urls
from windrow.scoring.fetch.downloads import Downloads
from windrow.scoring.fetch.fetcher import Fetched
from windrow.scoring.fetch.urls import Target
from windrow.scoring.pipeline import ScoringPlan
from windrow.scoring.table.prediction import Prediction, Stamp

from tests.windrow.scoring.conftest import (
    Behaviour,
    answer,
    drip,
    encoded,
    flood,
    grey,
    in_turn,
    png_header,
    redirect,
    reset,
    reset_half_way,
    silence,
)

from .conftest import Addresses, Connects, Host, Web

pytestmark = pytest.mark.tensorflow

GOOD = grey(250)
IMAGE = answer("200 OK", GOOD, "Content-Type: image/png")
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BUSY = "429 Too Many Requests"
POLICY = policy(
    # Generous: only what never ends may miss them, on a busy machine as well.
    timeout_seconds=6,
    connect_seconds=5,
    read_seconds=3,
    max_bytes=2_000_000,
    concurrency=64,
    host_rate=None,
    # This machine's one address stands for the public internet; the rest of loopback for an internal network.
    allow_addresses=(ip_network("127.0.0.1/32"),),
)


@dataclass(frozen=True)
class Case:
    """A host (or more) that behaves in one way, the URL that leads there, and how its row must end."""

    name: str
    status: str
    serve: Behaviour | bytes = IMAGE
    more: Mapping[str, Behaviour | bytes] = field(default_factory=dict)
    addresses: Addresses = ("127.0.0.1",)
    url: str = ""
    asked: int | None = None  # how often the URL itself is asked; None: not looked at
    error: str = ""  # a part of the row's

    @property
    def address(self) -> str:
        return self.url or f"http://{self.name}.test/a.png"

    @property
    def host(self) -> Host:
        return Host(f"{self.name}.test", {"*": self.serve, **self.more}, self.addresses)


def slow_head(connection: Any) -> None:
    for byte in b"HTTP/1.1 200 OK\r\n" + b"X-Slow: yes\r\n" * 1000:
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def endless(beginning: bytes, piece: bytes) -> Behaviour:
    """A beginning, and then a piece for ever, as fast as it is read."""

    def serve(connection: Any) -> None:
        connection.sendall(beginning)
        while True:
            connection.sendall(piece)

    return serve


def body(content: bytes, *headers: str) -> bytes:
    return answer("200 OK", content, "Content-Type: image/jpeg", *headers)


def picture(kind: str, **options: Any) -> bytes:
    noise = Image.effect_noise((64, 48), 80).convert("RGB")
    return encoded(noise, kind, **options)


def in_seconds(seconds: float) -> str:
    """A Retry-After date. Such a date has whole seconds."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


def a_date_soon() -> Behaviour:
    """Busy until a date two seconds after the first request, and cross with who comes before it."""
    due: list[datetime] = []

    def serve(connection: Any) -> None:
        if not due:
            header = in_seconds(2)
            due.append(parsedate_to_datetime(header))
            connection.sendall(answer(BUSY, b"", f"Retry-After: {header}"))
        else:
            connection.sendall(IMAGE if datetime.now(UTC) >= due[0] else answer("403 Too Early"))

    return serve


def jpeg_size(width: int, height: int) -> bytes:
    """A JPEG whose header claims a size."""
    content = bytearray(picture("JPEG"))
    start = next(at for at in range(len(content)) if content[at : at + 2] == b"\xff\xc0")
    content[start + 5 : start + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def gif_size(width: int, height: int) -> bytes:
    content = bytearray(picture("GIF"))
    content[6:10] = struct.pack("<HH", width, height)
    return bytes(content)


def gif_frame(width: int, height: int) -> bytes:
    """A GIF whose frame is larger than the screen that its header tells of."""
    content = bytearray(encoded(Image.new("L", (8, 8), 3), "GIF"))
    start = content.index(b"\x2c\0\0\0\0")
    content[start + 5 : start + 9] = struct.pack("<HH", width, height)
    return bytes(content)


def webp_size(width: int, height: int) -> bytes:
    content = bytearray(picture("WEBP"))
    start = content.index(b"\x9d\x01\x2a")
    content[start + 3 : start + 7] = struct.pack("<HH", width, height)
    return bytes(content)


def exif_garbage() -> bytes:
    plain = picture("JPEG")
    junk = b"Exif\0\0" + b"II*\0\x08\0\0\0\xff\xff" + b"\xde\xad\xbe\xef" * 500
    return plain[:2] + b"\xff\xe1" + struct.pack(">H", len(junk) + 2) + junk + plain[2:]


SLOW = [
    Case("slow-loris", "timeout", drip, error="6 s"),
    Case("slow-head", "timeout", slow_head),
    Case("never-answers", "timeout", silence, error="reading"),
    Case("endless-continue", "timeout", endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)),
]
BODIES = [
    Case("good", "ok", asked=1),
    Case("endless-body", "too_large", flood, error="2,000,000"),
    Case(
        "endless-chunks",
        "too_large",
        endless(CHUNKED, (b"200\r\n" + bytes(512) + b"\r\n") * 100),
    ),
    Case("endless-head", "broken_response", endless(b"HTTP/1.1 200 OK\r\n", b"X-Y: z\r\n" * 1000)),
    Case("huge-length", "too_large", b"HTTP/1.1 200 OK\r\nContent-Length: 5000000000\r\n\r\n", error="5,000,000,000"),
    Case("too-long-length", "broken_response", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + GOOD, asked=3),
    Case("too-short-length", "broken_response", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" + GOOD),
    Case("negative-length", "broken_response", b"HTTP/1.1 200 OK\r\nContent-Length: -9\r\n\r\n" + GOOD),
    Case("two-lengths", "broken_response", body(GOOD, "Content-Length: 3")),
    Case("one-length-twice", "broken_response", body(GOOD, f"Content-Length: {len(GOOD)}")),
    Case("list-of-lengths", "broken_response", body(GOOD).replace(b"-Length: ", b"-Length: %d, " % len(GOOD))),
    Case("gzip-bomb", "not_an_image", body(gzip.compress(bytes(100_000_000)), "Content-Encoding: gzip")),
    Case("garbage-chunks", "broken_response", CHUNKED + b"ZZ\r\nx"),
    Case("huge-chunk", "broken_response", CHUNKED + b"ffffffffffffffffff\r\nx"),
    Case("no-http", "broken_response", b"SSH-2.0-OpenSSH_9.9\r\n"),
    Case("nothing", "broken_response", b""),
    Case("reset", "broken_response", reset),
    Case("reset-half-way", "broken_response", reset_half_way),
    Case("odd-words", "http_error", b"HTTP/1.1 404 \xff\xfe\0\r\nContent-Length: 0\r\n\r\n"),
    Case("odd-code", "broken_response", b"HTTP/1.1 -200 OK\r\nContent-Length: 0\r\n\r\n"),
    Case("odd-tag", "ok", IMAGE.replace(b"Content-Type", b'ETag: "\xff\xfe"\r\nContent-Type')),
    Case("no-content", "not_an_image", answer("204 No Content")),
]
CODES = [
    Case("404", "http_error", answer("404 Not Found"), asked=1),
    Case("410", "http_error", answer("410 Gone"), asked=1),
    Case("451", "http_error", answer("451 Unavailable For Legal Reasons"), asked=1),
    Case("503", "http_unavailable", answer("503 Service Unavailable"), asked=3),
    Case("500-then-200", "ok", in_turn(answer("500 Oops"), IMAGE), asked=2),
    Case("429", "http_unavailable", answer(BUSY), asked=1),
    Case("429-then-200", "ok", in_turn(answer(BUSY, b"", "Retry-After: 1"), IMAGE), asked=2),
    Case("429-long", "http_unavailable", answer(BUSY, b"", "Retry-After: 3600"), asked=1),
    Case("429-tomorrow", "http_unavailable", answer(BUSY, b"", f"Retry-After: {in_seconds(86_400)}"), asked=1),
    Case("429-until-a-date", "ok", a_date_soon(), asked=2),
    Case("503-yesterday", "http_unavailable", answer("503 X", b"", f"Retry-After: {in_seconds(-86_400)}"), asked=3),
    Case("503-for-ever", "http_unavailable", answer("503 X", b"", "Retry-After: " + "9" * 400), asked=1),
    Case("503-whenever", "http_unavailable", answer("503 X", b"", "Retry-After: soon, -1, 0x10"), asked=3),
]

# ruff: noqa: RUF001
# Spellings of addresses off the public internet, with what a feed and a redirect make of each.
INSIDE = {
    "http://169.254.169.254/": "refused_address",
    "http://169.254.169.254./": "refused_address",
    "http://2852039166/": "refused_address",
    "http://0251.0376.0251.0376/": "refused_address",
    "http://0xa9fea9fe/": "refused_address",
    "http://0xa9.254.0251.254/": "refused_address",
    "http://169.254.43518/": "refused_address",
    "http://１６９.２５４.１６９.２５４/": "refused_address",
    "http://169。254。169。254/": "refused_address",
    "http://①⑥⑨.②⑤④.①⑥⑨.②⑤④/": "refused_address",
    "http://[::ffff:169.254.169.254]/": "refused_address",
    "http://[::ffff:a9fe:a9fe]/": "refused_address",
    "http://[0:0:0:0:0:ffff:a9fe:a9fe]/": "refused_address",
    "http://[::a9fe:a9fe]/": "refused_address",
    "http://[::ffff:0:a9fe:a9fe]/": "refused_address",
    "http://[2002:a9fe:a9fe::]/": "refused_address",
    "http://[64:ff9b::a9fe:a9fe]/": "refused_address",
    "http://[64:ff9b::169.254.169.254]/": "refused_address",
    "http://[64:ff9b:1::a9fe:a9fe]/": "refused_address",
    "http://[2001:0:a9fe:a9fe::1]/": "refused_address",
    "http://[2600::5efe:a9fe:a9fe]/": "refused_address",
    "http://[fd00:ec2::254]/": "refused_address",
    "http://[fe80::a9fe:a9fe%25lo]/": "invalid_url",
    "http://127.0.0.2/": "refused_address",
    "http://2130706434/": "refused_address",
    "http://0177.0.0.2/": "refused_address",
    "http://0x7f.2/": "refused_address",
    "http://127.2/": "refused_address",
    "http://0/": "refused_address",
    "http://0x/": "refused_address",
    "http://%31%32%37.%30x2/": "refused_address",
    "http://%31%30.0x5/": "refused_address",
    "http://167772165/": "refused_address",
    "http://%EF%BC%91%EF%BC%90%EF%BC%8E5/": "refused_address",
    "http://0xA9FEA9FE.:080/": "refused_address",
    "http://@169.254.43518\\/": "refused_address",
    "http://000000177.0.0x0.00002/": "refused_address",
    "http:///169.254.169.254/": "refused_address",
    "http:\\\\127.0.0.2\\": "refused_address",
    "https:/10.0.0.5/": "refused_address",
    "https:169.254.169.254/": "refused_address",
    "https:/good.test@169.254.169.254/": "refused_credentials",
    "http://127.0.0.0402/": "invalid_url",
    "http://[::1]0/": "invalid_url",
    "http://0.0.0.0/": "refused_address",
    "http://[::1]/": "refused_address",
    "http://[::]/": "refused_address",
    "http://[::ffff:127.0.0.2]/": "refused_address",
    "http://[::127.0.0.2]/": "refused_address",
    "http://[2002:7f00:2::]/": "refused_address",
    "http://[64:ff9b::127.0.0.2]/": "refused_address",
    "http://10.0.0.5/": "refused_address",
    "http://224.0.0.1/": "refused_address",
    "http://255.255.255.255/": "refused_address",
    "http://169.254.169.254:80@good.test/": "refused_credentials",
    "http://good.test@169.254.169.254/": "refused_credentials",
    "http://good.test\\@169.254.169.254/": "refused_credentials",
    "file:///etc/passwd": "refused_scheme",
    "ftp://good.test/a.png": "refused_scheme",
    "s3://bucket/a.png": "refused_scheme",
    "data:image/png;base64,iVBORw0KGgo=": "refused_scheme",
    "javascript:alert(1)": "refused_scheme",
    "gopher://127.0.0.1:25/_MAIL": "refused_scheme",
}


def location(url: str) -> bytes:
    """A redirect whose bytes are UTF-8, as servers send them."""
    return b"HTTP/1.1 302 Found\r\nConnection: close\r\nContent-Length: 0\r\nLocation: " + url.encode() + b"\r\n\r\n"


REDIRECTS = [
    Case("relative", "ok", redirect("../b.png"), {"/b.png": IMAGE}),
    Case("to-another-host", "ok", redirect("http://good.test/b.png")),
    Case("loop", "too_many_redirects", redirect("/a.png"), asked=6),
    Case("ping", "too_many_redirects", redirect("http://pong.test/"), {}),
    Case("pong", "too_many_redirects", redirect("http://ping.test/"), {}),
    Case("to-nowhere", "http_error", answer("302 Found")),
    Case("to-garbage", "invalid_url", location("http://[::1/")),
    Case("to-odd-bytes", "ok", location("/b.png?").replace(b"?", b"?\xff\xfe"), {"/b.png?%FF%FE": IMAGE}),
    Case("to-port-70000", "invalid_url", location("http://good.test:70000/")),
    Case("to-longer-than-a-head", "broken_response", location("http://good.test/" + "x" * 100_000)),
    *(Case(f"inside-{number}", status, location(url)) for number, (url, status) in enumerate(INSIDE.items())),
]
# The number keeps several spellings of one URL apart.
DIRECT = [Case(f"direct-{number}", status, url=f"{url}{number}") for number, (url, status) in enumerate(INSIDE.items())]
NAMES = [
    Case("private", "refused_address", addresses=("10.0.0.5",)),
    Case("metadata", "refused_address", addresses=("169.254.169.254",)),
    Case("private6", "refused_address", addresses=("fd00::5",)),
    Case("mapped", "refused_address", addresses=("::ffff:169.254.169.254",)),
    Case("nat64", "refused_address", addresses=("64:ff9b::a9fe:a9fe",)),
    Case("all-private", "refused_address", addresses=("10.0.0.5", "192.168.0.5", "fd00::5")),
    Case("half-private", "ok", addresses=("127.0.0.1", "10.0.0.5")),
    # A first look-up that pleases, and others that do not; another port is another look-up.
    Case(
        "changing",
        "refused_address",
        redirect("http://changing.test:81/a.png"),
        addresses=lambda before: ("10.0.0.5",) if before else ("127.0.0.1",),
    ),
    Case("to-private-name", "refused_address", redirect("http://private.test/")),
    Case("no-address", "unresolved_host", addresses=()),
    Case("no-such", "unresolved_host", url="http://no-such-name.test/"),
    Case("silent-name", "unresolved_host", addresses=None),
    Case("closed-port", "connect_failed", url="http://good.test:82/a.png"),
]
TLS = [
    Case("tls", "ok", url="https://tls.test/a.png"),
    Case("wrong-name", "connect_failed", url="https://wrong-name.test/a.png", error="ertificate"),
    Case("expired", "connect_failed", url="https://expired.test/a.png", error="ertificate"),
    Case("self-signed", "connect_failed", url="https://self-signed.test/a.png", error="ertificate"),
    Case("no-tls", "connect_failed", url="https://no-tls.test:80/a.png"),
    Case("to-wrong-name", "connect_failed", redirect("https://wrong-name.test/a.png")),
]
FILES = [
    Case("html", "not_an_image", body(b"<!DOCTYPE html><title>404</title>")),
    Case("zero-bytes", "not_an_image", body(b"")),
    Case("one-byte", "not_an_image", body(b"\xff")),
    Case(
        "svg-bomb",
        "not_an_image",
        body(b'<!DOCTYPE x [<!ENTITY a "&a;&a;">]><svg xmlns="http://www.w3.org/2000/svg"/>'),
    ),
    Case("pdf", "not_an_image", body(b"%PDF-1.7\n" + picture("JPEG"))),
    Case("png-bomb", "image_too_large", body(png_header(60_000, 60_000))),
    Case("png-2-billion", "image_too_large", body(png_header(2**31 - 1, 1))),
    Case("jpeg-bomb", "image_too_large", body(jpeg_size(65_535, 65_535))),
    Case("gif-bomb", "image_too_large", body(gif_size(65_535, 65_535))),
    Case("gif-frame-bomb", "image_too_large", body(gif_frame(65_535, 65_535))),
    Case("webp-bomb", "image_too_large", body(webp_size(16_383, 16_383))),
    Case("jpeg-65535-wide", "broken_image", body(jpeg_size(65_535, 1)[:-400])),
    Case("png-65535-wide", "ok", body(encoded(Image.new("L", (65_535, 1), 250)))),
    Case("jpeg-cut", "broken_image", body(picture("JPEG")[:-500])),
    Case("png-cut", "broken_image", body(picture("PNG")[:-500])),
    Case("gif-cut", "broken_image", body(picture("GIF")[:-1500])),
    Case("webp-cut", "broken_image", body(picture("WEBP")[:-500])),
    Case("exif-garbage", "ok", body(exif_garbage())),
    Case("jpeg-and-zip", "ok", body(picture("JPEG") + b"PK\x05\x06" + bytes(18))),
    Case("gif-and-script", "not_an_image", body(b"GIF89a/*" + bytes(20) + b"*/=1;alert(1)//")),
    Case("png-and-html", "ok", body(GOOD + b"<script>alert(1)</script>")),
]
WRITTEN = [
    Case("long", "ok", url=f"http://long.test/{'x' * 8000}"),
    Case("too-long", "invalid_url", url=f"http://too-long.test/{'x' * 8200}"),
    Case("xn--bcher-kva", "ok", url="http://bücher.test/ä.png"),
    Case("percent", "ok", url="http://percent.test/%7Ea%2fb.png", serve=answer("404 X"), more={"/~a%2Fb.png": IMAGE}),
    Case("space", "ok", url="http://space.test/a b.png", serve=answer("404 X"), more={"/a%20b.png": IMAGE}),
    Case("fragment", "ok", url="http://fragment.test/a.png#here", serve=answer("404 X"), more={"/a.png": IMAGE}),
    Case("hyphens--", "ok"),
    Case("_under_scores_", "ok"),
    Case("escaped", "ok", url="http://esc%61ped%2Etest/a.png"),
    Case("xn--strae-oqa", "ok", url="http://Straße.test/a.png"),
    Case("backslash", "ok", url="http://backslash.test\\a.png"),
    Case("slashes", "ok", url="http:\\\\slashes.test\\a.png"),
    Case("one-slash", "ok", url="http:/one-slash.test/a.png"),
    Case("to-three-slashes", "ok", redirect("http:///good.test/b.png")),
    Case("to-backslashes", "ok", redirect("\\\\good.test/b.png")),
    Case("a,b", "unresolved_host"),  # glibc does not take the answer
    Case("zeros", "ok", url="http://@zeros.test:000080/a.png"),
    Case("shouting", "ok", url="HTTP://SHOUTING.test.:80/a.png"),
]
RULES = [
    Case("disallowed", "refused_robots", more={"/robots.txt": body(b"User-agent: *\nDisallow: /")}, asked=0),
    Case("disallowed-us", "refused_robots", more={"/robots.txt": body(b"User-agent: windrow\nDisallow: /*.png$")}),
    Case("disallowed-others", "ok", more={"/robots.txt": body(b"User-agent: wind\nDisallow: /")}),
    Case("to-disallowed", "refused_robots", redirect("http://disallowed.test/b.png")),
    Case("rules-403", "ok", more={"/robots.txt": answer("403 Forbidden")}),
    Case("rules-503", "robots_unavailable", more={"/robots.txt": answer("503 X")}, asked=0),
    Case("rules-never", "timeout", more={"/robots.txt": silence}, asked=0),
    Case("rules-broken", "robots_unavailable", more={"/robots.txt": reset}, asked=0),
    Case("rules-elsewhere", "refused_robots", more={"/robots.txt": redirect("http://disallowed.test/robots.txt")}),
    Case("rules-inside", "robots_unavailable", more={"/robots.txt": redirect("http://169.254.169.254/")}, asked=0),
    Case("rules-loop", "ok", more={"/robots.txt": redirect("/robots.txt")}),
    Case("rules-endless", "ok", more={"/robots.txt": endless(b"HTTP/1.1 200 OK\r\n\r\n", b"Allow: /\n" * 1000)}),
    Case("rules-noise", "ok", more={"/robots.txt": body(bytes(range(256)) * 100)}),
    Case(
        "rules-agents",
        "ok",
        more={"/robots.txt": body(b"".join(b"User-agent: bot%d\n" % number for number in range(30_000)))},
    ),
    Case("tagged", "refused_robots", body(GOOD, "X-Robots-Tag: noimageai, nofollow"), error="noimageai"),
    Case("tagged-for-us", "refused_robots", body(GOOD, "X-Robots-Tag: Windrow: noai")),
    Case("tagged-for-others", "ok", body(GOOD, "X-Robots-Tag: googlebot: noindex, noai")),
]
CASES = [*SLOW, *BODIES, *CODES, *REDIRECTS, *DIRECT, *NAMES, *TLS, *FILES, *WRITTEN, *RULES]


def hosts() -> list[Host]:
    return [case.host for case in CASES] + [Host("no-tls.test")]


def target(case: Case) -> Target:
    understood = urls.understand(case.address.encode("utf-8", "surrogateescape"))
    assert understood is not None
    return understood


def memory() -> float:
    """The most that this process ever had resident, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@dataclass(frozen=True)
class Pass:
    """What a pass over all cases gave: rows by case, how often each was asked, and the memory that it took."""

    rows: Mapping[str, Prediction]
    asked: Mapping[str, int]
    mebibytes: float


@pytest.fixture(scope="module")
def serving(certificates: Path) -> Iterator[Web]:
    process = Web(lambda: [*hosts(), *MORE], certificates)
    yield process
    process.close()


@pytest.fixture
def web(serving: Web) -> Web:
    return serving.fresh()


@pytest.fixture(scope="module")
def done(serving: Web, brightness: Path, connects: Connects) -> Pass:
    digest = hashlib.sha256(brightness.read_bytes()).hexdigest()
    plan = ScoringPlan(
        model=Network("brightness", "1", brightness, digest, (8, 8, 1), ("dark", "middle", "bright")),
        stamp=Stamp("run", "brightness", "1", digest),
        fetch=POLICY,
        top_k=1,
        batch_size=8,
        max_pixels=1_000_000,
        patience=PATIENCE,
    )
    list(pipeline.predictions([], plan))
    pipeline.network(plan)  # TensorFlow's own memory is not the web's
    names = {target(case).url_key: case.name for case in CASES}
    serving.fresh()
    before = memory()
    rows = list(pipeline.predictions((target(case) for case in CASES), plan))
    assert len(rows) == len(CASES)
    return Pass({names[row.url_key]: row for row in rows}, serving.asked(), memory() - before)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_url_gets_its_row_and_its_status(done: Pass, case: Case) -> None:
    row = done.rows[case.name]
    assert row.status == case.status, row.error
    assert (row.error is None) == (case.status == "ok")
    assert case.error in (row.error or "")
    assert row.label == "bright" if case.serve is IMAGE and case.status == "ok" else True
    if case.asked is not None:
        assert done.asked.get(f"{case.name}.test/a.png", 0) == case.asked


REFUSED = r"an address must (be on the public internet or in scoring\.allow_addresses|not lead to .*); got [0-9a-f.:]+"


def test_the_reason_of_a_refused_address_comes_first_and_is_not_its_robots_txt(done: Pass) -> None:
    reasons = [row.error or "" for row in done.rows.values() if row.status == "refused_address"]
    assert len(reasons) > 80
    assert [each for each in reasons if not re.match(REFUSED, each) or "robots" in each] == []
    assert re.fullmatch(f"{REFUSED}; .*/robots.txt, which is read first, .*", done.rows["rules-inside"].error or "")


def test_the_cases_are_as_many_as_they_seem() -> None:
    assert len({case.name for case in CASES}) == len({target(case).url_key for case in CASES}) == len(CASES) >= 40


@pytest.mark.usefixtures("done")
def test_nothing_was_connected_to_but_the_one_address_that_is_allowed(connects: Connects) -> None:
    assert set(connects.addresses) == {"127.0.0.1"}


def test_the_pass_takes_little_memory(done: Pass) -> None:
    assert done.mebibytes < 300


def test_rows_with_strange_words_fit_the_table(done: Pass) -> None:
    from windrow.scoring.table import prediction

    batch = prediction.record_batch(list(done.rows.values()), PATIENCE)
    assert batch.num_rows == len(CASES)


def fetch_all(lines: list[str], **changes: Any) -> dict[str, Fetched]:
    understood = [urls.understand(line.encode()) for line in lines]
    with Downloads(replace(POLICY, **changes)) as downloads:
        pairs = list(downloads.stream(each for each in understood if each is not None))
    return {one.url: fetched for one, fetched in pairs if fetched is not None}


MORE = [
    Host("delay.test", {"*": IMAGE, "/robots.txt": body(b"User-agent: *\nCrawl-delay: 86400")}),
    Host("briefly.test", {"*": IMAGE, "/robots.txt": body(b"User-agent: *\nCrawl-delay: 0.5")}),
    Host("big.test", {"*": endless(b"HTTP/1.1 200 OK\r\n\r\n", bytes(65_536))}),
]


@pytest.mark.usefixtures("web")
@pytest.mark.parametrize(
    ("name", "seconds"), [("429-long", 3600), ("429-tomorrow", 86_400), ("503-for-ever", 30 * 86_400)]
)
def test_a_long_wait_becomes_the_next_attempt_for_the_whole_host(name: str, seconds: int) -> None:
    fetched = fetch_all([f"http://{name}.test/a.png", f"http://{name}.test/b.png"], host_concurrency=1)
    statuses = [each.status.value for each in fetched.values()]
    assert statuses == ["http_unavailable", "host_unavailable"]
    due = datetime.now(UTC) + timedelta(seconds=seconds)
    # The date was made when this file was read.
    assert all(abs((each.next_attempt or due) - due) < timedelta(seconds=200) for each in fetched.values())
    assert None not in [each.next_attempt for each in fetched.values()]


def test_a_crawl_delay_longer_than_patience_lets_one_url_through_a_run(web: Web) -> None:
    fetched = fetch_all([f"http://delay.test/{number}.png" for number in range(5)])
    assert sorted(each.status.value for each in fetched.values()) == ["host_unavailable"] * 4 + ["ok"]
    assert sum(web.asked().values()) == 2
    assert all(each.next_attempt for each in fetched.values() if each.status == "host_unavailable")


@pytest.mark.usefixtures("web")
def test_a_crawl_delay_does_not_count_as_the_urls_time() -> None:
    # Eight turns, half a second apart, take longer than the deadline of each.
    fetched = fetch_all([f"http://briefly.test/{number}.png" for number in range(8)], timeout_seconds=2)
    assert {each.status.value for each in fetched.values()} == {"ok"}


def test_a_dead_host_is_given_up_and_costs_no_deadline_a_url(web: Web) -> None:
    lines = [f"http://never-answers.test/{number}" for number in range(200)]
    fetched = fetch_all(lines, timeout_seconds=0.5)
    statuses = [each.status.value for each in fetched.values()]
    assert len(statuses) == 200
    assert 10 <= statuses.count("timeout") <= 10 + POLICY.host_concurrency
    assert statuses.count("host_unavailable") == 200 - statuses.count("timeout")
    assert sum(web.asked().values()) - web.asked()["never-answers.test/robots.txt"] == statuses.count("timeout")


@pytest.mark.usefixtures("web")
def test_a_slow_host_keeps_no_other_waiting() -> None:
    lines = [f"http://slow-loris.test/{number}" for number in range(300)]
    lines += [f"http://good.test/{number}.png" for number in range(300)]
    understood = [urls.understand(line.encode()) for line in lines]
    ended = []
    with Downloads(replace(POLICY, concurrency=8, timeout_seconds=2)) as downloads:
        for one, _ in downloads.stream(each for each in understood if each is not None):
            ended.append(one.url)
    good = [place for place, url in enumerate(ended) if "good" in url]
    assert len(ended) == 600
    assert good[-1] < 320


@pytest.mark.usefixtures("web")
def test_many_endless_bodies_at_once_are_held_within_bounds() -> None:
    before = memory()
    lines = [f"http://big.test/{number}" for number in range(100)]
    fetched = fetch_all(lines, max_bytes=20_000_000, host_concurrency=64, timeout_seconds=20, read_seconds=20)
    assert {each.status.value for each in fetched.values()} == {"too_large"}
    # Without bounds 64 times 20 MB.
    assert memory() - before < 500
