"""score_images.py: real Spark, a real network from a real registry, real HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.jobs import JOBS
from harness.predictions import add_predictions
from windrow.tracking.server import connect

from .conftest import PAGE, SCORING, Images, crown, scorings, write_feed

Run = Callable[..., Any]


def counts(result: dict[str, Any]) -> dict[str, int]:
    return {key: result[key] for key in ("urls", "new", "already_scored", "rows", "table_version")}


@pytest.mark.spark
@pytest.mark.tensorflow
@pytest.mark.mlflow
@pytest.mark.usefixtures("champion")
def test_every_new_url_gets_one_row_once(run_job: Run, page: Path, images: Images, tmp_path: Path) -> None:
    from deltalake import DeltaTable

    home = tmp_path / "home"
    labels = {
        f"{images.address}/{name}.png": "dark" if int(name.removeprefix("wide/")) < 128 else "bright"
        for name in ("0", "wide/50", "100", "150", "wide/200", "255")
    }
    broken = {
        f"{images.address}/absent.png": "http_error",
        f"{images.address}/page": "not_an_image",
        "no url": "invalid_url",
    }
    write_feed(home, "one.txt", *labels, *broken, "", next(iter(labels)))
    # Loopback, but not what the page allows: a test must not rely on the guard to keep it off other machines.
    write_feed(home, "two.txt", "http://[::1]:9/a.png")
    broken["http://[::1]:9/a.png"] = "refused_address"
    write_feed(home, "bad.txt", "url,shop", f"{images.address}/0.png,7", f"{images.address}/100.png")

    outlook = run_job("score_images", "--experiment", page, "--dry-run", "--limit", "4")
    assert outlook.code == 0, outlook.output
    assert counts(outlook.result) == {"urls": 10, "new": 4, "already_scored": 0, "rows": 0, "table_version": 0}
    assert "a run would score 4 URLs: 4 new; nothing was downloaded" in outlook.output
    assert not images.paths

    first = run_job("score_images", "--experiment", page, environment={"AIRFLOW_CTX_DAG_RUN_ID": "manual__1"})
    assert first.code == 0, first.output
    assert first.result["statuses"] == {"ok": 6} | dict.fromkeys(broken.values(), 1)
    assert counts(first.result) == {"urls": 10, "new": 10, "already_scored": 0, "rows": 10, "table_version": 1}
    assert (first.result["model_name"], first.result["model_version"]) == ("brightness", "1")
    assert first.result["images_per_second"] > 0
    accounted = {key: first.result[key] for key in ("records", "copies", "without_url", "files_refused")}
    assert accounted == {"records": 11, "copies": 1, "without_url": 0, "files_refused": 1}
    (refused,) = first.result["refused_files"]
    assert (Path(refused["file"]).name, refused["line"]) == ("bad.txt", 3)
    assert "warning: 1 file of the feed is refused" in first.output
    logged = connect().get_run(first.result["run_id"])
    assert "bad.txt, line 3: a record must have a field for each column" in logged.data.tags["windrow.refused_files"]
    assert (logged.data.metrics["records"], logged.data.metrics["files_refused"]) == (11, 1)
    table = Path(first.result["table"])
    assert table == home / "tables" / "brightness"
    frame = DeltaTable(str(table)).to_pandas().set_index("url")
    assert frame["label"].dropna().to_dict() == labels
    assert frame["status"][lambda column: column != "ok"].to_dict() == broken
    assert set(frame["dag_run_id"]) == {"manual__1"}

    asked = len(images.paths)
    assert asked
    again = run_job("score_images", "--experiment", page)
    assert again.code == 0, again.output
    assert counts(again.result) == {"urls": 0, "new": 0, "already_scored": 0, "rows": 0, "table_version": 1}
    assert (again.result["files"], again.result["files_read"], again.result["files_refused"]) == (3, 0, 1)
    assert len(images.paths) == asked

    write_feed(home, "three.txt", f"{images.address}/20.png", f"{images.address}/0.png#known")
    decided = frame["decided_by"].dropna().to_dict()
    assert decided == {"http://[::1]:9/a.png": '{"scoring.allow_addresses":["127.0.0.0/8"]}'}
    assert first.result["deciding_keys"] == {"refused_address": ["scoring.allow_addresses"]}
    looser = ("--set", 'scoring.allow_addresses=["127.0.0.0/8", "::1/128"]', "--retry-status", "http_error,invalid_url")
    third = run_job(
        *("score_images", "--experiment", page, "--feed", home / "feeds" / "t*.txt", "--set", "scoring.top_k=1"),
        *looser,
    )
    assert third.code == 0, third.output
    assert counts(third.result) == {"urls": 2, "new": 1, "already_scored": 1, "rows": 3, "table_version": 2}
    assert (third.result["files_read"], third.result["retried"], third.result["reopened"]) == (1, 2, 2)
    assert third.result["statuses"] == {"ok": 1, "http_error": 1, "connect_failed": 1}
    healed = DeltaTable(str(table)).to_pandas().set_index("url", verify_integrity=True)
    assert len(healed) == 11
    assert healed.loc["http://[::1]:9/a.png", ["status", "attempt"]].tolist() == ["connect_failed", 1]
    assert healed.loc[f"{images.address}/absent.png", ["status", "attempt"]].tolist() == ["http_error", 2]


def table_of(result: dict[str, Any]) -> Any:
    """The table as pandas reads it, by URL's end and model version; one row each, or this fails."""
    from deltalake import DeltaTable

    frame = DeltaTable(result["table"]).to_pandas()
    frame["end"] = frame["url"].str.rsplit("/", n=1).str[1]
    return frame.set_index(["end", "model_version"], verify_integrity=True)


