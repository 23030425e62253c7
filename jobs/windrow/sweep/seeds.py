"""Seeds that derive from the study's, so that a trial's result depends on nobody's order."""

from __future__ import annotations

from hashlib import sha256


def seed_of(study_seed: int, *parts: int) -> int:
    """A seed in 0..2**31-1 from the study's seed and a trial's number (or more parts), whoever asks and when."""
    text = ":".join(map(str, (study_seed, *parts)))
    return int.from_bytes(sha256(text.encode()).digest()[:4]) >> 1
