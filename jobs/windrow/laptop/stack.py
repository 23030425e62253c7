"""Define the services of the stack on a laptop with their settings; start and stop them.

    PYTHONPATH=jobs .venv/bin/python -m windrow.laptop.stack up | stop | airflow dags list

Airflow's four parts are started one by one, as by `airflow standalone`, but without the log servers of scheduler and
triggerer, because those would listen on every address whatever the settings. Airflow reads the logs from disk.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import metadata
from pathlib import Path

from windrow.errors import EXIT_USER_ERROR, ServiceError, WindrowError
from windrow.files import locked
from windrow.laptop import environment, services
from windrow.laptop.health import airflow_problem, mlflow_problem, page_problem
from windrow.laptop.services import LOOPBACK, Service, State
from windrow.laptop.setup import java
from windrow.paths import REPOSITORY, home

USER = "admin"
USERS = f"{USER}:admin"
DAGS = REPOSITORY / "dags"
PREFERRED_PORTS = {"mlflow": 5000, "airflow-api": 8080, "images": 8765}
AIRFLOW_PARTS = {"scheduler": ["--skip-serve-logs"], "dag-processor": [], "triggerer": ["--skip-serve-logs"]}
_TOKEN_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Stack:
    """The addresses of a stack that is up, and its login."""

    airflow: str
    mlflow: str
    images: str
    password: str
    variables: Mapping[str, str]  # for a job that is run by hand, to reach the stack
    shown: Mapping[str, str] = field(default_factory=dict)  # addresses of airflow and mlflow for browsers, if different
    ended_by: str = "make stop"
    dags: Path = DAGS
    users: str = USERS

    @property
    def airflow_pages(self) -> str:
        """Return the address of Airflow for browsers."""
        return self.shown.get("airflow", self.airflow)

    @property
    def mlflow_pages(self) -> str:
        """Return the address of MLflow for browsers."""
        return self.shown.get("mlflow", self.mlflow)


def state() -> State:
    """Return the record of processes and ports."""
    return State(home() / "services.json")


def up(dags: Path = DAGS, users: str = USERS) -> Stack:
    """Start the services that are not running, and return when all of them answer.

    Args:
        dags: the folder of the DAG files and their experiments.
        users: NAME:ROLE, separated by commas. Airflow makes missing passwords, and adds them to the file that the
            function `password` reads.

    Raises:
        ServiceError: a service ended or does not answer.
    """
    with _one_at_a_time():
        noted = state()
        ports = _ports(noted)
        stack = replace(describe(ports), dags=dags, users=users)
        own = all_services(stack, ports)
        logs = home() / "log"
        airflow = [service for name, service in own.items() if name.startswith("airflow-")]
        services.ensure(own["images"], noted, logs)
        services.ensure(own["mlflow"], noted, logs)
        _migrate(airflow[0], logs)
        for service in airflow:
            services.ensure(service, noted, logs)
        services.wait_ready(own.values(), noted)
    return stack


def mlflow() -> Mapping[str, str]:
    """Start MLflow alone, unless it runs, and return the variables for a job that uses that server.

    Raises:
        ServiceError: MLflow ended or does not answer.
    """
    with _one_at_a_time():
        noted = state()
        ports = _ports(noted)
        stack = describe(ports)
        service = all_services(stack, ports)["mlflow"]
        services.ensure(service, noted, home() / "log")
        services.wait_ready([service], noted)
    return stack.variables


def stop() -> list[str]:
    """End every service and return the names of those that ran."""
    with _one_at_a_time():
        return services.stop(state(), home())


def _one_at_a_time() -> AbstractContextManager[None]:
    return locked(home(), "services.lock", quiet=True)


def describe(ports: Mapping[str, int]) -> Stack:
    """Return the stack with these ports, whether or not its services run."""
    urls = {name: f"http://{LOOPBACK}:{port}" for name, port in ports.items()}
    variables = _job_variables(urls["mlflow"])
    return Stack(urls["airflow-api"], urls["mlflow"], urls["images"], password(), variables)


def _ports(noted: State) -> dict[str, int]:
    """Return service → port: a running service keeps its port; any other gets a free port, its last one if possible."""
    ports: dict[str, int] = {}
    running = noted.running()
    for name, preferred in PREFERRED_PORTS.items():
        service = running.get(name)
        if service is not None and service.port and service.process() is not None:
            ports[name] = service.port
        else:
            ports[name] = services.choose_port(preferred, noted.port(name), ports.values())
    return ports


def password() -> str:
    """Return the password of the login, from a file that only this user can read. The first call makes both."""
    file = home() / "airflow" / "passwords.json"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as output:
            json.dump({USER: secrets.token_urlsafe(9)}, output)
    return str(json.loads(file.read_text(encoding="utf-8"))[USER])


def _job_variables(mlflow: str) -> dict[str, str]:
    return {
        "WINDROW_HOME": str(home()),
        "MLFLOW_TRACKING_URI": mlflow,
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # with the default it takes 4 minutes to notice a dead server
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "SPARK_LOCAL_IP": LOOPBACK,
        "NO_PROXY": f"{os.environ.get('NO_PROXY', '')},{LOOPBACK},localhost".lstrip(","),
        "no_proxy": f"{os.environ.get('no_proxy', '')},{LOOPBACK},localhost".lstrip(","),
    }


def _inherited() -> dict[str, str]:
    """Return the shell's variables, without the settings of another Airflow installation."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_") or "_CONN_" in name}
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "WINDROW_STARTED"):
        kept.pop(name, None)
    return environment.command_environment(Path(sys.executable).parents[1], java.find(), kept)


