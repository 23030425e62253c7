"""What people are told of a run: few lines, in words, and the same of runs that an earlier Windrow made."""

from __future__ import annotations

from typing import Any

from windrow.scoring import work
from windrow.scoring.report import text

from .test_gallery import told

COUNTS = {"files": 2, "files_read": 1, "urls": 1250, "new": 1200, "already_scored": 50, "retried": 0, "rescored": 0}
OLD = {
    "rows": 3,
    "statuses": {"ok": 2, "timeout": 1},
    "images_per_second": 1.5,
    "model_name": "m",
    "model_version": "2",
}


def lines(**more: Any) -> list[str]:
    return text.summary({**COUNTS, **told(**more), "table": "t", "table_version": 4}).splitlines()


def test_the_summary_says_speed_waits_failing_hosts_and_drift() -> None:
    hosts = [{"host": f"h{n}.example", "failed": 10 - n, "asked": 20, "status": "timeout"} for n in range(5)]
    assert lines(hosts=hosts)[2:] == [
        "  ok                       1,000",
        "  timeout                    150  may pass",
        "  http_error                  50",
        "81.5 images a second with digits version 3, 61% of what 2 cores could label without waiting",
        "95 of 100 downloads took 1,234 ms or less",
        "most failures: h0.example 10 of 20; h1.example 9 of 20; h2.example 8 of 20",
        "beside the 7 runs before: labels moved much (PSI 0.31); scores as before (PSI 0.02)",
        "table t, version 4",
    ]


def test_a_small_share_of_the_ceiling_is_not_told_as_nothing() -> None:
    assert "0.3% of what one core could label" in "\n".join(lines(share_of_ceiling=0.003, slots=1))


def test_a_run_with_nothing_to_do_says_no_more_than_that() -> None:
    nothing = {**work.NOTHING, "files": 2, "table": "t", "table_version": 4}
    assert text.summary(nothing).splitlines() == ["0 of 2 files of the feed have news", "table t, version 4"]


def test_a_run_with_a_copy_says_where_it_is_and_what_travelled() -> None:
    copy = {"published": "s3://b/t", "published_version": 4, "uploaded": 2, "uploaded_bytes": 11244}
    assert lines(**copy)[-1] == "copy s3://b/t, version 4; 2 files with 11,244 bytes went there"


def test_an_outlook_says_what_a_run_would_ask_and_what_it_would_leave() -> None:
    counts = {**work.NOTHING, "new": 1200, "retried": 5, "left": 30}
    assert text.outlook(counts).splitlines() == [
        "a run would ask 1,205 URLs: 1,200 new, 5 due again; nothing was asked, and no row was added",
        "30 new URLs would be left to the run after it",
    ]
    assert text.outlook(work.NOTHING) == "a run would ask 0 URLs; nothing was asked, and no row was added"


def test_the_figures_of_an_earlier_windrow_can_be_told() -> None:
    assert text.sentences(OLD) == [
        "2 of 3 URLs labelled by m version 2.",
        "1 without a label: 1 timeout.",
        "1.5 images a second.",
    ]


def test_the_note_of_a_withheld_run_begins_with_why() -> None:
    assert text.note(OLD, "the labels moved by 0.4").splitlines()[0] == "- **Withheld:** the labels moved by 0.4."
