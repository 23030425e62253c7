"""Starting, remembering and ending processes. The services are small Python scripts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from harness.waiting import wait_for
from windrow.errors import ServiceError
from windrow.laptop import services
from windrow.laptop.services import Running, Service, State

SLEEPER = "import time; time.sleep(600)"
PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEPER!r}]).wait()"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); {SLEEPER}"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def state(home: Path) -> Iterator[State]:
    noted = State(home / "services.json")
    yield noted
    services.end(noted.running().values(), home, grace=0.5)


@pytest.fixture
def make(home: Path) -> Callable[..., Service]:
    def service(script: str = SLEEPER, name: str = "sleeper", **changes: object) -> Service:
        one = Service(name, [sys.executable, "-c", script], services.mark(home), lambda: None, dict(os.environ))
        return replace(one, **changes)  # type: ignore[arg-type]

    return service


def ensure(service: Service, state: State, home: Path) -> bool:
    return services.ensure(service, state, home / "log")


def test_starts_once(state: State, home: Path, make: Callable[..., Service]) -> None:
    assert ensure(make(), state, home)
    first = state.running()["sleeper"]
    assert not ensure(make(), state, home)
    assert state.running()["sleeper"] == first
    assert first.process() is not None


def test_outlives_the_terminal_that_started_it(state: State, home: Path, make: Callable[..., Service]) -> None:
    ensure(make(), state, home)
    pid = state.running()["sleeper"].pid
    assert os.getsid(pid) == pid != os.getsid(0)


def test_a_dead_one_is_started_again(state: State, home: Path, make: Callable[..., Service]) -> None:
    ensure(make(), state, home)
    first = state.running()["sleeper"]
    os.kill(first.pid, signal.SIGKILL)
    wait_for(lambda: first.process() is None)

    assert ensure(make(), state, home)
    assert state.running()["sleeper"].pid != first.pid


def test_other_settings_start_it_again_but_another_shell_does_not(
    state: State, home: Path, make: Callable[..., Service]
) -> None:
    ensure(make(), state, home)
    first = state.running()["sleeper"]

    assert not ensure(make(inherited={**os.environ, "TERM": "another"}), state, home)
    assert ensure(make(variables={**services.mark(home), "SETTING": "another"}), state, home)
    assert first.process() is None


def test_stop_ends_the_whole_tree_and_names_what_ran(state: State, home: Path, make: Callable[..., Service]) -> None:
    ensure(make(PARENT, "parent"), state, home)
    parent = state.running()["parent"]
    wait_for(lambda: len(services.tree(parent)) == 2)
    tree = services.tree(parent)

    assert services.stop(state, home) == ["parent"]

    assert not any(process.is_running() for process in tree)
    assert state.running() == {}
    assert services.stop(state, home) == []


def test_stop_finds_children_that_outlived_their_parent(state: State, home: Path, make: Callable[..., Service]) -> None:
    ensure(make(PARENT, "parent"), state, home)
    parent = state.running()["parent"]
    wait_for(lambda: len(services.tree(parent)) == 2)
    orphan = services.tree(parent)[1]
    os.kill(parent.pid, signal.SIGKILL)
    wait_for(lambda: parent.process() is None)
    assert orphan.is_running()

    services.stop(state, home)

    assert not orphan.is_running()


def test_one_that_ignores_sigterm_is_killed(state: State, home: Path, make: Callable[..., Service]) -> None:
    ensure(make(STUBBORN, "deaf"), state, home)
    noted = state.running()["deaf"]
    wait_for(lambda: "deaf" in Path(noted.log).read_text())

    services.end([noted], home, grace=0.3)

    assert noted.process() is None


def test_a_process_id_that_was_given_away_is_left_alone(state: State, home: Path) -> None:
    """The noted process ended long ago, and its number is now another program's."""
    with subprocess.Popen([sys.executable, "-c", SLEEPER]) as bystander:
        started = services.start_of(psutil.Process(bystander.pid))
        state.note("mlflow", Running(bystander.pid, started - 3600, "log"))
        try:
            assert services.stop(state, home) == []
            assert bystander.poll() is None
        finally:
            bystander.kill()


@pytest.mark.skipif(not psutil.LINUX, reason="elsewhere the system records the time of the start")
@pytest.mark.parametrize("seconds", [-7200, 41])
def test_a_process_is_known_again_after_the_clock_was_set(
    state: State, home: Path, make: Callable[..., Service], seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.ensure(make(), state, home)
    before = psutil.boot_time()
    monkeypatch.setattr("psutil._psplatform.boot_time", lambda: before + seconds)
    assert psutil.boot_time() == before + seconds
    assert not services.ensure(make(), state, home)
    assert services.stop(state, home) == ["sleeper"]


def test_a_stack_never_ends_the_processes_of_another_home(
    tmp_path: Path, state: State, home: Path, make: Callable[..., Service]
) -> None:
    ensure(make(), state, home)
    other = tmp_path / "other"

    services.stop(State(other / "services.json"), other)

    assert state.running()["sleeper"].process() is not None


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_broken_state_file_is_an_empty_one(state: State, text: str) -> None:
    state.file.parent.mkdir()
    state.file.write_text(text)
    assert state.running() == {}
    state.note("mlflow", None, port=5001)
    assert state.port("mlflow") == 5001


def test_ports_are_remembered_when_processes_are_forgotten(state: State) -> None:
    state.note("images", Running(1, 0.0, "log"), port=8770)
    state.note("images", None)
    assert state.port("images") == 8770


def test_ready_waits_until_it_answers(state: State, home: Path, make: Callable[..., Service]) -> None:
    answers = iter(["not yet", "not yet", None])
    service = make(ready=lambda: next(answers))
    ensure(service, state, home)
    services.wait_ready([service], state)
    assert next(answers, "asked three times") == "asked three times"


def test_one_that_ends_while_starting_is_told_with_its_log(
    state: State, home: Path, make: Callable[..., Service]
) -> None:
    service = make("raise SystemExit('no such database')", ready=lambda: "no answer")
    ensure(service, state, home)
    with pytest.raises(ServiceError, match=r"(?s)sleeper must stay up; it ended while starting; .*no such database"):
        services.wait_ready([service], state)


def test_one_that_stays_silent_is_told_after_its_time(state: State, home: Path, make: Callable[..., Service]) -> None:
    service = make(ready=lambda: "403 from it", seconds=0.3)
    ensure(service, state, home)
    with pytest.raises(ServiceError, match="sleeper must answer within 0 s; got 403 from it"):
        services.wait_ready([service], state)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def test_a_taken_port_is_passed_over(taken: int) -> None:
    assert not services.is_free(taken)
    assert services.choose_port(taken, None) > taken


def test_a_port_that_another_program_holds_on_all_addresses_is_taken() -> None:
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("0.0.0.0", 0))
        holder.listen()
        assert not services.is_free(holder.getsockname()[1])


def test_the_remembered_port_comes_first_if_it_is_free(taken: int, free_port: Callable[[], int]) -> None:
    remembered = free_port()
    assert services.choose_port(taken, remembered) == remembered
    assert services.choose_port(remembered, taken, [remembered]) > remembered
