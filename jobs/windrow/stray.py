"""Know the files and folders that systems and programs leave among a user's data, and that are never data.

    images = [path for path in folder.iterdir() if not is_stray(path.name)]

Folders of images, IDX files and feeds are all read without them.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

_NAMES = frozenset(
    {
        *("__macosx", "__pycache__", "icon\r"),  # macOS, Python
        *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini"),  # Windows
        *("$recycle.bin", "system volume information", "recycler"),
        *("lost+found", "@eadir", "#recycle", "@recycle", "@recently-snapshot", "#snapshot"),  # Linux, storage servers
    }
)
_UNFINISHED = ("*.crdownload", "*.part", "*.partial", "*.filepart", "~$*", "*.aria2")
"""Downloads that browsers have not finished, and the lock files of office programs."""


def is_stray(name: str) -> bool:
    """Return whether a file or folder of this name, without its folders, is never data: hidden, or left by a system."""
    low = name.lower()
    return name.startswith(".") or low in _NAMES or any(fnmatchcase(low, pattern) for pattern in _UNFINISHED)
