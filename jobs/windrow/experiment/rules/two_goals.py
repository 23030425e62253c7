"""Find what does not go with two goals (sweep.objectives)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from windrow.experiment.sections import CHAMPION
from windrow.experiment.wording import Key, Mistake, shown


def mistakes(sweep: Mapping[str, object], wrong: set[Key]) -> Iterator[Mistake]:
    """Yield the mistakes in a written section `sweep` with two goals; keys in `wrong` are wrong by themselves."""
    goals = sweep.get("objectives")
    if any(key[:2] == ("sweep", "objectives") for key in wrong) or not isinstance(goals, list | tuple):
        return
    objective = sweep.get("objective", goals[0])
    if objective != goals[0]:
        yield ("sweep", "objective"), f"must be the first of objectives, {goals[0]}; got {objective!r}; remove it"
    for name, bad, why in (
        ("pruner", sweep.get("pruner") == "median", "must be none or asha with two objectives"),
        ("sampler", sweep.get("sampler") == "cma_es", "must be one for two objectives"),
        (
            "warm_start",
            sweep.get("warm_start") not in (None, CHAMPION),
            "must be empty or champion with two objectives",
        ),
        ("stop_after", sweep.get("stop_after") is not None, "must be empty with two objectives, which have no best"),
    ):
        if bad and ("sweep", name) not in wrong:
            cure = "take tpe" if name == "sampler" else "take asha" if name == "pruner" else "remove it"
            yield ("sweep", name), f"{why}; got {shown(sweep[name])}; {cure}"
    if goals[1] == "milliseconds" and sweep.get("deterministic") is True:
        message = "must be false with milliseconds, which no two runs measure alike; got true; take weights"
        yield ("sweep", "deterministic"), message
