"""Archives: what is asked for comes out, and nothing gets out of the folder."""

from __future__ import annotations

import io
import resource
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from windrow.errors import ServiceError, UserError
from windrow.scoring.network import unpacking


def archive(path: Path, files: dict[str, bytes]) -> Path:
    """A .zip, or a tar packed as its name says."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as target:
            for name, content in files.items():
                target.writestr(name, content)
        return path
    with tarfile.open(path, "w:" if path.suffix == ".tar" else "w:gz") as target:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            target.addfile(info, io.BytesIO(content))
    return path


FILES = {"./net.pb": b"graph", "saved/model.pb": b"model", "saved/variables/data": b"data", "saved2/x": b"x"}


@pytest.mark.parametrize("name", ["a.tar", "a.tgz", "a.tar.gz", "a.zip"])
def test_a_member_or_a_folder_comes_out(tmp_path: Path, name: str) -> None:
    packed = archive(tmp_path / name, FILES)
    net = unpacking.extract(packed, "net.pb", tmp_path / "out")
    assert net is not None
    assert net.read_bytes() == b"graph"
    saved = unpacking.extract(packed, "saved", tmp_path / "out")
    assert saved == tmp_path / "out" / "saved"
    assert sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file()) == [
        "data",
        "model.pb",
        "net.pb",
    ]
    assert unpacking.extract(packed, "absent", tmp_path / "out") is None


@pytest.mark.parametrize("name", ["a.tgz", "a.zip"])
@pytest.mark.parametrize("member", ["saved/../../out.txt", "saved/../../../etc/x"])
def test_nothing_is_written_outside(tmp_path: Path, name: str, member: str) -> None:
    packed = archive(tmp_path / name, {member: b"x"})
    with pytest.raises(UserError, match="must not lead out"):
        unpacking.extract(packed, "saved", tmp_path / "in" / "deep")
    assert not (tmp_path / "in").exists()


def test_links_are_left_out(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as target:
        link = tarfile.TarInfo("net.pb")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        target.addfile(link)
    assert unpacking.extract(tmp_path / "a.tar", "net.pb", tmp_path / "out") is None


@pytest.mark.parametrize("name", ["a.tar", "a.tgz", "a.zip"])
@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08\x00 cut"])
def test_what_is_no_archive_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match="must be an archive that can be read"):
        unpacking.extract(tmp_path / name, "net.pb", tmp_path / "out")


def test_a_cut_archive_is_refused(tmp_path: Path) -> None:
    packed = archive(tmp_path / "a.tgz", {"net.pb": bytes(range(256)) * 4000})
    packed.write_bytes(packed.read_bytes()[: packed.stat().st_size // 2])
    with pytest.raises(UserError, match="must be an archive that can be read"):
        unpacking.extract(packed, "net.pb", tmp_path / "out")


def test_an_archive_that_fills_the_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "MAX_BYTES", 1000)
    packed = archive(tmp_path / "a.tgz", {"saved/a": bytes(600), "saved/b": bytes(600)})
    with pytest.raises(UserError, match="at most 1,000 bytes"):
        unpacking.extract(packed, "saved", tmp_path / "out")


def test_a_folder_travels_as_one_file_and_is_unpacked_once_by_whoever_comes_first(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    (folder / "variables").mkdir(parents=True)
    (folder / "variables" / "data").write_bytes(b"data")
    unpacking.pack(folder, tmp_path / "digest.tar")
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(unpacking.unpacked, [tmp_path / "digest.tar"] * 8))
    assert found == {tmp_path / "digest"}
    assert (tmp_path / "digest" / "variables" / "data").read_bytes() == b"data"
    assert unpacking.unpacked(tmp_path / "a.keras") == tmp_path / "a.keras"


def changed(content: bytes, place: int, new: bytes) -> bytes:
    return content[:place] + new + content[place + len(new) :]


def zipped(method: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as target:
        target.writestr(zipfile.ZipInfo("net.pb"), bytes(range(100)), method)
    return stream.getvalue()


def tarred(size: bytes = b"%011o\0" % 5, headers: dict[str, str] | None = None, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A tar of two files, of which the second has the size that its header says."""
    parts = [tarfile.TarInfo("other"), tarfile.TarInfo("net.pb")]
    parts[1].type, parts[1].pax_headers = kind, headers or {}
    header = changed(changed(parts[1].tobuf(tarfile.PAX_FORMAT), -388, size), -364, b" " * 8)
    header = changed(header, -364, b"%06o\0 " % sum(header[-512:]))
    return parts[0].tobuf() + header + b"graph".ljust(512, b"\0") + bytes(1024)


BACK = b"\xff" * 10 + b"\xfe\0"  # -512


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.zip", changed(zipped(zipfile.ZIP_DEFLATED), 36, b"\xff" * 9), "Error -3 while decompressing"),
        ("a.zip", changed(zipped(zipfile.ZIP_LZMA), 50, b"\xff" * 9), "Corrupt input data"),
        ("a.zip", changed(changed(zipped(0), 6, b"\1"), zipped(0).index(b"PK\1\2") + 8, b"\1"), "encrypted"),
        ("a.zip", changed(changed(zipped(0), 8, b"\x63"), zipped(0).index(b"PK\1\2") + 10, b"\x63"), "not supported"),
        ("a.tar", tarred(headers={"path": "net.pb/\0"}), "null byte"),
        ("a.tar", tarred(headers={"GNU.sparse.map": "0,a", "GNU.sparse.size": "1"}), "invalid literal"),
        ("a.tar", tarred(BACK), r"its member 'net\.pb' has the size -512"),
        ("a.tar", tarred(BACK, kind=b"Z"), r"its member 'net\.pb' has the size -512"),
        ("a.tar", tarred(headers={"size": "-1024"}), r"its member 'net\.pb' has the size -1024"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_damaged_archive_is_refused_with_one_sentence(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"must be an archive that can be read; .*{reason}.*; bring it again$"):
        unpacking.extract(tmp_path / name, "net.pb", tmp_path / "out")


def test_the_archive_that_the_damaged_ones_are_made_of_is_whole(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tarred())
    found = unpacking.extract(tmp_path / "a.tar", "net.pb", tmp_path / "out")
    assert found is not None
    assert found.read_bytes() == b"graph"


def test_a_full_disk_is_not_the_archives_fault(tmp_path: Path) -> None:
    packed = archive(tmp_path / "a.zip", {"net.pb": bytes(200_000)})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(ServiceError, match="must have room for the data"):
            unpacking.extract(packed, "net.pb", tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
