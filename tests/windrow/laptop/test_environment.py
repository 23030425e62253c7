"""The set-up of .venv: what it refuses, when it does nothing, and that a cut-off one starts again."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import venv as builder
import zipfile
from pathlib import Path

import pytest
from windrow.errors import ServiceError, UserError
from windrow.laptop import environment
from windrow.laptop.setup import class_archive
from windrow.paths import REPOSITORY


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """A lock that installs nothing, so that a real pip run needs no network."""
    file = tmp_path / "requirements.txt"
    file.write_text("# nothing\n")
    return file


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    return tmp_path / ".venv"


@pytest.fixture
def installs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Environments without pip are made at once; what pip would have been told is noted here."""
    told: list[str] = []
    monkeypatch.setattr(environment, "_make", lambda folder: builder.create(folder, with_pip=False))
    monkeypatch.setattr(environment, "_run", lambda command, log, what, stage: told.append(" ".join(command)))
    return told


@pytest.fixture(autouse=True)
def _enough_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_FREE_BYTES", 0)


@pytest.mark.parametrize("version", [(3, 8), (3, 10), (3, 14), (4, 0)])
def test_refuses_a_python_that_the_lock_was_not_made_for(version: tuple[int, int]) -> None:
    with pytest.raises(
        UserError, match=rf"needs Python 3\.11 to 3\.13; got {version[0]}\.{version[1]}; .*make PYTHON="
    ):
        environment.check_python(version)


@pytest.mark.parametrize("version", [(3, 11), (3, 12), (3, 13)])
def test_takes_every_python_that_the_lock_was_made_for(version: tuple[int, int]) -> None:
    environment.check_python(version)


