"""Know the files and folders that systems and programs leave among a user's data, and that are never data.

    images = [path for path in folder.iterdir() if not is_stray(path.name)]

Folders of images, IDX files and feeds are all read without them.
"""

from __future__ import annotations

import re
from fnmatch import translate

_NAMES = frozenset(
    {
        *("__macosx", "__pycache__", "icon\r"),  # macOS, Python
        *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini"),  # Windows
        *("$recycle.bin", "system volume information", "recycler"),
        *(f"found.{number:03}" for number in range(1000)),  # what chkdsk saves of broken files
        *("network trash folder", "temporary items"),  # macOS on a server's disk
        *("lost+found", "@eadir", "#recycle", "@recycle", "@recently-snapshot", "#snapshot"),  # Linux, storage servers
    }
)
_UNFINISHED = (
    *("*.crdownload", "*.download", "*.opdownload", "*.part", "*.partial", "*.filepart", "*.aria2"),  # browsers
    *("*.!qb", "*.!ut", "*.bc!", "*.fdmdownload"),  # sharers of files, download managers
)
_LEFT = (
    *_UNFINISHED,
    "~$*",  # office programs
    *("*:zone.identifier", "*.sync-conflict-[0-9]*", "*.sb-????????-??????"),  # Windows, Syncthing, macOS
    "*.*.tmp.[0-9]*",  # a program that writes and then renames, with its process
    *("*~", "*.bak", "*.tmp", "*.temp", "*.sw[nopx]", "#*#", "*.*#"),  # editors and sync programs; C# may be a class
    *("*.*.orig", "*.*.rej"),  # merges and patches
)
"""Unfinished downloads, locks, backups and temporary files."""
_IS_LEFT, _IS_UNFINISHED = (re.compile("|".join(map(translate, names))) for names in (_LEFT, _UNFINISHED))
_IN_ICLOUD = re.compile(r"\.(.+)\.icloud")


def is_stray(name: str) -> bool:
    """Return whether a file or folder of this name, without its folders, is never data: hidden, or left by a system."""
    return name.startswith(".") or name.lower() in _NAMES or is_leftover(name)


def is_leftover(name: str) -> bool:
    """Return whether this is the name of an unfinished download, a lock, a backup or a temporary file.

    A folder may have such a name by chance, so that its user should know that it is not read.
    """
    return _IS_LEFT.match(name.lower()) is not None


def is_unfinished(name: str) -> bool:
    """Return whether this is the name of an unfinished download."""
    return _IS_UNFINISHED.match(name.lower()) is not None


def kept_in_icloud(name: str) -> str | None:
    """Return the name of the file for which macOS has this one in its place, with its content in iCloud alone."""
    found = _IN_ICLOUD.fullmatch(name)
    return found[1] if found else None
