"""By which metric are the models of a line compared, and by which are they made and watched?"""

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.tasks import COST, WITH_COST, kind_of
from factory_assets.measures.metrics import DEFAULT


def metric_of(declared: DeclaredLine) -> str:
    """The metric by which the line's models are made, compared and watched."""
    named = declared.line.gate.metric
    return WITH_COST if named == COST else named or DEFAULT[kind_of(declared.line.task)]


def decided_by(declared: DeclaredLine) -> str:
    """What decides whether a challenger is better: that metric, or what decisions cost where that is declared."""
    return COST if declared.line.gate.metric == COST else metric_of(declared)
