"""The gallery: one file that asks nobody for anything, in which nothing that came from the web is more than text."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness.predictions import labelled_row
from hypothesis import given
from hypothesis import strategies as st
from windrow.scoring.report import album, gallery
from windrow.scoring.report.album import Chosen, Picture
from windrow.scoring.report.failures import Failure
from windrow.scoring.report.figures import Figures
from windrow.scoring.report.gallery.links import link
from windrow.scoring.report.gallery.rendering import render
from windrow.scoring.report.measurement import measure

from .test_figures import row, write

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'&lt;{}</style></td>"


class Page(HTMLParser):
    """What a browser would make of a page: elements with their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data} " if self.open and self.open[-1] != "style" else ""

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def picture(url: str = "http://a.example/1.png", label: str = "seven", **more: Any) -> Picture:
    uri, width, height = album.thumbnail(np.zeros((8, 8, 1), np.uint8))
    values = {"url": url, "url_key": "k", "label": label, "score": 0.987, "second": "one", "second_score": 0.01}
    return Picture(**{**values, "width": width, "height": height, "image": uri, **more})


def told(**more: Any) -> Figures:
    """A run's figures; `more` by their keys in JSON."""
    times = {
        f"{kind}_{stage}_ms": 1234.5 for kind in ("mean", "p50", "p95") for stage in ("fetch", "decode", "predict")
    }
    figures: dict[str, Any] = {
        **{"rows": 1200, "statuses": {"ok": 1000, "timeout": 150, "http_error": 50}, "ok_share": 0.83},
        **{"images_per_second": 81.5, "slots": 2, "share_of_ceiling": 0.61, "scores": [1] * 9 + [991]},
        **{"labels": {f"label {n}": 50 for n in range(20)}, "other_labels": 0},
        "hosts": [{"host": "slow.example", "failed": 150, "asked": 300, "status": "timeout"}],
        **{"model_name": "digits", "model_version": "3", "psi_labels": 0.31, "psi_scores": 0.02},
        "drift": {"runs": 7, "images": 7000, "moved": ["label 3", 0.1, 0.3], "reason": ""},
    }
    return Figures.from_json(figures | times | more)


def rendered(pictures: Chosen = Chosen(), failed: tuple[Failure, ...] = (), **more: Any) -> Page:  # noqa: B008
    return Page(render("digits", told(**more), pictures, failed))


def test_it_asks_nobody_for_anything_and_runs_nothing() -> None:
    shown = rendered(Chosen([picture()], [picture()], [picture()]), (Failure("timeout", "http://b.example/", "slow"),))
    assert not {"script", "link", "iframe", "object", "embed", "form", "base"} & {tag for tag, _ in shown.elements}
    assert all(str(image["src"]).startswith("data:image/") for image in shown.all("img"))
    assert not [name for _, attributes in shown.elements for name in attributes if name.startswith("on")]
    (policy,) = [meta for meta in shown.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert str(policy["content"]).startswith("default-src 'none'")


def test_hostile_text_is_text_wherever_it_stands() -> None:
    url = f"http://a.example/{HOSTILE}"
    failed = (Failure("timeout", url, HOSTILE), Failure("invalid_url", HOSTILE, HOSTILE))
    moved = {"runs": 1, "images": 300, "moved": [HOSTILE, 0.1, 0.9], "reason": HOSTILE}
    shown = rendered(
        Chosen([picture(url, HOSTILE, second=HOSTILE)]),
        failed,
        statuses={"ok": 2, "timeout": 1, "invalid_url": 1},
        labels={HOSTILE: 2},
        hosts=[{"host": HOSTILE, "failed": 1, "asked": 1, "status": "timeout"}],
        drift=moved,
        model_name=HOSTILE,
    )
    assert shown.open == []
    assert len(shown.all("img")) == 1
    assert {tag for tag, _ in shown.elements}.isdisjoint({"script"})
    assert set(shown.all("img")[0]) <= {"src", "alt", "width", "height", "loading", "class"}
    assert " ".join(shown.text.split()).count("<script>alert(1)</script>") >= 6


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)//http://a.example/",
        " javascript:alert(1)",
        "java\nscript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "vbscript:x",
        "file:///etc/passwd",
        "//a.example/x",
        "http:",
        "http:///x",
        "http://[::1",
        "http://a.example/\x00",
        "ftp://a.example/",
        "",
    ],
)
def test_what_is_no_web_address_is_no_link(url: str) -> None:
    assert link(url, "text") == "text"
    shown = rendered(Chosen([picture(url)]), (Failure("timeout", url, "why"),))
    assert shown.all("a") == []


