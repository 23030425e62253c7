"""SparkJob in a real Airflow with the real spark-submit: results, exit codes, connections, and what is left behind.

A spark-submit costs seconds, so one task's tries end in all the ways that a job can end, and one starts Spark itself.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from harness.waiting import wait_for

pytestmark = [pytest.mark.airflow, pytest.mark.submit]

DAGS = '''
"""DAGs for the tests of SparkJob in Airflow."""

from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, Asset
from windrow_spark import SparkJob

HERE = Path(__file__).parent

def job(task_id, script, **more):
    return SparkJob(task_id=task_id, job=str(HERE / "jobs" / script), **more)

defaults = {"retries": 1, "retry_delay": timedelta(0), "owner": "tests", "trigger_rule": "all_done"}
settings = {"default_args": defaults, "schedule": None}

params = {"sweep.trials": 3, "network.builder": "o'brien \\\\ {{ }} \\"é\\"", "reproduce": 7, "set": ["a.b=1"]}
params |= {"limit": 3, "rescore": True, "dry_run": False, "date": "2026-11-06"}
chosen = {"options": ("limit", "rescore", "dry_run")}
with DAG("contract", params=params, **settings) as contract:
    arguments = {"out": "{{ dag.dag_id }}/x y", "feed": ["a", "b"], "none": None, "date": "{{ params.date or '' }}"}
    job("done", "done", arguments=arguments, conn_id="spark_tuned", driver_memory="512m", **chosen)
    job("fails", "fails", driver_memory="512m", retries=9)
    told = {"approve": "{{ '7' if params.reproduce else '' }}", "reject": "{{ '' if params.reproduce else '7' }}"}
    job("unconnected", "done", arguments=told, overrides=False, conn_id="no_such_connection")
    job("cluster", "done", conn_id="spark_cluster")
    job("untuned", "done", conn_id="spark_untuned")
    skips = job("skips", "skips", outlets=[Asset("labels")])
    SparkJob(task_id="wrong_form", job="done", arguments={"experiment": str(HERE / "page.yml")}, **chosen)
    slow = {"experiment": str(HERE / "slow.yml")}
    SparkJob(task_id="slow", job="done", arguments=slow, execution_timeout=timedelta(seconds=1), retries=0)
    skips >> [task for task in contract.tasks if task is not skips]  # a note starts with the oldest reason

with DAG("endless", **settings):
    job("endless", "endless", execution_timeout=timedelta(minutes=15), driver_memory="512m", retries=0)
'''

JOBS = {
    "done": """
import json, os, sys
from pyspark import SparkContext
with SparkContext(appName="tests") as context:
    assert context.parallelize([1, 2]).sum() == 3
    limit = context.getConf().get("spark.task.maxFailures")
print("first line", flush=True)
print("    indented", flush=True)
print("wörds", b"\\xff".decode("latin-1"))
result = {"arguments": sys.argv[1:-2], "environment": dict(os.environ), "folder": os.getcwd(), "limit": limit}
result["links"] = {"mlflow_run": "http://m/1"}
assert sys.argv[-2] == "--result"
open(sys.argv[-1], "w").write(json.dumps(result))
""",
    "fails": """
import os, signal, sys
tried = int(os.environ["AIRFLOW_CTX_TRY_NUMBER"])
if tried == 1:
    os.kill(os.getpid(), signal.SIGKILL)
if tried == 2:
    print("so far so good", flush=True)
    os._exit(77)
if tried == 3:
    sys.exit("error: MLflow must answer; got nothing from http://m; start it")
print("error: page.yaml: 2 mistakes", file=sys.stderr)
print("  sweep.trials (line 3): must be above 0; got 0", file=sys.stderr)
print("  name: is required", file=sys.stderr)
sys.exit(2)
""",
    "skips": """
import sys
open(sys.argv[-1], "w").write('{"skipped": "there is no champion yet"}')
""",
    "endless": """
import os, signal, subprocess, sys, time
from pathlib import Path
from pyspark import SparkContext
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pids = Path(os.environ["PIDS"])
def write(name, pid): (pids / f"{name}-{pid}").touch()
def work(_):
    write("worker", os.getpid())
    write("child", subprocess.Popen(["sleep", "1000"]).pid)
    time.sleep(1000)
    yield 1
