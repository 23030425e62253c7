"""What a builder may do to its worker, and what the driver hears of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from harness.waiting import wait_for
from hypothesis import given
from hypothesis import strategies as st
from windrow import channel
from windrow.channel import Address, Channel
from windrow.experiment import parameters
from windrow.sweep import trial
from windrow.sweep.attempt import RunningAttempt
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.spec import TrialSpec
from windrow.training.loop import Epoch
from windrow.training.networks import Builder

NETWORK = (
    "    import keras\n    i = keras.Input(shape)\n"
    "    return keras.Model(i, keras.layers.Dense(classes, activation='softmax')(keras.layers.Flatten()(i)))\n"
)


def spec(body: str | None = None, **changes: Any) -> TrialSpec:
    """A trial whose builder runs `body` and then gives a network; the built-in dense one without a body."""
    builder = Builder("dense")
    if body is not None:
        builder = Builder("mine.py:build", f"def build(shape, classes):\n    {body}\n{NETWORK}", "build")
    values = parameters.defaults(builder.name)
    return replace(TrialSpec(4, 1, builder, values, (8, 8, 1), 10, 3, "val_accuracy", 1, lease="mine"), **changes)


class Driver:
    """Answers every message with `stop` once `after` epochs were told, and keeps what it heard."""

    def __init__(self, opened: Channel) -> None:
        self.channel = opened
        self.heard: list[dict[str, Any]] = []
        self.stop, self.after = "", 0
        threading.Thread(target=self._answer, daemon=True).start()

    @property
    def address(self) -> Address:
        return self.channel.address

    def events(self) -> list[str]:
        return [message["event"] for message in self.heard if message["event"] != "beat"]

    def epochs(self) -> list[dict[str, float]]:
        return [epoch for message in self.heard for epoch in message.get("epochs", [])]

    def _answer(self) -> None:
        while True:
            message = self.channel.inbox.get()
            self.heard.append(message.content)
            message.answer(self.stop if len(self.epochs()) >= self.after else "")


@pytest.fixture
def driver() -> Iterator[Driver]:
    with Channel("127.0.0.1") as opened:
        yield Driver(opened)
    channel.forget(opened.address)


EPOCH = Epoch(1.0, 0.5, 1.0, 0.25, 0.1)


def gone() -> Address:
    """The address of a driver that has just ended."""
    with Channel("127.0.0.1") as opened:
        return opened.address


def test_an_attempt_shorter_than_the_first_sample_has_a_peak() -> None:
    assert RunningAttempt(spec()).outcome(Ending.OK).peak_mebibytes > 10


def test_a_trial_that_must_ask_first_trains_nothing_where_the_driver_is_gone() -> None:
    attempt = RunningAttempt(spec(address=gone(), ask_first=True))
    attempt.begin()
    assert attempt.stopped().ending is Ending.LOST
    assert "the driver's consent" in attempt.stopped().error


def test_a_trial_that_must_ask_first_trains_nothing_where_the_driver_goes_before_it_answers(driver: Driver) -> None:
    attempt = RunningAttempt(spec(address=driver.address, ask_first=True))
    driver.channel.close()
    attempt.begin()
    assert attempt.stop == Ending.LOST


def test_a_trial_that_need_not_ask_trains_where_the_driver_can_not_be_reached() -> None:
    attempt = RunningAttempt(spec(address=gone()))
    attempt.begin()
    assert not attempt.stop


def stops_at(values: list[float], patience: int) -> int:
    """After how many epochs `patience` of them have passed since the highest one, by looking back each time."""
    for done in range(1, len(values) + 1):
        if done - 1 - values[:done].index(max(values[:done])) >= patience:
            return done
    return len(values)


@given(
    st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), min_size=1, max_size=12), st.integers(1, 5), st.booleans()
)
def test_a_patient_attempt_ends_where_nothing_improved_and_its_best_epoch_counts(
    values: list[float], patience: int, falls: bool
) -> None:
    attempt = RunningAttempt(
        spec(epochs=len(values), patience=patience, objective="val_loss" if falls else "val_accuracy")
    )
    for value in values:
        attempt.add(Epoch(1.0, 0.5, 1 - value, value, 0.1))
        if attempt.over:
            break
    done = stops_at(values, patience)
    assert len(attempt.epochs) == done
    assert attempt.best == values.index(max(values[:done])) + 1
    outcome = attempt.verdict()
    assert (outcome.ending, len(outcome.epochs)) == (Ending.OK, done)
    assert outcome.value == (1 - max(values[:done]) if falls else max(values[:done]))


def test_without_patience_the_last_epoch_counts_and_all_are_trained() -> None:
    attempt = RunningAttempt(spec(epochs=3))
    for value in (0.9, 0.5, 0.25):
        assert not (attempt.epochs and attempt.over)
        attempt.add(replace(EPOCH, val_accuracy=value))
    assert (attempt.over, attempt.verdict().value) == (True, 0.25)


@pytest.mark.parametrize("reason", [Ending.PRUNED, Ending.TIMEOUT])
def test_an_attempt_that_came_to_its_end_is_ok_even_if_it_should_stop_just_then(reason: Ending) -> None:
    patient, pruned = RunningAttempt(spec(epochs=9, patience=1)), RunningAttempt(spec(epochs=9, patience=2))
    for attempt in (patient, pruned):
        attempt.add(replace(EPOCH, val_accuracy=0.5))
        attempt.add(EPOCH)
        attempt.stop = reason
        assert attempt.over
    assert (patient.verdict().ending, patient.verdict().value) == (Ending.OK, 0.5)
    assert pruned.verdict().ending is reason


def test_an_attempt_that_diverges_has_no_value_whatever_came_before() -> None:
    attempt = RunningAttempt(spec(epochs=9, patience=5))
    attempt.add(EPOCH)
    attempt.add(replace(EPOCH, loss=float("nan")))
    assert attempt.over
    assert (attempt.verdict().ending, attempt.verdict().value) == (Ending.DIVERGED, None)


def test_an_attempt_tells_its_beginning_its_epochs_and_its_end(driver: Driver) -> None:
    attempt = RunningAttempt(spec(address=driver.address, prune=True))
    attempt.begin()
    for _ in range(3):
        attempt.add(EPOCH)
    outcome = attempt.end(attempt.verdict())
    assert driver.events() == ["began", "epochs", "epochs", "epochs", "ended"]
    assert [message.get("first") for message in driver.heard[1:4]] == [1, 2, 3]
    assert {message["lease"] for message in driver.heard} == {"mine"}
    assert repr(Outcome.of(driver.heard[-1]["outcome"])) == repr(outcome)
    assert (outcome.ending, outcome.value) == (Ending.OK, 0.25)


def test_short_epochs_are_told_several_at_once_where_nobody_prunes(driver: Driver) -> None:
    attempt = RunningAttempt(spec(address=driver.address, epochs=500))
    for _ in range(500):
        attempt.add(EPOCH)
    attempt.end(attempt.verdict())
    assert len(driver.events()) < 50
    assert len(driver.heard[-1]["outcome"]["epochs"]) == 500


@pytest.mark.parametrize("ending", [Ending.PRUNED, Ending.TIMEOUT, Ending.LOST])
def test_an_attempt_ends_as_the_driver_says(driver: Driver, ending: Ending) -> None:
    driver.stop, driver.after = ending.value, 2
    attempt = RunningAttempt(spec(address=driver.address, prune=True))
    attempt.add(EPOCH)
    assert not attempt.stop
    attempt.add(EPOCH)
    assert attempt.stop == ending.value
    assert attempt.verdict().ending is ending


def test_a_word_that_comes_with_the_last_epoch_does_not_spoil_a_finished_trial(driver: Driver) -> None:
    driver.stop, driver.after = "pruned", 3
    attempt = RunningAttempt(spec(address=driver.address, prune=True))
    for _ in range(3):
        attempt.add(EPOCH)
    assert attempt.verdict().ending is Ending.OK


def test_a_driver_that_can_not_be_reached_does_not_stop_a_trial() -> None:
    address = Address("127.0.0.1", 9, b"nobody listens there")
    attempt = RunningAttempt(spec(address=address, prune=True))
    attempt.begin()
    for _ in range(3):
        attempt.add(EPOCH)
    assert attempt.end(attempt.verdict()).ending is Ending.OK
    channel.forget(address)


def test_an_attempt_stops_itself_when_its_time_is_over() -> None:
    attempt = RunningAttempt(spec(seconds=0.001))
    wait_for(lambda: attempt.seconds > 0.001, every=0.001)
    attempt.add(EPOCH)
    outcome = attempt.verdict()
    assert outcome.ending is Ending.TIMEOUT
    assert "it was, after" in outcome.error


def test_a_clock_that_jumps_changes_no_duration(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine's date may be set back by hours in the middle of a trial."""
    import time

    attempt = RunningAttempt(spec(seconds=100.0))
    now = time.time()
    for jump in (-1e6, 1e6):
        monkeypatch.setattr(time, "time", lambda jump=jump: now + jump)
        attempt.add(EPOCH)
    assert not attempt.stop
    assert 0 <= attempt.seconds < 60


