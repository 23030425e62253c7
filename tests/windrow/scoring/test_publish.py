"""The copy in an object store: a whole table whenever a reader looks, whatever was killed, and nobody else's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from windrow.scoring import publish

from .test_table import add, opened, urls_in


def reading(url: str) -> Any:
    """The copy as delta-rs opens it, by its own way to the store."""
    from deltalake import DeltaTable

    return DeltaTable(url, storage_options={"allow_http": "true"})


def urls_at(url: str) -> list[str]:
    return sorted(reading(url).to_pyarrow_table(columns=["url"])["url"].to_pylist())


def test_a_copy_is_the_table_and_only_what_is_new_travels(tmp_path: Path, bucket: str) -> None:
    folder, url = tmp_path / "t", f"{bucket}/tables/t"
    add(folder, "r1", "a", "b")
    first = publish.publish(url, folder)
    assert (first["published"], first["published_version"], first["uploaded"]) == (url, 1, 3)
    assert urls_at(url) == urls_in(folder)
    assert publish.publish(url, folder)["uploaded"] == 0
    add(folder, "r2", "c")
    assert publish.publish(url, folder)["uploaded"] == 2
    assert urls_at(url) == urls_in(folder)
    assert reading(url).history(1)[0]["runId"] == "r2"
    assert reading(url).version() == opened(folder).version()
