"""Change a model's champion on behalf of a person: by an answer to a request for approval, a choice, or a rollback.

An answer is written to the version before an alias moves. Who has chosen a version or rolled back to it is written once
it is champion, so that its page claims no change that never came; until then a tag of the model keeps the name. As in
the registry's other moves, a change that was interrupted is completed by the next one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from windrow.errors import UserError
from windrow.selection.rule import Ruling
from windrow.tracking import registry
from windrow.tracking.server import connect, version_link
from windrow.tracking.version_page import description, signed

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from windrow.selection.promotion_result import PromotionResult

_ROLLBACK = "windrow.rollback"
"""Tag of a model while its champion and another version change places."""


def answer(model: str, version: str, approved: bool, by: str) -> PromotionResult:
    """Approve or reject a version that awaits approval, on behalf of a person; return the promotion's new result.

    The same answer again completes what was interrupted, and otherwise changes nothing.

    Raises:
        UserError: the version is unknown or does not await approval, or the champion has changed since.
        TrackingError: MLflow does not answer.
    """
    client = connect()
    with registry.alone(model):
        found = _version(client, model, version)
        result = registry.recorded(found)
        if result is None or result.approval is None:
            reason = found.tags.get("windrow.decision", "nothing is decided about it")
            raise UserError(
                f"only a version that awaits approval can be approved or rejected; got {version} of {model}: {reason}"
            )
        wanted = Ruling.PROMOTED if approved else Ruling.KEPT
        waits = result.awaits_approval
        if not waits and result.decision != wanted:
            raise UserError(f"version {version} of {model} must still await approval; got: {result.reason}")
        if approved and (waits or not registry.is_settled(found, result)) and registry.is_stale(client, result):
            raise UserError(
                f"the champion must still be the one that version {version} of {model} was compared with, "
                f"{result.champion_before or 'none'}; it has changed; run promote_best.py for it again, or with "
                f"--promote {version}"
            )
        result = registry.whole(found, result)
        if waits:
            result = result.answered(approved, by)
            registry.record(client, result, registry.file_of(found))
        if not registry.is_settled(found, result):
            registry.settle(client, result, description(result))
    return result


def rollback(model: str, by: str) -> dict[str, object]:
    """Swap the aliases champion and previous, on behalf of a person, and return the job's result.

    Without a champion, the previous version becomes champion and the alias previous is removed. A rollback that was
    interrupted is completed.

    Raises:
        UserError: no version has the alias previous.
        TrackingError: MLflow does not answer.
    """
    client = connect()
    with registry.alone(model):
        champion, previous = _at(client, model, "champion"), _at(client, model, "previous")
        if previous is None:
            raise UserError(
                f"a rollback needs a version of {model} with the alias previous; got none; "
                "name a version: promote_best.py --promote VERSION"
            )
        champion, previous = _swap(client, model, champion, previous, by)
    return {
        "model_name": model,
        "model_version": previous,
        "champion_before": champion,
        "promoted": False,
        "reason": f"rolled back by {by}: version {previous} is champion again, in place of {champion or 'none'}",
        "by": by,
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
    with registry.alone(model):
        found = _version(client, model, version)
        chosen, result = str(found.version), registry.recorded(found)
        if result is None:
            raise UserError(f"a version must be evaluated before it is promoted; got {chosen} of {model}, which is not")
        stale = registry.is_stale(client, result)
        if result.awaits_approval and not stale:
            raise UserError(f"version {chosen} of {model} awaits approval; run --approve {chosen} or --reject {chosen}")
        if result.awaits_approval:
            result = result.answered(True, by)
            registry.record(client, result, registry.file_of(found))
        if stale and not registry.is_settled(found, result):  # or a later job would carry out this outdated decision
            registry.write(client, result, description(registry.whole(found, result)))
            client.set_model_version_tag(model, chosen, registry.SETTLED, str(result.decision))
        champion = _at(client, model, "champion")
        if _at(client, model, "challenger") == chosen:
            client.delete_registered_model_alias(model, "challenger")
        if champion != chosen:
            client.set_registered_model_alias(model, "previous", chosen)
            if _begun(client, model) is not None:  # of other versions
                client.delete_registered_model_tag(model, _ROLLBACK)
            _swap(client, model, champion, chosen, by)
        elif (begun := _begun(client, model)) is not None and begun["back"] == chosen:
            champion, _ = _swap(client, model, chosen, _at(client, model, "previous") or chosen, by)
    reason = f"made champion by {by}, in place of {champion or 'none'}" if champion != chosen else "is champion already"
    return {
        "model_name": model,
        "model_version": chosen,
        "champion_before": champion,
        "promoted": True,
        "reason": reason,
        "by": by,
        "links": version_link(model, chosen),
    }


def _swap(client: MlflowClient, model: str, champion: str | None, previous: str, by: str) -> tuple[str | None, str]:
    """Make `previous` champion and `champion` previous, or complete such a swap that was interrupted.

    Args:
        by: whose name the version gets, unless the swap was interrupted: then it gets the name of who began it.

    Returns:
        The champion before, None without one, and the champion now.
    """
    begun = _begun(client, model)
    if begun is not None and begun["back"] == champion and previous in (champion, begun["from"]):
        champion, previous = begun["from"], champion
        by = begun.get("by", by)  # swaps that an earlier Windrow began have no name here
    client.set_registered_model_tag(model, _ROLLBACK, json.dumps({"from": champion, "back": previous, "by": by}))
    client.set_registered_model_alias(model, "champion", previous)
    _sign(client, model, previous, by, champion)
    if champion is None:
        client.delete_registered_model_alias(model, "previous")
    else:
        client.set_registered_model_alias(model, "previous", champion)
    client.delete_registered_model_tag(model, _ROLLBACK)
    return champion, previous


def _sign(client: MlflowClient, model: str, version: str, by: str, champion: str | None) -> None:
    """Write to a version's tags and description who has made it champion, in place of another version or none."""
    client.set_model_version_tag(model, version, registry.CHOSEN_BY, by)
    text = client.get_model_version(model, version).description or ""
    client.update_model_version(model, version, description=signed(text, by, champion))


def _begun(client: MlflowClient, model: str) -> Any:
    """Return {"from": version, "back": version, "by": name} of a swap that was interrupted; None if none was."""
    return json.loads(client.get_registered_model(model).tags.get(_ROLLBACK, "null"))


def _version(client: MlflowClient, model: str, version: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version(model, version)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise UserError(f"{model} must have the version {version!r} in the registry; it does not") from error
        raise


def _at(client: MlflowClient, model: str, alias: str) -> str | None:
    """Return the number of the version that an alias names; None without one."""
    version = registry.aliased(client, model, alias)
    return str(version.version) if version is not None else None
