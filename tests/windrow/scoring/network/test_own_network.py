"""A page's own network is brought to the driver: from a path, a URL, an archive; or the page is wrong."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from windrow.errors import DownloadError, UserError
from windrow.experiment.rules.network_file import NetworkFileSection
from windrow.model.form import Form
from windrow.scoring.network import own_network

GRAPH, LABELS = b"a frozen graph", b"red\ngreen\n"


def section(**keys: Any) -> NetworkFileSection:
    return NetworkFileSection(**{"labels": ("labels.txt",), "feed": "a:0", "fetch": "b:0", **keys})


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "net.pb").write_bytes(GRAPH)
    (folder / "labels.txt").write_bytes(LABELS)
    with tarfile.open(folder / "net.tgz", "w:gz") as target:
        for name, content in (("in/net.pb", GRAPH), ("in/names.txt", b"one\ntwo\n")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            target.addfile(info, io.BytesIO(content))
    return folder


@pytest.fixture
def web(home: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(home))) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


def test_a_file_is_known_by_its_name_and_the_beginning_of_its_digest(home: Path, tmp_path: Path) -> None:
    found = own_network.bring(section(file="net.pb", shape=(4, 5, 3), range=(-1, 1), resize="corner"), home, tmp_path)
    digest = hashlib.sha256(GRAPH).hexdigest()
    assert (found.identity, found.digest) == (("net", digest[:12]), digest)
    assert (found.file, found.shape, found.labels) == (home / "net.pb", (4, 5, 3), ("red", "green"))
    assert found.form == Form("graph", "a:0", "b:0", "corner", -1.0, 1.0)


def test_an_archives_member_is_the_network_and_its_labels_may_lie_beside_it_or_not(home: Path, tmp_path: Path) -> None:
    inside = own_network.bring(section(file="net.tgz", member="in/net.pb", labels=("in/names.txt",)), home, tmp_path)
    assert inside.identity == ("net", hashlib.sha256(GRAPH).hexdigest()[:12])
    assert inside.labels == ("one", "two")
    assert inside.file.read_bytes() == GRAPH
    outside = own_network.bring(section(file=str(home / "net.tgz"), member="in/net.pb"), home, tmp_path)
    assert outside.labels == ("red", "green")


def test_a_download_is_kept_and_comes_from_nowhere_a_second_time(home: Path, web: str, tmp_path: Path) -> None:
    keys = {"file": f"{web}/net.tgz", "member": "in/net.pb", "labels": ("in/names.txt",)}
    first = own_network.bring(section(**keys), home, tmp_path / "a")
    (kept,) = (home / "downloads" / "networks").glob("*/net.tgz")
    assert kept.with_name("net.tgz.sha256").exists()
    (home / "net.tgz").unlink()
    assert own_network.bring(section(**keys), home, tmp_path / "b").identity == first.identity
    with pytest.raises(DownloadError, match=r"fix scoring\.network\.sha256"):
        own_network.bring(section(**keys, sha256="0" * 64), home, tmp_path / "c")


def test_labels_may_be_downloaded(home: Path, web: str, tmp_path: Path) -> None:
    found = own_network.bring(section(file="net.pb", labels=(f"{web}/labels.txt",)), home, tmp_path)
    assert found.labels == ("red", "green")


def test_a_saved_model_is_known_by_all_of_its_files(home: Path, tmp_path: Path) -> None:
    folder = home / "saved"
    (folder / "variables").mkdir(parents=True)
    (folder / "variables" / "data").write_bytes(b"1")
    first = own_network.bring(section(file="saved", feed=None, fetch=None), home, tmp_path)
    assert (first.name, first.form.kind) == ("saved", "saved_model")
    (folder / "variables" / "data").write_bytes(b"2")
    assert own_network.bring(section(file="saved"), home, tmp_path).version != first.version


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"file": "absent.pb"}, r"must name files that are there; .*absent\.pb is not"),
        ({"file": "net.pb", "labels": ("absent.txt",)}, r"must name files that are there; .*absent\.txt is not"),
        ({"file": "net.pb", "sha256": "0" * 64}, r"sha256 must be the digest of .*net\.pb; got 0000"),
        ({"file": "net.tgz", "member": "net.pb"}, r"member must be in net\.tgz; 'net\.pb' is not"),
        ({"file": "labels.txt"}, r"labels\.txt must be a \.keras file, a GraphDef"),
    ],
)
def test_what_is_not_there_or_another_is_told(home: Path, tmp_path: Path, keys: Any, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        own_network.bring(section(**keys), home, tmp_path / "scratch")
