"""Which type does a row expression have, and may a value of that type stand where it does? DuckDB knows: it is asked."""

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal

from factory_assets.declarations import expressions

if TYPE_CHECKING:
    import duckdb

Mistake = tuple[tuple[str, ...], str]
Wanted = Literal[
    "a number", "true or false", "a text or a whole number", "0 or 1, or true or false, as answer = 'yes' gives"
]
#: A yes or no counts as 1 or 0 wherever a number is wanted.
ACCEPTED: dict[Wanted, re.Pattern[str]] = {
    "a number": re.compile(r"(TINY|SMALL|BIG|HUGE)INT|INTEGER|FLOAT|DOUBLE|DECIMAL\(.*\)|BOOLEAN"),
    "true or false": re.compile("BOOLEAN"),
    "a text or a whole number": re.compile(r"VARCHAR|U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER"),
}
#: Which numbers they are shows in the rows.
ACCEPTED["0 or 1, or true or false, as answer = 'yes' gives"] = ACCEPTED["a number"]


def added(columns: Mapping[str, str], texts: Mapping[tuple[str, ...], str]) -> tuple[dict[str, str], list[Mistake]]:
    """Types of columns and of those that expressions add to them, each of which may use the ones before it.

    texts: path in the declaration, which ends in the new column's name, to the expression.
    """
    types, findings = dict(columns), []
    typed = Typed(columns)
    with _asked() as con:
        for path, text in texts.items():
            alike = typed.name_of(path[-1])
            if alike is not None:
                how = "is a column already" if alike == path[-1] else f"differs from the column {alike!r} in case alone"
                findings.append((path, f"{path[-1]!r} {how}; give it another name"))
                continue
            try:
                types[path[-1]] = typed.type_of(con, text)
            except ValueError as error:
                findings.append((path, str(error)))
                continue
            typed.add(path[-1], types[path[-1]])
    return types, findings


def unsuited(
    columns: Mapping[str, str],
    texts: Iterable[tuple[tuple[str, ...], str | None, Wanted]],
    canonical: bool = False,
) -> list[Mistake]:
    """Expressions (path, text, what is wanted) over these columns that give something else; None is no expression.

    canonical: whether the expressions are over canonical names.
    """
    asked = [(path, text, wanted) for path, text, wanted in texts if text is not None]
    if not asked:
        return []
    findings, typed = [], Typed(columns)
    with _asked() as con:
        for path, text, wanted in asked:
            try:
                found = typed.type_of(con, text, canonical)
            except ValueError as error:
                findings.append((path, str(error)))
                continue
            if not ACCEPTED[wanted].fullmatch(found):
                findings.append((path, f"{text!r} is of type {found}; allowed here: {wanted}"))
    return findings


def of(columns: Mapping[str, str], texts: Mapping[str, str]) -> dict[str, str]:
    """DuckDB's type of each SQL expression over these columns. Raises ValueError for one that cannot be computed."""
    typed = Typed(columns)
    with _asked() as con:
        return {name: typed.type_of(con, text) for name, text in texts.items()}


def _asked() -> "duckdb.DuckDBPyConnection":
    """The connection that is asked. Who only reads declarations imports no DuckDB."""
    from factory_resources.scratch import scratch

    return scratch()


class Typed:
    """Columns and their types, over which expressions are asked for theirs."""

    def __init__(self, columns: Mapping[str, str]) -> None:
        # DuckDB takes names that differ in case alone for one.
        self._columns = {name.lower(): (name, kind) for name, kind in columns.items()}

    def name_of(self, name: str) -> str | None:
        """The column of this name, in whatever case; None if there is none."""
        found = self._columns.get(name.lower())
        return found[0] if found else None

    def add(self, name: str, kind: str) -> None:
        """One more column."""
        self._columns[name.lower()] = name, kind

    def type_of(self, con: "duckdb.DuckDBPyConnection", text: str, canonical: bool = False) -> str:
        """DuckDB's type of an expression. Raises ValueError for one that cannot be computed."""
        import duckdb

        try:
            sql = expressions.over_features(text) if canonical else expressions.sql(text)
            rows = self._row_of(expressions.read_by(text, canonical))
            return str(con.execute(f"DESCRIBE SELECT {sql} AS value FROM (SELECT {rows})").fetchall()[0][1])
        except duckdb.Error as error:
            raise ValueError(f"{text!r} cannot be computed: {str(error).splitlines()[0]}") from None

    def _row_of(self, names: Iterable[str]) -> str:
        """The columns of these names that there are. Not all columns: of thousands, each expression would bind thousands."""
        read = {name.lower(): self._columns[name.lower()] for name in names if name.lower() in self._columns}
        listed = [f"NULL::{kind} AS {expressions.identifier(name)}" for name, kind in read.values()]
        return ", ".join(listed or ["NULL AS unread_"])
