"""Record decisions in the registry, and move the aliases accordingly.

The champion is the version that scoring uses; previous is the champion before it; challenger is the newest version that
has not become champion. A decision is recorded before any alias moves, and every move can be repeated: the next run
completes what was interrupted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from windrow import paths
from windrow.errors import TrackingError
from windrow.files import locked
from windrow.selection.promotion_result import PromotionResult
from windrow.selection.rule import Ruling
from windrow.tracking.version_page import RESULT_FILE

if TYPE_CHECKING:
    from mlflow import MlflowClient

RESULT, SETTLED = "windrow.result", "windrow.settled"
"""Tags of a version: the job's result as short JSON, set before the aliases move, and the ruling, set after that."""

_APPROVAL = {Ruling.AWAITING_APPROVAL: "pending", Ruling.PROMOTED: "approved", Ruling.KEPT: "rejected"}
CHOSEN_BY, APPROVAL_BY = "windrow.chosen_by", "windrow.approval_by"
"""Tags of a version: who has last made it champion by a choice or a rollback, and who has approved or rejected it."""


@contextmanager
def alone(model: str) -> Iterator[None]:
    """Lock a model for one promotion, approval or rollback at a time in this WINDROW_HOME; wait while it is locked.

    Raises:
        TrackingError: a call to MLflow failed in the block.
    """
    from mlflow.exceptions import MlflowException

    with locked(paths.home() / "promotions" / sha256(model.encode()).hexdigest()[:16]):
        try:
            yield
        except MlflowException as error:
            first_line = str(error).strip().partition("\n")[0]
            raise TrackingError(
                f"MLflow must accept changes to {model}; it stopped with {first_line[:300]}; "
                "correct that and run this again: it finishes what was decided, or starts again"
            ) from error


def ensure_model(client: MlflowClient, model: str, description: str) -> None:
    """Create a registered model, unless it is there."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(model, description=description)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def aliased(client: MlflowClient, model: str, alias: str) -> Any:
    """Return the version that an alias names; None for an unknown alias or model."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(model, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def logged_model(version: Any) -> str | None:
    """Return the id of a version's logged model; None if it was registered from other files.

    MLflow's own registry keeps the source that a version was registered from, but not the model id that it is given.
    """
    kind, _, model_id = str(version.source or "").partition("/")
    return model_id if kind == "models:" and model_id.startswith("m-") else None


def record(client: MlflowClient, result: PromotionResult, file: str | None = RESULT_FILE) -> None:
    """Record a decision in its version's tags. From then on, a promotion that is interrupted can be completed.

    Args:
        file: the version's file with the whole result; None without such a file: then the tag holds everything.
    """
    values = {**result.short().to_json(), "file": file} if file else result.to_json()
    text = json.dumps(values, ensure_ascii=False, allow_nan=False)
    client.set_model_version_tag(result.model_name, result.model_version, RESULT, text)


def recorded(version: Any) -> PromotionResult | None:
    """Return the promotion's result from a version's tags, shortened if a file has it all; None before the decision."""
    text = version.tags.get(RESULT)
    return None if text is None else PromotionResult.from_json(json.loads(text))


def whole(version: Any, result: PromotionResult) -> PromotionResult:
    """Return a version's recorded result with the evidence and all figures, from the version's file if it has one."""
    import mlflow

    if (file := file_of(version)) is None:
        return result
    text = mlflow.artifacts.load_text(f"models:/{version.name}/{version.version}/{file}")
    return result.completed(PromotionResult.from_json(json.loads(text)))


def file_of(version: Any) -> str | None:
    """Return the name of a version's file with the whole result; None for a version from before there was one."""
    name: str | None = json.loads(version.tags[RESULT]).get("file")
    return name


def is_settled(version: Any, result: PromotionResult) -> bool:
    """Return whether the aliases have moved according to a version's result; True for a result without a ruling."""
    return bool(version.tags.get(SETTLED) == result.decision)


def is_stale(client: MlflowClient, result: PromotionResult) -> bool:
    """Return whether the champion has changed since a version was compared with it.

    False if that version is now champion itself.
    """
    champion = aliased(client, result.model_name, "champion")
    now = str(champion.version) if champion else None
    return now not in (result.champion_before, result.model_version)


def settle(client: MlflowClient, result: PromotionResult, description: str) -> None:
    """Write a decision to its version's tags and description, and move the aliases; a second call changes nothing."""
    name, version, ruling = result.model_name, result.model_version, Ruling(result.decision or "")
    write(client, result, description)
    if ruling is Ruling.PROMOTED:
        client.set_registered_model_alias(name, "champion", version)
        if result.champion_before not in (None, version):
            client.set_registered_model_alias(name, "previous", result.champion_before)
        challenger = aliased(client, name, "challenger")
        if challenger is not None and str(challenger.version) == version:
            client.delete_registered_model_alias(name, "challenger")
    else:
        client.set_registered_model_alias(name, "challenger", version)
    client.set_model_version_tag(name, version, SETTLED, ruling.value)


def write(client: MlflowClient, result: PromotionResult, description: str) -> None:
    """Write a decision to its version's tags and description, for people; the aliases stay."""
    name, version = result.model_name, result.model_version
    client.set_model_version_tag(name, version, "windrow.decision", result.reason)
    if result.approval is not None:
        client.set_model_version_tag(name, version, "windrow.approval", _APPROVAL[Ruling(result.decision or "")])
        client.set_model_version_tag(name, version, APPROVAL_BY, result.approval)
    client.update_model_version(name, version, description=description)
