"""The README keeps its word: its page loads, its network is one, its tree is the tree, its table is read."""

from __future__ import annotations

import re
import subprocess
import textwrap
from pathlib import Path

import pytest
from harness.documents import REPOSITORY, block, text_of
from harness.predictions import add_predictions
from windrow import experiment


def test_the_smallest_page_is_a_page_and_its_data_set_is_what_it_says() -> None:
    page = experiment.parse(block("README.md", "name: shoes"))
    assert (page.name, page.dataset.source, page.network.backbone) == ("shoes", "/data/shoes", "lite0")


@pytest.mark.tensorflow
def test_the_users_network_is_one() -> None:
    from windrow.experiment import parameters
    from windrow.training.networks import Builder

    builder = Builder("mine.py:build", block("README.md", "def build"), "build")
    network = builder.build({**parameters.defaults("mine.py:build"), "width": 4}, (8, 8, 1), 10)
    assert network.output_shape == (None, 10)


def test_the_predictions_are_printed_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    add_predictions(tmp_path / "var" / "tables" / "shoes", "1", {"http://127.0.0.1/7.png": (7, 0.75)})
    exec(compile(block("README.md", "DeltaTable("), "README.md", "exec"), {})
    heads, row = (line.split() for line in capsys.readouterr().out.splitlines())
    assert (heads, row) == (["url", "status", "label", "score"], ["0", "http://127.0.0.1/7.png", "ok", "7", "0.75"])


def tree() -> str:
    """The README's tree, a line a room."""
    return text_of("README.md").split("## The tree", 1)[1].split("\n## ", 1)[0]


def test_every_path_of_the_tree_exists() -> None:
    folders: dict[int, str] = {}
    for line in filter(str.strip, textwrap.dedent(tree()).splitlines()):
        depth = len(line) - len(line.lstrip())
        names = re.split(r"\s{2,}", line.strip())[0].split(", ")
        folders[depth] = names[0]
        parents = [folders[level] for level in sorted(folders) if level < depth]
        for name in names:
            path = f"requirements{name}" if name.startswith(".") else "".join(parents) + name
            assert list(REPOSITORY.glob(path)), path


def test_the_tree_has_every_folder_of_the_repository_and_every_room() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    paths = [Path(name).parts[:-1] for name in listed.stdout.split("\0")]
    folders = {parts[0] for parts in paths if parts and not parts[0].startswith(".")}
    rooms = {parts[2] for parts in paths if parts[:2] == ("jobs", "windrow") and len(parts) > 2}
    shown = set(re.findall(r"^ *(\w+)/ ", tree(), re.MULTILINE))
    assert (folders | rooms) - shown == set()


def test_scoring_is_switched_on_only_once_the_feed_has_a_file() -> None:
    """Without one, each night's run of score_shoes fails."""
    _, steps = text_of("README.md").split("\n## Your own images, in five steps\n", 1)
    before, feed = steps.split("\n4. Put image URLs", 1)
    switched = re.compile(r"switch on `score_shoes` and `maintain_shoes` only now")
    assert ("score_shoes" in before, bool(switched.search(" ".join(feed.split())))) == (False, True)


def test_a_newcomer_reads_it_in_five_minutes() -> None:
    assert len(text_of("README.md").splitlines()) <= 220


def test_every_word_is_defined_before_it_is_used() -> None:
    words = ("experiment", "study", "trials", "sweep", "finalist", "champion", "alias", "feed", "prediction")
    before, definitions = text_of("README.md").split("\n- An **experiment**", 1)
    definitions = f"**experiment**{definitions.partition('docs/glossary.md')[0]}"
    assert [word for word in words if f"**{word}**" not in definitions] == []
    prose = re.sub(r"^    .*$", "", before, flags=re.MULTILINE)  # the picture's boxes are the jobs' names
    assert re.findall(r"\b(stud(?:y|ies)|trials?|finalists?|champions?|alias(?:es)?)\b", prose) == []


def test_the_licence_is_there_whole_and_named() -> None:
    licence = text_of("LICENSE")
    assert re.search(r"Apache License\s+Version 2\.0, January 2004", licence)
    assert "END OF TERMS AND CONDITIONS" in licence
    assert "The Windrow authors" in licence
    assert "[Apache License 2.0](LICENSE)" in text_of("README.md")
