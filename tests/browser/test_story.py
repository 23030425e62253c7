"""One person's way through the real Airflow and MLflow, from the login to the labels, and what others may not do.

The chapters need each other, in this order, and one stack: that is why they are one file.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, FrameLocator, Locator, Page, expect
from windrow.laptop import feed

pytestmark = [
    pytest.mark.browser,
    pytest.mark.stack,
    pytest.mark.airflow,
    pytest.mark.spark,
    pytest.mark.tensorflow,
    pytest.mark.mlflow,
    pytest.mark.timeout(900),
]

TRIALS = 12 if os.environ.get("WINDROW_PICTURES") else 4  # a picture of four trials shows little
TRAIN, SCORE = "train_digits", "score_digits"
MINUTES = 60_000.0
"""In the browser's milliseconds."""

Keep = Callable[[Page, str], None]
NewContext = Callable[..., BrowserContext]


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


@pytest.fixture(scope="module")
def runs(place: Any) -> dict[str, str]:
    """Ids of the runs that the story has begun there, by DAG."""
    return {}


def log_in(page: Page, place: Any, user: str) -> None:
    page.goto(f"{place.stack.airflow}/")
    page.get_by_role("textbox", name="Username").fill(user)
    page.get_by_role("textbox", name="Password").fill(place.passwords[user])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Welcome")).to_be_visible()


def open_form(page: Page, place: Any) -> Locator:
    page.goto(f"{place.stack.airflow}/dags/{TRAIN}")
    page.get_by_role("button", name="Trigger Dag").click()
    form = page.get_by_role("dialog")
    expect(form.get_by_role("button", name="Reproduce")).to_be_visible()
    page.wait_for_load_state("networkidle")  # the form is drawn again when the DAG's own values have come
    return form


def open_section(form: Locator, name: str) -> None:
    button = form.get_by_role("button", name=name, exact=True)
    button.click()
    expect(button).to_have_attribute("aria-expanded", "true")


def trigger(form: Locator) -> str:
    """The id of the run, whose page Airflow then shows."""
    form.get_by_role("button", name="Trigger", exact=True).click()
    page = form.page
    expect(page).to_have_url(re.compile("/runs/manual__"))
    return unquote(page.url.partition("/runs/")[2].partition("/")[0])


def windrow(page: Page) -> FrameLocator:
    """The page, from Airflow's navigation."""
    page.get_by_role("link", name="Windrow").first.click()
    return page.frame_locator("iframe")


def rows(frame: FrameLocator) -> Locator:
    return frame.locator("#leaderboard tbody tr")


