"""Results as files: JSON for plots.py, a Markdown table for docs/benchmarks.md, and the machine that they are from."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("tensorflow", "keras", "pyspark", "optuna", "mlflow", "ray", "keras-tuner", "hyperopt")


def machine(cores: int) -> dict[str, Any]:
    """Describe the machine of the figures. A load above 0.3 before the start means that the cores were shared."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": _processor(),
        "cores": cores,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def use_cores(count: int) -> None:
    """Keep this process and all that it starts to `count` cores, where the system can (Linux)."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def save(path: Path, values: dict[str, Any], table: str) -> None:
    """Write values to `path`, and the table with a line about the machine beside it as .md; print the table too."""
    if machine := values.get("machine"):
        table += (
            f"\n{machine['date']}, {machine['cores']} cores of {machine['processor']} ({machine['system']}), "
            f"Python {machine['python']}, load {machine['load_before']} before the start.\n"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=1) + "\n")
    path.with_suffix(".md").write_text(table)
    print(f"{table}\nwritten to {path}")


def table(columns: list[str], rows: list[list[Any]]) -> str:
    """A Markdown table; None is a dash, numbers as they come."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join('-' if cell is None else str(cell) for cell in line)} |\n" for line in lines)


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    names = [line for line in path.read_text().splitlines() if line.startswith("model name")] if path.exists() else []
    return names[0].partition(":")[2].strip() if names else platform.processor() or "unknown"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
