"""What must be true of every row of a stream, and of every delivery? The contract compiled to rules in SQL."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from factory_assets.declarations import expressions
from factory_assets.declarations.catalogue import DeclaredStream
from factory_assets.declarations.contract import Column
from factory_assets.declarations.expressions import identifier
from factory_assets.declarations.stream import Stream
from factory_assets.events.contract.cleansing import literal
from factory_assets.events.landing import Arrival
from factory_assets.events.sources import expects_a_file

Concern = Literal["schema", "completeness", "ranges", "uniqueness", "columns", "volume", "distribution"]
Kind = Literal[
    "exists", "line", "type", "null", "min", "max", "allowed", "value_count", "computes", "rule", "day", "unique", "once",
    "delivery", "presence", "volume", "freshness", "distinct", "shift",
]  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """One thing that every row must satisfy. `broken` is SQL that is true for a row that does not, never null."""

    concern: Concern
    kind: Kind
    column: str
    name: str
    broken: str


def row_rules(declared: DeclaredStream, lacking: Mapping[str, Sequence[str]] | None = None) -> list[Rule]:
    """The rules of a stream in the order in which a row is judged.

    lacking: column -> sources that were delivered without it; there, an empty value breaks nothing.
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
    for name in [*stream.derive, *stream.rules, *stream.exclude, *contract.rules]:
        rules.append(
            Rule("schema", "computes", name, f"{name} can be computed", f"coalesce(_failed = '{name}', false)")
        )
    rules += [
        _null_rule(name, [], " AND _failed IS NULL") for name in essential(stream) if name not in contract.columns
    ]
    other = "coalesce(CAST(event_time AS DATE) <> ds, false)"
    rules.append(Rule("schema", "day", stream.event_time, f"{stream.event_time} lies in the day", other))
    for name, text in contract.rules.items():
        rules.append(Rule("columns", "rule", name, name, f"coalesce(NOT TRY({expressions.sql(text)}), false)"))
    return rules


def delivery_rules(declared: DeclaredStream) -> list[Rule]:
    """The rules that every delivery must keep: its columns are there."""
    return [
        Rule("schema", "exists", name, f"column {name} is delivered", "false") for name in required_columns(declared)
    ]


def id_rules(stream: Stream) -> tuple[Rule, Rule]:
    """The rules of rows that have one id: they do not differ, and none of them comes again."""
    unique = Rule("uniqueness", "unique", stream.id, unique_rule(stream), "")
    return unique, Rule("uniqueness", "once", stream.id, "every row comes once", "")


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
        listed = ", ".join(literal(value) for value in allowed_values(column))
        other = f"coalesce({quoted} NOT IN ({listed}), false)"
        rules.append(Rule("ranges", "allowed", name, f"{name} is one of the allowed", other))
    if column.value_count is not None:
        fewest, most = column.value_count.min, column.value_count.max
        bounds = f"{fewest} AND {'9223372036854775807' if most is None else most}"
        span = f"at least {fewest}" if most is None else f"{fewest} to {most}"
        other = f"coalesce(len({quoted}) NOT BETWEEN {bounds}, false)"
        rules.append(Rule("ranges", "value_count", name, f"{name} has {span} values", other))
    return rules


def allowed_values(column: Column) -> list[str | int | float | bool]:
    """The values allowed, in the column's type: among texts, a number stands for its digits."""
    values = column.allowed or []
    return [str(value) for value in values] if column.type == "string" else list(values)


def lacking(declared: DeclaredStream, arrived: Mapping[dt.date, Sequence[Arrival]]) -> dict[str, list[str]]:
    """Column of the contract -> sources that were delivered without it."""
    found: dict[str, list[str]] = {}
    for arrival in {arrival for day in arrived.values() for arrival in day}:
        for name in declared.contract.columns:
            if name not in arrival.columns:
                found.setdefault(name, []).append(arrival.source)
    return found


def undelivered(declared: DeclaredStream, day: dt.date, arrivals: Sequence[Arrival] | None) -> list[str]:
    """Why a day has no rows to judge: no file where one was due, or a file that cannot be read."""
    if not arrivals or all(arrival.late for arrival in arrivals):
        due = expects_a_file(declared.stream) and not declared.contract.is_quiet(day)
        if due:
            return ["no file was delivered"]
    return [f"{arrival.source} {arrival.problem}" for arrival in arrivals or () if arrival.problem]


def missing_columns(declared: DeclaredStream, arrivals: Sequence[Arrival] | None) -> list[str]:
    """Required columns that a delivery of the day does not have."""
    return [
        name for name in required_columns(declared) if any(name not in arrival.columns for arrival in arrivals or ())
    ]


def required_columns(declared: DeclaredStream) -> list[str]:
    """Columns that every delivery must have: those that the contract requires, and the id and times in any case."""
    needed = essential(declared.stream)
    return [name for name, column in declared.contract.columns.items() if column.required or name in needed]
