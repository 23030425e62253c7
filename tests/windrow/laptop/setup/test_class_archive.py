"""Spark's classes, laid out once: the JVM takes them from there, and nothing depends on it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from windrow.laptop import environment
from windrow.laptop.setup import class_archive, java
from windrow.paths import REPOSITORY


@pytest.mark.submit
def test_the_jvm_of_spark_submit_takes_its_classes_from_the_archive(tmp_path: Path) -> None:
    """In the suite too, whose folder of Spark's settings must not be in its way."""
    java_home = java.find()
    assert java_home is not None
    variables = environment.command_environment(environment.VENV, java_home, dict(os.environ))
    assert class_archive.option(class_archive.archive(environment.VENV, java_home)) in variables[class_archive.VARIABLE]
    log = tmp_path / "loaded"
    variables[class_archive.VARIABLE] += f" -Xlog:class+load:file={log}"

    spark_submit = str(Path(sys.executable).with_name("spark-submit"))
    subprocess.run([spark_submit, "--version"], env=variables, capture_output=True, check=True, timeout=120)

    assert " org.apache.spark.deploy.SparkSubmit source: shared objects file (top)" in log.read_text()


def test_the_image_has_every_file_that_making_the_archive_imports(tmp_path: Path) -> None:
    dockerfile = (REPOSITORY / "docker" / "Dockerfile").read_text(encoding="utf-8")
    before = dockerfile.partition("import os, pathlib, windrow")[0]
    copies = [line.split() for line in re.findall(r"^COPY (jobs/windrow/.*)$", before, re.MULTILINE)]
    assert copies
    for *sources, target in copies:
        for source in sources:
            place = tmp_path / Path(target).relative_to("/opt/windrow")
            if (REPOSITORY / source).is_dir():
                shutil.copytree(REPOSITORY / source, place)
            else:
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(REPOSITORY / source, place)
    code = "import windrow.spark, windrow.laptop.setup.class_archive as c; print(c.__file__)"
    variables = {"PYTHONPATH": str(tmp_path / "jobs"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True)
    assert done.stdout.startswith(str(tmp_path)), done.stderr


def test_an_archive_that_is_there_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "spark-classes.jsa"
    file.write_text("mine")
    class_archive.make(file, {"PATH": ""}, tmp_path / "log" / "classes.log")
    assert file.read_text() == "mine"


def test_a_spark_that_cant_start_is_told_and_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    submit = tmp_path / "bin" / "spark-submit"
    submit.parent.mkdir()
    submit.write_text("#!/bin/sh\necho no Java; exit 1\n")
    submit.chmod(0o755)
    log = tmp_path / "log" / "classes.log"

    class_archive.make(tmp_path / "classes.jsa", {"PATH": str(submit.parent)}, log)

    assert f"jobs start some seconds later; see {log}" in capsys.readouterr().out
    assert log.read_text() == "no Java\nspark-submit must end with 0; got 1\n"
    assert {path.name for path in tmp_path.iterdir()} == {"bin", "log"}


def test_an_archive_of_a_script_that_failed_is_not_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    submit = tmp_path / "bin" / "spark-submit"
    submit.parent.mkdir()
    submit.write_text(  # as the JVM does: it writes the archive at its end, however the script ended
        '#!/bin/sh\noption=${SPARK_SUBMIT_OPTS#*ArchiveClassesAtExit=}\necho half > "${option%%\\"*}"\nexit ${CODE}\n'
    )
    submit.chmod(0o755)
    variables = {"PATH": f"{submit.parent}:/usr/bin:/bin"}
    class_archive.make(tmp_path / "classes.jsa", {**variables, "CODE": "3"}, tmp_path / "log")
    assert "jobs start some seconds later" in capsys.readouterr().out
    assert (tmp_path / "log").read_text() == "spark-submit must end with 0; got 3\n"
    assert not (tmp_path / "classes.jsa").exists()
    class_archive.make(tmp_path / "classes.jsa", {**variables, "CODE": "0"}, tmp_path / "log")
    assert (tmp_path / "classes.jsa").read_text() == "half\n"


def test_another_java_has_another_archive(tmp_path: Path) -> None:
    homes = [tmp_path / name for name in ("17", "21")]
    for home, size in zip(homes, (1, 2), strict=True):
        (home / "lib").mkdir(parents=True)
        (home / "lib" / "modules").write_bytes(b"0" * size)
    old, new = (class_archive.archive(tmp_path, home) for home in homes)
    assert old != new
    (homes[0] / "lib" / "modules").write_bytes(b"upgraded")
    assert class_archive.archive(tmp_path, homes[0]) != old
