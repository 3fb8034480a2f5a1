"""Where do raw events come from, and which times do they carry? The `EventStream` declaration."""

import codecs
import datetime as dt
from collections.abc import Collection
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, ConfigDict, Field, field_validator, model_validator

from factory_assets.declarations import expressions, periods, queries
from factory_assets.declarations.base import (
    FILE_LINE,
    TIMES,
    ColumnName,
    Declared,
    Duration,
    Grown,
    Id,
    Name,
    format_duration,
    reserved,
)
from factory_assets.declarations.contract import Column, Contract

#: A name of PostgreSQL's, as it stores it.
TABLE = "[A-Za-z_][A-Za-z0-9_$]{0,62}"


def postgres_address(value: str) -> str:
    """The URL of a PostgreSQL database as it was given. Raises ValueError, with nothing of the URL in it."""
    if "{{" in value:
        return value  # Dagster reads a declaration before its templates are filled in, and we once more after
    scheme, _, rest = value.partition("://")
    if scheme not in ("postgresql", "postgres", "postgresql+psycopg2"):
        raise ValueError("must begin with postgresql://")
    if rest.partition("?")[0].count("@") > 1:
        raise ValueError("has more than one @ before the database; write those of a password as %40")
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        make_url(value)
    except (ArgumentError, ValueError):
        # Their words quote parts of it.
        raise ValueError("is no URL; write / : and @ of a password as %2F, %3A and %40") from None
    return value


Uri = Annotated[str, AfterValidator(periods.check)]


class ParquetSource(Declared):
    """Parquet files."""

    kind: Literal["parquet"]
    uri: Uri = Field(
        description="Path, glob or fsspec URI. A part {day}, {month} or {year} is replaced by each, as in orders-{day}.parquet."
    )
    late: Duration = Field(
        dt.timedelta(0),
        description="How many whole days an event may be older than the file of a {day} that brings it; older ones are set aside.",
    )


class CsvSource(Grown):
    """Delimited text files with a header line. Every value is read as text and parsed as the contract says."""

    later = frozenset({"encoding", "comment"})

    kind: Literal["csv"]
    uri: Uri = Field(
        description="Path, glob or fsspec URI. A part {day}, {month} or {year} is replaced by each, as in orders-{day}.csv."
    )
    late: Duration = Field(
        dt.timedelta(0),
        description="How many whole days an event may be older than the file of a {day} that brings it; older ones are set aside.",
    )
    delimiter: str = Field(",", min_length=1, max_length=1, description="Separates the values of a line.")
    quote: str = Field('"', min_length=1, max_length=1, description="Encloses values that contain the delimiter.")
    null_values: list[str] = Field([""], description="Texts that stand for an empty value.")
    encoding: str = Field("utf-8", description="How the text is written in bytes, such as latin-1, cp1252 or utf-16.")
    comment: str | None = Field(
        None, min_length=1, max_length=1, description="Begins a line that is left out; no line is if absent."
    )

    @field_validator("encoding")
    @classmethod
    def _encoding_is_known(cls, value: str) -> str:
        try:
            text = codecs.lookup(value)._is_text_encoding
        except LookupError:
            text = False
        if not text:
            raise ValueError("is no encoding of text; such are utf-8, utf-16, latin-1, cp1252, shift_jis")
        return value


class SimulationSource(Declared):
    """A seeded marketplace, made day by day; see factory_assets/events/simulation.py for its script."""

    kind: Literal["simulation"]
    seed: int = Field(7, ge=0, description="Another seed is another world under the same script.")
    orders_per_day: int = Field(1500, ge=300, le=500_000, description="Mean number of orders a day.")


