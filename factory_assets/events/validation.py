"""Which rows of a day may be used, which are set aside and why, and is the day as a whole fit for use?

The contract is compiled to row rules in SQL. A row that breaks one goes to quarantine with the rule's name. A day that
was not delivered in full, or with more than the tolerated share of rows breaking one rule, is blocked as a whole.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import duckdb

from factory_assets.declarations import expressions
from factory_assets.declarations.catalogue import DeclaredStream
from factory_assets.declarations.contract import Column
from factory_assets.declarations.expressions import identifier
from factory_assets.declarations.stream import Stream
from factory_assets.events.landing import Arrival, arrivals, utc, with_derived
from factory_assets.events.sources import expects_a_file

Concern = Literal["schema", "completeness", "ranges", "uniqueness"]
Kind = Literal["exists", "line", "type", "null", "min", "max", "allowed", "computes", "day", "unique", "once"]


@dataclass(frozen=True)
class Rule:
    """One thing that every row must satisfy. `broken` is SQL that is true for a row that does not, never null."""

    concern: Concern
    kind: Kind
    column: str
    name: str
    broken: str


@dataclass(frozen=True)
class Verdict:
    """What validation found in one day.

    rows = accepted + duplicates + all quarantined + all excluded. Accepted rows of a blocked day are held back.
    broken: rows that break each rule, an earlier rule notwithstanding; rules that none breaks are left out.
    """

    day: dt.date
    rows: int
    accepted: int
    duplicates: int
    quarantined: dict[str, int]
    excluded: dict[str, int]
    blocked: tuple[str, ...]
    broken: dict[str, int] = field(default_factory=dict)


def row_rules(declared: DeclaredStream, lacking: Mapping[str, Sequence[str]] | None = None) -> list[Rule]:
    """The rules of a stream in the order in which a row is judged.

    lacking: for columns, the sources that came without them; there, an empty value breaks nothing.
    """
    stream, contract = declared.stream, declared.contract
    rules = [Rule("schema", "line", "_line", "the line has a value for every column", "_line IS NOT NULL")]
    for name, column in contract.columns.items():
        unparsed = f"(_unparsed IS NOT NULL AND json_extract_string(_unparsed, '$.\"{name}\"') IS NOT NULL)"
        if column.type != "string":
            rules.append(Rule("schema", "type", name, f"{name} is {column.type}", unparsed))
        if not column.nullable or name in essential(stream):
            rules.append(_null_rule(name, (lacking or {}).get(name, []), f" AND NOT {unparsed}"))
        rules += _value_rules(name, column)
    for name in [*stream.derive, *stream.rules, *stream.exclude]:
        rules.append(
            Rule("schema", "computes", name, f"{name} can be computed", f"coalesce(_failed = '{name}', false)")
        )
    rules += [
        _null_rule(name, [], " AND _failed IS NULL") for name in essential(stream) if name not in contract.columns
    ]
    other = "coalesce(CAST(event_time AS DATE) <> ds, false)"
    rules.append(Rule("schema", "day", stream.event_time, f"{stream.event_time} lies in the day", other))
    return rules


def essential(stream: Stream) -> list[str]:
    """Columns without which a row is no event: they may not be empty, whatever the contract says."""
    return list(dict.fromkeys(name for name in (stream.id, stream.event_time, stream.known_at) if name))


def unique_rule(stream: Stream) -> str:
    """Name of the rule that no two different rows have one id."""
    return f"{stream.id} is unique"


def _null_rule(name: str, lacking: Sequence[str], unless: str) -> Rule:
    broken = f"{identifier(name)} IS NULL AND _line IS NULL{unless}"
    if lacking:
        listed = ", ".join("'" + source.replace("'", "''") + "'" for source in lacking)
        broken += f" AND _source NOT IN ({listed})"
    return Rule("completeness", "null", name, f"{name} is not null", broken)


def _value_rules(name: str, column: Column) -> list[Rule]:
    quoted, rules = identifier(name), []
    if column.min is not None:
        below = f"coalesce({quoted} < '{column.min!r}'::DOUBLE, false)"
        rules.append(Rule("ranges", "min", name, f"{name} >= {column.min:g}", below))
    if column.max is not None:
        above = f"coalesce({quoted} > '{column.max!r}'::DOUBLE, false)"
        rules.append(Rule("ranges", "max", name, f"{name} <= {column.max:g}", above))
    if column.allowed is not None:
        listed = ", ".join(_literal(value) for value in allowed_values(column))
        other = f"coalesce({quoted} NOT IN ({listed}), false)"
        rules.append(Rule("ranges", "allowed", name, f"{name} is one of the allowed", other))
    return rules


def allowed_values(column: Column) -> list[str | int | float | bool]:
    """The values allowed, in the column's type: among texts, a number stands for its digits."""
    values = column.allowed or []
    return [str(value) for value in values] if column.type == "string" else list(values)


