"""What is predicted, from which features, for which segments, and when is it retrained? The `ModelLine` declaration."""

import datetime as dt
import re
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from factory_assets.declarations.base import (
    ColumnName,
    Declared,
    Duration,
    Grown,
    Name,
    SomeTime,
    Unit,
    WholeDays,
    format_duration,
    whole_days,
)
from factory_assets.declarations.limits import ANY as ANY
from factory_assets.declarations.limits import MISCALIBRATED, Cost, Groups, Slice
from factory_assets.declarations.search import Search
from factory_assets.declarations.stream import check_owner
from factory_assets.declarations.tasks import Task, check_estimator_name
from factory_assets.declarations.warm_start import WarmStart

Trigger = Literal["new_data", "schema", "drift", "performance"]
#: How many alarms in which time.
ALARMS = re.compile(r"^\d+(\.\d+)?/(day|week|month|year)$")
#: How long, and how large, something may be; as in 5ms and 50MB.
LATENCY, SIZE = re.compile(r"^(\d+(?:\.\d+)?)(ms|s)$"), re.compile(r"^(\d+(?:\.\d+)?)(kB|MB|GB)$")
UNITS = {"ms": 1e-3, "s": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9}
DAYS_OF = {"day": 1.0, "week": 7.0, "month": 365.25 / 12, "year": 365.25}


def _a_day(often: str) -> float:
    """'1/week' -> 1 / 7."""
    number, _, unit = often.partition("/")
    return float(number) / DAYS_OF[unit]


def _in_units(pattern: re.Pattern[str], text: str | None) -> float | None:
    """'5ms' -> 0.005, '50MB' -> 50e6."""
    found = pattern.match(text) if text else None
    return float(found[1]) * UNITS[found[2]] if found else None


class Observe(Declared):
    """What one example is: an event of a stream, or an entity at the close of each day."""

    stream: Name = Field(
        description="The stream that is observed; for an entity, the stream that says which entities exist."
    )
    entity: ColumnName | None = Field(None, description="Observe this entity once a day, instead of every event.")
    every: Duration | None = Field(None, description="How often an entity is observed; 1d, at the close of each day.")
    active: SomeTime = Field(
        dt.timedelta(days=28), description="An entity is observed while it had an event within this time."
    )
    where: str | None = Field(
        None, description="Only events for which this row expression is true are observed, or count as activity."
    )
    carry: list[ColumnName] = Field(
        [], description="Columns that go along with an observation; for an entity, their latest values."
    )

    @model_validator(mode="after")
    def _entity_goes_with_every(self) -> "Observe":
        if (self.entity is None) != (self.every is None):
            raise ValueError("entity and every belong together: {entity: customer_id, every: 1d}")
        if self.every is not None and self.every != dt.timedelta(days=1):
            raise ValueError("every must be 1d: entities are observed at the close of each day")
        return self


class Label(Grown):
    """The truth that a prediction is measured against, and when it is known."""

    later: ClassVar = frozenset({"same"})

    expression: str | None = Field(None, description="Row expression over the observed event.")
    event: Name | None = Field(
        None,
        description="1 if there is an event of this stream within `within`, of the entity or with the `same` keys, else 0.",
    )
    same: list[ColumnName] = Field(
        [], description="Of an observed event: the columns in which the event that counts has the same values."
    )
    within: SomeTime | None = Field(None, description="How far after the observation the event counts.")
    where: str | None = Field(None, description="Only events for which this row expression is true count.")
    delay: Duration = Field(dt.timedelta(0), description="How long after the fact the label arrives.")
    told: Duration | None = Field(
        None,
        description="How long after the event its outcome can first be known, where that is sooner than `delay`, after which "
        "every label is in. Features that read it sooner are leaks.",
    )
    known: list[ColumnName] = Field([], description="Columns of the expression that are known with the event.")
    freshness: Duration = Field(
        dt.timedelta(days=2), description="How long labels that are due may stay away before the owner is warned."
    )

    @model_validator(mode="after")
    def _expression_or_event(self) -> "Label":
        if (self.expression is None) == (self.event is None):
            raise ValueError("give either an expression over the observed event, or an event with within")
        if (self.event is None) != (self.within is None):
            raise ValueError("event and within belong together: {event: orders, within: 7d}")
        for name in ("where", "same"):
            if getattr(self, name) and self.event is None:
                raise ValueError(f"{name} applies to a label by event")
        if len(set(self.same)) < len(self.same):
            raise ValueError(f"same names a column twice: {', '.join(self.same)}")
        return self

    @property
    def silence(self) -> dt.timedelta:
        """How long after an event nothing can be known of its label."""
        return self.delay if self.told is None else self.told

    @property
    def horizon(self) -> dt.timedelta:
        """Time from an observation until its label is known."""
        return (self.within or dt.timedelta(0)) + self.delay


