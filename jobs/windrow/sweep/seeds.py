"""Derive seeds from the study's seed, so that a trial's result does not depend on the order of trials."""

from __future__ import annotations

from hashlib import sha256


def seed_of(study_seed: int, *parts: int) -> int:
    """Return a seed in 0..2**31-1 that depends only on the study's seed and on `parts`, such as a trial's number."""
    text = ":".join(map(str, (study_seed, *parts)))
    return int.from_bytes(sha256(text.encode()).digest()[:4]) >> 1
