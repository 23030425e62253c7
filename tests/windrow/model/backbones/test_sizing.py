"""The images of a page with a backbone have the side that the backbone takes; another one is refused at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.features import save_backbone, write_page
from windrow.errors import UserError
from windrow.experiment import load
from windrow.model.backbones import dataset_section

pytestmark = pytest.mark.tensorflow


def test_images_have_the_side_that_the_backbone_takes_and_the_page_can_name_no_other(tmp_path: Path) -> None:
    page = write_page(tmp_path, save_backbone(tmp_path / "small.keras"))
    for override in ("dataset.image_size=null", "dataset.image_size=8"):
        assert dataset_section(load(page, [override]), tmp_path, tmp_path).image_size == 8
    with pytest.raises(UserError, match=r"must be what the backbone small takes, 8; got 9; correct the page, or leave"):
        dataset_section(load(page, ["dataset.image_size=9"]), tmp_path, tmp_path)
