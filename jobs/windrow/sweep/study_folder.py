"""Use a study's folder: its lock, which one sweep at a time holds, and its identity in study.json."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Mapping
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from windrow.errors import StudyError
from windrow.experiment import Experiment
from windrow.files import is_locked, locked_or_refused, write_json
from windrow.sweep.ledger import FILE
from windrow.sweep.sampling import pruners
from windrow.training import networks

_IDENTITY = "study.json"
_LOCK = "lock"
JOURNAL = "journal.log"
"""The file that Optuna writes."""


def locked(folder: Path) -> AbstractContextManager[None]:
    """Lock the folder for this process, without waiting.

    Raises:
        StudyError: another sweep holds the lock; the message names its process.
    """

    def refusal(owner: str) -> StudyError:
        return StudyError(
            f"one sweep at a time may work in {folder}; {owner} does; wait for it, or take another folder"
        )

    return locked_or_refused(folder / _LOCK, "", refusal)


def is_at_work(folder: Path) -> bool:
    """Return whether a sweep is running in a study's folder, with care not to block a sweep that begins meanwhile."""
    path = folder / _LOCK
    found = re.match(r"process (\d+) on (.*), since", path.read_text(encoding="utf-8")) if path.is_file() else None
    # Look at the process list first: testing the lock holds it for a moment, and a sweep that begins in that moment
    # would be refused.
    if found is None or (found[2] == socket.gethostname() and not psutil.pid_exists(int(found[1]))):
        return False
    return is_locked(path)  # another process may have the process id of a sweep that has ended


def dataset_of(folder: Path) -> str:
    """Return the digest of a study's data set, for readers that do not have the data set.

    Raises:
        StudyError: the folder holds no study.
    """
    check_present(folder)
    return str(json.loads((folder / _IDENTITY).read_text(encoding="utf-8"))["dataset"])


def check_present(folder: Path) -> None:
    """Check that the folder holds a study.

    Raises:
        StudyError: the folder holds no study.
    """
    if not (folder / _IDENTITY).is_file() or not (folder / FILE).is_file():
        raise StudyError(f"--study must hold a study; got {folder}; run sweep.py first")


def identify(
    folder: Path, page: Experiment, dataset_digest: str, network_source: str | None, reading: bool = False
) -> dict[str, str]:
    """Return the study's identity, the content of study.json; write the file first if the folder holds no study.

    A study of another revision of the built-in networks may be read, and so promoted, but does not continue: its old
    and new values would not be comparable.

    Raises:
        StudyError: the folder holds a study of another page, network or data set.
    """
    mine = {"search": page.search_digest(), "dataset": dataset_digest, "experiment": page.name}
    if network_source is not None:
        mine["network file"] = sha256(network_source.encode()).hexdigest()[:16]
    if (revision := networks.revision(page)) > 1 and not reading:
        mine["revision of the built-in networks"] = str(revision)
    path = folder / _IDENTITY
    if path.is_file():
        found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
        different = [key for key, value in mine.items() if found.get(key) != value]
        if different:
            what = " and ".join(different)
            if page.network.backbone is not None:
                what = what.replace("dataset", "dataset, or features of it by another backbone or with other views")
            raise StudyError(
                f"a study continues only with the same page, network and data; {folder} has another {what}; "
                "take another folder"
            )
        return found
    identity = {**mine, "id": sha256(json.dumps(mine, sort_keys=True).encode()).hexdigest()[:16]}
    identity["objective"] = page.sweep.objective  # for a later study that uses this one as sweep.warm_start
    if page.sweep.pruner != "none":
        identity["prune_from"] = str(pruners.first_decision(page.sweep))  # so that the default may change
    write_identity(folder, identity)
    return identity


def write_identity(folder: Path, identity: Mapping[str, str]) -> None:
    """Write the study's identity, and other facts about the study, whole or not at all."""
    write_json(folder / _IDENTITY, identity)


def forget(folder: Path) -> None:
    """Remove the identity and the journal of a study without trials, so that another search can begin in the folder."""
    for name in (_IDENTITY, JOURNAL):
        (folder / name).unlink(missing_ok=True)
