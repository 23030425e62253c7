"""Write the description of a registered version, which MLflow shows on the version's page."""

from __future__ import annotations

from windrow.experiment.wording import point_text
from windrow.plural import counted
from windrow.selection import metrics
from windrow.selection.promotion_result import PromotionResult

RESULT_FILE = "evaluation/promotion.json"
"""A version's file with the result that the promotion ended with, with all figures and the evidence."""


def description(result: PromotionResult) -> str:
    """Return the version's description for MLflow's page, in Markdown."""
    classes = f"{metrics.text(result.metrics, result.test_images or 0)}\n\n" if result.metrics else ""
    return (
        f"{result.reason}.\n\n"
        f"Trial {result.trial}: {point_text(dict(result.point))}. "
        f"{result.objective} {result.value:.4f}, the mean of {counted(result.seeds, 'seed')}; the best of "
        f"them by validation is registered, and was read on {counted(result.test_images or 0, 'test image')} once.\n\n"
        f"{result.evidence}\n\n"
        f"{classes}"
        "Input: images (n, height, width, channels) in 0..255. Output: by mlflow.pyfunc label and score of each, by "
        "mlflow.tensorflow the probabilities of all classes."
        f"{_pictures(result)}"
    )


def _pictures(result: PromotionResult) -> str:
    """Return Markdown that shows the version's pictures, and leads to its files, at any address of MLflow's pages."""
    _, _, page = result.links.get("evaluation", "").partition("#")
    if not page:
        return ""
    folder, model_id = RESULT_FILE.partition("/")[0], page.split("/")[-2]
    files = f"ajax-api/2.0/mlflow/logged-models/{model_id}/artifacts/files?artifact_file_path={folder}"
    shown = "\n\n".join(f"![{name}]({files}/{name}.png)" for name in ("confusion", "reliability", "misclassified"))
    return f"\n\n[All files of the evaluation](#{page})\n\n{shown}"
