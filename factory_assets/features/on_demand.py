"""How are features computed from the features of other views and the event? As columns added to a query for these."""

from collections.abc import Mapping

from factory_assets.declarations import expressions
from factory_assets.declarations.declared import DeclaredLine
from factory_assets.features.point_in_time.aggregates import finite, named


def read(declared: DeclaredLine) -> list[str]:
    """Features of views over streams that an example needs: the line's own, and the inputs of features computed on demand."""
    own = [name for name in declared.features if "." in name]
    names = [*own, *(name for text in declared.derived.values() for name in expressions.features(text))]
    return [name for name in dict.fromkeys(names) if name not in declared.derived]


def added(query: str, derived: Mapping[str, str]) -> str:
    """The query's columns, and a finite number or null for each feature computed on demand, called by canonical name.

    query: has a column for each feature, and each column of the observed event, that they read. derived: name -> expression,
        those first that others read.
    """
    todo = dict(derived)
    while todo:
        ready = [name for name, text in todo.items() if not set(expressions.features(text)) & set(todo)]
        values = {name: finite(expressions.over_features(todo.pop(name))) for name in ready}
        query = f"SELECT *, {named(values)} FROM ({query})"
    return query
