"""What people are told of a run: few lines, in words, and the same of runs that an earlier Windrow made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from windrow.scoring.report import text
from windrow.scoring.report.figures import Figures, Truth, UrlCounts
from windrow.scoring.report.result import Logged, ScoringResult

from .test_gallery import told

COUNTS = UrlCounts(files_read=1, urls=1250, new=1200, already_scored=50)
NOTHING = ScoringResult("t", 4, 2, "digits")
OLD = Figures.from_json(
    {
        "rows": 3,
        "statuses": {"ok": 2, "timeout": 1},
        "images_per_second": 1.5,
        "model_name": "m",
        "model_version": "2",
    }
)


def lines(copy: Any = None, **more: Any) -> list[str]:
    return text.summary(replace(NOTHING, counts=COUNTS, figures=told(**more), copy=copy)).splitlines()


def test_the_summary_says_speed_waits_failing_hosts_and_drift() -> None:
    hosts = [{"host": f"h{n}.example", "failed": 10 - n, "asked": 20, "status": "timeout"} for n in range(5)]
    assert lines(hosts=hosts)[2:] == [
        "  ok                       1,000",
        "  timeout                    150  may pass",
        "  http_error                  50",
        "81.5 images a second with digits version 3, 61% of what 2 cores could label without waiting",
        "95 of 100 downloads took 1,234 ms or less",
        "most failures: h0.example 10 of 20; h1.example 9 of 20; h2.example 8 of 20",
        "compared with the 7 runs before: labels moved much (PSI 0.31); scores as before (PSI 0.02)",
        "table t, version 4",
    ]


def test_a_small_share_of_the_ceiling_is_not_told_as_nothing() -> None:
    assert "0.3% of what 1 core could label" in "\n".join(lines(share_of_ceiling=0.003, slots=1))
    assert "less than 0.1% of what 1 core could label" in "\n".join(lines(share_of_ceiling=0.0004, slots=1))


def test_the_limit_that_held_a_run_back_is_named() -> None:
    line = "0.2% of what 2 cores could label without waiting; scoring.host_rate held the run back"
    assert line in "\n".join(lines(share_of_ceiling=0.002, held_back_by="scoring.host_rate"))


def test_where_nothing_was_downloaded_no_download_has_a_time() -> None:
    assert "downloads" not in "\n".join(lines(mean_fetch_ms=None, p50_fetch_ms=None, p95_fetch_ms=None))


def test_the_key_that_decided_a_status_is_named_in_the_summary_the_note_and_the_result() -> None:
    refused = {"statuses": {"refused_address": 93, "http_error": 2, "ok": 3}, "rows": 98}
    assert "  refused_address             93  scoring.allow_addresses decides" in lines(**refused)
    assert "  http_error                   2" in lines(**refused)
    without = "95 without a label: 93 refused address (scoring.allow_addresses), 2 http error."
    assert without in text.sentences(told(**refused))
    found = replace(NOTHING, figures=told(**refused)).to_json()["deciding_keys"]
    assert found == {"refused_address": ["scoring.allow_addresses"]}


def test_labels_of_other_versions_are_counted_in_one_line() -> None:
    one = replace(NOTHING, earlier_labels={"3": 1204})
    assert text.summary(one).splitlines()[-2] == (
        "1,204 URLs have labels of version 3; --rescore, or scoring.rescore: champion, labels again with the current "
        "digits"
    )
    two = replace(NOTHING, earlier_labels={"3": 1000, "shoes/7": 204})
    assert "1,204 URLs have labels of other versions (1,000 of version 3, 204 of version shoes/7);" in (
        text.outlook(two)
    )
    assert len(text.summary(replace(NOTHING, earlier_labels={})).splitlines()) == 2


def test_urls_that_a_key_made_due_are_told_from_those_whose_time_had_come() -> None:
    counts = UrlCounts(retried=95, reopened=93)
    assert "95 URLs that were due tried again, 93 of them by a changed key or --retry-status" in (
        text.summary(replace(NOTHING, counts=counts))
    )


def test_a_feed_with_true_classes_has_its_accuracy_beside_what_guessing_gives() -> None:
    truth = Truth("class", 200, 174, 0.8161, 0.9099, 0.35, 0.8612, 3, ("horse", "Esel"))
    found = text.sentences(replace(told(), truth=truth))
    assert (
        "87.0% of 200 labels are right by the feed's column class (95% interval 81.6% to 91.0%); the most frequent "
        "class alone would give 35.0%; macro-F1 0.861." in found
    )
    assert "3 images have a true class that the network does not know: horse, Esel." in found
    one = text.sentences(replace(told(), truth=Truth("class", 1, 1, 0.2065, 1.0, 1.0, 1.0)))
    assert any(sentence.startswith("100.0% of 1 label is right by the feed's column class") for sentence in one)
    nothing = "No labelled image has a true class in the feed's column class (scoring.truth)."
    assert nothing in text.sentences(replace(told(), truth=Truth("class")))


def test_a_run_with_nothing_to_do_says_no_more_than_that() -> None:
    assert text.summary(NOTHING).splitlines() == ["something new in 0 of 2 files of the feed", "table t, version 4"]


def test_a_run_with_a_copy_says_where_it_is_and_what_travelled() -> None:
    copy = {"published": "s3://b/t", "published_version": 4, "uploaded": 2, "uploaded_bytes": 11244}
    assert lines(copy=copy)[-1] == "copy s3://b/t, version 4; 2 files with 11,244 bytes uploaded"


def test_an_outlook_says_what_a_run_would_ask_and_what_it_would_leave() -> None:
    counts = UrlCounts(new=1200, retried=5, left=30)
    assert text.outlook(replace(NOTHING, counts=counts)).splitlines() == [
        "a run would score 1,205 URLs: 1,200 new, 5 due again; nothing was downloaded, and no row was added",
        "30 new URLs would be left to the run after it",
    ]
    assert text.outlook(NOTHING) == "a run would score 0 URLs; nothing was downloaded, and no row was added"


def test_the_result_of_a_run_has_the_keys_that_it_had_as_a_dictionary() -> None:
    nothing = NOTHING.to_json()
    counts = {"files_read", "urls", "new", "already_scored", "left", "retried", "rescored", "reopened"}
    counts |= {"records", "copies", "without_url", "files_refused"}
    assert set(nothing) == counts | {
        *("deciding_keys", "earlier_labels"),
        *("table", "table_version", "model_name", "model_version", "files", "rows", "statuses", "images_per_second"),
        "links",
    }
    assert (nothing["model_name"], nothing["model_version"], nothing["links"]) == ("digits", None, {})
    assert set(replace(NOTHING, dry_run=True).to_json()) == set(nothing) - {"links"} | {"dry_run"}
    logged: Logged = {"run_id": "a1", "links": {"mlflow_run": "http://m.example"}}
    scored = replace(NOTHING, figures=told(), counts=COUNTS, run_id="r1", model_version="3", logged=logged).to_json()
    assert set(scored) == set(told().to_json()) | set(nothing) | {"scoring", "run_id"}
    assert "other_versions" not in replace(NOTHING, figures=replace(told(), other_versions={"2": 5})).to_json()
    assert (scored["scoring"], scored["run_id"], scored["new"], scored["model_version"]) == ("r1", "a1", 1200, "3")


def test_the_figures_of_an_earlier_windrow_can_be_told() -> None:
    assert text.sentences(OLD) == [
        "2 of 3 URLs labelled by m version 2.",
        "1 without a label: 1 timeout.",
        "1.5 images a second.",
    ]


def test_the_note_of_a_withheld_run_begins_with_why() -> None:
    assert text.note(OLD, "the labels moved by 0.4").splitlines()[0] == "- **Withheld:** the labels moved by 0.4."
