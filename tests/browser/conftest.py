"""One real stack for all browser tests, with an experiment of its own, and Debian's Chromium to look at it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from windrow import experiment
from windrow.data import shards, sources
from windrow.laptop import feed, stack
from windrow.laptop.airflow_api import Airflow
from windrow.laptop.images import image_path
from windrow.laptop.stack import Stack
from windrow.paths import home

REPOSITORY = Path(__file__).resolve().parents[2]
EXPERIMENTS = Path(__file__).parent / "experiments"
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
PASSWORDS = {"admin": "word-of-admin", "viewer": "word-of-viewer"}
LABELLED = 120
DAY = "2026-11-05"
"""Under which the feed has them."""
SECONDS = 60
"""How long the browser waits for what is there already, on cores that others use as well."""
MOST_BYTES = 300_000
"""Of a picture that the README shows."""

expect.set_options(timeout=1000 * SECONDS)


@dataclass(frozen=True)
class Place:
    """A stack that is up, with its folder, and Airflow's API to ask what the browser can't wait for."""

    stack: Stack
    airflow: Airflow
    home: Path
    passwords: Mapping[str, str]

    def run_page(self, dag: str, run: str, more: str = "") -> str:
        """Where Airflow shows a run."""
        return f"{self.stack.airflow}/dags/{dag}/runs/{quote(run, safe='')}{more}"

    def states(self, dag: str, run: str) -> dict[str, str | None]:
        """How far each task is."""
        return {task.name: task.state for task in self.airflow.tasks(dag, run)}

    def runs_of_assets(self, dag: str) -> list[str]:
        """The runs that an asset's event has started."""
        return self.airflow.runs_since(dag, "2026-01-01T00:00:00Z", "asset_triggered")

    def has_parked(self, run: str, task: str) -> bool:
        """Whether the scheduler has heard that a task waits for a person. Airflow loses an answer that comes before."""
        log = (self.home / "log" / "airflow-scheduler.log").read_text()
        heard = [line for line in log.splitlines() if "TaskInstance Finished" in line and run in line]
        return any(f"task_id={task}" in line and "state=awaiting_input" in line for line in heard)

    def ask_as(self, user: str, method: str, path: str, body: Any) -> requests.Response:
        """What Airflow's API answers a user."""
        login = {"username": user, "password": self.passwords[user]}
        token = requests.post(f"{self.stack.airflow}/auth/token", json=login, timeout=SECONDS).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        return requests.request(
            method, f"{self.stack.airflow}/api/v2{path}", json=body, headers=headers, timeout=SECONDS
        )


@pytest.fixture(scope="session")
def chromium() -> str:
    found = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if found is None:
        pytest.skip(f"the browser tests need Chromium; got none of {', '.join(CHROMIUMS)}; apt install chromium")
    return found


@pytest.fixture(scope="module")
def place(chromium: str, tmp_path_factory: pytest.TempPathFactory, web_hook: Any) -> Iterator[Place]:
    """MLflow, Airflow and the image server of `make demo`, with this folder's experiments and a second user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WINDROW_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", json.dumps({"conn_type": "spark", "host": "local[2]"}))
        patch.setenv("AIRFLOW_CONN_NIGHT_HOOK", json.dumps({"conn_type": "http", "host": web_hook.url}))
        passwords = home() / "airflow" / "passwords.json"
        passwords.parent.mkdir(parents=True)
        passwords.write_text(json.dumps(PASSWORDS))
        try:
            running = stack.up(dags=copy_dags(tmp_path_factory.mktemp("dags")), users="admin:admin,viewer:viewer")
            write_feed(running)
            airflow = Airflow(running.airflow, "admin", PASSWORDS["admin"])
            airflow.log_in()
            yield Place(running, airflow, home(), PASSWORDS)
        finally:
            stack.stop()


def copy_dags(folder: Path) -> Path:
    """The DAG files as they are, with the pages of these tests."""
    for path in (REPOSITORY / "dags").glob("*.py"):
        shutil.copy(path, folder)
    (folder / "experiments").mkdir()
    away = (datetime.now(UTC) + timedelta(hours=12)).hour
    for path in EXPERIMENTS.glob("*.yaml"):
        (folder / "experiments" / path.name).write_text(path.read_text().replace("0 3 * * *", f"0 {away} * * *"))
    return folder


def write_feed(running: Stack) -> None:
    """URLs of real digits on the stack's image server, and three that are no image."""
    page = experiment.load(EXPERIMENTS / "digits.yaml")
    folder = feed.dataset_folder(home(), page.name)
    shards.write(folder, sources.load(page.dataset, folder / "downloads"), page.dataset)
    digest = json.loads((folder / "manifest.json").read_text())["digest"]
    paths = [image_path(page.name, digest, index) for index in range(LABELLED)]
    broken = [image_path(page.name, digest, 10**9 - 1), image_path(page.name, digest, 0, "cut"), "/digits/about.html"]
    feed.write_lines(
        home() / "feeds" / page.name / DAY / "urls.txt", [running.images + path for path in [*paths, *broken]]
    )


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    """Chromium, which can find no host but this machine."""
    only_here = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", only_here])
        yield started
        started.close()


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
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
