"""Render a scoring run as one HTML file, for phones and desktops, in light and dark.

The page loads nothing from elsewhere and contains no script. Text from the web or a feed (URLs, labels, reasons) may be
hostile: it is escaped, and only http and https addresses become links.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from windrow.looks import html, style
from windrow.scoring.report import text
from windrow.scoring.report.album import LARGEST_SIDE, Chosen, Picture
from windrow.scoring.report.failures import Failure
from windrow.scoring.report.figures import Figures
from windrow.scoring.report.gallery import tables
from windrow.scoring.report.gallery.links import host_of, link

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_META = f'''<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="referrer" content="no-referrer">
'''


def render(name: str, figures: Figures, pictures: Chosen, failed: Sequence[Failure]) -> str:
    """Return the page's HTML.

    Args:
        name: the experiment's name.
        figures: the run's figures, with its model and its drift.
        pictures: the pictures to show.
        failed: a few failed URLs for each reason.
    """
    parts = [
        _pictures("unsure", "Least sure", "The lowest scores of the run, lowest first.", pictures.unsure),
        _pictures("examples", "By label", "Frequent labels, two of each from a sample by key.", pictures.examples),
        _pictures("sample", "At random", "Others of that sample, in the order of their keys.", pictures.sample),
        f'<div class="pair">{tables.scores(figures)}{tables.labels(figures)}</div>',
        tables.drift(figures),
        tables.reasons(figures, failed),
        tables.hosts(figures),
        tables.times(figures),
    ]
    return html.document(
        title=f"{escape(name)}: what was labelled",
        css=_css(),
        header=f"<ul>\n{''.join(f'<li>{escape(line)}</li>' for line in text.sentences(figures))}\n</ul>",
        main="".join(part for part in parts if part),
        footer=(
            "<p>Pictures are shown as the network saw them: resized to its input, at most "
            f"{LARGEST_SIDE} pixels wide or high. A score\nis the probability that the network gives its label. "
            "Links lead to the hosts themselves.</p>"
        ),
        meta=_META,
    )


def _css() -> str:
    bar, quiet, line = (f"var({style.VARIABLES[colour]})" for colour in (style.OK, style.QUIET, style.HAIRLINE))
    return f"""section{{margin-top:2rem}}
section>p,caption{{color:{quiet};font-size:.85rem;margin:0 0 .6rem}}
caption{{text-align:left;white-space:normal}}
a{{color:{bar}}}
a:focus-visible,.scroll:focus-visible{{outline:2px solid {bar};outline-offset:2px}}
.cards{{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(118px,28%),1fr));gap:.9rem .8rem;list-style:none;
margin:0;padding:0}}
.cards li{{min-width:0;font-size:.8rem;line-height:1.35;overflow-wrap:anywhere}}
.cards img{{display:block;width:100%;max-width:160px;height:auto;border:1px solid {line};border-radius:4px;
background:{line}}}
.cards img.exact{{image-rendering:pixelated}}
.cards p{{margin:.15rem 0 0;display:-webkit-box;-webkit-line-clamp:2;line-clamp:2;-webkit-box-orient:vertical;
overflow:hidden}}
.cards b{{font-weight:600}}
.cards span{{color:{quiet}}}
.pair{{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,380px),1fr));gap:0 2.5rem}}
td.bar{{width:60%;min-width:90px;padding-right:0}}
table{{min-width:min(100%,28rem)}}
.pair table{{width:100%}}
td.bar div{{height:.85rem;background:{bar};border-radius:2px}}
th[scope=row],th.text,td.text{{text-align:left}}
td.text{{white-space:normal;overflow-wrap:anywhere;min-width:14rem}}
th[scope=row]{{color:inherit;font-weight:400;max-width:16rem;overflow:hidden;text-overflow:ellipsis}}"""


def _pictures(name: str, title: str, note: str, pictures: Sequence[Picture]) -> str:
    if not pictures:
        return ""
    cards = "\n".join(map(_card, pictures))
    return f"""<section aria-labelledby="{name}">
<h2 id="{name}">{title}</h2>
<p>{note}</p>
<ul class="cards">
{cards}
</ul>
</section>
"""


def _card(picture: Picture) -> str:
    exact = ' class="exact"' if picture.image.startswith("data:image/png") else ""
    label, score = escape(picture.label), f"{picture.score:.1%}"
    host = host_of(picture.url)
    image = (
        f'<img{exact} src="{escape(picture.image)}" width="{picture.width}" height="{picture.height}" loading="lazy" '
        f'alt="{label}, {score}{f", from {escape(host)}" if host else ""}">'
    )
    second = f"; {picture.second_score:.1%} for {escape(picture.second)}" if picture.second else ""
    words = f"<p><b>{label}</b></p><p><span>{score}{second}</span></p>"
    return f"<li>{link(picture.url, image, escape(host))}{words}</li>"
