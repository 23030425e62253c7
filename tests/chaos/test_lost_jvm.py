"""The driver's JVM is gone: the driver's Python must hear of it, whatever it waits for, and let go of the study."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any

import pytest
from windrow.sweep import schedule

pytestmark = pytest.mark.faults


class GoneContext:
    """A Spark context whose every call fails, as after SIGKILL of its JVM."""

    class _Jsc:
        def sc(self) -> Any:
            raise ConnectionRefusedError(111, "Connection refused")

    _jsc = _Jsc()

    def __getattr__(self, _: str) -> Any:
        return self._jsc.sc


def test_a_schedule_whose_jvm_is_gone_hears_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import pyspark

    monkeypatch.setattr(pyspark, "inheritable_thread_target", lambda _: lambda function: function)
    session = type("Session", (), {"sparkContext": GoneContext()})()
    inbox: Any = queue.SimpleQueue()
    run = schedule._Schedule(session, 1, schedule._Listed([]), type("Line", (), {"inbox": inbox})(), iter)
    run._submit(schedule._Job(0, {}, 0.0))
    run._pool.shutdown()
    with pytest.raises(ConnectionRefusedError):
        run._handle(inbox.get_nowait())


@pytest.mark.spark
@pytest.mark.mlflow
def test_a_sweep_whose_jvm_is_killed_while_trials_train_lets_go_of_its_study(
    launch: Callable[..., Any], new_study: Callable[..., Any], check_books: Callable[..., Any]
) -> None:
    study = new_study("jvm", trials=60)
    driver = launch(study)
    while not study.settled():
        assert driver.wait(0.05) is None, driver.tail()
    driver.victims()["driver JVM"][0].kill()
    print(f"the driver's Python ended {driver.wait_until_gone('driver'):.1f} s after its JVM")
    assert launch(study).wait(280) == 0
    check_books(study)
