"""What may a line's slices and groups be made of? What the examples have, and is known when the observation is made."""

from factory_assets.declarations import expressions, types
from factory_assets.declarations.declared import DeclaredLine
from factory_assets.declarations.limits import OF_NUMBERS, OF_YES_OR_NO
from factory_assets.declarations.line import Gate
from factory_assets.declarations.tasks import kind_of
from factory_assets.declarations.types import Mistake

#: Types whose values are names of groups.
NAMES = "VARCHAR", "BOOLEAN", "BIGINT", "INTEGER", "SMALLINT", "TINYINT", "HUGEINT"
#: What the label's table has, and no example.
LATER = ("label", "prediction")


def are_declared(gate: Gate) -> bool:
    """Whether a gate asks anything of parts of the rows, or of decisions."""
    return bool(gate.slices or gate.groups or gate.cost or gate.may_tell or gate.threshold is not None)


def readable(declared: DeclaredLine) -> dict[str, str]:
    """Columns of the examples -> DuckDB's type: features by canonical name, and what goes along with an observation."""
    columns = {name: declared.observed.types[name] for name in declared.kept}
    columns |= {name: declared.types[name] for name in declared.features if name in declared.types}
    return {name: kind for name, kind in columns.items() if name not in declared.revealing}


def read(text: str) -> list[str]:
    """The features and columns that a slice's expression reads. Raises ValueError for what is no expression."""
    return [*expressions.features(text), *expressions.observed(text)]


def check(declared: DeclaredLine) -> list[Mistake]:
    """Mistakes in slices, groups, costs, the threshold, and features that may tell all, of a line's gate."""
    gate, columns = declared.line.gate, readable(declared)
    findings: list[Mistake] = []
    texts = {("gate", "slices", name, "where"): each.where for name, each in gate.slices.items()}
    for path, text in texts.items():
        try:
            unknown = [name for name in read(text) if name not in columns]
        except ValueError as error:
            findings.append((path, str(error)))
            continue
        findings += [(path, f"{text!r} reads {_unreadable(declared, name)}") for name in unknown[:1]]
    findings += [
        (("gate", "may_tell"), f"{name!r} is no feature of the line; it has {', '.join(declared.features)}")
        for name in gate.may_tell
        if name not in declared.features
    ]
    findings += _of_groups(declared, columns)
    if declared.line.task != "binary":
        findings += [
            (("gate", name), f"is for a binary task; {declared.line.name} is {declared.line.task}")
            for name in ("cost", "threshold")
            if getattr(gate, name) is not None
        ]
    return findings or types.unsuited(
        columns, [(path, text, "true or false") for path, text in texts.items()], canonical=True
    )


def _of_groups(declared: DeclaredLine, columns: dict[str, str]) -> list[Mistake]:
    kind = kind_of(declared.line.task)
    fitting = OF_YES_OR_NO if kind in ("binary", "multiclass") else OF_NUMBERS
    findings: list[Mistake] = []
    for column, groups in declared.line.gate.groups.items():
        path = ("gate", "groups", column)
        if column not in columns:
            findings.append((path, _unreadable(declared, column)))
        elif columns[column] not in NAMES:
            findings.append((path, f"{column!r} is of type {columns[column]}; groups have names: {', '.join(NAMES)}"))
        findings += [
            ((*path, name), f"is no measure of task {kind}; allowed: {', '.join(fitting)}")
            for name in groups.limits
            if name not in fitting
        ]
    return findings


def _unreadable(declared: DeclaredLine, name: str) -> str:
    if name in LATER or name in declared.revealing:
        return f"{name!r}, which is known only after the observation: a slice must be told from what was known then"
    return (
        f"{name!r}, which is no column of the examples; they have {', '.join(readable(declared)) or 'none'}; "
        "name a column of the event in observe.carry to have it there"
    )
