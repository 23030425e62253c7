"""Define the look of every picture: palette, width, labels.

The hues are close to those of Okabe and Ito, which colour-blind people can distinguish. Marks of different kinds also
differ in shape or size.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from textwrap import fill
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

INK, QUIET, HAIRLINE, PAPER = "#1d2b34", "#5c6b75", "#d7dee3", "#fefefe"
OK, BEST, PRUNED, DIVERGED, OTHER = "#0072b2", "#d55e00", "#87919a", "#b8438a", "#a87900"
SEQUENTIAL = "cividis"

STEPS = ("#7fb2d6", "#5195c4", "#2b78b0", "#125a8f", "#083c66")
"""Colours for ordered lines, from low to high values: from light to dark, on a dark page from dark to light."""

DARK = {
    **{INK: "#e6edf1", QUIET: "#a3b1ba", HAIRLINE: "#37444d", PAPER: "#131a1f"},
    **{OK: "#56b4e9", BEST: "#ff8b3d", PRUNED: "#8b969e", DIVERGED: "#e58fc0", OTHER: "#e6b93c"},
    **dict(zip(STEPS, ("#35698f", "#4a8ab8", "#69abd6", "#94cbec", "#c9e8fb"), strict=True)),
}
"""Colour on a light page → colour on a dark page."""

VARIABLES = {colour: f"--c{place}" for place, colour in enumerate(DARK)}
"""The CSS variable of each colour, so that it changes with the reader's theme."""

WIDTH = 4.3
"""Width of every picture, inches: text of 9 points can be read on a phone, and two fit side by side on a desktop."""

_DOTS = 150  # a PNG's dots per inch
_TITLE = 50  # characters per line of a PNG's title

_STYLE: dict[str, object] = {
    **{"font.size": 9.0, "font.family": "sans-serif", "svg.fonttype": "none", "figure.facecolor": PAPER},
    **{"text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": QUIET, "axes.facecolor": "none"},
    **{"xtick.color": QUIET, "ytick.color": QUIET, "xtick.labelcolor": INK, "ytick.labelcolor": INK},
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 9.0, "axes.titlelocation": "left"},
    **{"axes.linewidth": 0.7, "xtick.major.width": 0.7, "ytick.major.width": 0.7, "grid.color": HAIRLINE},
    **{"xtick.minor.width": 0.5, "ytick.minor.width": 0.5, "grid.linewidth": 0.6, "lines.linewidth": 1.6},
    **{"axes.grid": False, "axes.axisbelow": True, "legend.frameon": False},
    "text.parse_math": False,  # a name may have dollar signs
}


def sheet() -> str:
    """Return the style sheet that every HTML page begins with: colours, fonts, headings and tables."""
    light = "".join(f"{name}:{colour};" for colour, name in VARIABLES.items())
    dark = "".join(f"{name}:{DARK[colour]};" for colour, name in VARIABLES.items())
    ink, quiet, line, paper = (f"var({VARIABLES[colour]})" for colour in (INK, QUIET, HAIRLINE, PAPER))
    return f""":root{{color-scheme:light dark;{light}}}
@media (prefers-color-scheme:dark){{:root{{{dark}}}}}
*{{box-sizing:border-box}}
body{{margin:0 auto;max-width:1120px;padding:1rem 1rem 3rem;background:{paper};color:{ink};
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}}
h1{{font-size:1.55rem;line-height:1.2;margin:.5rem 0 .8rem}}
h2{{font-size:1.05rem;line-height:1.3;margin:0 0 .4rem}}
header ul{{margin:0;padding-left:1.1rem}}
header li{{margin:.2rem 0}}
.scroll{{overflow-x:auto}}
table{{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums;white-space:nowrap}}
th,td{{text-align:right;padding:.3rem .7rem .3rem 0;border-bottom:1px solid {line}}}
th{{font-weight:600;color:{quiet}}}
footer{{margin-top:2.5rem;border-top:1px solid {line};color:{quiet};font-size:.85rem}}"""


@contextmanager
def applied(salt: str = "windrow") -> Iterator[None]:
    """Apply this style while the block draws and saves. A letter that the font lacks is drawn as a box, silently.

    `salt` makes the ids in an SVG reproducible. Each SVG on a page needs its own salt, so that their ids differ.
    """
    import matplotlib as mpl

    style: Any = {**_STYLE, "svg.hashsalt": salt}
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from font", UserWarning)
        yield


def figure(height: float) -> Figure:
    """Return an empty picture of the common width; `height` is in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), layout="constrained")


def axes(height: float = 3.1) -> tuple[Figure, Axes]:
    """Return an empty figure of this height, in inches, and its only Axes."""
    drawn = figure(height)
    return drawn, drawn.add_subplot()


def png(drawn: Figure, title: str) -> bytes:
    """Return the bytes of a PNG file: the picture with its title above."""
    from PIL import Image

    lines = fill(title, _TITLE)
    heading = figure(0.14 + 0.19 * (1 + lines.count("\n")))
    heading.text(0.02, 0.5, lines, va="center", fontsize=10, fontweight="bold")
    parts = [_image(heading), _image(drawn)]
    whole = Image.new("RGB", (parts[1].width, sum(part.height for part in parts)), PAPER)
    whole.paste(parts[0], (0, 0))
    whole.paste(parts[1], (0, parts[0].height))
    content = io.BytesIO()
    # A plot has few colours: a palette of 256 makes the file a third as large.
    whole.quantize(256, dither=Image.Dither.NONE).save(content, "PNG", optimize=True)
    return content.getvalue()


def _image(drawn: Figure) -> Image:
    from PIL import Image

    content = io.BytesIO()
    drawn.savefig(content, format="png", dpi=_DOTS)
    return Image.open(content).convert("RGB")


def end_label(drawn: Axes, x: float, y: float, text: str, colour: str, **more: Any) -> None:
    """Write a label at the end of a line or next to a mark, in place of a legend. No space is reserved for it."""
    drawn.annotate(text, (x, y), (5, 0), textcoords="offset points", va="center", color=colour, **more)


def key(drawn: Axes, columns: int = 4) -> None:
    """Add a legend above the axes, which shrink to make room; add none if nothing has a label."""
    handles, labels = drawn.get_legend_handles_labels()
    root: Any = drawn.get_figure(root=True)
    if handles:
        place: Any = "outside upper left"
        more: Any = {"handletextpad": 0.3, "columnspacing": 1.0, "handlelength": 1.0, "borderaxespad": 0.2}
        root.legend(handles, labels, loc=place, ncols=columns, fontsize=8, **more)


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Return positions for labels, in the given order: at least `gap` apart, and close to `places`."""
    moved = dict.fromkeys(range(len(places)), 0.0)
    below = float("-inf")
    for index in sorted(moved, key=lambda each: places[each]):
        moved[index] = below = max(places[index], below + gap)
    shift = (sum(places) - sum(moved.values())) / max(1, len(places))
    return [moved[index] + shift for index in range(len(places))]


def steps(count: int) -> list[str]:
    """Return `count` colours of STEPS for lines that have an order, spread over the whole scale.

    With more than five lines, colours repeat.
    """
    last = len(STEPS) - 1
    return [STEPS[round(index * last / (count - 1))] if count > 1 else STEPS[-1] for index in range(count)]
