"""Every sentence said to MLflow. No other room knows that MLflow exists.

Where it speaks to: MLFLOW_TRACKING_URI, or an embedded SQLite file under WINDROW_HOME. Importing this is light; MLflow
itself is imported when it is first spoken to.
"""

from windrow.tracking.atlas import log_atlas
from windrow.tracking.models import PinnedModel, fetch_model
from windrow.tracking.promotion import Promotion, open_promotion
from windrow.tracking.record import Record, read_record
from windrow.tracking.registry import answer, rollback
from windrow.tracking.runs import read_runs
from windrow.tracking.scoring_runs import log_scoring
from windrow.tracking.server import connect, uri
from windrow.tracking.sweep_log import SweepLog, open_sweep

__all__ = [
    "PinnedModel",
    "Promotion",
    "Record",
    "SweepLog",
    "answer",
    "connect",
    "fetch_model",
    "log_atlas",
    "log_scoring",
    "open_promotion",
    "open_sweep",
    "read_record",
    "read_runs",
    "rollback",
    "uri",
]