def _literal(value: str | int | float | bool) -> str:
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)


def judge(con: duckdb.DuckDBPyConnection, declared: DeclaredStream, days: Sequence[dt.date]) -> list[Verdict]:
    """Judge the rows of views `raw` and `deliveries`; create views `accepted` and `quarantined`, a verdict per day.

    accepted: the columns of the events table and `ds`, blocked days left out.
    quarantined: ds, rule, source, unparsed (JSON of the texts that do not parse), line (text that is no row), raw_row
        (JSON of the row's values).
    """
    came = read_arrivals(con)
    rules = row_rules(declared, lacking(declared, came))
    broken = " ".join(f"WHEN {rule.broken} THEN '{rule.name}'" for rule in rules)
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE judged AS
            SELECT *, CASE WHEN _excluded IS NOT NULL THEN NULL {broken} END AS _rule FROM ({judged_rows(declared)})"""
    ).fetchall()
    _mark_duplicates(con, declared)
    verdicts = _verdicts(con, declared, rules, came, days)
    _split(con, declared, [verdict.day for verdict in verdicts if verdict.blocked])
    return verdicts


def judged_rows(declared: DeclaredStream) -> str:
    """Query over a view `raw`: its rows with derived columns, `event_time`, `known_at` and `_excluded`.

    _excluded: the name under which the stream leaves the row out on purpose, or null; such a row is not judged.
    """
    stream = declared.stream
    times = ", ".join(f"{utc(declared, role)} AS {role}" for role in ("event_time", "known_at"))
    taken = [name for name in ("event_time", "known_at") if name in {*declared.contract.columns, *stream.derive}]
    keep = f"* EXCLUDE ({', '.join(taken)})" if taken else "*"
    left_out = " ".join(f"WHEN TRY({expressions.sql(text)}) THEN '{name}'" for name, text in stream.exclude.items())
    excluded = f"CASE {left_out} END" if left_out else "NULL::VARCHAR"
    return f"SELECT {keep}, {times}, {excluded} AS _excluded FROM ({with_derived(declared, 'SELECT * FROM raw')})"


def read_arrivals(con: duckdb.DuckDBPyConnection) -> dict[dt.date, list[Arrival]]:
    """What the view `deliveries` says came on each day."""
    found = con.execute("SELECT ds, source, columns, problem FROM deliveries ORDER BY ALL").fetchall()
    return arrivals(dict(zip(("ds", "source", "columns", "problem"), row, strict=True)) for row in found)


def lacking(declared: DeclaredStream, came: Mapping[dt.date, Sequence[Arrival]]) -> dict[str, list[str]]:
    """Columns of the contract, and the sources that came without them."""
    found: dict[str, list[str]] = {}
    for arrival in {arrival for day in came.values() for arrival in day}:
        for name in declared.contract.columns:
            if name not in arrival.columns:
                found.setdefault(name, []).append(arrival.source)
    return found


def undelivered(declared: DeclaredStream, came: Sequence[Arrival] | None) -> list[str]:
    """Why a day has no rows to judge: no file where one was due, or a file that cannot be read."""
    if came is None:
        return ["no file was delivered"] if expects_a_file(declared.stream) else []
    return [f"{arrival.source} {arrival.problem}" for arrival in came if arrival.problem]


def required_columns(declared: DeclaredStream) -> list[str]:
    """Columns that every delivery must have: those that the contract requires, and the id and times in any case."""
    needed = essential(declared.stream)
    return [name for name, column in declared.contract.columns.items() if column.required or name in needed]


def _missing_columns(declared: DeclaredStream, came: Sequence[Arrival] | None) -> list[str]:
    return [
        f"column {name} is missing"
        for name in required_columns(declared)
        if any(name not in arrival.columns for arrival in came or ())
    ]


def _mark_duplicates(con: duckdb.DuckDBPyConnection, declared: DeclaredStream) -> None:
    """A row delivered twice is kept once; of different rows with one id, the first known is kept, the rest set aside."""
    key, content = identifier(declared.stream.id), row_content(declared)
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE repeated_ids AS SELECT ds, {key} FROM judged
            WHERE _excluded IS NULL AND {key} IS NOT NULL GROUP BY ALL HAVING count(*) > 1"""
    ).fetchall()
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE repeated AS
            SELECT judged.rowid AS row, {content} = first_value({content}) OVER same AS identical, row_number() OVER same AS place
            FROM judged JOIN repeated_ids USING (ds, {key}) WHERE _rule IS NULL AND _excluded IS NULL
            WINDOW same AS (PARTITION BY ds, {key} ORDER BY known_at, {content})"""
    ).fetchall()
    con.execute("ALTER TABLE judged ADD COLUMN _duplicate BOOLEAN DEFAULT false").fetchall()
    con.execute(
        "UPDATE judged SET _duplicate = true FROM repeated WHERE judged.rowid = row AND place > 1 AND identical"
    ).fetchall()
    con.execute(
        f"""UPDATE judged SET _rule = '{unique_rule(declared.stream)}'
            FROM repeated WHERE judged.rowid = row AND place > 1 AND NOT identical"""
    ).fetchall()


def row_content(declared: DeclaredStream) -> str:
    """SQL of a number that two rows share when they say the same: every column of the contract, and both times."""
    names = dict.fromkeys([*declared.contract.columns, "event_time", "known_at"])
    return f"hash({', '.join(map(identifier, names))})"


def _verdicts(
    con: duckdb.DuckDBPyConnection,
    declared: DeclaredStream,
    rules: Sequence[Rule],
    came: Mapping[dt.date, Sequence[Arrival]],
    days: Sequence[dt.date],
) -> list[Verdict]:
    counts = ", ".join(f"count(*) FILTER (_excluded IS NULL AND ({rule.broken}))" for rule in rules)
    table = {
        row[0]: row[1:]
        for row in con.execute(
            f"""SELECT ds, count(*), count(*) FILTER (_rule IS NULL AND _excluded IS NULL AND NOT _duplicate),
                   count(*) FILTER (_duplicate), {counts} FROM judged GROUP BY ds"""
        ).fetchall()
    }
    conflicts = dict(con.execute(_conflicts(declared)).fetchall())
    aside, left_out = _counted(con, "_rule"), _counted(con, "_excluded")
    names = [*(rule.name for rule in rules), unique_rule(declared.stream)]
    verdicts = []
    for day in days:
        rows, accepted, duplicates, *found = table.get(day, (0, 0, 0, *[0] * len(rules)))
        broken = {name: count for name, count in zip(names, [*found, conflicts.get(day, 0)], strict=True) if count}
        excluded = left_out.get(day, {})
        reasons = (
            undelivered(declared, came.get(day))
            or _missing_columns(declared, came.get(day))
            or _intolerable(broken, rows - sum(excluded.values()), declared.contract.tolerance)
        )
        verdicts.append(Verdict(day, rows, accepted, duplicates, aside.get(day, {}), excluded, tuple(reasons), broken))
    return verdicts


def _intolerable(broken: Mapping[str, int], rows: int, tolerance: float) -> list[str]:
    """The rules that more than the tolerated share of a day's rows break, in words."""
    return [
        f"{count} of {rows} rows break '{name}' (tolerated: {tolerance:.1%})"
        for name, count in broken.items()
        if count / rows > tolerance
    ]


