"""Every supported Python that is at hand reads all files, and runs what runs before any package is there."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from harness.documents import REPOSITORY
from windrow.laptop.environment import SUPPORTED

pytestmark = pytest.mark.faults
OTHERS = [f"3.{minor}" for minor in range(SUPPORTED[0][1], SUPPORTED[1][1] + 1) if minor != sys.version_info[1]]


def run(version: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a Python of this version on the bare package; where pyenv's shims stand in for many, they are told which."""
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "PYENV_VERSION": version}
    environment |= {"PYTHONPATH": str(REPOSITORY / "jobs"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [f"python{version}", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(params=OTHERS)
def version(request: pytest.FixtureRequest) -> str:
    """Another supported version, where this machine has it."""
    wanted = str(request.param)
    try:
        told = run(wanted, "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
    except OSError:
        pytest.skip(f"no python{wanted} on this machine")
    if told.stdout.strip() != wanted:
        pytest.skip(f"no python{wanted} on this machine that starts")
    return wanted


READ = """
import pathlib, sys
for folder in ("jobs", "plugins", "dags", "bench", "tests"):
    for path in sorted(pathlib.Path(sys.argv[1], folder).rglob("*.py")):
        compile(path.read_bytes(), str(path), "exec")
"""


def test_it_reads_every_file_without_a_warning(version: str) -> None:
    done = run(version, "-W", "error", "-c", READ, REPOSITORY)
    assert done.returncode == 0, done.stderr


def test_the_set_up_starts_without_any_package(version: str) -> None:
    modules = (
        "errors",
        "paths",
        "laptop.environment",
        "laptop.setup.java",
        "laptop.setup.class_archive",
        "containers.compose",
    )
    done = run(version, "-W", "error", "-S", "-c", "".join(f"import windrow.{name}\n" for name in modules))
    assert done.returncode == 0, done.stderr
    check = "import sys\nfrom windrow.laptop import environment\nenvironment.check_python(sys.version_info)"
    assert run(version, "-S", "-c", check).returncode == 0
