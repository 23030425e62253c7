"""Mirrors that are cut off, lie, ignore what they are asked, or are not there."""

from __future__ import annotations

import gzip
import hashlib
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from windrow.data import download
from windrow.data.download import RemoteFile
from windrow.errors import DatasetError, DownloadError, ServiceError

CONTENT = hashlib.shake_128(b"windrow").digest(300_000)
FILE = RemoteFile("file.bin", hashlib.sha256(CONTENT).hexdigest(), of="file")
MakeMirror = Callable[..., Any]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(download, "_READ_SECONDS", 1.0)


@pytest.fixture
def nobody(free_port: Callable[[], int]) -> str:
    """A base URL that nothing listens on."""
    return f"http://127.0.0.1:{free_port()}/data/"


def test_a_download_cut_off_twice_goes_on_where_it_stopped(tmp_path: Path, make_mirror: MakeMirror) -> None:
    mirror = make_mirror({"file.bin": CONTENT}, cuts=[100_000, 50_000])
    assert download.fetch(FILE, [mirror.url], tmp_path).read_bytes() == CONTENT
    assert [range_ for _, range_ in mirror.asked] == [None, "bytes=100000-", "bytes=150000-"]


def test_a_server_that_ignores_range_is_read_from_the_start(tmp_path: Path, make_mirror: MakeMirror) -> None:
    mirror = make_mirror({"file.bin": CONTENT}, cuts=[100_000], ignores_range=True)
    assert download.fetch(FILE, [mirror.url], tmp_path).read_bytes() == CONTENT
    assert len(mirror.asked) == 2


def test_a_server_that_always_cuts_is_given_up(tmp_path: Path, make_mirror: MakeMirror) -> None:
    mirror = make_mirror({"file.bin": CONTENT}, cuts=[100] * 50, ignores_range=True)
    with pytest.raises(DownloadError, match="the connection was cut"):
        download.fetch(FILE, [mirror.url], tmp_path)
    assert len(mirror.asked) == 2  # the second try brought nothing new


def test_the_next_run_goes_on_with_what_the_last_one_got(tmp_path: Path, make_mirror: MakeMirror) -> None:
    mirror = make_mirror({"file.bin": CONTENT}, cuts=[100_000, 0])
    with pytest.raises(DownloadError):
        download.fetch(FILE, [mirror.url], tmp_path)
    assert not (tmp_path / "file.bin").exists()
    assert download.fetch(FILE, [mirror.url], tmp_path).read_bytes() == CONTENT
    assert mirror.asked[-1] == ("/data/file.bin", "bytes=100000-")


def test_a_part_of_an_older_file_is_thrown_away(tmp_path: Path, make_mirror: MakeMirror) -> None:
    mirror = make_mirror({"file.bin": b"older" * 60_000}, cuts=[100_000, 0])
    with pytest.raises(DownloadError):
        download.fetch(FILE, [mirror.url], tmp_path)
    mirror.files["file.bin"] = CONTENT
    assert download.fetch(FILE, [mirror.url], tmp_path).read_bytes() == CONTENT
    assert mirror.asked[-1] == ("/data/file.bin", None)


def test_a_part_longer_than_the_file_is_thrown_away(tmp_path: Path, make_mirror: MakeMirror) -> None:
    mirror = make_mirror({"file.bin": CONTENT * 2}, cuts=[400_000, 0])
    with pytest.raises(DownloadError):
        download.fetch(FILE, [mirror.url], tmp_path)
    mirror.files["file.bin"] = CONTENT
    assert download.fetch(FILE, [mirror.url], tmp_path).read_bytes() == CONTENT


def test_a_part_from_one_mirror_is_not_continued_at_another(tmp_path: Path, make_mirror: MakeMirror) -> None:
    first = make_mirror({"file.bin": CONTENT}, cuts=[100_000, 0])
    second = make_mirror({"file.bin": CONTENT})
    assert download.fetch(FILE, [first.url, second.url], tmp_path).read_bytes() == CONTENT
    assert second.asked == [("/data/file.bin", None)]


