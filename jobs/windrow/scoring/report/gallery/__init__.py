"""The gallery of a scoring run: one page with a few pictures and their labels, failures and reasons, and the figures.

    TABLE/_windrow/galleries/RUN/gallery.html
    TABLE/_windrow/galleries/RUN/pictures.json      the same pictures for the page in Airflow

Both are written before the run's commit, so that they can be logged to MLflow at any later time. Only the newest run's
gallery stays.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from windrow.files import write_text
from windrow.scoring.report import album
from windrow.scoring.report.album import Album, Chosen, Picture
from windrow.scoring.report.failures import Failure
from windrow.scoring.report.figures import Figures
from windrow.scoring.report.gallery.rendering import render
from windrow.scoring.table.lock import OWN

_FOLDER = "galleries"
_PICTURES = "pictures.json"


def place(table: Path, run_id: str) -> Path:
    """Return the path of a run's gallery in a table's folder, whether or not it exists."""
    return table / OWN / _FOLDER / run_id / "gallery.html"


def write(path: Path, name: str, figures: Figures, pictures: Album, failed: Sequence[Failure]) -> None:
    """Write a run's gallery and its pictures.

    A fault while drawing is a warning on standard error, and the run has no gallery: its rows are worth more.

    Args:
        path: the file to write; see `place`.
        name: the experiment's name.
        figures: the run's figures.
        pictures: the thumbnails that the run's tasks stored, to choose from.
        failed: a few failed URLs for each reason.
    """
    try:
        chosen = album.choose(pictures)
        text = render(name, figures, chosen, failed)
    except Exception as error:
        print(
            f"warning: the run has no gallery; drawing it failed with {type(error).__name__}: {error}", file=sys.stderr
        )
        return
    write_text(path.with_name(_PICTURES), json.dumps(asdict(chosen)))
    write_text(path, text)


def read(table: Path, run_id: str) -> Chosen | None:
    """Read the pictures of a run; None if the run wrote no gallery, or a later run has removed it."""
    try:
        values = json.loads(place(table, run_id).with_name(_PICTURES).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return Chosen(**{name: [Picture(**each) for each in pictures] for name, pictures in values.items()})


def prune(table: Path) -> None:
    """Remove all galleries of a table except the newest."""
    folders = sorted((table / OWN / _FOLDER).glob("*"), key=lambda folder: folder.stat().st_mtime)
    for folder in folders[:-1]:
        shutil.rmtree(folder, ignore_errors=True)
