"""Find the mistakes among a page's keys that promotion.fine_tune brings with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from windrow.experiment.network_section import EMBEDDED
from windrow.experiment.promotion_section import PromotionSection
from windrow.experiment.wording import Key, Mistake

BLOCKS = {"lite0": 16}
"""The number of blocks of the embedded backbones; that of others is only known once they are opened."""

FEWEST_SEEDS = 2
"""The fewest seeds that show how much of a difference is due to the seed."""


def mistakes(promotion: Mapping[str, object], network: Mapping[str, object], wrong: set[Key]) -> Iterator[Mistake]:
    """Yield what the section `promotion.fine_tune` and the rest of the page, as they are written, contradict.

    Args:
        wrong: keys that are wrong by themselves; they are skipped.
    """
    key = ("promotion", "fine_tune")
    written = promotion.get("fine_tune")
    if not isinstance(written, dict) or {key, ("network",)} & wrong:
        return
    backbone = network.get("backbone")
    if backbone is None and ("network", "backbone") not in wrong:
        yield (
            key,
            f"needs network.backbone, whose last blocks it trains; got none; add backbone: {EMBEDDED[0]}, or drop it",
        )
    seeds = promotion.get("seeds", PromotionSection.model_fields["seeds"].default)
    if ("promotion", "seeds") not in wrong and isinstance(seeds, int) and seeds < FEWEST_SEEDS:
        yield (
            ("promotion", "seeds"),
            f"must be at least {FEWEST_SEEDS} where promotion.fine_tune is set, which one seed can't judge; "
            f"got {seeds}; for example 5",
        )
    blocks, most = written.get("blocks"), BLOCKS.get(str(backbone))
    if most is not None and (*key, "blocks") not in wrong and isinstance(blocks, int) and blocks > most:
        yield (*key, "blocks"), f"must be at most {most} for {backbone}, which has so many; got {blocks}; lower it"
