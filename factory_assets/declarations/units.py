"""In which unit is each feature? In the unit that its view declares, or else the contract of the column that it aggregates."""

from collections.abc import Mapping

from factory_assets.declarations import expressions
from factory_assets.declarations.declared import DeclaredLine, DeclaredStream
from factory_assets.declarations.expressions import Aggregate
from factory_assets.declarations.on_demand import OnDemandView
from factory_assets.declarations.types import Mistake
from factory_assets.declarations.view import View

#: Units of aggregates that do not depend on the aggregated column.
OWN = {"distinct": "values", "approx_distinct": "values", "time_since_last": "s"}
#: Of a column of true and false; the others give one of the values.
OF_TRUTHS = {"mean": "share", "deviation": "share", "min": "0 or 1", "max": "0 or 1"}
#: Of columns that hold no amounts, by DuckDB's type.
OF_VALUES = {"VARCHAR": "text", "BOOLEAN": "true or false", "TIMESTAMP": "time", "DATE": "day"}


def of_view(view: View, declared: DeclaredStream) -> dict[str, str]:
    """Unit of each feature of a view, by its name with the window; empty where nobody says it."""
    own = _own(view, declared)
    windowed = dict(zip(view.aggregated, (own[name] for name in view.features for _ in view.windows), strict=True))
    return windowed | {name: own[name] for name in view.derive} | ({view.flag: "0 or 1"} if view.flag else {})


def _own(view: View, declared: DeclaredStream) -> dict[str, str]:
    """The same by the names that are declared, which have no windows."""
    found = {name: _of_aggregate(expressions.aggregate(text), declared) for name, text in view.features.items()}
    return found | dict.fromkeys(view.derive, "") | view.units


def of_line(declared: DeclaredLine) -> dict[str, str]:
    """Unit of each of a line's features by canonical name."""
    found = {name: of_column(declared.observed, name) for name in declared.row_features}
    for view in declared.views.values():
        found |= {f"{view.name}.{name}": unit for name, unit in of_view(view, declared.streams[view.stream]).items()}
    for computed in declared.on_demand.values():
        found |= {f"{computed.name}.{name}": computed.units.get(name, "") for name in computed.derive}
    return {name: found[name] for name in declared.features}


def of_column(declared: DeclaredStream, name: str) -> str:
    """Unit of a stream's column; empty where nobody says it."""
    column, kind = declared.contract.columns.get(name), declared.types[name]
    return (column.unit if column else None) or OF_VALUES.get(kind, "")


def _of_aggregate(aggregate: Aggregate, declared: DeclaredStream) -> str:
    """Events are counted in what their stream is called."""
    truths = declared.types.get(aggregate.text or "") == "BOOLEAN"
    if aggregate.function == "count" or (truths and aggregate.function == "sum"):
        return declared.stream.name
    if truths or aggregate.function in OWN:
        return (OF_TRUTHS if truths else OWN).get(aggregate.function, OF_VALUES["BOOLEAN"])
    return of_column(declared, aggregate.text) if aggregate.text in declared.types else ""


def check_view(view: View, declared: DeclaredStream) -> list[Mistake]:
    """Mistakes in the units of a view: a unit for a name that is no feature, and features without a unit."""
    columns = declared.contract.columns
    read = {name: expressions.aggregate(text).text for name, text in view.features.items()}
    hints = {name: f", or column {text} of the contract a unit" for name, text in read.items() if text in columns}
    return _check(view.units, {"features": view.features, "derive": view.derive}, _own(view, declared), hints)


def check_on_demand(view: OnDemandView) -> list[Mistake]:
    """As `check_view`, of features computed on demand."""
    return _check(view.units, {"derive": view.derive}, view.units, {})


def _check(
    units: Mapping[str, str],
    declared: Mapping[str, Mapping[str, str]],
    known: Mapping[str, str],
    hints: Mapping[str, str],
) -> list[Mistake]:
    """declared: field -> feature -> expression. known: feature -> unit. hints: feature -> what else could be done."""
    names = [name for texts in declared.values() for name in texts]
    findings: list[Mistake] = [
        (("units", name), f"{name!r} is not a feature; features here: {', '.join(names)}")
        for name in units
        if name not in names
    ]
    return findings + [
        ((field, name), f"nobody says what {text!r} is measured in; write units: {{{name}: ...}}{hints.get(name, '')}")
        for field, texts in declared.items()
        for name, text in texts.items()
        if not known.get(name)
    ]
