"""The sensitivity atlas of a study: what the ledger knows, drawn, as PNGs and as one page of HTML.

    table = read(study, image=((28, 28, 1), 10))
    write(table, folder)                # atlas.html and atlas-*.png

Nothing here trains, imports TensorFlow or speaks to MLflow: a study of 2,000 trials is drawn in seconds.
"""

from windrow.atlas.drawing import write
from windrow.atlas.table import TrialTable, read

__all__ = ["TrialTable", "read", "write"]
