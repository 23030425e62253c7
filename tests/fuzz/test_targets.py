"""What `make fuzz` checks for any input holds for those that it starts from."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest
from windrow.errors import ServiceError

from fuzz.run import Turn, _quoted, install, main
from fuzz.targets import INSTRUMENTED


@pytest.mark.parametrize("name", sorted(INSTRUMENTED))
def test_the_inputs_that_fuzzing_starts_from_keep_their_targets_promise(name: str) -> None:
    target = importlib.import_module(f"fuzz.targets.{name}")
    assert max(map(len, target.SEEDS)) <= target.LONGEST
    for number, seed in enumerate(target.SEEDS):
        try:
            target.check(seed)
        except Exception as error:
            raise AssertionError(f"seed {number}: {seed!r}") from error


def test_a_token_is_written_as_the_dictionary_has_it() -> None:
    assert _quoted('a"\\é\n') == '"a\\x22\\x5c\\xc3\\xa9\\x0a"'


def test_one_input_is_tried_again_without_atheris(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one").write_bytes(b"http://example.com/a")
    assert main(["--target", "urls", "--input", str(tmp_path / "one")]) == 0
    assert "keeps the promise" in capsys.readouterr().out


def test_where_there_is_no_atheris_a_sentence_says_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(ServiceError, match="make fuzz needs atheris, which has wheels for Linux on x86-64"):
        install(tmp_path / "packages")


def test_a_found_input_is_shown_with_its_file_and_the_reason(tmp_path: Path) -> None:
    (tmp_path / "crash-1").write_bytes(b"\xff\n")
    found = str(Turn("urls", 1234, 5.0, tmp_path / "crash-1", "  AssertionError"))
    assert found.startswith("urls: 1,234 inputs in 5 s; one breaks the promise: b'\\xff\\n', in ")
    assert found.endswith("crash-1\n  AssertionError")
    assert str(Turn("urls", 1, 5.0, None, "")) == "urls: 1 input in 5 s; all keep the promise"
