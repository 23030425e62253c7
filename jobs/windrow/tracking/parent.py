"""Begin a sweep's parent run in MLflow, and describe the sweep in Markdown."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windrow.experiment.wording import point_text
from windrow.markdown import escaped
from windrow.plural import counted
from windrow.tracking.record import PAGE_FILE
from windrow.tracking.server import versions

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from windrow.data.manifest import Manifest
    from windrow.experiment import Dimension, Experiment, SweepSection
    from windrow.sweep.goals.front import FrontTrial
    from windrow.sweep.study import Study


def begin(
    client: MlflowClient,
    experiment: str,
    page: Experiment,
    path: Path,
    dataset: Manifest,
    study: Study,
    network_source: str | None,
) -> str:
    """Create the parent run and return its id.

    A run that a killed driver has created but not recorded in the study is deleted first.
    """
    if (opening := study.identity.get("opening")) is None:
        opening = secrets.token_hex(8)
        study.remember(opening=opening)  # before the run exists, so that a later driver can find the run by it
    for run in client.search_runs([experiment], f"tags.windrow.opening = '{opening}'"):
        client.delete_run(run.info.run_id)
    tags = {
        "mlflow.runName": f"sweep {page.name} {study.id[:6]}",
        "mlflow.note.content": searched(study, dataset),
        "windrow.kind": "sweep",
        "windrow.study": study.id,
        "windrow.opening": opening,
        "windrow.seed": str(page.sweep.seed),
        "windrow.dataset.digest": dataset.digest,
        **versions(),
    }
    if study.champion is not None and study.champion.point is not None:
        tags["windrow.tried_champion"] = study.champion.version
    run_id = str(client.create_run(experiment, tags=tags).info.run_id)
    log_page(client, run_id, page, path, network_source)
    log_dataset(client, run_id, dataset)
    study.remember(run_id=run_id, experiment_id=experiment)
    return run_id


def log_page(client: MlflowClient, run_id: str, page: Experiment, path: Path, network_source: str | None) -> None:
    """Log the search as parameters, and the page, the page after overrides and a user's network file as artifacts.

    A version can be retrained from the last two: the page after overrides is a valid page, and the network file is the
    text that was used, even if the user's file changes later.
    """
    from mlflow.entities import Param

    values = {f"sweep.{key}": value for key, value in page.sweep.model_dump(exclude_none=True).items()}
    values |= {"network.builder": page.network.builder, "dataset.source": page.dataset.source}
    client.log_batch(run_id, params=[Param(key, str(value)[:6000]) for key, value in values.items()])
    client.log_artifact(run_id, str(path))
    # An empty section gets its defaults when the page is read; scoring has no defaults, so it is left out if absent.
    absent = {"scoring"} if page.scoring is None else set()
    client.log_dict(run_id, page.model_dump(mode="json", exclude=absent), PAGE_FILE)
    if network_source is not None and page.network.function is not None:
        client.log_text(run_id, network_source, Path(page.network.function[0]).name)


def log_dataset(client: MlflowClient, run_id: str, dataset: Manifest) -> None:
    """Log the prepared data set to a run as its input."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    # MLflow's column for a digest holds at most 36 characters; the run has the complete digest as a tag.
    entity = Dataset(
        name=dataset.name,
        digest=dataset.digest[:32],
        source_type="local",
        source=json.dumps({"source": dataset.source}),
        schema=json.dumps({"shape": list(dataset.shape), "labels": len(dataset.labels)}),
        profile=json.dumps(dataset.splits),
    )
    client.log_inputs(run_id, [DatasetInput(entity, [InputTag("mlflow.data.context", "training")])])


