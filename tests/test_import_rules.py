"""What may import what (design.md, "The layout"), checked by reading the sources and by importing them."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
JOBS = sorted((REPOSITORY / "jobs").glob("*.py"))
PACKAGE = REPOSITORY / "jobs" / "windrow"
SOURCES = [*JOBS, *sorted(PACKAGE.rglob("*.py"))]
SLOW = {"tensorflow", "keras", "pyspark", "mlflow", "pandas", "optuna", "sklearn", "matplotlib", "deltalake", "pyarrow"}
SLOW |= {"openvino", "nncf", "s3fs", "botocore"}
SPARK_MAKERS = {"SparkSession", "SparkContext", "getOrCreate"}


def imported(source: Path) -> set[str]:
    """Top-level names of all imports of a file, also of those inside functions and of those for type checkers."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def calls(source: Path) -> Iterator[str]:
    """What a file calls: the last name of `a.b.c()`, and each name before it."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            function: ast.expr = node.func
            while isinstance(function, ast.Attribute):
                yield function.attr
                function = function.value
            if isinstance(function, ast.Name):
                yield function.id


def name(source: Path) -> str:
    return str(source.relative_to(REPOSITORY / "jobs"))


def loaded_by(code: str, before: str = "") -> set[str]:
    """Top-level modules that `code` loads in a fresh Python, beyond those that `before` loads."""
    report = "print(json.dumps(sorted(set(sys.modules) - known)))"
    script = f"import json, sys\n{before}\nknown = set(sys.modules)\n{code}\n{report}"
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": f"{REPOSITORY / 'jobs'}:{REPOSITORY / 'plugins'}",
        "AIRFLOW_HOME": "/nonexistent",
        "_AIRFLOW__AS_LIBRARY": "1",
    }
    command = [sys.executable, "-c", script]
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=120).stdout
    return {module.partition(".")[0] for module in json.loads(output.splitlines()[-1])}


def test_the_rules_see_the_sources() -> None:
    jobs = {"prepare_dataset", "sweep", "draw_atlas", "promote_best", "score_images", "reproduce"}
    assert jobs == {path.stem for path in JOBS}
    assert "pyspark" in imported(PACKAGE / "spark.py")
    assert SPARK_MAKERS & set(calls(PACKAGE / "spark.py"))


@pytest.mark.parametrize("dag_file", sorted((REPOSITORY / "dags").glob("*.py")), ids=lambda path: path.name)
def test_a_dag_file_loads_nothing_slow_beyond_airflow_itself(dag_file: Path) -> None:
    airflow = "import airflow.sdk\nfrom airflow.providers.apache.spark.operators import spark_submit"
    loaded = loaded_by(f"import runpy; runpy.run_path({str(dag_file)!r})", before=airflow)
    assert "windrow_dags" in loaded
    assert not loaded & (SLOW | {"numpy", "PIL", "aiohttp"})


def test_the_page_is_read_with_pydantic_and_yaml_only() -> None:
    loaded = loaded_by("import windrow.experiment")
    assert {"pydantic", "yaml"} <= loaded
    assert not loaded & (SLOW | {"numpy", "PIL", "aiohttp", "airflow"})


def test_the_data_room_and_the_fetcher_load_no_tensorflow() -> None:
    modules = [*sorted((PACKAGE / "data").glob("*.py")), PACKAGE / "scoring" / "fetch.py"]
    dotted = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in modules]
    assert not loaded_by(f"import importlib\nfor module in {dotted}: importlib.import_module(module)") & {
        "tensorflow",
        "keras",
    }
    assert not [name(path) for path in modules if imported(path) & {"tensorflow", "keras"}]


def test_only_tracking_and_the_jobs_know_mlflow() -> None:
    knowing = {path for path in SOURCES if "mlflow" in imported(path)}
    assert not [name(path) for path in knowing if path not in JOBS and PACKAGE / "tracking" not in path.parents]


def test_the_atlas_draws_without_tensorflow_and_loads_its_libraries_only_to_draw() -> None:
    drawing = sorted((PACKAGE / "selection" / "atlas").glob("*.py"))
    assert len(drawing) > 8
    assert not [name(path) for path in drawing if imported(path) & {"tensorflow", "keras", "mlflow", "pyspark"}]
    assert not loaded_by("import windrow.selection.atlas, windrow.selection.pictures") & SLOW


def test_only_one_module_makes_a_spark_session() -> None:
    assert [name(path) for path in SOURCES if SPARK_MAKERS & set(calls(path))] == ["windrow/spark.py"]


def test_no_job_and_nothing_it_uses_imports_airflow() -> None:
    assert not [name(path) for path in SOURCES if "airflow" in imported(path)]


def test_jobs_and_package_import_nothing_of_dags_and_plugins() -> None:
    outside = {path.stem for folder in ("dags", "plugins") for path in (REPOSITORY / folder).glob("*.py")}
    assert not [name(path) for path in SOURCES if imported(path) & outside]


@pytest.mark.parametrize("job", JOBS, ids=lambda path: path.name)
def test_help_needs_neither_spark_nor_tensorflow(job: Path) -> None:
    code = f"import runpy\nsys.argv = [{str(job)!r}, '--help']\ntry: runpy.run_path(sys.argv[0], run_name='__main__')"
    loaded = loaded_by(f"{code}\nexcept SystemExit as end: assert end.code == 0, end.code")
    assert "windrow" in loaded
    assert not loaded & SLOW