@pytest.mark.spark
@pytest.mark.tensorflow
@pytest.mark.mlflow
@pytest.mark.usefixtures("champion")
def test_a_url_that_failed_for_now_is_asked_again_and_a_new_champion_labels_old_ones_only_if_told(
    run_job: Run, images: Images, tmp_path: Path
) -> None:
    page = tmp_path / "brightness.yaml"
    keys = "top_k: 2, retry_hours: 0, attempts: 3, keep_mebibytes: 1, truth: seen"
    page.write_text(PAGE + SCORING.replace("top_k: 2", keys))
    (tmp_path / "home" / "feeds").mkdir(parents=True)
    feed = tmp_path / "home" / "feeds" / "shop.csv"
    lines = [
        f"{images.address}/20.png,7,dark",
        f"{images.address}/150.png,8,bright",
        f"{images.address}/flaky/250.png,9,bright",
        f"{images.address}/absent.png,10,bright",
    ]
    feed.write_text("\n".join(["url,shop,seen", *lines]) + "\n")
    arguments = ("score_images", "--experiment", page, "--feed", feed)

    first = run_job(*arguments)
    assert first.code == 0, first.output
    assert first.result["statuses"] == {"ok": 2, "http_error": 1, "http_unavailable": 1}
    assert table_of(first.result)["attempt"].tolist() == [1] * 4
    assert (first.result["accuracy"], first.result["truth"]["images"], first.result["macro_f1"]) == (1.0, 2, 1.0)

    images.requests.clear()
    images.awake = True
    second = run_job(*arguments)
    assert second.code == 0, second.output
    assert (second.result["new"], second.result["retried"], second.result["rows"]) == (0, 1, 1)
    assert images.paths == ["/flaky/250.png"]
    rows = table_of(second.result)
    assert rows["status"].droplevel(1).to_dict() == {
        **dict.fromkeys(("20.png", "150.png", "250.png"), "ok"),
        "absent.png": "http_error",
    }
    extra = '{"shop":"9","seen":"bright"}'
    assert rows.loc[("250.png", "1"), ["attempt", "label", "extra"]].tolist() == [2, "bright", extra]

    crown("2")  # what was bright at 150 is dark now
    images.requests.clear()
    third = run_job(*arguments)
    assert third.code == 0, third.output
    assert (third.result["rows"], third.result["files_read"]) == (0, 0)
    assert third.result["earlier_labels"] == {"1": 3}
    assert "3 URLs have labels of version 1; --rescore, or scoring.rescore: champion, labels again" in third.output

    champion = ("--set", "scoring.rescore=champion")
    fourth = run_job(*arguments, *champion)
    assert fourth.code == 0, fourth.output
    assert (fourth.result["rescored"], fourth.result["statuses"], fourth.result.get("first_tries", {})) == (
        3,
        {"ok": 3},
        {},
    )
    assert (fourth.result["accuracy"], fourth.result["earlier_labels"]) == (0.6667, {})
    assert (fourth.result["compared"], round(fourth.result["agree"], 3)) == (3, 0.667)
    assert images.paths == []  # the page keeps the bytes
    rows = table_of(fourth.result)
    assert rows["label"].dropna().unstack().to_dict("index") == {
        "20.png": {"1": "dark", "2": "dark"},
        "150.png": {"1": "bright", "2": "dark"},
        "250.png": {"1": "bright", "2": "bright"},
    }
    assert rows.loc[("250.png", "2"), "extra"] == extra
    assert fourth.result["table_version"] == 3
    assert scorings()[-1].data.metrics["accuracy"] == 0.6667
    fifth = run_job(*arguments, *champion)
    assert (fifth.code, fifth.result["rows"], fifth.result["earlier_labels"]) == (0, 0, {}), fifth.output


