"""What systems leave among files is known by its name; names of data are not taken for it."""

from __future__ import annotations

import pytest
from windrow.stray import is_stray


@pytest.mark.parametrize(
    "name",
    [
        *(".DS_Store", "._cat.png", ".git", ".ipynb_checkpoints", ".Trash-1000", "__MACOSX", "Icon\r", "Thumbs.db"),
        *("THUMBS.DB", "desktop.ini", "$RECYCLE.BIN", "System Volume Information", "lost+found", "@eaDir", "#recycle"),
        *("cat.png.crdownload", "cat.PNG.part", "~$labels.docx", "__pycache__", ".directory", ".nfs00000001"),
    ],
)
def test_leftovers_are_stray(name: str) -> None:
    assert is_stray(name)


@pytest.mark.parametrize("name", ["cat", "_cat", "__cat", "cat.png", "parts", "1", "thumbs", "$5", "@home"])
def test_data_are_not(name: str) -> None:
    assert not is_stray(name)
