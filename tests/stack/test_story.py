"""One person's way through the real Airflow and MLflow, from the login to the labels, and what others may not do.

The chapters need each other, in this order, and one stack: that is why they are one file. Those that look at it with
Chromium are skipped where there is none, and the next one then does over Airflow's API what the person would have done.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urljoin

import psutil
import pytest
import requests
from axe_playwright_python.sync_playwright import Axe
from harness.waiting import wait_for
from playwright.sync_api import BrowserContext, FrameLocator, Locator, Page, Route, expect
from windrow.errors import ServiceError
from windrow.laptop import demo_feed, health, services, stack
from windrow.laptop.airflow_api import FINISHED, Airflow
from windrow.markdown import escaped

pytestmark = [
    pytest.mark.stack,
    pytest.mark.airflow,
    pytest.mark.spark,
    pytest.mark.submit,
    pytest.mark.tensorflow,
    pytest.mark.mlflow,
]
in_a_browser = pytest.mark.browser

REPOSITORY = Path(__file__).resolve().parents[2]
ASSETS = REPOSITORY / "jobs" / "windrow" / "ui" / "assets"
EPOCHS = 150  # with which the sweep lasts several seconds, so that the page shows it while it runs
TRIALS = 12 if os.environ.get("WINDROW_PICTURES") else 4  # a picture of four trials shows little
TRAIN, SCORE = "train_digits", "score_digits"
TRAIN_TASKS = {
    *("prepare_dataset", "sweep", "draw_atlas", "promote_best", "approve_champion", "record_decision"),
    *("announce_champion", "reproduce"),
}
REFUSED = "unknown key 'scoring.<b>'"
CHAMPION, DATASET, PREDICTIONS = (
    "x-mlflow://models/digits",
    "x-windrow://datasets/digits",
    "x-windrow://predictions/digits",
)
HOSTILE = "\"><script>alert('x')</script>"
SECRETS = ("geheim", "Traceback", "word-of-")
MINUTES = 60_000.0
"""In the browser's milliseconds."""

Keep = Callable[[Page, str], None]
NewContext = Callable[..., BrowserContext]
soon = partial(wait_for, seconds=300, every=0.7)
"""Until what only an API or a log tells."""


@pytest.fixture(scope="module")
def page(new_context: NewContext) -> Page:
    """The administrator's browser."""
    return new_context().new_page()


@pytest.fixture(scope="module")
def viewer(place: Any, new_context: NewContext) -> Page:
    """The browser of somebody who may only look."""
    page = new_context().new_page()
    log_in(page, place, "viewer")
    return page


def log_in(page: Page, place: Any, user: str) -> None:
    page.goto(f"{place.stack.airflow}/")
    page.get_by_role("textbox", name="Username").fill(user)
    page.get_by_role("textbox", name="Password").fill(place.passwords[user])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Welcome")).to_be_visible()


def open_form(page: Page, place: Any, dag: str = TRAIN) -> Locator:
    page.goto(f"{place.stack.airflow}/dags/{dag}")
    page.get_by_role("button", name="Trigger Dag").click()
    form = page.get_by_role("dialog")
    expect(form.get_by_role("button", name="Anything else")).to_be_visible()
    page.wait_for_load_state("networkidle")  # the form is drawn again when the DAG's own values have come
    return form


def open_section(form: Locator, name: str) -> None:
    button = form.get_by_role("button", name=name, exact=True)
    button.click()
    expect(button).to_have_attribute("aria-expanded", "true")


def add_override(form: Locator, text: str) -> None:
    open_section(form, "Anything else")
    form.locator("#element_set").fill(text)


def trigger(form: Locator) -> str:
    """The id of the run, whose page Airflow then shows."""
    form.get_by_role("button", name="Trigger", exact=True).click()
    page = form.page
    expect(page).to_have_url(re.compile("/runs/manual__"))
    return unquote(page.url.partition("/runs/")[2].partition("/")[0])


def follow(page: Page, link: str) -> Page:
    """The page that a link of a task opens beside this one."""
    with page.context.expect_page() as opened:
        page.get_by_role("link", name=link).click()
    return opened.value


def leave(page: Page) -> None:
    """Look at nothing: Airflow's pages ask and draw every few seconds, and the next chapters only wait."""
    page.goto("about:blank")


def windrow(page: Page) -> FrameLocator:
    """The page, from Airflow's navigation."""
    page.get_by_role("link", name="Windrow").first.click()
    return page.frame_locator("iframe")


def rows(frame: FrameLocator) -> Locator:
    return frame.locator("#leaderboard tbody tr")


# The stack comes up.


