"""Write the description of a registered version, which MLflow shows on the version's page."""

from __future__ import annotations

from datetime import UTC, datetime

from windrow.experiment.wording import point_text
from windrow.markdown import escaped
from windrow.plural import counted
from windrow.selection.promotion_result import PromotionResult

RESULT_FILE = "evaluation/promotion.json"
"""A version's file with the result that the promotion ended with, with all figures and the evidence."""

LONGEST = 5000
"""Characters of a description that MLflow's database has room for."""

LONGEST_UNSIGNED = LONGEST - 200
"""Characters of a description before a person makes its version champion, which adds a line."""

_CHOSEN = "Made champion by "


def description(result: PromotionResult) -> str:
    """Return the version's description for MLflow's page, in Markdown of at most 4,800 characters.

    If the text is longer, the last lines of the evidence are left out.
    """
    head = (
        f"{escaped(result.reason)}.\n\n"
        f"Trial {result.trial}: {escaped(point_text(dict(result.point)))}. "
        f"{result.objective} {result.value:.4f}, the mean of {counted(result.seeds, 'seed')}; {_registered(result)}, "
        f"and was read on {counted(result.test_images or 0, 'test image')} once.\n\n"
    )
    tail = (
        "\n\nInput: images (n, height, width, channels) in 0..255. Output: by mlflow.pyfunc label and score of each, "
        "by mlflow.tensorflow the probabilities of all classes."
        f"{_pictures(result)}"
    )
    tables = _cut(_spaced(result.evidence), LONGEST_UNSIGNED - len(head) - len(tail))
    return f"{head}{tables}{tail}"[:LONGEST_UNSIGNED]


def _registered(result: PromotionResult) -> str:
    if result.cross_validated:
        return "the network of the first, trained again on all images but the test's, is registered"
    return "the best of them by validation is registered"


def signed(text: str, by: str, champion: str | None) -> str:
    """Return a version's description with a first line that says who has made it champion, and when.

    Args:
        text: the description; a first line of that kind is replaced.
        by: the person's name.
        champion: the version that was champion before; None without one.
    """
    instead = f", in place of version {champion}" if champion else ""
    line = f"{_CHOSEN}{escaped(by[:100])} on {datetime.now(UTC):%Y-%m-%d}{instead}."
    rest = text.partition("\n\n")[2] if text.startswith(_CHOSEN) else text
    return f"{line}\n\n{rest}"[:LONGEST]


def _spaced(text: str) -> str:
    """Return Markdown whose tables have a space at the end of each cell: MLflow leaves none between two columns."""
    return "\n".join(line.replace(" |", "&ensp;|") if line.startswith("|") else line for line in text.split("\n"))


def _cut(text: str, most: int) -> str:
    """Return a text; if it is longer than `most` characters, without its last lines, with a note on where they are."""
    if len(text) <= most:
        return text
    note = f"\n\nThe rest is in {RESULT_FILE}."
    end = text.rfind("\n", 0, max(0, most - len(note)))
    return f"{text[: max(0, end)]}{note}"


def _pictures(result: PromotionResult) -> str:
    """Return Markdown that shows the version's pictures, and a link to its files; empty without an evaluation."""
    _, _, page = result.links.get("evaluation", "").partition("#")
    if not page:
        return ""
    folder, model_id = RESULT_FILE.partition("/")[0], page.split("/")[-2]
    files = f"ajax-api/2.0/mlflow/logged-models/{model_id}/artifacts/files?artifact_file_path={folder}"
    shown = "\n\n".join(f"![{name}]({files}/{name}.png)" for name in ("confusion", "reliability", "misclassified"))
    return f"\n\n[All files of the evaluation](#{page})\n\n{shown}"