class Segments(Declared):
    """A tree of nodes, each with a model of its own where its data suffices. The root is `global`."""

    levels: list[ColumnName] = Field(
        [], description="Columns from the coarsest to the finest, such as [country, city]."
    )
    min_rows: int = Field(
        1000, ge=2, description="A node with fewer training rows has no model; its nearest ancestor answers."
    )
    min_positives: int = Field(1, ge=1, description="Of a binary label, likewise: so many positives are needed.")
    max_nodes: int = Field(
        2000,
        ge=1,
        description="More nodes than this are taken for a fault in the data: a level whose new keys do not fit gets none of "
        "them, and no training starts.",
    )
    max_failed: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Share of a training's nodes that may end in an error before the training itself fails.",
    )


class Train(Grown):
    """Which days a model learns from and which it is judged on."""

    later: ClassVar = frozenset({"margin", "workers", "pool", "missing", "refit"})

    window: WholeDays = Field(description="Length of the training window.")
    holdout: WholeDays = Field(
        description="Length of the stretch after it on which challenger and champion are compared."
    )
    margin: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="By how much, in the unit of the gate's metric, a candidate that cannot be read must be better on the newest "
        "training days than the best one that can (constant, linear, additive); else the readable one is taken.",
    )
    workers: int | None = Field(None, ge=1, description="Models trained side by side; one a core if absent.")
    pool: Literal["threads", "processes"] = Field(
        "threads", description="What the workers are: processes for estimators that hold Python's lock while they fit."
    )
    missing: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="Share of the window's days, or of the holdout's, that may be missing: held back by their contract, or never "
        "delivered. While more are, no training starts. Days that the contract calls quiet are not missing.",
    )
    refit: bool = Field(
        True,
        description="Whether a challenger that passes is fitted again on all labelled days, those of the holdout as well, before it "
        "answers: a version of its own, which names the one that was judged.",
    )


class Candidate(Grown):
    """An estimator, its parameters, and how it is trained."""

    later: ClassVar = frozenset({"class_weight", "monotone", "early_stopping", "calibrate", "search", "warm_start"})

    estimator: Name = Field(
        description="lightgbm, hist_gradient_boosting, random_forest, additive, linear (logistic_regression or ridge, by task), "
        "constant, or one of an installed package."
    )
    params: dict[str, Any] = Field({}, description="Parameters handed to the estimator.")
    class_weight: Literal["balanced"] | None = Field(
        None,
        description="balanced: all classes of a binary or multiclass task weigh the same. Probabilities are then too high for "
        "the rare ones.",
    )
    monotone: dict[str, Literal["increasing", "decreasing"]] = Field(
        {}, description="Features, by canonical name, in which the prediction never falls, or never rises."
    )
    early_stopping: int | None = Field(
        None,
        ge=1,
        description="Stop after this many rounds without improvement on the newest fifth of the training days. The model is "
        "then fitted on all of them, with the number of rounds that was found.",
    )
    calibrate: Literal["isotonic", "sigmoid"] | None = Field(
        None,
        description="Correct a binary task's probabilities by what happened on the newest fifth of the training days.",
    )

    search: Search | None = Field(None, description="Parameters to be found by trials.")
    warm_start: WarmStart | None = Field(
        None, description="Go on from the version before, where that is as good as beginning anew, and cheaper."
    )

    @field_validator("estimator")
    @classmethod
    def _estimator_is_one(cls, value: str) -> str:
        return check_estimator_name(value)

    @model_validator(mode="after")
    def _fixed_or_searched(self) -> "Candidate":
        both = sorted(set(self.params) & set(self.search.space)) if self.search else []
        if both:
            raise ValueError(f"{', '.join(both)}: in params and in search.space; a parameter is fixed or searched for")
        return self


