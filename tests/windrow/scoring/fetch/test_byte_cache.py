"""The kept bytes: found by their hash, and never more than there is room for."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from windrow.scoring.fetch import byte_cache


def name(content: bytes) -> str:
    return sha256(content).hexdigest()


def test_a_page_that_keeps_nothing_has_no_folder_but_uses_one_that_is_there(tmp_path: Path) -> None:
    assert byte_cache.of_folder(tmp_path / "bytes", None) is None
    keeping = byte_cache.of_folder(tmp_path / "bytes", 1)
    assert keeping is not None
    keeping.put(name(b"x"), b"x")
    later = byte_cache.of_folder(tmp_path / "bytes", None)
    assert later is not None
    later.put(name(b"y"), b"y")
    assert (later.get(name(b"x")), later.get(name(b"y")), later.get(None)) == (b"x", None, None)


def test_the_room_is_never_exceeded_by_tasks_side_by_side_nor_night_after_night(tmp_path: Path) -> None:
    for night in range(3):
        whole = byte_cache.of_folder(tmp_path, 1)
        assert whole is not None
        for task in range(2):
            mine = whole.share(2)
            for number in range(30):
                content = bytes([night, task, number]) * 10_000
                mine.put(name(content), content)
                mine.put(name(content), content)
    sizes = [path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()]
    assert 2**20 - 60_000 < sum(sizes) <= 2**20
    assert not list(tmp_path.rglob(".*"))
