"""`make reproduce VERSION=n`: run jobs/reproduce.py on this machine, with the stack's MLflow or a named one.

    PYTHONPATH=jobs .venv/bin/python -m windrow.laptop.reproduce_version --model digits --version 3

MLflow is started if it is not running (`make stop` ends it). If MLFLOW_TRACKING_URI is set, that server is used.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from windrow.errors import UserError, WindrowError
from windrow.laptop import stack
from windrow.paths import REPOSITORY, home


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job and return its exit code."""
    options = _parse(arguments)
    try:
        if not options.version.isdecimal():
            raise UserError(f"VERSION must be a version's number; got {options.version!r}; make reproduce VERSION=3")
        named = os.environ.get("MLFLOW_TRACKING_URI")
        variables = {**os.environ, **({} if named else stack.mlflow())}
    except WindrowError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    out = home() / "reproduce" / f"{options.model}-{options.version}"
    command = [
        *(str(Path(sys.executable).with_name("spark-submit")), "--master", "local[*]"),
        *(str(REPOSITORY / "jobs" / "reproduce.py"), "--model", options.model, "--version", options.version),
        *("--out", str(out), "--result", str(out.with_suffix(".json"))),
    ]
    return subprocess.run(command, env=variables).returncode


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, metavar="NAME", help="registered model's name")
    parser.add_argument("--version", required=True, metavar="N", help="version of the model")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
