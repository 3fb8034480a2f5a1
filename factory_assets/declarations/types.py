"""Which type does a row expression have, and may a value of that type stand where it does? DuckDB knows: it is asked."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
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
    with _typed(columns) as con:
        for path, text in texts.items():
            alike = next((name for name in types if name.lower() == path[-1].lower()), None)
            if alike is not None:
                how = "is a column already" if alike == path[-1] else f"differs from the column {alike!r} in case alone"
                findings.append((path, f"{path[-1]!r} {how}; give it another name"))
                continue
            try:
                types[path[-1]] = _type(con, text)
            except ValueError as error:
                findings.append((path, str(error)))
                continue
            con.execute(f"ALTER TABLE typed ADD COLUMN {expressions.identifier(path[-1])} {types[path[-1]]}").fetchall()
    return types, findings


def unsuited(
    columns: Mapping[str, str],
    texts: Iterable[tuple[tuple[str, ...], str | None, Wanted]],
    sql: Callable[[str], str] = expressions.sql,
) -> list[Mistake]:
    """Expressions (path, text, what is wanted) over these columns that give something else; None is no expression.

    sql: how an expression is read.
    """
    asked = [(path, text, wanted) for path, text, wanted in texts if text is not None]
    if not asked:
        return []
    findings = []
    with _typed(columns) as con:
        for path, text, wanted in asked:
            try:
                found = _type(con, text, sql)
            except ValueError as error:
                findings.append((path, str(error)))
                continue
            if not ACCEPTED[wanted].fullmatch(found):
                findings.append((path, f"{text!r} is of type {found}; allowed here: {wanted}"))
    return findings


def of(columns: Mapping[str, str], texts: Mapping[str, str]) -> dict[str, str]:
    """DuckDB's type of each SQL expression over these columns. Raises ValueError for one that cannot be computed."""
    with _typed(columns) as con:
        return {name: _type(con, text) for name, text in texts.items()}


@contextmanager
def _typed(columns: Mapping[str, str]) -> Iterator["duckdb.DuckDBPyConnection"]:
    """A connection with an empty table `typed` of these columns."""
    from factory_resources.scratch import scratch

    listed = ", ".join(f"{expressions.identifier(name)} {kind}" for name, kind in columns.items())
    with scratch() as con:
        con.execute(f"CREATE TEMP TABLE typed ({listed})").fetchall()
        yield con


def _type(con: "duckdb.DuckDBPyConnection", text: str, sql: Callable[[str], str] = expressions.sql) -> str:
    import duckdb

    try:
        return str(con.execute(f"DESCRIBE SELECT {sql(text)} AS value FROM typed").fetchall()[0][1])
    except duckdb.Error as error:
        raise ValueError(f"{text!r} cannot be computed: {str(error).splitlines()[0]}") from None
