"""A feed with a label column becomes a data set: prepare_dataset.py on real Spark, images from this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from harness.jobs import JOBS, submit_command, submit_environment
from harness.waiting import wait_for
from harness.web import Reply
from windrow.data import manifest as manifests
from windrow.data import shards

from .conftest import PAGE, SCORING, Images, grey

pytestmark = pytest.mark.spark
DATASET = "dataset: {source: feeds/labelled/*, label: kind, image_size: 8, channels: 1}\n"
LEVELS = range(0, 240, 4)
RunJob = Callable[..., Any]
Records = Sequence[tuple[str, str]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """WINDROW_HOME, with the page that the tests prepare."""
    folder = tmp_path / "home"
    (folder / "feeds" / "labelled").mkdir(parents=True)
    (tmp_path / "labelled.yaml").write_text(PAGE + DATASET + SCORING)
    return folder


def records(images: Images, levels: Sequence[int] = LEVELS) -> list[tuple[str, str]]:
    return [(f"{images.address}/{level}.png", "dark" if level < 120 else "bright") for level in levels]


def write(home: Path, rows: Records, name: str = "a.csv") -> None:
    lines = ["url,kind", *(f"{url},{kind}" for url, kind in rows)]
    (home / "feeds" / "labelled" / name).write_text("\n".join(lines) + "\n")


def prepare(run_job: RunJob, home: Path, *overrides: str) -> Any:
    settings = [word for override in overrides for word in ("--set", override)]
    page, out = home.parent / "labelled.yaml", home.parent / "out"
    return run_job("prepare_dataset", "--experiment", page, "--out", out, *settings)


def test_labelled_urls_are_downloaded_once_and_become_a_data_set(run_job: RunJob, home: Path, images: Images) -> None:
    rows = records(images)
    write(home, [*rows, rows[0], (f"{images.address}/absent", "dark"), (rows[0][0] + "#again", "dark")])
    first = prepare(run_job, home)
    assert first.code == 0, first.output
    assert (first.result["labels"], sum(first.result["splits"].values())) == (["bright", "dark"], 60)
    assert first.result["source"] == str(home / "feeds" / "labelled" / "*")
    assert sorted(images.paths) == sorted([*(f"/{level}.png" for level in LEVELS), "/absent"])
    manifest = manifests.read(home.parent / "out")
    assert manifest.left_out == {f"{images.address}/absent": "http_error: HTTP 404 Not Found"}
    assert "left out 1 of 61 images that can't be used" in " ".join(manifest.warnings)
    named = [
        name for split in ("train", "validation", "test") for name in shards.load_names(home.parent / "out", split)
    ]
    assert sorted(named) == sorted(url for url, _ in rows)
    pixels, labels = shards.load_split(home.parent / "out", "train")
    assert ((pixels[:, 0, 0, 0] < 120) == (labels == 1)).all()

    images.requests.clear()
    written = (home.parent / "out" / "train-images.npy").stat().st_mtime_ns
    second = prepare(run_job, home)
    assert second.result == first.result
    assert (images.requests, (home.parent / "out" / "train-images.npy").stat().st_mtime_ns) == ([], written)

    write(home, records(images, [241, 242]), "b.csv")
    third = prepare(run_job, home)
    assert sorted(images.paths) == ["/241.png", "/242.png"]
    assert sum(third.result["splits"].values()) == 62


def test_a_label_that_changes_is_taken_without_another_download(run_job: RunJob, home: Path, images: Images) -> None:
    write(home, rows := records(images))
    before = prepare(run_job, home)
    images.requests.clear()
    write(home, [(rows[0][0], "bright"), *rows[1:]])
    after = prepare(run_job, home)
    assert after.code == 0, after.output
    assert images.requests == []
    assert after.result["digest"] != before.result["digest"]
    totals = [sum(split["bright"] for split in done.result["class_counts"].values()) for done in (before, after)]
    assert totals == [30, 31]


def test_an_image_with_two_labels_is_left_out_and_named(run_job: RunJob, home: Path, images: Images) -> None:
    write(home, [*(rows := records(images)), (rows[0][0], "bright")])
    done = prepare(run_job, home)
    assert done.code == 0, done.output
    assert manifests.read(home.parent / "out").left_out == {rows[0][0]: "labels that differ: bright, dark"}
    assert "/0.png" not in images.paths


def test_images_whose_hosts_reserve_training_are_left_out_and_counted(
    run_job: RunJob, home: Path, images: Images
) -> None:
    rows = records(images)
    same = (f"{images.address}/same", "dark")
    write(home, [*rows, same])
    said = {"/0.png": {"Content-Usage": "train-ai=n"}, "/4.png": {"tdm-reservation": "1"}, "/same": {}}
    for path, headers in said.items():
        images.routes[path] = Reply(body=grey(4 if path == "/4.png" else 0), headers=headers)
    done = prepare(run_job, home)
    assert (done.code, done.result["left_out"], sum(done.result["splits"].values())) == (0, 3, 58), done.output
    assert manifests.read(home.parent / "out").left_out == {
        rows[0][0]: "Content-Usage: train-ai=n",
        same[0]: "Content-Usage: train-ai=n",
        rows[1][0]: "tdm-reservation: 1",
    }
    assert "3 images are not trained on, as the hosts ask (dataset.refuse_usage): " in " ".join(done.result["warnings"])
    images.requests.clear()
    taken = prepare(run_job, home, "dataset.refuse_usage=[]")
    assert (taken.result["left_out"], sum(taken.result["splits"].values()), images.requests) == (0, 61, [])


def test_what_may_pass_is_tried_again_when_it_is_due(run_job: RunJob, home: Path, images: Images) -> None:
    rows = [*records(images), (f"{images.address}/flaky/3.png", "dark")]
    write(home, rows)
    first = prepare(run_job, home, "scoring.retry_hours=0")
    assert (first.code, first.result["left_out"]) == (0, 1), first.output
    images.awake = True
    images.requests.clear()
    second = prepare(run_job, home)
    assert images.paths == ["/flaky/3.png"]
    assert (second.result["left_out"], sum(second.result["splits"].values())) == (0, 61)


def test_a_host_that_is_away_ends_with_1_and_says_when_to_run_again(
    run_job: RunJob, home: Path, images: Images, free_port: Callable[[], int]
) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    write(home, [*records(images), *((f"{dead}/{number}.png", "dark") for number in range(20))])
    done = prepare(run_job, home)
    assert done.code == 1
    assert "at most 5% of a data set's URLs may be left out; got 20 of 80: " in done.error
    assert "20 are due again from 20" in done.error
    assert not (home.parent / "out" / manifests.FILE).exists()
    listed = next((home / "labelled").glob("*/left_out.csv")).read_text().splitlines()
    assert (len(listed), listed[0]) == (21, "url,reason")
    images.requests.clear()
    again = prepare(run_job, home)  # nothing is due, so no host is contacted
    assert (again.code, images.requests) == (1, [])


def test_a_feed_whose_most_urls_are_gone_ends_with_2(run_job: RunJob, home: Path, images: Images) -> None:
    rows = records(images)
    write(home, [*rows[:20], *((url.replace(".png", ".gone"), kind) for url, kind in rows[20:])])
    done = prepare(run_job, home)
    assert done.code == 2
    assert "got 40 of 60: " in done.error
    assert "http_error: HTTP 404 Not Found" in done.error


def test_addresses_that_the_page_does_not_allow_are_asked_once_it_does(
    run_job: RunJob, home: Path, images: Images
) -> None:
    write(home, records(images))
    refused = prepare(run_job, home, "scoring.allow_addresses=[]")
    assert (refused.code, images.requests) == (2, [])
    assert "refused_address: an address" in refused.error
    assert prepare(run_job, home).code == 0


def tries(home: Path) -> set[str]:
    """The keys of the URLs whose tries a run under way, or a killed one, has written down."""
    files = home.glob("labelled/*/tries/*")
    return {json.loads(line)["key"] for path in files for line in path.read_text().split("\n")[:-1]}


@pytest.mark.faults
@pytest.mark.submit
def test_a_preparation_that_was_killed_goes_on_where_it_was(run_job: RunJob, home: Path, images: Images) -> None:
    write(home, rows := records(images))
    page, log = home.parent / "labelled.yaml", home.parent / "log"
    arguments = ("--experiment", page, "--out", home.parent / "out", "--set", "scoring.host_rate=20")
    with log.open("wb") as output:
        command = submit_command(JOBS / "prepare_dataset.py", *arguments)
        process = subprocess.Popen(
            command, env=submit_environment(), stdout=output, stderr=output, start_new_session=True
        )
    try:
        wait_for(lambda: len(tries(home)) >= 20 or process.poll() is not None, 240, 0.01, log.read_text)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
    known = tries(home)
    assert 20 <= len(known) < len(rows), log.read_text()
    done = prepare(run_job, home, "scoring.contact=mailto:second@example.org")
    assert (done.code, sum(done.result["splits"].values())) == (0, 60), done.output
    second = [request for request in images.requests if "second" in request.headers["User-Agent"]]
    asked = {sha256(f"{images.address}{request.path}".encode()).hexdigest() for request in second}
    assert asked
    assert not asked & known


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("url,class\n{url},dark\n", "dataset.label must be a column of the feed; got 'kind'; its columns are class"),
        ("{url}\n", "must be CSV, JSON lines or Parquet, with a column for the label; got text in"),
        ("url,kind\n{url},dark\n{url}2,dark\n", "a data set needs at least two classes; got only 'dark'"),
        ("url,kind\n{url},\n{url}2,dark\n{url}3,bright\n{url}4,dark\n", "no label in kind"),
        ("url,kind\n{url},1\n{url}2,2\n{url}3,3\n", "got 'kind', with 3 values for 3 URLs"),
        ("url,kind\n{url},dark\n{url}2\n", "a data set's feed must be readable; 1 file is refused"),
    ],
)
def test_a_feed_that_can_be_no_data_set_is_refused_before_a_request(
    run_job: RunJob, home: Path, images: Images, text: str, message: str
) -> None:
    (home / "feeds" / "labelled" / "a").write_text(text.format(url=f"{images.address}/1.png"))
    done = prepare(run_job, home)
    assert done.code == 2
    assert message in done.error
    assert images.requests == []
    assert not list(home.glob("labelled/*/bytes"))


def test_a_feed_without_a_file_is_refused(run_job: RunJob, home: Path) -> None:
    done = prepare(run_job, home)
    assert done.code == 2
    assert "the feed must match at least one file" in done.error
