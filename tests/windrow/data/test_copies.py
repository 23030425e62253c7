"""Images that a source has twice: which are left out, which are listed, and which only look alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from windrow.data import copies, hashes
from windrow.data.copies import Looks, Pool
from windrow.errors import DatasetError


def pool(greys: Sequence[int], labels: Sequence[int], tests: int = 0) -> Pool:
    """Images of one grey each, named by their place; the last `tests` are in the source's own test split."""
    images = np.broadcast_to(np.asarray(greys, np.uint8)[:, None, None, None], (len(greys), 2, 2, 1))
    names = [f"{place}.png" for place in range(len(greys))]
    return Pool(names, np.asarray(labels), hashes.of(images), len(greys) - tests, ("cat", "dog", "emu"))


def test_copies_are_listed_by_name() -> None:
    found = pool([5, 6, 5, 7, 7, 5], [0, 1, 0, 2, 2, 0])
    without = copies.left_out(found)
    assert without.by_name(found) == {}
    assert without.sentences(found) == []
    listed = copies.find(found, without)
    assert (listed.groups, listed.images) == (2, 5)
    assert listed.examples == (("0.png", "2.png", "5.png"), ("3.png", "4.png"))


def test_of_many_copies_ten_are_listed() -> None:
    found = pool([1] * 30 + [2] * 3, [0] * 30 + [1] * 3)
    listed = copies.find(found, copies.left_out(found))
    assert (listed.images, [len(names) for names in listed.examples]) == (33, [10, 3])


def test_copies_with_different_labels_are_left_out_and_name_each_other() -> None:
    found = pool([5, 6, 5, 7, 5], [0, 1, 1, 2, 2])
    without = copies.left_out(found)
    assert without.by_name(found) == {
        "0.png": "the same pixels as 2.png, labelled dog",
        "2.png": "the same pixels as 0.png, labelled cat",
        "4.png": "the same pixels as 0.png, labelled cat",
    }
    (sentence,) = without.sentences(found)
    assert sentence.startswith(
        "left out 3 images whose copies have another label, because neither label can be trusted"
    )
    assert "0.png (the same pixels as 2.png, labelled dog); 2.png" in sentence
    assert copies.find(found, without).images == 0


def test_a_training_image_that_is_a_test_image_too_is_left_out_of_training() -> None:
    found = pool([5, 6, 5, 7, 5], [0, 1, 0, 2, 0], tests=2)
    without = copies.left_out(found)
    assert without.by_name(found) == {
        "0.png": "the same pixels as 4.png, labelled cat",
        "2.png": "the same pixels as 4.png, labelled cat",
    }
    assert without.sentences(found)[0].startswith(
        "left out 2 training images with the pixels of test images: 0.png (the"
    )


def test_images_with_the_same_crop_and_different_labels_are_left_out_and_name_each_other() -> None:
    whole, crops = pool([1, 2, 3, 4, 4, 6], [0, 1, 0, 1, 0, 1], tests=1), pool([5, 5, 7, 8, 9, 8], [0] * 6)
    found = replace(whole, cropped=crops.hashes)
    without = copies.left_out(found)
    assert without.by_name(found) == {
        "0.png": "the same pixels when cropped as 1.png, labelled dog",
        "1.png": "the same pixels when cropped as 0.png, labelled cat",
        "3.png": "the same pixels as 4.png, labelled cat",
        "4.png": "the same pixels as 3.png, labelled dog",
    }
    assert without.sentences(found)[1].startswith(
        "left out 2 images with the crop of images that have another label, because a network that sees crops can't "
        "tell them apart: 0.png (the same pixels when cropped as 1.png, labelled dog); 1.png"
    )
    assert [index for index in range(6) if index in without] == [0, 1, 3, 4], "one label for the same crop stays"
    assert str(without).endswith("have another label and 2 whose crops have another label, too")


def test_of_a_long_list_five_are_said() -> None:
    found = pool([*range(8), *range(8)], [0] * 8 + [1] * 8)
    assert copies.left_out(found).sentences(found)[0].endswith(" and 11 more; correct the labels or remove the copies")


