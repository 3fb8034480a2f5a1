"""What may not be lost on parts of the rows, and what does a wrong decision cost? Slices, groups and costs of a line's gate."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from factory_assets.declarations.base import Declared, Unit

#: The certainty with which any better value is better.
ANY = 0.5
#: How much further off than its rival a challenger's predictions may be. Honest models of bikes and card transactions are by more, for
#: sure, in no training, of flights in one of twenty; squared probabilities of card fraud are by .33 to .38.
MISCALIBRATED = 0.2
#: Fewer rows say too little: a share of 50 rows is known to .07 at best (its standard error), a difference of two such to .1.
LEAST_ROWS = 50
#: Outcomes of a decision, by what was decided and what happened.
OUTCOMES = ("true_positive", "false_positive", "true_negative", "false_negative")
#: Limits of groups that a binary task has, and several classes each beside all others; and those of tasks that predict a number.
OF_YES_OR_NO = ("selection", "true_positive", "false_positive")
OF_NUMBERS = ("mae_ratio", "mean_error")


class Slice(Declared):
    """Rows on which a challenger may not be bad, however good it is on all of them."""

    where: str = Field(
        description="Expression over the line's features, by canonical name, and the columns that go along with an observation: "
        "rows for which it is true are of the slice."
    )
    worse: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="By how much, in the unit of the gate's metric, a challenger may be worse on the slice than who answers now, "
        "on the same rows.",
    )
    floor: float | None = Field(
        None,
        allow_inf_nan=False,
        description="Worst value of the metric on the slice with which a model may be released.",
    )
    rows: int = Field(
        LEAST_ROWS, ge=1, description="With fewer rows of the slice in the holdout of a node it cannot be measured."
    )
    unmeasured: Literal["keep", "ignore"] = Field(
        "keep",
        description="keep: a challenger has not passed where the slice cannot be measured. ignore: it is held to nothing there, "
        "such as at the nodes of a tree where the slice has no rows.",
    )
    certainty: float = Field(
        ANY,
        ge=ANY,
        lt=1,
        description="How sure it must be that the challenger is worse by no more than `worse`. 0.5 goes by the value alone; at 0.95 a "
        "challenger that is worse by more passes in one of twenty tries at most.",
    )

    @model_validator(mode="after")
    def _some_limit(self) -> "Slice":
        if self.worse is None and self.floor is None:
            raise ValueError(
                "a slice needs a limit: worse, by how much it may be worse than who answers now, or floor, its worst value"
            )
        return self


class Groups(Declared):
    """How much people, or things, may differ in what a challenger does to them, by the value of a column."""

    selection: float | None = Field(
        None,
        gt=0,
        le=1,
        description="binary, multiclass: the least share that the lowest rate of yes among groups may be of the highest, such as 0.8.",
    )
    true_positive: float | None = Field(
        None,
        ge=0,
        le=1,
        description="binary, multiclass: by how much the rates of yes among those who are one may differ (equal opportunity), as 0.1.",
    )
    false_positive: float | None = Field(
        None,
        ge=0,
        le=1,
        description="binary, multiclass: by how much the rates of yes among those who are none may differ.",
    )
    mae_ratio: float | None = Field(
        None,
        ge=1,
        allow_inf_nan=False,
        description="Of a number: how many times the smallest mean absolute error of a group the largest may be.",
    )
    mean_error: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="Of a number: by how much the mean of prediction less label may differ, in the unit of the label.",
    )
    rows: int = Field(
        LEAST_ROWS,
        ge=1,
        description="A group with fewer rows, or fewer yes of which a rate is one, cannot be measured.",
    )
    unmeasured: Literal["keep", "ignore"] = Field(
        "keep",
        description="keep: a challenger has not passed while a group cannot be measured. ignore: such groups are left out.",
    )

    @property
    def limits(self) -> Mapping[str, float]:
        """The limits that are declared."""
        declared = {name: getattr(self, name) for name in (*OF_YES_OR_NO, *OF_NUMBERS)}
        return {name: limit for name, limit in declared.items() if limit is not None}


class Cost(Declared):
    """What a decision comes to, by what was decided and what happened: a cost, or below 0 a value."""

    unit: Unit = Field(description="What it is counted in, such as EUR.")
    true_positive: float = Field(
        0.0, allow_inf_nan=False, description="Of a yes that happened; negative where it is worth something."
    )
    false_positive: float = Field(allow_inf_nan=False, description="Of a yes that did not happen.")
    true_negative: float = Field(0.0, allow_inf_nan=False, description="Of a no that did not happen.")
    false_negative: float = Field(allow_inf_nan=False, description="Of a no that happened.")

    @model_validator(mode="after")
    def _a_threshold(self) -> "Cost":
        for right, wrong in (("true_positive", "false_negative"), ("true_negative", "false_positive")):
            if getattr(self, wrong) <= getattr(self, right):
                raise ValueError(
                    f"{wrong} {getattr(self, wrong):g} must cost more than {right} {getattr(self, right):g}: "
                    "no threshold is right otherwise"
                )
        return self

    @property
    def threshold(self) -> float:
        """The probability from which on a yes costs less than a no.

        Source: Elkan, The Foundations of Cost-Sensitive Learning, 2001.
        """
        of_yes = self.false_positive - self.true_negative
        return of_yes / (of_yes + self.false_negative - self.true_positive)

    @property
    def outcomes(self) -> Mapping[str, float]:
        """Outcome -> what it costs."""
        return {name: getattr(self, name) for name in OUTCOMES}
