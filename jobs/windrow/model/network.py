"""Describe a network that labels images: one from the registry or from a file, or a converted one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from windrow.model.canaries import Canary
from windrow.model.form import Form, Shape


@dataclass(frozen=True)
class Network:
    """A network with its file, and everything that is needed to run it.

    Attributes:
        name: name of the registered model, or of the page's own network.
        version: number of the registered version, or the beginning of `digest`.
        file: path of a file or a folder, depending on `form.kind`; in a plan, the name under which Spark sent it.
        digest: SHA-256 of the file; for a folder, of the names and contents of its files.
        shape: (height, width, channels) of an image; None until the first worker that loads the network reports it.
        labels: names of the classes, in the order of the network's scores.
        form: how the file is read, and what input the network takes.
        open_ended: whether the network may have more classes than `labels`.
        canaries: the network's labels for the images of canaries.py; empty if they are not recorded.
        takes_bytes: whether the network decodes a JPEG's bytes by itself.
        dataset_digest: digest of the data set that the network was trained on; None if it is not recorded.
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
        """Return name and version."""
        return self.name, self.version
