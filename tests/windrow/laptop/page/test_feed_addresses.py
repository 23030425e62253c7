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
    assert f"{feed}, and no other kind in the first 2 URLs" in str(error.value)
    assert f"allow_addresses: {network} under scoring" in str(error.value)
    feed_addresses.check(scoring(network), [feed])


@pytest.mark.parametrize(
    "lines",
    [
        ["http://127.0.0.1/1.png", "http://images.example/2.png"],
        ["http://images.example/1.png"],
        ["http://93.184.216.34/1.png"],
        ["no URL at all"],
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
    with pytest.raises(UserError, match=r"first 1 URL;"):
        feed_addresses.check(scoring(), [inside])
