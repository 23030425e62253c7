"""Fuzz the targets one after another, with atheris, which the first run installs into var/fuzz.

    make fuzz                                          # every target for a minute
    make fuzz ARGS="--target urls --seconds 600"
    make fuzz ARGS="--target urls --input var/fuzz/urls/found/crash-..."    # one input again, without atheris

What a run learns is kept in var/fuzz/TARGET/corpus, and the next run goes on from there. An input that breaks a promise
ends its target's turn and stands in var/fuzz/TARGET/found.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.alone import namespace
from windrow.errors import ServiceError, UserError, WindrowError
from windrow.paths import REPOSITORY, home
from windrow.plural import counted

from fuzz.targets import INSTRUMENTED

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
_SECONDS_AN_INPUT = 30  # of wall clock, on a busy machine
_MEBIBYTES = 2048
_NO_DATA = b"\0"  # libFuzzer takes an empty file for none


@dataclass(frozen=True)
class Turn:
    """What came of fuzzing a target.

    Attributes:
        inputs: how many were tried.
        seconds: wall clock, with the start.
        found: the file of the input that broke a promise; None if none did.
        reason: the last lines of what was said about it.
    """

    target: str
    inputs: int
    seconds: float
    found: Path | None
    reason: str

    def __str__(self) -> str:
        done = f"{self.target}: {counted(self.inputs, 'input')} in {self.seconds:.0f} s"
        if self.found is None:
            return f"{done}; all keep the promise"
        content = repr(self.found.read_bytes()[:300])
        return f"{done}; one breaks the promise: {content}, in {self.found}\n{self.reason}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz; return 0 if no input broke a promise, 1 if one did, and 2 if this machine can't."""
    options = _parse(arguments)
    if options.input is not None:
        importlib.import_module(f"fuzz.targets.{options.target[0]}").check(options.input.read_bytes())
        print(f"{options.target[0]}: {options.input} keeps the promise")
        return 0
    try:
        packages = install(home() / "fuzz" / "packages")
        with tempfile.TemporaryDirectory(prefix="windrow-fuzz-") as folder:
            alone = namespace(Path(folder) / "resolv.conf")
            if isinstance(alone, str):
                raise UserError(f"fuzzing runs only where nothing can leave the machine; this {alone}")
            turns = [fuzz(target, options.seconds, alone, packages, Path(folder)) for target in options.target]
    except WindrowError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 1 if any(turn.found for turn in turns) else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = sorted(INSTRUMENTED)
    parser.add_argument("--target", action="append", choices=names, help="what to fuzz; may be given several times")
    parser.add_argument("--seconds", type=int, default=60, help="how long, for each target (default: 60)")
    parser.add_argument("--input", type=Path, metavar="FILE", help="try this input of one target, and nothing else")
    options = parser.parse_args(arguments)
    if options.input is not None and len(options.target or ()) != 1:
        parser.error("--input needs one --target")
    options.target = options.target or names
    return options


def install(folder: Path) -> Path:
    """Install atheris into a folder of its own, unless it is there already; return the folder.

    Raises:
        ServiceError: pip failed: no wheel for this machine, or no network.
    """
    if (folder / "atheris").is_dir():
        return folder
    print(f"fuzz: installing {REQUIREMENTS.read_text().split()[-1]} into {folder}", flush=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
    done = subprocess.run(
        [*pip, "--no-deps", "--target", str(folder), "-r", str(REQUIREMENTS)], capture_output=True, text=True
    )
    if done.returncode != 0:
        version = ".".join(map(str, sys.version_info[:2]))
        raise ServiceError(
            f"make fuzz needs atheris, which has wheels for Linux on x86-64 and Python 3.11 to 3.13; got Python "
            f"{version} on {sys.platform}; pip says: {done.stderr.strip().splitlines()[-1]}"
        )
    return folder


def fuzz(target: str, seconds: int, alone: list[str], packages: Path, scratch: Path) -> Turn:
    """Fuzz one target for a number of seconds, in a process of its own, and print what came of it.

    Args:
        target: a name of INSTRUMENTED.
        seconds: the time after the start.
        alone: the command that runs another one where only loopback is.
        packages: the folder that has atheris.
        scratch: a folder for temporary files.
    """
    place = home() / "fuzz" / target
    seeds, corpus, found, log = place / "seeds", place / "corpus", place / "found", place / "log"
    for folder in (seeds, corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    module = importlib.import_module(f"fuzz.targets.{target}")
    for number, seed in enumerate(module.SEEDS):
        (seeds / f"{number:03}").write_bytes(seed or _NO_DATA)
    (place / "tokens").write_text("".join(f"{_quoted(token)}\n" for token in dict.fromkeys(module.TOKENS)))
    before = set(found.iterdir())
    options = {
        "max_total_time": seconds,
        "max_len": module.LONGEST,
        "timeout": _SECONDS_AN_INPUT,
        "report_slow_units": _SECONDS_AN_INPUT,  # slower ones would be written to `found`, and the run go on
        "rss_limit_mb": _MEBIBYTES,
        "dict": place / "tokens",
        "artifact_prefix": f"{found}/",
        "print_final_stats": 1,
    }
    command = [*alone, sys.executable, "-m", "fuzz.inside", target]
    command += [f"-{name}={value}" for name, value in options.items()]
    paths = os.pathsep.join([str(REPOSITORY / "jobs"), str(REPOSITORY / "tests"), str(packages)])
    began = time.monotonic()
    with log.open("wb") as output:
        # libFuzzer ends a process that has found something at once: what it leaves goes with the folder.
        variables = {**os.environ, "PYTHONPATH": paths, "TMPDIR": str(scratch)}
        done = subprocess.run([*command, str(corpus), str(seeds)], stdout=output, stderr=output, env=variables)
    text = log.read_text(encoding="utf-8", errors="replace")
    new = sorted(set(found.iterdir()) - before) if done.returncode != 0 else []
    executed = re.findall(r"^stat::number_of_executed_units: (\d+)|^#(\d+)\b", text, re.MULTILINE)
    inputs = max((int(number) for pair in executed for number in pair if number), default=0)
    if done.returncode != 0 and not new:
        raise ServiceError(f"fuzzing {target} must end by itself; got exit code {done.returncode}; see {log}")
    turn = Turn(target, inputs, time.monotonic() - began, new[0] if new else None, _reason(text))
    print(turn, flush=True)
    return turn


def _quoted(token: str) -> str:
    """Return a token as a line of libFuzzer's dictionary."""
    written = "".join(
        chr(byte) if 0x20 <= byte < 0x7F and byte not in b'"\\' else f"\\x{byte:02x}"
        for byte in token.encode("utf-8", "surrogateescape")
    )
    return f'"{written}"'


def _reason(log: str) -> str:
    """Return what Python, or else libFuzzer, says of the input that it stopped at."""
    traceback = re.search(r"Uncaught Python exception: ===\n(.*?)\n==\d+==", log, re.DOTALL)
    said = traceback[1] if traceback else "\n".join(re.findall(r"^(?:==\d+== )?ERROR.*$", log, re.MULTILINE))
    return "\n".join(f"  {line}" for line in said.splitlines()[:30])


if __name__ == "__main__":
    sys.exit(main())
