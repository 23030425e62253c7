"""Finding a Java that Spark boots on. The Javas are shell scripts that list modules."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from windrow.errors import UserError
from windrow.laptop.setup import java
from windrow.paths import home

WITH_MODULE = "echo java.base@17.0.1; echo jdk.incubator.vector@17.0.1"
TRIMMED = "echo java.base@17.0.1; echo java.logging@17.0.1"
JAVA_8 = 'echo "Unrecognized option: --list-modules" >&2; exit 1'


@pytest.fixture(autouse=True)
def _no_java_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path" / "bin"))
    monkeypatch.setattr(java, "SYSTEM", tmp_path / "usr-lib-jvm")
    monkeypatch.setattr(java.os, "geteuid", lambda: 1000)


def make_java(folder: Path, script: str) -> Path:
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return folder


def test_takes_java_home_before_the_one_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_java(tmp_path / "path", WITH_MODULE)
    chosen = make_java(tmp_path / "chosen", WITH_MODULE)
    monkeypatch.setenv("JAVA_HOME", str(chosen))

    assert java.find() == chosen


def test_passes_over_a_java_home_without_the_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path = make_java(tmp_path / "path", WITH_MODULE)
    monkeypatch.setenv("JAVA_HOME", str(make_java(tmp_path / "trimmed", TRIMMED)))

    assert java.find() == on_path


def test_finds_the_home_behind_a_link_on_path(tmp_path: Path) -> None:
    real = make_java(tmp_path / "openjdk", WITH_MODULE)
    (tmp_path / "path" / "bin").mkdir(parents=True)
    (tmp_path / "path" / "bin" / "java").symlink_to(real / "bin" / "java")

    assert java.find() == real


def test_finds_the_one_that_was_downloaded_and_a_system_one_that_is_not_on_path(tmp_path: Path) -> None:
    system = make_java(tmp_path / "usr-lib-jvm" / "java-17", WITH_MODULE)
    assert java.find() == system

    downloaded = make_java(home() / "java" / "jdk-17.0.1", WITH_MODULE)
    assert java.find() == downloaded


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (TRIMMED, "has no module jdk.incubator.vector"),
        (JAVA_8, "is older than Java 9, or broken"),
        ("echo jdk.incubator.vectors@17", "has no module jdk.incubator.vector"),
    ],
)
def test_says_why_a_java_will_not_do(tmp_path: Path, script: str, reason: str) -> None:
    folder = make_java(tmp_path / "java", script)

    assert reason in (java.problem(folder) or "")


def test_says_that_a_folder_has_no_java(tmp_path: Path) -> None:
    assert java.problem(tmp_path) == f"{tmp_path} has no bin/java"


def test_says_that_a_java_of_another_machine_does_not_run(tmp_path: Path) -> None:
    folder = make_java(tmp_path / "java", WITH_MODULE)
    (folder / "bin" / "java").write_bytes(b"\x7fELF of another machine")

    assert "does not run" in (java.problem(folder) or "")


def test_downloads_one_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A JRE without the module is followed by a JDK; the fake package stands for install-jdk."""
    package = tmp_path / "fake" / "jdk.py"
    package.parent.mkdir()
    package.write_text(
        "import os, pathlib, stat\n"
        "def install(version, path, jre):\n"
        "    program = pathlib.Path(path) / f'jdk-{version}' / 'bin' / 'java'\n"
        "    program.parent.mkdir(parents=True)\n"
        f"    program.write_text('#!/bin/sh\\n' + ({TRIMMED!r} if jre else {WITH_MODULE!r}))\n"
        "    program.chmod(0o755)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(package.parent))

    found = java.find_or_install(Path(sys.executable))

    assert found == home() / "java" / "jdk-17"


def test_says_in_one_sentence_what_to_install_where_nothing_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "fake" / "jdk.py"
    package.parent.mkdir()
    package.write_text("def install(version, path, jre): raise OSError('offline')\n")
    monkeypatch.setenv("PYTHONPATH", str(package.parent))

    with pytest.raises(UserError) as caught:
        java.find_or_install(Path(sys.executable))

    message = str(caught.value)
    assert message.startswith(
        "Spark needs a Java with module jdk.incubator.vector; got none (downloading OpenJDK 17 failed"
    )
    assert "apt install openjdk-17-jre-headless" in message
    assert "\n" not in message
    assert "offline" in (home() / "log" / "java.log").read_text()


def test_uses_apt_where_this_is_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "usr-lib-jvm" / "java-17" / "bin"
    tool = tmp_path / "path" / "bin" / "apt-get"
    tool.parent.mkdir(parents=True)
    tool.write_text(
        f"""#!/bin/sh
        if [ "$1" = install ]; then
            /bin/mkdir -p {folder}; printf '#!/bin/sh\\n{WITH_MODULE}\\n' > {folder}/java; /bin/chmod +x {folder}/java
        fi
        echo "$DEBIAN_FRONTEND $*"
        """
    )
    tool.chmod(0o755)
    monkeypatch.setattr(java.os, "geteuid", lambda: 0)

    assert java.find_or_install(Path("no-python-needed")) == folder.parent
    log = (home() / "log" / "apt.log").read_text()
    assert log.splitlines() == [
        "noninteractive update -q",
        "noninteractive install -q -y --no-install-recommends openjdk-17-jre-headless",
    ]
