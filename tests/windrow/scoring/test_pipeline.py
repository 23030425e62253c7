"""One pass: exactly one row a target, whatever the web does; on real Spark as well."""

from __future__ import annotations

import base64
import hashlib
import io
import socket
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness.predictions import PATIENCE, policy
from harness.waiting import wait_for
from PIL import Image
from windrow.errors import UserError, WindrowError
from windrow.model import canaries
from windrow.model.canaries import Canary
from windrow.model.form import Form
from windrow.model.network import Network
from windrow.scoring import pipeline, rehearsal
from windrow.scoring.feed import feed_marks, known_keys, new_urls
from windrow.scoring.fetch import urls
from windrow.scoring.fetch.downloads import Downloads
from windrow.scoring.fetch.urls import Target
from windrow.scoring.network import predict
from windrow.scoring.pipeline import ScoringPlan
from windrow.scoring.report import album
from windrow.scoring.report.album import Album
from windrow.scoring.table import prediction
from windrow.scoring.table.prediction import Prediction, Stamp

from .conftest import LOOPBACK, HostileServer, answer, drip, encoded, flood, grey, png_header, redirect, reset

pytestmark = pytest.mark.tensorflow
LABELS = ("dark", "middle", "bright")


@pytest.fixture
def plan(brightness: Path) -> ScoringPlan:
    digest = hashlib.sha256(brightness.read_bytes()).hexdigest()
    return ScoringPlan(
        model=Network("brightness", "1", brightness, digest, (8, 8, 1), LABELS),
        stamp=Stamp("run", "brightness", "1", digest),
        fetch=policy(
            timeout_seconds=2,
            max_bytes=100_000,
            concurrency=8,
            host_concurrency=8,
            host_rate=None,
            allow_addresses=LOOPBACK,
        ),
        top_k=2,
        batch_size=4,
        max_pixels=10_000,
        patience=PATIENCE,
    )


def targets(*lines: str) -> list[Target]:
    understood = [urls.understand(line.encode()) for line in lines]
    return [target for target in understood if target is not None]


def by_url(rows: Iterable[Prediction]) -> dict[str, Prediction]:
    found = list(rows)
    assert len({row.url for row in found}) == len(found)
    return {row.url: row for row in found}


def hostile_feed(server: HostileServer) -> dict[str, str]:
    """URL → the status that it must end with. What is refused is loopback too, but not what the plan allows."""
    broken = grey(9, (64, 64))[:-40]
    return {
        server.file("/dark.png", grey(5)): "ok",
        server.file("/bright.png", grey(250)): "ok",
        server.on("/moved.png", redirect("/dark.png")): "ok",
        server.url("/absent.png"): "http_error",
        server.on("/503", answer("503 Later")): "http_unavailable",
        server.on("/drip", drip): "timeout",
        server.on("/flood", flood): "too_large",
        server.on("/reset", reset): "broken_response",
        server.on("/loop", redirect("/loop")): "too_many_redirects",
        server.on("/file", redirect("file:///etc/passwd")): "refused_scheme",
        server.on("/inside", redirect("http://[::1]:9/")): "refused_address",
        server.file("/page.jpg", b"<html>no image</html>", "image/jpeg"): "not_an_image",
        server.file("/empty.png", b""): "not_an_image",
        server.file("/cut.png", broken): "broken_image",
        server.file("/bomb.png", png_header(60_000, 60_000)): "image_too_large",
        "http://[::ffff:0:127.0.0.1]:9/a.png": "refused_address",
        "http://[::1]:9/a.png": "refused_address",
        "http://***@example.com/": "refused_credentials",
        "s3://bucket/key.png": "refused_scheme",
        "not a url": "invalid_url",
    }


def test_every_url_of_a_hostile_web_ends_as_one_row_with_its_status(server: HostileServer, plan: ScoringPlan) -> None:
    expected = hostile_feed(server)
    rows = by_url(pipeline.predictions(targets(*expected), plan))
    assert {url: row.status for url, row in rows.items()} == expected
    assert all((row.error is None) == (row.status == "ok") for row in rows.values())


