"""A page that is written from a folder: it loads, it says what was found, and it replaces nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from windrow import experiment
from windrow.errors import PageError, UserError
from windrow.laptop.page import new
from windrow.laptop.page.look import FolderFacts
from windrow.paths import home

Draw = Callable[..., Path]


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the pages."""
    folder = tmp_path / "experiments"
    folder.mkdir()
    monkeypatch.setattr(new, "PAGES", folder)
    return folder


def test_a_folder_becomes_a_page_that_loads(drawn: Draw, pages: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = drawn({"boot": 30, "sandal": 10}, size=(64, 64), mode="L")
    assert new.main(["--name", "shoes", "--folder", str(folder), "--feed", "/data/urls"]) == 0
    page = experiment.load(pages / "shoes.yaml")
    assert (page.name, page.dataset.source) == ("shoes", str(folder.resolve()))
    assert (page.dataset.image_size, page.dataset.channels, page.network.builder) == (64, 1, "cnn")
    assert page.scoring
    assert page.scoring.feed == "/data/urls"
    assert page.trains
    told = capsys.readouterr().out
    assert "40 images in 2 classes (boot 30, sandal 10)" in told
    assert "guessing the most frequent class is right for 75.0%" in told
    assert "few      sandal 10" in told
    assert told.splitlines()[-1] == "Look at the page, then: make train EXPERIMENT=shoes"
    assert "40 images in 2 classes (boot 30, sandal 10)" in (pages / "shoes.yaml").read_text().splitlines()[0]


@pytest.mark.parametrize(
    ("size", "mode", "photographs"), [((80, 60), "RGB", True), ((80, 60), "L", False), ((20, 20), "RGB", False)]
)
def test_the_space_for_photographs_mirrors_and_changes_their_light_and_that_for_other_images_only_moves_them(
    drawn: Draw, pages: Path, size: tuple[int, int], mode: str, photographs: bool
) -> None:
    assert new.main(["--name", "shoes", "--folder", str(drawn({"a": 2, "b": 2}, size, mode))]) == 0
    page = experiment.load(pages / "shoes.yaml")
    assert ({"flip", "brightness", "contrast"} <= page.space.keys()) == photographs
    assert {"shift", "rotation", "zoom"} <= page.space.keys()


@pytest.mark.parametrize(
    ("size", "mode", "wish", "backbone"),
    [
        ((120, 96), "RGB", (), "lite0"),
        ((120, 90), "RGB", (), None),
        ((120, 96), "L", (), None),
        ((120, 96), "RGB", ("--backbone", "none"), None),
        ((20, 20), "L", ("--backbone", "lite0"), "lite0"),
    ],
)
def test_a_few_photographs_get_heads_on_a_backbone_unless_someone_chooses(
    drawn: Draw,
    pages: Path,
    size: tuple[int, int],
    mode: str,
    wish: tuple[str, ...],
    backbone: str | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert new.main(["--name", "shoes", "--folder", str(drawn({"a": 2, "b": 2}, size, mode)), *wish]) == 0
    page = experiment.load(pages / "shoes.yaml")
    assert page.network.backbone == backbone
    said = "heads on lite0" if backbone else "cnn, trained from nothing"
    assert f"network  {said}" in capsys.readouterr().out
    comment = "learns little from 4 images. For one all the same: make new ... BACKBONE=none"
    assert (comment in (pages / "shoes.yaml").read_text()) == (backbone is not None)


@pytest.mark.parametrize("backbone", ["lite0", "none"])
@pytest.mark.parametrize(("counts", "skewed"), [({"good": 16, "bad": 4}, False), ({"good": 17, "bad": 4}, True)])
def test_a_folder_that_is_nearly_all_of_one_class_is_searched_for_macro_f1_and_weighs_its_classes(
    counts: dict[str, int], skewed: bool, backbone: str, drawn: Draw, pages: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = drawn(counts, (24, 24))
    assert new.main(["--name", "parts", "--folder", str(folder), "--backbone", backbone]) == 0
    page, text = experiment.load(pages / "parts.yaml"), (pages / "parts.yaml").read_text()
    assert (page.sweep.objective == "val_macro_f1") == skewed
    weighs = page.network.defaults()["class_weight"] == "balanced"
    assert weighs == (skewed or backbone == "lite0"), "heads weigh them in any case"
    assert ("Guessing the most frequent class is right for 81%" in text) == skewed
    assert ("search   for val_macro_f1, because of that share" in capsys.readouterr().out) == skewed


def test_without_a_feed_urls_arrive_under_the_home(
    drawn: Draw, pages: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert new.main(["--name", "shoes", "--folder", str(drawn({"a": 2, "b": 2}))]) == 0
    page = experiment.load(pages / "shoes.yaml")
    assert page.scoring
    assert page.scoring.feed == "feeds/shoes"
    assert f"feed     {home()}/feeds/shoes" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", ["yaml", "yml"])
def test_a_page_that_is_there_is_kept(
    suffix: str, drawn: Draw, pages: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = pages / f"shoes.{suffix}"
    taken.write_text("mine")
    assert new.main(["--name", "shoes", "--folder", str(drawn({"a": 2, "b": 2}))]) == 2
    assert "NAME must be new; got 'shoes'" in capsys.readouterr().err
    assert (taken.read_text(), list(pages.iterdir())) == ("mine", [taken])


@pytest.mark.parametrize(
    ("name", "folder", "wrong"),
    [("", "x", "make new NAME=shoes FOLDER="), ("shoes", "", "make new NAME=shoes FOLDER="), ("../x", "x", "name")],
)
def test_a_name_or_folder_that_is_none_is_refused_and_nothing_written(
    name: str, folder: str, wrong: str, pages: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert new.main(["--name", name, "--folder", folder]) == 2
    assert wrong in capsys.readouterr().err
    assert list(pages.iterdir()) == []


def test_a_name_must_be_an_experiments(pages: Path) -> None:
    with pytest.raises(PageError, match="name"):
        new.place("My Shoes", pages)
    (pages / "shoes.yaml").touch()
    with pytest.raises(UserError, match="choose another, or remove that page"):
        new.place("shoes", pages)


def test_a_name_that_another_page_has_is_refused(pages: Path) -> None:
    (pages / "broken.yaml").write_text("name: [")
    (pages / "list.yml").write_text("- shoes")
    (pages / "boots.yaml").write_text("name: shoes\nspce: {}\n")
    with pytest.raises(UserError, match=r"got 'shoes', which is the name in .*boots\.yaml; choose another"):
        new.place("shoes", pages)
    assert new.place("boats", pages) == pages / "boats.yaml"


@pytest.mark.parametrize("name", ["null", "yes", "no", "on", "off", "true", "false", "y", "n", "shoes"])
def test_a_name_that_is_a_word_of_yaml_stays_a_name(name: str, drawn: Draw, pages: Path) -> None:
    assert new.main(["--name", name, "--folder", str(drawn({"a": 2, "b": 2}))]) == 0
    assert experiment.load(pages / f"{name}.yaml").name == name


FOUND = st.builds(
    FolderFacts,
    folder=st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=40
    ).map(lambda name: Path("/data") / name.replace("/", "-")),
    classes=st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=20),
        st.integers(1, 30_000),
        min_size=2,
        max_size=12,
    ),
    own_test=st.booleans(),
    width=st.integers(1, 9000),
    height=st.integers(1, 9000),
    side=st.integers(4, 96),
    channels=st.sampled_from([1, 3]),
    broken=st.just(0),
    opened=st.just(9),
)


@given(found=FOUND, backbone=st.booleans())
def test_whatever_a_folder_holds_its_page_loads(found: FolderFacts, backbone: bool) -> None:
    page = experiment.parse(new.page("shoes", found, backbone))
    assert page.dataset.source == str(found.folder)
    as_found = (None, 3) if backbone else (found.side, found.channels)
    assert (page.dataset.image_size, page.dataset.channels) == as_found
    assert page.network.backbone == ("lite0" if backbone else None)
    assert page.trains
