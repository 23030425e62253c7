"""Report pages that have mistakes as an import error in Airflow. Makes no DAG.

A DAG file that raises loses all of its DAGs. So train.py, score.py and maintain.py skip a broken page, and this file
raises instead: the mistakes appear at once, on Airflow's first page, and the other experiments keep their DAGs.
"""

from __future__ import annotations

from pathlib import Path

import windrow_dags
from windrow.errors import UserError

broken = windrow_dags.find_pages(Path(__file__).parent / "experiments").broken
if broken:
    raise UserError("\n".join(["these pages have no DAGs until their mistakes are fixed:", *map(str, broken)]))