def wait_for(condition: Callable[[], bool], seconds: float = 300) -> None:
    """What only an API or a log tells."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.3)


def test_a_stranger_is_sent_to_the_login_and_gets_nothing_of_the_page(place: Any, new_context: NewContext) -> None:
    page = new_context().new_page()
    assert page.goto(f"{place.stack.airflow}/windrow/").status == 401  # type: ignore[union-attr]
    page.goto(f"{place.stack.airflow}/plugin/windrow")
    expect(page.get_by_role("heading", name="Sign into Airflow")).to_be_visible()


def test_after_the_login_the_navigation_offers_windrow(place: Any, page: Page) -> None:
    log_in(page, place, "admin")
    frame = windrow(page)
    expect(frame.get_by_role("heading", name="Windrow", exact=True)).to_be_visible()
    expect(frame.locator("#progress")).to_contain_text(f"Trigger {TRAIN}")


def test_the_form_has_sections_with_titled_fields_and_their_help(place: Any, page: Page, picture: Keep) -> None:
    form = open_form(page, place)
    for section in ("Sweep", "Limits", "Data", "Promotion", "Anything else", "Reproduce"):
        expect(form.get_by_role("button", name=section, exact=True)).to_be_visible()
    open_section(form, "Sweep")
    sweep = form.get_by_role("region", name="Sweep")
    expect(sweep.get_by_label("Trials")).to_have_value("12")
    expect(sweep).to_contain_text("points to train (sweep.trials)")
    expect(sweep).to_contain_text("what stops poor trials early: none, asha")
    sweep.get_by_label("Objective").scroll_into_view_if_needed()
    picture(page, "tour-form")


def test_a_field_takes_neither_text_nor_a_number_out_of_its_range(page: Page) -> None:
    trials = page.get_by_role("dialog").get_by_label("Trials")
    trials.fill("0")
    trials.blur()
    expect(trials).to_have_value("1")
    trials.press("Control+A")
    trials.press_sequentially("many")
    expect(trials).to_have_value(re.compile("^[0-9]*$"))


def test_an_override_that_is_none_is_refused_and_starts_nothing(place: Any, page: Page) -> None:
    form = open_form(page, place)
    open_section(form, "Anything else")
    form.get_by_placeholder("Enter each string on a new line").fill("network.builder cnn")
    form.get_by_role("button", name="Trigger", exact=True).click()
    expect(form).to_contain_text("'network.builder cnn' does not match")
    assert place.airflow.get(f"/dags/{TRAIN}/dagRuns")["dag_runs"] == []


def test_values_that_do_not_go_together_end_the_run_with_one_sentence(place: Any, page: Page, web_hook: Any) -> None:
    form = open_form(page, place)
    open_section(form, "Sweep")
    form.get_by_label("Epochs").fill("1")
    form.get_by_label("Epochs").blur()
    form.get_by_label("Pruner").click()
    page.get_by_role("option", name="asha").click()
    run = trigger(form)
    wait_for(lambda: place.airflow.run_state(TRAIN, run) == "failed")
    page.goto(place.run_page(TRAIN, run, "/tasks/prepare_dataset"))
    log = page.get_by_role("code").filter(has_text="Task failed with exception").first
    expect(log).to_contain_text(
        "sweep.pruner: must be none where a trial has one epoch, so nothing to prune; got 'asha'"
    )
    expect(log).not_to_contain_text("Spark-Submit cmd")
    assert "must be none where a trial has one epoch" in place.airflow.get(f"/dags/{TRAIN}/dagRuns/{run}")["note"]
    assert "task prepare_dataset has failed" in web_hook.posts[0]["text"]


def test_a_run_is_triggered_from_the_form(place: Any, page: Page, runs: dict[str, str]) -> None:
    place.airflow.unpause(SCORE)
    form = open_form(page, place)
    open_section(form, "Sweep")
    form.get_by_label("Trials").fill(str(TRIALS))
    form.get_by_label("Trials").blur()
    runs[TRAIN] = trigger(form)


def test_the_page_fills_by_itself_while_the_sweep_runs(page: Page, runs: dict[str, str], picture: Keep) -> None:
    frame = windrow(page)
    expect(frame.locator("#state")).to_have_text("running", timeout=2 * MINUTES)
    expect(rows(frame).nth(TRIALS // 2 - 1)).to_be_visible(timeout=2 * MINUTES)
    expect(frame.locator("#news")).to_contain_text("New best")
    picture(page, "tour-sweep")
    expect(frame.locator("#state")).to_have_text("all trials have ended", timeout=2 * MINUTES)
    expect(frame.locator("#news")).to_contain_text(f"The sweep has ended: {TRIALS} trials.")
    expect(rows(frame)).to_have_count(TRIALS)


def test_the_tab_of_the_run_shows_the_same_sweep(place: Any, page: Page, runs: dict[str, str]) -> None:
    known = rows(page.frame_locator("iframe")).all_inner_texts()
    page.goto(place.run_page(TRAIN, runs[TRAIN]))
    page.get_by_role("link", name="Windrow").last.click()
    expect(page).to_have_url(re.compile("/plugin/windrow_run$"))
    expect(rows(page.frame_locator("iframe"))).to_have_text(known, use_inner_text=True)


def test_the_tasks_links_lead_to_the_sweep_and_its_trials_in_mlflow(
    place: Any, page: Page, runs: dict[str, str], picture: Keep
) -> None:
    wait_for(lambda: place.states(TRAIN, runs[TRAIN])["sweep"] == "success")
    page.goto(place.run_page(TRAIN, runs[TRAIN], "/tasks/sweep/details"))
    record = follow(page, "MLflow run")
    expect(record.get_by_role("heading", name="sweep digits").first).to_be_visible()
    expect(record.get_by_text(f"trial {TRIALS - 1}", exact=True).first).to_be_visible()
    compared = follow(page, "Compare the best")
    expect(compared.get_by_role("heading", name="Comparing")).to_be_visible()
    expect(compared.get_by_text("trial 1", exact=True).first).to_be_visible()
    compared.get_by_role("button", name="Close", exact=True).click()  # MLflow's assistant, which takes a third
    picture(compared, "tour-trials")


def follow(page: Page, link: str) -> Page:
    """The page that a link of a task opens beside this one."""
    with page.context.expect_page() as opened:
        page.get_by_role("link", name=link).click()
    return opened.value


def test_a_person_approves_under_required_actions(place: Any, page: Page, runs: dict[str, str], picture: Keep) -> None:
    wait_for(lambda: place.has_parked(runs[TRAIN], "approve_champion"))
    page.goto(f"{place.stack.airflow}/")
    page.get_by_role("button", name="Required Actions").click()
    page.get_by_role("dialog").get_by_role("link", name="approve_champion").click()
    expect(page).to_have_url(re.compile("/approve_champion/required_actions$"))
    expect(page.get_by_role("link", name="Required Action (1)")).to_be_visible()
    expect(page.get_by_text("may version 1 of digits become its champion?")).to_be_visible()
    expect(page.get_by_role("cell", name="challenger, trial")).to_be_visible()
    picture(page, "tour-approval")
    page.get_by_role("button", name="Approve").click()
    wait_for(lambda: place.airflow.run_state(TRAIN, runs[TRAIN]) == "success")
    page.goto(place.run_page(TRAIN, runs[TRAIN]))
    page.get_by_role("button", name="Show Graph").click()
    for task in ("sweep", "record_decision", "announce_champion"):
        expect(page.locator(".react-flow__node").filter(has_text=task).filter(has_text="success")).to_be_visible()
    picture(page, "tour-run")


def test_the_new_champion_starts_the_scoring_and_its_labels_are_seen(place: Any, page: Page, picture: Keep) -> None:
    wait_for(lambda: bool(place.runs_of_assets(SCORE)))
    # Switching the DAG on, half a day after its hour, has started nothing.
    assert [run["run_type"] for run in place.airflow.get(f"/dags/{SCORE}/dagRuns")["dag_runs"]] == ["asset_triggered"]
    wait_for(lambda: place.airflow.run_state(SCORE, place.runs_of_assets(SCORE)[0]) == "success")
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


def test_the_web_hook_was_told_of_the_run_that_was_late(runs: dict[str, str], web_hook: Any) -> None:
    late = f"{TRAIN}: run {runs[TRAIN]} has not ended 1 min after it was queued"
    wait_for(lambda: late in [post["text"] for post in web_hook.posts])


def test_the_assets_are_data_set_champion_predictions_and_drift(place: Any, page: Page, picture: Keep) -> None:
    page.goto(f"{place.stack.airflow}/assets")
    page.get_by_role("link", name="digits_champion").click()
    for name in ("digits_dataset", "digits_champion", "digits_predictions", "digits_drift", TRAIN, SCORE):
        expect(page.locator(".react-flow__node").filter(has_text=name)).to_be_visible()
    expect(page.get_by_text("1 Asset Event")).to_be_visible()
    picture(page, "tour-assets")


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
    assert found == []


def test_all_of_the_page_is_reached_with_the_keyboard(place: Any, page: Page) -> None:
    page.goto(f"{place.stack.airflow}/windrow/")
    expect(page.locator("#labels table")).to_be_visible()
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


def test_a_viewer_reads_the_page(place: Any, viewer: Page) -> None:
    frame = windrow(viewer)
    expect(rows(frame)).to_have_count(TRIALS)
    expect(frame.locator("#labels img").first).to_be_visible()


def test_a_viewer_can_trigger_nothing(place: Any, viewer: Page) -> None:
    before = place.airflow.get(f"/dags/{TRAIN}/dagRuns")["total_entries"]
    form = open_form(viewer, place)
    button = form.get_by_role("button", name="Trigger", exact=True)
    button.click()
    expect(form).to_contain_text("Forbidden")
    expect(button).to_be_disabled()
    assert place.ask_as("viewer", "POST", f"/dags/{TRAIN}/dagRuns", {"logical_date": None}).status_code == 403
    assert place.ask_as("viewer", "PATCH", f"/dags/{TRAIN}", {"is_paused": True}).status_code == 403
    assert place.airflow.get(f"/dags/{TRAIN}/dagRuns")["total_entries"] == before


def test_a_backfill_asks_the_urls_of_its_days_that_have_no_row(place: Any) -> None:
    from deltalake import DeltaTable

    table = DeltaTable(str(place.home / "tables" / "digits"))
    before = table.to_pandas()["url"].tolist()
    late = place.home / "feeds" / "digits" / "2026-11-06" / "late.txt"
    feed.write_lines(late, ["ftp://127.0.0.1/late", before[0]])
    days = {"from_date": "2026-11-05T00:00:00Z", "to_date": "2026-11-06T23:59:59Z", "max_active_runs": 1}
    assert place.ask_as("admin", "POST", "/backfills", {"dag_id": SCORE, **days}).ok
    wait_for(lambda: [state for _, state in backfilled(place)] == ["success", "success"])
    asked = [place.airflow.result(SCORE, run, "score_images") for run, _ in backfilled(place)]
    assert [result["files"] for result in asked] == [1, 1]  # of the two that the feed has
    # Airflow also runs the night that was due last. Whichever comes first asks the new URL, and the other one does not.
    table.update_incremental()
    assert sorted(table.to_pandas()["url"]) == sorted([*before, "ftp://127.0.0.1/late"])


def backfilled(place: Any) -> list[tuple[str, str]]:
    """(run, state) of the backfill's runs, by their day."""
    runs = place.airflow.get(f"/dags/{SCORE}/dagRuns", run_type="backfill", order_by="logical_date")["dag_runs"]
    return [(run["dag_run_id"], run["state"]) for run in runs]


def test_drift_starts_the_training_of_a_page_that_wants_it(place: Any) -> None:
    (drift,) = [asset for asset in place.airflow.get("/assets")["assets"] if asset["name"] == "digits_drift"]
    event = {"asset_id": drift["id"], "extra": {"psi_labels": 0.4}}
    assert place.ask_as("admin", "POST", "/assets/events", event).ok
    wait_for(lambda: bool(place.runs_of_assets(TRAIN)))
    assert place.airflow.run_state(TRAIN, place.runs_of_assets(TRAIN)[0]) in ("queued", "running")
