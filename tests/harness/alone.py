"""Test files that run where nothing can leave the machine: in a network namespace with loopback alone.

A conftest.py gives such a file's module to `collect`. Its tests are collected by their names as ever, so that -k and
-m choose among them, and the chosen ones run in one pytest inside the namespace; each is reported as it ends there.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest

_REPORTS = "WINDROW_TEST_REPORTS"
"""The file descriptor that the pytest inside writes its reports to, a line each."""
# The second way is for those who are not root.
_NAMESPACES = (["unshare", "-n", "-m"], ["unshare", "-r", "-n", "-m"])
_ALONE = 'ip link set lo up && mount --make-rprivate / && mount --bind "$0" /etc/resolv.conf'


def is_inside() -> bool:
    """Whether this process is the pytest inside; it refuses to run where a packet could leave the machine."""
    if _REPORTS not in os.environ:
        return False
    interfaces = {name for _, name in socket.if_nameindex()}
    assert interfaces == {"lo"}, f"only in a network namespace with loopback alone; here is {interfaces}"
    return True


def collect(path: Path, parent: pytest.Collector) -> pytest.Module:
    """The module of a test file: its tests themselves inside, and their stand-ins outside."""
    kind = pytest.Module if is_inside() else _Outside
    return kind.from_parent(parent, path=path)


def namespace(resolver: Path) -> list[str] | str:
    """The command that runs a command where only loopback is and names are looked up there, or why there is none."""
    if shutil.which("unshare") is None:
        return "needs network namespaces: there is no unshare here"
    resolver.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    for unshare in _NAMESPACES:
        found = [*unshare, "sh", "-c", f'{_ALONE} && exec "$@"', str(resolver)]
        tried = subprocess.run([*found, "true"], capture_output=True, text=True)
        if tried.returncode == 0:
            return found
    return f"needs network and mount namespaces, which are not permitted here: {tried.stderr.strip()}"


class _Outside(pytest.Module):
    """A module whose tests run elsewhere."""

    def collect(self) -> Iterator[pytest.Item]:
        for function in super().collect():
            assert isinstance(function, pytest.Function), "such a file has functions alone"
            item = _StandIn.from_parent(self, name=function.name)
            item.own_markers.extend(function.own_markers)
            item.keywords.update({mark.name: mark for mark in function.own_markers})
            item.line = function.reportinfo()[1]
            yield item


class _StandIn(pytest.Item):
    """A test that runs elsewhere, by its name."""

    line: int | None = None

    def runtest(self) -> None:
        inside = self.session.stash.get(_INSIDE, None)
        if inside is None:
            inside = self.session.stash[_INSIDE] = _Inside(self.session)
        for report in inside.wait_for(self.nodeid):
            for title, text in report.sections:
                self.add_report_section(report.when or "", title, text)
            if report.skipped:
                pytest.skip(str(report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr))
            if report.failed:
                raise _FailedInsideError(report.longreprtext)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *_: Any) -> Any:
        """The inner report as it stands."""
        return str(excinfo.value) if isinstance(excinfo.value, _FailedInsideError) else super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, self.line, self.name


class _FailedInsideError(Exception):
    """What a test inside failed with."""


class _Inside:
    """The pytest inside, with all chosen tests of a session that run there."""

    def __init__(self, session: pytest.Session) -> None:
        self._config = session.config
        self._reports: dict[str, list[pytest.TestReport]] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = Path(tempfile.mkdtemp(prefix="windrow-alone-"))
        session.config.add_cleanup(self._end)
        self._command = namespace(self._folder / "resolv.conf")
        if isinstance(self._command, list):
            self._begin(session, self._command)

    def _begin(self, session: pytest.Session, namespace: list[str]) -> None:
        names = self._folder / "names"
        names.write_text("\n".join(item.nodeid for item in session.items if isinstance(item, _StandIn)))
        reading, writing = os.pipe()
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *namespace,
                    *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
                    *("-p", "harness.alone", "--tb=short", f"@{names}"),
                ],
                env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
                # It is ended at its last report, before it can tidy up: what it leaves goes with the folder.
                | {_REPORTS: str(writing), "TMPDIR": str(self._folder)},
                cwd=session.config.rootpath,
                pass_fds=[writing],
                stdout=log,
                stderr=log,
            )
        os.close(writing)
        self._lines: TextIO = os.fdopen(reading)

    def wait_for(self, name: str) -> list[pytest.TestReport]:
        """The reports of a test's three phases. A test that never ends there fails here."""
        if isinstance(self._command, str):
            pytest.skip(self._command)
        while not any(report.when == "teardown" for report in self._reports.get(name, [])):
            line = self._lines.readline()
            assert line, f"{name} was not run inside: {(self._folder / 'log').read_text(errors='replace')[-8000:]}"
            data = json.loads(line)
            report = self._config.hook.pytest_report_from_serializable(config=self._config, data=data)
            self._reports.setdefault(report.nodeid, []).append(report)
        return self._reports[name]

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._lines.close()
        shutil.rmtree(self._folder)


_INSIDE = pytest.StashKey[_Inside]()


class _Reporting:
    """What the pytest inside does with its reports."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._lines = os.fdopen(int(os.environ[_REPORTS]), "w", buffering=1)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write a report where the pytest outside reads it."""
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._lines.write(f"{json.dumps(data)}\n")


def pytest_configure(config: pytest.Config) -> None:
    if _REPORTS in os.environ:
        config.pluginmanager.register(_Reporting(config))