context = SparkContext(appName="tests")
write("driver", os.getpid())
write("jvm", os.getppid())
context.parallelize(range(2), 2).mapPartitions(work).collect()
""",
}


def folder_with(tmp_path: Path) -> Path:
    folder = tmp_path / "contract"
    (folder / "jobs").mkdir(parents=True)
    (folder / "contract.py").write_text(DAGS)
    (folder / ".airflowignore").write_text("jobs/\n")
    (folder / "page.yml").write_text("name: tests\nspace: {units: {type: int, low: 1, high: 2}}\n")
    os.mkfifo(folder / "slow.yml")  # as a page on a disk that does not answer
    for name, text in JOBS.items():
        (folder / "jobs" / f"{name}.py").write_text(text)
    return folder


@pytest.fixture(scope="module")
def contract(airflow: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One run of all tasks of the DAG `contract`, which run whatever becomes of the others."""
    cluster = json.dumps({"conn_type": "spark", "host": "local[2]", "extra": {"deploy-mode": "cluster"}})
    tuned = {"conn_type": "spark", "host": "local[2]", "extra": {"conf": {"spark.task.maxFailures": "9"}}}
    return airflow.run(
        folder_with(tmp_path_factory.mktemp("spark")),
        "contract",
        AIRFLOW_CONN_SPARK_CLUSTER=cluster,
        AIRFLOW_CONN_SPARK_TUNED=json.dumps(tuned),
        AIRFLOW_CONN_SPARK_UNTUNED=json.dumps({**tuned, "extra": {"conf": "spark.task.maxFailures=9"}}),
    )


def result_of(contract: Any) -> dict[str, Any]:
    return contract.tasks["done"]["xcoms"]["return_value"]


def test_the_result_file_becomes_the_xcom(contract: Any) -> None:
    assert contract.tasks["done"]["state"] == "success"
    assert result_of(contract)["links"] == {"mlflow_run": "http://m/1"}


def test_arguments_are_rendered_strings_and_params_become_options_or_overrides(contract: Any) -> None:
    assert result_of(contract)["arguments"] == [
        *("--out", "contract/x y", "--feed", "a", "--feed", "b", "--date", "2026-11-06", "--limit", "3", "--rescore"),
        *("--set", "sweep.trials=3", "--set", 'network.builder="o\'brien \\\\ {{ }} \\"é\\""', "--set", "a.b=1"),
    ]


def test_a_job_without_a_page_gets_its_arguments_alone_and_of_those_what_is_not_empty(contract: Any) -> None:
    assert contract.tasks["unconnected"]["fields"]["application_args"] in (["--approve", "7"], "['--approve', '7']")


def test_the_command_line_is_among_the_rendered_fields(contract: Any) -> None:
    shown = contract.tasks["done"]["fields"]
    assert "sweep.trials=3" in shown["application_args"]
    assert shown["name"] == "windrow contract done"


def test_the_job_runs_in_this_python_with_the_package_on_its_path(contract: Any, airflow: Any) -> None:
    environment = result_of(contract)["environment"]
    assert environment["PYSPARK_PYTHON"] == sys.executable
    assert str(Path(__file__).parents[2] / "jobs") in environment["PYTHONPATH"].split(os.pathsep)
    assert environment["WINDROW_HOME"] == result_of(contract)["folder"] == airflow.environment["WINDROW_HOME"]
    assert environment["AIRFLOW_CTX_TASK_ID"] == "done"


def test_the_output_is_in_the_task_log_without_sparks_own_noise(contract: Any) -> None:
    assert "first line" in contract.log
    assert "]     indented" in contract.log
    assert "wörds ÿ" in contract.log
    for noise in ("NativeCodeLoader", "INFO SparkContext", "log4j profile", "ShutdownHookManager"):
        assert noise not in contract.log


def test_links_of_the_result_stand_on_the_task_and_absent_ones_are_empty(contract: Any) -> None:
    links = {key: value for key, value in contract.tasks["done"]["xcoms"].items() if key.startswith("_link_")}
    empty = dict.fromkeys(("compare", "model_version", "atlas", "gallery"), "")
    assert links == {f"_link_{key}": address for key, address in {"mlflow_run": "http://m/1", **empty}.items()}


def test_exit_code_1_is_tried_again_and_exit_code_2_is_not(contract: Any) -> None:
    assert (contract.tasks["fails"]["state"], contract.tasks["fails"]["tries"]) == ("failed", 4)  # of ten


def test_a_job_that_was_killed_hints_at_the_memory(contract: Any) -> None:
    assert "AirflowException: fails was killed from outside; the machine may be out of memory" in contract.log


