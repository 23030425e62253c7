"""Find the column of a table, or the key of a JSON record, that has the URLs."""

from __future__ import annotations

from collections.abc import Collection

from windrow.scoring.fetch.urls import INVISIBLE

URL = "url"


def url_column(names: Collection[str]) -> str | None:
    """Return the name of the column with the URLs: `url`, or the only one that differs from it in capitals alone.

    Databases and Spark's SQL write `URL` or `Url` as often. Blanks around the name do not count, nor what is copied
    with it and can't be seen. None means that no column has this name, or that several have it in capitals, so that it
    is not clear which one is meant.
    """
    plain = {name: name.strip().strip(INVISIBLE) for name in names}
    found = [name for name in names if plain[name].lower() == URL]
    exact = [name for name in found if plain[name] == URL]
    return (exact or found)[0] if len(exact) == 1 or len(found) == 1 else None