def test_sets_up_once_and_then_does_nothing(
    venv: Path, lock: Path, installs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert environment.set_up(venv, lock)
    assert [command.endswith(f"-r {lock}") for command in installs] == [True]
    capsys.readouterr()

    assert not environment.set_up(venv, lock)

    assert len(installs) == 1
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("installs")
def test_sets_up_again_when_the_lock_changes(venv: Path, lock: Path) -> None:
    environment.set_up(venv, lock)
    (venv / "of-the-old-lock").touch()
    lock.write_text("idna==3.11\n")

    assert environment.set_up(venv, lock)
    assert not (venv / "of-the-old-lock").exists()


@pytest.mark.usefixtures("installs")
def test_a_comment_in_the_lock_changes_nothing(venv: Path, lock: Path) -> None:
    environment.set_up(venv, lock)
    lock.write_text("# nothing, for another reason\n\n")
    assert not environment.set_up(venv, lock)


def test_progress_tells_what_pip_is_at(tmp_path: Path) -> None:
    log = tmp_path / "pip.log"
    log.write_text("Collecting a==1\n  Downloading a\nCollecting b==2\n")
    assert environment._stage(log, tmp_path) == "2 packages found"
    log.write_text(log.read_text() + "Installing collected packages: c, b, a\n")
    for unpacked in ("0", "1", "2"):
        assert environment._stage(log, tmp_path) == f"{unpacked} of 3 packages unpacked"
        (tmp_path / "lib" / "python3.11" / "site-packages" / f"p{unpacked}-1.dist-info").mkdir(parents=True)


@pytest.mark.usefixtures("installs")
def test_a_cut_off_set_up_starts_again_from_nothing(venv: Path, lock: Path) -> None:
    environment.set_up(venv, lock)
    (venv / "windrow-lock").unlink()
    (venv / "half-copied").touch()

    assert environment.set_up(venv, lock)
    assert not (venv / "half-copied").exists()


@pytest.mark.usefixtures("installs")
def test_an_environment_whose_python_is_gone_is_made_again(venv: Path, lock: Path) -> None:
    environment.set_up(venv, lock)
    (venv / "bin" / "python").unlink()

    assert environment.set_up(venv, lock)
    assert (venv / "bin" / "python").exists()


def test_never_removes_a_folder_that_is_no_environment(venv: Path, lock: Path) -> None:
    venv.mkdir()
    (venv / "thesis.tex").touch()

    with pytest.raises(UserError, match="must be an environment of Python's; got something else there; move it away"):
        environment.set_up(venv, lock)
    assert (venv / "thesis.tex").exists()


def wheel(folder: Path) -> Path:
    """A package of one module, as pip takes it without asking anybody."""
    file = folder / "local-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("local.py", "HERE = True\n")
        archive.writestr("local-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: local\nVersion: 1.0\n")
        archive.writestr("local-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("local-1.0.dist-info/RECORD", "")
    return file


@pytest.mark.faults
def test_a_real_pip_that_fails_shows_its_log_and_leaves_no_stamp_and_is_mended_by_the_next(
    venv: Path, lock: Path, tmp_path: Path
) -> None:
    lock.write_text("./there-is-no-such-folder\n")

    with pytest.raises(
        ServiceError, match=r"must end well; got exit code 1; see .*pip\.log, which ends:\n.*there-is-no-such"
    ):
        environment.set_up(venv, lock)
    assert not (venv / "windrow-lock").exists()

    lock.write_text(f"{wheel(tmp_path)}\n")

    assert environment.set_up(venv, lock)
    subprocess.run([venv / "bin" / "python", "-c", "import local; assert local.HERE"], check=True)
    assert not environment.set_up(venv, lock)


def test_a_full_disk_is_told_before_anything_is_removed(
    venv: Path, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "_FREE_BYTES", 1 << 60)

    with pytest.raises(UserError, match=r"needs .* GiB of free disk; got .* GiB at .*; free some"):
        environment.set_up(venv, lock)


def test_a_python_that_cant_make_environments_is_told_with_the_package_to_install(
    venv: Path, lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = program(
        tmp_path / "python", "echo 'The virtual environment was not created: ensurepip is not available.'; exit 1"
    )
    monkeypatch.setattr(sys, "_base_executable", str(python))

    with pytest.raises(UserError, match=r"ensurepip is not available.*apt install python3\.\d+-venv"):
        environment.set_up(venv, lock)
    assert not venv.exists()


def test_commands_see_this_environment_and_no_other_spark(tmp_path: Path) -> None:
    outside = {"PATH": "/usr/bin", "SPARK_HOME": "/opt/spark", "PYTHONPATH": "/opt/spark/python", "HOME": "/home/me"}

    inside = environment.command_environment(tmp_path / ".venv", tmp_path / "java", outside)

    assert inside["PATH"] == f"{tmp_path}/.venv/bin:{tmp_path}/java/bin:/usr/bin"
    assert inside["JAVA_HOME"] == f"{tmp_path}/java"
    assert inside["PYTHONPATH"] == str(REPOSITORY / "jobs")
    assert inside["PYSPARK_PYTHON"] == f"{tmp_path}/.venv/bin/python"
    assert inside["HOME"] == "/home/me"
    assert "SPARK_HOME" not in inside


def test_spark_submit_is_told_once_of_the_laid_out_classes_and_not_to_compile_much(tmp_path: Path) -> None:
    venv, java = tmp_path / ".venv", tmp_path / "java"
    assert environment.command_environment(venv, java, {})["SPARK_SUBMIT_OPTS"] == class_archive.GLUE
    file = class_archive.archive(venv, java)
    venv.mkdir()
    file.touch()

    once = environment.command_environment(venv, java, {"SPARK_SUBMIT_OPTS": "-Dmine=1"})

    assert once["SPARK_SUBMIT_OPTS"] == f'{class_archive.GLUE} "-XX:SharedArchiveFile={file}" -Dmine=1'
    assert environment.command_environment(venv, java, once) == once


def test_as_is_runs_in_the_environment_without_setting_it_up(
    venv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(environment, "VENV", venv)

    assert environment.main(["--as-is", "python", "--version"]) == 2
    assert "got no .venv; run make demo or make test first" in capsys.readouterr().err


def test_needs_nothing_but_the_standard_library() -> None:
    script = (
        "import sys, windrow.laptop.environment; print([n for n in ('psutil', 'yaml', 'requests') if n in sys.modules])"
    )
    bare = {"PYTHONPATH": str(REPOSITORY / "jobs"), "PATH": os.defpath}

    done = subprocess.run([sys.executable, "-S", "-c", script], env=bare, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{textwrap.dedent(script)}\n")
    path.chmod(0o755)
    return path
