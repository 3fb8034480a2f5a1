"""What must a day of a stream look like? The contract, as it stands in contract.yaml."""

import datetime as dt
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from factory_assets.declarations.base import COLUMN, ColumnName, Declared, Grown, Name, SomeTime, Unit, WholeDays

ColumnType = Literal["integer", "double", "boolean", "string", "timestamp", "date", "integers", "doubles", "strings"]
#: Where rows are read: for training, which needs labels, or for serving, which does not have them yet.
Environment = Literal["training", "serving"]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
WEEKDAYS: tuple[str, ...] = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
#: Column type -> type in DuckDB and in the lake.
SQL_TYPES: dict[str, str] = {
    "integer": "BIGINT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "string": "VARCHAR",
    "timestamp": "TIMESTAMP",
    "date": "DATE",
    "integers": "BIGINT[]",
    "doubles": "DOUBLE[]",
    "strings": "VARCHAR[]",
}
#: What a number of time since 1970 counts.
Epoch = Literal["s", "ms", "us", "ns"]
#: Type of a list -> that of its values.
ELEMENTS: dict[str, ColumnType] = {"integers": "integer", "doubles": "double", "strings": "string"}
LISTS = tuple(ELEMENTS)


#: Fields of a column that say what it means, and let no row pass or fail.
MEANING = {"description", "unit"}


class Presence(Declared):
    """How many rows of a day must have a value."""

    min_fraction: float = Field(1.0, ge=0, le=1, description="Share of rows that must have a value.")
    min_count: int = Field(0, ge=0, description="Number of rows that must have a value.")
    every: Literal["day", "hour"] = Field(
        "day", description="Whether the share must hold over the day, or in every hour that has 20 rows or more."
    )
    by: ColumnName | None = Field(
        None, description="A column of few values; the share must hold for each of them that has 20 rows or more."
    )


class ValueCount(Declared):
    """How many values a list may hold."""

    min: int = Field(0, ge=0, description="Fewest values.")
    max: int | None = Field(None, ge=0, description="Most values.")


class Amount(Declared):
    """How much of something a day may have: between bounds, and against the median of the recent past."""

    min: int | None = Field(None, ge=0, description="Fewest.")
    max: int | None = Field(None, ge=0, description="Most.")
    max_change: float | None = Field(
        None,
        gt=0,
        description="Largest change against the median of recent days, as a share of it: 0.5 is half as much again.",
    )

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> "Amount":
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is larger than max {self.max}")
        return self


class Column(Grown):
    """One column of a stream."""

    later = frozenset({"delivered", "epoch"})

    type: ColumnType = Field(description="Type of the values; text that does not parse as it is quarantined.")
    description: str = Field("", description="What the column means.")
    delivered: str | None = Field(
        None, min_length=1, description="What the feed calls the column, where that is another name, such as 'PM2.5'."
    )
    unit: Unit | None = Field(
        None, description="What its values are measured in, such as EUR, minutes or 1; features have it too."
    )
    required: bool = Field(
        True, description="Whether every delivery must have the column; if one has not, its days are blocked."
    )
    nullable: bool = Field(
        False, description="Whether a row may leave it empty; a row that does otherwise is quarantined."
    )
    min: float | None = Field(None, description="Smallest value allowed, inclusive.")
    max: float | None = Field(None, description="Largest value allowed, inclusive.")
    allowed: list[str | int | float | bool] | None = Field(None, description="The only values allowed.")
    format: str | None = Field(
        None, description="strptime format of a timestamp or date delivered as text; ISO 8601 if absent."
    )
    epoch: Epoch | None = Field(
        None,
        description="What a timestamp delivered as a number counts since 1970 in UTC: s, ms, us or ns. What lies between microseconds "
        "is cut off.",
    )

    presence: Presence | None = Field(
        None, description="How many rows of a day must have a value, for a nullable column."
    )
    value_count: ValueCount | None = Field(None, description="How many values a list holds, for a column of lists.")
    distinct: Amount | None = Field(None, description="How many different values a day has.")
    max_shift: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Largest Jensen-Shannon divergence (0 to 1) between the day's values and the recent past's.",
    )
    not_in: list[Environment] = Field(
        [], description="Environments whose deliveries do not have the column, such as a label in serving."
    )

    @model_validator(mode="after")
    def _lists_alone_hold_several_values(self) -> "Column":
        if self.value_count is not None and self.type not in LISTS:
            raise ValueError(f"value_count applies to {', '.join(LISTS)}, not to {self.type}")
        if self.type in LISTS and (self.distinct is not None or self.max_shift is not None):
            raise ValueError(f"distinct and max_shift do not apply to {self.type}")
        return self

    @model_validator(mode="after")
    def _bounds_suit_the_type(self) -> "Column":
        if (self.min is not None or self.max is not None) and self.type not in ("integer", "double"):
            raise ValueError(f"min and max apply to integer and double, not to {self.type}")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is larger than max {self.max:g}")
        if self.format is not None and self.type not in ("timestamp", "date"):
            raise ValueError(f"format applies to timestamp and date, not to {self.type}")
        if self.epoch is not None and (self.type != "timestamp" or self.format is not None):
            found = f"{self.type} with a format" if self.format is not None else self.type
            raise ValueError(f"epoch applies to a timestamp that is delivered as a number, not to {found}")
        return self

    @model_validator(mode="after")
    def _allowed_values_are_of_the_type(self) -> "Column":
        python = {"integer": (int,), "double": (int, float), "boolean": (bool,)}.get(self.type, (str,))
        for value in self.allowed or []:
            # Python's True is an integer too, and YAML's `NO` is its False.
            if type(value) not in python:
                hint = "; YAML reads NO, off and 12 as something else than text: quote them" if str in python else ""
                raise ValueError(f"allowed holds {value!r}, which is no {self.type}{hint}")
        return self


