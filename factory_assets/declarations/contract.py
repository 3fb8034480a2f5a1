"""What must a day of a stream look like? The contract, as it stands in contract.yaml."""

from typing import Literal

from pydantic import Field, model_validator

from factory_assets.declarations.base import ColumnName, Declared

ColumnType = Literal["integer", "double", "boolean", "string", "timestamp", "date"]
#: Column type -> type in DuckDB and in the lake.
SQL_TYPES: dict[str, str] = {
    "integer": "BIGINT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "string": "VARCHAR",
    "timestamp": "TIMESTAMP",
    "date": "DATE",
}


class Column(Declared):
    """One column of a stream."""

    type: ColumnType = Field(description="Type of the values; text that does not parse as it is quarantined.")
    description: str = Field("", description="What the column means, with its unit.")
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

    @model_validator(mode="after")
    def _bounds_suit_the_type(self) -> "Column":
        if (self.min is not None or self.max is not None) and self.type not in ("integer", "double"):
            raise ValueError(f"min and max apply to integer and double, not to {self.type}")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is larger than max {self.max:g}")
        if self.format is not None and self.type not in ("timestamp", "date"):
            raise ValueError(f"format applies to timestamp and date, not to {self.type}")
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


class Contract(Declared):
    """The columns of a stream and how much of a day may break their rules before the whole day is blocked."""

    version: int = Field(
        1, ge=1, description="Raised by one with every change, so that a run can name the version it used."
    )
    columns: dict[ColumnName, Column] = Field(
        min_length=1, description="Every column of the stream by its name in the feed."
    )
    tolerance: float = Field(
        0.05, ge=0, lt=1, description="Share of a day's rows that may break one rule; above it the day is blocked."
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
