"""What may import what (design.md, "The layout"), checked by reading the sources and by importing them."""

from __future__ import annotations

import ast
import graphlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
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


def neighbours(source: Path) -> set[Path]:
    """The package's files that a file imports, also inside functions and for type checkers."""
    found: set[Path | None] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {file_of(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {file_of(f"{node.module}.{alias.name}") or file_of(node.module) for alias in node.names}
    return {path for path in found if path is not None}


def file_of(dotted: str) -> Path | None:
    """The package's file that has this name as a module."""
    path = PACKAGE.parent.joinpath(*dotted.split("."))
    files = [file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()]
    return files[0] if files and PACKAGE in path.parents else None


def room(source: Path) -> str:
    """The room of one of the package's files: the longest of ROOMS that its path begins with."""
    inside = source.relative_to(PACKAGE).with_suffix("").as_posix()
    return max((each for each in ROOMS if f"{inside}/".startswith(f"{each}/")), key=len, default=inside)


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


def loaded_by(steps: Mapping[str, str], before: str = "") -> dict[str, set[str]]:
    """Top-level modules that each piece of code loads in one fresh Python, beyond those that were there before it."""
    script = (
        f"import json, sys\n{before}\nfound = {{}}\n"
        f"for name, code in {dict(steps)!r}.items():\n"
        "    known = set(sys.modules)\n"
        "    exec(code, {'sys': sys})\n"
        "    found[name] = sorted({module.partition('.')[0] for module in set(sys.modules) - known})\n"
        "print(json.dumps(found))"
    )
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": f"{REPOSITORY / 'jobs'}:{REPOSITORY / 'plugins'}",
        "AIRFLOW_HOME": "/nonexistent",
        "_AIRFLOW__AS_LIBRARY": "1",
    }
    command = [sys.executable, "-c", script]
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=120).stdout
    return {name: set(modules) for name, modules in json.loads(output.splitlines()[-1]).items()}


def importing(*sources: Path) -> str:
    dotted = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in sources]
    return "".join(f"import {module}\n" for module in dotted)


def help_of(job: Path) -> str:
    code = f"import runpy\nsys.argv = [{str(job)!r}, '--help']\ntry: runpy.run_path(sys.argv[0], run_name='__main__')"
    return f"{code}\nexcept SystemExit as end: assert end.code == 0, end.code"


DATA_ROOM = sorted((PACKAGE / "data").glob("*.py"))
FETCHER = PACKAGE / "scoring" / "fetch" / "fetcher.py"
ROOMS = (
    *(
        "plural",
        "markdown",
        "errors",
        "paths",
        "stray",
        "files",
        "text_files",
        "channel",
        "clusters",
        "spark",
        "command",
    ),
    *("experiment", "dag_ids", "data", "model", "training", "model/backbones", "data/features", "sweep", "looks"),
    *("selection", "atlas"),
    *("scoring/fetch", "scoring/feed", "scoring/network", "scoring/table", "scoring/publish", "scoring/report"),
    *("scoring", "tracking", "sql", "featurizer", "transformer", "ui", "laptop", "containers"),
)
"""From the ground up: a room imports from itself and from those before it."""
PAGE = REPOSITORY / "dags" / "experiments" / "digits.yaml"


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    """What parts of the package load, in an order in which none may hide what a later one must not load."""
    return loaded_by(
        {
            "page": f"import windrow.experiment; windrow.experiment.load({str(PAGE)!r})",
            **{job.name: help_of(job) for job in JOBS},
            "atlas": "import windrow.atlas, windrow.selection.pictures",
            "fetcher": importing(FETCHER),
            "data room": importing(*DATA_ROOM),
        }
    )


def test_the_rules_see_the_sources() -> None:
    jobs = {"prepare_dataset", "embed_images", "sweep", "draw_atlas", "promote_best", "score_images", "reproduce"}
    assert jobs == {path.stem for path in JOBS}
    assert "pyspark" in imported(PACKAGE / "spark.py")
    assert SPARK_MAKERS & set(calls(PACKAGE / "spark.py"))


