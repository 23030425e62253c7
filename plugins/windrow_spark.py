"""SparkJob: runs one of Windrow's jobs with spark-submit, and brings its result back.

    SparkJob(task_id="sweep", job="sweep", arguments={"experiment": page, "dataset": folder, "study": folder})

Where it runs is the Spark connection's business. The DAG run's params become `--set KEY=VALUE` for a job that reads a
page, and the job's result becomes the task's XCom. Exit code 2 fails without a retry, with the job's own sentence.
Whatever ends the task ends the job's whole process group.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import BaseHook, BaseOperatorLink
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowNotFoundException, AirflowTaskTimeout
from windrow import experiment, paths
from windrow.errors import EXIT_USER_ERROR, PageError

GRACE_SECONDS = 3.0
"""From SIGTERM to SIGKILL. Airflow itself waits 5 s before it kills the task that waits here."""

LINKS = {
    "mlflow_run": "MLflow run",
    "compare": "Compare the best",
    "model_version": "Model version",
    "atlas": "Atlas",
    "gallery": "Gallery",
}
"""What a job's result may link to, and how the button is called."""

CAUSE = "cause"
"""The XCom of a task that has failed: why, in one sentence."""

NO_KEYS = ("set", "reproduce", "date")
"""Params that are fields of a trigger form without being a key of the page."""

_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)

_LOG4J = """\
rootLogger.level = warn
rootLogger.appenderRef.stderr.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %p %c{1}: %m%n%ex
logger.native.name = org.apache.hadoop.util.NativeCodeLoader
logger.native.level = error
logger.address.name = org.apache.spark.util.Utils
logger.address.level = error
"""