def test_a_web_address_is_a_link_that_tells_its_host_nothing() -> None:
    shown = rendered(Chosen([picture("HTTPS://a.example/x?a=1&b='2'")]))
    (anchor,) = shown.all("a")
    assert anchor["href"] == "HTTPS://a.example/x?a=1&b='2'"
    assert anchor["target"] == "_blank"  # never in the frame that shows the gallery
    assert {"noopener", "noreferrer"} <= set(str(anchor["rel"]).split())


def test_people_who_do_not_see_it_can_read_it() -> None:
    shown = rendered(Chosen([picture()]), (Failure("timeout", "http://b.example/", "slow"),))
    (image,) = shown.all("img")
    assert image["alt"] == "seven, 98.7%, from a.example"
    assert [tag for tag, _ in shown.elements].count("h1") == 1
    assert len(shown.all("caption")) == len(shown.all("table")) == 6
    names = {attributes["id"] for _, attributes in shown.elements if "id" in attributes}
    assert all(section["aria-labelledby"] in names for section in shown.all("section"))
    assert all(region["tabindex"] == "0" for region in shown.all("div") if region.get("role") == "region")
    assert all(head.get("scope") in ("row", "col") for head in shown.all("th"))


def test_small_pictures_are_shown_pixel_by_pixel_and_large_ones_are_not() -> None:
    large, width, height = album.thumbnail(np.zeros((192, 192, 3), np.uint8))
    shown = rendered(Chosen([picture(), picture(image=large, width=width, height=height)]))
    assert [image.get("class") for image in shown.all("img")] == ["exact", None]


def test_its_sentences_say_what_was_done_how_fast_and_what_moved() -> None:
    text = " ".join(rendered().text.split())
    assert "1,000 of 1,200 URLs labelled by digits version 3." in text
    assert "200 without a label: 150 timeout, 50 http error." in text
    assert "81.5 images a second, 61% of what 2 cores could label without waiting." in text
    assert "Compared with the 7 runs before: labels moved much (PSI 0.31); scores as before (PSI 0.02)." in text
    assert "Most moved: label 3, from 10.0% to 30.0%." in text
    assert "any other 250 25.0%" in text


def test_a_run_without_anything_labelled_has_a_gallery() -> None:
    nothing = {
        f"{kind}_{stage}_ms": None for kind in ("mean", "p50", "p95") for stage in ("fetch", "decode", "predict")
    }
    reason = {"runs": 0, "images": 0, "moved": None, "reason": "fewer than 200 labelled images"}
    shown = rendered(
        failed=(Failure("invalid_url", "?", "no host"),),
        **nothing,
        statuses={"invalid_url": 3},
        rows=3,
        **{"labels": {}, "scores": [0] * 10, "hosts": [], "psi_labels": None, "psi_scores": None, "drift": reason},
    )
    assert "Not compared with earlier runs: fewer than 200 labelled images." in shown.text
    assert len(shown.all("table")) == 1


def test_a_full_gallery_of_large_pictures_stays_small(tmp_path: Path) -> None:
    made = album.Album(str(tmp_path / "album"), 1.0)
    noise = np.random.default_rng(0)
    pages = made.page()
    for number in range(100):
        names = f"{'l' * 200}{number % 40}", "b" * 500
        values = labelled_row(f"http://a.example/{'x' * 900}{number}", [0, 1], [0.5, 0.1], names)
        pages.offer(values, noise.integers(0, 256, (299, 299, 3), np.uint8))
    pages.write(0)
    files = [write(tmp_path / "part-1.parquet", row("?", status="invalid_url", error="e" * 5000))]
    path = gallery.place(tmp_path, "r1")
    gallery.write(path, "digits", told(), made, measure(files, 1.0, 1).failures)
    assert path == tmp_path / "_windrow" / "galleries" / "r1" / "gallery.html"
    assert len(Page(path.read_text()).all("img")) == 60
    assert path.stat().st_size < 1_500_000


