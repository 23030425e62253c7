"""Describe a scoring run in words: the lines at the job's end, and the sentences in its gallery and in MLflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from windrow.markdown import escaped
from windrow.plural import counted
from windrow.scoring.fetch.status import Status
from windrow.scoring.report import drift
from windrow.scoring.report.figures import Figures, UrlCounts
from windrow.scoring.report.result import ScoringResult

_HOSTS = 3
_FILES = 5


def summary(result: ScoringResult) -> str:
    """Describe what a run did, in a few lines."""
    counts, figures = result.counts, result.figures
    lines = [f"something new in {counts.files_read:,} of {counted(result.files, 'file')} of the feed"]
    if counts.files_read:
        found = f"{counts.new:,} new, {counts.already_scored:,} already scored"
        rest = [(counts.copies, "copies of these"), (counts.without_url, "without a URL")]
        more = "".join(f", {number:,} {words}" for number, words in rest if number)
        lines.append(f"{counted(counts.records, 'record')} read: {counted(counts.urls, 'URL')} ({found}){more}")
    if counts.left:
        lines.append(f"{counted(counts.left, 'new URL is', 'new URLs are')} left to the next run")
    if counts.retried:
        due = counted(counts.retried, "URL that was due", "URLs that were due")
        lines.append(f"{due} tried again{_reopened(counts)}")
    if counts.rescored:
        labelled = counted(counts.rescored, "URL of another version", "URLs of other versions")
        lines.append(f"{labelled} labelled again{_agreement(figures)}")
    if result.earlier_rows:
        lines.append(f"{counted(result.earlier_rows, 'row')} that an earlier try committed and could not report")
    if figures is not None:
        lines += [f"  {name:<20} {number:>9,}{_remark(name)}" for name, number in figures.statuses.items()]
        lines += _details(figures)
    lines += [*result.feed_faults.lines(), *earlier_labels(result.earlier_labels, result.model_name)]
    lines.append(f"table {result.table}, version {result.table_version}")
    if result.copy is not None:
        files, size = counted(result.copy["uploaded"], "file"), counted(result.copy["uploaded_bytes"], "byte")
        sent = f"{files} with {size} uploaded"
        lines.append(f"copy {result.copy['published']}, version {result.copy['published_version']}; {sent}")
    return "\n".join(lines)


def outlook(result: ScoringResult) -> str:
    """Describe what a run would do, in a line or two."""
    counts = result.counts
    kinds = [(counts.new, "new"), (counts.retried, "due again"), (counts.rescored, "labelled by other versions")]
    parts = ", ".join(f"{number:,} {words}" for number, words in kinds if number)
    lines = [
        f"a run would score {counted(counts.to_do, 'URL')}{f': {parts}' if parts else ''}; "
        "nothing was downloaded, and no row was added"
    ]
    if counts.left:
        lines.append(f"{counted(counts.left, 'new URL')} would be left to the run after it")
    lines += [*result.feed_faults.lines(), *earlier_labels(result.earlier_labels, result.model_name)]
    return "\n".join(lines)


def _details(figures: Figures) -> list[str]:
    model = f"{figures.model_name} version {figures.model_version}"
    lines = [f"{figures.images_per_second} images a second with {model}{_of_the_ceiling(figures)}"]
    lines += [*_precision(figures), *_truth(figures)]
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
        reasons = ", ".join(f"{number:,} {status.replace('_', ' ')}{_keys(status)}" for status, number in failed)
        lines.append(f"{rows - ok:,} without a label: {reasons}.")
    if ok and figures.images_per_second:
        lines.append(f"{figures.images_per_second:,} images a second{_of_the_ceiling(figures)}.")
    more = [*_feed(figures), *_truth(figures), *_precision(figures), *_drift_sentence(figures)]
    more += earlier_labels(figures.other_versions, figures.model_name)
    return [*lines, *(f"{line[0].upper()}{line[1:]}." for line in more)]


def _feed(figures: Figures) -> list[str]:
    """Describe how the records of the feed were counted, and which files were refused; empty without a fault."""
    counts, faults = figures.counts, figures.feed_faults
    lines = []
    if counts.without_url or faults.files_refused:
        lines.append(
            f"{counted(counts.records, 'record')} read: {counts.new + counts.left:,} new, {counts.already_scored:,} "
            f"already scored, {counts.copies:,} copies of these, {counts.without_url:,} without a URL"
        )
    if faults.files_refused:
        places = "; ".join(map(str, faults.refused[:_FILES]))
        lines.append(
            f"{counted(faults.files_refused, 'file of the feed was', 'files of the feed were')} refused: {places}"
        )
    return lines


def note(figures: Figures, withheld: str = "") -> str:
    """Return a run's description in MLflow, as Markdown.

    `withheld` is the reason why the run's rows are not in the table; empty if they are.
    """
    lines = [f"**Withheld:** {escaped(withheld)}."] if withheld else []
    return "\n".join(f"- {line}" for line in [*lines, *map(escaped, sentences(figures))])


def _of_the_ceiling(figures: Figures) -> str:
    share = figures.share_of_ceiling
    if share is None:
        return ""
    cores = counted(figures.slots or 1, "core")
    held = f"; {figures.held_back_by} held the run back" if figures.held_back_by else ""
    shown = f"{share:.{0 if share >= 0.1 else 1}%}" if share >= 0.001 else "less than 0.1%"
    return f", {shown} of what {cores} could label without waiting{held}"


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


def earlier_labels(by_version: Mapping[str, int] | None, model: str) -> list[str]:
    """Describe the URLs whose newest label is of another version, by version; empty without any."""
    if not by_version:
        return []
    versions = [(f"version {version}", number) for version, number in by_version.items()]
    urls = counted(sum(by_version.values()), "URL has a label", "URLs have labels")
    if len(versions) == 1:
        urls += f" of {versions[0][0]}"
    else:
        urls += f" of other versions ({', '.join(f'{number:,} of {version}' for version, number in versions)})"
    return [f"{urls}; --rescore, or scoring.rescore: champion, labels again with the current {model}"]


def _one_of(names: Sequence[str]) -> str:
    """List names: a, b or c."""
    return " or ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def _reopened(counts: UrlCounts) -> str:
    return f", {counts.reopened:,} of them by a changed key or --retry-status" if counts.reopened else ""


def _truth(figures: Figures) -> list[str]:
    """Compare the labels with the true classes in the feed; empty if the page names no column with them."""
    found = figures.truth
    if found is None:
        return []
    column = f"the feed's column {found.column}"
    lines = [f"no labelled image has a true class in {column} (scoring.truth)"] if not found.images else []
    if found.accuracy is not None and found.low is not None and found.high is not None:
        labels = counted(found.images, "label is", "labels are")
        lines.append(
            f"{found.accuracy:.1%} of {labels} right by {column} (95% interval {found.low:.1%} to "
            f"{found.high:.1%}); the most frequent class alone would give {found.baseline:.1%}; macro-F1 "
            f"{found.macro_f1:.3f}"
        )
    if found.unknown:
        names = ", ".join(found.unknown_names)
        images = counted(found.unknown, "image has", "images have")
        lines.append(f"{images} a true class that the network does not know: {names}")
    return lines


def decided_by(status: str) -> str:
    """Name the page's keys that decide a final status; empty for a passing status, which may also change with time."""
    found = Status(status)
    return "" if found.passing else _one_of(found.deciding_keys)


def _remark(status: str) -> str:
    if Status(status).passing:
        return "  may pass"
    return f"  {keys} decides" if (keys := decided_by(status)) else ""


def _keys(status: str) -> str:
    return f" ({keys})" if (keys := decided_by(status)) else ""
