"""Draw the whole atlas: every plot as a PNG file and on the HTML page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from windrow.atlas import cost, curves, heat_map, importance, marginals, page, timeline
from windrow.atlas.importance import Importance
from windrow.atlas.plot import Missing, Plot, untangle
from windrow.atlas.table import TrialTable
from windrow.files import write_bytes, write_text
from windrow.looks import style

PAGE = "atlas.html"


def write(table: TrialTable, folder: Path, warn: Callable[[str], None] = print) -> list[Path]:
    """Draw a study into a folder, as an HTML page and one PNG per plot; return the files, the page first.

    A plot that can't be drawn is named on the page, and the others are drawn. `warn` gets a sentence for each.
    """
    mattered = importance.evaluate(table)
    sections: list[page.Section] = []
    written: list[Path] = []
    for found in _plots(table, mattered, warn):
        if isinstance(found, Missing):
            sections.append(found)
            continue
        try:
            with style.applied(found.name):
                untangle(found.figure)
                section, content = page.Drawn(found, page.svg(found.figure)), style.png(found.figure, found.title)
        except Exception as error:  # no picture is worth the atlas
            sections.append(_fault(found.name, error, warn))
            continue
        sections.append(section)
        written.append(write_bytes(folder / f"atlas-{found.name}.png", content))
    text = page.render(table, mattered, sections)
    return [write_text(folder / PAGE, text), *written]


def _plots(table: TrialTable, mattered: Importance, warn: Callable[[str], None]) -> Iterator[Plot | Missing]:
    """Yield every plot, or why it is missing, in the order of the HTML page. Each is drawn with the common style."""
    order = mattered.order
    found, cuts = timeline.bars(table)
    draws: dict[str, Callable[[], Plot | Missing]] = {
        heat_map.NAME: lambda: heat_map.draw(table, order),
        curves.RATES: lambda: curves.draw_rates(table, order),
        importance.NAME: lambda: importance.draw(table, mattered),
        marginals.MARGINALS: lambda: marginals.draw_marginals(table, order),
        marginals.PARALLEL: lambda: marginals.draw_parallel(table, order),
        curves.EPOCHS: lambda: curves.draw_epochs(table),
        cost.WEIGHTS: lambda: cost.draw_weights(table),
        cost.SECONDS: lambda: cost.draw_seconds(table),
        timeline.TIMELINE: lambda: timeline.draw_timeline(table, found, cuts),
        timeline.SPEED_UP: lambda: timeline.draw_speed_up(found),
    }
    if table.page.sweep.cost == "milliseconds":
        draws[cost.MILLISECONDS] = lambda: cost.draw_milliseconds(table)
    for name, draw in draws.items():
        try:
            with style.applied():
                drawn = draw()
        except Exception as error:  # no picture is worth the atlas
            drawn = _fault(name, error, warn)
        yield drawn


def _fault(name: str, error: Exception, warn: Callable[[str], None]) -> Missing:
    """Report and return that a plot could not be drawn."""
    reason = f"it could not be drawn: {type(error).__name__}: {error}"
    warn(f"the plot {name} is missing from the atlas: {reason}")
    return Missing(name, reason)
