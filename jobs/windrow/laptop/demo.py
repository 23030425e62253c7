"""Run everything once: services, data set, feed, train DAG, champion, score DAG, summary.

    make demo
    make demo EXPERIMENT=mnist SET="dataset.source=../data/mnist sweep.trials=4"

A second demo of the same page and overrides finds the champion of the first and only scores again, which adds no rows.
The services stay up until make stop.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from windrow import dag_ids
from windrow.dag_ids import KINDS, dag_id
from windrow.errors import EXIT_FAILURE, ServiceError, WindrowError
from windrow.files import write_json
from windrow.laptop import demo_feed, demo_summary, services, stack, watch
from windrow.laptop.airflow_api import FINISHED, Airflow
from windrow.laptop.demo_request import DemoRequest, check, find
from windrow.laptop.peak_memory import PeakMemory
from windrow.laptop.stack import Stack
from windrow.laptop.watch import Reporter
from windrow.paths import REPOSITORY, home

_PARSE_SECONDS = 90
_ASSET_SECONDS = 90
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None, run: Callable[[DemoRequest, Reporter], None] | None = None) -> int:
    """Run the demo of the requested page, and return the exit code.

    Args:
        arguments: the command line.
        run: runs the demo, in place of `run_here`.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment", default="digits", metavar="NAME", help="a page in dags/experiments")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a value of the page")
    options = parser.parse_args(arguments)
    reporter = Reporter(started=float(os.environ.get("WINDROW_STARTED") or time.time()))
    try:
        request = find(options.experiment, options.set)
        check(request)
        (run or run_here)(request, reporter)
    except WindrowError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"error: {error.strerror or error}: {error.filename or 'no file named'}", file=sys.stderr)
        return EXIT_FAILURE
    except KeyboardInterrupt:
        print("\ninterrupted; the services and the DAG run continue; make stop or make down ends them", file=sys.stderr)
        return _INTERRUPTED
    return 0


def run_here(request: DemoRequest, reporter: Reporter) -> None:
    """Run the demo on this machine.

    Raises:
        WindrowError: the services or tasks have failed, or the table has problems.
    """
    set_up_seconds = reporter.seconds
    reporter.log("services: starting MLflow, Airflow and the image server")
    running = stack.up()
    with PeakMemory(_processes) as memory:
        values = play(request, running, reporter)
    values |= {"set_up_seconds": round(set_up_seconds, 1)}
    values |= {"peak_bytes": memory.bytes, "peak_processes": memory.largest}
    finish(request, running, values)


def play(request: DemoRequest, running: Stack, reporter: Reporter) -> dict[str, object]:
    """Run the demo on a stack that is up, and return its figures.

    Raises:
        WindrowError: the services or tasks have failed.
    """
    airflow = Airflow(running.airflow, stack.USER, running.password, running.airflow_pages)
    airflow.log_in()
    reporter.log(f"services: up; Airflow {running.airflow_pages}, MLflow {running.mlflow_pages}")
    if request.page.scoring is not None:
        prepare_feed(request, running, reporter)
    wait_for_dags(airflow, _dags(request))
    trained, promoted, since = train(airflow, running, request, reporter)
    scored = score(airflow, request, since if promoted else None, reporter) if request.page.scoring else None
    return collect(airflow, running, request, trained, scored) | {"seconds": round(reporter.seconds, 1)}


def finish(
    request: DemoRequest, running: Stack, values: dict[str, object], unpause: str = dag_ids.LAPTOP_UNPAUSE
) -> None:
    """Write the figures to a file, and print them; `unpause` is the stack's command that switches on a DAG.

    Raises:
        ServiceError: the table does not have exactly one row per URL.
    """
    write_json(home() / "demo" / request.name / "summary.json", values)
    _print(request, running, values, unpause)
    if values.get("problem"):
        raise ServiceError(str(values["problem"]))


def _processes() -> set[psutil.Process]:
    """Return all processes of the demo, each once: services that this demo has started are also its children."""
    own = psutil.Process()
    noted = stack.state().running().values()
    return {own, *own.children(recursive=True), *(process for service in noted for process in services.tree(service))}


def prepare_feed(request: DemoRequest, running: Stack, reporter: Reporter) -> None:
    """Prepare the data set for the image server, as the train DAG will, and write the feed.

    Raises:
        ServiceError: the data set could not be prepared.
    """
    out = demo_feed.dataset_folder(home(), request.name)
    spark_submit = str(Path(sys.executable).with_name("spark-submit"))
    overrides = [text for override in request.overrides for text in ("--set", override)]
    command = [
        *(spark_submit, "--master", "local[*]", str(REPOSITORY / "jobs" / "prepare_dataset.py")),
        *("--experiment", str(request.path), "--out", str(out), *overrides),
    ]
    log = home() / "log" / "demo-dataset.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        variables = {**os.environ, **running.variables}
        code = subprocess.run(command, env=variables, stdin=subprocess.DEVNULL, stdout=output, stderr=output).returncode
    if code != 0:
        text = log.read_text(encoding="utf-8", errors="replace").splitlines()
        raise ServiceError(
            f"the data set must be prepared; got {watch.reason(text).removeprefix('error: ')} (log: {log})"
        )
    truth = demo_feed.write(home(), request.name, running.images)
    reporter.log(f"feed: {len(truth)} test images as URLs, and some that are broken")


