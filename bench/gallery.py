"""Take the picture of a gallery of photographs: docs/pictures/gallery.png, by the real jobs and Chromium.

    python bench/gallery.py

The photographs are pieces of two that scikit-learn brings: of a temple at a lake, and of a flower. A page with a
backbone learns some of them, and labels others that a server on loopback has. docs/transfer.md names the photographers
and the licence.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path

import numpy as np
import windrow_job
from PIL import Image

PLACES = {
    "flower": ("flower.jpg", (155, 70, 460, 370)),
    "lake": ("china.jpg", (320, 150, 560, 290)),
    "temple": ("china.jpg", (60, 30, 355, 350)),
    "trees": ("china.jpg", (330, 260, 640, 427)),
}
"""scikit-learn's file, and the left, upper, right and lower end in it, by the name of the class."""
LEARNED, LABELLED = 30, 8
"""Pieces of each place to learn from, and to label."""
SIZE = (240, 180)
COLOURS = 256
"""Colours of the picture, which make it a third as large as with all."""
PICTURE = windrow_job.REPOSITORY / "docs" / "pictures" / "gallery.png"
WINDOW, HEIGHT = "1200,1600", 925
"""Width and height of the browser's window, and the height of the picture, in pixels."""


def main() -> int:
    """Make the photographs, run the jobs, and take the picture."""
    options = parse_args()
    folder = windrow_job.fresh_folder("gallery")
    for name in PLACES:
        cut(name, folder / "photos" / name, LEARNED)
        cut(name, folder / "new" / name, LABELLED, seed=1)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder / "new"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        label(folder, f"http://127.0.0.1:{server.server_port}", options.slots)
    finally:
        server.shutdown()
    (page,) = (folder / "home" / "tables").rglob("gallery.html")  # MLflow has another copy
    take(page, options.out)
    return 0


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", default=2, type=int, help="Spark's slots (2)")
    parser.add_argument(
        "--out", default=PICTURE, type=Path, metavar="FILE", help="the picture (docs/pictures/gallery.png)"
    )
    return parser.parse_args()


def cut(name: str, folder: Path, count: int, seed: int = 0) -> None:
    """Write pieces of a place, each of 0.6 to 0.95 of its shorter side, to JPEG files."""
    file, place = PLACES[name]
    whole = Image.open(str(files("sklearn.datasets.images") / file)).crop(place)
    draw = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for number in range(count):
        width = draw.uniform(0.6, 0.95) * min(whole.width, whole.height)
        height = width * SIZE[1] / SIZE[0]
        left, top = draw.uniform(0, whole.width - width), draw.uniform(0, whole.height - height)
        box = (left, top, left + width, top + height)
        whole.convert("RGB").resize(SIZE, Image.Resampling.BICUBIC, box).save(folder / f"{name}-{number}.jpg")


def label(folder: Path, address: str, slots: int) -> None:
    """Train a head on the photographs, and label those that the server has, and one that it has not."""
    page = windrow_job.write_page(
        folder / "photos.yaml",
        dataset={"source": str(folder / "photos")},
        network={"backbone": "lite0"},
        sweep={"trials": 4, "epochs": 20},
        promotion={"finalists": 1, "seeds": 2},
        scoring={"feed": str(folder / "feed"), "allow_addresses": ["127.0.0.0/8"], "host_rate": None},
    )
    urls = [f"{address}/{path.relative_to(folder / 'new')}" for path in sorted((folder / "new").rglob("*.jpg"))]
    (folder / "feed").mkdir()
    (folder / "feed" / "monday.txt").write_text("\n".join([*urls, f"{address}/gone.jpg"]))
    data, study = folder / "data", folder / "study"
    on_data = ("--experiment", page, "--dataset", data)
    for job, arguments in {
        "prepare_dataset": ("--experiment", page, "--out", data),
        "embed_images": on_data,
        "sweep": (*on_data, "--study", study),
        "promote_best": (*on_data, "--study", study),
        "score_images": ("--experiment", page),
    }.items():
        windrow_job.submit(windrow_job.REPOSITORY, job, folder, slots, *arguments)


def take(page: Path, picture: Path) -> None:
    """Take the picture of a page with Chromium, which can find no host."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        sys.exit("a picture needs Chromium; got none; apt install chromium")
    command = [program, "--headless=new", "--no-sandbox", "--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND"]
    command += [f"--window-size={WINDOW}", f"--screenshot={picture.resolve()}", page.resolve().as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    shown = Image.open(picture).convert("RGB")
    few = shown.crop((0, 0, shown.width, HEIGHT)).quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(picture, optimize=True)


class Quiet(SimpleHTTPRequestHandler):
    """Serve files without a line for each."""

    def log_message(self, format: str, *arguments: object) -> None:
        """Write nothing."""


if __name__ == "__main__":
    sys.exit(main())
