"""Write the atlas as one HTML file that makes no requests, for light and dark themes, phones and desktops."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from windrow.atlas.importance import Importance, sentence
from windrow.atlas.plot import Missing, Plot, number
from windrow.atlas.table import DrawnTrial, TrialTable, error_of
from windrow.looks import html, style
from windrow.model.backbone import Backbone
from windrow.model.form import Shape
from windrow.plural import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BEST = 10
_NAMES = style.VARIABLES


@dataclass(frozen=True)
class Drawn:
    """A plot with its SVG."""

    plot: Plot
    svg: str


Section = Drawn | Missing


def svg(drawn: Figure) -> str:
    """Return a picture as an SVG element. Its colours are the HTML page's CSS variables, so they follow the theme."""
    content = io.StringIO()
    drawn.savefig(content, format="svg", dpi=200, transparent=True)
    text = content.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # these ids would clash on one page, and nothing refers to them
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    return re.sub(r"<[^>]*>", lambda tag: re.sub("#[0-9a-f]{6}", _variable, tag[0]), text)  # not in a user's words


def _variable(colour: re.Match[str]) -> str:
    return f"var({_NAMES[colour[0]]})" if colour[0] in _NAMES else colour[0]


def render(table: TrialTable, mattered: Importance, sections: Sequence[Section]) -> str:
    """Return the HTML page: a summary, the best trials, the plots, and the plots that could not be drawn."""
    name = escape(table.page.name)
    drawn = "\n".join(map(_figure, (section for section in sections if isinstance(section, Drawn))))
    left_out = [section for section in sections if isinstance(section, Missing)]
    return html.document(
        title=f"{name}: sensitivity atlas",
        css=_css(),
        header=_summary(table, mattered),
        main=f'{_best_table(table)}\n<div class="plots">\n{drawn}\n</div>\n{_missing(left_out)}',
        footer=(
            "<p>Everything here is about the validation split: the search does not see the test split. A colour means "
            f"the same in\nevery picture: {_legend()}.</p>"
        ),
    )


def _css() -> str:
    return f""".plots{{columns:2 430px;column-gap:2.5rem;margin-top:2rem}}
.plots section{{break-inside:avoid;padding-bottom:2.2rem}}
figure{{margin:0}}
svg{{display:block;width:100%;height:auto}}
svg text{{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif!important}}
figcaption,.missing{{color:var({_NAMES[style.QUIET]});font-size:.85rem}}
figcaption{{margin-top:.3rem}}
.best{{margin-top:1.8rem}}"""


def _summary(table: TrialTable, mattered: Importance) -> str:
    """Return a list in HTML: the best trial, the parameter that mattered most, and the number of trials by ending."""
    lines = [
        _best_sentence(table),
        f"{sentence(mattered) if not mattered.unknown else mattered.unknown}.",
        _endings(table),
    ]
    if table.image is not None:
        lines.append(_network_sentence(table.image, table.backbone))
    if table.constant:
        lines.append(f"The same in every trial: {', '.join(table.constant)}.")
    return "<ul>\n" + "\n".join(f"<li>{escape(line)}</li>" for line in lines) + "\n</ul>"


def _best_sentence(table: TrialTable) -> str:
    best = table.best
    if best is None:
        return "No trial has ended ok yet, so that there is no best one."
    point = ", ".join(f"{name.replace('_', ' ')} {number(value)}" for name, value in best.point.items())
    measure = table.measure.partition(",")[0]
    compares = table.page.sweep.objective == "val_accuracy" and table.guessing is not None
    guessing = f" (guessing: {table.guessing:.3g} %)" if compares else ""
    return f"Best is trial {best.number} with a {measure} of {table.shown(error_of(best))}{guessing}: {point}."


def _network_sentence(image: Shape, backbone: Backbone | None) -> str:
    height, width, channels = image
    size = f"An image has {height} x {width} pixels of {counted(channels, 'channel')}"
    if backbone is None:
        return f"{size}."
    weights = f", whose {backbone.weights:,} weights stay as they are" if backbone.weights else ""
    return f"{size}. Every network is a head on {backbone.name}{weights}."


def _endings(table: TrialTable) -> str:
    counts = [f"{count:,} {ending.value.replace('_', ' ')}" for ending, count in table.endings.most_common()]
    waiting = f"; {counted(table.waiting, 'has', 'have')} not ended" if table.waiting else ""
    return f"{counted(len(table.trials), 'trial')} ended: {', '.join(counts) or 'none'}{waiting}."


def _best_table(table: TrialTable) -> str:
    trials = table.ranked[:_BEST]
    if not trials:
        return ""
    names = [parameter.name for parameter in table.parameters]
    weighed = _weights(table) if all(trial.weights is not None for trial in trials) else {}
    head = ["trial", table.measure, "seconds", *weighed, *(n.replace("_", " ") for n in names)]
    rows = [_row(trial, names, list(weighed.values())) for trial in trials]
    cells = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    title = f"The best {len(trials)} trials" if len(trials) > 1 else "The trial that ended ok"
    return f"""<section class="best" aria-labelledby="best">
<h2 id="best">{title}</h2>
<div class="scroll" role="region" aria-labelledby="best" tabindex="0">
<table><thead><tr>{heads}</tr></thead><tbody>
{cells}
</tbody></table>
</div>
</section>"""


def _weights(table: TrialTable) -> dict[str, int]:
    """Return the columns with numbers of weights: the name of each, and what is added to a trial's trainable ones."""
    if table.backbone is None:
        return {"weights": 0}
    whole = {"weights with the backbone": table.backbone.weights} if table.backbone.weights else {}
    return {"weights of the head": 0, **whole}


def _row(trial: DrawnTrial, names: Sequence[str], frozen: Sequence[int]) -> list[str]:
    weights = [f"{(trial.weights or 0) + more:,}" for more in frozen]
    point = [number(trial.point[name]) if name in trial.point else "" for name in names]
    return [str(trial.number), f"{error_of(trial):.3g}", f"{trial.seconds:.3g}", *weights, *point]


def _figure(section: Drawn) -> str:
    plot = section.plot
    picture = section.svg.replace("<svg", f'<svg role="img" aria-label="{escape(plot.alt, quote=True)}"', 1)
    return f"""<section aria-labelledby="{plot.name}">
<h2 id="{plot.name}">{escape(plot.title)}</h2>
<figure>
{picture}
<figcaption>{escape(" ".join(plot.notes))}</figcaption>
</figure>
</section>"""


def _missing(left_out: Sequence[Missing]) -> str:
    if not left_out:
        return ""
    lines = "".join(f"<li>{escape(each.name.replace('-', ' '))}: {escape(each.reason)}</li>" for each in left_out)
    return (
        f'<section class="missing" aria-labelledby="missing"><h2 id="missing">Not drawn</h2><ul>{lines}</ul></section>'
    )


def _legend() -> str:
    words = {style.OK: "ended ok", style.BEST: "best", style.PRUNED: "pruned", style.DIVERGED: "diverged"}
    return ", ".join(f'<b style="color:var({_NAMES[colour]})">{word}</b>' for colour, word in words.items())