@attrs.define
class ResultLink(BaseOperatorLink):  # type: ignore[misc]  # Airflow is not typed strictly
    """A button on the task that leads to an address of the job's result: `{"links": {key: address}}`.

    Airflow asks for it in the worker when the task ends, and keeps the answer: no server has to know this class.
    """

    title: str
    key: str

    @property
    def name(self) -> str:
        """The button's text."""
        return self.title

    @property
    def xcom_key(self) -> str:
        """Where Airflow keeps the address; the default would be the same for all links of this class."""
        return f"_link_{self.key}"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The address; empty, which hides the button, if the job has not given one."""
        return str(getattr(operator, "links", {}).get(self.key) or "")


class SparkJob(SparkSubmitOperator):  # type: ignore[misc]
    """Run jobs/JOB.py on Spark.

    Args:
        job: the script's name in jobs/, without .py.
        arguments: option name, without dashes → value (templated). A list repeats its option; None, or a template that
            comes to nothing, drops it; True is an option without a value, and False drops it.
        options: the run's params that are options of the job, and no keys of its page.
        overrides: whether the job takes the run's params, as `--set KEY=VALUE`; one that reads no page can't.
        spark_pool: Airflow's pool of which the job takes a slot.
        kwargs: as of SparkSubmitOperator, e.g. conf, driver_memory, execution_timeout.
    """

    template_fields: Sequence[str] = (*SparkSubmitOperator.template_fields, "arguments")
    template_fields_renderers = {"arguments": "json", "application_args": "json"}
    operator_extra_links = tuple(ResultLink(title, key) for key, title in LINKS.items())
    ui_color = "#f3e2b3"

    def __init__(
        self,
        *,
        job: str,
        arguments: Mapping[str, Any] | None = None,
        options: Sequence[str] = (),
        overrides: bool = True,
        spark_pool: str = "default_pool",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("name", "windrow {{ ti.dag_id }} {{ ti.task_id }}")
        super().__init__(pool=spark_pool, **kwargs)
        self.job = job
        self.arguments = dict(arguments or {})
        self.options = tuple(options)
        self.overrides = overrides
        self.links: dict[str, str] = {}
        self._group: ProcessGroup | None = None
        self._errors = ErrorSentence()

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """Fill in the templates, then write the command line, so that Airflow's "Rendered Templates" shows it."""
        super().render_template_fields(context, jinja_env)
        self.application = str(paths.REPOSITORY / "jobs" / f"{self.job}.py")
        chosen = {name: context["params"].get(name) for name in self.options}
        values = self._as_overrides(context) if self.overrides else []
        self.application_args = as_options({**self.arguments, **chosen, "set": values})

    def execute(self, context: Any) -> dict[str, Any]:
        """Run the job and return its result.

        Raises:
            AirflowFailException: the user can mend it (no connection, a wrong page or argument); a retry can't.
            AirflowException: anything else; a retry may succeed.
            AirflowTaskTimeout: it took longer than the DAG lets it.
        """
        try:
            return self._execute(context)
        except (AirflowException, AirflowTaskTimeout) as error:
            context["ti"].xcom_push(key=CAUSE, value=self._cause(error))
            raise

    def _cause(self, error: BaseException) -> str:
        if isinstance(error, AirflowTaskTimeout):
            return f"{self.job} must end within {self.execution_timeout}; it did not, and was ended; see its log"
        return str(error)

    def _execute(self, context: Any) -> dict[str, Any]:
        self._check_page(self._as_overrides(context))
        self._check_connection()
        folder = Path(tempfile.mkdtemp(prefix="windrow-"))
        try:
            values = self._run(folder)
            self._tell_assets(context.get("outlet_events"), values)
            return values
        finally:
            self.on_kill()
            shutil.rmtree(folder, ignore_errors=True)

    def on_kill(self) -> None:
        """End the job's processes: the JVM, the Python driver, and what either has started."""
        if self._group is not None:
            self._group.end(self._hook._submit_sp if self._hook else None)

    def _as_overrides(self, context: Any) -> list[str]:
        return as_overrides({key: value for key, value in context["params"].items() if key not in self.options})

    def _check_page(self, overrides: Sequence[str]) -> None:
        """A wrong page or form costs a second here, and several in Spark."""
        if "experiment" in self.arguments:
            try:
                experiment.load(self.arguments["experiment"], overrides)
            except PageError as error:
                raise AirflowFailException(str(error)) from None

    def _check_connection(self) -> None:
        """The provider would silently go on with `--master yarn`."""
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
                f"a job's driver must run where its task runs, because the result is a file there; "
                f"got deploy-mode {mode!r} in the connection {self._conn_id!r}; set it to client"
            )

    def _connection_conf(self) -> dict[str, Any]:
        """Spark's settings in the connection's extra, {"conf": {...}}: the provider has no place for them."""
        settings = BaseHook.get_connection(self._conn_id).extra_dejson.get("conf") or {}
        if not isinstance(settings, dict):
            raise AirflowFailException(
                f"conf in the extra of the connection {self._conn_id!r} must be an object of Spark's settings; "
                f'got {settings!r}; for example {{"conf": {{"spark.executor.memory": "2g"}}}}'
            )
        return settings

    def _run(self, folder: Path) -> dict[str, Any]:
        result = folder / "result.json"
        paths.home().mkdir(parents=True, exist_ok=True)
        self._group = ProcessGroup()
        self._hook = hook = self._get_hook()
        hook._application_args = [*(self.application_args or []), "--result", str(result)]
        hook._env_vars = None  # given to the process below; the provider would keep ours out on Kubernetes
        hook._process_spark_submit_log = self._log_lines
        hook._conf = {**self._connection_conf(), **hook._conf}
        hook._spark_exit_code = 0  # on Kubernetes the provider would read it from the lines; the process has it too
        try:
            # Not through super().execute(): it has no way to name the process group.
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

    def _tell_assets(self, events: Any, values: Mapping[str, Any]) -> None:
        """The result's figures go with the events of the task's assets, where a schedule or a person reads them."""
        figures = {key: value for key, value in values.items() if isinstance(value, str | int | float | None)}
        for asset in self.outlets:
            events[asset].extra = figures

    def _log_lines(self, lines: Iterator[str]) -> None:
        """The provider's own way strips each line: a traceback or a table would lose its shape."""
        for line in self._errors.listen(lines):
            self.log.info(line.rstrip())

    def _failure(self, code: int) -> AirflowException:
        """What went wrong, in the job's words where it has said any."""
        if self._group is not None and self._group.stopped:
            return AirflowException(f"{self.task_id} was stopped with its task; a retry goes on where it can")
        if self._errors.text:
            message = self._errors.text
        elif code in _KILLED:
            message = (
                f"{self.task_id} was killed from outside; the machine may be out of memory: give it fewer slots or more"
            )
        else:
            message = f"{self.task_id} gave no reason and exit code {code}; its last line: {self._errors.last_line}"
        return AirflowFailException(message) if code == EXIT_USER_ERROR else AirflowException(message)

    def _read(self, result: Path) -> dict[str, Any]:
        try:
            values = json.loads(result.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise AirflowException(f"{self.task_id} must write its result as JSON to --result; got {error}") from error
        if not isinstance(values, dict):
            raise AirflowException(f"{self.task_id} must write a JSON object to --result; got {type(values).__name__}")
        return values


def as_options(arguments: Mapping[str, Any]) -> list[str]:
    """The command line of {"out": "x", "set": ["a=1", "b=2"], "feed": None, "by": ""}: --out x --set a=1 --set b=2."""
    options = []
    for name, value in arguments.items():
        option = f"--{name.replace('_', '-')}"
        values = value if isinstance(value, list | tuple) else [value]
        for item in values:
            empty = item is None or item is False or item == ""
            options += [] if empty else [option] if item is True else [option, str(item)]
    return options


def as_overrides(params: Mapping[str, Any]) -> list[str]:
    """KEY=VALUE for each param of the run; those of the param `set` stand as they are, and last: they win.

    JSON is YAML, so a string keeps its quotes. A key that the page doesn't know is refused there, not dropped here.
    """
    named = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in params.items() if key not in NO_KEYS]
    return [*named, *(params.get("set") or [])]


