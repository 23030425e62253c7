"""Start and stop the stack of docker/compose.yaml.

    PYTHONPATH=jobs python3 -m windrow.containers.compose up
    PYTHONPATH=jobs python3 -m windrow.containers.compose demo --experiment digits
    PYTHONPATH=jobs python3 -m windrow.containers.compose down [--volumes]

This module uses only the standard library: it needs Docker and Python, but not Windrow's environment.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from windrow.containers import settings
from windrow.errors import ServiceError, UserError, WindrowError
from windrow.paths import REPOSITORY

FOLDER = REPOSITORY / "docker"
_UP_SECONDS = 300


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `up`, `demo` or `down` and return the exit code."""
    os.environ.setdefault("WINDROW_STARTED", str(time.time()))
    options, rest = _parse(arguments)
    try:
        check_engine()
        if options.verb == "down":
            down(options.volumes)
        else:
            known = up()
            if options.verb == "demo":
                return demo(rest)
            print_addresses(known)
    except WindrowError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; make down ends what was started", file=sys.stderr)
        return 130
    return 0


def _parse(arguments: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("up", help="build the image, start everything, and wait until it is healthy")
    verbs.add_parser("demo", help="up, then the demo; further arguments are the demo's")
    ending = verbs.add_parser("down", help="end everything; data stays")
    ending.add_argument("--volumes", action="store_true", help="remove the data as well")
    options, rest = parser.parse_known_args(arguments)
    if rest and options.verb != "demo":
        parser.error(f"{options.verb} takes no {rest[0]!r}")
    return options, rest


def check_engine() -> None:
    """Check that Docker works, with Compose.

    Raises:
        UserError: Docker or Compose is not installed, is not running, or may not be used by this user.
    """
    for command in (["docker", "version", "--format", "{{.Server.Version}}"], ["docker", "compose", "version"]):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            wrong = (done.stderr.strip().splitlines() or ["no message"])[-1] if done.returncode else ""
        except FileNotFoundError:
            wrong = "no program docker"
        except subprocess.TimeoutExpired:
            wrong = "no answer in a minute"
        if wrong:
            raise UserError(
                f"the stack in containers needs Docker with Compose; got {wrong!r} from {' '.join(command)}; "
                "install and start Docker, or use make demo without TARGET=docker"
            )


def up() -> Mapping[str, str]:
    """Build the image, start all services, and wait until they are healthy; return the settings of .env and shell.

    Raises:
        ServiceError: the build failed, or a service does not become healthy.
    """
    known = settings.complete(FOLDER / ".env") | os.environ  # the shell's values win, as in compose
    build(known)
    began = time.monotonic()
    _compose("up", "--detach", "--no-build", "--remove-orphans", "--wait", "--wait-timeout", str(_UP_SECONDS))
    print(f"stack: healthy after {time.monotonic() - began:.0f} s", flush=True)
    return known


def build(known: Mapping[str, str]) -> None:
    """Build the image with the pip settings in `known`; unchanged layers are reused."""
    with tempfile.TemporaryDirectory(prefix="windrow-") as folder:
        pip = Path(folder) / "pip.conf"
        pip.write_text(settings.pip_conf(known), encoding="utf-8")
        _compose("build", "init", WINDROW_PIP=str(pip), WINDROW_GIT_COMMIT=_commit())


def demo(arguments: Sequence[str]) -> int:
    """Run the demo in the stack and return its exit code."""
    started = f"WINDROW_STARTED={os.environ['WINDROW_STARTED']}"
    return _run("run", "--rm", "--env", started, "demo", *arguments)


def down(volumes: bool) -> None:
    """Stop and remove all containers; with `volumes`, remove the data as well.

    Raises:
        ServiceError: Docker could not remove the containers.
    """
    settings.complete(FOLDER / ".env")  # compose requires every secret, for each command
    _compose("--profile", "*", "down", "--remove-orphans", *(["--volumes"] if volumes else []))


def print_addresses(known: Mapping[str, str]) -> None:
    """Print the addresses and the login."""
    ports = {name: known.get(name) or default for name, default in _PORTS.items()}
    print(f"  Airflow  http://127.0.0.1:{ports['AIRFLOW_PORT']}  login admin / {known['AIRFLOW_PASSWORD']}")
    print(f"  MLflow   http://127.0.0.1:{ports['MLFLOW_PORT']}\n  Spark    http://127.0.0.1:{ports['SPARK_PORT']}")
    print("  All services run until make down; make down VOLUMES=1 removes the data as well.")


_PORTS = {"AIRFLOW_PORT": "8080", "MLFLOW_PORT": "5000", "SPARK_PORT": "8081"}


def _commit() -> str:
    """Return the checked-out commit; empty without git or outside a checkout."""
    try:
        done = subprocess.run(["git", "-C", str(REPOSITORY), "rev-parse", "HEAD"], capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _compose(*arguments: str, **variables: str) -> None:
    code = _run(*arguments, **variables)
    if code != 0:
        raise ServiceError(
            f"docker compose {arguments[0]} must end well; got exit code {code}; the lines above say why, "
            f"and docker compose --project-directory {FOLDER} logs says more"
        )


def _run(*arguments: str, **variables: str) -> int:
    files = os.environ.get("COMPOSE_FILE") or str(FOLDER / "compose.yaml")  # may name several files
    command = ["docker", "compose", "--project-directory", str(FOLDER), *arguments]
    return subprocess.run(command, env={**os.environ, "COMPOSE_FILE": files, **variables}).returncode


if __name__ == "__main__":
    sys.exit(main())
