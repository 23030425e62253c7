"""Render the tables of the gallery: histograms with bars, drift, failures and times. Every cell is escaped here."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from windrow.scoring.fetch.status import Status
from windrow.scoring.report.drift import MUCH, SOME, reading
from windrow.scoring.report.failures import Failure
from windrow.scoring.report.figures import STAGES, Figures
from windrow.scoring.report.gallery.links import link

_LABELS = 15
_TEXTS = ("for example", "why")  # heads of the columns with text, which is aligned to the left
_LONGEST_TEXT = 160  # characters of an address or a reason


def scores(figures: Figures) -> str:
    """Return the histogram of the scores as an HTML table, the highest scores first; "" without labelled images."""
    bins = len(figures.scores)
    rows = [(f"{place / bins:.1f} to {(place + 1) / bins:.1f}", number) for place, number in enumerate(figures.scores)]
    return _histogram("scores", "Scores", "Labelled images by score.", "score", list(reversed(rows)))


def labels(figures: Figures) -> str:
    """Return the histogram of the labels as an HTML table; "" without labelled images."""
    pairs = list(figures.labels.items())
    rest = sum(number for _, number in pairs[_LABELS:]) + figures.other_labels
    rows = pairs[:_LABELS] + ([("any other", rest)] if rest else [])
    return _histogram("labels", "Labels", "Labelled images by label, the most frequent first.", "label", rows)


def _histogram(name: str, title: str, caption: str, what: str, rows: Sequence[tuple[str, int]]) -> str:
    total = sum(number for _, number in rows)
    if not total:
        return ""
    most = max(number for _, number in rows)
    lines = "\n".join(
        f'<tr><th scope="row">{escape(label)}</th><td>{number:,}</td><td>{number / total:.1%}</td>'
        f'<td class="bar" aria-hidden="true"><div style="width:{100 * number / most:.1f}%"></div></td></tr>'
        for label, number in rows
    )
    heads = [what, "images", "share"]
    return _table(name, title, caption, heads, lines, bars=True)


def drift(figures: Figures) -> str:
    """Return an HTML table of how the histograms moved against earlier runs; "" if the run was not compared."""
    found = figures.drift
    if found is None or found.labels is None or found.scores is None or found.moved is None:
        return ""
    rows = [
        f'<tr><th scope="row">{name}</th><td>{value:.3f}</td><td>{reading(value)}</td></tr>'
        for name, value in (("labels", found.labels), ("scores", found.scores))
    ]
    label, before, now = found.moved
    caption = (
        f"Population stability index against earlier runs of this model version ({found.runs}, with "
        f"{found.images:,} images): below {SOME} is as before, above {MUCH} has moved much. "
        f"Most moved: {escape(label)}, from {before:.1%} to {now:.1%}."
    )
    return _table("drift", "Drift", caption, ["histogram", "PSI", "reading"], "\n".join(rows))


def reasons(figures: Figures, failed: Sequence[Failure]) -> str:
    """Return an HTML table of the reasons why URLs got no label, with examples; "" if all have one."""
    rows = []
    for status, number in figures.statuses.items():
        if status == Status.OK:
            continue
        later = "tried again" if Status(status).passing else "final"
        for place, each in enumerate([failure for failure in failed if failure.status == status] or [None]):
            first = f'<th scope="row">{_words(status)}</th><td>{number:,}</td><td>{later}</td>'
            rows.append(f"<tr>{first if place == 0 else '<td></td>' * 3}{_example(each)}</tr>")
    heads = ["reason", "URLs", "then", *_TEXTS]
    caption = "URLs without a label by reason, with a few of each."
    return _table("reasons", "Not labelled", caption, heads, "\n".join(rows)) if rows else ""


def _example(failure: Failure | None) -> str:
    if failure is None:
        return "<td></td>" * 2
    address = link(failure.url, escape(_short(failure.url)))
    return f'<td class="text">{address}</td><td class="text">{escape(_short(failure.error))}</td>'


def hosts(figures: Figures) -> str:
    """Return an HTML table of the hosts with the most failures; "" without failures."""
    rows = "\n".join(
        f'<tr><th scope="row">{escape(each.host)}</th><td>{each.failed:,}</td><td>{each.asked:,}</td>'
        f"<td>{each.failed / each.asked:.0%}</td><td>{_words(each.status)}</td></tr>"
        for each in figures.hosts
    )
    heads = ["host", "failed", "URLs", "share", "mostly"]
    return _table("hosts", "Hosts", "Hosts with the most URLs without a label.", heads, rows) if rows else ""


def times(figures: Figures) -> str:
    """Return an HTML table of the milliseconds that URLs spent in each stage; "" without times."""
    rows = []
    for stage in STAGES:
        found = figures.times[stage]
        if found.mean is not None:
            cells = "".join(f"<td>{value:,.1f}</td>" for value in (found.mean, found.p50, found.p95))
            rows.append(f'<tr><th scope="row">{stage}</th>{cells}</tr>')
    heads = ["stage", "mean", "median", "95 of 100 below"]
    caption = "Milliseconds per URL: fetch with all tries and redirects, and predict as the image's share of its batch."
    return _table("times", "Times", caption, heads, "\n".join(rows)) if rows else ""


def _table(name: str, title: str, caption: str, heads: Sequence[str], rows: str, bars: bool = False) -> str:
    """Return an HTML section with a table. `caption` and `rows` are HTML; with `bars`, the last column holds bars."""
    classes = ["text" if head in (heads[0], *_TEXTS) else "number" for head in heads]
    pairs = zip(heads, classes, strict=True)
    cells = "".join(f'<th scope="col" class="{kind}">{head}</th>' for head, kind in pairs)
    bar = '<td aria-hidden="true"></td>' if bars else ""
    return f"""<section aria-labelledby="{name}">
<h2 id="{name}">{title}</h2>
<div class="scroll" role="region" aria-labelledby="{name}" tabindex="0">
<table><caption>{caption}</caption><thead><tr>{cells}{bar}</tr></thead><tbody>
{rows}
</tbody></table>
</div>
</section>
"""


def _words(status: str) -> str:
    return escape(status.replace("_", " "))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"
