"""Shows the pages that have mistakes as an import error in Airflow; makes no DAG.

A DAG file that raises loses all of its DAGs. So train.py and score.py pass over a broken page, and this file raises
in their place: the mistakes are seen at once, on Airflow's first page, and the other experiments go on.
"""

from __future__ import annotations

from pathlib import Path

import windrow_dags
from windrow.errors import UserError

broken = windrow_dags.find_pages(Path(__file__).parent / "experiments").broken
if broken:
    raise UserError("\n".join(["these pages have no DAGs until they are mended:", *map(str, broken)]))