def _dags(request: DemoRequest) -> list[str]:
    return [dag_id("train", request.name), *([dag_id("score", request.name)] if request.page.scoring else [])]


def wait_for_dags(airflow: Airflow, dags: Sequence[str]) -> None:
    """Wait until Airflow has parsed these DAGs, and unpause them.

    Raises:
        ServiceError: Airflow takes too long, or a DAG file can't be imported.
    """
    end = time.monotonic() + _PARSE_SECONDS
    while missing := [dag for dag in dags if not airflow.has_dag(dag)]:
        errors = airflow.import_errors()
        if errors:
            raise ServiceError("\n  ".join(["every DAG file must import; got", *map(": ".join, errors.items())]))
        if time.monotonic() > end:
            raise ServiceError(f"Airflow must find {', '.join(missing)} within {_PARSE_SECONDS} s; see {home()}/log")
        time.sleep(1)
    for dag in dags:
        airflow.unpause(dag)


def train(airflow: Airflow, running: Stack, request: DemoRequest, reporter: Reporter) -> tuple[str, bool, str]:
    """Train the requested page, or use the run of an earlier demo of the same request that succeeded or still runs.

    Returns:
        The id of the successful run, True if it has just announced a champion, and the ISO moment of its start.
    """
    dag = dag_id("train", request.name)
    file = home() / "demo" / request.name / "last.json"
    last = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    state = airflow.run_state(dag, last["run"]) if last.get("key") == request.key() else None
    if state == "success" and demo_summary.read_champion(running.mlflow, request.page.model_name) is not None:
        reporter.log(f"{dag}: already trained by an earlier demo, run {last['run']}")
        return last["run"], False, last["since"]
    if state is None or state in FINISHED:
        since = datetime.now(UTC).isoformat()
        last = {"key": request.key(), "since": since, "run": airflow.trigger(dag, {"set": list(request.overrides)})}
        write_json(file, last)
    reporter.log(f"{dag}: {'triggered' if state is None or state in FINISHED else 'still running'}, run {last['run']}")
    states = watch.wait(airflow, dag, last["run"], reporter)
    return last["run"], states.get("announce_champion") == "success", last["since"]


def score(airflow: Airflow, request: DemoRequest, since: str | None, reporter: Reporter) -> str:
    """Wait until a scoring run has succeeded, and return the run's id.

    With `since`, an ISO moment, this is the run that a new champion has triggered since then. With None, start a run.
    """
    dag = dag_id("score", request.name)
    if since is None:
        run_id = airflow.trigger(dag, {"set": list(request.overrides)})
        reporter.log(f"{dag}: triggered by hand, because the champion has not changed; run {run_id}")
    else:
        run_id = run_of_champion(airflow, dag, since)
        reporter.log(f"{dag}: triggered by the new champion, run {run_id}")
    watch.wait(airflow, dag, run_id, reporter)
    return run_id


def run_of_champion(airflow: Airflow, dag: str, since: str) -> str:
    """Wait for the run of a score DAG that a new champion has triggered since an ISO moment, and return its id.

    Raises:
        ServiceError: the run does not begin within _ASSET_SECONDS.
    """
    end = time.monotonic() + _ASSET_SECONDS
    while not (runs := airflow.runs_since(dag, since, "asset_triggered")):
        if time.monotonic() > end:
            raise ServiceError(
                f"the new champion must trigger {dag} within {_ASSET_SECONDS} s; it did not; run make doctor"
            )
        time.sleep(1)
    return runs[-1]


def collect(
    airflow: Airflow, running: Stack, request: DemoRequest, trained: str, scored: str | None
) -> dict[str, object]:
    """Return the figures of the summary.

    Raises:
        ServiceError: the registry has no champion, or the predictions table can't be read.
    """
    dag = dag_id("train", request.name)
    sweep, promotion, decision = (
        airflow.result(dag, trained, task) or {} for task in ("sweep", "promote_best", "record_decision")
    )
    champion = demo_summary.read_champion(running.mlflow, request.page.model_name)
    if champion is None:
        raise ServiceError(
            f"the registry must have {request.page.model_name}@champion; it has no champion; see {running.mlflow_pages}"
        )
    labels = None
    if scored is not None:
        result = airflow.result(dag_id("score", request.name), scored, "score_images") or {}
        truth = demo_feed.read_truth(home(), request.name)
        labels = demo_summary.judge(demo_summary.read_table(result["table"]), truth["reachable"], truth["broken"])
    known = [dag_id(kind, request.name) for kind in KINDS if request.page.scoring or kind == "train"]
    return demo_summary.figures(sweep, decision or promotion, champion, labels) | {"paused": airflow.paused(known)}


def _print(request: DemoRequest, running: Stack, values: dict[str, object], unpause: str) -> None:
    print(f"\n{request.name}: done\n" + "\n".join(demo_summary.lines(values, unpause)))
    set_up = f", set-up {values['set_up_seconds']:.0f} s" if "set_up_seconds" in values else ""
    print(f"  {'time':18} {values['seconds']:.0f} s{set_up}")
    if "peak_bytes" in values:
        print(f"  {'peak memory':18} {int(str(values['peak_bytes'])) / 1024**3:.1f} GiB, all processes")
    print(f"\n  Airflow  {running.airflow_pages}  login {stack.USER} / {running.password}")
    print("\n".join(demo_summary.links(values, running.mlflow_pages)))
    print(f"  Both run until {running.ended_by}.")


if __name__ == "__main__":
    sys.exit(main())
