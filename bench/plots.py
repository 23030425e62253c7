"""Draw docs/pictures/bench-*.png from the JSON files under bench/results/; a figure without its file is left out.

var/bench/venv/bin/python bench/plots.py
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import report

PICTURES = report.RESULTS.parents[1] / "docs" / "pictures"
OURS, OTHERS, LIGHT = "#c1440e", "#5b7083", "#b9c4cd"
GREYS = (LIGHT, OTHERS, "#2f3e4a", "#8d99a6")
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


def main() -> None:
    """Draw what there are results for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=report.RESULTS, metavar="DIR", help="folder of the JSON files")
    parser.add_argument("--out", type=Path, default=PICTURES, metavar="DIR", help="folder for the PNG files")
    arguments = parser.parse_args()
    for name, draw in FIGURES.items():
        file = arguments.results / f"{name}.json"
        if file.exists():
            figure(json.loads(file.read_text()), draw, arguments.out / f"bench-{name}.png")
        else:
            print(f"{name}: not measured yet, no {file}")


def figure(values: dict[str, Any], draw: Callable[[Any, dict[str, Any]], None], path: Path) -> None:
    """One PNG of 7 inches by at most 3.5, 110 dots an inch, under 60 KB."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    with pyplot.rc_context(STYLE):
        drawn, axes = pyplot.subplots(figsize=(7, 3.2))
        draw(axes, values)
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn.savefig(path, dpi=110, pil_kwargs={"optimize": True})
        pyplot.close(drawn)
    print(f"{path}: {path.stat().st_size / 1000:.0f} KB")


def sweeps(axes: Any, values: dict[str, Any]) -> None:
    """Seconds of the same sweep by tool, fastest on top; the darker part is the span of the trials."""
    rows = values["rows"][::-1]
    names, totals = [row["title"] for row in rows], [row["total"] for row in rows]
    colours = [OURS if row["tool"] == "windrow" else OTHERS for row in rows]
    axes.barh(names, totals, color=colours, alpha=0.45)
    axes.barh(names, [row["work"] for row in rows], color=colours)
    label_ends(axes, totals, "s")
    axes.set_title(f"{values['trials']} trials of {values['epochs']} epochs, MNIST, {values['machine']['cores']} cores")
    axes.set_xlabel("seconds, start-up counted; dark: first trial's start to last trial's end")


def overhead(axes: Any, values: dict[str, Any]) -> None:
    """Milliseconds a trial that does nothing, on a log scale."""
    rows = values["rows"][::-1]
    colours = [OURS if row["tool"] == "windrow" else OTHERS for row in rows]
    milliseconds = [row["milliseconds"] for row in rows]
    axes.barh([row["title"] for row in rows], milliseconds, color=colours)
    axes.set_xscale("log")
    axes.set_xlim(left=1)
    axes.xaxis.set_major_formatter("{x:.0f}")
    label_ends(axes, milliseconds, "ms")
    axes.set_title("Overhead a trial, warm, two at once")
    axes.set_xlabel("wall clock a trial that does nothing, milliseconds (log scale)")


def label_ends(axes: Any, ends: list[float], unit: str) -> None:
    """The value at the end of each bar, with room for it."""
    for place, end in enumerate(ends):
        text = f"{end:.0f} {unit}" if end >= 10 else f"{end:.1f} {unit}"
        axes.annotate(text, (end, place), (3, 0), textcoords="offset points", va="center")
    axes.margins(x=0.12)


def simulate(axes: Any, values: dict[str, Any]) -> None:
    """Speed-up over workers with the ideal line, both axes logarithmic."""
    workers = [row["workers"] for row in values["rows"]]
    axes.plot(workers, workers, color=LIGHT, label="ideal")
    axes.plot(workers, [row["speed_up"] for row in values["rows"]], "o-", color=OURS, ms=4, label="simulated")
    for axis, scale in ((axes.xaxis, axes.set_xscale), (axes.yaxis, axes.set_yscale)):
        scale("log")
        axis.set_major_formatter("{x:.0f}")
    driver, dispatch = (1000 * values[f"{name}_seconds"] for name in ("driver", "dispatch"))
    axes.set_title(
        f"One driver: {driver:.3g} ms a trial, {dispatch:.3g} ms latency; {values['mean_seconds']:.2g} s trials"
    )
    axes.set_xlabel("workers")
    axes.set_ylabel("speed-up")
    axes.legend()


def scaling(axes: Any, values: dict[str, Any]) -> None:
    """Measured speed-up over workers, with the ideal line and what the durations allow at best."""
    workers = [row["workers"] for row in values["rows"]]
    axes.plot(workers, workers, color=LIGHT, label="ideal")
    axes.plot(
        workers, [row["best_possible"] for row in values["rows"]], "--", color=OTHERS, label="without any overhead"
    )
    axes.plot(workers, [row["speed_up"] for row in values["rows"]], "o-", color=OURS, ms=4, label="measured")
    axes.set_title(f"{values['trials']} trials of {values['mean_seconds']:.2g} s on real one-core workers")
    axes.set_xlabel("workers")
    axes.set_ylabel("speed-up")
    axes.legend()


def pruning(axes: Any, values: dict[str, Any]) -> None:
    """Best validation accuracy so far over epochs spent, pruned and in full."""
    for (name, sweep), colour in zip(values["sweeps"].items(), (OTHERS, OURS), strict=True):
        curve = [(spent, best) for spent, best in sweep["curve"] if best > 0]
        spent, best = zip(*curve, strict=True)
        label = "every trial in full" if name == "none" else f"pruned by {name}"
        axes.step(spent, best, where="post", color=colour, label=label)
        axes.plot(spent[-1], best[-1], "o", color=colour, ms=5)
    lowest = min(sweep["curve"][-1][1] for sweep in values["sweeps"].values())
    axes.set_ylim(lowest - 0.03, lowest + 0.01)
    axes.set_title(f"{values['trials']} trials of up to {values['epochs']} epochs, MNIST; the dot is the sweep's end")
    axes.set_xlabel("epochs trained, all trials together")
    axes.set_ylabel("best val. accuracy so far")
    axes.legend(loc="lower right")


def epoch(axes: Any, values: dict[str, Any]) -> None:
    """Seconds an epoch by network and method: rows of network, method and seconds; the last method is Windrow's."""
    networks = list(dict.fromkeys(row["network"] for row in values["rows"]))
    methods = list(dict.fromkeys(row["method"] for row in values["rows"]))
    height = 0.8 / len(methods)
    for place, method in enumerate(methods):
        own = {row["network"]: row["seconds"] for row in values["rows"] if row["method"] == method}
        at = [index + place * height for index, network in enumerate(networks) if network in own]
        colour = OURS if place == len(methods) - 1 else GREYS[place % len(GREYS)]
        axes.barh(at, [own[name] for name in networks if name in own], height, color=colour, label=method)
    axes.set_yticks([index + 0.4 - height / 2 for index in range(len(networks))], networks)
    axes.invert_yaxis()
    axes.set_title("One epoch of MNIST on one thread, batch 128")
    axes.set_xlabel("seconds")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))


FIGURES = {
    "sweeps": sweeps,
    "overhead": overhead,
    "scaling": scaling,
    "simulate": simulate,
    "pruning": pruning,
    "epoch": epoch,
}


if __name__ == "__main__":
    main()
