"""Write the demo's feed: URLs of test images on the image server, and some URLs that can't be labelled.

HOME/feeds/NAME/demo.txt     one URL per line, for the score DAG
HOME/demo/NAME/truth.json    the true labels, and the URLs without one, for the demo's summary only
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from windrow.data import manifest, shards
from windrow.files import write_json, write_text
from windrow.laptop.image_server import DIGEST_LENGTH, image_path

MOST_IMAGES = 500


def dataset_folder(home: Path, name: str) -> Path:
    """Return the folder of the demo's own copy of an experiment's data set, which the image server reads."""
    return home / "demo" / name / "dataset"


def write(home: Path, name: str, server: str) -> dict[str, str]:
    """Write the feed and the true labels for up to 500 test images of experiment `name`.

    Args:
        home: WINDROW_HOME.
        name: the experiment's name.
        server: the image server's address, without a slash at the end.

    Returns:
        URL → true label, for the URLs that show an image.

    Raises:
        DatasetError: no data set was prepared.
    """
    folder = dataset_folder(home, name)
    dataset = manifest.read(folder)
    labels = shards.load_split(folder, "test")[1][:MOST_IMAGES]
    truth = {
        f"{server}{image_path(name, dataset.digest, index)}": dataset.labels[label]
        for index, label in enumerate(labels.tolist())
    }
    broken = broken_urls(server, name, dataset.digest)
    # Write the truth first: without it the summary could not check the labels.
    write_json(truth_file(home, name), {"reachable": truth, "broken": broken})
    write_lines(home / "feeds" / name / "demo.txt", [*truth, *broken])
    return truth


def broken_urls(server: str, name: str, digest: str) -> dict[str, str]:
    """Return URL → reason, for the URLs of the feed that can't be labelled."""
    return {
        f"{server}{image_path(name, digest, 10**9 - 1)}": "404",
        f"{server}/{name}/{digest[:DIGEST_LENGTH]}/no-such-folder/0.png": "404",
        f"{server}/{name}/about.html": "a page, not an image",
        f"{server}{image_path(name, digest, 0, 'cut')}": "an image that ends half-way",
        f"http://images.{name.replace('_', '-')}.invalid/0.png": "a host that does not resolve",
    }


def read_truth(home: Path, name: str) -> Mapping[str, Mapping[str, str]]:
    """Return what `write` has written to truth.json: {"reachable": URL → label, "broken": URL → reason}."""
    values: dict[str, dict[str, str]] = json.loads(truth_file(home, name).read_text(encoding="utf-8"))
    return values


def truth_file(home: Path, name: str) -> Path:
    """Return the path of the file of true labels, outside the feed's folder: a glob there could take it for a feed."""
    return home / "demo" / name / "truth.json"


def write_lines(path: Path, lines: list[str]) -> None:
    """Write a feed atomically: a scoring run that starts meanwhile reads either the new or the old feed."""
    write_text(path, "".join(f"{line}\n" for line in lines))
