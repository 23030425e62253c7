"""Any text is a page or has mistakes with their lines; a page that is read means the same when it is written again."""

from __future__ import annotations

import tempfile
from pathlib import Path

import yaml
from windrow.errors import PageError
from windrow.experiment import Experiment, conditions, keys, load, parse
from windrow.paths import REPOSITORY

from fuzz.bounds import bounded

LONGEST = 4000
TOKENS = [
    *(part for key in keys() for part in {f"{key.rpartition('.')[2]}: ", key}),
    *("true", "null", "~", "1e-3", ".nan", ".inf", "-.inf", "0x1f", "1_000", "0o17", "1:30", "2026-11-27", "!!binary"),
    *("&a ", "*a", "<<: ", "? ", "- ", "[", "]", "{", "}", "|\n", ">-\n", "---\n", "...\n", "%YAML", '"\\ud800"', "\t"),
    *(
        "constraints: [",
        " ** ",
        " // ",
        " % ",
        "not ",
        " and ",
        " or ",
        " in (",
        " == ",
        " is ",
        "max(",
        "log(",
        "sqrt(-",
    ),
    *(
        "head",
        "dense",
        "cnn",
        "grid",
        "asha",
        "points: [",
        "schedule: 0 3 * * *",
        "*/5",
        "L",
        "@weekly",
        "1-5",
        "sun#2",
    ),
    *("type: float", "type: categorical", "low: ", "high: ", "log: true", "step: ", "choices: [", "when: {", "\0"),
]
_PAGES = sorted((REPOSITORY / "dags" / "experiments").glob("*.yaml"))
SEEDS = [
    *(page.read_bytes()[:LONGEST] for page in _PAGES),
    *(
        text.encode("utf-8", "surrogateescape")
        for text in (
            "name: a\nspace: {units: {type: int, low: 8, high: 64}}\n\0sweep.trials=8\0space.units.high=1e3",
            "name: a\nspace: {x: {type: categorical, choices: [1, two, 3.0, true]}}\nnetwork: {builder: f.py:net}\n",
            "name: a\nscoring: {feed: feeds/*.txt, allow_addresses: [10.0.0.0/8], network: {path: a.keras}}\n",
            "name: a\nnetwork: {backbone: {path: lite0}}\nscoring: {feed: f/{date}/*, publish: s3://bucket/x}\n",
            "name: a\nspace:\n  optimizer: {type: categorical, choices: [adam, sgd]}\n"
            "  units: {type: int, low: 8, high: 64}\n"
            "  momentum: {type: float, low: 0.5, high: 0.9, when: {optimizer: sgd}}\n"
            "  layers: {type: int, low: 1, high: 3, when: {optimizer: [adam, sgd]}}\n"
            "constraints:\n  - units * layers <= 100\n  - not (optimizer == 'adam' and units ** 2 > -3.5)\n"
            "  - max(units, layers) % 2 != 1 or optimizer in ('sgd', 'adam')\n"
            "sweep:\n  points:\n    - {optimizer: sgd, momentum: 0.6, units: 8}\n",
            "name: a\nspace:\n  units: {type: int, low: 8, high: 64, when: {layers: 2}}\n"
            "  layers: {type: int, low: 1, high: 2, when: {units: 8}}\nconstraints: ['abs(units) / 0 < log(-units)']\n",
            "name: a\ndataset: {source: photos}\nnetwork: {builder: head, backbone: lite0}\npromotion: {seeds: 2}\n",
            "name: a\nnetwork: {backbone: lite0, parameters: {fit: crop, layers: 0}}\nsweep: {schedule: 0 3 * * 0#2}\n",
            "name: a\nspace: {learning_rate: {type: float, low: 1e-3, high: 1, step: 0.1}}\nsweep: {sampler: grid}\n"
            "dataset: {mirrors: ['http://a.example/']}\nscoring: {feed: x, schedule: 1-5 */2 L * *, publish: s3://b/c}\n",
            "a: &b [1, 2]\nc: *b\n",
            "? [1, 2]\n: 3\nname: !!python/name:os.system\n",
            "name: '\udcff'\nsweep: {trials: 99999999999999999999, trial_seconds: .inf, deadline: 2026-13-45}\n",
        )
    ),
]


def check(data: bytes) -> None:
    """Read the bytes before the first NUL as a page, and those between the others as values of --set."""
    content, *overrides = data.split(b"\0")
    settings = [each.decode("utf-8", "surrogateescape") for each in overrides]
    with tempfile.TemporaryDirectory(prefix="windrow-fuzz-") as folder:
        page = Path(folder) / "page.yaml"
        page.write_bytes(content)
        with bounded(mebibytes=100, seconds=10):
            try:
                read = load(page, settings)
            except PageError as error:
                _check_mistakes(error, content)
                return
            _check_constraints(read)
    if read.trains:  # as MLflow gets it, so that a version can be trained again from its record
        values = read.model_dump(mode="json", exclude={"scoring"} if read.scoring is None else set())
        again = parse(yaml.safe_dump(values, sort_keys=False))
        assert again == read, (again, read)


def _check_constraints(page: Experiment) -> None:
    """Evaluate the page's constraints at the ends of its space: they are true or false."""
    ends = [{}, {}]
    for name, dimension in page.space.items():
        choices = getattr(dimension, "choices", None)
        first, last = (choices[0], choices[-1]) if choices else (dimension.low, dimension.high)
        ends[0][name], ends[1][name] = first, last
    for values in (*ends, {}):
        for constraint in page.constraints:
            assert constraint.holds(values) in (True, False)
            assert constraint.is_sound(values) in (True, False)
        for dimension in page.space.values():
            assert conditions.holds(dimension, values) in (True, False)


def _check_mistakes(error: PageError, content: bytes) -> None:
    assert error.problems
    lines = content.count(b"\n") + content.count(b"\r") + content.count("\u2028".encode()) + content.count(b"\x85") + 2
    for problem in error.problems:
        text = str(problem)
        text.encode()  # a terminal, a log and MLflow can hold it
        assert text.isprintable(), text
        assert len(text) < 10_000, text
        assert problem.line is None or 1 <= problem.line <= lines, problem
