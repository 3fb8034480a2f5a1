"""By which metric are the models of a line compared?"""

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.tasks import kind_of
from factory_assets.measures.metrics import DEFAULT


def metric_of(declared: DeclaredLine) -> str:
    """The metric by which the line's models are compared."""
    return declared.line.gate.metric or DEFAULT[kind_of(declared.line.task)]