def test_a_dag_file_loads_nothing_slow_beyond_airflow_itself() -> None:
    airflow = "import airflow.sdk\nfrom airflow.providers.apache.spark.operators import spark_submit"
    files = sorted((REPOSITORY / "dags").glob("*.py"))
    loaded = loaded_by({file.name: f"import runpy; runpy.run_path({str(file)!r})" for file in files}, before=airflow)
    assert "windrow_dags" in set.union(*loaded.values())
    slow = SLOW | {"numpy", "PIL", "aiohttp"}
    assert {file: modules & slow for file, modules in loaded.items() if modules & slow} == {}


def test_the_page_is_read_with_pydantic_and_yaml_only(loaded: dict[str, set[str]]) -> None:
    assert {"pydantic", "yaml"} <= loaded["page"]
    assert not loaded["page"] & (SLOW | {"numpy", "PIL", "aiohttp", "airflow"})


def test_the_data_room_and_the_fetcher_load_no_tensorflow(loaded: dict[str, set[str]]) -> None:
    assert "aiohttp" in loaded["fetcher"]
    assert not (loaded["fetcher"] | loaded["data room"]) & {"tensorflow", "keras", "pyspark", "mlflow"}
    assert not [name(path) for path in (*DATA_ROOM, FETCHER) if imported(path) & {"tensorflow", "keras"}]


def test_a_room_imports_from_itself_and_from_those_below_it_only() -> None:
    files = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]
    assert {room(path) for path in files} == set(ROOMS)
    upwards = {
        f"{name(path)} -> {name(other)}"
        for path in files
        for other in neighbours(path)
        if ROOMS.index(room(other)) > ROOMS.index(room(path))
    }
    assert upwards == set()


def test_no_file_imports_itself_by_way_of_others() -> None:
    sorter = graphlib.TopologicalSorter({path: neighbours(path) - {path} for path in PACKAGE.rglob("*.py")})
    sorter.prepare()  # raises CycleError, which names the files


def test_a_folder_of_the_package_has_at_most_15_files() -> None:
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert {name(folder): count for folder in folders if (count := len(list(folder.glob("*.py")))) > 15} == {}


def test_executors_that_label_load_no_pydantic() -> None:
    (loaded,) = loaded_by({"pipeline": importing(PACKAGE / "scoring" / "pipeline.py")}).values()
    assert "pyarrow" in loaded
    assert not loaded & {"pydantic", "yaml", "tensorflow", "mlflow"}


def test_only_tracking_and_the_jobs_know_mlflow() -> None:
    knowing = {path for path in SOURCES if "mlflow" in imported(path)}
    assert not [name(path) for path in knowing if path not in JOBS and PACKAGE / "tracking" not in path.parents]


def test_the_atlas_draws_without_tensorflow_and_loads_its_libraries_only_to_draw(loaded: dict[str, set[str]]) -> None:
    drawing = sorted((PACKAGE / "atlas").glob("*.py"))
    assert len(drawing) > 8
    assert not [name(path) for path in drawing if imported(path) & {"tensorflow", "keras", "mlflow", "pyspark"}]
    assert not loaded["atlas"] & SLOW


def test_only_one_module_makes_a_spark_session() -> None:
    assert [name(path) for path in SOURCES if SPARK_MAKERS & set(calls(path))] == ["windrow/spark.py"]


def test_no_job_and_nothing_it_uses_imports_airflow() -> None:
    assert not [name(path) for path in SOURCES if "airflow" in imported(path)]


def test_jobs_and_package_import_nothing_of_dags_and_plugins() -> None:
    outside = {path.stem for folder in ("dags", "plugins") for path in (REPOSITORY / folder).glob("*.py")}
    assert not [name(path) for path in SOURCES if imported(path) & outside]


@pytest.mark.parametrize("job", JOBS, ids=lambda path: path.name)
def test_help_needs_neither_spark_nor_tensorflow(loaded: dict[str, set[str]], job: Path) -> None:
    assert not loaded[job.name] & SLOW


def test_the_rules_see_what_is_loaded() -> None:
    found = loaded_by({"first": "import wave", "second": "import wave, numpy.linalg"})
    assert "wave" in found["first"]
    assert "numpy" in found["second"]
    assert "wave" not in found["second"]