class Gate(Grown):
    """What a challenger must show on the holdout before it becomes champion."""

    later: ClassVar = frozenset(
        {
            *("cluster", "swaps", "false_promotions", "rows", "patience", "latency", "size", "refit_apart"),
            *(
                "slices",
                "groups",
                "cost",
                "threshold",
                "disagreement",
                "tolerance",
                "calibration",
                "labels",
                "may_tell",
            ),
        }
    )

    metric: Name | None = Field(
        None,
        description="binary: average_precision, roc_auc, log_loss, brier or calibration_error; regression: mae, rmse or r2; count: "
        "poisson_deviance, mae or rmse; quantile: pinball; multiclass: log_loss, accuracy, macro_f1 or balanced_accuracy. "
        "First of each if absent. cost: what decisions cost by the declared `cost`, of a binary task.",
    )
    floor: float | None = Field(None, description="Worst value of the metric with which a model may be released.")
    certainty: float = Field(
        0.95,
        ge=ANY,
        lt=1,
        description="How sure it must be, by the days of the holdout and its clusters, that whoever takes over is better than who "
        "answers now. 0.5 asks for a better value and nothing more.",
    )
    swaps: str | None = Field(
        None,
        pattern=ALARMS.pattern,
        description="In place of certainty: how often luck alone may change the champion of a node, such as 0.5/year. The certainty "
        "follows from it and from how long ago the node was judged before.",
    )
    false_promotions: float = Field(
        1.0,
        gt=0,
        allow_inf_nan=False,
        description="How many nodes of one training luck alone may promote on average, however many they are: where certainty alone "
        "would promote more, each must be as much surer.",
    )
    rows: int = Field(
        20,
        ge=1,
        description="With fewer rows than this in the holdout no challenger takes over, unless certainty: 0.5 takes any better "
        "value. Of 20 rows it is as sure as 0.95 that what happens to one row in seven is among them.",
    )
    patience: Duration = Field(
        dt.timedelta(0),
        description="How long after its training a challenger is looked at again while the days so far leave open whether it is "
        "better: each training until then measures it on all days since, and makes no new one of that node. At 0d there is one look.",
    )
    cluster: ColumnName | None = Field(
        None,
        description="A column of the examples: rows with the same value are no independent witnesses, such as those of a customer who "
        "comes every day. The observed entity if absent.",
    )
    latency: str | None = Field(
        None,
        pattern=LATENCY.pattern,
        description="How long one prediction may take of a model that is released, such as 5ms: the quickest of several turns in a "
        "fresh process on the machine that evaluates.",
    )
    size: str | None = Field(
        None,
        pattern=SIZE.pattern,
        description="How large the archived files of a model that is released may be, such as 50MB.",
    )
    refit_apart: float = Field(
        1.0,
        gt=0,
        allow_inf_nan=False,
        description="How far the predictions of a refit may be from those of the judged version, on the same rows of the holdout: so "
        "many times as far as the judged version's are from the labels there. Beyond that the judged version answers.",
    )
    calibration: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="How much further off than who answers now a challenger's predictions may be in all, as a share of what happened: "
        "0.2 if absent, and no limit where a candidate weighs classes, or certainty: 0.5 takes any better value.",
    )
    labels: float = Field(
        0.8,
        ge=0,
        le=1,
        description="With a smaller share of the labels that the holdout should have, by the training days, no challenger takes over, "
        "unless certainty: 0.5 takes any better value.",
    )
    may_tell: list[str] = Field(
        [],
        description="Features, by canonical name, that may tell the label by themselves, since they are known with the observation: "
        "of any other that does, no challenger takes over: it seems to be a copy of the label.",
    )
    slices: dict[Name, Slice] = Field(
        {}, description="Rows on which a challenger may not be worse than their limit, by name."
    )
    groups: dict[ColumnName, Groups] = Field(
        {},
        description="Columns of the examples by whose values people, or things, are treated alike: what may differ between them, and "
        "by how much. No column becomes a feature by it.",
    )
    cost: Cost | None = Field(
        None,
        description="binary: what each outcome of a decision costs. The threshold follows, and what a challenger gains in money.",
    )
    disagreement: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Share of the newest day's rows that a challenger may answer otherwise than who answers now: with more of them it "
        "waits for somebody to approve it. No limit if absent.",
    )
    threshold: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="binary: the probability from which on a prediction is a yes, by which groups are compared, and answers that are "
        "other ones are told; that of the cost, or 0.5, if absent.",
    )
    tolerance: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="Of numbers: how far apart two answers may be that count as the same, in the label's unit. As much as the "
        "challenger is off on average, if absent.",
    )
    approval: bool = Field(
        False, description="Whether a challenger that passes becomes champion only once somebody approves it."
    )

    @property
    def longest(self) -> float | None:
        """The latency in seconds."""
        return _in_units(LATENCY, self.latency)

    @property
    def largest(self) -> float | None:
        """The size in bytes."""
        return _in_units(SIZE, self.size)

    @property
    def decides_at(self) -> float:
        """The probability from which on a prediction is a yes."""
        return self.threshold or (self.cost.threshold if self.cost else 0.5)

    @model_validator(mode="after")
    def _one_threshold(self) -> "Gate":
        if self.threshold is not None and self.cost is not None:
            raise ValueError(
                f"threshold {self.threshold:g} and cost, from which {self.cost.threshold:.4g} follows: give one of them"
            )
        return self

    @model_validator(mode="after")
    def _certainty_or_swaps(self) -> "Gate":
        if self.swaps is not None and "certainty" in self.model_fields_set:
            raise ValueError(
                f"certainty {self.certainty:g} and swaps {self.swaps} say the same thing twice: give one of them"
            )
        if self.swaps is not None and not _a_day(self.swaps):
            raise ValueError(f"{self.swaps!r} lets nobody take over; write how many you can bear, such as 0.5/year")
        return self

    @model_validator(mode="after")
    def _limits_that_something_keeps(self) -> "Gate":
        for text, limit in ((self.latency, self.longest), (self.size, self.largest)):
            if limit == 0:
                raise ValueError(f"{text!r} lets nothing be released; write what you can bear, such as 5ms or 50MB")
        return self

    @model_validator(mode="after")
    def _patience_for_something(self) -> "Gate":
        if self.patience and self.swaps is None and self.certainty <= ANY:
            raise ValueError(
                f"patience: {format_duration(self.patience)} waits for nothing where certainty: {self.certainty:g} takes any "
                "better value"
            )
        return self


