"""The image server and the demo's feed, over real HTTP."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image, UnidentifiedImageError
from windrow import experiment
from windrow.data import manifest, shards, sources
from windrow.experiment import DatasetSection
from windrow.laptop import demo_feed, image_server
from windrow.paths import home


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the digits prepared as `make demo` does it."""
    folder = tmp_path_factory.mktemp("home")
    section = DatasetSection()
    shards.write(demo_feed.dataset_folder(folder, "digits"), sources.load(section, folder / "downloads"), section)
    return folder


@pytest.fixture(scope="module")
def server(prepared: Path) -> Iterator[str]:
    with image_server.make_server(0, prepared / "demo") as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture(scope="module")
def digest(prepared: Path) -> str:
    return manifest.read(demo_feed.dataset_folder(prepared, "digits")).digest


def test_listens_on_loopback_only(prepared: Path) -> None:
    with image_server.make_server(0, prepared) as server:
        assert server.server_address[0] == "127.0.0.1"


def test_serves_the_very_pixels_of_the_test_split(server: str, prepared: Path, digest: str) -> None:
    expected = shards.load_split(demo_feed.dataset_folder(prepared, "digits"), "test")[0]
    for index in (0, 7, len(expected) - 1):
        answer = requests.get(server + image_server.image_path("digits", digest, index), timeout=5)
        assert answer.headers["Content-Type"] == "image/png"
        served = np.asarray(Image.open(io.BytesIO(answer.content)))
        np.testing.assert_array_equal(served, expected[index, :, :, 0])


def test_colour_images_keep_their_channels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(image_server.to_png(pixels)))), pixels)


@pytest.mark.parametrize(
    "path",
    [
        "/digits/{digest}/test/359.png",
        "/digits/{digest}/test/999999999.png",
        "/digits/{digest}/test/-1.png",
        "/digits/{digest}/train/0.png",
        "/digits/000000000000/test/0.png",
        "/letters/{digest}/test/0.png",
        "/../digits/{digest}/test/0.png",
        "/digits/{digest}/test/0.png/../../../../etc/passwd",
        "/",
        "/robots.txt",
    ],
)
def test_anything_else_is_404(server: str, digest: str, path: str) -> None:
    url = server + path.format(digest=digest[: image_server.DIGEST_LENGTH])
    request = requests.Request("GET", server).prepare()
    request.url = url  # requests would tidy ../ away
    with requests.Session() as session:
        assert session.send(request, timeout=5).status_code == 404


def test_has_a_page_that_is_no_image(server: str) -> None:
    answer = requests.get(f"{server}/digits/about.html", timeout=5)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html")
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(answer.content))


def test_has_an_image_that_ends_half_way(server: str, digest: str) -> None:
    answer = requests.get(server + image_server.image_path("digits", digest, 0, "cut"), timeout=5)
    with pytest.raises(OSError, match=r"truncated|Truncated"):
        Image.open(io.BytesIO(answer.content)).load()


def test_answers_many_requests_on_one_connection(server: str, digest: str) -> None:
    with requests.Session() as session:
        codes = {
            session.get(server + image_server.image_path("digits", digest, n), timeout=5).status_code for n in range(50)
        }
        missing = session.head(f"{server}/nothing", timeout=5)
    assert codes == {200}
    assert missing.status_code == 404


def test_a_data_set_that_is_prepared_anew_has_new_urls(tmp_path: Path) -> None:
    folder = demo_feed.dataset_folder(tmp_path, "digits")
    section = DatasetSection()
    first = shards.write(folder, sources.load(section, tmp_path), section).digest
    with image_server.make_server(0, tmp_path / "demo") as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        server = f"http://127.0.0.1:{running.server_port}"
        assert requests.get(server + image_server.image_path("digits", first, 0), timeout=5).status_code == 200
        other = section.model_copy(update={"seed": 1})
        second = shards.write(folder, sources.load(other, tmp_path), other).digest
        assert requests.get(server + image_server.image_path("digits", first, 0), timeout=5).status_code == 404
        assert requests.get(server + image_server.image_path("digits", second, 0), timeout=5).status_code == 200
        running.shutdown()


def test_the_feed_holds_every_test_image_and_a_broken_url_of_each_kind(prepared: Path, server: str) -> None:
    truth = demo_feed.write(prepared, "digits", server)

    lines = (prepared / "feeds" / "digits" / "demo.txt").read_text().splitlines()
    broken = demo_feed.read_truth(prepared, "digits")["broken"]
    assert len(truth) == 359
    assert lines[:359] == list(truth)
    assert set(lines[359:]) == set(broken)
    assert len(set(lines)) == len(lines)
    assert set(broken.values()) == {
        "404",
        "a page, not an image",
        "an image that ends half-way",
        "a host that does not resolve",
    }
    assert any(".invalid/" in url for url in broken)


def test_the_truth_is_the_image_that_the_url_shows(prepared: Path, server: str) -> None:
    pixels, labels = shards.load_split(demo_feed.dataset_folder(prepared, "digits"), "test")
    truth = demo_feed.write(prepared, "digits", server)
    url, label = list(truth.items())[42]
    served = np.asarray(Image.open(io.BytesIO(requests.get(url, timeout=5).content)))
    np.testing.assert_array_equal(served, pixels[42, :, :, 0])
    assert label == str(labels[42])


def test_the_truth_is_not_where_the_feed_is_looked_for(prepared: Path, server: str) -> None:
    demo_feed.write(prepared, "digits", server)
    files = [path.name for path in (prepared / "feeds" / "digits").iterdir()]
    assert files == ["demo.txt"]


def test_the_page_of_the_demo_reads_the_demo_feed() -> None:
    page = experiment.load(Path(__file__).parents[3] / "dags" / "experiments" / "digits.yaml")
    assert page.scoring is not None
    assert (home() / "feeds" / "digits" / "demo.txt").match(str(home() / page.scoring.feed))


def test_a_big_test_split_gives_no_more_than_the_limit(
    prepared: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_feed, "MOST_IMAGES", 10)
    assert len(demo_feed.write(prepared, "digits", server)) == 10
