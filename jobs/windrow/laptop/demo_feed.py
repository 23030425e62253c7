"""The demo's feed: URLs of test images on the image server, and some that can't be labelled, each for another reason.

HOME/feeds/NAME/demo.txt     one URL a line; what the score DAG reads
HOME/demo/NAME/truth.json    URL → true label; what only the demo's summary reads
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from windrow.data import manifest, shards
from windrow.files import write_json, write_text
from windrow.laptop.images import DIGEST_LENGTH, image_path

MOST_IMAGES = 500


def dataset_folder(home: Path, name: str) -> Path:
    """Where the demo's own copy of an experiment's data set lies: the image server's."""
    return home / "demo" / name / "dataset"


def write(home: Path, name: str, server: str) -> dict[str, str]:
    """Write feed and truth for the prepared data set of `name`; URL → label, reachable ones only.

    Args:
        home: WINDROW_HOME.
        name: the experiment's name.
        server: the image server's address, without a slash at the end.

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
    # Truth first: a feed without it could not be judged.
    write_json(truth_file(home, name), {"reachable": truth, "broken": broken})
    write_lines(home / "feeds" / name / "demo.txt", [*truth, *broken])
    return truth


def broken_urls(server: str, name: str, digest: str) -> dict[str, str]:
    """URLs that end without a label → why."""
    return {
        f"{server}{image_path(name, digest, 10**9 - 1)}": "404",
        f"{server}/{name}/{digest[:DIGEST_LENGTH]}/no-such-folder/0.png": "404",
        f"{server}/{name}/about.html": "a page, not an image",
        f"{server}{image_path(name, digest, 0, 'cut')}": "an image that ends half-way",
        f"http://images.{name.replace('_', '-')}.invalid/0.png": "a host that does not resolve",
    }


def read_truth(home: Path, name: str) -> Mapping[str, Mapping[str, str]]:
    """What `write` noted: {"reachable": URL → label, "broken": URL → why}."""
    values: dict[str, dict[str, str]] = json.loads(truth_file(home, name).read_text(encoding="utf-8"))
    return values


def truth_file(home: Path, name: str) -> Path:
    """Beside the data set, not in the feed's folder, where a glob could take it for a feed."""
    return home / "demo" / name / "truth.json"


def write_lines(path: Path, lines: list[str]) -> None:
    """Write a feed whole: a scoring run that starts now reads the new feed or the former one."""
    write_text(path, "".join(f"{line}\n" for line in lines))
