"""The copy in an object store: a whole table whenever a reader looks, whatever was killed, and nobody else's."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from s3fs import S3FileSystem
from windrow.errors import PublishError, UserError
from windrow.scoring.publish import copy
from windrow.scoring.publish.store import Folder, Store, open_store
from windrow.scoring.table import upkeep
from windrow.scoring.table.predictions_table import PredictionTable

from tests.windrow.scoring.table.test_predictions_table import add, opened, urls_in, write_pending

pytestmark = pytest.mark.store


def reading(url: str) -> Any:
    """The copy as delta-rs opens it, by its own way to the store."""
    from deltalake import DeltaTable

    return DeltaTable(url, storage_options={"allow_http": "true"})


def urls_at(url: str) -> list[str]:
    return sorted(reading(url).to_pyarrow_table(columns=["url"])["url"].to_pylist())


def replayed(url: str) -> list[str]:
    """The same as a reader of our own sees it: Delta's protocol in a few lines, with fsspec and pyarrow alone."""
    import fsspec
    import pyarrow.parquet as pq

    files, root = fsspec.url_to_fs(url, use_listings_cache=False)
    names = sorted(path.rpartition("/")[2] for path in files.ls(f"{root}/_delta_log", detail=False))
    checkpoint = max((name for name in names if name.endswith(".checkpoint.parquet")), default="")
    there: set[str] = set()
    if checkpoint:
        with files.open(f"{root}/_delta_log/{checkpoint}") as file:
            adds = pq.read_table(file)["add"].to_pylist()
        there = {unquote(entry["path"]) for entry in adds if entry and entry["path"]}
    commits = [name for name in names if name.endswith(".json") and name[:20] > checkpoint[:20]]
    assert checkpoint or [int(name[:20]) for name in commits] == list(range(len(commits)))
    for name in commits:
        actions = [json.loads(line) for line in files.cat_file(f"{root}/_delta_log/{name}").splitlines()]
        there |= {unquote(action["add"]["path"]) for action in actions if "add" in action}
        there -= {unquote(action["remove"]["path"]) for action in actions if "remove" in action}
    urls: list[str] = []
    for name in there:
        with files.open(f"{root}/{name}") as file:
            urls += pq.read_table(file, columns=["url"])["url"].to_pylist()
    return sorted(urls)


def vacuum(folder: Path) -> None:
    """As if a week had passed since the last commit."""
    opened(folder).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)


