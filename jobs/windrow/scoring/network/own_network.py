"""Find or download the network file that an experiment page names, check it, and extract it from its archive.

    bring(page.scoring.network, paths.home(), scratch).identity      # ("classify_image_graph_def", "2c7a1b...")

This runs on the driver, without TensorFlow, so the network is not loaded; the first worker reads its shape and classes.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from windrow.data import download
from windrow.errors import UserError
from windrow.experiment.rules.network_file import NetworkFileSection, is_archive, is_web_address
from windrow.model.form import Form
from windrow.model.network import Network
from windrow.scoring.network import labels, unpacking

DOWNLOADS = Path("downloads") / "networks"
_MAX_BYTES = 10_000_000_000  # larger than any network for images; a server that sends more sends something else
_VERSION_DIGITS = 12


def bring(section: NetworkFileSection, home: Path, scratch: Path) -> Network:
    """Bring the network and its labels to this machine, and return the network.

    Args:
        section: the page's section, which names the files.
        home: the folder for relative paths and for downloads.
        scratch: a folder on the driver for extracted files.

    Raises:
        UserError: a file is missing, or does not have the digest on the page.
        DownloadError: a download failed, or returned another file than before.
    """
    file = _local(section.file, home, section.sha256)
    if section.sha256 and not is_web_address(section.file) and (found := digest_of(file)) != section.sha256:
        raise UserError(
            f"scoring.network.sha256 must be the digest of {file}; got {section.sha256[:16]}... for {found}; "
            "bring the right file, or correct the page"
        )
    network = _member(file, section.member, scratch) if section.member else file
    if section.kind == "saved_model" and not network.is_dir():
        raise UserError(f"{network.name} must be a .keras file, a GraphDef (.pb) or a SavedModel's folder; it is not")
    digest = digest_of(network)
    black, white = section.range or (0.0, 255.0)
    return Network(
        name=section.name,
        version=digest[:_VERSION_DIGITS],
        file=network,
        digest=digest,
        shape=section.shape,
        labels=labels.read([_label_file(name, section, file, home, scratch) for name in section.labels]),
        form=Form(section.kind, section.feed, section.fetch, section.resize, black, white),
        open_ended=len(section.labels) == 2,
    )


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file; for a folder, that of a list of its files' names and digests."""
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    files = sorted(inner for inner in path.rglob("*") if inner.is_file())
    lines = [f"{digest_of(inner)}  {inner.relative_to(path).as_posix()}\n" for inner in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _local(name: str, home: Path, digest: str | None = None) -> Path:
    if is_web_address(name):
        mark = hashlib.sha256(name.encode()).hexdigest()[:16]  # two sites may have files of the same name
        folder = home / DOWNLOADS / mark
        return download.fetch_trusted(name, folder, digest, key="scoring.network.sha256", max_bytes=_MAX_BYTES)
    path = home / Path(name).expanduser()
    if not path.exists():
        raise UserError(f"scoring.network must name files that are there; {path} is not; bring it, or correct the page")
    return path


def _member(archive: Path, member: str, scratch: Path) -> Path:
    found = unpacking.extract(archive, member, scratch / "network")
    if found is None:
        raise UserError(f"scoring.network.member must be in {archive.name}; {member!r} is not; correct the page")
    return found


def _label_file(name: str, section: NetworkFileSection, file: Path, home: Path, scratch: Path) -> Path:
    """Return a file of labels: from the network's archive if it has the file, else a local or a downloaded file."""
    inside = is_archive(section.file) and not is_web_address(name)
    found = unpacking.extract(file, name, scratch / "network") if inside else None
    return found or _local(name, home)
