"""Find what does not go with a feed of labelled URLs as the data set (dataset.label)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from windrow.experiment.wording import Key, Mistake, shown


def mistakes(dataset: Mapping[str, object], built_in: tuple[str, ...], wrong: set[Key]) -> Iterator[Mistake]:
    """Yield a mistake if the source of a written section `dataset` is no feed, although a column of it is named.

    Args:
        dataset: the section.
        built_in: the values of dataset.source that are built in.
        wrong: keys that are wrong by themselves; they are skipped.
    """
    label, source = dataset.get("label"), dataset.get("source", built_in[0])
    if label is None or {("dataset", "label"), ("dataset", "source")} & wrong:
        return
    if source in built_in:
        message = f"must be empty for {source}, which has labels of its own; got {shown(label)}; name a feed in "
        yield ("dataset", "label"), f"{message}dataset.source, or remove it"
