"""A process that dies in a write, as a test plays it: an exception that nothing may catch, at the write that is named.

    crasher = Crasher()
    crasher.arm(2, "after")                      # dies after the third write from now
    crasher.write(lambda: ..., torn=lambda: ...)   # every write goes through it

Dead is dead: after its death every further write raises as well, so that no clean-up reaches the disk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hypothesis import settings

Given = TypeVar("Given")


class KilledError(BaseException):
    """In the place of SIGKILL: nothing in jobs/ may catch it."""


class Crasher:
    """Lets the writes of a process through until the one in which it dies."""

    def __init__(self) -> None:
        self.armed: tuple[int, str] | None = None
        self.error: Callable[[], BaseException] = KilledError
        self.dead = False
        self.deaths = 0

    def arm(self, writes: int, how: str, error: Callable[[], BaseException] = KilledError) -> None:
        """Die at the write after so many others: "before" it, "after" it, or with a half of it done ("torn").

        With another error it is the line to a server that is cut: before the request, or before its answer.
        """
        self.armed, self.error = (writes, how), error

    def disarm(self) -> None:
        """Another process, which lives."""
        self.armed, self.dead = None, False

    def write(self, what: Callable[[], Given], torn: Callable[[], object] | None = None) -> Given:
        """Do a write, or die. `torn` does a half of it, where half of it can be done."""
        if self.dead:
            raise self.error()
        if self.armed is None:
            return what()
        left, how = self.armed
        if left > 0:
            self.armed = left - 1, how
            return what()
        self.dead, self.armed = True, None
        self.deaths += 1
        if how == "torn" and torn is not None:
            torn()
        elif how == "after":
            what()
        raise self.error()


def machine_settings(steps: int, share: float = 1.0) -> settings:
    """Settings of a state machine: `steps` a history, and a `share` of the profile's examples.

    make test has some thousand steps of each, make test-faults many times as many.
    """
    profile = settings()
    return settings(max_examples=max(1, round(profile.max_examples * share)), stateful_step_count=steps, deadline=None)
