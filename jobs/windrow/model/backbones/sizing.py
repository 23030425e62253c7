"""Complete a page's dataset section by what its backbone takes."""

from __future__ import annotations

from pathlib import Path

from windrow.errors import UserError
from windrow.experiment import DatasetSection, Experiment
from windrow.model.backbones.bringing import bring


def dataset_section(page: Experiment, home: Path, page_folder: Path) -> DatasetSection:
    """Return the page's dataset section, in which image_size, if it is empty, is the side that the backbone takes.

    Args:
        home, page_folder: as for `bring`.

    Raises:
        UserError: image_size is not the side that the backbone takes; or as for `bring`.
        DownloadError, ServiceError: as for `bring`.
    """
    section, network = page.dataset, page.network
    if network.backbone is None:
        return section
    backbone = bring(network.backbone, network.backbone_sha256, network.backbone_layer, home, page_folder)
    side = backbone.shape[0]
    if section.image_size not in (None, side):
        raise UserError(
            f"dataset.image_size must be what the backbone {backbone.name} takes, {side}; got {section.image_size}; "
            "correct the page, or leave the key out"
        )
    return section.model_copy(update={"image_size": side})
