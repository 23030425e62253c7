from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from windrow import files
from windrow.data import manifest as manifests
from windrow.data.features.records import FeatureCopies, Features, FeatureSource
from windrow.data.manifest import Manifest, NearCopies
from windrow.errors import DatasetError
from windrow.experiment import Experiment, parse
from windrow.model.backbone import Backbone
from windrow.selection import near_copies

NAMES = [f"cat/{number}.png" for number in range(12)]
PLAIN = parse("name: a\nspace: {units: {type: int, low: 1, high: 9}}")
HEAD = parse("name: a\ndataset: {source: /cats, fit: squash}\nnetwork: {backbone: lite0}")
MANY = "too many images"


@pytest.fixture
def described(tmp_path: Path) -> Callable[..., Manifest]:
    """Describe a data set of 12 test images in tmp_path, with its near copies by pixels and by features."""

    def describe(by_pixels: NearCopies, by_features: FeatureCopies | None = None) -> Manifest:
        warnings = ("few images", *([str(by_pixels)] if by_pixels.images else []))
        manifest = Manifest("cats", "/cats", "d", (8, 8, 3), ("cat",), {"test": 12}, {}, {}, warnings=warnings)
        manifest = replace(manifest, near_copies=by_pixels)
        manifests.write(tmp_path, manifest)
        (tmp_path / "names.json").write_text(json.dumps({"test": NAMES}))
        if by_features is not None:
            backbone = Backbone("lite0", Path("b.keras"), "b", (8, 8, 3), 4)
            found = Features(FeatureSource("lite0"), backbone, "d", "f", 1, (1, 1, 4), near_copies=by_features)
            files.write_json(tmp_path / "features.json", asdict(found))
        return manifest

    return describe


def found(page: Experiment, folder: Path, manifest: Manifest) -> tuple[int | None, list[int] | None]:
    """The number of near copies, and which test images they are."""
    near = near_copies.find(page, folder, manifest)
    return near.images, None if near.chosen is None else near.chosen.nonzero()[0].tolist()


def test_near_copies_are_those_of_the_backbones_features_and_those_of_the_pixels(
    described: Callable[..., Manifest], tmp_path: Path
) -> None:
    by_pixels = NearCopies(2, ((NAMES[1], "x.png"), (NAMES[4], "y.png")))
    manifest = described(by_pixels, FeatureCopies(0.88, (4, 7), ((NAMES[7], "z.png"), (NAMES[4], "y.png"))))
    assert found(HEAD, tmp_path, manifest) == (3, [1, 4, 7])
    assert found(PLAIN, tmp_path, manifest) == (2, [1, 4])
    near = near_copies.find(HEAD, tmp_path, manifest)
    examples = [[NAMES[7], "z.png"], [NAMES[4], "y.png"], [NAMES[1], "x.png"]]
    assert near.figures() == {"images": 3, "examples": examples}
    assert near.warnings_text(manifest).endswith(
        ":\n\n- few images\n- 3 test images nearly coincide with an image of training or validation, so the test "
        "accuracy may be too high; remove one of each, e.g. cat/7.png ~ z.png; cat/4.png ~ y.png; cat/1.png ~ x.png"
    )


def test_where_the_manifest_does_not_name_all_only_the_number_is_known_and_its_warning_stays(
    described: Callable[..., Manifest], tmp_path: Path
) -> None:
    manifest = described(NearCopies(11, ((NAMES[1], "x.png"),)), FeatureCopies(0.88, missing=MANY))
    for page in (PLAIN, HEAD):
        assert found(page, tmp_path, manifest) == (11, None)
        near = near_copies.find(page, tmp_path, manifest)
        assert near.figures() == {"images": 11, "examples": [[NAMES[1], "x.png"]]}
        assert near.warnings_text(manifest) == manifest.warnings_text()
    assert "11 test images look nearly like" in manifest.warnings_text()


def test_where_near_copies_were_not_looked_for_there_is_no_number(
    described: Callable[..., Manifest], tmp_path: Path
) -> None:
    manifest = described(NearCopies(None), FeatureCopies(0.88, missing=MANY))
    for page in (PLAIN, HEAD):
        near = near_copies.find(page, tmp_path, manifest)
        assert (near.images, near.chosen, near.figures()) == (None, None, None)
        assert near.warnings_text(manifest).endswith(":\n\n- few images")


def test_without_near_copies_there_is_no_warning_of_them(described: Callable[..., Manifest], tmp_path: Path) -> None:
    manifest = described(NearCopies(), FeatureCopies(0.88))
    for page in (PLAIN, HEAD):
        assert found(page, tmp_path, manifest) == (0, [])
        assert near_copies.find(page, tmp_path, manifest).warnings_text(manifest).endswith(":\n\n- few images")


def test_a_page_with_a_backbone_needs_its_features(described: Callable[..., Manifest], tmp_path: Path) -> None:
    manifest = described(NearCopies())
    with pytest.raises(DatasetError, match="must hold the features of its images"):
        near_copies.find(HEAD, tmp_path, manifest)
