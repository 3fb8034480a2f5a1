"""Which estimators can be trained, and what is a model made of? One contract, its implementations, and their registry.

A trained model is its parts: a few files of data that the archive stores. Training produces the parts and the model is
read back from them, so what is evaluated is what will be loaded years later. The same examples, parameters and seed
give the same bytes on any number of threads, and a prediction does not depend on the rows it is made with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from typing import Any

import numpy as np

from factory_assets.declarations.tasks import OPTION_TASKS, PLUG_INS, classes_of, kind_of
from factory_assets.models.estimators import calibration, classes
from factory_assets.models.estimators.additive import Additive
from factory_assets.models.estimators.base import CannotContinue, Estimator, Examples, Model, Start
from factory_assets.models.estimators.constant import Constant
from factory_assets.models.estimators.gradient_boosting import LightGBM
from factory_assets.models.estimators.linear import Linear, LogisticRegression, Ridge
from factory_assets.models.estimators.trees import HistGradientBoosting, RandomForest

__all__ = [
    *("ESTIMATORS", "CannotContinue", "Estimator", "Examples", "Model", "Options", "Start", "TooFewDays", "Trained"),
    *("fit", "later_days", "load", "registered", "train", "unlearnable"),
]

ESTIMATORS: dict[str, type[Estimator]] = {
    "constant": Constant,
    "linear": Linear,
    "logistic_regression": LogisticRegression,
    "ridge": Ridge,
    "additive": Additive,
    "lightgbm": LightGBM,
    "hist_gradient_boosting": HistGradientBoosting,
    "random_forest": RandomForest,
}
#: Share of the days, the newest, on which rounds are counted and probabilities are corrected.
LATER_SHARE = 0.2


@dataclass(frozen=True)
class Options:
    """How a candidate is trained, beside its parameters; the fields are those of a declared candidate.

    monotone: column -> 1 where predictions must not fall with it, -1 where they must not rise.
    rounds: those that early stopping found before, of the same candidate on fewer days; it looks for none then.
    """

    class_weight: str | None = None
    monotone: Mapping[int, int] = field(default_factory=dict)
    early_stopping: int | None = None
    calibrate: str | None = None
    rounds: int | None = None


@dataclass(frozen=True)
class Trained:
    """A model, and the number of rounds that early stopping found for it.

    predictions: for the rows on which it was trained, where training knows them; else None.
    """

    model: Model
    rounds: int | None = None
    predictions: np.ndarray | None = field(default=None, repr=False, compare=False)


class TooFewDays(ValueError):
    """Too few days for earlier and later rows, so rounds cannot be counted nor probabilities be corrected."""


def fit(
    estimator: str,
    x: np.ndarray,
    y: np.ndarray,
    *,
    task: str,
    categorical: Sequence[int],
    params: Mapping[str, Any],
    seed: int,
) -> Model:
    """Train an estimator of the registry.

    x: shape (n, p), as `matrix.encode` makes it: NaN is a missing value.
    y: shape (n,): 0 and 1, both present, for "binary"; whole numbers from 0 on, not all 0, for "count"; places of classes, two
        of them or more, for "multiclass(...)"; else finite numbers.
    categorical: column numbers whose values are codes of categories.
    params: the estimator's own parameters; one that is absent has the estimator's default.
    Raises ValueError for an unknown estimator, task or parameter, an estimator that cannot do the task, and labels
    that cannot be learned from.
    """
    return train(estimator, x, y, task=task, categorical=categorical, params=params, seed=seed).model


def train(
    estimator: str,
    x: np.ndarray,
    y: np.ndarray,
    *,
    task: str,
    categorical: Sequence[int],
    params: Mapping[str, Any],
    seed: int,
    options: Options = Options(),
    days: np.ndarray | None = None,
    start: Start | None = None,
) -> Trained:
    """Train an estimator of the registry with a candidate's options; see `fit`.

    days: shape (n,), the day of each row. Where options need later rows, these are the rows of the newest fifth of the days: rounds
        are counted and a calibration is learnt on them, by a model of the earlier rows; the model itself is fitted on all rows.
    start: go on from this model, with the rows that it has not seen. No rounds are counted then; a calibration is learnt on the same
        later rows, as predicted by a model that goes on without them.
    Raises ValueError also for an option that the estimator or the task does not have, TooFewDays where there are too few
    days, or too few of both classes, to tell earlier from later rows, CannotContinue where the model must begin anew.

    >>> x = np.arange(20.0).reshape(-1, 1)
    >>> made = train("ridge", x, 3 * x[:, 0] + 1, task="regression", categorical=(), params={"alpha": 0.001}, seed=0)
    >>> made.model.predict(np.array([[30.0]])).round(1)
    array([91.])
    """
    kind = registered(estimator)
    if kind_of(task) not in kind.tasks:
        raise ValueError(f"estimator {estimator!r} cannot do task {task!r}; it does: {', '.join(kind.tasks)}")
    _refuse_options(estimator, kind, task, options, start)
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    _refuse_unlearnable(x, y, task)
    weights = _balanced(y, task) if options.class_weight else None
    examples = Examples(x, y, task, tuple(categorical), weights, dict(options.monotone) or None)
    counted, rounds = options.early_stopping if not start else None, None
    if counted and options.rounds and (fixed := kind.with_rounds(params, options.rounds)) is not None:
        params, rounds, counted = fixed, options.rounds, None
    if not counted and not options.calibrate:
        model, predictions = _trained(kind, examples, params, seed, start)
        return Trained(model, rounds, predictions)
    later = _later(y, task, days)
    earlier, newest = examples.where(~later), examples.where(later)
    if counted:
        both = classes.shared(earlier, newest) if examples.classes else (earlier, newest)
        params, rounds = kind.stopped(*both, params, seed, counted)
    model, predictions = _trained(kind, examples, params, seed, start)
    if options.calibrate:
        before = None
        if start:
            if not start.rows[later].all():
                raise CannotContinue("days by which its probabilities are to be corrected were seen before")
            before = replace(start, rows=start.rows[~later])
        predicted = kind(_parts(kind, earlier, params, seed, before)[0]).predict(newest.x)
        part = calibration.calibration(options.calibrate, predicted, newest.y)
        model, predictions = calibration.Calibrated(model, part), None
    return Trained(model, rounds, predictions)


def _trained(
    kind: type[Estimator], examples: Examples, params: Mapping[str, Any], seed: int, start: Start | None
) -> tuple[Model, np.ndarray | None]:
    """The model, and its predictions for the examples where training knows them."""
    if not examples.classes:
        parts, predictions = _parts(kind, examples, params, seed, start)
        return kind(parts), predictions
    reduced, content = classes.reduced(examples)
    if start and start.parts.get(classes.PART) != content:
        raise CannotContinue("its rows are of other classes than those that were known before")
    parts, predictions = _parts(kind, reduced, params, seed, start)
    model = classes.OfClasses(kind(parts), content)
    return model, None if predictions is None else model.spread(predictions)


def _parts(
    kind: type[Estimator], examples: Examples, params: Mapping[str, Any], seed: int, start: Start | None
) -> tuple[dict[str, bytes], np.ndarray | None]:
    if start is None:
        return kind.trained(examples, params, seed)
    new = examples.where(start.rows)
    reason = "there are none" if not len(new.y) else unlearnable(new.y, examples.task)
    if reason:
        raise CannotContinue(f"rows that were not seen before teach nothing: {reason}")
    return kind.continued(new, start, params, seed), None


def load(estimator: str, parts: Mapping[str, bytes]) -> Model:
    """The model of these parts; parts that the estimator does not know are ignored.

    Raises ValueError for an unknown estimator, an absent part, and a part that is not sound. Nothing in a
    part is executed.
    """
    model = registered(estimator)(parts)
    return classes.OfClasses(model, parts[classes.PART]) if classes.PART in parts else calibration.load(model, parts)


def registered(estimator: str) -> type[Estimator]:
    """The class of an estimator: one of ours, or one that an installed package names by an entry point.

    No archive can name code to import: only a name is looked up, among the entry points of packages that are installed.
    """
    if estimator in ESTIMATORS:
        return ESTIMATORS[estimator]
    installed = {point.name: point for point in entry_points(group=PLUG_INS)}
    if estimator not in installed:
        allowed = ", ".join([*ESTIMATORS, *(name for name in installed if name not in ESTIMATORS)])
        raise ValueError(f"estimator {estimator!r} is not known; allowed: {allowed}")
    kind = installed[estimator].load()
    if not (isinstance(kind, type) and issubclass(kind, Estimator)):
        raise ValueError(f"estimator {estimator!r} is {installed[estimator].value}, which is no subclass of Estimator")
    return kind


def _refuse_options(
    estimator: str, kind: type[Estimator], task: str, options: Options, start: Start | None = None
) -> None:
    asked = {"warm_start": start} | {
        name: getattr(options, name) for name in ("class_weight", "monotone", "early_stopping")
    }
    for option, value in asked.items():
        if value and option not in kind.options:
            raise ValueError(f"estimator {estimator!r} has no {option}; it has: {', '.join(kind.options) or 'none'}")
    for option, tasks in OPTION_TASKS.items():
        if getattr(options, option) and kind_of(task) not in tasks:
            raise ValueError(f"{option} is for a {' or '.join(tasks)} task; this one is {task}")
    if options.monotone and classes_of(task):
        raise ValueError(f"monotone: the probabilities of {task} sum to 1 and cannot all have a direction")


def _refuse_unlearnable(x: np.ndarray, y: np.ndarray, task: str) -> None:
    if x.ndim != 2 or y.shape != (len(x),):
        raise ValueError(f"examples need x of shape (n, p) and y of shape (n,); given are {x.shape} and {y.shape}")
    if not np.isfinite(y).all():
        raise ValueError(f"{np.sum(~np.isfinite(y))} of {len(y)} labels are missing or infinite")
    if task == "binary":
        strange = np.setdiff1d(y, (0, 1))
        if len(strange):
            raise ValueError(f"a binary label is 0 or 1; given are also {', '.join(map(str, strange[:5]))}")
    if names := classes_of(task):
        strange = np.setdiff1d(y, range(len(names)))
        if len(strange):
            others = ", ".join(map(str, strange[:5]))
            raise ValueError(f"a label is the place of one of {len(names)} classes; given are also {others}")
    if not len(y):
        raise ValueError("there are no examples to learn from: 0 rows")
    if task == "count":
        strange = y[(y < 0) | (y % 1 != 0)]
        if len(strange):
            raise ValueError(f"a count is a whole number from 0 on; given are also {', '.join(map(str, strange[:5]))}")
    if reason := unlearnable(y, task):
        raise ValueError(reason)


def unlearnable(y: np.ndarray, task: str) -> str:
    """The reason why a model cannot learn from these labels, sound in themselves; "" if it can."""
    positive = int(np.sum(y > 0))
    if task == "binary" and positive in (0, len(y)):
        return f"a binary task needs both classes; {positive} of {len(y)} labels are 1"
    if task == "count" and not positive:
        return f"a count needs something to count; all {len(y)} labels are 0"
    if names := classes_of(task):
        seen = np.unique(y)
        if len(seen) < 2:
            return f"a task of classes needs two of them; all {len(y)} labels are {names[int(seen[0])]!r}"
    return ""


def _balanced(y: np.ndarray, task: str) -> np.ndarray:
    """Weights of mean 1 with which all classes weigh the same."""
    if classes_of(task):
        _, place, rows = np.unique(y, return_inverse=True, return_counts=True)
        return len(y) / (len(rows) * rows[place])
    positive = y.mean()
    return np.where(y == 1, 0.5 / positive, 0.5 / (1 - positive))


def later_days(days: int) -> int:
    """The number of days that are the newest fifth of so many; one at least."""
    return max(1, round(LATER_SHARE * days))


def _later(y: np.ndarray, task: str, days: np.ndarray | None) -> np.ndarray:
    """A mask of the rows of the newest fifth of the days, at least one."""
    if days is None:
        raise ValueError("early_stopping and calibrate need the day of each row")
    distinct = np.unique(days)
    later = days >= distinct[-later_days(len(distinct))]
    judged, content = y[later], f"{y[later].sum():g} of {y.sum():g} positives"
    if names := classes_of(task):
        judged = judged[np.isin(judged, y[~later])]
        content = f"{len(np.unique(judged))} of {len(names)} classes on both sides"
    if any(not len(rows) or unlearnable(rows, task) for rows in (judged, y[~later])):
        raise TooFewDays(
            f"early_stopping and calibrate need earlier and later rows to learn from: of {len(distinct)} days the newest "
            f"{len(np.unique(days[later]))} hold {later.sum()} of {len(y)} rows, {content}"
        )
    return later
