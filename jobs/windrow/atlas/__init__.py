"""Draw the sensitivity atlas of a study: plots of the trials in its ledger, as PNGs and as one HTML page.

    table = read(study, image=((28, 28, 1), 10))
    write(table, folder)                # atlas.html and atlas-*.png

Drawing needs neither training, TensorFlow nor MLflow, so a study of 2,000 trials is drawn in seconds.
"""

from windrow.atlas.drawing import write
from windrow.atlas.table import TrialTable, read

__all__ = ["TrialTable", "read", "write"]
