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
    ],
)
def test_data_are_not(name: str) -> None:
    assert not is_stray(name)
