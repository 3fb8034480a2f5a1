"""What may an outcome of a line read? Columns of the observation, and what is told beside them once the label is in."""

from factory_assets.declarations import expressions, types
from factory_assets.declarations.base import COLUMN
from factory_assets.declarations.declared import DeclaredLine
from factory_assets.declarations.line import Line
from factory_assets.declarations.tasks import PROBABILITY, classes_of
from factory_assets.declarations.types import Mistake


def answer(line: Line) -> dict[str, str]:
    """Label and prediction, and of several classes the probability of each -> DuckDB's type."""
    classes = classes_of(line.task)
    own = dict.fromkeys(("label", "prediction"), "VARCHAR" if classes else "DOUBLE")
    # An expression can name no class that has a hyphen.
    return own | {name: "DOUBLE" for name in (f"{PROBABILITY}{each}" for each in classes) if COLUMN.fullmatch(name)}


def observed(declared: DeclaredLine) -> dict[str, str]:
    """Columns of an observation -> DuckDB's type: all of an event, of an entity those that go along with it.

    Without those that are called as what stands beside them: in a query capitals and small letters are one.
    """
    kinds, entity = declared.observed.types, declared.line.observe.entity
    names = kinds if entity is None else dict.fromkeys([entity, *declared.carried])
    taken = {name.lower() for name in answer(declared.line)}
    return {name: kinds[name] for name in names if name.lower() not in taken}


def read(declared: DeclaredLine, expression: str) -> list[str]:
    """The columns of an observation that an outcome's expression reads."""
    named = expressions.columns(expression)
    return [name for name in observed(declared) if name in named]


def check(declared: DeclaredLine) -> list[Mistake]:
    """Outcomes that are no number of one row, or read what is not there."""
    columns = observed(declared) | answer(declared.line)
    findings: list[Mistake] = []
    texts = {("outcomes", name, "expression"): one.expression for name, one in declared.line.outcomes.items()}
    for path, text in texts.items():
        try:
            expressions.sql(text, columns)
        except ValueError as error:
            findings.append((path, str(error)))
    return findings or types.unsuited(columns, [(path, text, "a number") for path, text in texts.items()])
