"""Share code between the DAG files: pages, DAG settings, trigger form, assets, schedules, and folders of runs.

    for page in windrow_dags.find_pages(FOLDER).sound:
        with DAG(**windrow_dags.settings(page, "train", __doc__)): ...

Airflow parses DAG files every few seconds, so this module imports nothing larger than Airflow, pydantic and YAML.
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
    from windrow.dag_ids import Kind, dag_id
    from windrow.errors import PageError, Problem
except ModuleNotFoundError as missing:
    if missing.name != "windrow":
        raise
    raise ImportError(
        "Airflow must find the package windrow; got a PYTHONPATH without it; "
        f"start every Airflow component with PYTHONPATH={Path(__file__).resolve().parents[1] / 'jobs'}"
    ) from None

import windrow_alerts  # below the check, because it imports windrow too

OVERRIDES = "set"
"""The form's field for all keys without a field of their own."""

LATEST = timedelta(minutes=5)
"""So long after its hour a DAG that has never run may still start: the scheduler needs some of it on a busy machine."""

FAILED_RUNS = 5
"""After this many failed runs in a row Airflow pauses a DAG: another run won't help, and a person must look."""

_CHAMPION_URI = re.compile(r"^models:/(?P<model>[^/@]+)@champion$")


@dataclass(frozen=True)
class Page:
    """An experiment page without mistakes, and its file."""

    path: Path
    experiment: experiment.Experiment

    @property
    def name(self) -> str:
        """Return the experiment's name."""
        return self.experiment.name


@dataclass(frozen=True)
class Pages:
    """The experiment pages of a folder: the sound pages, which become DAGs, and the mistakes of the broken pages."""

    sound: tuple[Page, ...]
    broken: tuple[PageError, ...]


def find_pages(folder: Path) -> Pages:
    """Return the pages of a folder, read in the order of their file names.

    A page with mistakes, or with the name of an earlier page, is broken and does not affect the other pages.
    """
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
        first = sound.setdefault(page.name, page)
        if first is not page:
            message = f"must be unique; got {page.name!r}, as in {first.path.name}; rename one"
            broken.append(PageError(str(path), [Problem("name", message)]))
    return Pages(tuple(sound.values()), tuple(broken))


def settings(page: Page, kind: Kind, manual: str | None, minutes: int | None = None) -> dict[str, Any]:
    """Return the arguments, including the id, that all of Windrow's DAGs are made with.

    Args:
        page: an experiment page. Its section `airflow` names the pool for jobs, and who gets alerts.
        kind: train, score or maintain.
        manual: the DAG file's docstring, which Airflow shows with the DAG, above the page's description.
        minutes: a run that has not ended this long after it was queued is reported as late; None: no run is.
    """
    section = page.experiment.airflow
    common = common_settings(
        dag_id(kind, page.name),
        ["windrow", page.name, kind],
        f"{manual}\n### {page.path.name}\n{page.experiment.description}",
    )
    own = {"on_failure_callback": windrow_alerts.failure(section), "spark_pool": section.pool}
    return common | {
        "description": page.experiment.description.partition("\n")[0] or None,
        "user_defined_macros": {"run_folder": run_folder},
        "deadline": windrow_alerts.late(section, minutes),
        "default_args": common["default_args"] | own,
    }


def common_settings(name: str, tags: list[str], manual: str | None) -> dict[str, Any]:
    """Return the arguments that all of Windrow's DAGs are made with, whether they belong to a page or not.

    Args:
        name: the DAG's id.
        tags: what the list of DAGs can be filtered by.
        manual: Markdown that Airflow shows with the DAG.
    """
    return {
        "dag_id": name,
        "doc_md": manual,
        "tags": tags,
        "catchup": False,  # also no start date: with one, unpausing a DAG would run its last date at once
        "max_active_runs": 1,
        "max_consecutive_failed_dag_runs": FAILED_RUNS,
        "default_args": {"owner": "windrow", "retries": 2, "retry_delay": timedelta(minutes=1)},
    }


def run_folder(dag_id: str, run_id: str) -> str:
    """Return the folder for a DAG run's files, which all tasks and retries of the run share, but no other run.

    Run ids contain ':' and '+', which Hadoop paths and globs misread, so '-' replaces these characters. A digest keeps
    the folders of ids that differ only in such characters apart.
    """
    safe = re.sub(r"[^A-Za-z0-9_.-]", "-", run_id).lstrip(".")
    if safe != run_id:
        safe = f"{safe[:150]}-{sha256(run_id.encode()).hexdigest()[:8]}"
    return str(paths.home() / "runs" / dag_id / safe)


def cron(expression: str | None) -> CronTriggerTimetable | None:
    """Return the timetable of a cron expression in UTC; None without an expression.

    A DAG that has never run waits for its next hour, and does not make up for a past one. Airflow's own limit of what
    is past is a tenth of the interval, more than two hours for a nightly DAG.
    """
    return CronTriggerTimetable(expression, timezone="UTC", run_immediately=LATEST) if expression else None


