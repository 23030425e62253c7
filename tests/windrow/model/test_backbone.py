"""A backbone's record survives JSON, and its canaries find a worker that computes other features."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from windrow.errors import WindrowError
from windrow.model.backbone import Backbone, BackboneFields, check, fingerprint

FEATURES = np.random.default_rng(0).random((3, 50)).astype(np.float32)
BACKBONE = Backbone("small", Path("/var/small.keras"), "d" * 64, (8, 8, 3), 50, fingerprint(FEATURES), 1234)


def test_a_backbone_survives_json() -> None:
    assert Backbone.from_json(json.loads(json.dumps(BACKBONE.to_json()))) == BACKBONE


def test_a_backbone_from_before_its_weights_were_counted_is_read() -> None:
    older = {key: value for key, value in BACKBONE.to_json().items() if key != "weights"}
    assert Backbone.from_json(cast(BackboneFields, older)) == replace(BACKBONE, weights=0)


def test_features_that_differ_by_rounding_are_accepted() -> None:
    check(FEATURES * np.float32(1.0001), BACKBONE, "host")
    check(FEATURES.astype(np.float16), BACKBONE, "host")


def test_one_feature_that_differs_much_is_reported_with_host_and_image() -> None:
    others = FEATURES.copy()
    others[1, 33] += 1
    with pytest.raises(WindrowError, match=r"image 'noise' .* on node7 they differ by 0\.\d+ of the largest"):
        check(others, BACKBONE, "node7")


def test_features_that_are_no_numbers_are_reported() -> None:
    with pytest.raises(WindrowError, match="image 'gradient'"):
        check(np.full_like(FEATURES, np.nan), BACKBONE, "host")


def test_a_backbone_without_recorded_canaries_accepts_any_features() -> None:
    check(FEATURES * 2, replace(BACKBONE, canaries=()), "host")


def test_a_network_with_few_features_has_as_many_values() -> None:
    assert [len(values) for values in fingerprint(FEATURES[:, :3])] == [3, 3, 3]
