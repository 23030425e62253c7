"""docs/limits.md: each limit of its table is what the reader takes, and the reader takes no more."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from harness import predictions
from harness.documents import text_of
from PIL import Image
from windrow import channel, text_files
from windrow.data import decode, download, published
from windrow.data.image_files import gif_file, jpeg_file, orientation, png_file, webp_file
from windrow.errors import PageError, UserError
from windrow.experiment import ScoringSection, constraints, reading
from windrow.model.backbones import bringing, first_run
from windrow.scoring.feed import arrow_json, carried, csv_dialects, csv_records, feed_reports, file_bytes, parquet_rows
from windrow.scoring.fetch import fetcher, host_names, http_client, politeness, reasons, robots, urls
from windrow.scoring.fetch.fetcher import Fetched, Fetcher
from windrow.scoring.fetch.status import Status
from windrow.scoring.network import labels, own_network, pixels, unpacking

from tests.docs import limits_of_feeds as feeds
from tests.docs import limits_of_images as images
from tests.windrow.scoring.conftest import LOOPBACK, HostileServer, answer, encoded, png_header, redirect

PAGE = b"name: digits\n"


@dataclass(frozen=True)
class Limit:
    """A row of the table.

    Attributes:
        value: the constant in the code.
        takes: whether the reader takes an input of this size.
        step: what is beyond the limit; more than one where packets decide.
    """

    value: float
    takes: Callable[[int], bool]
    step: int = 1


def fetched(answers: dict[str, Callable[[Any], None] | bytes], **policy: Any) -> Fetched:
    """The outcome of fetching /0 from a server with these answers."""
    server = HostileServer()
    for path, behaviour in answers.items():
        server.on(path, behaviour)
    usual = {"timeout_seconds": 30.0, "host_rate": None, "robots": False, "allow_addresses": LOOPBACK}

    async def ask() -> Fetched:
        async with Fetcher(predictions.policy(**{**usual, **policy})) as one:
            return await one.fetch(server.url("/0"))

    try:
        return asyncio.run(ask())
    finally:
        server.close()


def is_url(text: str) -> bool:
    target = urls.understand(text.encode())
    return target is not None and target.address is not None


def is_host(host: str) -> bool:
    return is_url(f"http://{host}/a.png")


def head(size: int) -> bytes:
    """An answer whose status line and headers have so many bytes, in headers of all lengths."""
    lines = [b"HTTP/1.1 200 OK", b"Content-Length: 2", *(b"X-%d: y" % number for number in range(500))]
    left = size - len(b"\r\n".join([*lines, b"", b""])) - len(b"L: \r\n")
    return b"\r\n".join([*lines, b"L: " + b"x" * left, b"", b"ok"])


def trailers(size: int) -> bytes:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nok\r\n0\r\n"
    return chunked + b"X-Y: z\r\n" * (size // 8) + b"\r\n"


def is_jpeg_of_scans(count: int) -> bool:
    """Whether a progressive JPEG with so many scans is decoded."""
    plain = encoded(Image.new("L", (16, 16), 128), "JPEG", progressive=True)
    last = plain[plain.rindex(b"\xff\xda") : -2]
    content = plain[:-2] + last * (count - plain.count(b"\xff\xda")) + plain[-2:]
    return pixels.decode(content, (8, 8, 1), 1000).status is Status.OK


def rules(size: int) -> bool:
    """Whether the last byte of a robots.txt counts: without it, the rule would forbid more."""
    rule = b"User-agent: *\nDisallow: /ab"
    return robots.Rules(b"#" * (size - len(rule) - 1) + b"\n" + rule).allow("http://a.example/ac")


def patterns(count: int) -> bool:
    """Whether the last pattern counts as it stands: without its wildcard, it would forbid more."""
    lines = ["User-agent: *", *(f"Disallow: /{number}*x" for number in range(count - 1)), "Disallow: /z*y"]
    return robots.Rules("\n".join(lines).encode()).allow("http://a.example/z")


def pause(seconds: int) -> bool:
    wanted = politeness.retry_after(str(seconds))
    return wanted is not None and abs((wanted - datetime.now(UTC)).total_seconds() - seconds) < 0.5


def page(text: bytes, tmp_path: Path) -> bool:
    (tmp_path / "page.yaml").write_bytes(text)
    try:
        reading.load(tmp_path / "page.yaml")
    except PageError as error:
        return "must have at most" not in str(error)
    return True


def saved(size: int, max_bytes: int, tmp_path: Path) -> bool:
    """Whether the last byte of a download is taken; the bytes before it count as there."""
    raw = SimpleNamespace(stream=lambda *_, **__: [b"x"])
    reply = SimpleNamespace(headers={"Content-Length": "1"}, raw=raw)
    try:
        download._save(cast("Any", reply), tmp_path / "part", size - 1, max_bytes)
    except download._MirrorError:
        return False
    return True


class _Means:
    """A network that gives the mean of an image so many times."""

    def __init__(self, features: int) -> None:
        self.output_shape = (None, features)

    def __call__(self, images: Any, training: bool) -> Any:
        return images.mean(axis=(1, 2, 3)).reshape(-1, 1).repeat(self.output_shape[1], axis=1)


def is_backbone(features: int) -> bool:
    try:
        return first_run.features(_Means(features), (8, 8, 3), "means").shape == (3, features)
    except UserError:
        return False


def extracted(size: int, tmp_path: Path) -> bool:
    """Whether a member that announces so many bytes is extracted, though the archive is cut after a few."""
    info = tarfile.TarInfo("network.pb")
    info.size = size
    (tmp_path / "a.tar").write_bytes(info.tobuf() + bytes(100))
    try:
        unpacking.extract(tmp_path / "a.tar", "network.pb", tmp_path)
    except UserError as error:
        return "must have at most" not in str(error)
    return True


def mapped(number: int, tmp_path: Path) -> bool:
    (tmp_path / "map").write_text(f'target_class: {number} target_class_string: "n1"')
    (tmp_path / "names").write_text("n1\tone")
    try:
        return len(labels.read([tmp_path / "map", tmp_path / "names"])) == number + 1
    except UserError:
        return False


def received(size: int) -> bool:
    ours, theirs = Pipe()
    content = b'{"x": "' + b"y" * (size - 9) + b'"}'
    sending = threading.Thread(target=_send, args=(theirs, content))
    sending.start()
    try:
        return bool(channel._read(ours))
    except OSError:
        return False
    finally:
        ours.close()
        sending.join()


def _send(line: Any, content: bytes) -> None:
    with contextlib.suppress(OSError):  # the other end has hung up
        line.send_bytes(content)


def is_constraint(text: str) -> bool:
    try:
        constraints.Constraint.parse(text)
    except ValueError as error:
        assert "must have at most" in str(error), text  # noqa: PT017  only its size may be wrong
        return False
    return True


def limits(tmp_path: Path) -> dict[str, Limit]:
    """The rows of the table."""
    scoring = ScoringSection(feed="x")
    hops = {f"/{hop}": redirect(f"/{hop + 1}") for hop in range(10)}
    return {
        "a URL": Limit(urls.MAX_BYTES, lambda n: is_url("http://a.example/".ljust(n, "x"))),
        "a URL that is shown": Limit(
            urls.SHOWN_CHARACTERS, lambda n: len(urls.shown("x" * n)) == n and "…" not in urls.shown("x" * n)
        ),
        "a host name": Limit(
            host_names.MOST_CHARACTERS, lambda n: is_host("a." * (n // 2 - 1) + "a" * (n - 2 * (n // 2 - 1)))
        ),
        "a label of a host name": Limit(host_names.LABEL_CHARACTERS, lambda n: is_host("a" * n + ".example")),
        "a port": Limit(urls.LAST_PORT, lambda n: is_host(f"a.example:{n}")),
        "redirects of a URL": Limit(
            fetcher.MAX_REDIRECTS,
            lambda n: fetched({**hops, f"/{n}": answer("200 OK", b"x")}).status is Status.OK,
        ),
        "status line and headers of an answer": Limit(
            http_client.HEAD_BYTES, lambda n: fetched({"/0": head(n)}).status is Status.OK
        ),
        "frames of a chunked body in a row": Limit(
            http_client.HEAD_BYTES, lambda n: fetched({"/0": trailers(n)}).status is Status.OK, step=1_000_000
        ),
        "bytes of an image's download": Limit(
            scoring.max_bytes,
            lambda n: fetched({"/0": answer("200 OK", bytes(n))}, max_bytes=scoring.max_bytes).status is Status.OK,
        ),
        "scans of a JPEG": Limit(jpeg_file.MOST_SCANS, is_jpeg_of_scans),
        "pixels of an image": Limit(
            scoring.max_pixels,
            lambda n: (
                pixels.decode(png_header(n, 1), (8, 8, 1), scoring.max_pixels).status is not Status.IMAGE_TOO_LARGE
            ),
        ),
        "a robots.txt": Limit(robots.MAX_BYTES, rules),
        "patterns with * or $ in a robots.txt": Limit(robots._MAX_PATTERNS, patterns),
        "a pause that a host asks for": Limit(politeness.LONGEST_WAIT.total_seconds(), pause),
        "a server's words in a row": Limit(reasons.LONGEST, lambda n: reasons.clean("x" * n) == "x" * n),
        "an experiment page": Limit(reading.MAX_BYTES, lambda n: page(PAGE.ljust(n, b"#"), tmp_path)),
        "levels of an experiment page": Limit(
            reading.MAX_DEPTH, lambda n: page(PAGE + b"a: " + b"[" * (n - 2) + b"1" + b"]" * (n - 2), tmp_path)
        ),
        "a constraint of a page": Limit(constraints.MAX_LENGTH, lambda n: is_constraint("units <= 8".ljust(n))),
        "levels of a constraint": Limit(
            constraints.MAX_DEPTH, lambda n: is_constraint("units <= " + "-" * (n - 2) + "8")
        ),
        "a data set of the public sources": Limit(
            published._MAX_BYTES, lambda n: saved(n, published._MAX_BYTES, tmp_path)
        ),
        "a network's or a backbone's file": Limit(
            own_network._MAX_BYTES, lambda n: saved(n, bringing._MAX_BYTES, tmp_path)
        ),
        "features of an image": Limit(first_run.MOST_FEATURES, is_backbone),
        "bytes to extract from an archive": Limit(unpacking.MAX_BYTES, lambda n: extracted(n, tmp_path)),
        "a number of a class in a label map": Limit(labels._MAX_CLASSES - 1, lambda n: mapped(n, tmp_path)),
        **_of_feeds(tmp_path),
        **_of_images(tmp_path),
        "a message of a task to the driver": Limit(channel._LARGEST_MESSAGE, received),
    }


def _of_feeds(tmp_path: Path) -> dict[str, Limit]:
    file = tmp_path / "feed.csv"
    return {
        "a JSON record": Limit(carried.LINE_BYTES, lambda n: feeds.is_json('{"url": ""}'.ljust(n))),
        "levels of a JSON record": Limit(
            carried.NESTING, lambda n: feeds.is_json('{"x": ' + "[" * (n - 1) + "]" * (n - 1) + "}")
        ),
        "digits of an integer in JSON": Limit(carried._DIGITS, feeds.is_number),
        "a CSV record": Limit(
            csv_records.RECORD_CHARACTERS, lambda n: feeds.is_feed(file, feeds.csv_record(n)), step=2
        ),
        "lines of a CSV record": Limit(csv_records.RECORD_LINES, lambda n: feeds.is_feed(file, feeds.csv_lines(n))),
        "columns of a CSV or Parquet file": Limit(
            csv_dialects.COLUMNS, lambda n: feeds.is_feed(file, feeds.columns(n))
        ),
        "a packed feed file, unpacked": Limit(file_bytes.UNPACKED_BYTES, feeds.unpacks),
        "the dictionary of an xz file": Limit(file_bytes.XZ_DICTIONARY_BYTES, lambda n: feeds.unpacks_xz(file, n)),
        "a value of a Parquet column": Limit(arrow_json.VALUE_BYTES, feeds.holds_value),
        "a Parquet row group, unpacked": Limit(parquet_rows.GROUP_BYTES, feeds.is_row_group),
        "a reason that a file is refused for": Limit(feed_reports._REASON_CHARACTERS, feeds.is_named),
    }


def _of_images(tmp_path: Path) -> dict[str, Limit]:
    return {
        "pixels of a folder's image": Limit(decode.MAX_PIXELS, images.is_folders_image),
        "an image file of a folder": Limit(decode.MAX_BYTES, images.is_folders_file),
        "chunks of a PNG": Limit(png_file.MOST_CHUNKS, images.png_chunks),
        "segments of a JPEG, up to its pixels": Limit(jpeg_file.MOST_SEGMENTS, images.jpeg_segments),
        "blocks of a GIF before its image": Limit(gif_file._MOST_BLOCKS, images.gif_blocks),
        "chunks of a WebP": Limit(webp_file._MOST_CHUNKS - 1, images.webp_chunks),
        "EXIF data": Limit(orientation.MOST_BYTES, images.exif),
        "a small text file": Limit(text_files.MOST_BYTES, images.is_small_text),
    }


def rows() -> Iterator[tuple[str, int]]:
    """(limit, value) of each row of the table on the page."""
    for line in text_of("docs/limits.md").splitlines():
        if match := re.match(r"\| ([^|]+) \| ([\d,]+)[^|]*\|[^|]+\|[^|]+\|$", line):
            yield match[1], int(match[2].replace(",", ""))


NAMES = [name for name, _ in rows()]


def test_every_row_has_its_reader_and_its_constant(tmp_path: Path) -> None:
    assert dict(rows()) == {name: int(limit.value) for name, limit in limits(tmp_path).items()}
    assert len(NAMES) == len(set(NAMES))
    assert len(NAMES) == text_of("docs/limits.md").count("\n|") - 2


@pytest.mark.parametrize("name", NAMES)
def test_a_reader_takes_the_limit_and_no_more(tmp_path: Path, name: str) -> None:
    limit = limits(tmp_path)[name]
    assert limit.takes(int(limit.value) if limit.step == 1 else int(limit.value) // 2)
    assert not limit.takes(int(limit.value) + limit.step)


def test_headers_have_no_limit_of_their_own() -> None:
    one = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: " + b"y" * 60_000 + b"\r\n\r\nok"
    many = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + b"A: b\r\n" * 10_000 + b"\r\nok"
    short = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + b"a:\r\n" * 16_000 + b"\r\nok"  # 64 KB as it is sent
    for each in (one, many, short):
        assert fetched({"/0": each}).status is Status.OK


@pytest.mark.parametrize(
    "before", [b"", b"\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3], ids=["", "lines", "hints"]
)
@pytest.mark.parametrize("field", [b"a:", b"a:b", b"a: b", b"a:      b   "])
def test_a_head_is_counted_as_it_is_sent(before: bytes, field: bytes) -> None:
    def answered(size: int) -> Status:
        left = size - len(start) - len(b"\r\n")
        line = field + b"\r\n"
        fields = line * (left // len(line) - 1)
        fields += b"L:" + b"x" * (left - len(fields) - len(b"L:\r\n")) + b"\r\n"
        return fetched({"/0": before + start + fields + b"\r\nok"}).status

    start = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
    most = http_client.HEAD_BYTES - (len(before) if before.startswith(b"\r") else 0)  # empty lines count as well
    assert answered(most) is Status.OK
    assert answered(most + 1) is Status.BROKEN_RESPONSE


def test_a_head_that_comes_in_pieces_is_counted_as_a_whole() -> None:
    def in_pieces(size: int) -> Callable[[Any], None]:
        def serve(connection: Any) -> None:
            stream = io.BytesIO(head(size))
            while piece := stream.read(7_001):
                connection.sendall(piece)

        return serve

    assert fetched({"/0": in_pieces(http_client.HEAD_BYTES)}).status is Status.OK
    assert fetched({"/0": in_pieces(http_client.HEAD_BYTES + 1)}).status is Status.BROKEN_RESPONSE
