"""What has been read of a feed: only what is new is read, and nothing new is ever missed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from windrow.scoring.feed import feed_marks, file_forms, formats
from windrow.scoring.feed.feed_marks import Mark
from windrow.scoring.feed.feed_reports import FeedFault

SITE = "http://example.com/"


def of_urls(names: str) -> str:
    """A feed of text with a URL for each name, which is a line; a last name without its end is a line without it."""
    return "".join(f"{SITE}{name}" for name in names.splitlines(keepends=True))


class Reader:
    """Reads a feed again and again, as nightly runs do; gives the lines that a night reads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.marks: dict[str, Mark] = {}
        self.refused: list[FeedFault] = []

    def night(self) -> list[str]:
        pieces, marks, self.refused = feed_marks.news(sorted(self.folder.iterdir()), self.marks)
        self.marks = feed_marks.load(feed_marks.dump(marks))
        return [target.url.removeprefix(SITE) for piece in pieces for target in formats.targets(piece)]


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    (tmp_path / "feed").mkdir()
    return Reader(tmp_path / "feed")


def test_a_file_is_read_once(reader: Reader) -> None:
    (reader.folder / "one.txt").write_text(of_urls("a\nb\n"))
    assert reader.night() == ["a", "b"]
    assert reader.night() == []
    (reader.folder / "two.txt").write_text(of_urls("c\n"))
    assert reader.night() == ["c"]


def test_lines_that_were_appended_are_read_alone(reader: Reader) -> None:
    path = reader.folder / "one.txt"
    path.write_text(of_urls("a\nb\n"))
    reader.night()
    with path.open("a") as file:
        file.write(of_urls("c\nd\n"))
    assert reader.night() == ["c", "d"]


def test_a_last_line_without_its_end_is_read_again_when_it_has_grown(reader: Reader) -> None:
    path = reader.folder / "one.txt"
    path.write_text(of_urls("a\nhal"))
    assert reader.night() == ["a", "hal"]
    path.write_text(of_urls("a\nhalf\nb\n"))
    assert reader.night() == ["half", "b"]


def rewrite(path: Path) -> None:
    path.write_text(of_urls("a\nX\nc\n"))


def truncate(path: Path) -> None:
    path.write_text(of_urls("b\n"))


def change_and_append(path: Path) -> None:
    path.write_text(of_urls("Z\nb\nc\n"))


def replace_by_a_longer_one(path: Path) -> None:
    path.unlink()
    path.write_text(of_urls("other\nfile\nwith more\nlines\n"))


@pytest.mark.parametrize("change", [rewrite, truncate, change_and_append, replace_by_a_longer_one])
def test_any_other_change_has_the_whole_file_read(reader: Reader, change: Callable[[Path], None]) -> None:
    path = reader.folder / "one.txt"
    path.write_text(of_urls("a\nb\n"))
    reader.night()
    change(path)
    assert reader.night() == path.read_text().replace(SITE, "").split("\n")[:-1]


def test_a_file_of_the_same_size_that_differs_is_read_again(reader: Reader) -> None:
    path = reader.folder / "one.txt"
    path.write_text(of_urls("a\nb\n"))
    reader.night()
    path.write_text(of_urls("a\nc\n"))
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    assert reader.night() == ["a", "c"]


def test_a_file_that_was_only_touched_or_copied_over_itself_is_not_read(reader: Reader) -> None:
    path = reader.folder / "one.txt"
    path.write_text(of_urls("a\n"))
    reader.night()
    os.utime(path, (1, 1))
    assert reader.night() == []


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("a.jsonl", '{"url": "http://a"}\n', '{"url": "http://a"}\n{"url": "http://b"}\n'),
        ("a.csv", "url\nhttp://a\n", "url\nhttp://a\nhttp://b\n"),
        ("b.csv", 'url,x\nhttp://a,"', 'url,x\nhttp://a,"1\n2"\nhttp://b,3\n'),
    ],
)
def test_what_is_appended_to_records_is_never_missed(reader: Reader, name: str, before: str, after: str) -> None:
    (reader.folder / name).write_text(before)
    reader.night()
    (reader.folder / name).write_text(after)
    assert reader.night()[-1] == "http://b"


