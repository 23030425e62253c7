"""A folder that grows from 200 to 2,000 images over ten trainings: its splits, and who becomes champion.

Splits, common images and decisions are the real ones. The networks are drawn: each has a true accuracy, and answers the
same about an image in every training. Networks tend to err on the same images, as real ones do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from windrow.data import shards, sources
from windrow.data.manifest import Manifest
from windrow.data.splits import SPLITS
from windrow.experiment import PromotionSection, parse
from windrow.model.network import Network
from windrow.selection import common_images
from windrow.selection.common_images import RegisteredChampion, Rival
from windrow.selection.readout import Readout
from windrow.selection.rule import Decision, decide
from windrow.selection.statistics import mcnemar

SIZES = range(200, 2001, 200)
LABELS = ("bag", "boot", "hat")
STORIES = 60
BOUND = 0.02
RULE = PromotionSection(minimum_improvement=BOUND, significant=True)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A prepared folder. `numbers` are those of its images by split, in the split's order."""

    folder: Path
    manifest: Manifest
    numbers: dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Comparison:
    """A challenger and the champion of then: their true accuracies, the images compared, and the decision."""

    challenger: int
    champion: int
    lead: float
    images: int
    decision: Decision


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> list[Prepared]:
    """The folder before each training, prepared."""
    images = np.random.default_rng(0).integers(0, 256, (max(SIZES), 4, 4, 1), dtype=np.uint8)
    labels = np.arange(max(SIZES)) % len(LABELS)
    number = {image.tobytes(): index for index, image in enumerate(images)}
    found, page = [], parse("name: shapes\nspace: {units: {type: int, low: 1, high: 2}}\ndataset: {test: 0.2}")
    for size in SIZES:
        folder = tmp_path_factory.mktemp(f"grown-{size}")
        source = sources.Source("shapes", images[:size], labels[:size], None, None, LABELS, own=True)
        manifest = shards.write(folder, source, page.dataset)
        numbers = {
            split: np.array([number[image.tobytes()] for image in shards.load_split(folder, split)[0]])
            for split in SPLITS
        }
        found.append(Prepared(folder, manifest, numbers))
    return found


class Story:
    """Ten trainings of networks with drawn true accuracies: more images help, and some sweeps go badly."""

    def __init__(self, seed: int) -> None:
        draw = np.random.default_rng(seed)
        learned = 0.5 + 0.3 * np.linspace(0, 1, len(SIZES)) + draw.normal(0, 0.12, len(SIZES))
        self.accuracies = np.clip(learned, 0.2, 0.95)
        difficulty, own = draw.random(max(SIZES)), draw.random((len(SIZES), max(SIZES)))
        # The mean of two uniform numbers is below this with the probability of the true accuracy.
        rare = self.accuracies > 0.5
        least = np.where(rare, 1 - np.sqrt((1 - self.accuracies) / 2), np.sqrt(self.accuracies / 2))
        self.right = (difficulty + own) / 2 < least[:, None]

    def readout(self, network: int, images: np.ndarray) -> Readout:
        """What a network answers about images."""
        truth = images % len(LABELS)
        return Readout(np.where(self.right[network, images], truth, (truth + 1) % len(LABELS)), truth, 1.0)

    def told(self, grown: list[Prepared]) -> tuple[int | None, list[Comparison]]:
        """The last champion, and every comparison of the ten trainings."""
        champion: RegisteredChampion | None = None
        found = []
        for network, prepared in enumerate(grown):
            tests = prepared.numbers["test"]
            rival = None
            if champion is not None:
                rival = Rival(champion, common_images.between(champion, prepared.manifest, prepared.folder))
                rival = replace(rival, readout=self.readout(int(champion.version), tests[rival.common.chosen]))
            decision = decide(self.readout(network, tests), rival, RULE)
            if rival is not None:
                before = int(rival.champion.version)
                lead = float(self.accuracies[network] - self.accuracies[before])
                found.append(Comparison(network, before, lead, rival.common.count, decision))
            if decision.promoted:
                file = Network("shapes", str(network), Path("x"), "d", (4, 4, 1), LABELS)
                champion = RegisteredChampion(str(network), file, seen=seen_in(prepared.folder))
        return (None if champion is None else int(champion.version)), found


@cache
def seen_in(folder: Path) -> common_images.Keys:
    return common_images.seen_in(folder)


@pytest.fixture(scope="module")
def stories(grown: list[Prepared]) -> list[tuple[Story, int | None, list[Comparison]]]:
    return [(story, *story.told(grown)) for story in map(Story, range(STORIES))]


def replacements(stories: list[tuple[Story, int | None, list[Comparison]]]) -> Iterator[tuple[Story, Comparison]]:
    for story, _, comparisons in stories:
        yield from ((story, each) for each in comparisons if each.decision.promoted)


def test_no_image_ever_changes_sides(grown: list[Prepared]) -> None:
    for split in SPLITS:
        for earlier, later in pairwise(grown):
            assert set(earlier.numbers[split]) <= set(later.numbers[split])


def test_every_comparison_is_on_the_whole_test_split_for_no_test_image_was_ever_trained_on(
    grown: list[Prepared], stories: list[tuple[Story, int | None, list[Comparison]]]
) -> None:
    for _, _, comparisons in stories:
        assert all(each.images == len(grown[each.challenger].numbers["test"]) for each in comparisons)


def test_no_champion_is_replaced_by_a_worse_one_by_its_own_later_evidence(
    grown: list[Prepared], stories: list[tuple[Story, int | None, list[Comparison]]]
) -> None:
    tests, worse = grown[-1].numbers["test"], 0
    found = list(replacements(stories))
    assert len(found) > STORIES
    for story, each in found:
        new, old = story.readout(each.challenger, tests), story.readout(each.champion, tests)
        assert new.errors <= old.errors or mcnemar(new.hits, old.hits) > 0.05
        worse += each.lead < 0
    assert worse <= 0.02 * len(found)


def test_a_network_that_is_better_by_more_than_the_rules_bound_replaces_the_champion(
    stories: list[tuple[Story, int | None, list[Comparison]]],
) -> None:
    """A lead of 15 points on 150 images is many times what luck and the page's two points ask for."""
    clear = [each for _, _, comparisons in stories for each in comparisons if each.lead > 0.15 and each.images > 150]
    assert len(clear) > STORIES / 4
    assert sum(each.decision.promoted for each in clear) >= 0.95 * len(clear)


def test_at_the_end_nearly_every_champion_is_about_as_good_as_the_best_network(
    stories: list[tuple[Story, int | None, list[Comparison]]],
) -> None:
    behind = [
        story.accuracies.max() - story.accuracies[champion] for story, champion, _ in stories if champion is not None
    ]
    assert len(behind) == STORIES
    assert np.quantile(behind, 0.9) < 0.1