def test_an_image_gets_its_labels_best_first_and_its_facts(server: HostileServer, plan: ScoringPlan) -> None:
    content = grey(250, (16, 12))
    url = server.file("/bright.png", content)
    row = by_url(pipeline.predictions(targets(url), plan))[url]
    assert (row.label, row.label_id, row.top_k[0]["rank"], len(row.top_k)) == ("bright", 2, 1, 2)
    assert row.score == row.top_k[0]["score"] > row.top_k[1]["score"] >= 0
    assert (row.width, row.height, row.http_status, row.final_url) == (16, 12, 200, url)
    assert row.content_hash == hashlib.sha256(content).hexdigest()
    assert min(row.fetch_ms, row.decode_ms, row.predict_ms) > 0
    assert (row.model_name, row.model_version, row.run_id, row.attempt) == ("brightness", "1", "run", 1)


@pytest.mark.parametrize("count", [1, 4, 5, 11])
def test_the_last_batch_may_be_short_and_labels_stay_with_their_urls(
    server: HostileServer, plan: ScoringPlan, count: int
) -> None:
    levels = [(number * 83) % 256 for number in range(count)]
    lines = {server.file(f"/{number}.png", grey(level)): level for number, level in enumerate(levels)}
    rows = by_url(pipeline.predictions(targets(*lines), plan))
    assert {url: rows[url].label for url in lines} == {
        url: "dark" if level < 83 else "middle" if level < 172 else "bright" for url, level in lines.items()
    }


def test_the_same_bytes_behind_other_urls_are_computed_once(server: HostileServer, plan: ScoringPlan) -> None:
    urls = [server.file(f"/{number}.png", grey(250)) for number in range(11)]
    rows = by_url(pipeline.predictions(targets(*urls, server.file("/dark.png", grey(3))), plan))
    assert {rows[url].label for url in urls} == {"bright"}
    assert len({rows[url].score for url in urls}) == 1
    assert sum(rows[url].predict_ms is not None for url in urls) == 1
    assert sum(rows[url].decode_ms is not None for url in urls) == 1
    assert all(rows[url].fetch_ms > 0 for url in urls)


def test_pictures_of_labelled_images_are_put_aside_as_the_network_saw_them(
    server: HostileServer, plan: ScoringPlan, tmp_path: Path
) -> None:
    lines = {server.file(f"/{level}.png", grey(level, (16, 12))): level for level in (3, 90, 250)}
    made = Album(str(tmp_path), 1.0)
    pictures = made.page()
    rows = by_url(pipeline.predictions(targets(*lines, server.url("/absent.png")), plan, pictures))
    pictures.write(0)
    chosen = album.choose(made).unsure
    assert {picture.url: picture.label for picture in chosen} == {url: rows[url].label for url in lines}
    for picture in chosen:
        shown = Image.open(io.BytesIO(base64.b64decode(picture.image.partition(",")[2])))
        assert (np.asarray(shown) == lines[picture.url]).all()
        assert shown.size == (picture.width, picture.height) == (8, 8)


def test_a_pass_with_nothing_to_ask_loads_no_network(plan: ScoringPlan) -> None:
    nowhere = replace(plan, model=replace(plan.model, file=Path("/absent"), digest="absent"))
    rows = list(pipeline.predictions(targets("no url", "ftp://example.com/"), nowhere))
    assert [row.status for row in rows] == ["invalid_url", "refused_scheme"]
    assert list(pipeline.predictions([], nowhere)) == []


