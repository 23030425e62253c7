"""The Windrow page in a real API server: who gets what of it, and that nothing hostile or secret gets out."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from windrow import experiment
from windrow.scoring import gallery, prediction
from windrow.scoring.prediction import Patience, Stamp
from windrow.scoring.table import PredictionTable
from windrow.scoring.urls import understand
from windrow.sweep.outcomes import Ending, Outcome
from windrow.sweep.study import open_study
from windrow.training.loop import Epoch

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(600)]

REPOSITORY = Path(__file__).resolve().parents[2]
ASSETS = REPOSITORY / "jobs" / "windrow" / "ui" / "assets"
USERS = {name: f"word-of-{name}" for name in ("admin", "viewer", "stranger")}
PAGE = """
name: {name}
space:
  learning_rate: {{type: float, low: 1e-3, high: 1e-1, log: true}}
  units: {{type: int, low: 8, high: 64}}
sweep: {{trials: 4, epochs: 1, sampler: random}}
scoring: {{feed: "feeds/*.txt"}}
"""
RUN = "manual__2026-11-25T16:33:36.759816+00:00"
HOSTILE = "\"><script>alert('x')</script>"
SECRETS = ("geheim", "Traceback", "word-of-")
ROUTES = """
import json, os
from airflow.api_fastapi.app import create_app
create_app()
import windrow_page
print(json.dumps([[route.path, sorted(route.methods or []), route.path_format] for route in windrow_page.app().routes]))
"""


@pytest.fixture(scope="module")
def served(
    airflow: Any,
    dag_folder: Callable[..., Path],
    free_port: Callable[[], int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    """An API server with three users and two experiments, of which `digits` has run."""
    home = tmp_path_factory.mktemp("page")
    (home / "passwords.json").write_text(json.dumps(USERS))
    port = free_port()
    dags = dag_folder(**{name: PAGE.format(name=name) for name in ("digits", "shoes")})
    variables = {
        **airflow.environment,
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__AUTH_MANAGER": "reads_less.ReadsLess",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer,stranger:viewer",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__API__WORKERS": "1",
        "PYTHONPATH": f"{REPOSITORY / 'jobs'}:{Path(__file__).parent}",
        "WINDROW_HOME": str(home / "windrow"),
        "MLFLOW_TRACKING_URI": f"http://me:geheim@127.0.0.1:{free_port()}",
    }
    airflow_program = [sys.executable, "-m", "airflow"]
    subprocess.run(
        [*airflow_program, "dags", "reserialize"], env=variables, check=True, capture_output=True, timeout=120
    )
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            [*airflow_program, "api-server"], env=variables, stdout=log, stderr=log, start_new_session=True
        )
    try:
        server = Server(f"http://127.0.0.1:{port}", home / "windrow", variables)
        server.wait(process)
        yield server
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


class Server:
    """The API server: asks for a route of the page as a user, or as nobody."""

    def __init__(self, address: str, home: Path, variables: dict[str, str]) -> None:
        self.address, self.home, self.variables = address, home, variables
        self._tokens: dict[str, str] = {}

    def wait(self, process: subprocess.Popen[Any], seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert process.poll() is None, "the API server ended"
            try:
                requests.get(f"{self.address}/api/v2/version", timeout=2)
            except requests.RequestException:
                time.sleep(0.2)
            else:
                return
        pytest.fail("the API server did not answer in time")

    def token(self, user: str) -> str:
        if user not in self._tokens:
            login = {"username": user, "password": USERS[user]}
            answer = requests.post(f"{self.address}/auth/token", json=login, timeout=30)
            self._tokens[user] = answer.json()["access_token"]
        return self._tokens[user]

    def ask(self, path: str, user: str | None = "viewer", **headers: str) -> requests.Response:
        login = {"Authorization": f"Bearer {self.token(user)}"} if user else {}
        return requests.get(f"{self.address}/windrow{path}", headers=login | headers, timeout=30)

    def values(self, path: str, user: str = "viewer") -> Any:
        answer = self.ask(path, user)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def filled(served: Server) -> Server:
    """The same, after a sweep and a scoring of hostile URLs with hostile labels."""
    train(served)
    score(served.home / "tables" / "digits")
    return served


def train(served: Server) -> None:
    script = "import sys, windrow_dags; print(windrow_dags.run_folder(*sys.argv[1:]))"
    variables = {**served.variables, "PYTHONPATH": f"{REPOSITORY / 'jobs'}:{REPOSITORY / 'plugins'}"}
    command = [sys.executable, "-c", script, "train_digits", RUN]
    told = subprocess.run(command, env=variables, check=True, capture_output=True, text=True)
    folder = Path(told.stdout.strip().splitlines()[-1]) / "study"
    with open_study(folder, experiment.parse(PAGE.format(name="digits")), "d" * 64) as study:
        for ending, value in ((Ending.OK, 0.7), (Ending.OK, 0.9), (Ending.FAILED, None)):
            asked = study.ask()
            assert asked
            epochs = (Epoch(0.1, 0.9, 0.1, value or 0.1, 0.1),)
            error = "" if value else "Traceback of geheim"
            study.settle(
                Outcome(asked.number, asked.attempt, ending, value, epochs, 1.0, error=error, lease=asked.lease)
            )
        study.ask()


def score(folder: Path) -> None:
    import pyarrow.parquet as pq

    target = understand(b"http://user.example/a.png?token=geheim")
    assert target
    row = prediction.row(target, None, Stamp("r1", "digits", "1", "digest"))
    row |= {"status": "ok"} | prediction.ranked([0], [0.75], (HOSTILE,))
    predictions = PredictionTable(folder)
    with predictions.staged("r1") as staging:
        staging.mkdir()
        with pq.ParquetWriter(staging / "part-0.parquet", prediction.SCHEMA) as writer:
            writer.write_batch(prediction.record_batch([row], Patience()))
        said = {"rows": 1, "statuses": {"ok": 1}, "ok_share": 1.0, "model_version": "1", "images_per_second": 2.0}
        predictions.commit(staging, "r1", {"figures": said})
    thumbnail = "data:image/png;base64,AAAA"
    shown = {"url": "http://user.example/a.png?token=geheim", "url_key": "k", "label": HOSTILE, "score": 0.75}
    shown |= {"second": HOSTILE, "second_score": 0.1, "width": 8, "height": 8, "image": thumbnail}
    path = gallery.place(folder, "r1").with_name("pictures.json")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"unsure": [shown], "examples": [], "sample": []}))


@pytest.fixture(scope="module")
def routes(served: Server) -> list[str]:
    """A path for every route that the page's application has, with real values for what is variable."""
    plugins = f"{served.variables['PYTHONPATH']}:{REPOSITORY / 'plugins'}"
    variables = {**served.variables, "PYTHONPATH": plugins}
    told = subprocess.run(
        [sys.executable, "-c", ROUTES], env=variables, check=True, capture_output=True, text=True, timeout=120
    )
    found = json.loads(told.stdout.strip().splitlines()[-1])
    assert all(methods == ["GET"] for _, methods, _ in found), found
    return [
        path.replace("{dag_id}", dag).replace("{name}", "page.js")
        for path, *_ in found
        for dag in (("train_digits", "score_digits") if "{dag_id}" in path else ("",))
    ]


