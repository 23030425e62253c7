"""Break each promise of README and docs in a copy of the tree, and see the suite fail: the test of the tests.

    python -m harness.promises            # with tests/ on PYTHONPATH; all of them: half an hour to an hour
    python -m harness.promises seed lease # those whose sentence has one of these words
    python -m harness.promises --table    # the table of docs/testing.md

Each entry of promises.toml is a sentence, one change of the code that breaks it, and a test that must fail then. The
tests run where only loopback is: with a broken guard, nothing may leave the machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from harness.alone import namespace

REPOSITORY = Path(__file__).resolve().parents[2]
FILE = REPOSITORY / "tests" / "promises.toml"
_FAILED = 1  # pytest's exit code where a test has failed


@dataclass(frozen=True)
class Promise:
    """A sentence that holds, and how it is broken.

    Attributes:
        says: the promise.
        change: what is done to break it, in words.
        file: the file that is changed; `old` stands there once, and becomes `new`.
        caught_by: the test that must fail then.
    """

    says: str
    change: str
    file: str
    old: str
    new: str
    caught_by: str


def read() -> list[Promise]:
    """Every promise of the list."""
    return [Promise(**values) for values in tomllib.loads(FILE.read_text(encoding="utf-8"))["promise"]]


def table(promises: list[Promise]) -> str:
    """The list as docs/testing.md has it."""
    rows = [f"| {one.says} | {one.change} | `{_short(one.caught_by)}` |" for one in promises]
    return "\n".join(["| what holds | what was changed | the test that fails then |", "|---|---|---|", *rows])


def _short(test: str) -> str:
    path, _, name = test.partition("::")
    return f"{path.removeprefix('tests/')}: {name.removeprefix('test_')}"


def copy_tree(into: Path) -> None:
    """Copy what git knows, and lead to the environment."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True).stdout.decode()
    for name in filter(None, listed.split("\0")):
        target = into / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, target)
    (into / ".venv").symlink_to(REPOSITORY / ".venv")


def is_caught(promise: Promise, tree: Path, alone: list[str]) -> bool:
    """Break the promise in a copy of the tree, run its test, and put the file back; whether the test failed.

    Args:
        promise: what to break.
        tree: a copy of the repository.
        alone: the command that runs another one where only loopback is.
    """
    file = tree / promise.file
    whole = file.read_text(encoding="utf-8")
    file.write_text(whole.replace(promise.old, promise.new), encoding="utf-8")
    variables = {**os.environ, "PYTHONPATH": str(tree / "jobs")}
    command = [*alone, sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", promise.caught_by]
    try:
        return subprocess.run(command, cwd=tree, env=variables, stdout=subprocess.DEVNULL).returncode == _FAILED
    finally:
        file.write_text(whole, encoding="utf-8")


def main() -> int:
    """Break them one after another; 1 if a test did not notice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="only promises with one of these words")
    parser.add_argument("--table", action="store_true", help="print the table of docs/testing.md and end")
    options = parser.parse_args()
    promises = read()
    if options.table:
        print(table(promises))
        return 0
    chosen = [one for one in promises if not options.words or any(word in one.says for word in options.words)]
    missed = 0
    with tempfile.TemporaryDirectory(prefix="windrow-promises-") as folder:
        alone = namespace(Path(folder) / "resolv.conf")
        if isinstance(alone, str):
            print(f"promises are broken only where nothing can leave the machine; this {alone}", file=sys.stderr)
            return 2
        tree = Path(folder) / "tree"
        copy_tree(tree)
        for one in chosen:
            caught = is_caught(one, tree, alone)
            missed += not caught
            print(f"{'caught' if caught else 'NOT CAUGHT'}: {one.says} ({one.change})", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} changes were caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