def test_a_cut_that_looks_like_the_end_is_found_by_the_digest(tmp_path: Path, make_mirror: MakeMirror) -> None:
    mirror = make_mirror({"file.bin": CONTENT}, cuts=[100_000], hides_length=True)
    with pytest.raises(DownloadError, match="another SHA-256"):
        download.fetch(FILE, [mirror.url], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_wrong_digest_sends_us_to_the_next_mirror(tmp_path: Path, make_mirror: MakeMirror) -> None:
    liar, honest = make_mirror({"file.bin": b"lies"}), make_mirror({"file.bin": CONTENT})
    assert download.fetch(FILE, [liar.url, honest.url], tmp_path).read_bytes() == CONTENT


def test_a_missing_file_sends_us_to_the_next_mirror(tmp_path: Path, make_mirror: MakeMirror, nobody: str) -> None:
    empty, full = make_mirror({}), make_mirror({"file.bin": CONTENT})
    assert download.fetch(FILE, [nobody, empty.url, full.url], tmp_path).read_bytes() == CONTENT


def test_all_down_names_each_mirror_its_reason_and_the_cure(
    tmp_path: Path, make_mirror: MakeMirror, nobody: str
) -> None:
    empty, broken = make_mirror({}), make_mirror({"file.bin": CONTENT}, status=503)
    mute, liar = make_mirror({"file.bin": CONTENT}, stall_seconds=3), make_mirror({"file.bin": b"lies"})
    mirrors = [nobody, empty.url, broken.url, mute.url, liar.url]
    with pytest.raises(DownloadError) as caught:
        download.fetch(FILE, mirrors, tmp_path)
    first, *reasons, cure = str(caught.value).splitlines()
    assert first == "file.bin must come from a mirror; got none of 5:"
    assert reasons == [
        f"  {nobody}: Connection refused",
        f"  {empty.url}: 404 Not Found",
        f"  {broken.url}: 503 Service Unavailable",
        f"  {mute.url}: no answer within 1 s",
        f"  {liar.url}: its file has another SHA-256 than {FILE.digest[:16]}...",
    ]
    assert cure.endswith("run with --set dataset.source=FOLDER")


def test_an_endless_file_is_given_up(tmp_path: Path, make_mirror: MakeMirror) -> None:
    mirror = make_mirror({"file.bin": CONTENT})
    with pytest.raises(DownloadError, match="more than 100,000 bytes"):
        download.fetch(FILE, [mirror.url], tmp_path, max_bytes=100_000)
    with pytest.raises(DownloadError, match="more than 100,000 bytes"):
        download.fetch_trusted(f"{mirror.url}file.bin", tmp_path, None, KEY, max_bytes=100_000)
    assert download.fetch(FILE, [mirror.url], tmp_path).read_bytes() == CONTENT


def test_a_full_disk_is_not_the_mirrors_fault(tmp_path: Path, make_mirror: MakeMirror) -> None:
    first, second = make_mirror({"file.bin": CONTENT}), make_mirror({"file.bin": CONTENT})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(ServiceError, match="must have room for the data; got file size limit reached"):
            download.fetch(FILE, [first.url, second.url], tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert second.asked == []


def test_a_sound_file_is_not_asked_for_again(tmp_path: Path, make_mirror: MakeMirror, nobody: str) -> None:
    download.fetch(FILE, [make_mirror({"file.bin": CONTENT}).url], tmp_path)
    assert download.fetch(FILE, [nobody], tmp_path).read_bytes() == CONTENT


def test_a_damaged_file_is_fetched_again(tmp_path: Path, make_mirror: MakeMirror) -> None:
    (tmp_path / "file.bin").write_bytes(CONTENT[:-1])
    assert download.fetch(FILE, [make_mirror({"file.bin": CONTENT}).url], tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("level", [1, 9])
def test_a_digest_of_the_contents_takes_any_compression(tmp_path: Path, make_mirror: MakeMirror, level: int) -> None:
    remote = RemoteFile("file.bin", FILE.digest, of="contents")
    mirror = make_mirror({"file.bin": gzip.compress(CONTENT, level)})
    assert gzip.decompress(download.fetch(remote, [mirror.url], tmp_path).read_bytes()) == CONTENT


def test_a_mirror_that_has_unpacked_the_file_will_do(tmp_path: Path, make_mirror: MakeMirror) -> None:
    remote = RemoteFile("file.bin", FILE.digest, of="contents")
    assert download.fetch(remote, [make_mirror({"file.bin": CONTENT}).url], tmp_path).read_bytes() == CONTENT


def test_a_file_called_gzip_encoded_is_kept_as_it_is(tmp_path: Path, make_mirror: MakeMirror) -> None:
    packed = gzip.compress(CONTENT)
    remote = RemoteFile("file.gz", hashlib.sha256(packed).hexdigest(), of="file")
    mirror = make_mirror({"file.gz": packed}, headers={"Content-Encoding": "gzip"})
    assert download.fetch(remote, [mirror.url], tmp_path).read_bytes() == packed


@pytest.mark.parametrize("mirror", ["file:///etc/", "ftp://127.0.0.1/", "/data/mnist", "http://", ""])
def test_only_http_and_https_are_mirrors(tmp_path: Path, mirror: str) -> None:
    with pytest.raises(DatasetError, match="takes URLs with http:// or https://; got"):
        download.fetch(FILE, [mirror], tmp_path)


def test_a_host_that_does_not_resolve_is_said_in_a_few_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(DownloadError, match=r"http://mirror.invalid/: Name or service not known\n"):
        download.fetch(FILE, ["http://mirror.invalid/"], tmp_path)


@pytest.fixture
def answering() -> Iterator[Callable[[bytes], str]]:
    """A function that starts a mirror which answers each request with the same bytes; returns its URL."""
    with ExitStack() as stack:

        def start(content: bytes) -> str:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def serve() -> None:
                with suppress(OSError):
                    while True:
                        with listening.accept()[0] as end:
                            end.recv(4096)
                            end.sendall(content)

            threading.Thread(target=serve, daemon=True).start()
            stack.callback(listening.shutdown, socket.SHUT_RDWR)
            return f"http://127.0.0.1:{listening.getsockname()[1]}/a.bin"

        yield start


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 302 Found\r\nLocation: http://a.example/caf\xe9\r\n\r\n",  # no UTF-8
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nx",  # Python converts 4,300 digits at most
        b"HTTP/1.1 503 \x1b[31m" + b"\x7f" * 500 + b"\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
    ],
)
def test_an_answer_that_is_none_is_a_reason_in_one_line(
    tmp_path: Path, answering: Callable[[bytes], str], answer: bytes
) -> None:
    with pytest.raises(DownloadError, match="must give a file; ") as caught:
        download.fetch_trusted(answering(answer), tmp_path, None, key="scoring.network.sha256")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_two_at_once_share_one_download(tmp_path: Path, make_mirror: MakeMirror) -> None:
    mirror = make_mirror({"file.bin": CONTENT}, stall_seconds=0.3)
    # Two threads open the lock twice, so they exclude each other as processes do.
    with ThreadPoolExecutor() as pool:
        paths = list(pool.map(lambda _: download.fetch(FILE, [mirror.url], tmp_path), range(2)))
    assert [path.read_bytes() for path in paths] == [CONTENT] * 2
    assert len(mirror.asked) == 1


def test_one_line_a_file_and_no_bar_without_a_terminal(
    tmp_path: Path, make_mirror: MakeMirror, capsys: pytest.CaptureFixture[str]
) -> None:
    mirror = make_mirror({"file.bin": CONTENT})
    download.fetch(FILE, [mirror.url], tmp_path)
    captured = capsys.readouterr()
    assert captured.err == f"downloaded file.bin, 300,000 bytes, from {mirror.url}\n"
    assert captured.out == ""


KEY = "scoring.network.sha256"


def test_a_file_without_a_digest_is_trusted_once_and_not_asked_for_again(
    tmp_path: Path, make_mirror: MakeMirror, capsys: pytest.CaptureFixture[str]
) -> None:
    mirror = make_mirror({"file.bin": CONTENT})
    path = download.fetch_trusted(f"{mirror.url}file.bin", tmp_path, None, KEY)
    assert path.read_bytes() == CONTENT
    assert f"has the SHA-256 {FILE.digest}: trusted now" in capsys.readouterr().err
    assert (tmp_path / "file.bin.sha256").read_text().strip() == FILE.digest
    mirror.files["file.bin"] = b"another"
    assert download.fetch_trusted(f"{mirror.url}file.bin", tmp_path, None, KEY) == path
    assert len(mirror.asked) == 1


def test_a_file_that_is_another_than_the_trusted_one_is_refused(tmp_path: Path, make_mirror: MakeMirror) -> None:
    mirror = make_mirror({"file.bin": CONTENT})
    path = download.fetch_trusted(f"{mirror.url}file.bin", tmp_path, None, KEY)
    path.write_bytes(b"damaged")
    mirror.files["file.bin"] = b"another"
    with pytest.raises(
        DownloadError, match=r"another SHA-256 than(.|\n)*or remove .*file\.bin\.sha256 to trust what is"
    ):
        download.fetch_trusted(f"{mirror.url}file.bin", tmp_path, None, KEY)
    mirror.files["file.bin"] = CONTENT
    assert download.fetch_trusted(f"{mirror.url}file.bin", tmp_path, None, KEY).read_bytes() == CONTENT


def test_a_digest_on_the_page_leaves_nothing_to_trust(tmp_path: Path, make_mirror: MakeMirror) -> None:
    mirror = make_mirror({"file.bin": b"another"})
    with pytest.raises(DownloadError, match=f"fix {KEY}"):
        download.fetch_trusted(f"{mirror.url}file.bin", tmp_path, FILE.digest, KEY)
    mirror.files["file.bin"] = CONTENT
    assert download.fetch_trusted(f"{mirror.url}file.bin", tmp_path, FILE.digest, KEY).read_bytes() == CONTENT
    assert not (tmp_path / "file.bin.sha256").exists()


def test_a_first_download_goes_on_after_a_cut_but_trusts_no_part_of_an_earlier_run(
    tmp_path: Path, make_mirror: MakeMirror
) -> None:
    (tmp_path / ".file.bin.first.part").write_bytes(b"left behind")
    mirror = make_mirror({"file.bin": CONTENT}, cuts=[100_000])
    assert download.fetch_trusted(f"{mirror.url}file.bin", tmp_path, None, KEY).read_bytes() == CONTENT
    assert [range_ for _, range_ in mirror.asked] == [None, "bytes=100000-"]


def test_a_first_download_that_fails_leaves_nothing_to_trust(tmp_path: Path, make_mirror: MakeMirror) -> None:
    mirror = make_mirror({})
    with pytest.raises(DownloadError, match="must give a file; 404 Not Found; connect this machine, or bring the file"):
        download.fetch_trusted(f"{mirror.url}file.bin", tmp_path, None, KEY)
    assert not (tmp_path / "file.bin").exists()
    assert not (tmp_path / "file.bin.sha256").exists()
