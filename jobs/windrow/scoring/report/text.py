"""What a scoring run did, for people: the lines at the job's end, and the sentences of its gallery and of MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from windrow.scoring.fetch.status import Status
from windrow.scoring.report import drift

_HOSTS = 3


def summary(result: Mapping[str, Any]) -> str:
    """The result for people, a few lines."""
    lines = [f"{result['files_read']:,} of {result['files']:,} files of the feed have news"]
    if result["files_read"]:
        told = f"{result['new']:,} new, {result['already_scored']:,} already scored"
        lines.append(f"{result['urls']:,} URLs in what was read: {told}")
    if result.get("left"):
        lines.append(f"{result['left']:,} new URLs are left to the next run")
    if result["retried"]:
        lines.append(f"{result['retried']:,} URLs that were due asked again")
    if result["rescored"]:
        lines.append(f"{result['rescored']:,} URLs of earlier models labelled again{_agreement(result)}")
    lines += [f"  {name:<20} {number:>9,}{_remark(name)}" for name, number in result["statuses"].items()]
    if result["rows"]:
        lines += _of_the_pass(result)
    lines.append(f"table {result['table']}, version {result['table_version']}")
    if result.get("published"):
        sent = f"{result['uploaded']:,} files with {result['uploaded_bytes']:,} bytes went there"
        lines.append(f"copy {result['published']}, version {result['published_version']}; {sent}")
    return "\n".join(lines)


def outlook(result: Mapping[str, Any]) -> str:
    """What a run would do, in a line or two."""
    work = result["new"] + result["retried"] + result["rescored"]
    kinds = [("new", "new"), ("retried", "due again"), ("rescored", "labelled by earlier models")]
    told = ", ".join(f"{result[key]:,} {words}" for key, words in kinds if result[key])
    lines = [f"a run would ask {work:,} URLs{f': {told}' if told else ''}; nothing was asked, and no row was added"]
    if result["left"]:
        lines.append(f"{result['left']:,} new URLs would be left to the run after it")
    return "\n".join(lines)


def _of_the_pass(result: Mapping[str, Any]) -> list[str]:
    model = f"{result['model_name']} version {result['model_version']}"
    lines = [f"{result['images_per_second']} images a second with {model}{_of_the_ceiling(result)}"]
    lines += _precision(result)
    if result.get("p95_fetch_ms") is not None:
        lines.append(f"95 of 100 downloads took {result['p95_fetch_ms']:,.0f} ms or less")
    if hosts := [f"{each['host']} {each['failed']:,} of {each['asked']:,}" for each in result.get("hosts", [])]:
        lines.append(f"most failures: {'; '.join(hosts[:_HOSTS])}")
    return lines + _drift_sentence(result)


def sentences(figures: Mapping[str, Any]) -> list[str]:
    """A run's figures in a few sentences."""
    ok, rows = figures["statuses"].get(Status.OK, 0), figures["rows"]
    lines = [f"{ok:,} of {rows:,} URLs labelled by {figures['model_name']} version {figures['model_version']}."]
    if rows > ok:
        failed = [(status, number) for status, number in figures["statuses"].items() if status != Status.OK]
        reasons = ", ".join(f"{number:,} {status.replace('_', ' ')}" for status, number in failed)
        lines.append(f"{rows - ok:,} without a label: {reasons}.")
    if ok and figures.get("images_per_second"):
        lines.append(f"{figures['images_per_second']:,} images a second{_of_the_ceiling(figures)}.")
    told = [*_precision(figures), *_drift_sentence(figures)]
    return [*lines, *(f"{line[0].upper()}{line[1:]}." for line in told)]


def note(figures: Mapping[str, Any], withheld: str = "") -> str:
    """The description of a run in MLflow, as Markdown; `withheld` says why its rows are not in the table."""
    lines = [f"**Withheld:** {withheld}."] if withheld else []
    return "\n".join(f"- {line}" for line in [*lines, *sentences(figures)])


def _of_the_ceiling(figures: Mapping[str, Any]) -> str:
    share = figures.get("share_of_ceiling")
    if share is None:
        return ""
    cores = f"{figures['slots']} cores" if figures["slots"] > 1 else "one core"
    return f", {share:.{0 if share >= 0.1 else 1}%} of what {cores} could label without waiting"


def _precision(figures: Mapping[str, Any]) -> list[str]:
    """What a lower precision loses, by the images that the page has for it; nothing of a network as it is."""
    loss = figures.get("precision")
    if not loss:
        return []
    line = (
        f"computed in {loss['type']} by {loss['runtime']}: of {loss['images']:,} images {loss['same_labels']:.1%} keep "
        f"their label, scores move by {loss['score_change_mean']:.3f}, at most {loss['score_change_max']:.3f}"
    )
    if loss["accuracy"] is None:
        return [line]
    return [f"{line}; {loss['accuracy']:.1%} are right, and {loss['accuracy_as_it_is']:.1%} as the network is"]


def _drift_sentence(figures: Mapping[str, Any]) -> list[str]:
    """How the run compares with those before it; nothing of a Windrow that did not compare."""
    if "drift" not in figures:
        return []
    if figures["psi_labels"] is None:
        return [f"not compared with earlier runs: {figures['drift']['reason']}"]
    runs = figures["drift"]["runs"]
    before = f"the {runs} runs before" if runs > 1 else "the run before"
    pairs = [(name, figures[f"psi_{name}"]) for name in ("labels", "scores")]
    return [f"beside {before}: {'; '.join(f'{name} {drift.word(value)} (PSI {value:.2f})' for name, value in pairs)}"]


def _agreement(result: Mapping[str, Any]) -> str:
    compared = result.get("compared")
    return f"; {result['agree']:.1%} of {compared:,} have the same label" if compared else ""


def _remark(status: str) -> str:
    return "  may pass" if Status(status).passing else ""
