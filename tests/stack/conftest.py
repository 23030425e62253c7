"""The one real stack of the suite, with experiments of its own, and Chromium to look at it where there is one."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from harness import budget
from harness.mail import PostOffice
from harness.predictions import PATIENCE, labelled_row
from harness.web import WebHook
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from windrow import experiment
from windrow.data import manifest as manifests
from windrow.data import shards, sources
from windrow.data.manifest import Manifest
from windrow.laptop import demo_feed, stack
from windrow.laptop.airflow_api import Airflow
from windrow.laptop.image_server import image_path
from windrow.laptop.stack import Stack
from windrow.paths import home
from windrow.scoring.fetch.urls import understand
from windrow.scoring.report import gallery
from windrow.scoring.table import prediction
from windrow.scoring.table.prediction import Stamp
from windrow.scoring.table.predictions_table import PredictionTable
from windrow.sweep.ledger import Ledger
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.study import open_study
from windrow.training.loop import Epoch

REPOSITORY = Path(__file__).resolve().parents[2]
EXPERIMENTS = Path(__file__).parent / "experiments"
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
USERS = "admin:admin,viewer:viewer,stranger:viewer"
PASSWORDS = {name.partition(":")[0]: f"word-of-{name.partition(':')[0]}" for name in USERS.split(",")}
LABELLED = 120
EARLIER = "2026-11-05"
"""The day under which the feed has them."""
HOSTILE = "\"><script>alert('x')</script>"
LARGE = 2000
"""Trials of the sweep `large`."""
SECONDS = 60
"""How long the browser waits for what is there already, on cores that others use as well."""
MOST_BYTES = 300_000
"""Of a picture that the README shows."""

expect.set_options(timeout=1000 * SECONDS)


@dataclass
class Place:
    """A stack that is up, with its folder, and what there is to ask it and those whom it tells.

    Attributes:
        runs: ids of the runs that the story has begun there, by what they are for.
        last_night: the day of the hour of the score DAG that was due last.
    """

    stack: Stack
    airflow: Airflow
    home: Path
    hook: WebHook
    office: PostOffice
    last_night: str
    runs: dict[str, str] = field(default_factory=dict)
    _tokens: dict[str, str] = field(default_factory=dict)

    @property
    def passwords(self) -> dict[str, str]:
        return PASSWORDS

    @property
    def mails(self) -> list[tuple[list[str], EmailMessage]]:
        return self.office.mails

    def told(self) -> list[str]:
        """What the web hook was told."""
        return [post["text"] for post in self.hook.posts]

    def run_page(self, dag: str, run: str, more: str = "") -> str:
        """Where Airflow shows a run."""
        return f"{self.stack.airflow}/dags/{dag}/runs/{quote(run, safe='')}{more}"

    def states(self, dag: str, run: str) -> dict[str, str | None]:
        """How far each task is."""
        return {task.name: task.state for task in self.airflow.tasks(dag, run)}

    def tries(self, dag: str, run: str) -> dict[str, int]:
        """How often each task was tried."""
        return {task.name: task.attempt for task in self.airflow.tasks(dag, run)}

    def log(self, dag: str, run: str, name: str) -> str:
        """A task's log, as Airflow shows it."""
        (task,) = [task for task in self.airflow.tasks(dag, run) if task.name == name]
        return "\n".join(self.airflow.log(dag, run, task))

    def link(self, dag: str, run: str, task: str, key: str) -> str:
        """Where a button of a task leads."""
        path = f"/dags/{dag}/dagRuns/{quote(run, safe='')}/taskInstances/{task}/xcomEntries/_link_{key}"
        return str(self.airflow.get(path)["value"])

    def runs_of_assets(self, dag: str) -> list[str]:
        """The runs that an asset's event has started."""
        return self.airflow.runs_since(dag, "2026-01-01T00:00:00Z", "asset_triggered")

    def events(self, run: str) -> dict[str, list[dict[str, Any]]]:
        """The figures of a run's events, by the asset's address."""
        found: dict[str, list[dict[str, Any]]] = {}
        for event in self.airflow.get("/assets/events", source_run_id=run)["asset_events"]:
            found.setdefault(event["uri"], []).append(event["extra"])
        return found

    def has_parked(self, run: str, task: str) -> bool:
        """Whether the scheduler has heard that a task waits for a person. Airflow loses an answer that comes before."""
        log = (self.home / "log" / "airflow-scheduler.log").read_text()
        heard = [line for line in log.splitlines() if "TaskInstance Finished" in line and run in line]
        return any(f"task_id={task}" in line and "state=awaiting_input" in line for line in heard)

    def question(self, dag: str, run: str) -> str:
        """The path of what the task approve_champion asks a person."""
        return f"/dags/{dag}/dagRuns/{quote(run, safe='')}/taskInstances/approve_champion/-1/hitlDetails"

    def login(self, user: str) -> dict[str, str]:
        """The header of somebody who has logged in."""
        if user not in self._tokens:
            login = {"username": user, "password": PASSWORDS[user]}
            answer = requests.post(f"{self.stack.airflow}/auth/token", json=login, timeout=SECONDS)
            self._tokens[user] = answer.json()["access_token"]
        return {"Authorization": f"Bearer {self._tokens[user]}"}

    def ask_as(self, user: str, method: str, path: str, body: Any = None) -> requests.Response:
        """What Airflow's API answers a user."""
        address = f"{self.stack.airflow}/api/v2{path}"
        return requests.request(method, address, json=body, headers=self.login(user), timeout=SECONDS)

    def windrow(self, path: str, user: str | None = "viewer", **headers: str) -> requests.Response:
        """What a route of the Windrow page answers a user, or nobody."""
        login = self.login(user) if user else {}
        return requests.get(f"{self.stack.airflow}/windrow{path}", headers=login | headers, timeout=SECONDS)

    def values(self, path: str, user: str = "viewer") -> Any:
        """The same, read."""
        answer = self.windrow(path, user)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def aliases(self) -> dict[str, str]:
        """Alias → version, as MLflow's registry has them."""
        model = self._mlflow("registered-models/get", name="digits")["registered_model"]
        return {one["alias"]: one["version"] for one in model.get("aliases", [])}

    def tags(self, version: str) -> dict[str, str]:
        """The tags of a registered version."""
        found = self._mlflow("model-versions/get", name="digits", version=version)["model_version"]["tags"]
        return {tag["key"]: tag["value"] for tag in found}

    def mlflow_states(self, kind: str) -> set[str]:
        """The states of MLflow's runs of a kind, of all experiments."""
        address = f"{self.stack.mlflow}/api/2.0/mlflow"
        found = requests.get(f"{address}/experiments/search", params={"max_results": "100"}, timeout=SECONDS).json()
        wanted = {"experiment_ids": [one["experiment_id"] for one in found["experiments"]], "max_results": 1000}
        wanted["filter"] = f"tags.windrow.kind = '{kind}'"
        answer = requests.post(f"{address}/runs/search", json=wanted, timeout=SECONDS)
        return {run["info"]["status"] for run in answer.json().get("runs", [])}

    def _mlflow(self, path: str, **params: str) -> Any:
        return requests.get(f"{self.stack.mlflow}/api/2.0/mlflow/{path}", params=params, timeout=SECONDS).json()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """MLflow, Airflow and the image server of `make demo`, with this folder's experiments and two users more."""
    now = datetime.now(UTC)
    with pytest.MonkeyPatch.context() as patch, WebHook() as hook, PostOffice() as office:
        patch.setenv("WINDROW_HOME", str(tmp_path_factory.mktemp("home")))
        connect(patch, "spark_default", conn_type="spark", host="local[2]")
        connect(patch, "night_hook", conn_type="http", host=hook.url)
        extra = {"from_email": "windrow@example.org", "disable_ssl": True, "disable_tls": True}
        connect(patch, "smtp_default", conn_type="smtp", host="127.0.0.1", port=office.port, extra=extra)
        patch.setenv("AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL", "120")  # seconds; no DAG file changes here
        configure(home() / "airflow")
        write_hostile_sweep(home() / "runs" / "train_hostile" / "first" / "study")
        write_hostile_labels(home() / "tables" / "hostile")
        try:
            budget.note_stack("story")
            folder = copy_dags(tmp_path_factory.mktemp("dags"), (now + timedelta(hours=12)).hour)
            running = stack.up(dags=folder, users=USERS)
            write_feed(running)
            airflow = Airflow(running.airflow, "admin", PASSWORDS["admin"])
            airflow.log_in()
            yield Place(running, airflow, home(), hook, office, (now - timedelta(hours=12)).date().isoformat())
        finally:
            stack.stop()