def _known_as(name: object) -> object:
    """The name of a column in a contract. Raises ValueError for one that only a feed can have."""
    if isinstance(name, str) and not COLUMN.fullmatch(name):
        raise ValueError(
            f"{name!r} is no name of a column here: give it one of letters, digits and _, and write `delivered: {name!r}` below it"
        )
    return name


class Contract(Declared):
    """The columns of a stream and how much of a day may break their rules before the whole day is blocked."""

    version: int = Field(
        1, ge=1, description="Raised by one with every change, so that a run can name the version it used."
    )
    columns: dict[Annotated[ColumnName, BeforeValidator(_known_as)], Column] = Field(
        min_length=1, description="Every column of the stream by its name in the feed."
    )
    tolerance: float = Field(
        0.05, ge=0, lt=1, description="Share of a day's rows that may break one rule; above it the day is blocked."
    )
    rules: dict[Name, str] = Field(
        {}, description="What must be true of every row, as named row expressions over columns and derived columns."
    )
    volume: Amount | None = Field(None, description="How many rows a day has.")
    freshness: SomeTime | None = Field(
        None,
        description="How long before the close of a day its newest event may be; a feed that goes quiet earlier is late.",
    )
    past: WholeDays = Field(
        dt.timedelta(days=28), description="The recent past that days are held against, in whole days."
    )
    quiet: list[Weekday | dt.date] = Field(
        [], description="Weekdays and dates on which nothing is expected: an empty day is no outage then."
    )
    warn: list[Annotated[str, StringConstraints(min_length=1)]] = Field(
        [],
        description="Rules, by the name that verdicts give them, that only inform: they set no row aside and block no day.",
    )

    @model_validator(mode="after")
    def _columns_differ_in_more_than_case(self) -> "Contract":
        seen: dict[str, str] = {}
        for name in self.columns:
            if name.lower() in seen:
                raise ValueError(
                    f"columns {seen[name.lower()]!r} and {name!r} differ in case alone, which tables cannot hold"
                )
            seen[name.lower()] = name
        return self

    @model_validator(mode="after")
    def _each_is_delivered_as_one(self) -> "Contract":
        taken: dict[str, str] = {}
        for name, column in self.columns.items():
            feed = column.delivered or name
            if feed in taken:
                raise ValueError(f"columns {taken[feed]!r} and {name!r} are both delivered as {feed!r}")
            taken[feed] = name
        return self

    @model_validator(mode="after")
    def _rules_have_names_of_their_own(self) -> "Contract":
        taken = [name for name in self.rules if name in self.columns]
        if taken:
            raise ValueError(f"rule {taken[0]!r} has the name of a column")
        return self

    def is_quiet(self, day: dt.date) -> bool:
        """Whether nothing is expected on a day."""
        return day in self.quiet or WEEKDAYS[day.weekday()] in self.quiet

    def within(self, environment: Environment) -> "Contract":
        """The contract of one environment: columns that are not delivered there may be absent and empty."""
        columns = {
            name: column.model_copy(update={"required": False, "nullable": True, "presence": None, "max_shift": None})
            if environment in column.not_in
            else column
            for name, column in self.columns.items()
        }
        return self.model_copy(update={"columns": columns})
