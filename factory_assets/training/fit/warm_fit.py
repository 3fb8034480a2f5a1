"""Is a model that continues an earlier one as good as a cold one, and cheaper?

The cold fit that it is measured by is one that is made anyway: that of the candidates' comparison, on the older days of the
window. The continued model learns from those of the older days that its parent has not seen, and is measured on the same newest
days; where it is within the tolerance, the fit on all days continues too instead of beginning anew.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from factory_assets.declarations.warm_start import WarmStart
from factory_assets.measures.metrics import improvement, score
from factory_assets.models.estimators import CannotContinue, Start
from factory_assets.models.matrix import Encoding

#: The fixed cost of growing a tree, in rows: it takes as long to find the splits of 31 leaves in 255 bins of each feature as to
#: learn from so many rows; measured at 10,000 to 30,000.
GROWN = 15_000
#: The cost of predicting a row by one tree, in features: a tree learns from so many features of a row in the same time; measured
#: at 7 to 15.
PREDICTED = 12


@dataclass(frozen=True)
class Parent:
    """A version to continue from. chain: how many trainings in a row, up to it, continued the one before."""

    version: str
    encoding: Encoding
    parts: Mapping[str, bytes]
    train_to: dt.date
    chain: int


#: Candidate -> the version that it may continue from, or the reason why there is none.
Parents = Mapping[str, Parent | str]


@dataclass(frozen=True)
class Warm:
    """How a model continues its parent. value, cold: the metric of the continued and of the cold model on the newest days.

    rows: those that the parent had not seen. work: as a share of that of a cold fit, see `work`. stopped: the rounds that early
    stopping found for the cold one.
    """

    version: str
    chain: int
    rows: int
    work: float
    metric: str
    value: float
    cold: float
    stopped: int | None = None

    def record(self) -> dict[str, Any]:
        """The entry in a version's record; JSON."""
        return dict(vars(self))

    def __str__(self) -> str:
        return (
            f"continues {self.version}, {self.chain} in a row since a cold fit: {self.metric} {self.value:.5g} on the newest days, "
            f"{self.cold:.5g} anew; about {self.work:.0%} of the work of a cold fit, on {self.rows} rows that it had not seen"
        )


@dataclass(frozen=True)
class Window:
    """A node's training window, rows of shape (n, ...). newer: a mask of the days on which candidates are compared."""

    task: str
    encoding: Encoding
    x: np.ndarray
    y: np.ndarray
    days: np.ndarray
    newer: np.ndarray


@dataclass(frozen=True)
class Cold:
    """The candidate's cold fit on the older days of the window.

    value: the metric on the newer days; None where it could not be measured. rounds: where early stopping found them.
    """

    metric: str
    value: float | None
    rounds: int | None


#: Fit the candidate on rows of the window, and predict others: (learn, asked, start) -> predictions of `asked`; masks of shape (n,).
Fit = Callable[[np.ndarray, np.ndarray, Start], np.ndarray]


def continued(parent: Parent, declared: WarmStart, window: Window, cold: Cold, fit: Fit) -> tuple[Start, Warm]:
    """From where the fit on all days of the window continues. Raises CannotContinue with the reason for which it begins anew."""
    if parent.encoding != window.encoding:
        other = ", ".join(_other(parent.encoding, window.encoding))
        raise CannotContinue(f"other levels of {other} than {parent.version} knows")
    metric, rounds = cold.metric, cold.rounds
    if cold.value is None:
        raise CannotContinue(f"{metric} of a cold fit could not be measured")
    unseen, older = window.days > np.datetime64(parent.train_to), ~window.newer
    if not unseen[window.newer].all() or not unseen[older].any():
        raise CannotContinue(f"{parent.version} has seen days on which it would be compared, or all before them")
    new, share = int(unseen.sum()), work(parent, declared, unseen, window)
    if share >= 1:
        raise CannotContinue(
            f"beginning anew is cheaper than to continue {parent.version}: to learn from {new} of {len(unseen)} rows, which are "
            f"new to it, and to predict with more trees takes about {share:.0%} of a cold fit"
        )
    start = Start(parent.parts, unseen, declared.rounds, rounds)
    predictions = fit(older, window.newer, Start(parent.parts, unseen[older], declared.rounds, rounds))
    value = score(window.task, window.y[window.newer], predictions).get(metric)
    if value is None or improvement(metric, value, cold.value) < -declared.tolerance * abs(cold.value):
        measured = "without a value" if value is None else f"{value:.5g}"
        raise CannotContinue(
            f"{metric} {measured} continued from {parent.version}, {cold.value:.5g} anew: not within {declared.tolerance:g}"
        )
    return start, Warm(parent.version, parent.chain + 1, new, share, metric, value, cold.value, rounds)


def work(parent: Parent, declared: WarmStart, unseen: np.ndarray, window: Window) -> float:
    """About what continuing costs, as a share of the one cold fit, on all days, that it saves.

    Two fits of fewer rounds, one to be measured and one on all days, learn from the rows that the parent has not seen. It has to
    predict these first; and what comes out predicts with more trees than a cold model.
    """
    (rows, features), newer = window.x.shape, int(window.newer.sum())
    learnt = int(unseen.sum()) + int((unseen & ~window.newer).sum())
    trees = 1 + parent.chain * declared.rounds
    after = trees + declared.rounds
    grown = declared.rounds * (learnt + 2 * GROWN)
    predicted = trees * learnt + after * newer + (after - 1) * rows
    return (features * grown + PREDICTED * predicted) / (features * (rows + GROWN))


def _other(one: Encoding, other: Encoding) -> list[str]:
    """Features that the two encode differently."""
    if one.features != other.features:
        return sorted(set(one.features) ^ set(other.features)) or ["features in another order"]
    names = one.categories.keys() | other.categories.keys()
    return sorted(name for name in names if one.categories.get(name) != other.categories.get(name))
