"""Run the DAGs of a page from the command line, and follow them: make train and make score.

    PYTHONPATH=jobs .venv/bin/python -m windrow.laptop.page.page_runs train --experiment shoes
    PYTHONPATH=jobs .venv/bin/python -m windrow.laptop.page.page_runs score --experiment shoes

The services are started if they are not running. `train` switches on train_NAME, and also score_NAME and maintain_NAME
if the feed has a file; `score` switches on the latter two. From then on they also run at the page's hours.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from windrow.dag_ids import KINDS, Kind, dag_id
from windrow.errors import UserError, WindrowError
from windrow.experiment.scoring import ScoringSection
from windrow.laptop import demo, demo_summary, stack, watch
from windrow.laptop.airflow_api import Airflow
from windrow.laptop.demo_request import DemoRequest, check_source, find, labels_with_own_champion
from windrow.laptop.page import feed_addresses
from windrow.laptop.watch import Reporter
from windrow.paths import home
from windrow.plural import counted
from windrow.scoring.feed import new_urls

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("train", "score"), help="train: data set, sweep, champion; score: label URLs")
    parser.add_argument("--experiment", required=True, metavar="NAME", help="a page in dags/experiments")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a value of the page")
    options = parser.parse_args(arguments)
    try:
        request = find(options.experiment, options.set)
        (check_train if options.kind == "train" else check_score)(request)
        reporter = Reporter()
        reporter.log("services: starting those that are not running")
        airflow = services()
        (train if options.kind == "train" else score)(airflow, request, reporter)
    except WindrowError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\ninterrupted; the services and the run continue; make stop ends them", file=sys.stderr)
        return _INTERRUPTED
    return 0


def check_train(request: DemoRequest) -> None:
    """Refuse a page that does not train, has no images, or whose new champion could label nothing of the feed.

    Raises:
        UserError: the page has no space, its folder of images is not there, or it does not allow the addresses in its
            feed.
    """
    if not request.page.trains:
        raise UserError(
            f"make train needs a page with a space; got {request.name}, which only scores; "
            f"run make score EXPERIMENT={request.name}"
        )
    check_source(request.page)
    if request.page.scoring is not None and not _without_feed(request):
        check_score(request)


def check_score(request: DemoRequest) -> None:
    """Refuse a page that does not score, whose feed has no file yet, or whose feed has only addresses not allowed.

    Raises:
        UserError: the page has no scoring section, no file matches its feed, or the page does not allow its addresses.
    """
    if request.page.scoring is None:
        raise UserError(
            f"make score needs a page with a section scoring; got {request.name} without; add it, with a feed"
        )
    feed_addresses.check(request.page.scoring, feed_files(request.page.scoring))


def feed_files(scoring: ScoringSection) -> list[Path]:
    """Return the files of a page's feed.

    Raises:
        UserError: there are none.
    """
    return new_urls.files(new_urls.of_day(scoring.feed, None), home())


def services() -> Airflow:
    """Start the services that are not running, and return a client of Airflow that is logged in.

    Raises:
        ServiceError: a service ended or does not answer.
    """
    running = stack.up()
    airflow = Airflow(running.airflow, stack.USER, running.password, running.airflow_pages)
    airflow.log_in()
    return airflow


def train(airflow: Airflow, request: DemoRequest, reporter: Reporter) -> None:
    """Switch the page's DAGs on, train, follow the scoring that a new champion starts, and print the results of both.

    Raises:
        WindrowError: a task has failed, or Airflow does not answer.
    """
    off = _without_feed(request)
    scores = request.page.scoring is not None and off is None
    kinds: tuple[Kind, ...] = KINDS if scores else ("train",)
    demo.wait_for_dags(airflow, [dag_id(kind, request.name) for kind in kinds])
    dag, since = dag_id("train", request.name), datetime.now(UTC).isoformat()
    run = airflow.trigger(dag, {"set": list(request.overrides)})
    reporter.log(f"{dag}: triggered, {airflow.pages}/dags/{dag}/runs/{run}")
    states = watch.wait(airflow, dag, run, reporter)
    sweep, promotion, decision = (
        airflow.result(dag, run, task) or {} for task in ("sweep", "promote_best", "record_decision")
    )
    final = promotion | decision
    print("\n".join(_trained(dag, sweep, final)))
    score_dag, by_hand = dag_id("score", request.name), f"make score EXPERIMENT={request.name}"
    if off:
        print(f"{score_dag} stays off: {off}; then run {by_hand}")
    elif not (scores and labels_with_own_champion(request.page)):
        return
    elif states.get("announce_champion") == "success":
        follow(airflow, request, demo.run_of_champion(airflow, score_dag, since), reporter)
    elif final.get("promoted") is False and final.get("champion_before") is None:
        print(f"{score_dag} was not started: there is no champion that could label")
    else:
        at_its_hour = "at the page's hour, or now " if request.page.scoring and request.page.scoring.schedule else ""
        print(f"{score_dag} was not started: the champion stays; it labels new URLs {at_its_hour}by {by_hand}")


def score(airflow: Airflow, request: DemoRequest, reporter: Reporter) -> None:
    """Switch the page's score and maintain DAGs on, label the feed, and print the result.

    Raises:
        WindrowError: the task has failed, or Airflow does not answer.
    """
    demo.wait_for_dags(airflow, [dag_id("score", request.name), dag_id("maintain", request.name)])
    run = airflow.trigger(dag_id("score", request.name), {"set": list(request.overrides)})
    follow(airflow, request, run, reporter)


def follow(airflow: Airflow, request: DemoRequest, run: str, reporter: Reporter) -> None:
    """Wait for a run of the page's score DAG, and print its counts and where the labels are.

    Raises:
        WindrowError: the task has failed, or Airflow does not answer.
    """
    dag = dag_id("score", request.name)
    reporter.log(f"{dag}: {airflow.pages}/dags/{dag}/runs/{run}")
    watch.wait(airflow, dag, run, reporter)
    result = airflow.result(dag, run, "score_images") or {}
    statuses = demo_summary.counts(result.get("statuses") or {})
    rows, known = counted(result.get("rows", 0), "row"), counted(result.get("already_scored", 0), "URL")
    print(f"{dag}: {rows} ({statuses}); {known} had theirs")
    print(f"  labels   {result.get('table', 'none')}; docs/table.md shows how to read them")


def _without_feed(request: DemoRequest) -> str | None:
    """Return why the page's scoring would fail now for lack of URLs; None if it would not, or nothing is scored."""
    if request.page.scoring is None:
        return None
    try:
        feed_files(request.page.scoring)
    except UserError as error:
        return str(error)
    return None


def _trained(dag: str, sweep: Mapping[str, Any], final: Mapping[str, Any]) -> list[str]:
    """Return the lines about a training: what was found and decided, hints, and the pages in MLflow."""
    trials, outcomes = counted(sweep.get("trials", 0), "trial"), demo_summary.counts(sweep.get("outcomes") or {})
    is_loss = sweep.get("objective") == "val_loss"  # the baseline is an accuracy, or a macro-F1
    guessing = f", guessing {demo_summary.number(sweep['baseline'])}" if "baseline" in sweep and not is_loss else ""
    best, reason = demo_summary.number(sweep.get("best_value")), str(final.get("reason"))
    pages = demo_summary.addresses(sweep, final)
    return [
        f"{dag}: {trials} ({outcomes}), best {sweep.get('objective')} {best}{guessing}",
        f"  version  {final.get('model_version')}: {reason}",
        *(f"  hint     {hint}" for hint in final.get("hints") or [] if hint not in reason),
        *(demo_summary.links({"links": pages}, "") if pages else []),
    ]


if __name__ == "__main__":
    sys.exit(main())