def files_of(folder: Path) -> set[str]:
    """What of a table belongs into its copy."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name for name in found if not name.startswith("_windrow/")}


def test_a_copy_is_the_table_and_only_what_is_new_travels(tmp_path: Path, bucket: str) -> None:
    folder, url = tmp_path / "t", f"{bucket}/tables/t"
    add(folder, "r1", "a", "b")
    first = copy.publish(url, folder)
    assert (first["published"], first["published_version"], first["uploaded"]) == (url, 1, 3)
    assert urls_at(url) == replayed(url) == urls_in(folder)
    assert copy.publish(url, folder)["uploaded"] == 0
    add(folder, "r2", "c")
    assert copy.publish(url, folder)["uploaded"] == 2
    assert urls_at(url) == replayed(url) == urls_in(folder)
    assert reading(url).history(1)[0]["runId"] == "r2"
    assert reading(url).version() == opened(folder).version()


def test_names_that_the_log_writes_otherwise_are_found_by_readers(tmp_path: Path, bucket: str) -> None:
    folder, url = tmp_path / "t", f"{bucket}/a table"
    predictions = PredictionTable(folder)
    with predictions.staged("r1") as staging:
        write_pending(staging / "pending=true x%y", "1", a=1)
        predictions.commit(staging, "r1", {})
    copy.publish(url, folder)
    assert set(open_store(url).sizes()) == files_of(folder)
    assert replayed(url) == urls_in(folder)


class Killed(BaseException):
    """What ends a driver between two words to the store."""


@contextmanager
def dying_at(step: int, kind: type[Store]) -> Iterator[None]:
    """The step-th time that something is about to be put or removed, the driver is no more."""
    steps = itertools.count()

    def mortal(real: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            if next(steps) == step:
                raise Killed
            real(*arguments)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("put",) if kind is Folder else ("put", "put_new", "remove"):
            patch.setattr(kind, name, mortal(getattr(kind, name)))
        yield


def survives(step: int, url: str, folder: Path, kind: type[Store] = Store) -> bool:
    """Whether publishing ends before that step."""
    try:
        with dying_at(step, kind):
            copy.publish(url, folder)
    except Killed:
        return False
    return True


Story = tuple[Path, Path, dict[int, list[str]]]
"""A table when it was published last, the same table now, and which URLs each of its versions has."""


def told(tmp_path: Path, *chapters: Callable[[Path], object]) -> Story:
    before, now = tmp_path / "before", tmp_path / "now"
    versions: dict[int, list[str]] = {}
    for chapter in chapters:
        chapter(now)
        versions[opened(now).version()] = urls_in(now)
        if not before.exists():
            shutil.copytree(now, before)
    last = 0
    for version in range(opened(now).version() + 1):  # those in between, a vacuum's two for example, change no row
        last = version if version in versions else last
        versions.setdefault(version, versions.get(last, []))
    return before, now, versions


def first(folder: Path) -> None:
    add(folder, "r1", "a", "b")


def second(folder: Path) -> None:
    add(folder, "r2", "c")


def third(folder: Path) -> None:
    add(folder, "r3", "d", "e")


def checkpoint(folder: Path) -> None:
    opened(folder).create_checkpoint()


def compact(folder: Path) -> None:
    upkeep.maintain(PredictionTable(folder), "upkeep")


STORIES: dict[str, list[Callable[[Path], object]]] = {
    "commits": [first, second, third],
    "a checkpoint": [first, second, checkpoint, third, checkpoint],
    "a vacuum": [first, second, compact, vacuum, third],
}


@pytest.mark.parametrize("published_before", [False, True], ids=["first time", "again"])
@pytest.mark.parametrize("story", STORIES)
def test_killed_between_any_two_uploads_it_leaves_a_whole_table_and_the_next_run_the_newest(
    tmp_path: Path, bucket: str, story: str, published_before: bool
) -> None:
    before, now, versions = told(tmp_path, *STORIES[story])
    for step in itertools.count():
        url = f"{bucket}/{step}"
        if published_before:
            copy.publish(url, before)
        if survives(step, url, now):
            break
        names = open_store(url).sizes()
        if any(name.startswith("_delta_log/") for name in names):
            assert urls_at(url) == replayed(url) == versions[reading(url).version()], (step, sorted(names))
        copy.publish(url, now)
        assert urls_at(url) == replayed(url) == urls_in(now), step
        assert set(open_store(url).sizes()) == files_of(now), step
        assert reading(url).version() == opened(now).version()
    assert step >= 4


def test_what_a_vacuum_removed_leaves_the_copy_as_well(tmp_path: Path, bucket: str) -> None:
    folder, url = tmp_path / "t", f"{bucket}/t"
    for chapter in (first, second):
        chapter(folder)
    copy.publish(url, folder)
    compact(folder)
    copy.publish(url, folder)
    assert {"run-r1/part-a.parquet", "run-upkeep/part-00000.parquet"} <= set(open_store(url).sizes())
    vacuum(folder)
    copy.publish(url, folder)
    data = {name for name in open_store(url).sizes() if name.endswith(".parquet") and name.startswith("run-")}
    assert data == {"run-upkeep/part-00000.parquet"}
    assert urls_at(url) == replayed(url) == urls_in(folder)


def test_what_is_no_part_of_the_table_stays_where_it_is(tmp_path: Path, bucket: str) -> None:
    folder, url = tmp_path / "t", f"{bucket}/t"
    first(folder)
    copy.publish(url, folder)
    open_store(url).put(folder / "run-r1" / "part-a.parquet", "somebody/part-x.parquet")
    for chapter in (second, compact, vacuum):
        chapter(folder)
    copy.publish(url, folder)
    assert set(open_store(url).sizes()) == files_of(folder) | {"somebody/part-x.parquet"}


def forget(folder: Path) -> None:
    """As delta-rs does by itself once a log is long and old: only what a checkpoint does not hold stays."""
    then = time.time() - 40 * 86_400
    for path in sorted((folder / "_delta_log").glob("*.json"))[:-1]:
        os.utime(path, (then, then))
    opened(folder).cleanup_metadata()
    assert not (folder / "_delta_log" / f"{0:020}.json").exists()


@pytest.mark.parametrize("published_before", [False, True], ids=["first time", "again"])
def test_a_log_that_no_longer_begins_at_its_beginning_makes_a_whole_copy(
    tmp_path: Path, bucket: str, published_before: bool
) -> None:
    folder, url = tmp_path / "t", f"{bucket}/t"
    for chapter in (first, second):
        chapter(folder)
    if published_before:
        copy.publish(url, folder)
    for chapter in (checkpoint, forget, third):
        chapter(folder)
    while not survives(1, url, folder):  # each driver uploads one thing, and is killed before the second
        if any(name.startswith("_delta_log/") for name in open_store(url).sizes()):
            assert urls_at(url) == replayed(url) in (urls_in(folder), urls_in(folder)[:3])
    copy.publish(url, folder)
    assert urls_at(url) == replayed(url) == urls_in(folder)
    assert set(open_store(url).sizes()) == files_of(folder)


def test_a_file_whose_beginning_the_log_has_forgotten_leaves_the_copy_with_its_vacuum(
    tmp_path: Path, bucket: str
) -> None:
    folder, url = tmp_path / "t", f"{bucket}/t"
    for chapter in (first, second):
        chapter(folder)
    copy.publish(url, folder)
    for chapter in (checkpoint, forget, compact, vacuum):
        chapter(folder)
    copy.publish(url, folder)
    assert "run-r1/part-a.parquet" not in open_store(url).sizes()
    assert set(open_store(url).sizes()) == files_of(folder)
    assert urls_at(url) == replayed(url) == urls_in(folder)


def refused(url: str, folder: Path) -> str:
    """Why a table may not be published there; nothing has changed there for it."""
    before = {name: open_store(url).read(name) for name in open_store(url).sizes()}
    with pytest.raises(UserError, match="must be empty or a copy of this table") as early:
        copy.check(url, folder)
    with pytest.raises(UserError) as late:
        copy.publish(url, folder)
    assert str(early.value) == str(late.value)
    assert early.value.exit_code == 2
    assert {name: open_store(url).read(name) for name in open_store(url).sizes()} == before
    return str(early.value)


def test_another_table_is_refused(tmp_path: Path, bucket: str) -> None:
    url = f"{bucket}/t"
    for name in ("one", "two"):
        first(tmp_path / name)
    copy.publish(url, tmp_path / "one")
    reason = refused(url, tmp_path / "two")
    assert f"got {url} with another _delta_log/{0:020}.json; choose another folder, or empty that one" in reason


def test_a_place_with_other_files_is_refused(tmp_path: Path, bucket: str) -> None:
    first(tmp_path / "t")
    (tmp_path / "thesis.txt").write_text("Chapter 1")
    open_store(bucket).put(tmp_path / "thesis.txt", "theses/mine.txt")
    assert "theses/mine.txt" in refused(bucket, tmp_path / "t")


def test_a_folder_that_a_store_s_own_page_has_made_is_empty(tmp_path: Path, bucket: str) -> None:
    first(tmp_path / "t")
    open_store(bucket).put_new(empty_file(tmp_path), "t/")
    assert copy.publish(f"{bucket}/t", tmp_path / "t")["published_version"] == 1
    assert urls_at(f"{bucket}/t") == urls_in(tmp_path / "t")


def empty_file(folder: Path) -> Path:
    (folder / "empty").touch()
    return folder / "empty"


def test_a_copy_that_is_ahead_or_went_another_way_is_refused(tmp_path: Path, bucket: str) -> None:
    """So it is after a backup of the table was brought back: the copy's readers know versions that this one lacks."""
    folder, backup, url = tmp_path / "t", tmp_path / "backup", f"{bucket}/t"
    first(folder)
    shutil.copytree(folder, backup)
    second(folder)
    copy.publish(url, folder)
    assert f"{2:020}.json" in refused(url, backup)
    second(backup)  # the same file, in a commit of another time
    assert f"{2:020}.json" in refused(url, backup)


