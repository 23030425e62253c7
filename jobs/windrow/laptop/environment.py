"""Set up .venv from the lock, and a Java that Spark starts with; then run a command in that environment.

    PYTHONPATH=jobs python3 -m windrow.laptop.environment pytest -q
    PYTHONPATH=jobs python3 -m windrow.laptop.environment --as-is python -m windrow.laptop.doctor

This module uses only the standard library, because it runs before anything is installed. An interrupted set-up starts
again.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from windrow.errors import ServiceError, UserError, WindrowError
from windrow.files import locked
from windrow.laptop.setup import class_archive, java
from windrow.paths import REPOSITORY, home
from windrow.plural import counted

LOCK = REPOSITORY / "requirements.txt"
VENV = REPOSITORY / ".venv"
SUPPORTED = ((3, 11), (3, 13))
_PROGRESS_SECONDS = 15.0
_FREE_BYTES = 6 * 1024**3


def main(arguments: Sequence[str] | None = None) -> int:
    """Set up the environment, unless --as-is is given; then replace this process by the command, if there is one.

    Return the exit code if the set-up fails or there is no command; 2 means that the user must fix something.
    """
    options = _parse(arguments)
    os.environ.setdefault("WINDROW_STARTED", str(time.time()))
    try:
        if not options.as_is:
            check_python(sys.version_info[:2])
            with _one_at_a_time():
                set_up(VENV, LOCK)
                java_home = java.find_or_install(VENV / "bin" / "python")
                variables = command_environment(VENV, java_home)
                class_archive.make(class_archive.archive(VENV, java_home), variables, home() / "log" / "classes.log")
        elif not (VENV / "bin" / "python").exists():
            raise UserError(f"this needs the environment; got no {VENV.name}; run make demo or make test first")
    except WindrowError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; the next make starts the set-up again", file=sys.stderr)
        return 130
    if options.command:
        variables = command_environment(VENV, java.find())
        program = shutil.which(options.command[0], path=variables["PATH"]) or options.command[0]
        os.execve(program, options.command, variables)  # noqa: S606 (no shell on purpose)
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--as-is", action="store_true", help="install nothing; run in the environment that is there")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="command to run afterwards, found in .venv/bin first")
    return parser.parse_args(arguments)


def check_python(version: tuple[int, ...]) -> None:
    """Check that the lock supports this version of Python.

    Raises:
        UserError: this Python is older than 3.11 or newer than 3.13.
    """
    oldest, newest = SUPPORTED
    if not oldest <= version[:2] <= newest:
        raise UserError(
            f"Windrow needs Python {_dotted(oldest)} to {_dotted(newest)}; got {_dotted(version)}; "
            f"install python{_dotted(newest)}, or name another one: make PYTHON=/path/to/python3 demo"
        )


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version[:2]))


def set_up(venv: Path, lock: Path) -> bool:
    """Install exactly the packages of `lock` in `venv`; return False if they were installed already.

    A folder without the right stamp comes from an interrupted set-up or another lock. The folder is removed and made
    again, because pip takes a half-copied package for an installed one.

    Raises:
        UserError: Python can't make environments, or the disk is too small.
        ServiceError: pip failed.
    """
    wanted = stamp(lock)
    file = venv / "windrow-lock"
    if file.is_file() and file.read_text(encoding="utf-8") == wanted and (venv / "bin" / "python").exists():
        return False
    _check_disk(venv.parent)
    _say(f"environment: setting up {venv.name} with Python {_dotted(sys.version_info[:2])}, 2 to 5 minutes")
    _remove(venv)
    _make(venv)
    log = home() / "log" / "pip.log"
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar=off"]
    stage = partial(_stage, log, venv)
    _run([*pip, "-r", str(lock)], log, "environment: pip install -r requirements.txt", stage)
    file.write_text(wanted, encoding="utf-8")
    return True


def stamp(lock: Path) -> str:
    """Return the stamp of a complete environment: the version of Python, and the SHA-256 of the lock's packages."""
    lines = (line.strip() for line in lock.read_text(encoding="utf-8").splitlines())
    packages = "\n".join(line for line in lines if line and not line.startswith("#"))
    digest = hashlib.sha256(packages.encode()).hexdigest()
    return f"python {_dotted(sys.version_info[:2])}\nlock {digest}\n"


