"""Which values describe an entity at a moment? The `FeatureView` declaration."""

import datetime as dt

from pydantic import ConfigDict, Field, field_validator

from factory_assets.declarations import expressions
from factory_assets.declarations.base import EVER, Declared, Duration, Keys, Name, Unit, Window, format_duration
from factory_assets.declarations.serving import Serving
from factory_assets.declarations.stream import check_owner


class View(Declared):
    """Trailing-window aggregates of one stream by one entity.

    An observation at time t sees the events whose time plus `delay` lies in (t - window, t] and that were known at t;
    events at t itself only where `include_current` says so.
    """

    # Pydantic's own messages would quote the serving store, with its password.
    model_config = ConfigDict(hide_input_in_errors=True)

    name: Name = Field(description="Name of the view; its features are called <view>.<feature>_<window>.")
    stream: Name = Field(description="The stream whose events are aggregated.")
    entity: Keys = Field(min_length=1, description="Column, or columns together, that identify what is described.")
    owner: str = Field(description="Who answers for the features: team:<name> or an e-mail address.")
    description: str = Field(description="What the features say about the entity, with units.")
    windows: list[Window] = Field(
        min_length=1, description="Lengths of the trailing windows, such as [10m, 7d, 365d, ever]."
    )
    features: dict[Name, str] = Field(
        min_length=1,
        description="Feature name to aggregate: count(), sum(x), mean(x), deviation(x), min(x), max(x), first(x), last(x), "
        "nth_last(x, n), distinct(x), approx_distinct(x), top(x), time_since_last(), each also `where` a condition holds.",
    )
    derive: dict[Name, str] = Field(
        {},
        description="Numbers computed from the features of an entity, by their names with the window: "
        "share: spent_7d / nullif(spent_28d, 0).",
    )
    units: dict[Name, Unit] = Field(
        {},
        description="Feature name to what it is measured in, where that is not the unit of the column that it aggregates: "
        "share: 1, pace: minutes an order.",
    )
    flag: Name | None = Field(
        None, description="Name of a feature that is 1 where the longest window holds no event, and 0 where it does."
    )
    delay: Duration = Field(
        dt.timedelta(0), description="How long after an event its values become known, such as a label's delay."
    )
    where: str | None = Field(None, description="Only events for which this row expression is true.")
    include_current: bool = Field(
        False, description="Whether the observed event itself is in its windows (its ties are not)."
    )
    default: float | None = Field(
        None,
        allow_inf_nan=False,
        description="A number where no event is in the window; null if absent. Counts are 0.",
    )
    freshness: Duration = Field(
        dt.timedelta(days=2), description="How old the newest snapshot may be before its owner is warned."
    )
    serve: Serving | None = Field(None, description="Store to which the newest values of every entity are exported.")

    @field_validator("owner")
    @classmethod
    def _owner_is_one(cls, value: str) -> str:
        return check_owner(value)

    @field_validator("freshness")
    @classmethod
    def _freshness_is_one_that_dagster_knows(cls, value: dt.timedelta) -> dt.timedelta:
        if value < dt.timedelta(minutes=1):
            raise ValueError("must be a minute or longer, such as 2d")
        return value

    @field_validator("windows")
    @classmethod
    def _windows_are_lengths(cls, value: list[dt.timedelta]) -> list[dt.timedelta]:
        if any(not window for window in value) or len(set(value)) != len(value):
            raise ValueError("windows must be longer than zero and differ from each other")
        return value

    @field_validator("entity")
    @classmethod
    def _each_key_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError("the columns of an entity must differ from each other")
        return value

    @property
    def aggregated(self) -> list[str]:
        """Names of the features over windows: risk_1d, risk_7d, ..."""
        return [f"{feature}_{format_duration(window)}" for feature in self.features for window in self.windows]

    @property
    def names(self) -> list[str]:
        """Feature names inside the view, in order: those over windows, the derived ones, the flag."""
        return [*self.aggregated, *self.derive, *([self.flag] if self.flag else [])]

    @property
    def canonical(self) -> list[str]:
        """Names by which lines ask for the features: terminal_risk.risk_1d, ..."""
        return [f"{self.name}.{name}" for name in self.names]

    @property
    def reach(self) -> dt.timedelta:
        """How far back an observation looks: the longest window plus the delay."""
        return max(self.windows) + self.delay

    @property
    def settles(self) -> dt.timedelta:
        """How much of the past its values need: the longest window plus the delay. All of the past is whatever there is."""
        return max((window for window in self.windows if window != EVER), default=dt.timedelta(0)) + self.delay

    def check(self, columns: list[str]) -> list[tuple[tuple[str, ...], str]]:
        """Mistakes between the view and its stream's columns, as (path, message) pairs."""
        problems: list[tuple[tuple[str, ...], str]] = []
        problems += [
            (("entity",), f"{key!r} is not in {self.stream}; columns there: {', '.join(columns)}")
            for key in self.entity
            if key not in columns
        ]
        for name, text in self.features.items():
            try:
                expressions.aggregate(text, columns)
            except ValueError as error:
                problems.append((("features", name), str(error)))
        if self.where:
            try:
                expressions.sql(self.where, columns)
            except ValueError as error:
                problems.append((("where",), str(error)))
        taken = dict.fromkeys(self.aggregated)
        windowed = set(taken)
        for name, text in self.derive.items():
            try:
                expressions.sql(text, windowed)
            except ValueError as error:
                problems.append((("derive", name), str(error)))
        more: list[tuple[tuple[str, ...], str]] = [(("derive", name), name) for name in self.derive]
        for path, name in [*more, *([(("flag",), self.flag)] if self.flag else [])]:
            if name in taken:
                problems.append((path, f"{name!r} is a feature already; features here: {', '.join(taken)}"))
            taken[name] = None
        if self.include_current and self.delay:
            problems.append(
                (("include_current",), "a view with a delay cannot know the current event; remove one of the two")
            )
        return problems