def test_a_copy_so_far_behind_that_nothing_tells_whose_it_is_is_refused(tmp_path: Path, bucket: str) -> None:
    folder, url = tmp_path / "t", f"{bucket}/t"
    first(folder)
    copy.publish(url, folder)
    for chapter in (second, checkpoint, forget, third):
        chapter(folder)
    assert f"{0:020}.json" in refused(url, folder)


def test_of_two_tables_that_find_an_empty_place_at_once_the_second_is_refused(
    tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{bucket}/t"
    add(tmp_path / "one", "one", "a")
    add(tmp_path / "two", "two", "b")
    copy.publish(url, tmp_path / "one")
    monkeypatch.setattr(Store, "sizes", lambda _: {})
    with pytest.raises(UserError, match="must be empty or a copy of this table"):
        copy.publish(url, tmp_path / "two")
    assert urls_at(url) == replayed(url) == urls_in(tmp_path / "one")


def test_an_entry_that_arrived_although_its_answer_did_not_is_no_other_table(
    tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, url = tmp_path / "t", f"{bucket}/t"
    first(folder)
    copy.publish(url, folder)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "sizes", lambda _: {})
        copy.publish(url, folder)
    assert urls_at(url) == urls_in(folder)


def test_a_store_that_is_away_leaves_the_table_right_and_the_next_run_catches_up(
    tmp_path: Path,
    bucket: str,
    free_port: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, url = tmp_path / "t", f"{bucket}/t"
    first(folder)
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
        copy.check(url, folder)
        assert "scoring continues, and tries again at its end" in capsys.readouterr().err
        with pytest.raises(PublishError, match="but not published; the next run publishes them: the store of") as away:
            copy.publish(url, folder)
        assert away.value.exit_code == 1
    S3FileSystem.clear_instance_cache()
    second(folder)
    assert copy.publish(url, folder)["published_version"] == 2
    assert urls_at(url) == urls_in(folder)


def test_a_driver_without_a_key_and_a_bucket_that_is_not_there_are_told(
    tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first(tmp_path / "t")
    with pytest.raises(PublishError, match="bucket does not exist"):
        copy.publish(f"{bucket}0/t", tmp_path / "t")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    S3FileSystem.clear_instance_cache()
    with pytest.raises(PublishError, match="give the driver its key"):
        copy.publish(f"{bucket}/t", tmp_path / "t")


def test_a_mounted_folder_is_a_store_and_what_a_killed_driver_was_writing_there_is_nobodys(tmp_path: Path) -> None:
    folder, mount = tmp_path / "t", tmp_path / "mount" / "t"
    first(folder)
    (mount / "run-r1").mkdir(parents=True)
    (mount / "run-r1" / ".part-a.parquet.4711").write_bytes(b"PAR1 and no more")
    copy.publish(mount.as_uri(), folder)
    assert urls_in(mount) == urls_in(folder)
    second(folder)
    for step in range(2):
        assert not survives(step, mount.as_uri(), folder, Folder)
        assert urls_in(mount) == ["http://example.com/a", "http://example.com/b"]
    assert copy.publish(mount.as_uri(), folder)["published_version"] == 2
    assert urls_in(mount) == urls_in(folder)
    other = tmp_path / "other"
    first(other)
    with pytest.raises(UserError, match="must be empty or a copy of this table"):
        copy.publish(mount.as_uri(), other)


def test_a_store_whose_package_is_absent_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    first(tmp_path / "t")
    with pytest.raises(UserError, match=r"needs the package gcsfs; .*; run .venv/bin/pip install gcsfs"):
        copy.check("gs://bucket/t", tmp_path / "t")


def test_without_a_place_nothing_is_published(tmp_path: Path) -> None:
    copy.check(None, tmp_path)
    assert copy.publish(None, tmp_path) is None
