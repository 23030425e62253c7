"""A run for people: a few pictures with their labels, what failed and why, and the figures, as one page of HTML.

    TABLE/_windrow/galleries/RUN/gallery.html
    TABLE/_windrow/galleries/RUN/pictures.json      the same pictures for the page in Airflow

They are written before the run's commit, so that MLflow can be told of it at any time. The newest run's stay.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from windrow.files import write_text
from windrow.scoring.report import album
from windrow.scoring.report.album import Album, Chosen, Picture
from windrow.scoring.report.gallery import page
from windrow.scoring.report.gallery.failures import failures
from windrow.scoring.table.lock import OWN

_FOLDER = "galleries"
_PICTURES = "pictures.json"


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
    chosen = album.choose(pictures)
    text = page.render(name, told, chosen, failures(files))
    write_text(path.with_name(_PICTURES), json.dumps(asdict(chosen)))
    return write_text(path, text)


def read(table: Path, run_id: str) -> Chosen | None:
    """The pictures of a run; None where none were kept, or a later run's took their place."""
    try:
        values = json.loads(place(table, run_id).with_name(_PICTURES).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return Chosen(**{name: [Picture(**each) for each in pictures] for name, pictures in values.items()})


def prune(table: Path) -> None:
    """Remove the galleries of a table but the newest."""
    folders = sorted((table / OWN / _FOLDER).glob("*"), key=lambda folder: folder.stat().st_mtime)
    for folder in folders[:-1]:
        shutil.rmtree(folder, ignore_errors=True)