def connect(patch: pytest.MonkeyPatch, name: str, **values: Any) -> None:
    patch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(values))


def configure(folder: Path) -> None:
    """Airflow's passwords, and an auth manager for which not all users are alike."""
    (folder / "config").mkdir(parents=True)  # which Airflow has on its path
    (folder / "passwords.json").write_text(json.dumps(PASSWORDS))
    shutil.copy(Path(__file__).with_name("reads_less.py"), folder / "config")
    (folder / "airflow.cfg").write_text(
        "[core]\nauth_manager = reads_less.ReadsLess\n"
        f"[api]\nsecret_key = {secrets.token_hex()}\n"
        f"[api_auth]\njwt_secret = {secrets.token_hex(64)}\n"
    )


def copy_dags(folder: Path, hour: int) -> Path:
    """The DAG files as they are, with the pages of these tests, whose nights are at an hour."""
    for path in (REPOSITORY / "dags").glob("*.py"):
        shutil.copy(path, folder)
    (folder / "experiments").mkdir()
    for path in EXPERIMENTS.glob("*.yaml"):
        (folder / "experiments" / path.name).write_text(path.read_text().replace("0 3 * * *", f"0 {hour} * * *"))
    return folder


def write_feed(running: Stack) -> None:
    """URLs of real digits on the stack's image server, and three that are no image."""
    page = experiment.load(EXPERIMENTS / "digits.yaml")
    folder = demo_feed.dataset_folder(home(), page.name)
    shards.write(folder, sources.load(page.dataset, folder / "downloads"), page.dataset)
    digest = json.loads((folder / "manifest.json").read_text())["digest"]
    paths = [image_path(page.name, digest, index) for index in range(LABELLED)]
    broken = [image_path(page.name, digest, 10**9 - 1), image_path(page.name, digest, 0, "cut"), "/digits/about.html"]
    urls = [running.images + path for path in [*paths, *broken]]
    demo_feed.write_lines(home() / "feeds" / page.name / EARLIER / "urls.txt", urls)


