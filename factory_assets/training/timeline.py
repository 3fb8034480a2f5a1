"""Which days does a model learn from, and which is it judged on, given what is known at the close of a day?

    train_from .. train_to | label horizon | holdout_from .. holdout_to | label horizon | as_of

Every label of the training days was known before the holdout begins, and every label of the holdout is known at the
close of `as_of`. No day of the holdout is ever trained on.
"""

import datetime as dt
from dataclasses import dataclass

from factory_assets.declarations.base import format_duration, whole_days
from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.days import DAY


class TrainingRefused(Exception):
    """Training now would give a bad model; the message says why, and from which day on it will not."""


@dataclass(frozen=True)
class Timeline:
    """Days, all inclusive."""

    as_of: dt.date
    train_from: dt.date
    train_to: dt.date
    holdout_from: dt.date
    holdout_to: dt.date

    @property
    def learnt_at(self) -> dt.date:
        """The day at whose close the labels of the training days are as they are learnt: that on which the last of them are due."""
        return self.train_to + (self.as_of - self.holdout_to)

    @property
    def refit(self) -> "Timeline":
        """The days of a version that is fitted again once it has passed: it learns the holdout too, and none is left."""
        last = self.holdout_to
        return Timeline(self.as_of, self.train_from, last, last + DAY, last)

    def to_dict(self) -> dict[str, str]:
        return {name: str(day) for name, day in vars(self).items()}


def timeline(declared: DeclaredLine, as_of: dt.date) -> Timeline:
    """The latest training window and holdout whose labels are known at the close of `as_of`."""
    line = declared.line
    horizon = line.horizon_days * DAY
    holdout_to = as_of - horizon
    holdout_from = holdout_to - line.train.holdout + DAY
    train_to = holdout_from - DAY - horizon
    return Timeline(as_of, train_to - line.train.window + DAY, train_to, holdout_from, holdout_to)


def first_as_of(declared: DeclaredLine) -> dt.date:
    """The first day at whose close training is allowed: the features of its oldest row look back on complete windows."""
    start = declared.observed.stream.start
    span = timeline(declared, start)
    return start + (start + declared.reach_days * DAY - span.train_from)


def require_coverage(declared: DeclaredLine, as_of: dt.date) -> Timeline:
    """The timeline of `as_of`, or TrainingRefused while the oldest training row's windows reach back before the data.

    A model trained on half-filled windows takes "little history" for "little activity", and stays wrong for good.
    """
    span, first = timeline(declared, as_of), first_as_of(declared)
    if as_of >= first:
        return span
    longest = max(declared.views.values(), key=lambda view: view.settles, default=None)
    reason = "the training window and its labels"
    if longest is not None and whole_days(longest.settles):
        delay = f" plus a delay of {format_duration(longest.delay)}" if longest.delay else ""
        reason = f"the longest window of {longest.name} ({format_duration(longest.settles - longest.delay)}{delay})"
    raise TrainingRefused(
        f"{declared.line.name}: training as of {as_of} would start on {span.train_from}, but {reason} is covered by data "
        f"from {declared.observed.stream.start + declared.reach_days * DAY} on, since the stream starts on "
        f"{declared.observed.stream.start}. The first day on which it can be trained is {first}."
    )
