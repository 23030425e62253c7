"""The gallery of a scoring run: a few pictures with their labels, failures with reasons, and the figures, on one page.

    TABLE/_windrow/galleries/RUN/gallery.html
    TABLE/_windrow/galleries/RUN/pictures.json      the same pictures for the page in Airflow

Both are written before the run's commit, so that they can go to MLflow at any later time. Those of the newest run stay.
"""

from __future__ import annotations

import json
import shutil
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
    """Return the path of the gallery of a table's run, whether it exists or not."""
    return table / OWN / _FOLDER / run_id / "gallery.html"


def write(path: Path, name: str, figures: Figures, pictures: Album, failed: Sequence[Failure]) -> Path:
    """Write a run's gallery.

    Args:
        path: see `place`.
        name: the experiment's.
        figures: the run's.
        pictures: thumbnails of the run's tasks, to choose from.
        failed: a few URLs of each reason.
    """
    chosen = album.choose(pictures)
    text = render(name, figures, chosen, failed)
    write_text(path.with_name(_PICTURES), json.dumps(asdict(chosen)))
    return write_text(path, text)


def read(table: Path, run_id: str) -> Chosen | None:
    """Read the pictures of a run; None if the run kept none, or a later run has replaced them."""
    try:
        values = json.loads(place(table, run_id).with_name(_PICTURES).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return Chosen(**{name: [Picture(**each) for each in pictures] for name, pictures in values.items()})


def prune(table: Path) -> None:
    """Remove the galleries of a table except the newest."""
    folders = sorted((table / OWN / _FOLDER).glob("*"), key=lambda folder: folder.stat().st_mtime)
    for folder in folders[:-1]:
        shutil.rmtree(folder, ignore_errors=True)
