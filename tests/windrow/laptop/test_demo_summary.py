"""What the demo tells: shares, counts and the rule of one row a URL."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from windrow.errors import ServiceError
from windrow.laptop import demo_summary
from windrow.laptop.demo_summary import Champion, Labels, TableRow

TRUTH = {"http://a/0.png": "zero", "http://a/1.png": "one", "http://a/2.png": "two"}
BROKEN = ["http://a/404.png"]


def row(url: str, label: str | None, status: str = "ok", version: str = "1", hour: int = 3) -> TableRow:
    return TableRow(url, status, label, version, datetime(2026, 11, 23, hour, tzinfo=UTC))


GOOD = [
    row("http://a/0.png", "zero"),
    row("http://a/1.png", "one"),
    row("http://a/2.png", "two"),
    row("http://a/404.png", None, "http_error"),
]


def test_all_right() -> None:
    labels = demo_summary.judge(GOOD, TRUTH, BROKEN)
    assert labels == Labels(urls=4, rows=4, labelled=3, reachable=3, correct=3, statuses={"ok": 3, "http_error": 1})
    assert labels.share_correct == 1.0
    assert labels.problem() is None


def test_a_wrong_label_a_failed_download_and_a_missing_row_are_all_not_correct() -> None:
    rows = [row("http://a/0.png", "one"), row("http://a/1.png", "one", "timeout"), GOOD[3]]
    labels = demo_summary.judge(rows, TRUTH, BROKEN)
    assert (labels.correct, labels.labelled, labels.rows) == (0, 1, 3)
    assert labels.problem() == "the table must have exactly one row per URL; got 1 URL without, 0 rows too many"


def test_a_url_with_two_rows_of_one_version_is_found_out() -> None:
    labels = demo_summary.judge([*GOOD, GOOD[0]], TRUTH, BROKEN)
    assert labels.problem() == "the table must have exactly one row per URL; got 0 URLs without, 1 row too many"


def test_a_missing_row_does_not_make_up_for_a_repeated_one() -> None:
    labels = demo_summary.judge([*GOOD[:3], GOOD[0]], TRUTH, BROKEN)
    assert labels.problem() == "the table must have exactly one row per URL; got 1 URL without, 1 row too many"


def test_rows_of_earlier_versions_and_of_other_feeds_do_not_count() -> None:
    earlier = [row(one.url, "seven", one.status, "0", hour=2) for one in GOOD]
    labels = demo_summary.judge([*GOOD, *earlier, row("http://elsewhere/cat.jpg", "cat")], TRUTH, BROKEN)
    assert labels == demo_summary.judge(GOOD, TRUTH, BROKEN)


def test_a_feed_without_any_image_has_no_share() -> None:
    assert demo_summary.judge([], {}, BROKEN).share_correct == 0.0


def test_lines_tell_every_figure_and_survive_missing_ones() -> None:
    sweep = {"trials": 12, "outcomes": {"ok": 11, "diverged": 1}, "objective": "val_accuracy", "best_value": 0.98765}
    promotion = {"test_accuracy": 0.975, "promoted": True, "reason": "no champion before"}
    labels = demo_summary.judge(GOOD, TRUTH, BROKEN)
    text = "\n".join(demo_summary.lines(demo_summary.figures(sweep, promotion, Champion("3", 0.975), labels)))
    for part in ("12 (11 ok, 1 diverged)", "0.9877", "0.9750 (no champion before)", "version 3", "100.0% (3 of 3"):
        assert part in text
    assert "unknown" in "\n".join(demo_summary.lines(demo_summary.figures({}, {}, Champion("3"), None)))


def test_the_last_lines_lead_to_the_sweep_and_the_version() -> None:
    run, version = "http://127.0.0.1:5000/#/experiments/1/runs/3f", "http://127.0.0.1:5000/#/models/digits/versions/1"
    sweep, promotion = {"links": {"mlflow_run": run}}, {"links": {"mlflow_run": run, "model_version": version}}
    values = demo_summary.figures(sweep, promotion, Champion("1"), None)
    assert demo_summary.links(values, "root") == [f"  MLflow   {run}  the sweep", f"           {version}  the version"]
    assert demo_summary.links(demo_summary.figures({}, {}, Champion("1"), None), "root") == ["  MLflow   root"]


def test_a_table_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="must be a table with columns url, status, label, model_version, scored_at"):
        demo_summary.read_table(str(tmp_path / "nothing"))


def test_a_table_is_read_whole_whatever_else_it_has(tmp_path: Path) -> None:
    from deltalake import write_deltalake

    folder = tmp_path / "50 % of it"
    for one in GOOD:
        write_deltalake(folder, pa.Table.from_pylist([asdict(one) | {"width": 8}]), mode="append")
    assert sorted(demo_summary.read_table(str(folder)), key=lambda row: row.url) == GOOD


def test_a_table_of_something_else_is_told(tmp_path: Path) -> None:
    from deltalake import write_deltalake

    write_deltalake(tmp_path / "t", pa.table({"url": ["http://a/0.png"], "price": [3]}))
    with pytest.raises(ServiceError, match="must be a table with columns url, status, label, model_version, scored_at"):
        demo_summary.read_table(str(tmp_path / "t"))


def test_a_registry_that_is_down_is_told_within_seconds(free_port: object) -> None:
    with pytest.raises(ServiceError, match=r"MLflow must answer at .*; run make doctor"):
        demo_summary.read_champion(f"http://127.0.0.1:{free_port()}", "digits")  # type: ignore[operator]


@pytest.mark.mlflow
def test_a_registry_without_the_model_has_no_champion(mlflow_server: str) -> None:
    assert demo_summary.read_champion(mlflow_server, "nobody") is None


def test_what_is_switched_off_is_in_the_summary_with_the_way_to_switch_it_on() -> None:
    values = demo_summary.figures({}, {}, Champion("3"), None)
    assert "paused" not in "\n".join(demo_summary.lines({**values, "paused": []}))
    told = demo_summary.lines({**values, "paused": ["score_digits"]})[-1]
    assert told.startswith("  DAGs               score_digits is paused; switch it on")
    assert told.endswith('or with make airflow ARGS="dags unpause score_digits"'), "another Airflow would answer"
