"""A full disk is said in one sentence, and two writers take turns."""

from __future__ import annotations

import errno
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