def test_a_bug_in_a_fetch_ends_the_pass_instead_of_hanging_it(
    monkeypatch: pytest.MonkeyPatch, server: HostileServer, plan: ScoringPlan
) -> None:
    async def buggy(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("windrow.scoring.fetch.fetcher.Fetcher.fetch", buggy)
    with pytest.raises(ZeroDivisionError):
        list(pipeline.predictions(targets(server.url("/a")), plan))


def test_a_pass_that_is_left_early_stops_its_downloads(server: HostileServer, plan: ScoringPlan) -> None:
    lines = [server.on(f"/{number}", drip) for number in range(20)]
    limits = replace(plan.fetch, timeout_seconds=600, robots=False)
    rows = pipeline.predictions(targets(*lines, "no url"), replace(plan, fetch=limits))
    assert next(rows).status == "invalid_url"
    wait_for(lambda: server.open.total() == limits.host_concurrency)
    rows.close()  # type: ignore[attr-defined]
    assert "downloads" not in {thread.name for thread in threading.enumerate()}
    wait_for(lambda: server.open.total() == 0)
    assert server.asked.total() == limits.host_concurrency


def test_downloads_wait_while_enough_lies_ready(server: HostileServer, plan: ScoringPlan) -> None:
    taken: list[str] = []
    ahead: list[int] = []

    def serve(connection: socket.socket) -> None:
        ahead.append(server.asked.total() - len(taken))
        connection.sendall(answer("200 OK", b"x" * 50_000))

    lines = [server.on(f"/{number}", serve) for number in range(40)]
    limits = replace(plan.fetch, concurrency=4, robots=False)
    with Downloads(limits, ahead=40, buffer_bytes=100_000) as downloads:
        for target, _ in downloads.stream(targets(*lines)):
            taken.append(target.url)
            if len(taken) < 10:  # a slow reader, so that downloads could run ahead if they did
                wait_for(lambda: not downloads._room.is_set())
    assert set(taken) == set(lines)
    # Two fill the buffer, each of four may bring the one that it was fetching, and one is being taken.
    assert max(ahead) <= 2 + 4 + 1


def test_the_network_is_loaded_once_a_process(brightness: Path) -> None:
    first = predict.load(brightness, "d1", (8, 8, 1), 4, 1)
    assert predict.load(Path("/gone"), "d1", (8, 8, 1), 4, 1) is first
    assert predict.load(brightness, "d2", (8, 8, 1), 4, 1) is not first


def test_more_labels_than_classes_are_not_asked_for(brightness: Path) -> None:
    network = predict.LoadedNetwork(brightness, (8, 8, 1), batch_size=4, top_k=100)
    ids, scores = network.label(np.full((2, 8, 8, 1), 255, np.uint8))
    assert ids.shape == scores.shape == (2, 3)
    assert ids[0].tolist() == [2, 1, 0]
    assert scores.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_rows_fit_the_schema_however_little_is_known() -> None:
    stamp = Stamp("run", "name", "1", "digest")
    target = Target("x", "k", None, "invalid_url", "no")
    batch = prediction.record_batch([Prediction.of(target, None, stamp)], PATIENCE)
    assert batch.schema == prediction.SCHEMA
    assert batch.to_pylist()[0]["top_k"] is None
    assert batch.to_pylist()[0]["scored_at"].tzname() == "UTC"


@pytest.fixture
def stock_plan(plan: ScoringPlan, stock_graph: Path) -> ScoringPlan:
    """A plan with a network that decodes by itself, as the driver makes it: it does not know that yet."""
    form = Form("graph", "DecodeJpeg/contents:0", "softmax:0", resize="corner")
    return replace(
        plan, model=Network("stock", "1", stock_graph, "stock", None, ("red", "green", "blue"), form, open_ended=True)
    )


def colour(name: str, kind: str = "JPEG") -> bytes:
    return encoded(Image.new("RGB", (20, 30), name), kind)


def test_a_network_that_decodes_by_itself_gets_every_image_and_a_bad_one_fails_no_other(
    server: HostileServer, stock_plan: ScoringPlan
) -> None:
    sound = encoded(Image.effect_noise((64, 64), 90).convert("RGB"), "JPEG")
    expected = hostile_feed(server) | {
        server.file("/red.jpg", colour("red")): "ok",
        server.file("/blue.png", colour("blue", "PNG")): "ok",
        server.file("/green.gif", colour("lime", "GIF")): "ok",
        server.file("/cut.jpg", sound[: len(sound) // 2]): "broken_image",
    }
    known_labels = replace(stock_plan.model, labels=("red", "green", "blue", "nothing"))
    rows = by_url(pipeline.predictions(targets(*expected), replace(stock_plan, model=known_labels)))
    assert {url: row.status for url, row in rows.items()} == expected
    labels = {url.rsplit("/", 1)[1]: row.label for url, row in rows.items() if row.status == "ok"}
    assert [labels[name] for name in ("red.jpg", "blue.png", "green.gif")] == ["red", "blue", "green"]
    (cut,) = (row for url, row in rows.items() if url.endswith("/cut.jpg"))
    assert cut.error
    assert (cut.width, cut.label) == (64, None)


@pytest.mark.spark
@pytest.mark.parametrize("feed_", ["DecodeJpeg/contents:0", "ResizeBilinear:0"])
def test_a_rehearsal_tells_the_driver_what_the_network_is(
    stock_plan: ScoringPlan, stock_graph: Path, spark: Any, feed_: str
) -> None:
    spark.sparkContext.addFile(str(stock_graph))
    form = replace(stock_plan.model.form, feed=feed_)
    told = replace(stock_plan, model=replace(stock_plan.model, file=Path(stock_graph.name), digest=feed_, form=form))
    model = rehearsal.rehearse(spark, told, 2).model
    own = feed_.startswith("Decode")
    assert (model.takes_bytes, model.shape) == (own, None if own else (6, 5, 3))
    assert model.labels == ("red", "green", "blue", "class 3")
    assert len(model.canaries) == len(canaries.NAMES)
    assert rehearsal.rehearse(spark, replace(told, model=model), 2).model == model


@pytest.mark.spark
def test_a_rehearsal_ends_with_a_sentence_where_the_network_can_not_be_used(
    plan: ScoringPlan, brightness: Path, spark: Any
) -> None:
    spark.sparkContext.addFile(str(brightness))
    shipped = replace(plan, model=replace(plan.model, file=Path(brightness.name)))
    for change, sentence in (
        ({"labels": ("a", "b")}, "each of the network's 3 classes; got 2"),
        ({"shape": (9, 9, 1), "digest": "9"}, "shape must be what the network takes"),
        ({"form": Form("graph", "a:0", "b:0")}, "must be a frozen GraphDef"),
    ):
        with pytest.raises(UserError, match=sentence):
            rehearsal.rehearse(spark, replace(shipped, model=replace(shipped.model, **change)), 2)
    wrong = (Canary((0,), (0.1,)),)
    with pytest.raises(WindrowError, match="every worker's network must label the image 'gradient'") as caught:
        rehearsal.rehearse(spark, replace(shipped, model=replace(shipped.model, canaries=wrong)), 2)
    assert not isinstance(caught.value, UserError)


@pytest.mark.spark
def test_on_spark_each_partition_is_a_task_and_each_url_a_row(
    server: HostileServer, plan: ScoringPlan, brightness: Path, spark: Any, tmp_path: Path
) -> None:
    expected = hostile_feed(server) | {
        server.file(f"/many-{number}.gif", encoded_gif(number)): "ok" for number in range(30)
    }
    (tmp_path / "feed.txt").write_text("\n".join(expected))
    spark.sparkContext.addFile(str(brightness))
    shipped = replace(plan, model=replace(plan.model, file=Path(brightness.name)))
    pieces = feed_marks.news([tmp_path / "feed.txt"], {})[0]
    urls_of_feed = new_urls.read(spark, pieces, np.empty(0, known_keys.DTYPE), tmp_path).rows
    frame = pipeline.score(urls_of_feed, urls_of_feed.count(), shipped, partitions=3)
    assert frame.rdd.getNumPartitions() == 3
    rows = [row.asDict() for row in frame.collect()]
    assert {row["url"]: row["status"] for row in rows} == expected
    assert Counter(row["label"] for row in rows if "many" in row["url"])["dark"] > 0


def encoded_gif(level: int) -> bytes:
    return encoded(Image.new("L", (8, 8), level), "GIF")
