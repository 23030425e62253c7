"""The public mirrors of MNIST and Fashion-MNIST, and the digests of their files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from windrow.data import download
from windrow.data.download import RemoteFile

# The largest file is 30 MB, or 47 MB gunzipped: a much larger download is not the right file.
_MAX_BYTES = 200_000_000

# Training images and labels, test images and labels.
FILE_NAMES = (
    *("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    *("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
)


@dataclass(frozen=True)
class Published:
    """A data set with public mirrors. `files` are in the order of FILE_NAMES; `labels` are the names of the classes."""

    mirrors: tuple[str, ...]
    files: tuple[RemoteFile, ...]
    labels: tuple[str, ...]


_MNIST_SHA256 = (
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)
# Of the contents of the files that zalandoresearch/fashion-mnist publishes with MD5 digests of the .gz files.
_FASHION_SHA256 = (
    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
)


def _files(digests: Sequence[str]) -> tuple[RemoteFile, ...]:
    """Return the files with the SHA-256 of their contents: mirrors compress differently, and users unpack them."""
    return tuple(RemoteFile(name, digest, of="contents") for name, digest in zip(FILE_NAMES, digests, strict=True))


MNIST = Published(
    mirrors=(
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
    ),
    files=_files(_MNIST_SHA256),
    labels=tuple("0123456789"),
)
FASHION_MNIST = Published(
    mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    files=_files(_FASHION_SHA256),
    # https://github.com/zalandoresearch/fashion-mnist#labels
    labels=(
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
)


def has_files_of_one(files: Sequence[Path]) -> bool:
    """Return whether files of the user's, in the order of FILE_NAMES, are those of a published data set."""
    homes = (MNIST, FASHION_MNIST)
    return any(
        all(download.matches(remote, path, _MAX_BYTES) for remote, path in zip(home.files, files, strict=True))
        for home in homes
    )


def fetch_all(home: Published, mirrors: Sequence[str], folder: Path) -> list[Path]:
    """Download the files of a published data set; return their paths, in the order of FILE_NAMES.

    Args:
        home: the data set.
        mirrors: base URLs to use instead of the public ones; if empty, the public ones are used.
        folder: a folder for this data set alone; undamaged files that are there already are not downloaded again.

    Raises:
        DatasetError: a mirror is not http or https.
        DownloadError: no mirror served one of the files.
        ServiceError: the disk is full.
    """
    return [download.fetch(file, mirrors or home.mirrors, folder, max_bytes=_MAX_BYTES) for file in home.files]
