"""Write an experiment page from a folder of images: make new NAME=shoes FOLDER=/data/shoes FEED=/data/shoes-urls.

    PYTHONPATH=jobs .venv/bin/python -m windrow.laptop.page.new --name shoes --folder /data/shoes

The page gets what the folder shows. Photographs, if there are at most 5,000, get heads on a backbone
(docs/transfer.md); more images, small ones and grey ones get a small convolutional network with a space that two cores
search in minutes. Every value is yours to change.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from windrow import experiment, text_files
from windrow.errors import UserError, WindrowError
from windrow.experiment.network_section import EMBEDDED
from windrow.files import write_text
from windrow.laptop.page.look import FolderFacts, look
from windrow.paths import REPOSITORY, home

PAGES = REPOSITORY / "dags" / "experiments"

_FEW = 2_000  # images: below, every class has few, and an epoch takes seconds
_MANY = 10_000
_RARE = 20  # images of a class; with fewer, a split may have almost none of the class
_FREQUENT = 0.8  # share of a class: above it, a network that is right for 95 % seldom beats guessing on 60 test images
_SHOWN = 8  # classes that are named with their counts

_TOP = """\
# {name}: {found}.
# `make new` has written this page from the folder. Every value is yours to change; docs/pages.md explains all keys.

name: {quoted_name}
description: {description}

dataset:
  source: {source}
"""

_SCORING = """\

scoring:
  feed: {feed}  # a folder or glob of files with one URL per line; docs/feeds.md has more formats
  # schedule: 0 3 * * *          # every night, UTC
  # allow_addresses: [10.0.0.0/8]  # networks beyond the public internet that hold your images
"""

_HEADS = """\
{splits}
network:
  # The features that EfficientNet-Lite0, which has learned from a million photographs, gives for each image. A network
  # that begins with nothing learns little from {images} images. For one all the same: make new ... BACKBONE=none
  backbone: lite0

sweep:
  trials: 60  # heads on these features: a trial takes about a second
  epochs: 20
{objective}
promotion: {{seeds: 5}}
"""

_OWN_NETWORK = """\
  image_size: {side}  # pixels; the images are {width} x {height} (median), and are resized to a square
  channels: {channels}  # {colours}
{splits}
network:
  builder: cnn  # or dense, or a function of your own: mine.py:build
  parameters:
    decay: cosine  # the learning rate falls to 0 over a trial
    batch_size: {batch}
{class_weight}
space:
  learning_rate: {{type: float, low: 3e-4, high: 1e-2, log: true}}
  blocks: {{type: int, low: 2, high: {blocks}}}  # each halves the image
  filters: {{type: int, low: 16, high: 32, step: 8}}
  dropout: {{type: float, low: 0.1, high: 0.5}}
  # Augmentation: each training image is changed at random, up to these limits.
  shift: {{type: float, low: 0.0, high: {shift}}}  # pixels
  rotation: {{type: float, low: 0.0, high: 15.0}}  # degrees
  zoom: {{type: float, low: 0.0, high: 0.2}}  # share of the size
{photographs}
sweep:
  trials: 12
  epochs: {epochs}
{objective}
promotion:
  finalists: 2  # the best trials, trained again
  seeds: 2  # each with so many seeds
"""

_OBJECTIVE = """\
  # Guessing the most frequent class is right for {guessing:.0%}, so accuracy hardly tells a good network from one that
  # guesses. This is the mean of the classes' F1 scores, for which a rare class counts as much as a frequent one.
  objective: val_macro_f1
"""

_CLASS_WEIGHT = """\
    class_weight: balanced  # in the loss, so that the rare classes count as much as the frequent one
"""

_PHOTOGRAPHS = """\
  flip: {type: categorical, choices: [false, true]}  # mirrored; remove it if left and right differ, as in writing
  brightness: {type: float, low: 0.0, high: 0.2}  # share of the range from black to white
  contrast: {type: float, low: 0.0, high: 0.3}  # share of an image's own contrast
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, print what was found and what comes next, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", required=True, help="the experiment's name: lower-case letters, digits and _")
    parser.add_argument("--folder", required=True, metavar="DIR", help="one folder of images per class")
    parser.add_argument("--feed", metavar="GLOB", help="folder or glob of the files with image URLs")
    parser.add_argument(
        "--backbone", choices=("none", *EMBEDDED), help="train heads on this, or none; if absent, as the folder needs"
    )
    options = parser.parse_args(arguments)
    try:
        if not (options.name and options.folder):
            raise UserError("a page needs a name and a folder; write make new NAME=shoes FOLDER=/data/shoes")
        path = place(options.name, PAGES)
        found = look(Path(options.folder))
        backbone = found.are_few_photographs if options.backbone is None else options.backbone != "none"
        text = page(options.name, found, backbone, options.feed)
        experiment.parse(text, name=path.name)
        write_text(path, text)
    except WindrowError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print("\n".join(report(path, found, experiment.load(path))))
    return 0


