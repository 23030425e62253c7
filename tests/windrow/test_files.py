"""Files are written whole, a full disk is one sentence, and two writers take turns or the second is refused."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from pathlib import Path

import pytest
from harness.waiting import wait_for
from windrow import files
from windrow.errors import ServiceError


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_one_sentence(number: int) -> None:
    with (
        pytest.raises(ServiceError, match=r"/data must have room for the data; got .*; free some, or choose another"),
        files.clear_when_full(Path("/data")),
    ):
        raise OSError(number, "full")


def test_a_full_disk_is_known_by_the_system_s_words_where_a_library_has_no_number_for_it() -> None:
    said = "Generic LocalFileSystem error: Unable to copy data to file: No space left on device (os error 28)"
    with pytest.raises(ServiceError, match="got no space left"), files.clear_when_full(Path("/data")):
        raise OSError(said)
    with pytest.raises(OSError, match="Generic"), files.clear_when_full(Path("/data")):
        raise OSError("Generic LocalFileSystem error")


def test_another_fault_stays_what_it_is() -> None:
    with pytest.raises(PermissionError), files.clear_when_full(Path("/data")):
        raise PermissionError(errno.EACCES, "denied")


def test_the_second_says_that_it_waits_and_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    order: list[str] = []

    def second() -> None:
        with files.locked(tmp_path):
            order.append("second")

    waiter = threading.Thread(target=second)
    with files.locked(tmp_path):
        waiter.start()
        wait_for(lambda: "waiting for another process" in capsys.readouterr().err)
        assert order == []
        order.append("first")
    waiter.join(30)
    assert order == ["first", "second"]


def test_what_a_failed_write_would_have_replaced_stays(tmp_path: Path) -> None:
    target = files.write_text(tmp_path / "new folder" / "a.txt", "earlier")
    with pytest.raises(KeyError), files.replacing(target) as part:  # noqa: PT012 - the body is what fails
        part.write_text("half")
        raise KeyError("cut off")
    assert [(path.name, path.read_text()) for path in target.parent.iterdir()] == [("a.txt", "earlier")]


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = files.write_bytes(tmp_path / "a.bin", b"old")
    with files.replacing(target) as part:
        part.write_bytes(b"new")
        assert part.parent == tmp_path
        assert target.read_bytes() == b"old"
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.bin", b"new")]


def busy(owner: str) -> ServiceError:
    return ServiceError(f"{owner} holds it")


def test_a_second_owner_is_refused_and_hears_the_first_ones_name(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with files.locked_or_refused(path, "run 17", busy):
        assert files.is_locked(path)
        with (
            pytest.raises(ServiceError, match=rf"^run 17, process {os.getpid()} on .+, since .+ UTC holds it$"),
            files.locked_or_refused(path, "run 18", busy),
        ):
            pytest.fail("two owners")
        assert path.read_text().startswith("run 17, ")
    assert not files.is_locked(path)
    with files.locked_or_refused(path, "", busy):
        assert path.read_text().startswith(f"process {os.getpid()} on ")


def test_an_owner_without_a_name_is_another_process(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    with (
        files.locked(tmp_path, "lock"),
        pytest.raises(ServiceError, match=r"^another process holds it$"),
        files.locked_or_refused(tmp_path / "lock", "", busy),
    ):
        pytest.fail("two owners")


def test_whoever_asks_whether_a_file_is_locked_locks_out_nobody_who_asks(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    with (tmp_path / "lock").open() as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        assert not files.is_locked(tmp_path / "lock")