class Cleansing(Declared):
    """How values of one column are put right, by exactly one of the ways. Rows are dropped by `exclude`."""

    column: ColumnName = Field(description="Column of the contract.")
    null_if: list[str | int | float | bool] | None = Field(
        None, min_length=1, description="Values that stand for an empty one, such as -1 or 999."
    )
    recode: dict[str | int | float | bool, str | int | float | bool] | None = Field(
        None, min_length=1, description="Value delivered to value meant; others stay as they are."
    )
    clip: tuple[float, float] | None = Field(
        None, description="Smallest and largest value; beyond, the bound is taken."
    )
    impute: str | int | float | bool | None = Field(None, description="Value that an empty one gets.")
    to: str | None = Field(None, description="Row expression that gives the value, such as upper(trim(city)).")

    @model_validator(mode="after")
    def _one_way(self) -> "Cleansing":
        ways = ("null_if", "recode", "clip", "impute", "to")
        given = [way for way in ways if getattr(self, way) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of {', '.join(ways)}; found {', '.join(given) or 'none'}")
        if self.clip is not None and self.clip[0] > self.clip[1]:
            raise ValueError(f"clip's {self.clip[0]:g} is larger than its {self.clip[1]:g}")
        return self

    @property
    def values(self) -> list[str | int | float | bool]:
        """The plain values that the rule compares with or puts in place."""
        given: list[str | int | float | bool] = [*(self.null_if or []), *(self.clip or ())]
        for old, new in (self.recode or {}).items():
            given += [old, new]
        return given if self.impute is None else [*given, self.impute]


class PostgresSource(Declared):
    """A table of a PostgreSQL database, or a query over its tables.

    A day's rows are those whose event time lies in the day, whenever they were written: what a partition holds follows
    from what the database holds, and from nothing else. Days are UTC days; an event time without a zone is read in the
    stream's `timezone`. A row that has no usable event time (none, infinite, of 1970-01-01 or before, or more than a day
    after the watermark) belongs to the day of its watermark, one without either to the stream's first day; there the
    contract finds it.
    """

    kind: Literal["postgres"]
    url: str = Field(
        description="postgresql://user:password@host/database, best as {{ env.NAME }}. The password appears in no message."
    )
    table: str | None = Field(
        None,
        pattern=rf"^{TABLE}(\.{TABLE})?$",
        description="Table or view to read, as PostgreSQL stores its name: orders, or shop.orders. Or else a query.",
    )
    query: str | None = Field(
        None,
        description="One SELECT to read instead of a table; it may compute columns, but not ask for the time, and calls no "
        "functions but PostgreSQL's own that only compute.",
    )
    watermark: ColumnName | None = Field(
        None,
        description="Column with the time at which a row was last written, such as updated_at; the event time if absent. By "
        "it a correction of a day long past is noticed at once, instead of when its turn comes. An index on it, and one "
        "on the event time, make looking cheap.",
    )

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        return postgres_address(value)

    @field_validator("query")
    @classmethod
    def _only_selects(cls, value: str | None) -> str | None:
        if value is not None:
            queries.select(value)
        return value

    @model_validator(mode="after")
    def _reads_one_thing(self) -> "PostgresSource":
        if (self.table is None) == (self.query is None):
            raise ValueError("needs a table or a query, and not both")
        return self


#: Sources whose rows are lines of files.
FILES = ("csv", "parquet")
Remedy = Literal["log", "label", "survey", "buy"]
Source = Annotated[ParquetSource | CsvSource | PostgresSource | SimulationSource, Field(discriminator="kind")]


class Planned(Declared):
    """A field that the team wants the stream to have, and how it is to be had."""

    need: str = Field(min_length=1, description="Why the field is wanted.")
    remedy: Remedy = Field(
        description="How to get it: log it where it arises, have it labelled, ask in a survey, or buy it."
    )
    owner: str = Field(description="Who sees to it: team:<name> or an e-mail address.")
    due: dt.date = Field(description="Last day on which it may still be absent.")

    @field_validator("owner")
    @classmethod
    def _owner_is_one(cls, value: str) -> str:
        return check_owner(value)


class Statistics(Declared):
    """What the statistics of a stream tell apart beside its days and columns."""

    by: list[ColumnName] = Field(
        [],
        description="Columns by whose values each day is divided, such as the label's class or a segment; the 50 most frequent "
        "values of a day are slices, the others together one more.",
    )
    correlations: bool = Field(True, description="Whether each pair of the first 12 numeric columns is correlated.")

    @field_validator("by")
    @classmethod
    def _each_once(cls, value: list[str]) -> list[str]:
        for name in value:
            if value.count(name) > 1:
                raise ValueError(f"{name!r} is there {value.count(name)} times; once is enough")
        return value


class Stream(Grown):
    """A stream of raw events: source, identity, times, contract, derived columns."""

    later = frozenset({"moves"})

    # Pydantic's own messages would quote the source, with the password of its database.
    model_config = ConfigDict(hide_input_in_errors=True)

    name: Name = Field(description="Name of the stream; first part of its asset keys.")
    owner: str = Field(description="Who answers for the data: team:<name> or an e-mail address.")
    description: str = Field(description="What one row is.")
    source: Source = Field(description="Where the rows come from.")
    id: Id = Field(
        description="Column, delivered or derived, that identifies an event. {file_line: true}, for files whose rows have none: each "
        "line is an event."
    )
    event_time: ColumnName = Field(description="Column, delivered or derived, that says when it happened.")
    known_at: ColumnName | None = Field(
        None, description="Column that says when we could know it; the event time if absent."
    )
    moves: Duration = Field(
        dt.timedelta(days=7),
        description="By how many whole days a correction may move an event: so far an id is looked for on other days, where events "
        "have a `known_at`. 0d: an id counts within its day.",
    )
    timezone: str = Field("UTC", description="Zone in which timestamps without an offset are read.")
    start: dt.date = Field(description="First day of the stream, in UTC.")
    end: dt.date | None = Field(None, description="Last day, for a finite data set; absent, the stream goes on.")
    grace: Duration = Field(
        dt.timedelta(days=1),
        description="Of a source with a file a day: how long after its close a day's file is waited for. One that has not come by "
        "then is an issue; what stands on the day is made once it is there.",
    )
    contract: str = Field("contract.yaml", description="The contract's file, in the declaration's folder or below it.")
    cleanse: dict[Name, Cleansing] = Field(
        {}, description="Named rules that put values right before rows are judged, in their order, counted by name."
    )
    derive: dict[ColumnName, str] = Field(
        {}, description="New columns as row expressions; a later one may use an earlier one."
    )
    rules: dict[ColumnName, str] = Field(
        {}, description="Named business rules: row expressions that are true or false, usable as columns everywhere."
    )
    exclude: dict[Name, str] = Field(
        {}, description="Rows to leave out on purpose, by named expression; they stay in raw and are counted."
    )
    plan: dict[ColumnName, Planned] = Field(
        {},
        description="Fields that are wanted of the feed, whether it has them yet or not, by the name they will have.",
    )

    statistics: Statistics = Field(Statistics(), description="Slices and correlations of the statistics.")

    @field_validator("timezone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError(
                f"{value!r} is not a time zone; allowed: names of the IANA database such as UTC or Europe/Paris"
            )
        return value

    @field_validator("owner")
    @classmethod
    def _owner_is_one(cls, value: str) -> str:
        return check_owner(value)

    @model_validator(mode="after")
    def _ends_after_start(self) -> "Stream":
        if self.end and self.end < self.start:
            raise ValueError(f"end {self.end} is before start {self.start}")
        return self

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def reach(self) -> int:
        """Within how many days an id is one event. Without `known_at` nothing tells which of two holds, so each day has its own."""
        return self.moves // dt.timedelta(days=1) if self.known_at and not self.by_line else 0

    @property
    def by_line(self) -> bool:
        """Whether an event is identified by the line of a file that brought it."""
        return self.id == FILE_LINE

    def columns(self, contract: Contract) -> list[str]:
        """Names of all columns of the events table: the contract's, then derived ones, rules and the two times."""
        names = [*contract.columns, *([FILE_LINE] if self.by_line else []), *self.derive, *self.rules]
        return [name for name in names if name not in ("event_time", "known_at")] + ["event_time", "known_at"]

    def check(self, contract: Contract) -> list[tuple[tuple[str, ...], str]]:
        """Mistakes between the stream and its contract, as (path in the declaration, message) pairs."""
        known = dict.fromkeys(contract.columns)
        problems: list[tuple[tuple[str, ...], str]] = [
            (
                ("contract",),
                f"column {column!r} has a name that the factory uses; give it another, with `delivered: {column}`",
            )
            for column in known
            if reserved(column) and not (column in TIMES and column in (self.event_time, self.known_at))
        ]
        if self.moves % dt.timedelta(days=1):
            problems.append((("moves",), f"{format_duration(self.moves)} is not whole days; write days, such as 7d"))
        late = getattr(self.source, "late", dt.timedelta(0))
        if late % dt.timedelta(days=1):
            problems.append((("source", "late"), f"{late} is not whole days; write days, such as 3d"))
        if late and periods.unit(getattr(self.source, "uri", "")) != "day":
            problems.append((("source", "late"), "applies to a uri with {day}; other files may hold rows of any day"))
        if late and self.known_at not in contract.columns:
            message = "must be a delivered column where events come late: it tells late rows from wrong times"
            problems.append((("known_at",), message))
        for rule_name, rule in self.cleanse.items():
            problems += _cleansing_problems(("cleanse", rule_name), rule, contract)
        for field, entries in (("derive", self.derive), ("rules", self.rules)):
            for name, text in entries.items():
                if reserved(name):
                    problems.append(((field, name), f"{name!r} is a name that the factory uses; give it another"))
                elif name in known:
                    problems.append(((field, name), f"{name!r} exists already; columns here: {', '.join(known)}"))
                problems += _problems((field, name), text, known)
                known[name] = None
        for name, text in self.exclude.items():
            problems += _problems(("exclude", name), text, known)
        for name, text in contract.rules.items():
            problems += [
                (("contract",), f"rule {name!r}: {message}") for _, message in _problems(("contract",), text, known)
            ]
        problems += [
            (
                ("contract",),
                f"presence of {name!r} is asked for by {column.presence.by!r}, which is not a column; "
                f"columns here: {', '.join(known)}",
            )
            for name, column in contract.columns.items()
            if column.presence and column.presence.by and column.presence.by not in known
        ]
        if isinstance(self.source, PostgresSource) and self.event_time in self.derive:
            message = f"{self.event_time!r} is derived, and the database could not find its rows by day; compute it in the query"
            problems.append((("event_time",), message))
        if self.by_line and self.source.kind not in FILES:
            message = f"{{file_line: true}} is for {' and '.join(FILES)}; the rows of {self.source.kind} have no lines: name a column"
            problems.append((("id",), message))
        elif self.id not in [*known, FILE_LINE]:
            problems.append((("id",), f"{self.id!r} is not a column; columns here: {', '.join(known)}"))
        dividing = [name for name in known if name != self.id and _divides(contract.columns.get(name))]
        for index, name in enumerate(self.statistics.by):
            if name not in dividing:
                message = f"{name!r} is no column to divide by; columns here: {', '.join(dividing)}"
                problems.append((("statistics", "by", str(index)), message))
        for field in ("event_time", "known_at"):
            column = getattr(self, field)
            if column is None:
                continue
            if column not in known:
                problems.append(((field,), f"{column!r} is not a column; columns here: {', '.join(known)}"))
            elif column in contract.columns and contract.columns[column].type not in ("timestamp", "date"):
                found = contract.columns[column].type
                problems.append(
                    ((field,), f"{column!r} is of type {found}; allowed: timestamp, date, or a derived column")
                )
        return problems


def _divides(column: Column | None) -> bool:
    """Whether days can be divided by a column's values: not by amounts and moments. A derived one is believed."""
    return column is None or column.type in ("string", "boolean", "integer", "date")


def check_owner(value: str) -> str:
    """Dagster's form of an owner: 'team:payments' or 'ana@example.com'."""
    if not (value.startswith("team:") and len(value) > 5) and "@" not in value:
        raise ValueError(f"{value!r} is not an owner; allowed: team:<name> or an e-mail address")
    return value


def _problems(path: tuple[str, ...], text: str, known: Collection[str]) -> list[tuple[tuple[str, ...], str]]:
    try:
        expressions.sql(text, known)
    except ValueError as error:
        return [(path, str(error))]
    return []


def _cleansing_problems(
    path: tuple[str, ...], rule: Cleansing, contract: Contract
) -> list[tuple[tuple[str, ...], str]]:
    known = list(contract.columns)
    if rule.column not in known:
        return [((*path, "column"), f"{rule.column!r} is not a column; columns here: {', '.join(known)}")]
    kind = contract.columns[rule.column].type
    if rule.to is not None:
        return _problems((*path, "to"), rule.to, known)
    wanted: dict[str, tuple[type, ...]] = {
        "integer": (int,), "double": (int, float), "boolean": (bool,), "string": (str,)
    }  # fmt: skip
    if kind not in wanted:
        return [
            ((*path, "column"), f"{rule.column!r} is of type {kind}; allowed here: {', '.join(wanted)}, or use `to`")
        ]
    if rule.clip is not None and kind not in ("integer", "double"):
        return [((*path, "clip"), f"{rule.column!r} is of type {kind}; allowed: integer, double")]
    values = rule.values if rule.clip is None else []
    return [
        (path, f"{value!r} is no {kind}, which {rule.column!r} is")
        for value in values
        if type(value) not in wanted[kind]
    ]
