"""A feed whose addresses a scoring run would refuse is found before hours of training."""

from __future__ import annotations

from pathlib import Path

import pytest
from windrow import experiment
from windrow.errors import UserError
from windrow.experiment.scoring import ScoringSection
from windrow.laptop.page import feed_addresses


def scoring(allowed: str = "[]") -> ScoringSection:
    page = experiment.parse(
        "name: shoes\nspace: {units: {type: int, low: 1, high: 2}}\n"
        f"scoring: {{feed: feeds/shoes, allow_addresses: {allowed}}}"
    )
    assert page.scoring
    return page.scoring


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("127.0.0.1:8000", "[127.0.0.1/32]"),
        ("localhost", "[127.0.0.1/32]"),
        ("10.1.2.3", "[10.1.2.3/32]"),
        ("[fd00:20::7]", '["fd00:20::7/128"]'),
    ],
)
def test_a_feed_of_addresses_that_are_not_allowed_is_refused_with_the_key_and_its_value(
    host: str, network: str, tmp_path: Path
) -> None:
    feed = tmp_path / "monday.txt"
    feed.write_text(f"http://{host}/1.png\nhttp://{host}/2.png\n")
    with pytest.raises(UserError, match=r"hosts must be on the public internet or in scoring.allow_addresses") as error:
        feed_addresses.check(scoring(), [feed])
    assert f"{feed}, and no other kind in the 2 URLs looked at" in str(error.value)
    assert f"allow_addresses: {network} under scoring" in str(error.value)
    feed_addresses.check(scoring(network), [feed])


@pytest.mark.parametrize(
    "lines",
    [
        ["http://127.0.0.1/1.png", "http://images.example/2.png"],
        ["http://images.example/1.png"],
        ["http://93.184.216.34/1.png"],
        ["http://images.example/1.png", "no URL at all"],
        [],
    ],
    ids=["one of two", "a name", "a public address", "no URL", "empty"],
)
def test_a_feed_that_may_get_labels_passes(lines: list[str], tmp_path: Path) -> None:
    feed = tmp_path / "monday.txt"
    feed.write_text("\n".join(lines))
    feed_addresses.check(scoring(), [feed])


def test_all_files_and_formats_of_a_feed_count(tmp_path: Path) -> None:
    inside, outside = tmp_path / "a.csv", tmp_path / "b.jsonl"
    inside.write_text("url,kind\nhttp://127.0.0.1/1.png,boot\n")
    outside.write_text('{"url": "http://images.example/1.png"}\n')
    feed_addresses.check(scoring(), [inside, outside])
    with pytest.raises(UserError, match=r"in the 1 URL looked at;"):
        feed_addresses.check(scoring(), [inside])


def test_a_file_of_addresses_that_are_not_allowed_hides_no_other_file_and_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_text("".join(f"http://127.0.0.1/{number}.png\n" for number in range(150)))
    second.write_text("http://images.example/1.png\n")
    feed_addresses.check(scoring(), [first, second])
    warned = capsys.readouterr().err
    assert warned.startswith("warning: 100 of the 101 URLs looked at in the feed will get no label")
    assert f"such as 127.0.0.1 in {first}" in warned
    assert warned.endswith("allow_addresses: [127.0.0.1/32] under scoring on the page\n")
    feed_addresses.check(scoring("[127.0.0.1/32]"), [first, second])
    assert capsys.readouterr().err == ""


def test_a_feed_of_many_files_is_looked_at_in_some_and_in_the_last(tmp_path: Path) -> None:
    files = [tmp_path / f"{number:03}.txt" for number in range(251)]
    for file in files:
        file.write_text("http://127.0.0.1/1.png\n")
    with pytest.raises(UserError, match="in the 84 URLs looked at"):
        feed_addresses.check(scoring(), files)
    files[-1].write_text("http://images.example/1.png\n")
    feed_addresses.check(scoring(), files)