@pytest.mark.spark
@pytest.mark.tensorflow
@pytest.mark.mlflow
@pytest.mark.usefixtures("champion")
def test_after_a_rollback_the_newest_row_of_each_url_is_the_champions_again(
    run_job: Run, images: Images, page: Path, tmp_path: Path
) -> None:
    names = ("150.png", "20.png", "0.png", "250.png", "absent.png")
    write_feed(tmp_path / "home", "one.txt", *(f"{images.address}/{name}" for name in names))
    again = ("score_images", "--experiment", page, "--set", "scoring.rescore=champion")
    assert run_job(*again).code == 0
    crown("2")  # what was bright at 150 is dark now
    assert run_job(*again).result["rescored"] == 4
    crown("1")

    plain = run_job("score_images", "--experiment", page)
    assert (plain.code, plain.result["rows"], plain.result["earlier_labels"]) == (0, 0, {"2": 4}), plain.output
    outlook = run_job(*again, "--dry-run")
    assert "a run would score 4 URLs: 4 labelled by other versions" in outlook.output
    images.requests.clear()
    images.routes |= {"/0.png": 503, "/250.png": 404}  # one may come back, and the other is gone
    before = table_of(outlook.result)
    back = run_job(*again)
    assert back.code == 0, back.output
    statuses = {"ok": 2, "http_unavailable": 1, "http_error": 1}
    assert (back.result["rescored"], back.result["statuses"], back.result["earlier_labels"]) == (4, statuses, {})
    assert (back.result["compared"], back.result["agree"]) == (2, 0.5)
    assert set(images.paths) == {"/150.png", "/20.png", "/0.png", "/250.png"}
    rows = table_of(back.result)  # one row for each URL and version
    assert rows["label"].unstack().fillna("").to_dict("index") == {
        "20.png": {"1": "dark", "2": "dark"},
        "150.png": {"1": "bright", "2": "dark"},
        "0.png": {"1": "dark", "2": "dark"},  # what failed has its label
        "250.png": {"1": "bright", "2": "bright"},
        "absent.png": {"1": "", "2": ""},
    }
    newest = rows.reset_index().sort_values("scored_at").drop_duplicates("url_key", keep="last")
    assert set(newest["model_version"]) == {"1"}
    ends = ["0.png", "250.png"]
    assert newest.set_index("end").loc[ends, "status"].tolist() == ["ok", "ok"]
    computed = ["run_id", "content_hash", "attempt", "score"]  # by the run of then
    assert rows.loc[[(end, "1") for end in ends], computed].equals(before.loc[[(end, "1") for end in ends], computed])
    images.requests.clear()
    last = run_job(*again)
    assert (last.code, last.result["rows"], last.result["earlier_labels"]) == (0, 0, {}), last.output
    assert images.paths == []


@pytest.mark.mlflow
@pytest.mark.usefixtures("champion")
def test_a_run_without_news_imports_no_mlflow_and_no_spark(page: Path, tmp_path: Path) -> None:
    (tmp_path / "home" / "feeds").mkdir()
    (tmp_path / "home" / "feeds" / "one.txt").touch()
    add_predictions(tmp_path / "home" / "tables" / "brightness", "7", {"http://a.example/1": (1, 0.5)})
    command = [sys.executable, "-X", "importtime", str(JOBS / "score_images.py"), "--experiment", str(page)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["earlier_labels"] == {"digits/7": 1}
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in ended.stderr.splitlines()}
    assert "windrow" in imported
    assert not {"mlflow", "pyspark", "tensorflow"} & imported


@pytest.mark.spark
@pytest.mark.parametrize(
    ("text", "lines", "arguments", "message"),
    [
        (PAGE, ["http://127.0.0.1/"], [], "needs a scoring section"),
        (PAGE + SCORING, [], [], "feed must match at least one file"),
        (PAGE + SCORING, ["http://127.0.0.1/"], ["--table", __file__], "choose another --table"),
    ],
    ids=["no-section", "no-feed", "no-table"],
)
def test_a_mistake_of_the_user_exits_with_2(
    run_job: Run, tmp_path: Path, text: str, lines: list[str], arguments: list[str], message: str
) -> None:
    (tmp_path / "page.yaml").write_text(text)
    if lines:
        write_feed(tmp_path / "home", "one.txt", *lines)
    finished = run_job("score_images", "--experiment", tmp_path / "page.yaml", *arguments)
    assert finished.code == 2
    assert message in finished.output


@pytest.mark.spark
@pytest.mark.mlflow
@pytest.mark.usefixtures("champion")
def test_without_a_champion_nothing_is_asked_and_nothing_written(
    run_job: Run, page: Path, images: Images, tmp_path: Path
) -> None:
    connect().delete_registered_model_alias("brightness", "champion")
    write_feed(tmp_path / "home", "one.txt", f"{images.address}/1.png")
    finished = run_job("score_images", "--experiment", page)
    assert finished.code == 2
    assert "models:/brightness@champion must be in the registry; it is not; run the train DAG" in finished.error

    skipped = run_job("score_images", "--experiment", page, "--without-champion", "skip")
    assert skipped.code == 0, skipped.output
    assert list(skipped.result) == ["skipped"]
    assert "models:/brightness@champion must be in the registry" in skipped.result["skipped"]

    connect().set_registered_model_alias("brightness", "previous", "1")
    removed = run_job("score_images", "--experiment", page, "--without-champion", "skip")
    assert removed.code == 2, "a champion that was removed is a mistake, and no beginning"
    assert "--rollback makes version 1 champion again, and --promote VERSION any other" in removed.error
    assert images.paths == []
    assert {path.name for path in (tmp_path / "home" / "tables" / "brightness").iterdir()} == {"_delta_log", "_windrow"}