def test_the_stack_is_up_for_this_machine_alone(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDROW_HOME", str(place.home))
    running = place.stack
    assert health.mlflow_problem(running.mlflow) is None
    assert health.page_problem(f"{running.images}/health") is None
    assert {name: ask() for name, ask in stack.problems().items()} == dict.fromkeys(stack.problems())
    listening = {connection.laddr for process in services.marked(place.home) for connection in listeners(process)}
    addresses = [running.airflow, running.mlflow, running.images]
    assert {port for _, port in listening} == {int(url.rpartition(":")[2]) for url in addresses}
    assert all(ipaddress.ip_address(address).is_loopback for address, _ in listening)


def listeners(process: psutil.Process) -> list[Any]:
    return [connection for connection in process.net_connections("inet") if connection.status == psutil.CONN_LISTEN]


def test_a_stack_that_is_up_is_left_as_it_is(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDROW_HOME", str(place.home))
    before = stack.state().running()
    assert stack.up(place.stack.dags, place.stack.users) == place.stack
    assert stack.state().running() == before


def test_airflow_has_the_dags_of_the_pages_and_no_import_error(place: Any) -> None:
    names = ("digits", "hostile", "shoes")
    soon(lambda: all(place.airflow.has_dag(f"{kind}_{name}") for kind in ("train", "score") for name in names))
    assert place.airflow.import_errors() == {}
    place.airflow.unpause(TRAIN)
    place.airflow.unpause(SCORE)


def test_a_wrong_password_and_no_password_open_nothing(place: Any) -> None:
    with pytest.raises(ServiceError, match="401"):
        Airflow(place.stack.airflow, "admin", "a guess").log_in()
    assert requests.get(f"{place.stack.airflow}/api/v2/dags", timeout=10).status_code == 401
    assert place.windrow("/", user=None).status_code == 401


@in_a_browser
def test_a_stranger_is_sent_to_the_login(place: Any, new_context: NewContext) -> None:
    page = new_context().new_page()
    page.goto(f"{place.stack.airflow}/plugin/windrow")
    expect(page.get_by_role("heading", name="Sign into Airflow")).to_be_visible()


@in_a_browser
def test_after_the_login_the_navigation_offers_windrow(place: Any, page: Page) -> None:
    log_in(page, place, "admin")
    frame = windrow(page)
    expect(frame.get_by_role("heading", name="Windrow", exact=True)).to_be_visible()


# The form, and a run that is refused.


@in_a_browser
def test_the_form_has_sections_with_titled_fields_and_their_help(place: Any, page: Page, picture: Keep) -> None:
    form = open_form(page, place)
    for section in ("Sweep", "Limits", "Data", "Network", "Promotion", "Anything else", "Reproduce"):
        expect(form.get_by_role("button", name=section, exact=True)).to_be_visible()
    open_section(form, "Sweep")
    sweep = form.get_by_role("region", name="Sweep")
    expect(sweep.get_by_label("Trials")).to_have_value("12")
    expect(sweep).to_contain_text("points to train (sweep.trials)")
    expect(sweep).to_contain_text("rule that stops poor trials early: none, asha")
    sweep.get_by_label("Objective").scroll_into_view_if_needed()
    picture(page, "tour-form")


@in_a_browser
def test_a_field_takes_neither_text_nor_a_number_out_of_its_range(page: Page) -> None:
    trials = page.get_by_role("dialog").get_by_label("Trials")
    trials.fill("0")
    trials.blur()
    expect(trials).to_have_value("1")
    trials.press("Control+A")
    trials.press_sequentially("many")
    expect(trials).to_have_value(re.compile("^[0-9]*$"))


@in_a_browser
def test_the_form_refuses_an_override_that_is_none(place: Any, page: Page) -> None:
    form = open_form(page, place)
    add_override(form, "network.builder cnn")
    form.get_by_role("button", name="Trigger", exact=True).click()
    expect(form).to_contain_text("'network.builder cnn' does not match")


def test_an_override_that_is_none_starts_nothing(place: Any) -> None:
    wish = {"logical_date": None, "conf": {"set": ["network.builder cnn"]}}
    answer = place.ask_as("admin", "POST", f"/dags/{TRAIN}/dagRuns", wish)
    assert answer.status_code == 400
    assert "'network.builder cnn' does not match" in answer.text
    assert place.airflow.get(f"/dags/{TRAIN}/dagRuns")["dag_runs"] == []


@in_a_browser
def test_a_key_that_no_page_has_ends_the_run_with_one_sentence(place: Any, page: Page) -> None:
    form = open_form(page, place, SCORE)
    add_override(form, "scoring.<b>=1")
    place.runs["refused"] = run = trigger(form)
    soon(lambda: place.airflow.run_state(SCORE, run) == "failed")
    page.goto(place.run_page(SCORE, run, "/tasks/score_images"))
    log = page.get_by_role("code").filter(has_text="Task failed with exception").first
    expect(log).to_contain_text(REFUSED)


def refused(place: Any) -> str:
    """The run of the chapter before; where there was no browser, one over the API."""
    if "refused" not in place.runs:
        place.runs["refused"] = place.airflow.trigger(SCORE, {"set": ["scoring.<b>=1"]})
        soon(lambda: place.airflow.run_state(SCORE, place.runs["refused"]) == "failed")
    return place.runs["refused"]


def test_what_the_page_forbids_is_refused_at_the_first_try_and_before_spark(place: Any) -> None:
    run = refused(place)
    assert place.tries(SCORE, run)["score_images"] == 1
    log = place.log(SCORE, run, "score_images")
    assert REFUSED in log
    assert "spark-submit" not in log.lower()


def test_the_note_of_the_refused_run_has_the_cause_in_one_sentence(place: Any) -> None:
    note = soon(lambda: place.airflow.get(f"/dags/{SCORE}/dagRuns/{quote(refused(place), safe='')}")["note"])
    assert note.startswith("score_images: ")
    assert escaped(REFUSED) in note  # Airflow shows notes as Markdown


def test_one_mistyped_key_is_not_answered_with_all_that_there_are(place: Any) -> None:
    note = place.airflow.get(f"/dags/{SCORE}/dagRuns/{quote(refused(place), safe='')}")["note"]
    assert "sweep." not in note
    assert len(note) < 1000


def test_the_web_hook_hears_of_the_refused_run_once_and_its_address_stays_out_of_the_log(place: Any) -> None:
    (post,) = soon(lambda: place.hook.posts)
    assert post["text"].startswith("score_digits: task score_images has failed: ")
    assert (post["dag_id"], post["task_id"], post["run_id"]) == (SCORE, "score_images", refused(place))
    assert REFUSED in post["cause"]
    assert "/services/secret" not in place.log(SCORE, refused(place), "score_images")


def test_a_mail_goes_to_each_address_and_what_it_quotes_is_no_markup(place: Any) -> None:
    ((recipients, message),) = soon(lambda: place.mails)
    assert recipients == ["ann@example.org", "bob@example.org"]
    assert message["Subject"] == "Windrow: score_digits"
    body = message.get_body().get_content()
    assert "scoring.&lt;b&gt;" in body
    assert "<b>" not in body


# A training.


@in_a_browser
def test_a_run_is_triggered_from_the_form(place: Any, page: Page) -> None:
    form = open_form(page, place)
    open_section(form, "Sweep")
    for label, value in (("Trials", TRIALS), ("Epochs", EPOCHS)):
        form.get_by_label(re.compile(f"^{label}")).fill(str(value))
        form.get_by_label(re.compile(f"^{label}")).blur()
    place.runs["training"] = run = trigger(form)
    conf = place.airflow.get(f"/dags/{TRAIN}/dagRuns/{quote(run, safe='')}")["conf"]
    assert (conf["sweep.trials"], conf["sweep.epochs"]) == (TRIALS, EPOCHS)


def training(place: Any) -> str:
    """The run of the chapter before; where there was no browser, one over the API."""
    if "training" not in place.runs:
        place.runs["training"] = place.airflow.trigger(TRAIN, {"sweep.trials": TRIALS, "sweep.epochs": EPOCHS})
    return place.runs["training"]


@in_a_browser
def test_the_page_fills_by_itself_while_the_sweep_runs(place: Any, page: Page, picture: Keep) -> None:
    frame = windrow(page)
    frame.get_by_label("Experiment").select_option("digits")  # of which nothing has run as yet
    expect(frame.locator("#state")).to_have_text("running", timeout=2 * MINUTES)
    expect(rows(frame).nth(TRIALS // 2 - 1)).to_be_visible(timeout=2 * MINUTES)
    expect(frame.locator("#news")).to_contain_text("New best")
    picture(page, "tour-sweep")
    expect(frame.locator("#state")).to_have_text("all trials have ended", timeout=2 * MINUTES)
    expect(frame.locator("#news")).to_contain_text(f"The sweep has ended: {TRIALS} trials.")
    expect(rows(frame)).to_have_count(TRIALS)
    expect(frame.locator("#progress dd").first).to_contain_text(re.compile(r"trial \d+, guessing: 0\.1\d\d\d$"))


@in_a_browser
def test_the_tab_of_the_run_shows_the_same_sweep(place: Any, page: Page) -> None:
    known = rows(page.frame_locator("iframe")).all_inner_texts()
    page.goto(place.run_page(TRAIN, training(place)))
    links = page.get_by_role("link", name="Windrow")
    expect(links).to_have_count(2)  # the navigation's is there before the tab
    links.last.click()
    expect(page).to_have_url(re.compile("/plugin/windrow_run$"))
    expect(rows(page.frame_locator("iframe"))).to_have_text(known, use_inner_text=True)


@in_a_browser
def test_the_tasks_links_lead_to_the_sweep_and_its_trials_in_mlflow(place: Any, page: Page, picture: Keep) -> None:
    soon(lambda: place.states(TRAIN, training(place))["sweep"] == "success")
    page.goto(place.run_page(TRAIN, training(place), "/tasks/sweep/details"))
    record = follow(page, "MLflow run")
    expect(record.get_by_role("heading", name="sweep digits").first).to_be_visible()
    expect(record.get_by_text(f"trial {TRIALS - 1}", exact=True).first).to_be_visible()
    compared = follow(page, "Compare the best")
    expect(compared.get_by_role("heading", name="Comparing")).to_be_visible()
    expect(compared.get_by_text("trial 1", exact=True).first).to_be_visible()
    compared.get_by_role("button", name="Close", exact=True).click()  # MLflow's assistant, which takes a third
    picture(compared, "tour-trials")
    for opened in (record, compared):
        opened.close()
    leave(page)


# While its finalists train: who gets what of the Windrow page, and that nothing hostile or secret gets out of it.


@pytest.fixture(scope="module")
def routes(place: Any) -> list[str]:
    """A path for every route that the page's application has, with real values for what is variable."""
    training(place)
    script = "import json, windrow_page_routes as page\nfound = page.make_app().routes\n"
    script += "print(json.dumps([[one.path, sorted(one.methods or [])] for one in found]))"
    variables = {**os.environ, "PYTHONPATH": f"{REPOSITORY / 'jobs'}:{REPOSITORY / 'plugins'}"}
    variables |= {"AIRFLOW_HOME": str(place.home / "routes"), "_AIRFLOW__AS_LIBRARY": "1"}
    told = subprocess.run(
        [sys.executable, "-c", script], env=variables, check=True, capture_output=True, text=True, timeout=120
    )
    found = json.loads(told.stdout.strip().splitlines()[-1])
    assert all(methods == ["GET"] for _, methods in found), found
    return [
        path.replace("{dag_id}", dag).replace("{name}", "page.js")
        for path, _ in found
        for dag in (("train_hostile", "score_hostile") if "{dag_id}" in path else ("",))
    ]


def test_nobody_without_a_login_gets_anything_of_any_route(place: Any, routes: list[str]) -> None:
    assert len(routes) >= 10
    for path in routes:
        answer = place.windrow(path, user=None)
        assert answer.status_code in (401, 403), path
        assert set(answer.json()) == {"detail"}


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", ""])
def test_a_token_that_airflow_has_not_made_opens_no_route(place: Any, routes: list[str], token: str) -> None:
    for path in routes:
        assert place.windrow(path, None, Authorization=f"Bearer {token}").status_code in (401, 403), path
        assert place.windrow(path, None, Cookie=f"_token={token}").status_code in (401, 403), path


def test_a_viewer_reads_every_route_with_a_token_and_with_the_cookie_of_his_session(
    place: Any, routes: list[str]
) -> None:
    token = place.login("viewer")["Authorization"].partition(" ")[2]
    for path in routes:
        assert place.windrow(path).status_code == 200, path
        assert place.windrow(path, None, Cookie=f"_token={token}").status_code == 200, path


def test_who_may_not_read_a_dag_gets_nothing_of_it(place: Any, routes: list[str]) -> None:
    for path in routes:
        if "/dags/" in path:
            assert place.windrow(path, "stranger").status_code == 403, path
    names = [one["name"] for one in place.values("/api/experiments", "stranger")["experiments"]]
    assert names == ["digits", "shoes"]


def test_a_reader_is_offered_the_experiments_the_newest_first(place: Any) -> None:
    soon(lambda: (place.home / "runs" / TRAIN).is_dir())  # where the training's first task begins
    assert place.values("/api/experiments")["experiments"] == [
        {"name": name, "train": f"train_{name}", "score": f"score_{name}"} for name in ("digits", "hostile", "shoes")
    ]


def test_the_sweep_of_a_dag_run_is_found_by_the_runs_id(place: Any) -> None:
    path = f"/api/dags/{TRAIN}/sweep"
    soon(lambda: place.states(TRAIN, training(place))["sweep"] == "success")
    shown = place.values(f"{path}?run_id={quote(training(place), safe='')}")
    assert (shown["budget"], shown["finished"], len(shown["best"])) == (TRIALS, TRIALS, TRIALS)
    assert place.values(path) == shown
    assert place.values(f"{path}?run_id=manual__another")["absent"].startswith("This run has no sweep")


def test_a_sweep_under_way_is_told_as_far_as_it_is(place: Any) -> None:
    shown = place.values("/api/dags/train_hostile/sweep")
    assert [line["value"] for line in shown["best"]] == [0.9, 0.7]
    assert (shown["budget"], shown["finished"], shown["training"]) == (4, 3, 1)
    assert (shown["guessing"], shown["warnings"]) == (0.6, [HOSTILE])


def test_a_part_without_anything_to_show_is_one_sentence(place: Any) -> None:
    for path in ("train_shoes/sweep", "train_shoes/champions", "score_shoes/scorings", "score_shoes/labels"):
        assert "rigger " in place.values(f"/api/dags/{path}")["absent"]
    assert "is a score DAG" in place.values("/api/dags/score_hostile/sweep")["absent"]


@pytest.mark.parametrize("key", ["..%2F..%2Fsecret", "..", "%2Fetc", "%00"])
def test_no_name_of_a_sweep_leads_out_of_its_folder(place: Any, key: str) -> None:
    assert set(place.values(f"/api/dags/train_hostile/sweep?key={key}")) == {"absent"}


def test_only_the_pages_own_files_are_served(place: Any) -> None:
    for path in ASSETS.iterdir():
        assert place.windrow(f"/static/{path.name}").status_code == (404 if path.suffix == ".html" else 200)
    for name in ("..%2f__init__.py", "__init__.py", "%2e%2e/ledgers.py"):
        assert place.windrow(f"/static/{name}").status_code == 404


def test_hostile_text_comes_as_json_text_and_only_kept_thumbnails_as_pictures(place: Any) -> None:
    answer = place.windrow("/api/dags/score_hostile/labels")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    (picture,) = answer.json()["pictures"]
    assert (picture["label"], picture["image"]) == (HOSTILE, "data:image/png;base64,AAAA")


def test_every_answer_forbids_foreign_scripts_and_frames(place: Any, routes: list[str]) -> None:
    for path in routes:
        policy = place.windrow(path).headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy, path
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'self'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy


def test_no_answer_has_a_secret_or_a_path_of_the_disk(place: Any, routes: list[str]) -> None:
    for path in [*routes, *(path.replace("hostile", "digits") for path in routes)]:
        text = place.windrow(path).text
        assert not [secret for secret in SECRETS if secret in text], path
        assert str(place.home) not in text, path
        assert str(REPOSITORY) not in text, path


def test_what_has_not_changed_is_not_sent_again(place: Any, routes: list[str]) -> None:
    for path in routes:
        tag = place.windrow(path).headers["ETag"]
        again = place.windrow(path, **{"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b""), path


def test_of_two_thousand_trials_the_best_are_sent(place: Any) -> None:
    answer = place.windrow("/api/dags/train_hostile/sweep?key=large")
    assert (answer.json()["finished"], len(answer.json()["best"])) == (2000, 50)
    assert len(answer.content) < 40_000


def test_airflow_shows_the_page_in_its_navigation_and_as_a_tab_of_every_run(place: Any) -> None:
    answer = place.ask_as("viewer", "GET", "/plugins").json()
    (plugin,) = [plugin for plugin in answer["plugins"] if plugin["name"] == "windrow_page"]
    places = {view["destination"]: view["href"] for view in plugin["external_views"]}
    assert set(places) == {"nav", "dag_run"}
    for href in places.values():
        address = href.replace("{DAG_ID}", TRAIN).replace("{RUN_ID}", "manual__x")
        assert requests.get(f"{place.stack.airflow}/{address}", headers=place.login("viewer"), timeout=30).ok
    assert place.ask_as("viewer", "GET", "/plugins/importErrors").json()["total_entries"] == 0


# A person decides.


def test_the_person_is_shown_the_evidence_as_a_table_and_where_to_look_further(place: Any) -> None:
    soon(lambda: place.has_parked(training(place), "approve_champion"))
    question = place.airflow.get(place.question(TRAIN, training(place)))
    assert question["subject"] == "digits: may version 1 of digits become its champion?"
    assert question["options"] == ["Approve", "Reject"]
    head, line, *rows = [text for text in question["body"].splitlines() if text.startswith("|")]
    assert "test accuracy" in head
    assert set(line) <= set("|-: ")
    assert any("challenger" in row for row in rows)
    assert any("guessing" in row for row in rows)
    assert question["body"].count("\n| class | test images | predicted | precision | recall | F1 |\n") == 1
    assert f"[the version]({place.stack.mlflow}/#/models/digits/versions/1)" in question["body"]


def test_nothing_moves_before_the_answer(place: Any) -> None:
    assert place.aliases() == {"challenger": "1"}
    assert CHAMPION not in place.events(training(place))


def test_web_hook_and_mail_tell_that_the_run_is_late(place: Any) -> None:
    late = f"{TRAIN}: run {training(place)} has not ended 1 min after it was queued"
    soon(lambda: late in place.told())
    soon(lambda: f"Windrow: {TRAIN}" in [message["Subject"] for _, message in place.mails])


@in_a_browser
def test_a_person_approves_under_required_actions(place: Any, page: Page, picture: Keep) -> None:
    page.goto(f"{place.stack.airflow}/")
    page.get_by_role("button", name="Required Actions").click()
    page.get_by_role("dialog").get_by_role("link", name="approve_champion").click()
    expect(page).to_have_url(re.compile("/approve_champion/required_actions$"))
    expect(page.get_by_role("link", name="Required Action (1)")).to_be_visible()
    expect(page.get_by_text("may version 1 of digits become its champion?")).to_be_visible()
    expect(page.get_by_role("cell", name="challenger, trial")).to_be_visible()
    picture(page, "tour-approval")
    page.get_by_role("button", name="Approve").click()
    place.runs["approved"] = training(place)


def approved(place: Any) -> str:
    """The run, once a person's approval has ended it; where there was no browser, an approval over the API."""
    run = training(place)
    if "approved" not in place.runs:
        answer = {"chosen_options": ["Approve"], "params_input": {}}
        assert place.ask_as("admin", "PATCH", place.question(TRAIN, run), answer).ok
        place.runs["approved"] = run
    soon(lambda: place.airflow.run_state(TRAIN, run) in FINISHED)
    return run


@in_a_browser
def test_a_viewer_reads_the_page(place: Any, viewer: Page) -> None:
    expect(rows(windrow(viewer))).to_have_count(TRIALS)


@in_a_browser
def test_what_is_chosen_again_while_it_is_loaded_is_shown(place: Any, viewer: Page) -> None:
    """The first answer comes when a second is awaited, and is the same."""
    asked: list[Route] = []

    def answer(route: Route) -> None:
        asked.append(route)
        for one in asked if len(asked) == 2 else asked[2:][-1:]:
            one.fulfill(response=one.fetch())

    sweeps = re.compile(r"/api/dags/train_digits/sweep\?")
    viewer.route(sweeps, answer)
    viewer.goto(f"{place.stack.airflow}/windrow/")
    viewer.get_by_label("Experiment").select_option("digits")
    expect(viewer.locator("#leaderboard tbody tr")).to_have_count(TRIALS)
    viewer.unroute(sweeps)


@in_a_browser
def test_the_form_of_a_viewer_triggers_nothing(place: Any, viewer: Page) -> None:
    form = open_form(viewer, place)
    button = form.get_by_role("button", name="Trigger", exact=True)
    button.click()
    expect(form).to_contain_text("Forbidden")
    expect(button).to_be_disabled()


def test_a_viewer_can_trigger_nothing(place: Any) -> None:
    assert place.ask_as("viewer", "POST", f"/dags/{TRAIN}/dagRuns", {"logical_date": None}).status_code == 403
    assert place.ask_as("viewer", "PATCH", f"/dags/{TRAIN}", {"is_paused": True}).status_code == 403
    assert [run["dag_run_id"] for run in place.airflow.get(f"/dags/{TRAIN}/dagRuns")["dag_runs"]] == [training(place)]


def test_an_approval_makes_the_champion_and_names_the_person(place: Any) -> None:
    approved(place)
    assert place.aliases() == {"champion": "1"}
    tags = place.tags("1")
    assert (tags["windrow.approval"], tags["windrow.approval_by"]) == ("approved", "admin")


def test_every_task_that_is_needed_succeeds_at_the_first_try(place: Any) -> None:
    states = place.states(TRAIN, approved(place))
    assert states == {name: "skipped" if name == "reproduce" else "success" for name in TRAIN_TASKS}
    assert {tries for name, tries in place.tries(TRAIN, approved(place)).items() if name != "reproduce"} == {1}


def test_the_form_decides_over_the_page(place: Any) -> None:
    assert place.airflow.result(TRAIN, approved(place), "sweep")["outcomes"] == {"ok": TRIALS}


def test_the_runs_files_lie_in_a_folder_of_its_own(place: Any) -> None:
    (folder,) = (place.home / "runs" / TRAIN).iterdir()
    assert {path.name for path in folder.iterdir()} >= {"dataset", "study"}


def test_data_set_and_champion_are_announced_once_with_their_figures(place: Any) -> None:
    events = place.events(approved(place))
    ((prepared,), (crowned,)) = events[DATASET], events[CHAMPION]
    assert prepared["digest"] == place.airflow.result(TRAIN, approved(place), "prepare_dataset")["digest"]
    assert (crowned["model_name"], crowned["model_version"]) == ("digits", "1")


def test_the_tasks_link_to_mlflow(place: Any) -> None:
    def link(task: str, key: str) -> str:
        return place.link(TRAIN, approved(place), task, key)

    assert link("sweep", "mlflow_run").startswith(place.stack.mlflow)
    assert "/#/compare-runs?runs=" in link("sweep", "compare")
    assert "/models/digits" in link("promote_best", "model_version")
    assert link("draw_atlas", "atlas").startswith(place.stack.mlflow)
    assert link("prepare_dataset", "mlflow_run") == ""


def test_the_announcement_says_which_of_the_pages_dags_are_switched_off(place: Any) -> None:
    log = place.log(TRAIN, approved(place), "announce_champion")
    assert "maintain_digits is paused; switch it on in Airflow's list of DAGs" in log
    assert "score_digits is paused" not in log


def test_a_person_finds_a_dag_that_changes_champions_switched_on_with_the_pages_to_choose_from(place: Any) -> None:
    dag = place.airflow.get("/dags/change_champion/details")
    fields = {name: param["schema"] for name, param in dag["params"].items()}
    assert dag["is_paused"] is False
    assert set(fields["page"]["enum"]) == {"digits", "hostile", "shoes"}
    assert fields["action"]["enum"] == ["rollback", "promote", "approve", "reject"]


@in_a_browser
def test_the_graph_of_the_run_is_green(place: Any, page: Page, picture: Keep) -> None:
    page.goto(place.run_page(TRAIN, approved(place)))
    page.get_by_role("button", name="Show Graph").click()
    for task in ("sweep", "record_decision", "announce_champion"):
        expect(page.locator(".react-flow__node").filter(has_text=task).filter(has_text="success")).to_be_visible()
    picture(page, "tour-run")
    leave(page)


# A night.


def test_the_new_champion_starts_the_scoring_and_every_url_gets_one_row(place: Any) -> None:
    (run,) = soon(lambda: place.runs_of_assets(SCORE))
    soon(lambda: place.airflow.run_state(SCORE, run) in FINISHED)
    assert place.airflow.run_state(SCORE, run) == "success"
    # Switching the DAG on, half a day after its hour, has started nothing.
    kinds = [one["run_type"] for one in place.airflow.get(f"/dags/{SCORE}/dagRuns", order_by="id")["dag_runs"]]
    assert kinds == ["manual", "asset_triggered"]
    result = place.airflow.result(SCORE, run, "score_images")
    assert (result["rows"], result["statuses"]["ok"]) == (123, 120)
    ((labelled,),) = place.events(run).values()
    assert (labelled["rows"], labelled["model_version"]) == (123, "1")
    assert place.link(SCORE, run, "score_images", "gallery").endswith("/artifacts/gallery.html")


def test_a_run_that_ends_well_has_no_note_and_nobody_is_told(place: Any) -> None:
    (run,) = place.runs_of_assets(SCORE)
    assert place.airflow.get(f"/dags/{SCORE}/dagRuns/{quote(run, safe='')}")["note"] is None
    assert not [text for text in place.told() if run in text]


@in_a_browser
def test_its_labels_are_seen(place: Any, page: Page, picture: Keep) -> None:
    page.goto(f"{place.stack.airflow}/")
    frame = windrow(page)
    expect(frame.locator("#champions")).to_contain_text("Version 1 of digits is champion")
    expect(frame.locator("#champions tbody tr").first).to_contain_text("approved by admin")
    expect(frame.locator("#scorings tbody tr")).to_have_count(1)
    expect(frame.locator("#scorings tbody")).to_contain_text("120 ok, 1 broken image, 1 http error, 1 not an image")
    shown = frame.locator("#labels img").first
    expect(shown).to_have_attribute("alt", re.compile(r"labelled \d, from http://127.0.0.1"))
    picture(page, "tour-page")
    frame.locator("#scorings").scroll_into_view_if_needed()
    frame.locator("#labels .gallery").first.scroll_into_view_if_needed()
    picture(page, "tour-labels")


@in_a_browser
def test_the_champions_accuracy_stands_next_to_that_of_guessing_and_its_weakest_class(place: Any, page: Page) -> None:
    shown = page.frame_locator("iframe").locator("#champions")
    expect(shown).to_contain_text(re.compile(r"test accuracy \d+\.\d+ % on 359 images, where guessing gives 10\.31 %"))
    heads, cells = shown.locator("thead th").all_inner_texts(), shown.locator("tbody tr").first.locator("th, td")
    row = dict(zip(heads, cells.all_inner_texts(), strict=True))
    assert float(row["Guessing"]) < float(row["Macro-F1"]) < 1
    assert re.fullmatch(r"[01]\.\d+, \d", row["Lowest recall"])


# A day again and a version again, which run while the person looks about.


def test_a_backfill_of_a_day_has_one_run(place: Any) -> None:
    """Of the last night's, whose file has one URL that is new and one that has its row."""
    from deltalake import DeltaTable

    known = DeltaTable(str(place.home / "tables" / "digits")).to_pandas()["url"].tolist()
    place.runs["known"] = known[0]
    late = place.home / "feeds" / "digits" / place.last_night / "late.txt"
    demo_feed.write_lines(late, ["ftp://127.0.0.1/late", known[0]])
    days = {"from_date": f"{place.last_night}T00:00:00Z", "to_date": f"{place.last_night}T23:59:59Z"}
    assert place.ask_as("admin", "POST", "/backfills", {"dag_id": SCORE, **days, "max_active_runs": 1}).ok
    assert [run["logical_date"][:10] for run in backfill(place)] == [place.last_night]


def backfill(place: Any) -> list[dict[str, Any]]:
    return place.airflow.get(f"/dags/{SCORE}/dagRuns", run_type="backfill")["dag_runs"]


def test_a_run_may_reproduce_a_version_instead(place: Any) -> None:
    place.runs["reproduction"] = place.airflow.trigger(TRAIN, {"reproduce": 1})
    soon(lambda: place.airflow.run_state(TRAIN, place.runs["reproduction"]) == "running")


@in_a_browser
def test_the_assets_are_data_set_champion_predictions_and_drift(place: Any, page: Page, picture: Keep) -> None:
    page.goto(f"{place.stack.airflow}/assets")
    link = page.get_by_role("link", name="digits_champion")
    # Not by a click, which is lost if the list is drawn again meanwhile.
    page.goto(urljoin(f"{place.stack.airflow}/", link.get_attribute("href") or ""))
    for name in ("digits_dataset", "digits_champion", "digits_predictions", "digits_drift", TRAIN, SCORE):
        expect(page.locator(".react-flow__node").filter(has_text=name)).to_be_visible()
    expect(page.get_by_text("1 Asset Event")).to_be_visible()
    picture(page, "tour-assets")


@in_a_browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_on_the_page_keeps_a_screen_reader_out(
    place: Any, page: Page, new_context: NewContext, theme: str
) -> None:
    login = page.context.storage_state()
    seen = new_context(storage_state=login, color_scheme=theme).new_page()
    seen.goto(f"{place.stack.airflow}/windrow/")
    for part in ("#leaderboard table", "#champions table", "#labels table"):
        expect(seen.locator(part)).to_be_visible()
    expect(seen.locator("html")).to_have_attribute("data-theme", theme)
    found = [fault for fault in Axe().run(seen).response["violations"] if fault["impact"] in ("serious", "critical")]
    seen.close()
    assert found == []


@in_a_browser
def test_all_of_the_page_is_reached_with_the_keyboard(place: Any, page: Page) -> None:
    page.goto(f"{place.stack.airflow}/windrow/")
    for part in ("#leaderboard", "#heat-map", "#champions", "#scorings", "#labels"):  # each arrives by itself
        expect(page.locator(f"{part} .scroll")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    for part in (
        *("#experiment", "#sweep", "#leaderboard .scroll", "#across", "#down"),
        *("#heat-map .scroll", "#champions .scroll", "#scorings .scroll", "#labels .scroll"),
    ):
        page.keyboard.press("Tab")
        expect(page.locator(part)).to_be_focused()
    before = page.locator("#heat-map caption").inner_text()
    page.locator("#across").press("ArrowDown")
    expect(page.locator("#heat-map caption")).not_to_have_text(before)
    leave(page)


def test_a_backfill_asks_the_urls_of_its_day_that_have_no_row(place: Any) -> None:
    from deltalake import DeltaTable

    soon(lambda: all(run["state"] in FINISHED for run in backfill(place)))
    (run,) = backfill(place)
    assert run["state"] == "success"
    asked = place.airflow.result(SCORE, run["dag_run_id"], "score_images")
    assert (asked["files"], asked["urls"], asked["rows"]) == (1, 2, 1)  # of the two files that the feed has
    urls = DeltaTable(str(place.home / "tables" / "digits")).to_pandas()["url"].tolist()
    assert (len(urls), urls.count("ftp://127.0.0.1/late"), urls.count(place.runs["known"])) == (124, 1, 1)


def test_a_version_is_trained_again_to_the_same_bits_and_nothing_else_is(place: Any) -> None:
    run = place.runs["reproduction"]
    soon(lambda: place.airflow.run_state(TRAIN, run) in FINISHED)
    states = place.states(TRAIN, run)
    assert states.pop("reproduce") == "success"
    assert set(states.values()) == {"skipped"}
    result = place.airflow.result(TRAIN, run, "reproduce")
    assert (result["model_name"], str(result["model_version"])) == ("digits", "1")
    assert result["bits_equal"] is True
    assert result["difference"] == pytest.approx(0, abs=1e-6)  # the record has six decimals
    assert place.aliases() == {"champion": "1"}


def test_what_is_switched_off_is_named_until_it_is_switched_on(place: Any) -> None:
    path = f"/api/dags/{TRAIN}/paused"
    assert "maintain_digits is paused; switch it on" in place.values(path)["sentence"]
    for dag in (TRAIN, SCORE, "maintain_digits"):
        place.airflow.unpause(dag)
    assert place.values(path)["sentence"] == ""


@pytest.mark.faults
def test_a_sweep_that_a_person_ends_is_stopped_at_once_on_the_page_in_mlflow_and_in_the_note(place: Any) -> None:
    place.airflow.unpause(TRAIN)
    run = place.airflow.trigger(TRAIN, {"sweep.trials": 400, "sweep.epochs": 500})
    path = f"/api/dags/{TRAIN}/sweep?run_id={quote(run, safe='')}"
    soon(lambda: place.values(path).get("training", 0) > 0)
    task = f"/dags/{TRAIN}/dagRuns/{quote(run, safe='')}/taskInstances/sweep"
    assert place.ask_as("admin", "PATCH", task, {"new_state": "failed"}).ok
    shown = soon(lambda: [found for found in [place.values(path)] if found["stopped"]])[0]
    assert shown["training"] == 0
    soon(lambda: place.airflow.run_state(TRAIN, run) == "failed")
    note = place.airflow.get(f"/dags/{TRAIN}/dagRuns/{quote(run, safe='')}")["note"]
    assert note == "sweep: admin marked it as failed; a cleared task continues where it can"
    soon(lambda: place.mlflow_states("sweep") == {"KILLED"})
    soon(lambda: place.mlflow_states("trial") <= {"KILLED", "FINISHED"})


def test_drift_starts_the_training_of_a_page_that_wants_it(place: Any) -> None:
    no_slot = place.ask_as("admin", "PATCH", "/pools/default_pool?update_mask=slots", {"slots": 0})
    assert no_slot.ok, no_slot.text  # so the run begins, and none of its tasks
    (drift,) = [asset for asset in place.airflow.get("/assets")["assets"] if asset["name"] == "digits_drift"]
    assert place.runs_of_assets(TRAIN) == []
    event = {"asset_id": drift["id"], "extra": {"psi_labels": 0.4}}
    assert place.ask_as("admin", "POST", "/assets/events", event).ok
    (run,) = soon(lambda: place.runs_of_assets(TRAIN))
    assert place.airflow.run_state(TRAIN, run) in ("queued", "running")


def test_the_stack_goes_without_a_trace(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDROW_HOME", str(place.home))
    before = stack.state().running()
    assert sorted(stack.stop()) == sorted(before)
    assert services.marked(place.home) == set()
    assert stack.stop() == []
