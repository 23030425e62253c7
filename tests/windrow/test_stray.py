"""What systems leave among files is known by its name; names of data are not taken for it."""

from __future__ import annotations

import pytest
from windrow.stray import is_stray


@pytest.mark.parametrize(
    "name",
    [
        *(".DS_Store", "._cat.png", ".git", ".ipynb_checkpoints", ".Trash-1000", "__MACOSX", "Icon\r", "Thumbs.db"),
        *("THUMBS.DB", "desktop.ini", "$RECYCLE.BIN", "System Volume Information", "lost+found", "@eaDir", "#recycle"),
        *("x.csv.tmp", "x.csv~", "x.csv.bak", "x.csv.swp", ".x.csv.swp", "x.csv#", "#x.csv#", "X.CSV.BAK", "a.temp"),
        *("x.csv.download", "x.csv.opdownload", "Network Trash Folder", "Temporary Items", "~$x.csv"),
        *("cat.png:Zone.Identifier", "cat.png.orig", "x.csv.rej", "cat.png.!qB", "cat.png.!ut", "cat.png.bc!"),
        *("cat.sync-conflict-20261128-101500-ABCDEFG.png", "cat.png.tmp.1234", "FOUND.000", "found.012"),
        "x.csv.sb-1a2b3c4d-Ab12Cd",
        *("cat.png.crdownload", "cat.PNG.part", "~$labels.docx", "__pycache__", ".directory", ".nfs00000001"),
    ],
)
def test_leftovers_are_stray(name: str) -> None:
    assert is_stray(name)


@pytest.mark.parametrize(
    "name",
    [
        "cat",
        "_cat",
        "__cat",
        "cat.png",
        "parts",
        "1",
        "thumbs",
        "$5",
        "@home",
        "C#",
        "F#",
        "~cat",
        "tmp",
        "swp",
        "a#b.png",
        "bak",
        "temporary",
        "download",
        "x.swf",
        "orig",
        "cat.orig",  # an image of that name is read by its content
        "cat.old",
        "cat.png.old",
        "found",
        "found.png",
        "FOUND.JPG",
        "lost.000",
        "sync-conflict.png",
        "Zone.Identifier",
        "a.tmp.png",
        "tmp.1",
        "spare.part.png",
    ],
)
def test_data_are_not(name: str) -> None:
    assert not is_stray(name)