def _conflicts(declared: DeclaredStream) -> str:
    """Rows of each day whose id an earlier, different row has."""
    key = identifier(declared.stream.id)
    return f"""SELECT ds, sum(different - 1)::BIGINT FROM (
                   SELECT ds, {key}, count(DISTINCT {row_content(declared)}) AS different
                   FROM judged JOIN repeated_ids USING (ds, {key}) WHERE _excluded IS NULL GROUP BY ALL)
               GROUP BY ds HAVING sum(different - 1) > 0"""


def _counted(con: duckdb.DuckDBPyConnection, name: str) -> dict[dt.date, dict[str, int]]:
    found: dict[dt.date, dict[str, int]] = {}
    for day, value, count in con.execute(
        f"SELECT ds, {name}, count(*) FROM judged WHERE {name} IS NOT NULL GROUP BY ALL ORDER BY ALL"
    ).fetchall():
        found.setdefault(day, {})[value] = count
    return found


def _split(con: duckdb.DuckDBPyConnection, declared: DeclaredStream, blocked: Sequence[dt.date]) -> None:
    columns = ", ".join(identifier(name) for name in declared.types)
    closed = ", ".join(f"DATE '{day}'" for day in blocked) or "NULL::DATE"
    delivered = [identifier(name) for name in declared.contract.columns if name not in ("event_time", "known_at")]
    packed = ", ".join(f"{name} := {name}" for name in delivered)
    con.execute(
        f"""CREATE OR REPLACE TEMP VIEW accepted AS SELECT {columns}, ds FROM judged
            WHERE _rule IS NULL AND _excluded IS NULL AND NOT _duplicate AND NOT coalesce(ds IN ({closed}), false)"""
    ).fetchall()
    con.execute(
        f"""CREATE OR REPLACE TEMP VIEW quarantined AS
            SELECT ds, _rule AS rule, _source AS source, _unparsed AS unparsed, _line AS line,
                   to_json(struct_pack({packed}))::VARCHAR AS raw_row
            FROM judged WHERE _rule IS NOT NULL"""
    ).fetchall()
