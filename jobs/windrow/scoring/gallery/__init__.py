"""A run for people: a few pictures with their labels, what failed and why, and the figures, as one page of HTML.

    TABLE/_windrow/galleries/RUN/gallery.html

It is written before the run's commit, so that MLflow can be given it whenever it is told of the run. The newest stays.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from windrow.scoring import album
from windrow.scoring.album import Album
from windrow.scoring.gallery import page
from windrow.scoring.gallery.failures import failures
from windrow.scoring.hold import OWN

_FOLDER = "galleries"


def place(table: Path, run_id: str) -> Path:
    """Where the gallery of a run of a table is, or would be."""
    return table / OWN / _FOLDER / run_id / "gallery.html"


def write(path: Path, name: str, told: Mapping[str, Any], pictures: Album, files: Sequence[Path]) -> Path:
    """Write a run's gallery.

    Args:
        path: its place.
        name: the experiment's.
        told: the run's figures.
        pictures: what its tasks have put aside.
        files: the Parquet files of the run.
    """
    text = page.render(name, told, album.choose(pictures), failures(files))
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}")
    aside.write_text(text, encoding="utf-8")
    return aside.replace(path)


def prune(table: Path) -> None:
    """Remove the galleries of a table but the newest."""
    folders = sorted((table / OWN / _FOLDER).glob("*"), key=lambda folder: folder.stat().st_mtime)
    for folder in folders[:-1]:
        shutil.rmtree(folder, ignore_errors=True)
