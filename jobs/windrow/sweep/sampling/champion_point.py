"""Find the point of a page's champion in a new sweep's space, so that the sweep tries it among its first trials.

tried = champion_point(page, ChampionRecord("photos", "3", "head", parameters))
tried.point     # None if this page can't try it
tried.text      # why not, or what differs from the champion's hyper-parameters
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from windrow.experiment import Experiment
from windrow.experiment.parameters import Value
from windrow.experiment.wording import shown
from windrow.sweep.sampling import space


@dataclass(frozen=True)
class ChampionRecord:
    """A registered version with what it was made of.

    Attributes:
        builder: the page's network.builder at that time.
        parameters: every hyper-parameter, searched or not.
    """

    model: str
    version: str
    builder: str
    parameters: Mapping[str, Value]


@dataclass(frozen=True)
class ChampionPoint:
    """What a study does with the champion of its beginning; study.json keeps it, so that a study goes on as it began.

    Attributes:
        version: the champion's version.
        point: the values of the searched hyper-parameters; None if the point is not tried.
        text: the decision as a sentence without a period.
    """

    version: str
    point: dict[str, Value] | None
    text: str

    def to_json(self) -> str:
        """Return the record as JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, record: str) -> ChampionPoint:
        """Read what `to_json` gave."""
        return cls(**json.loads(record))


def champion_point(page: Experiment, champion: ChampionRecord) -> ChampionPoint:
    """Return the champion's values of the page's space, or the reason why the page can't try them.

    Hyper-parameters that the page does not search have the page's values; those that were others are named.
    """
    defaults = page.network.defaults()
    name = f"the point of the champion, {champion.model} version {champion.version},"
    chosen = {key: value for key, value in champion.parameters.items() if key in page.space}
    point = space.filled(page.space, chosen, defaults)
    if problem := _problem(page, champion, point, defaults):
        return ChampionPoint(champion.version, None, f"{name} is not tried: {problem}")
    others = [
        f"{key} {shown(defaults[key])} in place of {shown(value)}"
        for key, value in champion.parameters.items()
        if key in defaults and key not in page.space and value != defaults[key]
    ]
    with_others = f", with this page's {', '.join(others)}" if others else ""
    return ChampionPoint(champion.version, point, f"{name} is among the first trials{with_others}")


def _problem(
    page: Experiment, champion: ChampionRecord, point: Mapping[str, Value], defaults: Mapping[str, Value]
) -> str | None:
    """Return why the page can't try a point; None if it can."""
    if champion.builder != page.network.builder:
        return f"it has the network {champion.builder}, and this page has {page.network.builder}"
    searched = space.active(page.space, {**defaults, **point}, defaults)
    for name in space.order(page.space):
        if name in searched and name not in point:
            return f"it has no {name}, which this page searches"
        if name in searched and not page.space[name].fits(point[name]):
            return f"its {name} {shown(point[name])} is outside the space ({page.space[name]})"
    for constraint in page.constraints:
        if not constraint.holds({**defaults, **point}):
            return f"it breaks the constraint {constraint}"
    return None
