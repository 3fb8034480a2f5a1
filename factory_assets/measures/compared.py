"""By which metric are the models of a line compared, by which are they made and watched, and between which values does it lie?"""

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.tasks import COST, WITH_COST, kind_of
from factory_assets.measures.metrics import DEFAULT

#: Metrics between 0 and 1; and those that may lie below 0.
SHARES = frozenset(
    ("average_precision", "roc_auc", "calibration_error", "coverage", "accuracy", "macro_f1", "balanced_accuracy")
)
BELOW_NOTHING = frozenset((COST, "r2"))


def metric_of(declared: DeclaredLine) -> str:
    """The metric by which the line's models are made, compared and watched."""
    named = declared.line.gate.metric
    return WITH_COST if named == COST else named or DEFAULT[kind_of(declared.line.task)]


def decided_by(declared: DeclaredLine) -> str:
    """What decides whether a challenger is better: that metric, or what decisions cost where that is declared."""
    return COST if declared.line.gate.metric == COST else metric_of(declared)


def possible(metric: str, low: float, high: float) -> tuple[float, float]:
    """Limits of a metric, where they were found by a bell curve, within the values that it can have.

    >>> possible("mae", -12.5, 67.5), possible("average_precision", 0.02, 1.26), possible("r2", -0.5, 1.5)
    ((0.0, 67.5), (0.02, 1.0), (-0.5, 1.0))
    """
    return (
        low if metric in BELOW_NOTHING else max(low, 0.0),
        min(high, 1.0) if metric in SHARES or metric == "r2" else high,
    )
