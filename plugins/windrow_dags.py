"""What the two DAG files share: the pages, the trigger form, the champion asset, and where a run's files lie.

    for page in windrow_dags.find_pages(FOLDER).sound:
        with DAG(f"train_{page.name}", **windrow_dags.settings(page, "train")): ...

A DAG file is parsed every few seconds: this module imports pydantic and YAML beyond Airflow, nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from airflow.sdk import Asset, AssetOrTimeSchedule, CronTriggerTimetable, Param

try:
    from windrow import experiment, paths
    from windrow.errors import PageError, Problem
except ModuleNotFoundError as missing:
    if missing.name != "windrow":
        raise
    raise ImportError(
        "Airflow must find the package windrow; got a PYTHONPATH without it; "
        f"start every Airflow component with PYTHONPATH={Path(__file__).resolve().parents[1] / 'jobs'}"
    ) from None

import windrow_alerts  # after that sentence, for it needs the package as well

OVERRIDES = "set"
"""The form's field for every key that has no field of its own."""

FAILED_NIGHTS = 5
"""Runs that fail in a row until a DAG is paused: what fails so often needs a person, not another night."""

_CHAMPION_URI = re.compile(r"^models:/(?P<model>[^/@]+)@champion$")


@dataclass(frozen=True)
class Page:
    """A page without mistakes, and where it lies."""

    path: Path
    experiment: experiment.Experiment

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self.experiment.name


@dataclass(frozen=True)
class Pages:
    """The pages of a folder: those that became DAGs, and what is wrong with the others."""

    sound: tuple[Page, ...]
    broken: tuple[PageError, ...]


def find_pages(folder: Path) -> Pages:
    """Read every page of a folder, in the order of their file names. A page with mistakes hides no other page."""
    sound: dict[str, Page] = {}
    broken: list[PageError] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.suffix not in {".yaml", ".yml"}:
            continue
        try:
            page = Page(path, experiment.load(path))
        except PageError as error:
            broken.append(error)
            continue
        twin = sound.setdefault(page.name, page)
        if twin is not page:
            message = f"must be unique; got {page.name!r}, as in {twin.path.name}; rename one"
            broken.append(PageError(str(path), [Problem("name", message)]))
    return Pages(tuple(sound.values()), tuple(broken))


def settings(page: Page, kind: str, manual: str | None, minutes: int | None = None) -> dict[str, Any]:
    """The arguments that every DAG of ours has.

    Args:
        page: whom to tell of failures, and where jobs wait for a slot, is its section airflow.
        kind: train, score or maintain.
        manual: the DAG file's docstring; Airflow shows it with the DAG.
        minutes: after which a run that has not ended is late, if ever.
    """
    section = page.experiment.airflow
    return {
        "description": page.experiment.description.partition("\n")[0] or None,
        "doc_md": f"{manual}\n### {page.path.name}\n{page.experiment.description}",
        "tags": ["windrow", page.name, kind],
        "catchup": False,  # and no start date: with one, Airflow runs what was due last as soon as a DAG is switched on
        "max_active_runs": 1,
        "max_consecutive_failed_dag_runs": FAILED_NIGHTS,
        "user_defined_macros": {"run_folder": run_folder},
        "deadline": windrow_alerts.late(section, minutes),
        "default_args": {
            "owner": "windrow",
            "retries": 2,
            "retry_delay": timedelta(minutes=1),
            "on_failure_callback": windrow_alerts.failure(section),
            "spark_pool": section.pool,
        },
    }


def run_folder(dag_id: str, run_id: str) -> str:
    """Where a DAG run keeps its files: the same for every try of every task, different for every other run.

    A run id has ':' and '+', which Hadoop paths and globs misread. The digest keeps ids apart that differ there only.
    """
    safe = re.sub(r"[^A-Za-z0-9_.-]", "-", run_id).lstrip(".")
    if safe != run_id:
        safe = f"{safe[:150]}-{sha256(run_id.encode()).hexdigest()[:8]}"
    return str(paths.home() / "runs" / dag_id / safe)