class Retrain(Grown):
    """When a line is trained again."""

    later = frozenset({"cooldown"})

    every: WholeDays = Field(
        dt.timedelta(days=7), description="New labelled days to wait for before the next training."
    )
    on: list[Trigger] = Field(
        ["new_data", "schema"],
        description="What starts a training: new labelled data, a changed contract; a column that drifted, or predictions worse "
        "than a naive guess, of the nodes that it is found of.",
    )
    cooldown: Duration = Field(
        dt.timedelta(days=3), description="Drift or performance train no node within so many days of its last training."
    )

    @model_validator(mode="before")
    @classmethod
    def _on_is_a_word(cls, value: Any) -> Any:
        # YAML 1.1, which PyYAML and so Dagster read, takes the key `on` for true.
        return (
            {"on" if key is True else key: inner for key, inner in value.items()} if isinstance(value, dict) else value
        )


class Monitor(Declared):
    """How the line is watched."""

    window: WholeDays = Field(
        dt.timedelta(days=7),
        description="Rows that a day's drift is judged on: this long up to its close. Whole weeks, or weekdays look like drift.",
    )
    false_alarms: str = Field(
        "1/month",
        pattern=ALARMS.pattern,
        description="How many alarms of drift the line may give while nothing changes, such as 1/month, 0.5/week or 4/year.",
    )
    false_alarm_rate: float | None = Field(
        None,
        gt=0,
        lt=0.5,
        description="In place of false_alarms: the share of looks at a column that may be wrong while nothing changes.",
    )
    minimum_effect: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="PSI of a change that is not worth a person's time, however sure it is.",
    )
    remind: WholeDays = Field(
        dt.timedelta(days=7),
        description="What a monitor calls an alarm is told on its first day, and again each time that it has lasted this long.",
    )

    @field_validator("false_alarms")
    @classmethod
    def _some_alarms(cls, value: str) -> str:
        if not _a_day(value):
            raise ValueError(f"{value!r} lets nothing be found; write how many alarms you can bear, such as 1/month")
        return value

    @property
    def judging(self) -> dict[str, Any]:
        """What of it decides verdicts, as it is hashed: when people are told of them does not."""
        return self.model_dump(mode="json", exclude={"remind"})

    @property
    def declared(self) -> str:
        """What the owner declares of false alarms, in words."""
        if self.false_alarm_rate is not None:
            return f"{self.false_alarm_rate:g} of the looks at a column"
        number, _, unit = self.false_alarms.partition("/")
        return f"{number} {'alarm' if number == '1' else 'alarms'} a {unit}"

    def rate(self, looks: int) -> float:
        """The false alarm rate of one look, of so many a day."""
        if self.false_alarm_rate is not None:
            return self.false_alarm_rate
        return min(0.01, _a_day(self.false_alarms) / max(looks, 1))


