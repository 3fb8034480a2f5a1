"""Which parameters of a candidate are searched for, how long, and on what? The `search` of a candidate."""

import datetime as dt
import math
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, model_validator

from factory_assets.declarations.base import ColumnName, Declared, SomeTime

Value = bool | int | float | str


class Parameter(Declared):
    """The values that a parameter may take."""

    int_: tuple[int, int] | None = Field(None, alias="int", description="Lowest and highest whole number, inclusive.")
    float_: tuple[float, float] | None = Field(None, alias="float", description="Lowest and highest number.")
    choice: list[Value] | None = Field(None, description="The values to choose from, where they have no order.")
    log: bool = Field(False, description="Search the powers of ten alike: as many trials in 0.01..0.1 as in 0.1..1.")

    @model_validator(mode="after")
    def _one_kind(self) -> "Parameter":
        given = [name for name in ("int", "float", "choice") if getattr(self, _field(name)) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise ValueError(f"give one of int, float and choice; given: {found}. {{int: [8, 128], log: true}}")
        if self.choice is not None:
            return self._checked_choice()
        low, high = self.ends
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"{given[0]}: [{low}, {high}] must be two finite numbers")
        if low >= high:
            raise ValueError(f"{given[0]}: [{low}, {high}] must be the lowest value, then a higher one")
        if self.log and low <= 0:
            raise ValueError(f"{given[0]}: [{low}, {high}] with log must begin above 0")
        return self

    def _checked_choice(self) -> "Parameter":
        assert self.choice is not None
        # True is 1 to Python, and to neither the reader nor the estimator.
        if len({(type(value), value) for value in self.choice}) < max(2, len(self.choice)):
            raise ValueError(f"choice: {self.choice} must name two or more values, each once")
        if self.log:
            raise ValueError("log goes with int or float; the values of a choice have no order")
        return self

    @property
    def ends(self) -> tuple[Any, Any]:
        """The lowest and the highest value; of a choice the first and the last."""
        if self.choice is not None:
            return self.choice[0], self.choice[-1]
        ends = self.int_ if self.int_ is not None else self.float_
        assert ends is not None
        return ends


def _field(alias: str) -> str:
    return alias if alias == "choice" else f"{alias}_"


class Search(Declared):
    """Parameters that the factory chooses, by trials on time-ordered folds inside the training window."""

    space: dict[ColumnName, Parameter] = Field(
        min_length=1, description="Parameters of the estimator and their values."
    )
    trials: int = Field(
        30, ge=1, le=10_000, description="How many sets of parameters are tried, beside those declared."
    )
    time: SomeTime | None = Field(
        None, description="No trial begins after this much time; what is found then depends on the machine."
    )
    folds: int = Field(
        3,
        ge=1,
        le=20,
        description="Stretches of days on which a trial is judged, each after those that it learns from.",
    )
    nodes: Literal["global", "all"] = Field(
        "global", description="global: one search, whose parameters all nodes take. all: a search for every node."
    )
    every: SomeTime = Field(
        dt.timedelta(days=30), description="A training within this time of the last search takes what it found."
    )


@dataclass(frozen=True)
class Fold:
    """Learn from the days up to train_to, be judged on validate_from..validate_to. All inclusive."""

    train_to: dt.date
    validate_from: dt.date
    validate_to: dt.date


def folds_of(last: dt.date, days: int, gap: int, folds: int) -> list[Fold]:
    """Time-ordered folds of the `days` that end with `last`, oldest first.

    Stretches to be judged on are equally long and end with `last`. Between them and what is learned from lie `gap` days,
    whose labels were not known yet. The first fold learns from at least as many days as it is judged on.
    Raises ValueError where there are too few days.
    """
    length = (days - gap) // (folds + 1)
    if length < 1:
        raise ValueError(
            f"{folds} folds need {folds + 1 + gap} days: {gap} until labels are known, one to learn from at first and one "
            f"a fold; the training window leaves {days}"
        )
    day = dt.timedelta(days=1)
    starts = [last - (length * left - 1) * day for left in range(folds, 0, -1)]
    return [Fold(start - (1 + gap) * day, start, start + (length - 1) * day) for start in starts]
