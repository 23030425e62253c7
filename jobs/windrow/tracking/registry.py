"""Move aliases in the registry: after a recorded decision, after a person's approval or choice, and by a rollback.

The champion is the version that scoring uses; previous is the champion before it; challenger is the newest version that
has not become champion. A decision is recorded before any alias moves, and every move can be repeated: the next run
completes what was interrupted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from windrow import paths
from windrow.errors import TrackingError, UserError
from windrow.files import locked
from windrow.selection.promotion_result import PromotionResult
from windrow.selection.rule import Ruling
from windrow.tracking.server import connect, version_link
from windrow.tracking.version_page import RESULT_FILE, description

if TYPE_CHECKING:
    from mlflow import MlflowClient

RESULT, SETTLED = "windrow.result", "windrow.settled"
"""Tags of a version: the job's result as short JSON, set before the aliases move, and the ruling, set after that."""

_APPROVAL = {Ruling.AWAITING_APPROVAL: "pending", Ruling.PROMOTED: "approved", Ruling.KEPT: "rejected"}
_ROLLBACK = "windrow.rollback"
_CHOSEN_BY = "windrow.chosen_by"
"""Tag of a version that a person has made champion: who it was."""


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

    if (file := _file(version)) is None:
        return result
    text = mlflow.artifacts.load_text(f"models:/{version.name}/{version.version}/{file}")
    read = PromotionResult.from_json(json.loads(text))
    return replace(result, figures=read.figures, metrics=read.metrics, hints=read.hints, evidence=read.evidence)


def _file(version: Any) -> str | None:
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
    _tell(client, result, description)
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


def _tell(client: MlflowClient, result: PromotionResult, description: str) -> None:
    name, version = result.model_name, result.model_version
    client.set_model_version_tag(name, version, "windrow.decision", result.reason)
    if result.approval is not None:
        client.set_model_version_tag(name, version, "windrow.approval", _APPROVAL[Ruling(result.decision or "")])
        client.set_model_version_tag(name, version, "windrow.approval_by", result.approval)
    client.update_model_version(name, version, description=description)


def answer(model: str, version: str, approved: bool, by: str) -> PromotionResult:
    """Approve or reject a version that awaits approval, on behalf of a person; return the promotion's new result.

    The same answer again completes what was interrupted, and otherwise changes nothing.

    Raises:
        UserError: the version is unknown or does not await approval, or the champion has changed since.
        TrackingError: MLflow does not answer.
    """
    client = connect()
    with alone(model):
        found = _version(client, model, version)
        result = recorded(found)
        if result is None or result.approval is None:
            reason = found.tags.get("windrow.decision", "nothing is decided about it")
            raise UserError(
                f"only a version that awaits approval can be approved or rejected; got {version} of {model}: {reason}"
            )
        wanted = Ruling.PROMOTED if approved else Ruling.KEPT
        waits = result.awaits_approval
        if not waits and result.decision != wanted:
            raise UserError(f"version {version} of {model} must still await approval; got: {result.reason}")
        if approved and (waits or not is_settled(found, result)) and is_stale(client, result):
            raise UserError(
                f"the champion must still be the one that version {version} of {model} was compared with, "
                f"{result.champion_before or 'none'}; it has changed; run promote_best.py for it again, or with "
                f"--promote {version}"
            )
        result = whole(found, result)
        if waits:
            result = result.answered(approved, by)
            record(client, result, _file(found))
        if not is_settled(found, result):
            settle(client, result, description(result))
    return result


def rollback(model: str) -> dict[str, object]:
    """Swap the aliases champion and previous, and return the job's result.

    Without a champion, the previous version becomes champion and the alias previous is removed. A rollback that was
    interrupted is completed.

    Raises:
        UserError: no version has the alias previous.
        TrackingError: MLflow does not answer.
    """
    client = connect()
    with alone(model):
        champion, previous = (_number(aliased(client, model, alias)) for alias in ("champion", "previous"))
        if previous is None:
            raise UserError(
                f"a rollback needs a version of {model} with the alias previous; got none; "
                "name a version: promote_best.py --promote VERSION"
            )
        champion, previous = _swap(client, model, champion, previous)
    return {
        "model_name": model,
        "model_version": previous,
        "champion_before": champion,
        "promoted": False,
        "reason": f"rolled back: version {previous} is champion again, in place of {champion or 'none'}",
        "links": version_link(model, previous),
    }


def promote(model: str, version: str, by: str) -> dict[str, object]:
    """Make a registered version champion, on behalf of a person, and the champion previous; return the job's result.

    Raises:
        UserError: the version is unknown, awaits approval over today's champion, or was never evaluated on the test
            split.
        TrackingError: MLflow does not answer.
    """
    client = connect()
    with alone(model):
        found = _version(client, model, version)
        chosen, result = str(found.version), recorded(found)
        if result is None:
            raise UserError(f"a version must be evaluated before it is promoted; got {chosen} of {model}, which is not")
        stale = is_stale(client, result)
        if result.awaits_approval and not stale:
            raise UserError(f"version {chosen} of {model} awaits approval; run --approve {chosen} or --reject {chosen}")
        if result.awaits_approval:
            result = result.answered(True, by)
            record(client, result, _file(found))
        if stale and not is_settled(found, result):  # or a later job would carry out this outdated decision
            _tell(client, result, description(whole(found, result)))
            client.set_model_version_tag(model, chosen, SETTLED, str(result.decision))
        champion, challenger = (_number(aliased(client, model, alias)) for alias in ("champion", "challenger"))
        if challenger == chosen:
            client.delete_registered_model_alias(model, "challenger")
        if champion != chosen:
            client.set_model_version_tag(model, chosen, _CHOSEN_BY, by)
            client.set_registered_model_alias(model, "previous", chosen)
            if _begun(client, model) is not None:  # of other versions
                client.delete_registered_model_tag(model, _ROLLBACK)
            _swap(client, model, champion, chosen)
        elif (begun := _begun(client, model)) is not None and begun["back"] == chosen:
            champion, _ = _swap(client, model, chosen, _number(aliased(client, model, "previous")) or chosen)
    reason = f"made champion by {by}, in place of {champion or 'none'}" if champion != chosen else "is champion already"
    return {
        "model_name": model,
        "model_version": chosen,
        "champion_before": champion,
        "promoted": True,
        "reason": reason,
        "links": version_link(model, chosen),
    }


def _swap(client: MlflowClient, model: str, champion: str | None, previous: str) -> tuple[str | None, str]:
    """Make `previous` champion and `champion` previous, or complete such a swap that was interrupted.

    Returns:
        The champion before, None without one, and the champion now.
    """
    begun = _begun(client, model)
    if begun is not None and begun["back"] == champion and previous in (champion, begun["from"]):
        champion, previous = begun["from"], champion
    client.set_registered_model_tag(model, _ROLLBACK, json.dumps({"from": champion, "back": previous}))
    client.set_registered_model_alias(model, "champion", previous)
    if champion is None:
        client.delete_registered_model_alias(model, "previous")
    else:
        client.set_registered_model_alias(model, "previous", champion)
    client.delete_registered_model_tag(model, _ROLLBACK)
    return champion, previous


def _begun(client: MlflowClient, model: str) -> Any:
    """Return {"from": version, "back": version} of a swap that was interrupted; None if none was."""
    return json.loads(client.get_registered_model(model).tags.get(_ROLLBACK, "null"))


def _version(client: MlflowClient, model: str, version: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version(model, version)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise UserError(f"{model} must have the version {version!r} in the registry; it does not") from error
        raise


def _number(version: Any) -> str | None:
    return str(version.version) if version is not None else None