def spark_connection() -> str:
    """Return the Airflow connection spark_default: the user's if it is set, else one that runs Spark on this machine.

    The connection for this machine is written as JSON, because a URI can't hold `local[*]`.
    """
    return os.environ.get("AIRFLOW_CONN_SPARK_DEFAULT") or '{"conn_type": "spark", "host": "local[*]"}'


def problems() -> dict[str, Callable[[], str | None]]:
    """Return service → check. A check returns the problem, or None if the service works."""
    noted = state()
    ports = {name: noted.port(name) or preferred for name, preferred in PREFERRED_PORTS.items()}
    return {name: service.ready for name, service in all_services(describe(ports), ports).items()}


def _airflow_variables(stack: Stack, port: int) -> dict[str, str]:
    folder = home() / "airflow"
    return {
        **stack.variables,
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW_CONN_SPARK_DEFAULT": spark_connection(),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
        "AIRFLOW__CORE__DAGS_FOLDER": str(stack.dags),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "3",  # Airflow starts this many processes, busy or not
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": stack.users,
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder / "passwords.json"),
        "AIRFLOW__API__HOST": LOOPBACK,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": stack.airflow,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__EXECUTION_API__JWT_EXPIRATION_TIME": str(_TOKEN_SECONDS),  # the default, 10 min, would end a sweep
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }


def all_services(stack: Stack, ports: Mapping[str, int]) -> dict[str, Service]:
    """Return all services by name, in the order in which they start."""
    # A new lock replaces the environment that the services run in. As part of the digest, the lock restarts them.
    mark = services.mark(home()) | {"WINDROW_LOCK": environment.stamp(environment.LOCK)}
    airflow = mark | _airflow_variables(stack, ports["airflow-api"])
    # MLflow's job runner is for traces and evaluations, and takes half a gigabyte of memory.
    mlflow = mark | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    python, inherited = Path(sys.executable), _inherited()
    program, problem_of = str(python.with_name("airflow")), partial(airflow_problem, stack.airflow)

    def service(name: str, command: list[str], variables: dict[str, str], problem: Callable[[], str | None]) -> Service:
        return Service(name, command, variables, problem, inherited, ports.get(name), REPOSITORY)

    own = [
        service("images", _images(python, ports["images"]), mark, partial(page_problem, f"{stack.images}/health")),
        service("mlflow", _mlflow(python, ports["mlflow"]), mlflow, partial(mlflow_problem, stack.mlflow)),
        service("airflow-api", [program, "api-server"], airflow, partial(problem_of, "metadatabase")),
    ]
    for part, arguments in AIRFLOW_PARTS.items():
        problem = partial(problem_of, part.replace("-", "_"))
        own.append(service(f"airflow-{part}", [program, part, *arguments], airflow, problem))
    return {one.name: one for one in own}


def _images(python: Path, port: int) -> list[str]:
    return [*(str(python), "-m", "windrow.laptop.image_server"), *("--port", str(port), "--root", str(home() / "demo"))]


def _mlflow(python: Path, port: int) -> list[str]:
    folder = home() / "mlflow"
    folder.mkdir(parents=True, exist_ok=True)
    return [
        *(str(python), "-m", "mlflow", "server", "--host", LOOPBACK, "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "artifacts")),
    ]


def _migrate(service: Service, logs: Path) -> None:
    """Create or upgrade Airflow's database, once per version, before any part of Airflow opens it.

    Raises:
        ServiceError: the command failed.
    """
    done = home() / "airflow" / "migrated"
    version = metadata.version("apache-airflow-core")
    if done.is_file() and done.read_text(encoding="utf-8") == version:
        return
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / "airflow-migrate.log"
    with log.open("ab") as output:
        command = [service.command[0], "db", "migrate"]
        variables = {**service.inherited, **service.variables}
        code = subprocess.run(command, env=variables, stdout=output, stderr=output, cwd=service.folder).returncode
    if code != 0:
        raise ServiceError(f"airflow db migrate must end well; got exit code {code}; see {log}")
    done.write_text(version, encoding="utf-8")


def command_line(arguments: Sequence[str]) -> int:
    """Run Airflow's own command line with the settings of the services, and return its exit code."""
    ports = _ports(state())
    service = all_services(describe(ports), ports)["airflow-scheduler"]
    variables = {**service.inherited, **service.variables}
    return subprocess.run([service.command[0], *arguments], env=variables, cwd=service.folder).returncode


def main() -> int:
    """Run `up`, `stop` or a command of Airflow's, and return the exit code."""
    try:
        if sys.argv[1:] == ["up"]:
            stack = up()
            print(f"Airflow  {stack.airflow}  login {USER} / {stack.password}\nMLflow   {stack.mlflow}")
            print("Both run until make stop.")
        elif sys.argv[1:] == ["stop"]:
            print(f"stopped: {', '.join(stop()) or 'nothing was running'}")
        elif sys.argv[1:2] == ["airflow"]:
            return command_line(sys.argv[2:])
        else:
            print("usage: python -m windrow.laptop.stack up | stop | airflow COMMAND", file=sys.stderr)
            return EXIT_USER_ERROR
    except WindrowError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