def test_what_is_appended_during_the_look_is_read_once_and_in_the_next_night(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, digest = reader.folder / "one.txt", feed_marks._digest

    def grows(*of: Any) -> Any:
        found = digest(*of)
        with path.open("a") as file:
            file.write(of_urls("c\n"))
        return found

    path.write_text(of_urls("a\nb\n"))
    with monkeypatch.context() as patch:
        patch.setattr(feed_marks, "_digest", grows)
        assert reader.night() == ["a", "b"]
    assert reader.night() == ["c"]


def test_a_file_that_only_its_time_tells_from_the_one_before_is_read_again(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was written over, at the same size, during the look: then the look's own time may not be its mark."""
    path, digest = reader.folder / "one.txt", feed_marks._digest

    def is_written_over(*of: Any) -> Any:
        found = digest(*of)
        path.write_text(of_urls("b\n"))
        os.utime(path, (2, 2))
        return found

    path.write_text(of_urls("a\n"))
    os.utime(path, (1, 1))
    with monkeypatch.context() as patch:
        patch.setattr(feed_marks, "_digest", is_written_over)
        reader.night()
    assert reader.night() == ["b"]


def test_marks_of_files_that_are_gone_are_forgotten(reader: Reader) -> None:
    (reader.folder / "one.txt").write_text(of_urls("a\n"))
    reader.night()
    (reader.folder / "one.txt").rename(reader.folder / "two.txt")
    assert reader.night() == ["a"]
    assert list(reader.marks) == [str(reader.folder / "two.txt")]


def test_a_large_file_is_cut_into_pieces(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "_PIECE_BYTES", 1000)
    lines = [f"line {number}" for number in range(2000)]
    (reader.folder / "one.txt").write_text(of_urls("\n".join(lines)))
    pieces, *_ = feed_marks.news([reader.folder / "one.txt"], {})
    assert len(pieces) > 10
    assert reader.night() == lines


def test_a_refused_file_is_reported_each_night_and_read_once_it_is_right(reader: Reader) -> None:
    (reader.folder / "a.csv").write_text("url,shop\nhttp://example.com/a\n")
    (reader.folder / "b.txt").write_text(of_urls("b\n"))
    assert (reader.night(), [str(found) for found in reader.refused]) == (
        ["b"],
        [
            f"{reader.folder}/a.csv, line 2: a record must have a field for each column; got 1 field, and the header "
            "has 2; put values with a delimiter in quotes, or write the missing ones"
        ],
    )
    first = reader.refused
    assert (reader.night(), reader.refused) == ([], first)
    os.utime(reader.folder / "a.csv", (1, 1))
    assert (reader.night(), reader.refused) == ([], first)
    (reader.folder / "a.csv").write_text("url,shop\nhttp://example.com/a,7\n")
    assert (reader.night(), reader.refused) == (["a"], [])


def test_a_refused_text_that_has_grown_is_read_from_its_beginning(reader: Reader) -> None:
    (reader.folder / "a.txt").write_text("no\nurl\n")
    assert (reader.night(), len(reader.refused)) == ([], 1)
    (reader.folder / "a.txt").write_text("no\nurl\n" + of_urls("a\nb\nc\n"))
    assert (reader.night(), reader.refused) == (["no", "url", "a", "b", "c"], [])


def test_a_file_that_an_earlier_windrow_refused_is_tried_again(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    (reader.folder / "a.txt").write_text("no url\n")
    with monkeypatch.context() as patch:
        patch.setattr(feed_marks, "_READER", 0)
        reader.night()
    with monkeypatch.context() as patch:
        patch.setattr(file_forms, "_check_urls", lambda *_: None)
        assert (reader.night(), reader.refused) == (["no url"], [])


UNREADABLE = [
    "a folder",
    "a broken link",
    "a pipe",
    "a link to a pipe",
    "a device",
    "no bytes",
    "a name that is no UTF-8",
    "not ours",
]


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_can_not_be_opened_is_one_finding_and_the_others_are_read(reader: Reader, what: str) -> None:
    path = reader.folder / "x.parquet"
    if what == "a folder":
        path.mkdir()
    elif what == "a broken link":
        path.symlink_to("nowhere")
    elif what == "a pipe":
        os.mkfifo(path)
    elif what == "a link to a pipe":
        os.mkfifo(reader.folder.parent / "pipe")
        path.symlink_to(reader.folder.parent / "pipe")
    elif what == "a device":
        path.with_suffix(".csv").symlink_to("/dev/zero")
    elif what == "no bytes":
        path.touch()
    elif what == "a name that is no UTF-8":
        path = reader.folder / os.fsdecode(b"caf\xe9.txt")
        path.write_text(of_urls("b\n"))
    else:
        path.write_bytes(b"PAR1")
        path.chmod(0)
    (reader.folder / "one.txt").write_text(of_urls("a\n"))
    assert reader.night() == ["a"]
    (found,) = reader.refused
    assert found.file.startswith(str(reader.folder))
    found.file.encode()


def test_marks_of_an_earlier_windrow_are_read_and_written_as_they_were() -> None:
    text = b'{"/feed/a.txt": [5, 7, "digest", 3]}'
    assert feed_marks.dump(feed_marks.load(text)) == text


def test_a_file_that_fails_while_it_is_read_is_read_again(reader: Reader) -> None:
    (reader.folder / "one.txt").write_text(of_urls("a\n"))
    reader.night()
    fault = FeedFault(str(reader.folder / "one.txt"), None, "torn")
    reader.marks = feed_marks.without(reader.marks, [fault])
    assert reader.night() == ["a"]
