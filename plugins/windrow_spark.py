"""Run one of Windrow's jobs with spark-submit in an Airflow task, and return the job's result.

    SparkJob(task_id="sweep", arguments={"experiment": page, "dataset": folder, "study": folder})

The Spark connection decides where the job runs. The DAG run's params become `--set KEY=VALUE` for a job that reads a
page, and the job's result becomes the task's XCom. Exit code 2 fails the task without a retry, with the job's own error
message. However the task ends, the job's whole process group ends with it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import BaseHook, BaseOperatorLink
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSkipException,
    AirflowTaskTimeout,
)
from windrow import experiment, paths
from windrow.errors import EXIT_USER_ERROR, PageError
from windrow_process import CAUSE, ErrorSentence, JobResult, ProcessGroup, environment

LINKS = {
    "mlflow_run": "MLflow run",
    "compare": "Compare the best",
    "model_version": "Model version",
    "atlas": "Atlas",
    "gallery": "Gallery",
}
"""Keys that a job's result may have under `links` → the text of each button."""

NO_KEYS = ("set", "reproduce", "date")
"""Params that are fields of a trigger form, but not keys of the page."""

_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)


class _StoppedError(AirflowException):  # type: ignore[misc]
    """The job was still running when its task was ended, by a person for example."""


@attrs.define
class ResultLink(BaseOperatorLink):  # type: ignore[misc]  # Airflow is not typed strictly
    """A button on the task that opens an address from the job's result: `{"links": {key: address}}`.

    Airflow computes and stores the address in the worker when the task ends, so no server needs this class.
    """

    title: str
    key: str

    @property
    def name(self) -> str:
        """Return the button's text."""
        return self.title

    @property
    def xcom_key(self) -> str:
        """Return the key of the XCom with the address. Airflow's default is the same for all links of this class."""
        return f"_link_{self.key}"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the address; an empty text, which hides the button, if the result has no address."""
        return str(getattr(operator, "links", {}).get(self.key) or "")


class SparkJob(SparkSubmitOperator):  # type: ignore[misc]
    """Run jobs/JOB.py on Spark.

    Args:
        job: the script's name in jobs/, without .py; the task's id if absent.
        arguments: option name without dashes → value (templated). A list repeats the option. None, False and a template
            with an empty result drop the option. True gives the option without a value.
        options: params of the run that are options of the job, not keys of its page.
        overrides: pass the run's other params to the job as `--set KEY=VALUE`; False for a job that reads no page.
        spark_pool: the Airflow pool in which the job takes a slot.
        kwargs: arguments of SparkSubmitOperator, for example conf, driver_memory, execution_timeout.
    """

    # The private names of the provider below (_get_hook, _hook, _conn_id, _deploy_mode of the operator; _submit_sp,
    # _application_args, _env_vars, _conf, _process_spark_submit_log, _spark_exit_code of the hook) were read in
    # apache-airflow-providers-apache-spark 6.3.4. requirements.in pins it; tests/plugins runs them for real.

    template_fields: Sequence[str] = (*SparkSubmitOperator.template_fields, "arguments")
    template_fields_renderers = {"arguments": "json", "application_args": "json"}
    operator_extra_links = tuple(ResultLink(title, key) for key, title in LINKS.items())
    ui_color = "#f3e2b3"

    def __init__(
        self,
        *,
        job: str | None = None,
        arguments: Mapping[str, object] | None = None,
        options: Sequence[str] = (),
        overrides: bool = True,
        spark_pool: str = "default_pool",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("name", "windrow {{ ti.dag_id }} {{ ti.task_id }}")
        super().__init__(pool=spark_pool, **kwargs)
        self.job = job or self.task_id
        self.arguments = dict(arguments or {})
        self.options = tuple(options)
        self.overrides = overrides
        self.links: dict[str, str] = {}
        self._group: ProcessGroup | None = None
        self._errors = ErrorSentence()

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """Fill in the templates, then build the command line, so that Airflow's "Rendered Templates" shows it."""
        super().render_template_fields(context, jinja_env)
        self.application = str(paths.REPOSITORY / "jobs" / f"{self.job}.py")
        chosen = {name: context["params"].get(name) for name in self.options}
        values = self._as_overrides(context) if self.overrides else []
        self.application_args = as_options({**self.arguments, **chosen, "set": values})

    def execute(self, context: Any) -> JobResult:
        """Run the job and return its result.

        Raises:
            AirflowSkipException: the job had nothing to work with, and its result says why (`skipped`).
            AirflowFailException: the user must fix something (no connection, a wrong page or argument).
            AirflowException: anything else; a retry may succeed.
            AirflowTaskTimeout: the job took longer than the DAG allows.
        """
        try:
            return self._execute(context)
        except _StoppedError:
            raise  # windrow_notes finds out who has stopped the task
        except (Exception, AirflowTaskTimeout) as error:
            context["ti"].xcom_push(key=CAUSE, value=self._cause(error))
            raise

    def _cause(self, error: BaseException) -> str:
        if isinstance(error, AirflowTaskTimeout):
            return f"{self.job} must end within {self.execution_timeout}; it did not, and was ended; see its log"
        return str(error)

    def _execute(self, context: Any) -> JobResult:
        self._check_page(self._as_overrides(context) if self.overrides else [])
        self._check_connection()
        folder = Path(tempfile.mkdtemp(prefix="windrow-"))
        try:
            values = self._run(folder)
            if "skipped" in values:
                raise AirflowSkipException(values["skipped"])
            self._add_to_events(context.get("outlet_events"), values)
            return values
        finally:
            self.on_kill()
            shutil.rmtree(folder, ignore_errors=True)

    def on_kill(self) -> None:
        """End the job's processes: the JVM, the Python driver, and all that they have started."""
        if self._group is not None:
            self._group.end(self._hook._submit_sp if self._hook else None)

    def _as_overrides(self, context: Any) -> list[str]:
        return as_overrides({key: value for key, value in context["params"].items() if key not in self.options})

    def _check_page(self, overrides: Sequence[str]) -> None:
        """Check the page with the form's values here, in one second; the job itself would take several to start.

        Raises:
            AirflowFailException: the page or a value has a mistake. A job without a page passes.
        """
        if "experiment" in self.arguments:
            try:
                experiment.load(str(self.arguments["experiment"]), overrides)
            except PageError as error:
                raise AirflowFailException(str(error)) from None

    def _check_connection(self) -> None:
        """Refuse an absent connection, and any deploy mode but client.

        Without a connection, the provider would silently use `--master yarn`.
        """
        try:
            connection = BaseHook.get_connection(self._conn_id)
        except AirflowNotFoundException:
            raise AirflowFailException(
                f"a job needs the Airflow connection {self._conn_id!r}; got none; create it: "
                f"airflow connections add {self._conn_id} --conn-type spark --conn-host 'local[*]'"
            ) from None
        mode = self._deploy_mode or connection.extra_dejson.get("deploy-mode") or "client"
        if mode != "client":
            raise AirflowFailException(
                f"a job's driver must run on the machine of its task, because the result is a file there; "
                f"got deploy-mode {mode!r} in the connection {self._conn_id!r}; set it to client"
            )

    def _connection_conf(self) -> dict[str, object]:
        """Return the Spark settings in the connection's extra, {"conf": {...}}, which the provider ignores."""
        settings = BaseHook.get_connection(self._conn_id).extra_dejson.get("conf") or {}
        if not isinstance(settings, dict):
            raise AirflowFailException(
                f"conf in the extra of the connection {self._conn_id!r} must be an object of Spark's settings; "
                f'got {settings!r}; for example {{"conf": {{"spark.executor.memory": "2g"}}}}'
            )
        return settings

    def _run(self, folder: Path) -> JobResult:
        result = folder / "result.json"
        paths.home().mkdir(parents=True, exist_ok=True)
        self._group = ProcessGroup()
        self._hook = hook = self._get_hook()
        hook._application_args = [*(self.application_args or []), "--result", str(result)]
        hook._env_vars = None  # passed to the process below, because on Kubernetes the provider would not pass them
        hook._process_spark_submit_log = self._log_lines
        hook._conf = {**self._connection_conf(), **hook._conf}
        hook._spark_exit_code = 0  # on Kubernetes the provider would parse it from the log
        try:
            # Not through super().execute(), which can't set the process group.
            hook.submit(
                self.application,
                process_group=self._group.id,
                cwd=paths.home(),
                env={**os.environ, **environment(folder), **(self.env_vars or {})},
                encoding="utf-8",
                errors="replace",
            )
        except AirflowException:
            if hook._submit_sp is None or not hook._submit_sp.returncode:
                raise
            raise self._failure(hook._submit_sp.returncode) from None
        values = self._read(result)
        self.links = values.get("links") or {}
        return values

    def _add_to_events(self, events: Any, values: JobResult) -> None:
        """Add the result's plain values to the events of the task's assets, for schedules and for Airflow's users."""
        figures = {key: value for key, value in values.items() if isinstance(value, str | int | float | None)}
        for asset in self.outlets:
            events[asset].extra = figures

    def _log_lines(self, lines: Iterator[str]) -> None:
        """Log each line with its indent, which the provider would strip although tracebacks and tables need it."""
        for line in self._errors.listen(lines):
            self.log.info(line.rstrip())

    def _failure(self, code: int) -> AirflowException:
        """Return the task's error, with the job's own message if the job printed one."""
        if self._group is not None and self._group.stopped:
            return _StoppedError(f"{self.task_id} was stopped with its task; a retry continues where it can")
        if self._errors.text:
            message = self._errors.text
        elif code in _KILLED:
            message = (
                f"{self.task_id} was killed from outside; the machine may be out of memory: give it fewer slots or more"
            )
        else:
            message = f"{self.task_id} gave no reason and exit code {code}; its last line: {self._errors.last_line}"
        return AirflowFailException(message) if code == EXIT_USER_ERROR else AirflowException(message)

    def _read(self, result: Path) -> JobResult:
        try:
            values = json.loads(result.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise AirflowException(f"{self.task_id} must write its result as JSON to --result; got {error}") from error
        if not isinstance(values, dict):
            raise AirflowException(f"{self.task_id} must write a JSON object to --result; got {type(values).__name__}")
        return values


def as_options(arguments: Mapping[str, object]) -> list[str]:
    """Return a command line: {"out": "x", "set": ["a=1", "b=2"], "feed": None} → --out x --set a=1 --set b=2.

    None, False and "" drop an option. True gives the option without a value.
    """
    options: list[str] = []
    for name, value in arguments.items():
        option = f"--{name.replace('_', '-')}"
        values = value if isinstance(value, list | tuple) else [value]
        for item in values:
            empty = item is None or item is False or item == ""
            options += [] if empty else [option] if item is True else [option, str(item)]
    return options


def as_overrides(params: Mapping[str, object]) -> list[str]:
    """Return KEY=VALUE for each param that may be a key of the page, then the lines of the param `set`, which win.

    Values are written as JSON, which the job reads as YAML: a string keeps its quotes. Unknown keys are passed on, and
    refused when the page is read.
    """
    named = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in params.items() if key not in NO_KEYS]
    free = params.get("set") or []
    return [*named, *(map(str, free) if isinstance(free, list | tuple) else [str(free)])]
