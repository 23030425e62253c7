"""Which test files share a worker: those that would start the same expensive things again on another one.

A Spark session with TensorFlow in its Python workers costs some 20 s of processor time, a registered network 10.
So every file that takes the worker's session is in one of two lanes, and of three workers one has no session.
"""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling

LANES = {
    "scoring": (
        "tests/jobs/test_score_",
        "tests/jobs/test_shipped.py",
        "tests/windrow/test_sql.py",
        "tests/docs/test_sql_page.py",
        "tests/docs/test_table_page.py",
        "tests/windrow/scoring/test_pipeline.py",
        "tests/windrow/scoring/test_partitioning.py",
        "tests/windrow/scoring/feed/test_new_urls.py",
        "tests/windrow/scoring/test_progress.py",
        "tests/windrow/scoring/table/test_predictions_table.py",
        "tests/windrow/scoring/table/test_rescoring.py",
    ),
    "training": (
        "tests/jobs/test_sweep_and_promote.py",
        "tests/jobs/test_start.py",
        "tests/jobs/test_reproduce.py",
        "tests/jobs/test_own_folder.py",
        "tests/jobs/test_shipped_pages.py",
        "tests/jobs/test_heads.py",
        "tests/jobs/test_embed_",
        "tests/jobs/test_growing_folder.py",
        "tests/windrow/test_featurizer.py",
        "tests/windrow/sweep/test_schedule.py",
        "tests/windrow/sweep/workers/test_daemon.py",
        "tests/windrow/test_spark.py",
        "tests/faults/test_kills.py",
        "tests/faults/test_real_sweep.py",
        "tests/dags/test_days.py",
        "tests/docs/test_clusters_page.py",
        "tests/docs/test_commands.py",
        "tests/docs/test_testing_page.py",
        "tests/jobs/test_prepare_",
        "tests/windrow/data/test_decode.py",
    ),
}
"""Beginnings of their paths, by the name of what they share."""


def lane_of(path: str) -> str | None:
    """The lane of a test file, by its path from the repository."""
    return next((lane for lane, begin in LANES.items() if path.startswith(begin)), None)


class Lanes(LoadFileScheduling):  # type: ignore[misc]
    """A file stays with one worker, and a lane's files with the same one."""

    def _split_scope(self, nodeid: str) -> str:
        path = str(super()._split_scope(nodeid))
        return lane_of(path) or path