def write_hostile_sweep(folder: Path) -> None:
    """A sweep of which one trial has failed with a secret in its error, and an earlier one that is large."""
    write_large_sweep(folder.parents[1] / "large" / "study")
    page = experiment.load(EXPERIMENTS / "hostile.yaml")
    counts = {"validation": {HOSTILE: 3, "cat": 2}}
    manifests.write(
        folder.with_name("dataset"),
        Manifest("h", "h", "d", (8, 8, 1), tuple(counts["validation"]), {}, {}, {}, class_counts=counts,
                 warnings=(HOSTILE,)),
    )  # fmt: skip
    with open_study(folder, page, "d" * 64) as study:
        for ending, value in ((Ending.OK, 0.7), (Ending.OK, 0.9), (Ending.FAILED, None)):
            asked = study.ask()
            assert asked
            epochs = (Epoch(0.1, 0.9, 0.1, value or 0.1, 0.1),)
            error = "" if value else "Traceback of geheim"
            study.settle(
                Outcome(asked.number, asked.attempt, ending, value, epochs, 1.0, error=error, lease=asked.token)
            )
        study.ask()


def write_large_sweep(folder: Path) -> None:
    """Many trials in the ledger, without a sampler, which would take most of the time."""
    folder.mkdir(parents=True)
    ledger = Ledger(folder)
    epochs = tuple(Epoch(0.1, 0.9, 0.1, 0.9, 0.1) for _ in range(20))
    for number in range(LARGE):
        ledger.enter({"learning_rate": 0.001 * (number % 97 + 1), "units": number % 61 + 8}, number)
        lease = ledger.lease(number)
        value = 0.5 + (number % 499) / 1000
        ledger.settle(Outcome(number, 1, Ending.OK, value, epochs, 1.0, lease=lease.token))
    ledger.close()