def environment(folder: Path) -> dict[str, str]:
    """What a job finds in its environment beyond Airflow's own. `folder` lasts as long as the job.

    Spark's own choice of Python, and the first spark-submit on PATH, need not be the ones that Airflow runs in.
    """
    log4j = folder / "log4j2.properties"
    log4j.write_text(_LOG4J, encoding="utf-8")
    submit_options = os.environ.get("SPARK_SUBMIT_OPTS", "")
    return {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(paths.REPOSITORY / "jobs"), os.environ.get("PYTHONPATH")])),
        "PYSPARK_PYTHON": os.environ.get("PYSPARK_PYTHON", sys.executable),
        "SPARK_SUBMIT_OPTS": f"-Dlog4j2.configurationFile={log4j.as_uri()} {submit_options}".strip(),
        "WINDROW_HOME": str(paths.home()),
    }


class ErrorSentence:
    """Listens to a job's output for the sentence that starts with `error:` and the indented lines below it."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._open = False
        self.last_line = "nothing"

    @property
    def text(self) -> str:
        """The sentence without its `error:`; empty if there was none."""
        return "\n".join(self._lines).removeprefix("error: ")

    def listen(self, lines: Iterator[str]) -> Iterator[str]:
        """The same lines, without the blank ones."""
        for line in lines:
            bare = line.rstrip()
            if bare.startswith("error: "):
                self._lines, self._open = [bare], True
            elif self._open and line.startswith("  "):
                self._lines.append(bare)
            else:
                self._open = False
            if bare:
                self.last_line = bare
                yield line


class ProcessGroup:
    """A process group for a job, which ends with the task even if the task is killed with SIGKILL.

    A shell leads the group and waits at a pipe that only this process holds. The pipe closes when this process ends,
    however it ends, and the shell then ends the group.
    """

    _GUARD = f'trap "" TERM; read -r line; kill -TERM 0; sleep {GRACE_SECONDS:.0f}; kill -KILL 0'

    def __init__(self) -> None:
        self._ended = False
        self.stopped = False  # whether the job was still at work when the end came
        self._guard = subprocess.Popen(["/bin/sh", "-c", self._GUARD], stdin=subprocess.PIPE, process_group=0)
        self.id = self._guard.pid

    def end(self, child: subprocess.Popen[str] | None = None) -> None:
        """SIGTERM, then SIGKILL to what is left after the grace. A second call does nothing.

        Args:
            child: this process's own child in the group; it counts as alive until it is asked how it ended.
        """
        if self._ended:
            return
        self._ended = True
        self.stopped = child is None or child.poll() is None
        self._signal(signal.SIGTERM)
        self._guard.kill()
        self._guard.wait()
        deadline = time.monotonic() + GRACE_SECONDS
        while self._signal(0) and time.monotonic() < deadline:
            time.sleep(0.05)
            if child is not None:
                child.poll()
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> bool:
        """Whether anyone was there to get it."""
        with suppress(ProcessLookupError, PermissionError):  # the second is macOS's word for a group of zombies
            os.killpg(self.id, number)
            return True
        return False