def test_a_trials_value_is_that_of_its_last_epoch_and_not_of_its_best() -> None:
    attempt = RunningAttempt(spec(epochs=2))
    attempt.add(replace(EPOCH, val_accuracy=0.9))
    attempt.add(replace(EPOCH, val_accuracy=0.6))
    assert attempt.verdict().value == 0.6


@pytest.mark.tensorflow
def test_a_pruned_trial_ends_at_the_epoch_where_it_was_told(driver: Driver, digits: Path) -> None:
    driver.stop, driver.after = "pruned", 2
    outcome = trial.run(spec(address=driver.address, prune=True, epochs=50), digits)
    assert outcome.ending is Ending.PRUNED
    assert len(outcome.epochs) == 2
    assert outcome.value is None
    assert outcome.error == ""


@pytest.mark.tensorflow
def test_what_a_builder_prints_is_cut_short(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A gigabyte, a megabyte at a time."""
    body = "[print('x' * 1_000_000) for _ in range(1000)]"
    assert trial.run(spec(body, epochs=1), digits).ending is Ending.OK
    printed = capsys.readouterr()
    assert len(printed.out + printed.err) < 20_000
    assert "(trial 4 printed more; it is left out)" in printed.err


@pytest.mark.tensorflow
def test_processes_that_a_builder_starts_end_with_the_trial(digits: Path, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    body = (
        "import subprocess, sys, pathlib\n    child = subprocess.Popen([sys.executable, '-c', "
        f"'import time; time.sleep(600)'])\n    pathlib.Path({str(note)!r}).write_text(str(child.pid))"
    )
    assert trial.run(spec(body, epochs=1), digits).ending is Ending.OK
    pid = int(note.read_text())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_process_beyond_its_memory_says_so_and_is_gone(driver: Driver) -> None:
    """It needs no TensorFlow to be too large. What a trial's own memory does is told further below."""
    address = f"Address('127.0.0.1', {driver.address.port}, bytes.fromhex({driver.address.secret.hex()!r}))"
    code = (
        f"import sys, time\nsys.path[:0] = [{str(Path(__file__).parent)!r}]\n"
        "from test_attempt import Address, RunningAttempt, spec\n"
        f"with RunningAttempt(spec(address={address}, mebibytes=1)).watched():\n    time.sleep(20)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == -9
    assert Outcome.of(driver.heard[-1]["outcome"]).ending is Ending.OUT_OF_MEMORY


# As Spark's Python workers come from one process: TensorFlow is imported, and each trial has a child of it.
WARM = """
import json, os, sys
from pathlib import Path
sys.path[:0] = [{here!r}]
from test_attempt import spec
from windrow.channel import Address
from windrow.sweep import trial
from windrow.training import runtime

runtime.import_tensorflow(1)
for line in sys.stdin:
    told = json.loads(line)
    if not (child := os.fork()):
        output = os.open(told["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        address = Address("127.0.0.1", told["port"], bytes.fromhex(told["secret"]))
        outcome = trial.run(spec(told["body"], address=address, **told["settings"]), Path({digits!r}))
        print("ended as", outcome.ending.value, flush=True)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
InAProcess = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def warm(digits: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has imported TensorFlow and runs a trial in a child for each line that it reads."""
    code = WARM.format(here=str(Path(__file__).parent), digits=str(digits))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, **pipes) as process:
        yield process
        process.stdin.close()  # type: ignore[union-attr]


@pytest.fixture
def in_a_process(warm: subprocess.Popen[str], driver: Driver, tmp_path: Path) -> InAProcess:
    """Run a trial in a process of its own, as Spark's Python worker is one: its exit code, and what it printed."""

    def run(body: str, **settings: Any) -> tuple[int, str]:
        address = {"port": driver.address.port, "secret": driver.address.secret.hex()}
        told = {**address, "body": body, "settings": settings, "output": str(tmp_path / "output")}
        assert warm.stdin is not None
        assert warm.stdout is not None
        warm.stdin.write(json.dumps(told) + "\n")
        warm.stdin.flush()
        return int(warm.stdout.readline()), (tmp_path / "output").read_text()

    return run


@pytest.mark.tensorflow
def test_a_worker_beyond_its_memory_says_so_and_is_gone(driver: Driver, in_a_process: InAProcess) -> None:
    body = "hoard = []\n    for _ in range(200):\n        hoard.append(bytearray(b'x' * (32 << 20)))"
    code, printed = in_a_process(body, mebibytes=1500)
    assert code == -9, printed
    outcome = Outcome.of(driver.heard[-1]["outcome"])
    assert outcome.ending is Ending.OUT_OF_MEMORY
    assert 1500 < outcome.peak_mebibytes < 4000
    assert "may have 1500 MiB resident (sweep.trial_mebibytes); it had" in outcome.error
    assert outcome.error.endswith("raise the limit, or make the network or the batch smaller")


@pytest.mark.tensorflow
def test_a_builder_that_forks_gives_one_outcome(driver: Driver, in_a_process: InAProcess) -> None:
    """Both the parent and the child come out of the builder, and both could report."""
    code, printed = in_a_process("import os\n    os.fork()", epochs=1)
    assert (code, printed.count("ended as ok")) == (0, 1), printed
    assert driver.events().count("ended") == 1
    assert driver.events().count("began") == 1


@pytest.mark.tensorflow
def test_a_builder_that_forks_and_raises_in_the_child_gives_one_outcome(
    driver: Driver, in_a_process: InAProcess
) -> None:
    code, printed = in_a_process("import os\n    assert os.fork() or False", epochs=1)
    assert (code, printed.count("ended as")) == (0, 1), printed
    assert driver.events().count("ended") == 1
