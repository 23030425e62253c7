"""A feed whose files are appended to, cut, rewritten, moved and touched in any order, against a plain dictionary.

No line is missed, and none is read again that a plain append cannot have changed. A night that dies before its commit
has read nothing.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest
from harness.crash import machine_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from windrow.scoring.feed import feed_marks, formats
from windrow.scoring.feed.feed_marks import Mark

NAMES = ("a.txt", "b.txt", "c.jsonl", "d.csv")
TEXTS = st.sampled_from(["http://example.com/1", "http://example.com/22", "http://example.com/3?x=ü"])


class Feeds(RuleBasedStateMachine):
    """Writers of a feed, and the nights that read it."""

    def __init__(self) -> None:
        super().__init__()
        self.scratch = tempfile.TemporaryDirectory()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(formats, "_PIECE_BYTES", 64)  # so that a few lines are several pieces
        self.folder = Path(self.scratch.name)
        self.now: dict[str, bytes] = {}
        self.read: dict[str, bytes] = {}
        self.marks: dict[str, Mark] = {}
        self.clock = 1_000_000

    def write(self, name: str, content: bytes) -> None:
        """Another content and another time: of a file with the same size and time nobody can know that it changed."""
        (self.folder / name).write_bytes(content)
        self.now[name] = content
        self.tick(name)

    def tick(self, name: str) -> None:
        self.clock += 1
        os.utime(self.folder / name, ns=(self.clock, self.clock))

    def file(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.now)))

    def line(self, name: str, text: str) -> bytes:
        return (json.dumps({"url": text}) if name.endswith("jsonl") else text).encode()

    @rule(name=st.sampled_from(NAMES), texts=st.lists(TEXTS, max_size=4), ended=st.booleans())
    def lines_are_appended(self, name: str, texts: list[str], ended: bool) -> None:
        """The last line may be without its end: its writer is at work on it."""
        before = self.now.get(name, b"url\n" if name.endswith("csv") else b"")
        if before and not before.endswith(b"\n") and name.endswith("jsonl"):
            before += b"\n"
        self.write(name, before + b"\n".join(self.line(name, text) for text in texts) + (b"\n" if ended else b""))

    @precondition(lambda self: self.now)
    @rule(data=st.data(), text=TEXTS)
    def a_file_is_rewritten(self, data: st.DataObject, text: str) -> None:
        name = self.file(data)
        self.write(name, (b"url\n" if name.endswith("csv") else b"") + self.line(name, text) + b"\n")

    @precondition(lambda self: self.now)
    @rule(data=st.data())
    def a_file_loses_its_last_line(self, data: st.DataObject) -> None:
        name = self.file(data)
        head = self.now[name].rstrip(b"\n").rpartition(b"\n")[0]
        self.write(name, head + b"\n" if head else b"url\n" if name.endswith("csv") else b"")

    @precondition(lambda self: self.now)
    @rule(data=st.data())
    def a_character_in_the_middle_is_another(self, data: st.DataObject) -> None:
        name = self.file(data)
        self.write(name, self.now[name].replace(b"/1", b"/7", 1))

    @precondition(lambda self: self.now)
    @rule(data=st.data(), to=st.sampled_from(NAMES))
    def a_file_is_moved(self, data: st.DataObject, to: str) -> None:
        name = self.file(data)
        if to.rpartition(".")[2] == name.rpartition(".")[2]:
            (self.folder / name).rename(self.folder / to)
            self.now[to] = self.now.pop(name)

    @precondition(lambda self: self.now)
    @rule(data=st.data())
    def a_file_is_touched(self, data: st.DataObject) -> None:
        self.tick(self.file(data))

    @precondition(lambda self: self.now)
    @rule(data=st.data())
    def a_file_is_gone(self, data: st.DataObject) -> None:
        name = self.file(data)
        (self.folder / name).unlink()
        del self.now[name]

    @rule(commits=st.booleans(), meanwhile=st.none() | TEXTS)
    def a_night_reads_the_feed(self, commits: bool, meanwhile: str | None) -> None:
        """It may die before its commit, and a file may grow between its look and its reading."""
        files = [self.folder / name for name in sorted(self.now)]
        pieces, marks, _ = feed_marks.news(files, self.marks)
        wanted, read = self.expected(), dict(self.now)
        if meanwhile and (name := min((n for n in self.now if n.endswith("txt")), default="")):
            whole = read[name] + (b"" if read[name].endswith(b"\n") or not read[name] else b"\n")
            self.write(name, whole + self.line(name, meanwhile) + b"\n")
        assert [target.url for piece in pieces for target in formats.targets(piece)] == wanted
        if commits:
            self.read, self.marks = read, feed_marks.load(feed_marks.dump(marks))
            assert list(self.marks) == [str(path) for path in files]

    def expected(self) -> list[str]:
        return [line for name in sorted(self.now) for line in self.news_of(name)]

    def news_of(self, name: str) -> list[str]:
        """What a reader with the whole of the earlier file in his hand would read."""
        now, before = self.now[name], self.read.get(name)
        if now == before:
            return []
        if name.endswith("csv"):
            return self.urls(name, now.partition(b"\n")[2])
        grown = before is not None and now.startswith(before)
        return self.urls(name, now[before.rfind(b"\n") + 1 :] if before is not None and grown else now)

    def urls(self, name: str, content: bytes) -> list[str]:
        lines = [line for line in content.decode().split("\n") if line]
        return [json.loads(line)["url"] if name.endswith("jsonl") else line for line in lines]

    def teardown(self) -> None:
        try:
            self.a_night_reads_the_feed(True, None)
            assert feed_marks.news([self.folder / name for name in sorted(self.now)], self.marks)[0] == []
        finally:
            self.patch.undo()
            self.scratch.cleanup()


TestFeeds = Feeds.TestCase
TestFeeds.pytestmark = [pytest.mark.timeout(300)]
TestFeeds.settings = machine_settings(steps=30, share=4)


@pytest.mark.faults
class TestFeedsAtLength(Feeds.TestCase):  # type: ignore[misc]
    """The same by the profile of make test-faults."""

    settings = machine_settings(steps=30, share=4)