def test_nobody_without_a_login_gets_anything_of_any_route(filled: Server, routes: list[str]) -> None:
    assert len(routes) >= 10
    for path in routes:
        answer = filled.ask(path, user=None)
        assert answer.status_code in (401, 403), path
        assert set(answer.json()) == {"detail"}


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", ""])
def test_a_token_that_airflow_has_not_made_opens_no_route(filled: Server, routes: list[str], token: str) -> None:
    for path in routes:
        assert filled.ask(path, None, Authorization=f"Bearer {token}").status_code in (401, 403), path
        assert filled.ask(path, None, Cookie=f"_token={token}").status_code in (401, 403), path


def test_a_viewer_reads_every_route_with_a_token_and_with_the_cookie_of_his_session(
    filled: Server, routes: list[str]
) -> None:
    for path in routes:
        assert filled.ask(path).status_code == 200, path
        assert filled.ask(path, None, Cookie=f"_token={filled.token('viewer')}").status_code == 200, path


def test_who_may_not_read_a_dag_gets_nothing_of_it(filled: Server, routes: list[str]) -> None:
    for path in routes:
        if "/dags/" in path:
            assert filled.ask(path, "stranger").status_code == 403, path
    names = [one["name"] for one in filled.values("/api/experiments", "stranger")["experiments"]]
    assert names == ["shoes"]


def test_a_reader_is_offered_the_experiments_the_newest_first(filled: Server) -> None:
    assert filled.values("/api/experiments")["experiments"] == [
        {"name": "digits", "train": "train_digits", "score": "score_digits"},
        {"name": "shoes", "train": "train_shoes", "score": "score_shoes"},
    ]


def test_the_sweep_of_a_dag_run_is_found_by_the_runs_id(filled: Server) -> None:
    path = "/api/dags/train_digits/sweep"
    shown = filled.values(f"{path}?run_id={requests.utils.quote(RUN, safe='')}")
    assert [line["value"] for line in shown["best"]] == [0.9, 0.7]
    assert (shown["budget"], shown["finished"], shown["training"]) == (4, 3, 1)
    assert filled.values(path) == shown
    assert filled.values(f"{path}?run_id=manual__another")["absent"].startswith("This run has no sweep")


def test_a_part_without_anything_to_show_is_one_sentence(filled: Server) -> None:
    for path in ("/api/dags/train_shoes/sweep", "/api/dags/score_shoes/scorings", "/api/dags/score_shoes/labels"):
        assert "Trigger " in filled.values(path)["absent"]
    assert "MLflow does not answer" in filled.values("/api/dags/train_digits/champions")["absent"]
    assert "is a score DAG" in filled.values("/api/dags/score_digits/sweep")["absent"]