def write_hostile_labels(folder: Path) -> None:
    """A night that has labelled a URL with a secret in it, with a label that is markup."""
    import pyarrow.parquet as pq

    target = understand(b"http://user.example/a.png?token=geheim")
    assert target
    row = labelled_row(target, [0], [0.75], (HOSTILE,), Stamp("r1", "hostile", "1", "digest"))
    predictions = PredictionTable(folder)
    with predictions.staged("r1") as staging:
        staging.mkdir()
        with pq.ParquetWriter(staging / "part-0.parquet", prediction.SCHEMA) as writer:
            writer.write_batch(prediction.record_batch([row], PATIENCE))
        said = {"rows": 1, "statuses": {"ok": 1}, "ok_share": 1.0, "model_version": "1", "images_per_second": 2.0}
        predictions.commit(staging, "r1", {"figures": said})
    thumbnail = "data:image/png;base64,AAAA"
    shown = {"url": "http://user.example/a.png?token=geheim", "url_key": "k", "label": HOSTILE, "score": 0.75}
    shown |= {"second": HOSTILE, "second_score": 0.1, "width": 8, "height": 8, "image": thumbnail}
    path = gallery.place(folder, "r1").with_name("pictures.json")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"unsure": [shown], "examples": [], "sample": []}))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, which can find no host but this machine. A chapter that asks for it is skipped where there is none."""
    program = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if program is None:
        pytest.skip(f"this chapter needs Chromium; got none of {', '.join(CHROMIUMS)}; apt install chromium")
    only_here = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", only_here])
        yield started
        started.close()


@pytest.fixture(scope="module")
def new_context(browser: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """Another person's browser: new_context(color_scheme="dark")."""
    made: list[BrowserContext] = []

    def make(**settings: Any) -> BrowserContext:
        settings = {"viewport": {"width": 1400, "height": 900}, "locale": "en-GB", "timezone_id": "UTC"} | settings
        made.append(browser.new_context(**settings))
        made[-1].set_default_timeout(1000 * SECONDS)
        return made[-1]

    yield make
    for context in made:
        context.close()


@pytest.fixture(scope="module")
def picture() -> Callable[[Page, str], None]:
    """picture(page, "tour-form") keeps what is seen, in the folder that WINDROW_PICTURES names: make screenshots."""
    folder = os.environ.get("WINDROW_PICTURES")

    def keep(page: Page, name: str) -> None:
        if folder is None:
            return
        path = Path(folder).resolve() / f"{name}.png"
        page.mouse.move(0, 0)  # off whatever a click has left it on, and its tooltip
        page.screenshot(path=path, animations="disabled")
        assert path.stat().st_size < MOST_BYTES, f"{path} has {path.stat().st_size} bytes"

    return keep


_broken_off: list[str] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Note the first chapter that failed."""
    report = yield
    if report.failed:
        _broken_off.append(item.name)
    return report


@pytest.fixture(autouse=True)
def _goes_on() -> None:
    """Each chapter needs those before it: after the first failure the others would only wait in vain."""
    if _broken_off:
        pytest.skip(f"the story broke off at {_broken_off[0]}")
