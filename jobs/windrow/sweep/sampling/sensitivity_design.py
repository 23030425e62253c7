"""The sensitivity design: points of Sobol's sequence over only two hyper-parameters, each trained with several seeds.

A trial's seed depends on its number, so the repeats of a point differ only in their seeds. A trial's point depends on
its number, too: neither a restart nor the order in which trials end changes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from windrow.errors import StudyError
from windrow.experiment.parameters import Value
from windrow.sweep.sampling import sobol, space

if TYPE_CHECKING:
    from windrow.experiment import Experiment

_DRAWS = 500  # this many points in a row that break a constraint are an error


class Design:
    """The points of a page whose sampler is `sensitivity`."""

    def __init__(self, page: Experiment) -> None:
        section = page.sweep.sensitivity
        if section is None:
            raise ValueError("a sensitivity design needs sweep.sensitivity; the page has none")
        self._page, self._repeats = page, section.repeats
        self._varied = {name: page.space[name] for name in section.parameters}
        self._allowed = self._points()
        self._found: list[dict[str, Value]] = []

    def point(self, place: int) -> dict[str, Value]:
        """Return the point of the design's trial number `place`, counted from 0.

        Raises:
            StudyError: the constraints exclude nearly all of the two ranges.
        """
        while len(self._found) <= place // self._repeats:
            self._found.append(next(self._allowed))
        return self._found[place // self._repeats]

    def _points(self) -> Iterator[dict[str, Value]]:
        defaults = self._page.network.defaults()
        number = broken = 0
        while broken < _DRAWS:
            two = sobol.point(self._varied, self._page.sweep.seed, number)
            point = space.filled(self._page.space, two, defaults)
            number += 1
            if space.allowed(self._page.constraints, {**defaults, **point}):
                broken = 0
                yield point
            else:
                broken += 1
        raise StudyError(
            f"constraints must leave enough of {' and '.join(self._varied)}; {_DRAWS} points in a row broke one of "
            f"{', '.join(map(str, self._page.constraints))}; loosen them, or change a default of network.parameters"
        )