def test_images_that_are_all_equal_are_refused() -> None:
    with pytest.raises(DatasetError, match=r"images must differ; got 4 with the same pixels, e.g. 0.png and 3.png"):
        copies.left_out(pool([9, 9, 9, 9], [0, 1, 0, 1]))


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 2), st.booleans()), min_size=1, max_size=25))
def test_what_remains_has_one_label_for_the_same_pixels_and_no_training_image_in_test(
    images: list[tuple[int, int, bool]],
) -> None:
    images = sorted([*images, (100, 0, False), (101, 0, False)], key=lambda image: image[2])
    found = pool([grey for grey, _, _ in images], [label for _, label, _ in images], sum(test for *_, test in images))
    without = copies.left_out(found)
    kept = [image for index, image in enumerate(images) if index not in without]
    for grey in {grey for grey, _, _ in images}:
        assert len({label for other, label, _ in kept if other == grey}) <= 1
        assert len({test for other, _, test in kept if other == grey}) <= 1
        had = {(label, test) for other, label, test in images if other == grey}
        if len({label for label, _ in had}) == 1:
            assert any(other == grey for other, _, _ in kept), "one of undisputed copies stays"


def photograph(seed: int, size: int = 64) -> Image.Image:
    """A smooth image with many details, as a photograph has."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    return Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC)


def looks(*images: Image.Image) -> Looks:
    pixels = np.stack([np.asarray(image) for image in images])
    return copies.looks(pixels, np.arange(len(pixels)))


def test_a_photograph_that_is_darker_softer_or_noisier_is_a_near_copy_and_another_one_is_not() -> None:
    original = photograph(0)
    noisy = np.clip(np.asarray(original) + np.random.default_rng(1).normal(0, 3, (64, 64, 3)), 0, 255).astype(np.uint8)
    changed = [
        ImageEnhance.Brightness(original).enhance(0.97),
        original.resize((40, 40)).resize((64, 64)),
        Image.fromarray(noisy),
    ]
    tests = looks(*changed, *map(photograph, range(1, 20)))
    others = looks(*map(photograph, range(100, 130)), original)
    assert copies.near(tests, others) == [(0, 30), (1, 30), (2, 30)]


def test_images_whose_bits_are_alike_are_no_near_copies_if_their_pixels_are_not() -> None:
    plain = [Image.new("RGB", (8, 8), (level, level, level)) for level in (10, 200, 100)]
    others = [Image.new("RGB", (8, 8), (level, level, level)) for level in (205, 140, 10)]
    assert copies.near(looks(*plain), looks(*others)) == [(0, 2)]


def test_grey_images_are_compared_as_well() -> None:
    pixels = np.stack([np.asarray(photograph(seed).convert("L"))[..., None] for seed in (0, 1, 0)])
    found = copies.looks(pixels, np.arange(3))
    assert copies.near(Looks(found.bits[:1], found.small[:1]), Looks(found.bits[1:], found.small[1:])) == [(0, 1)]


def of_bits(*bits: int) -> Looks:
    return Looks(np.array(bits, np.uint64), np.zeros((len(bits), 72), np.int16))


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=8), st.sets(st.integers(0, 63), max_size=10))
def test_near_means_at_most_eight_bits(others: list[int], flipped: set[int]) -> None:
    test = others[-1]
    for bit in flipped:
        test ^= 1 << bit
    nearest = min((test ^ other).bit_count() for other in others)
    pairs = copies.near(of_bits(test), of_bits(*others))
    assert bool(pairs) == (nearest <= 8)
    assert all((test ^ others[other]).bit_count() <= 8 for _, other in pairs)


def test_blocks_do_not_change_what_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    tests, others = (of_bits(*draw.integers(0, 2**24, count).tolist()) for count in (60, 40))
    whole = copies.near(tests, others)
    assert 5 < len(whole) < 60
    monkeypatch.setattr(copies, "_BLOCK_BYTES", 8 * 40 * 7)
    assert copies.near(tests, others) == whole
