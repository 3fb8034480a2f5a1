"""Between which values does a metric lie, of which some rows tell?"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from factory_assets.declarations.tasks import COST, level_of
from factory_assets.measures.certainty import Groups, limits_of
from factory_assets.measures.metrics import METRICS

Floats = npt.NDArray[np.float64]
#: Metrics between 0 and 1; and those that may lie below 0.
SHARES = frozenset(
    ("average_precision", "roc_auc", "calibration_error", "coverage", "accuracy", "macro_f1", "balanced_accuracy")
)
BELOW_NOTHING = frozenset((COST, "r2"))


def limits_of_metric(
    task: str, metric: str, y: Floats, p: Floats, groupings: Sequence[Groups]
) -> tuple[float, float] | None:
    """The limits that hold a metric with a certainty of 95 %, within the values that it can have.

    y, p: labels and predictions of the rows, shape (n,) or (n, classes), as `score` takes them. groupings: ways in which rows belong
    together, of which the widest limits hold. None where the rows cannot say.
    """
    level = level_of(task)

    def of(kept: npt.NDArray[np.bool_]) -> float:
        return METRICS[metric].fn(y[kept], p[kept], *([] if level is None else [level]))

    limits = limits_of(of, len(y), groupings)
    return possible(metric, *limits) if limits else None


def possible(metric: str, low: float, high: float) -> tuple[float, float]:
    """Limits of a metric, where they were found by a bell curve, within the values that it can have.

    >>> possible("mae", -12.5, 67.5), possible("average_precision", 0.02, 1.26), possible("r2", -0.5, 1.5)
    ((0.0, 67.5), (0.02, 1.0), (-0.5, 1.0))
    """
    return (
        low if metric in BELOW_NOTHING else max(low, 0.0),
        min(high, 1.0) if metric in SHARES or metric == "r2" else high,
    )
