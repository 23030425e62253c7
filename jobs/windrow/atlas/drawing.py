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


def write(table: TrialTable, folder: Path) -> list[Path]:
    """Draw a study into a folder, as an HTML page and one PNG per plot; return the files, the page first."""
    mattered = importance.evaluate(table)
    sections: list[page.Section] = []
    written: list[Path] = []
    for found in _plots(table, mattered):
        if isinstance(found, Missing):
            sections.append(found)
            continue
        with style.applied(found.name):
            untangle(found.figure)
            sections.append(page.Drawn(found, page.svg(found.figure)))
            written.append(write_bytes(folder / f"atlas-{found.name}.png", style.png(found.figure, found.title)))
    text = page.render(table, mattered, sections)
    return [write_text(folder / PAGE, text), *written]


def _plots(table: TrialTable, mattered: Importance) -> Iterator[Plot | Missing]:
    """Yield every plot, or why it is missing, in the order of the HTML page. Each is drawn with the common style."""
    order = mattered.order
    found, cuts = timeline.bars(table)
    draws: list[Callable[[], Plot | Missing]] = [
        lambda: heat_map.draw(table, order),
        lambda: curves.draw_rates(table, order),
        lambda: importance.draw(table, mattered),
        lambda: marginals.draw_marginals(table, order),
        lambda: marginals.draw_parallel(table, order),
        lambda: curves.draw_epochs(table),
        lambda: cost.draw_weights(table),
        lambda: cost.draw_seconds(table),
        lambda: timeline.draw_timeline(table, found, cuts),
        lambda: timeline.draw_speed_up(found),
    ]
    for draw in draws:
        with style.applied():
            drawn = draw()
        yield drawn
