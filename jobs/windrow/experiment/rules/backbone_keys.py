"""Find the mistakes among a page's keys that a backbone brings with it, and those of dataset.fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from windrow.experiment.network_section import EMBEDDED, NetworkSection, builder_of
from windrow.experiment.wording import Key, Mistake, shown

_ADD = f"add backbone: {EMBEDDED[0]}"


def mistakes(
    dataset: Mapping[str, object],
    network: Mapping[str, object],
    space: Mapping[str, object],
    promotion: Mapping[str, object],
    built_in: tuple[str, ...],
    wrong: set[Key],
) -> Iterator[Mistake]:
    """Yield what these sections, as they are on the page, contradict in each other.

    Args:
        built_in: the values of dataset.source that are not folders.
        wrong: keys that are wrong by themselves; they are skipped.
    """
    if ("network",) in wrong:  # whether there is a backbone is then not known
        return

    def value(section: Mapping[str, object], *key: str, default: object = None) -> Any:
        return default if key in wrong else section.get(key[1], default)

    backbone, builder = value(network, "network", "backbone"), builder_of(network)
    source = value(dataset, "dataset", "source", default=built_in[0])
    if ("network", "backbone") not in wrong:
        yield from _network_mistakes(network, backbone, None if ("network", "builder") in wrong else builder, wrong)
    if backbone is not None:
        if source in built_in and ("dataset", "source") not in wrong:
            message = "must be a folder of photographs where network.backbone is set; "
            yield ("dataset", "source"), f"{message}got {source}, which is grey; name a folder"
        if value(dataset, "dataset", "channels", default=3) != 3:
            yield ("dataset", "channels"), "must be 3 where network.backbone is set, which sees colours; got 1; drop it"
    elif value(promotion, "promotion", "train_on") == "all" and ("network", "backbone") not in wrong:
        yield ("promotion", "train_on"), f"must be train without a backbone; got all; drop it, or {_ADD}"
    fit = value(dataset, "dataset", "fit", default="squash")
    if fit == "both" and backbone is None and ("network", "backbone") not in wrong:
        yield ("dataset", "fit"), f"must be squash or crop without a backbone; got both; {_ADD}"
    elif fit == "crop" and source in built_in:
        message = f"must be squash for {source}, whose images keep their size; got crop; drop it"
        yield ("dataset", "fit"), message
    elif fit == "crop" and backbone is None and value(dataset, "dataset", "image_size") is None:
        yield ("dataset", "fit"), "needs dataset.image_size, the side to crop to; got none; add it"
    if backbone is not None and not {("dataset", "fit"), ("space",), ("network", "parameters")} & wrong:
        yield from _fit_mistakes(fit, space, value(network, "network", "parameters") or {})


def _fit_mistakes(fit: str, space: Mapping[str, object], parameters: Mapping[str, object]) -> Iterator[Mistake]:
    """Yield mistakes if the hyper-parameter `fit` is there without images of both kinds, or these without it."""
    keys: list[Key] = [
        *([("space", "fit")] if "fit" in space else []),
        *([("network", "parameters", "fit")] if "fit" in parameters else []),
    ]
    if fit == "both" and not keys:
        message = "must be squash or crop where no trial chooses; got both; add fit to the space, or take one of them"
        yield ("dataset", "fit"), message
    if fit != "both":
        yield from ((key, f"needs dataset.fit to be both; got {fit}; remove either") for key in keys)


def _network_mistakes(
    network: Mapping[str, object], backbone: str | None, builder: str | None, wrong: set[Key]
) -> Iterator[Mistake]:
    if backbone is None:
        if builder == "head":
            yield ("network", "backbone"), f"is missing, and the builder head needs its features; {_ADD}"
        for key in ("backbone_sha256", "backbone_layer"):
            if network.get(key) is not None and ("network", key) not in wrong:
                message = f"must be empty without a backbone; got {shown(network[key])}; {_ADD}, or remove it"
                yield ("network", key), message
        return
    if builder not in ("head", None):
        message = f"must be head where network.backbone is set; got {shown(builder)}; remove either"
        yield ("network", "builder"), message
    if network.get("backbone_sha256") is not None and not NetworkSection(backbone=backbone).has_file:
        yield (
            ("network", "backbone_sha256"),
            f"must be empty for {backbone}, which is no file of yours; got one; drop it",
        )