def test_a_gallery_that_can_not_be_drawn_costs_a_warning_and_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gallery, "render", lambda *_: 1 / 0)
    gallery.write(gallery.place(tmp_path, "r1"), "digits", told(), album.Album(str(tmp_path / "album"), 1.0), ())
    assert "warning: the run has no gallery; drawing it failed with ZeroDivisionError" in capsys.readouterr().err
    assert gallery.read(tmp_path, "r1") is None


def test_a_picture_that_can_not_be_made_is_left_out(tmp_path: Path) -> None:
    made = album.Album(str(tmp_path / "album"), 1.0)
    pages = made.page()
    pages.offer(labelled_row("http://a.example/1", [0], [0.5], ("cat",)), b"no JPEG")
    pages.offer(labelled_row("http://a.example/2", [0], [0.5], ("cat",)), np.zeros((8, 8, 3), np.uint8))
    pages.write(0)
    assert [picture.url for picture in album.choose(made).unsure] == ["http://a.example/2"]


@given(names=st.lists(st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1), min_size=2, max_size=2))
def test_any_printable_label_is_text_in_the_gallery(names: list[str]) -> None:
    labels = tuple(name[:300] for name in names)
    shown, plain = (rendered(Chosen(unsure=[picture(label=a, second=b)])) for a, b in (labels, ("cat", "dog")))
    (image,) = shown.all("img")
    assert image["alt"] == f"{labels[0]}, 98.7%, from a.example"
    assert [tag for tag, _ in shown.elements] == [tag for tag, _ in plain.elements]


def test_the_pictures_are_kept_for_the_page_in_airflow_as_well(tmp_path: Path) -> None:
    made = album.Album(str(tmp_path / "album"), 1.0)
    pages = made.page()
    for number in range(100):
        labelled = labelled_row(f"http://a.example/{number}", [0, 1], [0.5, 0.1], (HOSTILE, "b"))
        pages.offer(labelled, np.full((8, 8, 1), number, np.uint8))
    pages.write(0)
    files = [write(tmp_path / "part-1.parquet", row("http://a.example/1"))]
    gallery.write(gallery.place(tmp_path, "r1"), "digits", told(), made, measure(files, 1.0, 1).failures)
    assert gallery.read(tmp_path, "r1") == album.choose(made)
    assert gallery.read(tmp_path, "r2") is None
    gallery.write(gallery.place(tmp_path, "r2"), "digits", told(), made, measure(files, 1.0, 1).failures)
    gallery.prune(tmp_path)
    assert gallery.read(tmp_path, "r1") is None


def test_a_few_failures_of_each_reason_are_chosen_however_the_rows_are_divided(tmp_path: Path) -> None:
    rows = [row(f"http://a.example/{n}", status="timeout", error="slow") for n in range(20)]
    rows += [row(f"http://a.example/{n}") for n in range(20, 30)] + [row("?", status="invalid_url", error="no host")]
    one = measure([write(tmp_path / "part-1.parquet", *rows)], 1.0, 1).failures
    two = measure([write(tmp_path / f"part-{n}.parquet", *rows[n::2]) for n in (0, 1)], 1.0, 1).failures
    assert sorted(map(repr, one)) == sorted(map(repr, two))
    assert [failure.status for failure in one].count("timeout") == 3
    assert Failure("invalid_url", "?", "no host") in one


def test_the_newest_gallery_stays(tmp_path: Path) -> None:
    import os

    for age, name in enumerate(("new", "old", "older")):
        path = gallery.place(tmp_path, name)
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path.parent, (1000 - age, 1000 - age))
    gallery.prune(tmp_path)
    assert [folder.name for folder in (tmp_path / "_windrow" / "galleries").iterdir()] == ["new"]
    gallery.prune(tmp_path / "no-table")