class Outcome(Declared):
    """What a prediction came to, in a measure of the owner's own: one number a row, once its label is in."""

    expression: str = Field(
        description="Row expression over the observed event, `prediction` and `label`; of an entity over the columns that it carries. "
        "Of several classes also over the probability of each, such as p_late."
    )
    unit: Unit = Field(description="What the number is measured in, such as EUR.")
    better: Literal["lower", "higher"] = Field(description="Whether less of it is better, or more.")


class Line(Grown):
    """A model line: one declaration, a tree of segment models, and everything around them."""

    later: ClassVar = frozenset({"outcomes"})

    name: Name = Field(description="Name of the line; first part of its asset keys.")
    owner: str = Field(description="Who answers for the models: team:<name> or an e-mail address.")
    description: str = Field(description="What is predicted, for whom, in which unit.")
    task: Task = Field(
        description="binary: the probability of a yes; regression: a number; count: how many, 0 or more; quantile(0.9): the number "
        "that nine labels in ten stay below; multiclass(red, green, blue): the probability of each class."
    )
    observe: Observe = Field(description="What one example is.")
    label: Label = Field(description="The truth, and when it is known.")
    features: list[str] = Field(
        min_length=1,
        description="Columns of the observed event, and features by canonical name: view.feature_7d, or view.*",
    )
    snapshot: list[Name] = Field(
        [], description="Views read at the close of the day before instead of at the observation."
    )
    segments: Segments = Field(Segments(), description="The tree of models.")
    train: Train = Field(description="Training window and holdout.")
    candidates: dict[Name, Candidate] = Field(min_length=1, description="Models to choose from, by name.")
    gate: Gate = Field(Gate(), description="What a challenger must show.")
    retrain: Retrain = Field(Retrain(), description="When the line is trained again.")
    monitor: Monitor = Field(Monitor(), description="How the line is watched.")
    outcomes: dict[Name, Outcome] = Field(
        {},
        description="Measures of your own, by name, that are told of each version over time: what its predictions came to.",
    )
    seed: int = Field(7, ge=0, description="Seed of everything random; the same seed and data give the same bytes.")

    @field_validator("owner")
    @classmethod
    def _owner_is_one(cls, value: str) -> str:
        return check_owner(value)

    @property
    def bar(self) -> Gate:
        """The gate with the certainty that its swaps come to at the line's cadence, if it declares swaps."""
        return self.bar_after(whole_days(self.retrain.every))

    def bar_after(self, days: int) -> Gate:
        """The gate for a node that was judged so many days before; the swaps of more days than the cadence are not saved up."""
        if self.gate.swaps is None:
            return self.gate
        certainty = max(ANY, 1 - _a_day(self.gate.swaps) * min(days, whole_days(self.retrain.every)))
        return self.gate.model_copy(update={"certainty": certainty})

    @property
    def soonest(self) -> int:
        """Days after which a node may be trained again: by new data, or by an alarm where alarms train the line."""
        every, alarms = whole_days(self.retrain.every), {"drift", "performance"} & {*self.retrain.on}
        return min(every, max(whole_days(self.retrain.cooldown), 1)) if alarms else every

    @property
    def cluster(self) -> str | None:
        """The column by which rows of the holdout belong together."""
        return self.gate.cluster or self.observe.entity

    @property
    def calibration(self) -> float | None:
        """How much further off than who answers now a challenger may be; None where nothing is asked."""
        if self.gate.calibration is not None:
            return self.gate.calibration
        weighs = any(each.class_weight and not each.calibrate for each in self.candidates.values())
        return None if weighs or self.gate.certainty <= ANY else MISCALIBRATED

    @property
    def overlap_days(self) -> int:
        """Days over which labels overlap: of an entity that is seen every day, those of the days beside it; else 1."""
        return whole_days(self.label.within) if self.observe.entity and self.label.within else 1

    @property
    def horizon_days(self) -> int:
        """Whole days until the labels of a day are all known."""
        return whole_days(self.label.horizon)
