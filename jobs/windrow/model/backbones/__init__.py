"""Bring backbones to this machine, as .keras files with preprocessing inside. Imports TensorFlow only inside functions.

bring("lite0", None, None, paths.home(), page.parent).features  # 1280
"""

from __future__ import annotations

from windrow.model.backbones.bringing import bring
from windrow.model.backbones.sizing import dataset_section

__all__ = ["bring", "dataset_section"]
