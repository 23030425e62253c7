"""Sum up the runs of samplers.py: medians for each way, and Windrow against Optuna, seed by seed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import report

OUT = report.RESULTS / "samplers.json"
Row = tuple[str, str, str, int, list[float]]
"""Table, kind of search, way, seed, regrets after each budget."""


def rows(path: Path) -> list[Row]:
    """The runs in a file; none if it does not exist."""
    return [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def save(path: Path, runs: Sequence[Row], budgets: Sequence[int]) -> None:
    """Write both tables, as JSON and as Markdown."""
    found: dict[tuple[str, str], dict[str, dict[int, list[float]]]] = {}
    for table, kind, way, seed, regrets in runs:
        found.setdefault((kind, table), {}).setdefault(way, {})[seed] = regrets
    values: dict[str, Any] = {"budgets": list(budgets), "medians": [], "pairs": []}
    for (kind, table), ways in sorted(found.items()):
        for way, seeds in ways.items():
            middle = [round(median(regrets[place] for regrets in seeds.values()), 2) for place in range(len(budgets))]
            values["medians"].append([kind, table, way, len(seeds), *middle])
        values["pairs"] += pairs(kind, table, ways, budgets)
    text = families(found, budgets) + "\n" + against(values["pairs"], budgets)
    head = ["kind", "table", "way", "seeds", *(f"after {budget}" for budget in budgets)]
    report.save(path, values, text + "\nMedians of each table:\n\n" + report.table(head, values["medians"]))


def pairs(
    kind: str, table: str, ways: dict[str, dict[int, list[float]]], budgets: Sequence[int]
) -> list[list[str | int | float]]:
    """Windrow's regret less Optuna's with the same seed: number of runs, mean, its standard error, equal runs."""
    found: list[list[str | int | float]] = []
    for way, seeds in ways.items():
        tool, _, sampler = way.partition(" ")
        peers = ways.get(f"optuna {sampler}")
        if tool != "windrow" or peers is None:
            continue
        common = sorted(seeds.keys() & peers.keys())
        for place, budget in enumerate(budgets):
            differences = [seeds[seed][place] - peers[seed][place] for seed in common]
            noise = stdev(differences) / sqrt(len(differences))
            same = sum(not difference for difference in differences)
            found.append(
                [kind, table, sampler, budget, len(common), round(mean(differences), 3), round(noise, 3), same]
            )
    return found


def families(found: dict[tuple[str, str], dict[str, dict[int, list[float]]]], budgets: Sequence[int]) -> str:
    """The median over all runs of a benchmark's tables, for each kind and way, as Markdown."""
    pooled: dict[tuple[str, str], dict[str, list[list[float]]]] = {}
    for (kind, table), ways in found.items():
        for way, seeds in ways.items():
            pooled.setdefault((kind, way), {}).setdefault(table.partition("/")[0], []).extend(seeds.values())
    known = sorted({family for each in pooled.values() for family in each})
    lines = []
    for (kind, way), each in pooled.items():
        cells = [
            "; ".join(f"{median(regrets[place] for regrets in each[family]):.2f}" for place in range(len(budgets)))
            if family in each
            else None
            for family in known
        ]
        lines.append([kind, way, *cells])
    title = f"Median regret after {', '.join(map(str, budgets))} trials:\n\n"
    return title + report.table(["kind", "way", *known], lines)


def against(found: Sequence[Sequence[Any]], budgets: Sequence[int]) -> str:
    """For each kind and sampler, on how many tables and budgets Windrow is better or worse than Optuna, as Markdown."""
    grouped: dict[tuple[str, str], list[Sequence[Any]]] = {}
    for row in found:
        grouped.setdefault((row[0], row[2]), []).append(row)
    lines = []
    for (kind, sampler), each in grouped.items():
        clear = [difference / noise for *_, difference, noise, _ in each if noise and abs(difference) > 2 * noise]
        equal = sum(same for *_, same in each), sum(count for _, _, _, _, count, *_ in each)
        cells = [kind, sampler, f"{equal[0]} of {equal[1]}", len(each), sum(one < 0 for one in clear)]
        lines.append([*cells, sum(one > 0 for one in clear), "; ".join(overall(each, budget) for budget in budgets)])
    head = ["kind", "sampler", "equal regrets", "tables and budgets", "better", "worse", "mean difference ± noise"]
    title = "Windrow's regret less Optuna's, with the same seeds; better or worse by more than twice the noise:\n\n"
    return title + report.table(head, lines)


def overall(found: Sequence[Sequence[Any]], budget: int) -> str:
    """The mean difference over all tables after so many trials, with its standard error."""
    rows = [row for row in found if row[3] == budget]
    noise = sqrt(sum(row[6] ** 2 for row in rows)) / len(rows)
    return f"{mean(row[5] for row in rows):.2f} ± {noise:.2f}"
