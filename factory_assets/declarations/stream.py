"""Where do raw events come from, and which times do they carry? The `EventStream` declaration."""

import datetime as dt
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, field_validator, model_validator

from factory_assets.declarations import expressions
from factory_assets.declarations.base import RESERVED, ColumnName, Declared, Name
from factory_assets.declarations.contract import Contract


class ParquetSource(Declared):
    """Parquet files."""

    kind: Literal["parquet"]
    uri: str = Field(
        description="Path, glob or fsspec URI. A part {day} is replaced by each day, as in orders-{day}.parquet."
    )


class CsvSource(Declared):
    """Delimited text files with a header line. Every value is read as text and parsed as the contract says."""

    kind: Literal["csv"]
    uri: str = Field(
        description="Path, glob or fsspec URI. A part {day} is replaced by each day, as in orders-{day}.csv."
    )
    delimiter: str = Field(",", min_length=1, max_length=1, description="Separates the values of a line.")
    quote: str = Field('"', min_length=1, max_length=1, description="Encloses values that contain the delimiter.")
    null_values: list[str] = Field([""], description="Texts that stand for an empty value.")


class SimulationSource(Declared):
    """A seeded marketplace, made day by day; see factory_assets/events/simulation.py for its script."""

    kind: Literal["simulation"]
    seed: int = Field(7, ge=0, description="Another seed is another world under the same script.")
    orders_per_day: int = Field(1500, ge=300, le=500_000, description="Mean number of orders a day.")


Source = Annotated[ParquetSource | CsvSource | SimulationSource, Field(discriminator="kind")]


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


class Stream(Declared):
    """A stream of raw events: source, identity, times, contract, derived columns."""

    name: Name = Field(description="Name of the stream; first part of its asset keys.")
    owner: str = Field(description="Who answers for the data: team:<name> or an e-mail address.")
    description: str = Field(description="What one row is.")
    source: Source = Field(description="Where the rows come from.")
    id: ColumnName = Field(description="Column, delivered or derived, that identifies an event.")
    event_time: ColumnName = Field(description="Column, delivered or derived, that says when it happened.")
    known_at: ColumnName | None = Field(
        None, description="Column that says when we could know it; the event time if absent."
    )
    timezone: str = Field("UTC", description="Zone in which timestamps without an offset are read.")
    start: dt.date = Field(description="First day of the stream, in UTC.")
    end: dt.date | None = Field(None, description="Last day, for a finite data set; absent, the stream goes on.")
    contract: str = Field("contract.yaml", description="The contract's file, relative to the declaration.")
    derive: dict[ColumnName, str] = Field(
        {}, description="New columns as row expressions; a later one may use an earlier one."
    )
    rules: dict[ColumnName, str] = Field(
        {}, description="Named business rules: row expressions that are true or false, usable as columns everywhere."
    )
    exclude: dict[Name, str] = Field(
        {}, description="Rows to leave out on purpose, by named expression; they stay in raw and are counted."
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

    def columns(self, contract: Contract) -> list[str]:
        """Names of all columns of the events table: the contract's, then derived ones, rules and the two times."""
        names = [*contract.columns, *self.derive, *self.rules]
        return [name for name in names if name not in ("event_time", "known_at")] + ["event_time", "known_at"]

    def check(self, contract: Contract) -> list[tuple[tuple[str, ...], str]]:
        """What is wrong between the stream and its contract, as (path in the declaration, message) pairs."""
        known = list(contract.columns)
        problems: list[tuple[tuple[str, ...], str]] = [
            (("contract",), f"column {column!r} has a name that the factory uses; rename it in the feed")
            for column in known
            if column in RESERVED and column not in (self.event_time, self.known_at)
        ]
        for field, entries in (("derive", self.derive), ("rules", self.rules)):
            for name, text in entries.items():
                if name in known or name in RESERVED:
                    problems.append(((field, name), f"{name!r} exists already; columns here: {', '.join(known)}"))
                problems += _problems((field, name), text, known)
                known.append(name)
        for name, text in self.exclude.items():
            problems += _problems(("exclude", name), text, known)
        if self.id not in known:
            problems.append((("id",), f"{self.id!r} is not a column; columns here: {', '.join(known)}"))
        for index, name in enumerate(self.statistics.by):
            if name not in known or name == self.id:
                columns = ", ".join(column for column in known if column != self.id)
                problems.append(
                    (("statistics", "by", str(index)), f"{name!r} is no column to divide by; columns here: {columns}")
                )
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


def check_owner(value: str) -> str:
    """Dagster's form of an owner: 'team:payments' or 'ana@example.com'."""
    if not (value.startswith("team:") and len(value) > 5) and "@" not in value:
        raise ValueError(f"{value!r} is not an owner; allowed: team:<name> or an e-mail address")
    return value


def _problems(path: tuple[str, ...], text: str, known: list[str]) -> list[tuple[tuple[str, ...], str]]:
    try:
        expressions.sql(text, known)
    except ValueError as error:
        return [(path, str(error))]
    return []
