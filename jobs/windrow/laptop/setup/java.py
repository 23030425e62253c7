"""Find a Java that Spark can start with, or install one.

Spark's launcher adds the module jdk.incubator.vector, and a Java without this module exits at once. So only a Java with
the module is used. This Python module uses only the standard library.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from windrow.errors import UserError
from windrow.paths import home

MODULE = "jdk.incubator.vector"
SYSTEM = Path("/usr/lib/jvm")
CURE = (
    "install OpenJDK 17 (Debian, Ubuntu: apt install openjdk-17-jre-headless; macOS: brew install openjdk@17) "
    "and set JAVA_HOME to it"
)
_PACKAGES = ("openjdk-17-jre-headless", "openjdk-21-jre-headless")
_DOWNLOAD_SECONDS = 240
_APT_SECONDS = 300


def find() -> Path | None:
    """Return the folder to use as JAVA_HOME: the first usable candidate, or None."""
    return next((folder for folder in candidates() if problem(folder) is None), None)


def candidates() -> Iterator[Path]:
    """Yield folders that may be a JAVA_HOME, in the order in which they are tried."""
    if os.environ.get("JAVA_HOME"):
        yield Path(os.environ["JAVA_HOME"])
    on_path = shutil.which("java")
    if on_path:
        yield Path(on_path).resolve().parents[1]
    yield from sorted(folder.parents[1] for folder in (home() / "java").glob("**/bin/java"))
    yield from sorted(folder.parents[1] for folder in SYSTEM.glob("*/bin/java"))


def problem(folder: Path) -> str | None:
    """Return why Spark can't start with the Java in `folder`; None if it can."""
    program = folder / "bin" / "java"
    if not program.is_file():
        return f"{folder} has no bin/java"
    try:
        listing = subprocess.run([str(program), "--list-modules"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{program} does not run: {error}"
    modules = {line.partition("@")[0].strip() for line in listing.stdout.splitlines()}
    if MODULE in modules:
        return None
    return f"{program} has no module {MODULE}" if modules else f"{program} is older than Java 9, or broken"


def find_or_install(python: Path) -> Path:
    """Return a usable JAVA_HOME. Without one, install a Java: as root with apt; else, or if apt fails, by download.

    Args:
        python: the environment's Python, which has the install-jdk package.

    Raises:
        UserError: no usable Java was found, and none could be installed.
    """
    found = find()
    if found is not None:
        return found
    print(f"java: none with module {MODULE} here; installing one", flush=True)
    reasons = [reason for reason in (_apt(), _download(python)) if reason]
    found = find()
    if found is None:
        tried = "; ".join(filter(None, [*dict.fromkeys(map(problem, candidates())), *reasons]))
        raise UserError(f"Spark needs a Java with module {MODULE}; got none ({tried}); {CURE}")
    print(f"java: {found}", flush=True)
    return found


def _apt() -> str | None:
    """Install OpenJDK 17, else 21, with apt; do nothing without apt or if this is not root.

    Return why that failed; None if it succeeded, or if nothing was done.
    """
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return None
    log = home() / "log" / "apt.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    variables = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    _run(["apt-get", "update", "-q"], log, _APT_SECONDS, variables)
    for package in _PACKAGES:
        install = ["apt-get", "install", "-q", "-y", "--no-install-recommends", package]
        if _run(install, log, _APT_SECONDS, variables) is None and find() is not None:
            return None
    return f"apt-get install {_PACKAGES[0]} failed, see {log}"


def _download(python: Path) -> str | None:
    """Download OpenJDK 17 into WINDROW_HOME/java with install-jdk, unless there is a usable Java by now.

    Return why that failed; None if there is a usable Java.

    A JRE is tried before a JDK: it is a quarter of the size, and usually has the module.
    """
    if find() is not None:
        return None
    target, log = home() / "java", home() / "log" / "java.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    script = "import sys, jdk; jdk.install('17', path=sys.argv[1], jre=sys.argv[2] == 'True')"
    for runtime_only in (True, False):
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        wrong = _run([str(python), "-c", script, str(target), str(runtime_only)], log, _DOWNLOAD_SECONDS)
        if wrong is not None:
            return f"downloading OpenJDK 17 {wrong}, see {log}"
        if find() is not None:
            return None
    return f"the downloaded OpenJDK 17 has no module {MODULE}"


def _run(command: list[str], log: Path, seconds: float, variables: Mapping[str, str] | None = None) -> str | None:
    """Run a command, append its output to the log, and return how it failed; None if it succeeded."""
    with log.open("a", encoding="utf-8") as output:
        try:
            done = subprocess.run(command, stdout=output, stderr=output, env=variables, timeout=seconds)
        except subprocess.TimeoutExpired:
            return f"took more than {seconds:.0f} s"
    return None if done.returncode == 0 else "failed"
