"""Folders of drawn images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def drawn(tmp_path: Path) -> Callable[..., Path]:
    """drawn({"boot": 3, "shoe": 2}, size=(40, 30), mode="RGB") makes a folder of noise, one folder per class."""

    def draw(classes: Mapping[str, int], size: tuple[int, int] = (64, 48), mode: str = "RGB") -> Path:
        random, folder = np.random.default_rng(7), tmp_path / "images"
        for name, count in classes.items():
            (folder / name).mkdir(parents=True)
            for number in range(count):
                shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
                pixels = random.integers(0, 256, shape, np.uint8)
                Image.fromarray(pixels).save(folder / name / f"{number}.png")
        return folder

    return draw
