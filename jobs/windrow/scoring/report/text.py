"""Describe a scoring run in words: the lines at the job's end, and the sentences in its gallery and in MLflow."""

from __future__ import annotations

from windrow.plural import counted
from windrow.scoring.fetch.status import Status
from windrow.scoring.report import drift
from windrow.scoring.report.figures import Figures
from windrow.scoring.report.result import ScoringResult

_HOSTS = 3


def summary(result: ScoringResult) -> str:
    """Describe what a run did, in a few lines."""
    counts, figures = result.counts, result.figures
    lines = [f"something new in {counts.files_read:,} of {counted(result.files, 'file')} of the feed"]
    if counts.files_read:
        found = f"{counts.new:,} new, {counts.already_scored:,} already scored"
        lines.append(f"{counted(counts.urls, 'URL')} in what was read: {found}")
    if counts.left:
        lines.append(f"{counted(counts.left, 'new URL is', 'new URLs are')} left to the next run")
    if counts.retried:
        lines.append(f"{counted(counts.retried, 'URL that was due', 'URLs that were due')} tried again")
    if counts.rescored:
        labelled = counted(counts.rescored, "URL of an earlier model", "URLs of earlier models")
        lines.append(f"{labelled} labelled again{_agreement(figures)}")
    if figures is not None:
        lines += [f"  {name:<20} {number:>9,}{_remark(name)}" for name, number in figures.statuses.items()]
        lines += _details(figures)
    lines.append(f"table {result.table}, version {result.table_version}")
    if result.copy is not None:
        files, size = counted(result.copy["uploaded"], "file"), counted(result.copy["uploaded_bytes"], "byte")
        sent = f"{files} with {size} uploaded"
        lines.append(f"copy {result.copy['published']}, version {result.copy['published_version']}; {sent}")
    return "\n".join(lines)


def outlook(result: ScoringResult) -> str:
    """Describe what a run would do, in a line or two."""
    counts = result.counts
    kinds = [(counts.new, "new"), (counts.retried, "due again"), (counts.rescored, "labelled by earlier models")]
    parts = ", ".join(f"{number:,} {words}" for number, words in kinds if number)
    lines = [
        f"a run would score {counted(counts.to_do, 'URL')}{f': {parts}' if parts else ''}; "
        "nothing was downloaded, and no row was added"
    ]
    if counts.left:
        lines.append(f"{counted(counts.left, 'new URL')} would be left to the run after it")
    return "\n".join(lines)


def _details(figures: Figures) -> list[str]:
    model = f"{figures.model_name} version {figures.model_version}"
    lines = [f"{figures.images_per_second} images a second with {model}{_of_the_ceiling(figures)}"]
    lines += _precision(figures)
    if (slow := figures.times["fetch"].p95) is not None:
        lines.append(f"95 of 100 downloads took {slow:,.0f} ms or less")
    if hosts := [f"{each.host} {each.failed:,} of {each.asked:,}" for each in figures.hosts]:
        lines.append(f"most failures: {'; '.join(hosts[:_HOSTS])}")
    return lines + _drift_sentence(figures)


def sentences(figures: Figures) -> list[str]:
    """Describe a run's figures in a few sentences."""
    ok, rows = figures.ok, figures.rows
    lines = [f"{ok:,} of {counted(rows, 'URL')} labelled by {figures.model_name} version {figures.model_version}."]
    if rows > ok:
        failed = [(status, number) for status, number in figures.statuses.items() if status != Status.OK]
        reasons = ", ".join(f"{number:,} {status.replace('_', ' ')}" for status, number in failed)
        lines.append(f"{rows - ok:,} without a label: {reasons}.")
    if ok and figures.images_per_second:
        lines.append(f"{figures.images_per_second:,} images a second{_of_the_ceiling(figures)}.")
    more = [*_precision(figures), *_drift_sentence(figures)]
    return [*lines, *(f"{line[0].upper()}{line[1:]}." for line in more)]


def note(figures: Figures, withheld: str = "") -> str:
    """Return a run's description in MLflow, as Markdown.

    `withheld` is the reason why the run's rows are not in the table; empty if they are.
    """
    lines = [f"**Withheld:** {withheld}."] if withheld else []
    return "\n".join(f"- {line}" for line in [*lines, *sentences(figures)])


def _of_the_ceiling(figures: Figures) -> str:
    share = figures.share_of_ceiling
    if share is None:
        return ""
    cores = counted(figures.slots or 1, "core")
    return f", {share:.{0 if share >= 0.1 else 1}%} of what {cores} could label without waiting"


def _precision(figures: Figures) -> list[str]:
    """Describe what a lower precision loses on the page's images; empty if the network was not converted."""
    loss = figures.precision
    if loss is None:
        return []
    line = (
        f"computed in {loss.type} by {loss.runtime}: of {counted(loss.images, 'image')} {loss.same_labels:.1%} keep "
        f"their label, scores move by {loss.score_change_mean:.3f}, at most {loss.score_change_max:.3f}"
    )
    if loss.accuracy is None:
        return [line]
    return [f"{line}; {loss.accuracy:.1%} are right, and {loss.accuracy_as_it_is:.1%} as the network is"]


def _drift_sentence(figures: Figures) -> list[str]:
    """Describe how the run compares with earlier ones; empty for a commit of a version that did not compare runs."""
    found = figures.drift
    if found is None:
        return []
    if found.labels is None or found.scores is None:
        return [f"not compared with earlier runs: {found.reason}"]
    before = f"the {found.runs} runs before" if found.runs > 1 else "the run before"
    pairs = [("labels", found.labels), ("scores", found.scores)]
    readings = "; ".join(f"{name} {drift.reading(value)} (PSI {value:.2f})" for name, value in pairs)
    return [f"compared with {before}: {readings}"]


def _agreement(figures: Figures | None) -> str:
    found = figures.agreement if figures else None
    return f"; {found.agree:.1%} of {found.compared:,} have the same label" if found and found.compared else ""


def _remark(status: str) -> str:
    return "  may pass" if Status(status).passing else ""