@pytest.mark.parametrize("key", ["..%2F..%2Fsecret", "..", "%2Fetc", "%00"])
def test_no_name_of_a_sweep_leads_out_of_its_folder(filled: Server, key: str) -> None:
    assert set(filled.values(f"/api/dags/train_digits/sweep?key={key}")) == {"absent"}


def test_only_the_pages_own_files_are_served(filled: Server) -> None:
    for path in ASSETS.iterdir():
        assert filled.ask(f"/static/{path.name}").status_code == (404 if path.suffix == ".html" else 200)
    for name in ("..%2f__init__.py", "__init__.py", "%2e%2e/ledgers.py"):
        assert filled.ask(f"/static/{name}").status_code == 404


def test_hostile_text_comes_as_json_text_and_only_kept_thumbnails_as_pictures(filled: Server) -> None:
    answer = filled.ask("/api/dags/score_digits/labels")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    (picture,) = answer.json()["pictures"]
    assert (picture["label"], picture["image"]) == (HOSTILE, "data:image/png;base64,AAAA")


def test_every_answer_forbids_foreign_scripts_and_frames(filled: Server, routes: list[str]) -> None:
    for path in routes:
        policy = filled.ask(path).headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy, path
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'self'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy


def test_no_answer_has_a_secret_or_a_path_of_the_disk(filled: Server, routes: list[str]) -> None:
    for path in routes:
        text = filled.ask(path).text
        assert not [secret for secret in SECRETS if secret in text], path
        assert str(filled.home) not in text, path
        assert str(REPOSITORY) not in text, path


def test_what_has_not_changed_is_not_sent_again(filled: Server, routes: list[str]) -> None:
    for path in routes:
        tag = filled.ask(path).headers["ETag"]
        again = filled.ask(path, **{"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b""), path


def test_airflow_shows_the_page_in_its_navigation_and_as_a_tab_of_every_run(filled: Server) -> None:
    login = {"Authorization": f"Bearer {filled.token('viewer')}"}
    answer = requests.get(f"{filled.address}/api/v2/plugins", headers=login, timeout=30).json()
    (plugin,) = [plugin for plugin in answer["plugins"] if plugin["name"] == "windrow_page"]
    places = {view["destination"]: view["href"] for view in plugin["external_views"]}
    assert set(places) == {"nav", "dag_run"}
    for href in places.values():
        address = href.replace("{DAG_ID}", "train_digits").replace("{RUN_ID}", "manual__x")
        assert requests.get(f"{filled.address}/{address}", headers=login, timeout=30).ok
    errors = requests.get(f"{filled.address}/api/v2/plugins/importErrors", headers=login, timeout=30).json()
    assert errors["total_entries"] == 0


def test_two_thousand_trials_take_a_fraction_of_a_second(filled: Server) -> None:
    folder = filled.home / "runs" / "train_digits" / "large" / "study"
    large(folder, 2000)
    began = time.monotonic()
    answer = filled.ask("/api/dags/train_digits/sweep?key=large")
    seconds = time.monotonic() - began
    assert (answer.json()["finished"], len(answer.json()["best"])) == (2000, 50)
    assert len(answer.content) < 40_000
    assert seconds < 3  # a tenth of it on quiet cores


def large(folder: Path, trials: int) -> None:
    """Many trials in the ledger, without a sampler, which would take most of the time."""
    from windrow.sweep.ledger import Ledger

    folder.mkdir(parents=True)
    ledger = Ledger(folder)
    epochs = tuple(Epoch(0.1, 0.9, 0.1, 0.9, 0.1) for _ in range(20))
    for number in range(trials):
        ledger.enter({"learning_rate": 0.001 * (number % 97 + 1), "units": number % 61 + 8}, number)
        lease = ledger.lease(number)
        value = 0.5 + (number % 499) / 1000
        ledger.settle(Outcome(number, 1, Ending.OK, value, epochs, 1.0, lease=lease.token))
    ledger.close()


def test_the_page_itself_has_no_inline_script_or_style_and_asks_nobody_else() -> None:
    text = (ASSETS / "page.html").read_text()
    assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=|https?://|//", text.replace("<!doctype", ""))
    for path in ASSETS.glob("*.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|https?://", path.read_text()
        )


def test_the_plugin_loads_nothing_slow_beside_airflows_own_plugin_manager() -> None:
    script = "import sys, airflow.plugins_manager\nknown = set(sys.modules)\nimport windrow_page\n"
    script += "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - known}))"
    folder = f"{REPOSITORY / 'jobs'}:{REPOSITORY / 'plugins'}"
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": folder, "AIRFLOW_HOME": "/nonexistent"}
    variables["_AIRFLOW__AS_LIBRARY"] = "1"
    told = subprocess.run([sys.executable, "-c", script], env=variables, check=True, capture_output=True, text=True)
    assert told.stdout.split() == ["windrow_page"]