def champion(model: str) -> Asset:
    """Return the asset for new champions of a registered model. Pages with the same model have the same asset."""
    safe = quote(model, safe="")
    return Asset(name=f"{safe}_champion", uri=f"x-mlflow://models/{safe}")


def dataset(page: Page) -> Asset:
    """Return the asset for a page's prepared data set. The asset's events have the digest and the sizes."""
    return Asset(name=f"{page.name}_dataset", uri=f"x-windrow://datasets/{page.name}")


def predictions(page: Page) -> Asset:
    """Return the asset for a page's predictions table. The asset's events have the figures of the scoring run."""
    return Asset(name=f"{page.name}_predictions", uri=f"x-windrow://predictions/{page.name}")


def drift(page: Page) -> Asset:
    """Return the asset for a page's drift: an event says that labels or scores have moved beyond sweep.after_drift."""
    return Asset(name=f"{page.name}_drift", uri=f"x-windrow://drift/{page.name}")


def training_schedule(page: Page) -> AssetOrTimeSchedule | CronTriggerTimetable | list[Asset] | None:
    """Return the train DAG's schedule: the page's cron expression, its drift asset's events, both or neither."""
    sweep = page.experiment.sweep
    timetable = cron(sweep.schedule)
    if sweep.after_drift is None:
        return timetable
    return AssetOrTimeSchedule(timetable=timetable, assets=[drift(page)]) if timetable else [drift(page)]


def scoring_schedule(page: Page) -> AssetOrTimeSchedule | CronTriggerTimetable | list[Asset] | None:
    """Return the score DAG's schedule: the page's cron expression, each new champion, both or neither.

    A page that scores with a pinned version, another alias or its own network doesn't wait for a champion.
    """
    scoring = page.experiment.scoring
    nightly = cron(scoring.schedule if scoring else None)
    model = _followed(page)
    if model is None:
        return nightly
    asset = champion(model)
    return AssetOrTimeSchedule(timetable=nightly, assets=[asset]) if nightly else [asset]


def labels_with_own_champion(page: Page) -> bool:
    """Return whether the page's score DAG follows the champion that the page's train DAG makes."""
    return page.experiment.scoring is not None and _followed(page) == page.experiment.model_name


def _followed(page: Page) -> str | None:
    """Return the model whose champion the page scores with; None if it scores with another network."""
    scoring, found = page.experiment.scoring, _CHAMPION_URI.match(page.experiment.champion_uri)
    return None if found is None or (scoring and scoring.network) else found["model"]


def form(page: Page, sections: Mapping[str, tuple[str, ...]]) -> dict[str, Param]:
    """Build the trigger form: a field for each key in `sections`, and one field for all other keys of the page.

    Args:
        page: the page with each field's default, help, range and choices.
        sections: heading → keys, e.g. {"Sweep": ("sweep.trials",)}.

    Returns:
        Key → Param. The keys are those of the page, so that the form, `--conf` and `--set` use the same names.
    """
    fields = {key: _field(page, key, heading) for heading, keys in sections.items() for key in keys}
    fields[OVERRIDES] = Param(
        [],
        type="array",
        items={"type": "string", "pattern": r"^[^=\s]+=[\s\S]*$"},
        title="More overrides",
        section="Anything else",
        description_md="other values of the page, one KEY=VALUE per line, e.g. sweep.slots=2; see docs/pages.md",
    )
    return fields


def space_field(page: Page, heading: str) -> dict[str, Param]:
    """Return the form's field for the search space, as JSON. Before Spark starts, the value is checked like a page."""
    written = {name: part.model_dump(mode="json", exclude_unset=True) for name, part in page.experiment.space.items()}
    schema = {
        "title": "Space",
        "section": heading,
        "description_md": "the hyper-parameters to search, as JSON; docs/pages.md explains the keys (space)",
    }
    return {"space": Param(written, type="object", minProperties=1, **schema)}


def _field(page: Page, key: str, heading: str) -> Param:
    section_name, name = key.split(".")
    section = getattr(page.experiment, section_name)
    known = type(section).model_json_schema()
    schema = {**known["properties"][name]}
    for option in schema.pop("anyOf", []):  # how pydantic writes `int | None`
        kind = known["$defs"][option["$ref"].rpartition("/")[2]] if "$ref" in option else option
        schema = {**kind, **schema, "type": [*schema.get("type", []), kind["type"]]}
    description = schema.pop("description")
    if "properties" in schema:  # a section inside the section; the form shows an absent one as {}
        schema["minProperties"] = 1
        description += f"; JSON with any of {', '.join(schema['properties'])}"
    schema["title"] = name.replace("_", " ").capitalize()
    schema["section"] = heading
    # Without backticks: where the text wraps, the box around code covers the line above.
    schema["description_md"] = f"{description} ({key})"
    schema["default"] = section.model_dump(mode="json")[name]
    return Param(**schema)
