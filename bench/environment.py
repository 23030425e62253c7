"""Make the environment of the comparisons: Windrow's own packages, seen from its .venv, and the peers with them.

    make test                       # or make demo: makes .venv
    python3 bench/environment.py    # makes var/bench/venv, about a minute
    var/bench/venv/bin/python bench/sweeps.py

TensorFlow, Spark and MLflow are not installed again: a .pth file shows them to the second environment.
Standard library only.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDER = REPOSITORY / "var" / "bench" / "venv"


def main() -> int:
    """Make it again and return the exit code."""
    arguments = parse_args()
    product, folder = arguments.product.absolute(), arguments.folder.absolute()
    if not (product / "bin" / "python").exists():
        print(f"error: --product must be Windrow's environment; got {product}; run make test first", file=sys.stderr)
        return 2
    shutil.rmtree(folder, ignore_errors=True)
    make(product, folder)
    install(folder)
    print(f"{folder}: ready")
    return 0


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--product", type=Path, default=REPOSITORY / ".venv", metavar="DIR", help="Windrow's own .venv")
    parser.add_argument("--folder", type=Path, default=FOLDER, metavar="DIR", help="where to make the environment")
    return parser.parse_args()


def make(product: Path, folder: Path) -> None:
    """An empty environment of the product's Python that also sees the product's packages."""
    python = product / "bin" / "python"
    subprocess.run([python, "-m", "venv", folder], check=True)
    packages = site_packages(folder / "bin" / "python")
    (packages / "windrow-product.pth").write_text(f"{site_packages(python)}\n", encoding="utf-8")


def site_packages(python: Path) -> Path:
    """Return the folder of an environment's packages."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip())


def install(folder: Path) -> None:
    """The peers and what only they need; the lock as constraint, so that nothing shared comes in another version."""
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    bench, variables = REPOSITORY / "bench", {**os.environ, "PYTHONPATH": ""}
    lock = ["--constraint", REPOSITORY / "requirements.txt"]
    subprocess.run([*pip, *lock, "--requirement", bench / "requirements.txt"], check=True, env=variables)
    alone = ["--no-deps", "--requirement", bench / "requirements-alone.txt"]
    subprocess.run([*pip, *lock, *alone], check=True, env=variables)


if __name__ == "__main__":
    sys.exit(main())