def searched(study: Study, dataset: Manifest) -> str:
    """Describe the search in Markdown: a paragraph, the data set's warnings, and a table of the space."""
    page, sweep, champion = study.page, study.page.sweep, study.champion
    images = ", ".join(f"{count:,} {split}" for split, count in dataset.splits.items())
    rows = [f"| {escaped(name)} | {escaped(_range(dimension))} |" for name, dimension in page.space.items()]
    return "\n".join(
        [
            f"{page.description}\n" if page.description else "",
            f"Searched for {_goals(sweep)} with {sweep.sampler}, pruner {sweep.pruner}: "
            f"up to {counted(sweep.trials, 'trial')} of {counted(sweep.epochs, 'epoch')}, seed {sweep.seed}; "
            f"network {escaped(page.network.builder)}; data set {escaped(dataset.name)} ({images} images).\n",
            *([f"{escaped(champion.text[0].upper() + champion.text[1:])}.\n"] if champion is not None else []),
            *([f"{warnings}\n"] if (warnings := dataset.warnings_text()) else []),
            *("| hyper-parameter | searched |", "|---|---|", *rows),
        ]
    ).strip()


def summary(
    study: Study, dataset: Manifest, result: Mapping[str, Any], experiment: str, run_id: str, best_run: str
) -> str:
    """Describe a sweep's result in Markdown, with links that work at any address of MLflow's pages.

    Args:
        result: the result of jobs/sweep.py.
        experiment: id of the MLflow experiment.
        run_id: id of the parent run.
        best_run: id of the best trial's run.
    """
    run = f"#/experiments/{experiment}/runs"
    endings = ", ".join(f"{count:,} {ending}" for ending, count in result["outcomes"].items())
    artifacts = f"{run}/{run_id}/artifacts"
    baseline = None if result["objective"] == "val_loss" else result.get("baseline")
    guessing = "" if baseline is None else f" (guessing: {baseline:.4f})"
    return "\n\n".join(
        [
            f"**Best: [trial {result['best_trial']}]({run}/{best_run}), {result['objective']} "
            f"{result['best_value']:.4f}**{guessing} at {escaped(point_text(result['best_point']))}.",
            *([_front(study, front)] if (front := result.get("front")) else []),
            *([f"What may help: {escaped('; '.join(hints))}."] if (hints := result.get("hints")) else []),
            *([f"{escaped(stopped[0].upper() + stopped[1:])}."] if (stopped := result.get("stopped")) else []),
            f"{counted(result['trials'], 'trial')} ({endings}) in {result['seconds']:,.0f} s on "
            f"{counted(result['slots'], 'slot')}.",
            searched(study, dataset),
            f"[The atlas, once drawn]({artifacts}/atlas/atlas.html) · [the page]({artifacts}/{PAGE_FILE})",
            ", ".join(f"{name} {version}" for name, version in _packages()),
        ]
    )


def _front(study: Study, front: Sequence[FrontTrial]) -> str:
    """Return a table of the trials that no other dominates, the best value first."""
    sweep = study.page.sweep
    form = ",.0f" if sweep.cost == "weights" else ".4g"
    rows = [f"| {one['trial']} | {one['value']:.4f} | {one['cost']:{form}} |" for one in front]
    title = f"No other trial is as good as these, and better in {sweep.objective} or {sweep.cost}:"
    return "\n".join([title, "", f"| trial | {sweep.objective} | {sweep.cost} |", "|---|---|---|", *rows])


def _goals(sweep: SweepSection) -> str:
    best = f"the {'highest' if sweep.direction == 'maximize' else 'lowest'} {sweep.objective}"
    return best if sweep.cost is None else f"{best} and the fewest {sweep.cost}"


def _range(dimension: Dimension) -> str:
    scale = " (log)" if getattr(dimension, "log", False) else ""
    when = " and ".join(f"{name} is {' or '.join(map(str, values))}" for name, values in dimension.when.items())
    return f"{dimension}{scale}{f', where {when}' if when else ''}"


def _packages() -> Iterator[tuple[str, str]]:
    for key, version in versions().items():
        if key.startswith("windrow.version."):
            yield key.removeprefix("windrow.version."), version