def cron(expression: str | None) -> CronTriggerTimetable | None:
    """A time table in UTC. Switching a DAG on runs it only where its hour was a tenth of the interval ago, or less."""
    return CronTriggerTimetable(expression, timezone="UTC", run_immediately=False) if expression else None


def champion(model: str) -> Asset:
    """The asset that says that a registered model has a new champion; pages that share a model share it."""
    safe = quote(model, safe="")
    return Asset(name=f"{safe}_champion", uri=f"x-mlflow://models/{safe}")


def dataset(page: Page) -> Asset:
    """The asset that says that a page's data set was prepared; its event has digest and sizes."""
    return Asset(name=f"{page.name}_dataset", uri=f"x-windrow://datasets/{page.name}")


def predictions(page: Page) -> Asset:
    """The asset that says that a page's predictions table was brought up to date; its event has the figures."""
    return Asset(name=f"{page.name}_predictions", uri=f"x-windrow://predictions/{page.name}")


def drift(page: Page) -> Asset:
    """The asset that says that labels or scores of a night have moved beyond the page's threshold."""
    return Asset(name=f"{page.name}_drift", uri=f"x-windrow://drift/{page.name}")


def training_schedule(page: Page) -> AssetOrTimeSchedule | CronTriggerTimetable | list[Asset] | None:
    """At the page's hour and after drift, as far as the page asks for either."""
    sweep = page.experiment.sweep
    timetable = cron(sweep.schedule)
    if sweep.after_drift is None:
        return timetable
    return AssetOrTimeSchedule(timetable=timetable, assets=[drift(page)]) if timetable else [drift(page)]


def scoring_schedule(page: Page) -> AssetOrTimeSchedule | CronTriggerTimetable | list[Asset] | None:
    """Nightly and after each new champion, as far as the page asks for either.

    A page that scores with a pinned version, another alias or a network of its own has no champion to wait for.
    """
    scoring = page.experiment.scoring
    nightly = cron(scoring.schedule if scoring else None)
    followed = _CHAMPION_URI.match(page.experiment.champion_uri)
    if followed is None or (scoring and scoring.network):
        return nightly
    asset = champion(followed["model"])
    return AssetOrTimeSchedule(timetable=nightly, assets=[asset]) if nightly else [asset]


def form(page: Page, sections: Mapping[str, tuple[str, ...]]) -> dict[str, Param]:
    """The trigger form: one field a key of the page, and one for all other keys.

    Args:
        page: gives each field's default, help, range and choices.
        sections: heading → keys, e.g. {"Sweep": ("sweep.trials",)}.

    Returns:
        Key → Param. The key is the page's own, so the form, `--conf` and `--set` say the same words.
    """
    fields = {key: _field(page, key, heading) for heading, keys in sections.items() for key in keys}
    fields[OVERRIDES] = Param(
        [],
        type="array",
        items={"type": "string", "pattern": r"^[^=\s]+=[\s\S]*$"},
        title="More overrides",
        section="Anything else",
        description_md="any other value of the page, one KEY=VALUE a line, e.g. `network.builder=cnn`",
    )
    return fields


def space_field(page: Page, heading: str) -> dict[str, Param]:
    """The space as JSON that can be edited for one run; it is checked as the page is, before Spark starts."""
    written = {name: part.model_dump(mode="json", exclude_unset=True) for name, part in page.experiment.space.items()}
    schema = {
        "title": "Space",
        "section": heading,
        "description_md": "hyper-parameters that are searched, as JSON; docs/pages.md explains their keys (`space`)",
    }
    return {"space": Param(written, type="object", minProperties=1, **schema)}


def _field(page: Page, key: str, heading: str) -> Param:
    section_name, name = key.split(".")
    section = getattr(page.experiment, section_name)
    schema = {**type(section).model_json_schema()["properties"][name]}
    for option in schema.pop("anyOf", []):  # how pydantic writes `int | None`
        schema.update({**option, "type": [*schema.get("type", []), option["type"]]})
    schema["title"] = name.replace("_", " ").capitalize()
    schema["section"] = heading
    schema["description_md"] = f"{schema.pop('description')} (`{key}`)"
    schema["default"] = section.model_dump(mode="json")[name]
    return Param(**schema)
