"""Define the result of a promotion: what the job returns, and what the registry stores with the version.

result = PromotionResult.from_json(json.loads(tags["windrow.result"]))
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NotRequired, TypedDict

from windrow.experiment.parameters import Value
from windrow.selection.metrics import MetricFigures, worst
from windrow.selection.rule import Decision, Ruling


class IntervalFigures(TypedDict):
    """A confidence interval of an accuracy, or of a difference of accuracies."""

    low: float
    high: float


class SpreadFigures(TypedDict):
    """Test accuracies over several seeds: statistics.Spread as JSON values."""

    seeds: int
    mean: float
    median: float
    deviation: float
    low: float
    high: float


class ComparisonFigures(TypedDict):
    """Two networks on the same images: statistics.Comparison as JSON values."""

    p: float
    difference: float
    interval: IntervalFigures


class NetworkFigures(TypedDict):
    """A network on the test split: evidence.Row as JSON values. Earlier results lack `macro_f1`.

    The loss is None where it is not known, which is so on a part of the test split.
    """

    test_accuracy: float
    test_loss: float | None
    macro_f1: NotRequired[float]
    errors: int
    images: int
    interval: IntervalFigures
    seeds: SpreadFigures | None
    challenger_against_it: ComparisonFigures | None


class NearCopyFigures(TypedDict):
    """Test images that nearly coincide with an image of training or validation: how many, and some pairs of names."""

    images: int
    examples: list[list[str]]


class LeadFigures(TypedDict):
    """How far the best finalist besides the default configuration is ahead of it: finalists.Lead as JSON values."""

    trial: int
    clear: bool
    reason: str
    difference: float
    error: float
    seeds: int


class PreferenceFigures(TypedDict):
    """Which finalist is taken where the smallest is preferred: finalists.Preference as JSON values."""

    trial: int
    smaller: bool
    reason: str


class FineTuningFigures(TypedDict):
    """The winner's further training: whether it is taken, and by how much it was better on validation.

    `difference` and `error` are the mean over the seeds and its standard error; None if there were too few. `frozen` is
    the objective before it, on the same images; None without a pair.
    """

    chosen: bool
    reason: str
    frozen: float | None
    fine_tuned: float | None
    difference: float | None
    error: float | None
    seeds: int
    blocks: int
    epochs: int
    learning_rate: float


@dataclass(frozen=True)
class PromotionResult:
    """The result of judging a challenger. Fields that an earlier version of Windrow did not record are empty or None.

    Attributes:
        model_name, model_version, model_digest: the challenger.
        decision: the ruling; None in results from before rulings existed.
        promoted: whether the challenger became champion.
        reason: the decision as a sentence for the user.
        approval: "" while a person's answer is awaited, then the person's name; None if the rule decides alone.
        trial, point: the number of the challenger's trial, and its searched hyper-parameters.
        objective, value: the name of the validation metric, and its mean over the seeds.
        seeds: the number of networks that `value` is the mean of.
        test_accuracy, test_loss: the challenger's figures on the test split.
        test_images: the number of images in the test split.
        baseline: the share of the most frequent class in the test split, which is the test accuracy of guessing it.
        champion_before: version of the champion at the time; None without a champion.
        champion_test_accuracy: the champion's figure on the test images that it was compared on; None if on none.
        compared_images: the number of test images that the champion was compared on; None without a champion.
        champion_recorded_accuracy, champion_recorded_images: the champion's test accuracy as its own version records
            it, and the number of images behind that; None if it records none.
        figures: test figures of challenger, default and champion, by these names, of the winner before or after its
            further training, the one that is not the challenger, as frozen or fine_tuned, and of the challenger on the
            images that the champion was compared on as challenger_compared, if these are a part of the test split, and
            on the test images without near copies as challenger_without_near_copies, if there are any.
        near_copies: test images that nearly coincide with an image of training or validation; None if they were not
            looked for, and in results from before they were recorded.
        cross_validated: whether each seed was validated on other images, and the networks learned from all of them.
        lead: how far the best finalist is ahead of the default configuration, by cross-validation; None without one.
        preference: which finalist is taken where the smallest is preferred; None where the best is.
        fine_tuning: the winner's further training; None if there was none.
        hints: what may give a better network, by the challenger's curves.
        metrics: the challenger's metrics on the test split; None in results from before they existed.
        evidence: figures, the data set's warnings, hints, figures by class and confusions in Markdown.
        links: addresses of MLflow's pages, by name.
        warnings: what went wrong besides, such as a picture that could not be drawn.
    """

    model_name: str = ""
    model_version: str = ""
    model_digest: str = ""
    decision: Ruling | None = None
    promoted: bool = False
    reason: str = ""
    approval: str | None = None
    trial: int | None = None
    point: Mapping[str, Value] = field(default_factory=dict)
    objective: str = ""
    value: float | None = None
    seeds: int = 0
    test_accuracy: float | None = None
    test_loss: float | None = None
    test_images: int | None = None
    baseline: float | None = None
    champion_before: str | None = None
    champion_test_accuracy: float | None = None
    compared_images: int | None = None
    champion_recorded_accuracy: float | None = None
    champion_recorded_images: int | None = None
    figures: Mapping[str, NetworkFigures] = field(default_factory=dict)
    near_copies: NearCopyFigures | None = None
    cross_validated: bool = False
    lead: LeadFigures | None = None
    preference: PreferenceFigures | None = None
    fine_tuning: FineTuningFigures | None = None
    hints: Sequence[str] = ()
    metrics: MetricFigures | None = None
    evidence: str = ""
    links: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()

    @property
    def awaits_approval(self) -> bool:
        """Return whether a person's answer is awaited."""
        return self.decision is Ruling.AWAITING_APPROVAL

    def answered(self, approved: bool, by: str) -> PromotionResult:
        """Return the result after a person's answer; only for a result that awaits approval."""
        decision = Decision.of(Ruling.AWAITING_APPROVAL, self.reason).settled(approved, by)
        return replace(self, decision=decision.ruling, promoted=decision.promoted, reason=decision.reason, approval=by)

    def to_json(self) -> dict[str, object]:
        """Return the result as JSON values. The objective's name is the key of `value`, which is absent without one.

        Numbers that are not finite are None: JSON has none, and Airflow refuses them.
        """
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        values["decision"] = self.decision.value if self.decision else None
        keys = {name: self.objective if name == "value" else name for name in values}
        if self.metrics is None:  # a result from before metrics existed stays as it was
            del keys["metrics"]
        return {keys[name]: _finite(values[name]) for name in keys if keys[name]}

    def short(self) -> PromotionResult:
        """Return the result without what only the version's page shows: evidence, hints, and most figures.

        The challenger's test figures, its worst class, and the number of near copies stay.
        A tag of a version holds it: see tracking.registry.
        """
        challenger = {name: found for name, found in self.figures.items() if name == "challenger"}
        kept = self.metrics and MetricFigures(**{**self.metrics, "classes": worst(self.metrics["classes"])[:1]})
        near = self.near_copies and NearCopyFigures(images=self.near_copies["images"], examples=[])
        return replace(self, figures=challenger, metrics=kept, near_copies=near, hints=(), evidence="")

    def completed(self, whole: PromotionResult) -> PromotionResult:
        """Return the result with what `short` left out, from the whole result; what was answered since then stays."""
        return replace(
            self,
            figures=whole.figures,
            metrics=whole.metrics,
            near_copies=whole.near_copies,
            hints=whole.hints,
            evidence=whole.evidence,
        )

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PromotionResult:
        """Return the result that `to_json`, of this or another version of Windrow, has written; ignore unknown keys."""
        known = {each.name: _finite(values[each.name]) for each in fields(cls) if each.name in values}
        decision = next((ruling for ruling in Ruling if ruling == values.get("decision")), None)
        return cls(**known | {"decision": decision, "value": values.get(values.get("objective", ""))})


def _finite(value: Any) -> Any:
    """Return a JSON value with None in place of each number in it that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    return type(value)(map(_finite, value)) if isinstance(value, (list, tuple)) else value
