"""network.backbone and dataset.fit on a page: what they need, and what must not stand with them."""

from __future__ import annotations

from pathlib import Path

import pytest
from windrow import experiment
from windrow.errors import PageError
from windrow.experiment import parameters

PAGE = "name: a\ndataset: {source: photos}\nnetwork: {backbone: lite0}\n"
DIGEST = "a" * 64


def sentences(text: str) -> list[str]:
    with pytest.raises(PageError) as caught:
        experiment.parse(text)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    "backbone", ["lite0", "keras:MobileNetV3Small", "nets/a.keras", "https://a.example/b.keras?v=1", "/x y/b.keras"]
)
def test_a_backbone_gets_a_head(backbone: str) -> None:
    page = experiment.parse(f"name: a\ndataset: {{source: photos}}\nnetwork: {{backbone: '{backbone}'}}\n")
    assert (page.network.backbone, page.network.builder) == (backbone, "head")
    assert page.trains


@pytest.mark.parametrize(
    ("backbone", "read"),
    [
        ("nets/a.keras", "{folder}/nets/a.keras"),
        ("../a.keras", "{folder}/../a.keras"),
        ("/nets/a.keras", "/nets/a.keras"),
        *((same, same) for same in ("lite0", "keras:Xception", "https://a.example/b.keras")),
    ],
)
def test_a_relative_path_begins_in_the_pages_folder(tmp_path: Path, backbone: str, read: str) -> None:
    (tmp_path / "a.yaml").write_text(PAGE.replace("lite0", backbone))
    assert experiment.load(tmp_path / "a.yaml").network.backbone == read.format(folder=tmp_path)


def test_without_a_backbone_the_builder_is_dense() -> None:
    assert experiment.parse("name: a\nspace: {units: {type: int, low: 1, high: 2}}\n").network.builder == "dense"


@pytest.mark.parametrize(
    ("network", "dataset", "sentence"),
    [
        (
            "backbone: lite1",
            "source: photos",
            "network.backbone (line 3): must be lite0, a .keras file, its URL, or keras:NAME; got 'lite1'; "
            "for example lite0",
        ),
        (
            "backbone: lite0, builder: cnn",
            "source: photos",
            "network.builder (line 3): must be head where network.backbone is set; got 'cnn'; remove either",
        ),
        (
            f"backbone: lite0, backbone_sha256: {DIGEST}",
            "source: photos",
            "network.backbone_sha256 (line 3): must be empty for lite0, which is no file of yours; got one; drop it",
        ),
        (
            "backbone: a.keras, backbone_sha256: ABC",
            "source: photos",
            "network.backbone_sha256 (line 3): must be 64 hexadecimal digits in lower case; got 'ABC'",
        ),
        (
            "backbone: lite0",
            "source: mnist",
            "dataset.source (line 2): must be a folder of photographs where network.backbone is set; got mnist, "
            "which is grey; name a folder",
        ),
        (
            "backbone: lite0",
            "seed: 1",
            "dataset.source (line 2): must be a folder of photographs where network.backbone is set; got digits, "
            "which is grey; name a folder",
        ),
        (
            "backbone: lite0",
            "source: photos, channels: 1",
            "dataset.channels (line 2): must be 3 where network.backbone is set, which sees colours; got 1; drop it",
        ),
        (
            "backbone: lite0",
            "source: photos, fit: stretch",
            "dataset.fit (line 2): must be 'squash', 'crop' or 'both'; got 'stretch'",
        ),
    ],
)
def test_what_does_not_fit_a_backbone_is_named(network: str, dataset: str, sentence: str) -> None:
    assert sentences(f"name: a\ndataset: {{{dataset}}}\nnetwork: {{{network}}}\n") == [sentence]


SPACE = "space: {learning_rate: {type: float, low: 0.1, high: 1}}\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "network: {builder: head}\n",
            "network.backbone (line 3): is missing, and the builder head needs its features; add backbone: lite0",
        ),
        (
            "network: {backbone_layer: top}\n",
            "network.backbone_layer (line 3): must be empty without a backbone; got 'top'; add backbone: lite0, "
            "or remove it",
        ),
        (
            "dataset: {source: photos, fit: crop}\n",
            "dataset.fit (line 3): needs dataset.image_size, the side to crop to; got none; add it",
        ),
        (
            "dataset: {source: photos, fit: both, image_size: 28}\n",
            "dataset.fit (line 3): must be squash or crop without a backbone; got both; add backbone: lite0",
        ),
        (
            "dataset: {source: mnist, fit: crop, image_size: 28}\n",
            "dataset.fit (line 3): must be squash for mnist, whose images keep their size; got crop; drop it",
        ),
    ],
)
def test_what_needs_a_backbone_or_a_size_says_so(text: str, sentence: str) -> None:
    assert sentences(f"name: a\n{SPACE}{text}") == [sentence]


FIT = "space: {fit: {type: categorical, choices: [squash, crop]}}\n"
RATE = "space: {dropout: {type: float, low: 0, high: 0.5}}\n"


@pytest.mark.parametrize(
    ("fit", "parameters", "rest", "sentence"),
    [
        ("crop", "", FIT, "space.fit (line 4): needs dataset.fit to be both; got crop; remove either"),
        (
            "squash",
            "fit: crop",
            "",
            "network.parameters.fit (line 3): needs dataset.fit to be both; got squash; remove either",
        ),
        (
            "both",
            "",
            RATE,
            "dataset.fit (line 2): must be squash or crop where no trial chooses; got both; add fit to the space, or "
            "take one of them",
        ),
        ("both", "fit: middle", FIT, "network.parameters.fit (line 3): must be one of squash, crop; got 'middle'"),
    ],
)
def test_the_hyper_parameter_fit_and_the_images_of_both_kinds_need_each_other(
    fit: str, parameters: str, rest: str, sentence: str
) -> None:
    network = f"{{backbone: lite0, parameters: {{{parameters}}}}}"
    text = f"name: a\ndataset: {{source: photos, fit: {fit}}}\nnetwork: {network}\n{rest}"
    assert sentences(text) == [sentence]


@pytest.mark.parametrize("name", parameters.AUGMENTATION)
def test_a_head_knows_no_augmentation_of_pixels(name: str) -> None:
    (told,) = sentences(f"{PAGE}space: {{{name}: {{type: categorical, choices: [0.1]}}}}\n")
    assert told.startswith(f"space.{name} (line 4): unknown to head")


def test_a_crop_of_photographs_needs_no_size_with_a_backbone() -> None:
    page = experiment.parse(PAGE.replace("photos", "photos, fit: crop"))
    assert (page.dataset.fit, page.dataset.image_size) == ("crop", None)


def test_another_backbone_is_told_apart_by_its_features_not_by_the_page() -> None:
    digests = {
        experiment.parse(PAGE.replace("lite0", backbone)).search_digest()
        for backbone in ("lite0", "a.keras", f"a.keras, backbone_sha256: {DIGEST}", "a.keras, backbone_layer: top")
    }
    assert len(digests) == 1