def _check_disk(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < _FREE_BYTES:
        raise UserError(
            f"the set-up needs {_FREE_BYTES / 1024**3:.0f} GiB of free disk; "
            f"got {free / 1024**3:.1f} GiB at {folder}; free some"
        )


def _remove(venv: Path) -> None:
    if not venv.exists():
        return
    if not (venv / "pyvenv.cfg").is_file() and any(venv.iterdir()):
        raise UserError(f"{venv} must be an environment of Python's; got something else there; move it away")
    # Remove the stamp file first: if this is interrupted, the next set-up starts again.
    (venv / "windrow-lock").unlink(missing_ok=True)
    shutil.rmtree(venv)


def _make(venv: Path) -> None:
    # Inside an activated .venv, sys.executable is the file that is about to be replaced.
    python = getattr(sys, "_base_executable", None) or sys.executable
    made = subprocess.run([python, "-m", "venv", str(venv)], capture_output=True, text=True)
    if made.returncode != 0:
        shutil.rmtree(venv, ignore_errors=True)
        cure = f"install its venv module (Debian, Ubuntu: apt install python{_dotted(sys.version_info[:2])}-venv)"
        reason = (made.stdout + made.stderr).strip().splitlines() or ["no message"]
        raise UserError(f"Python must be able to make environments; got {reason[0]!r} from {python} -m venv; {cure}")


def _run(command: list[str], log: Path, what: str, stage: Callable[[], str]) -> None:
    """Run a command to its end, and print its stage every 15 seconds.

    Raises:
        ServiceError: the command failed; the message has the log's last lines.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    began = said = time.monotonic()
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            while process.poll() is None:
                time.sleep(0.2)
                if time.monotonic() - said > _PROGRESS_SECONDS:
                    said = time.monotonic()
                    _say(f"{what}: {said - began:.0f} s, {stage()}")
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode != 0:
        tail = "\n  ".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
        raise ServiceError(
            f"{what} must end well; got exit code {process.returncode}; see {log}, which ends:\n  {tail}"
        )
    _say(f"{what}: done in {time.monotonic() - began:.0f} s")


def _stage(log: Path, venv: Path) -> str:
    """Return the progress of pip as text, from pip's log and the environment's packages."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    for line in reversed(lines):
        if line.startswith("Installing collected packages: "):
            packages = line.count(",") + 1
            unpacked = sum(1 for _ in venv.glob("lib/python*/site-packages/*.dist-info"))  # pip is among them
            return f"{min(unpacked, packages):,} of {counted(packages, 'package')} unpacked"
    found = sum(line.startswith("Collecting ") for line in lines)
    return f"{counted(found, 'package')} found"


def _say(line: str) -> None:
    print(line, flush=True)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Hold a lock during the block, so that a second make waits for the first, and then finds the set-up complete.

    Raises:
        UserError: WINDROW_HOME can't be written.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(home(), "setup.lock", quiet=True))
        except OSError as error:
            raise UserError(
                f"Windrow keeps its files under {home()}; got {error.strerror}; set WINDROW_HOME to another folder"
            ) from error
        yield


def command_environment(venv: Path, java_home: Path | None, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment variables for a command: this .venv, this Java, this code, and the shell's variables.

    Of the shell's variables, SPARK_HOME, PYTHONPATH and a few more are left out or replaced, because they would mix in
    another Spark or other packages.

    Args:
        venv: the environment's folder.
        java_home: the Java to use; None leaves the shell's.
        base: variables in place of the shell's.
    """
    variables = dict(os.environ if base is None else base)
    for name in (
        "SPARK_HOME",
        "PYTHONHOME",
        "PYSPARK_DRIVER_PYTHON",
        "PYSPARK_DRIVER_PYTHON_OPTS",
        "__PYVENV_LAUNCHER__",
    ):
        variables.pop(name, None)
    paths = [str(venv / "bin")]
    if java_home is not None:
        variables["JAVA_HOME"] = str(java_home)
        paths.append(str(java_home / "bin"))
        archive, given = class_archive.archive(venv, java_home), variables.get(class_archive.VARIABLE, "")
        ours = [class_archive.GLUE, *([class_archive.option(archive)] if archive.exists() else [])]
        variables[class_archive.VARIABLE] = " ".join([*(one for one in ours if one not in given), given]).strip()
    known = [part for part in variables.get("PATH", os.defpath).split(os.pathsep) if part and part not in paths]
    variables["PATH"] = os.pathsep.join([*paths, *known])
    variables["PYTHONPATH"] = str(REPOSITORY / "jobs")
    variables["PYSPARK_PYTHON"] = str(venv / "bin" / "python")
    variables["VIRTUAL_ENV"] = str(venv)
    return variables


if __name__ == "__main__":
    sys.exit(main())
