"""The record of a network that labels images: from the registry, from a file, or one of these converted."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from windrow.model.canaries import Canary
from windrow.model.form import Form, Shape


@dataclass(frozen=True)
class Network:
    """A network with its file, and everything that is needed to run it.

    Attributes:
        name: the registered model's, or the one that the page gives.
        version: the registered version's number, or the beginning of `digest`.
        file: a file or a folder, by `form.kind`. In a plan, the name under which Spark sent it.
        digest: SHA-256 of the file; of a folder, over the names and contents of its files.
        shape: of an image, (height, width, channels); None until the first worker that loads it reports it.
        labels: the classes' names in the order of its scores.
        form: how its file is read, and the form of its input.
        open_ended: whether it may have more classes than `labels`.
        canaries: its labels for the images of canaries.py; empty if they are not recorded.
        takes_bytes: whether it decodes a JPEG's bytes by itself.
        dataset_digest: of the data set that it was trained on; None if that is not recorded.
    """

    name: str
    version: str
    file: Path
    digest: str
    shape: Shape | None
    labels: tuple[str, ...]
    form: Form = field(default_factory=Form)
    open_ended: bool = False
    canaries: tuple[Canary, ...] = ()
    takes_bytes: bool = False
    dataset_digest: str | None = None

    @property
    def identity(self) -> tuple[str, str]:
        """Name and version."""
        return self.name, self.version