def test_a_job_that_dies_without_a_word_is_reported_with_its_last_line(contract: Any) -> None:
    assert "fails gave no reason and exit code 77; its last line: so far so good" in contract.log


def test_exit_code_1_says_why(contract: Any) -> None:
    assert "AirflowException: MLflow must answer; got nothing from http://m; start it" in contract.log


def test_exit_code_2_says_every_mistake(contract: Any) -> None:
    message = "page.yaml: 2 mistakes\\n  sweep.trials (line 3): must be above 0; got 0\\n  name: is required"
    assert message in contract.log.replace("\n", "\\n")
    assert contract.tasks["fails"]["xcoms"]["cause"] == message.replace("\\n", "\n")


def test_a_job_that_had_nothing_to_work_with_is_skipped_with_its_reason(contract: Any) -> None:
    assert (contract.tasks["skips"]["state"], contract.tasks["skips"]["tries"]) == ("skipped", 1)
    assert contract.tasks["skips"]["xcoms"]["cause"] == "there is no champion yet"
    assert contract.events == []


def test_the_reason_is_in_the_runs_note(contract: Any) -> None:
    assert contract.note.startswith("skips: there is no champion yet\n\n")
    assert len(contract.note) == 1000  # what Airflow's database holds


def test_a_job_that_takes_too_long_leaves_the_cause_for_the_runs_note(contract: Any) -> None:
    assert contract.tasks["slow"]["state"] == "failed"
    assert contract.tasks["slow"]["xcoms"]["cause"].endswith(
        "done must end within 0:00:01; it did not, and was ended; see its log"
    )


def test_a_missing_connection_is_refused_with_the_command_that_makes_it(contract: Any) -> None:
    assert (contract.tasks["unconnected"]["state"], contract.tasks["unconnected"]["tries"]) == ("failed", 1)
    assert "airflow connections add no_such_connection --conn-type spark --conn-host 'local[*]'" in contract.log


def test_a_driver_on_another_machine_is_refused(contract: Any) -> None:
    assert (contract.tasks["cluster"]["state"], contract.tasks["cluster"]["tries"]) == ("failed", 1)
    assert "got deploy-mode 'cluster' in the connection 'spark_cluster'; set it to client" in contract.log


def test_the_connection_says_how_spark_is_set_up(contract: Any) -> None:
    assert result_of(contract)["limit"] == "9"
    assert (contract.tasks["untuned"]["state"], contract.tasks["untuned"]["tries"]) == ("failed", 1)
    assert "extra of the connection 'spark_untuned' must be an object of Spark's settings" in contract.log


def test_a_form_that_does_not_fit_the_page_is_refused_before_spark_starts(contract: Any) -> None:
    assert (contract.tasks["wrong_form"]["state"], contract.tasks["wrong_form"]["tries"]) == ("failed", 1)
    assert "unknown key 'a.b'" in contract.log


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(signal.SIGKILL, id="out of memory"),
        pytest.param(signal.SIGTERM, id="stopped in the UI", marks=pytest.mark.faults),
        # What Airflow's own timer sends when the time is up.
        pytest.param(signal.SIGALRM, id="execution_timeout", marks=pytest.mark.faults),
    ],
)
def test_nothing_of_a_job_outlives_its_task(end: signal.Signals, airflow: Any, tmp_path: Path) -> None:
    """The JVM, the driver (which ignores SIGTERM), the Python workers, and what those have started."""
    pids = tmp_path / "pids"
    pids.mkdir()
    folder = folder_with(tmp_path)
    command = airflow.command("run_dag.py", folder, "endless", "{}", tmp_path / "out.json")
    environment = {**airflow.environment, "PIDS": str(pids), "AIRFLOW__CORE__DAGS_FOLDER": str(folder)}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        wait_for(lambda: len(list(pids.iterdir())) == 6, seconds=180)
        family = {path.name: int(path.name.partition("-")[2]) for path in pids.iterdir()}
        kinds = sorted(name.partition("-")[0] for name in family)
        assert kinds == ["child", "child", "driver", "jvm", "worker", "worker"]
        assert all(alive(pid) for pid in family.values())
        process.send_signal(end)
        wait_for(lambda: not [name for name, pid in family.items() if alive(pid)])
    finally:
        process.kill()
        process.wait()
        print((tmp_path / "log").read_text()[-4000:])


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