def place(name: str, folder: Path) -> Path:
    """Return the file for a new page.

    Raises:
        UserError: the name is not valid for an experiment, or a page has that name already.
    """
    experiment.parse(f"name: {json.dumps(name)}\nspace: {{units: {{type: int, low: 1, high: 2}}}}", name="NAME")
    for taken in (folder / f"{name}{suffix}" for suffix in (".yaml", ".yml")):
        if taken.exists():
            raise UserError(f"NAME must be new; got {name!r}, and {taken} exists; choose another, or remove that page")
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.suffix in {".yaml", ".yml"} and _name_in(path) == name:
            raise UserError(f"NAME must be new; got {name!r}, which is the name in {path}; choose another")
    return folder / f"{name}.yaml"


def _name_in(path: Path) -> object:
    """Return a page's name, even if there are mistakes elsewhere; None without a name, or if the file can't be read."""
    try:
        values = yaml.safe_load(text_files.read(path))
    except (OSError, UserError, yaml.YAMLError):
        return None
    return values.get("name") if isinstance(values, dict) else None


def page(name: str, found: FolderFacts, backbone: bool, feed: str | None = None) -> str:
    """Return the text of a page for what was found in a folder.

    Args:
        name: the experiment's name.
        found: what the folder holds.
        backbone: whether the page trains heads on the backbone that comes with Windrow, or a network of its own.
        feed: where URLs arrive; feeds/NAME under WINDROW_HOME if absent.
    """
    few = found.images < _FEW
    own, shares = "  # the folder has a test split of its own\n", f"  test: {0.2 if few else 0.1}\n"
    return (_TOP + (_HEADS if backbone else _OWN_NETWORK) + _SCORING).format(
        name=name,
        quoted_name=_quoted(name) if yaml.safe_load(name) != name else name,
        found=_counted(found),
        description=_quoted(f"Tells {len(found.classes)} classes apart: {_named(found)}."),
        source=_quoted(str(found.folder)),
        images=f"{found.images:,}",
        side=found.side,
        width=found.width,
        height=found.height,
        channels=found.channels,
        colours="all images are grey" if found.channels == 1 else "RGB",
        splits=f"  validation: {0.2 if few else 0.1}\n{own if found.own_test else shares}",
        batch=32 if few else 128,
        blocks=4 if found.side >= 48 else 3 if found.side >= 16 else 2,
        photographs=_PHOTOGRAPHS if found.are_photographs else "",
        objective=_OBJECTIVE.format(guessing=found.guessing) if _is_skewed(found) else "",
        class_weight=_CLASS_WEIGHT if _is_skewed(found) else "",
        shift=max(1.0, round(found.side / 16, 1)),
        epochs=30 if few else 15 if found.images < _MANY else 8,
        feed=_quoted(str(Path(feed).expanduser().absolute()) if feed else f"feeds/{name}"),
    )


def report(path: Path, found: FolderFacts, written: experiment.Experiment) -> list[str]:
    """Return the lines that say what was found, what is doubtful, and what comes next."""
    scoring = written.scoring
    feed = Path(scoring.feed if scoring else "").expanduser()
    lines = [
        f"{written.name}: {_counted(found)}",
        f"  images   {found.width} x {found.height} (median), {'grey' if found.channels == 1 else 'colour'}",
        f"  guessing the most frequent class is right for {found.guessing:.1%}",
        f"  network  {_network(written)}",
        *([f"  search   for {written.sweep.objective}, because of that share"] if _is_skewed(found) else []),
        f"  page     {path}",
        f"  feed     {home() / feed}",
    ]
    rare = [f"{name} {count}" for name, count in found.classes.items() if count < _RARE]
    if rare:
        lines.append(f"  few      {', '.join(rare)}: add images, or their test figures will mean little")
    if found.broken:
        lines.append(f"  broken   {found.broken} of {found.opened} images that were opened can't be; they are left out")
    return [*lines, f"Look at the page, then: make train EXPERIMENT={written.name}"]


def _is_skewed(found: FolderFacts) -> bool:
    """Return whether one class has so many of the images that accuracy can't show whether a network is good."""
    return found.guessing > _FREQUENT


def _network(written: experiment.Experiment) -> str:
    backbone = written.network.backbone
    if backbone is None:
        return (
            f"{written.network.builder}, trained from nothing; BACKBONE={EMBEDDED[0]} would train heads on a backbone"
        )
    return f"heads on {backbone}, a network trained on other photographs; BACKBONE=none would train one from nothing"


def _counted(found: FolderFacts) -> str:
    test = ", besides its own test split" if found.own_test else ""
    return f"{found.images:,} images in {len(found.classes)} classes ({_named(found, counts=True)}){test}"


def _named(found: FolderFacts, counts: bool = False) -> str:
    names = [f"{name} {count:,}" if counts else name for name, count in found.classes.items()]
    more = [f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return ", ".join(names[:_SHOWN] + more)


def _quoted(text: str) -> str:
    """Return a text as a YAML string, quoted as in JSON, which YAML can read."""
    return json.dumps(text, ensure_ascii=False)


if __name__ == "__main__":
    sys.exit(main())
