"""Make the features of a prepared data set: find them, or compute what is not there, and write them."""

from __future__ import annotations

from pathlib import Path

from windrow import files, spark
from windrow.data import manifest as manifests
from windrow.data.features import absent_views, embed_run, feature_files, look_alikes, views
from windrow.data.features.embed_run import Pace
from windrow.data.features.feature_cache import FeatureCache
from windrow.data.features.records import Features
from windrow.data.manifest import Manifest
from windrow.errors import DatasetError
from windrow.experiment import Experiment
from windrow.model import backbones
from windrow.model.backbone import Backbone


def embed(page: Experiment, page_folder: Path, folder: Path, home: Path) -> tuple[Features, Pace]:
    """Write the features of a data set next to its images, unless they are there; return them, and the pace.

    Features that are in the cache are not computed again. A Spark session is opened only if some are not.

    Args:
        page: the page, which has a backbone.
        page_folder: the folder that a backbone's relative path starts from.
        folder: the folder that prepare_dataset.py wrote.
        home: the folder for what Windrow keeps.

    Raises:
        DatasetError: the folder has no data set, or its images have another shape than the backbone takes.
        UserError, DownloadError, ServiceError: as for backbones.bring.
    """
    source, number = feature_files.source_of(page), views.most_views(page)
    with files.locked(folder):
        manifest = manifests.read(folder)
        backbone = backbones.bring(source.backbone, source.backbone_sha256, source.backbone_layer, home, page_folder)
        check_shape(manifest, backbone)
        digest = feature_files.digest_of(manifest.digest, backbone, number)
        found = feature_files.existing(folder, digest, source)
        if found is not None:
            # WINDROW_HOME may have moved: then the backbone's file has another path now.
            return feature_files.with_backbone(folder, found, backbone), Pace()
        return _compute(page, folder, manifest, backbone, FeatureCache(home, backbone), number)


def check_shape(manifest: Manifest, backbone: Backbone) -> None:
    """Check that the data set's images have the shape that the backbone takes.

    Raises:
        DatasetError: they have another shape.
    """
    if manifest.shape != backbone.shape:
        wanted, found = ("x".join(map(str, shape)) for shape in (backbone.shape, manifest.shape))
        raise DatasetError(
            f"images must have the backbone's shape, {wanted}; got {found}; prepare them again with "
            f"dataset.image_size={backbone.shape[0]} and dataset.channels=3"
        )


def _compute(
    page: Experiment, folder: Path, manifest: Manifest, backbone: Backbone, cache: FeatureCache, number: int
) -> tuple[Features, Pace]:
    """Compute what the cache lacks, and write the features of all splits; return their description and the pace."""
    for split, count in feature_files.in_splits(number).items():
        for fit in manifest.stored:
            cache.mark_used(feature_files.view_keys(folder, split, count, fit))
    cache.refresh()  # another job may have removed a block before it was marked
    wanted, pace = absent_views.find(folder, manifest, cache, number), Pace()
    if wanted:
        with spark.open_session(f"features {page.name}", minutes=page.cluster_minutes) as session:
            pace = embed_run.compute(session, folder, manifest, backbone, cache, wanted)
            cache.refresh()
            gone = absent_views.find(folder, manifest, cache, number)
            if gone:  # another job removed a block as it was marked, or someone did meanwhile
                pace += embed_run.compute(session, folder, manifest, backbone, cache, gone)
                cache.refresh()
    description = Features(
        source=feature_files.source_of(page),
        backbone=backbone,
        dataset=manifest.digest,
        digest=feature_files.digest_of(manifest.digest, backbone, number),
        views=number,
        shape=(1, 1, backbone.features),
        near_copies=look_alikes.find(folder, cache),
    )
    return feature_files.write(folder, manifest, cache, description), pace
