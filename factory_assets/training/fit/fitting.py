"""How is one node's model made from its rows?

Every candidate is fitted on the older part of the training window and scored on the newer part; the best one is fitted
again on all of it. One that cannot be read must be better by a margin than the best that can. The holdout plays no part in
the choice.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from traceback import format_exception
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa

from factory_assets.declarations.line import Candidate, Line
from factory_assets.identity.nodes import ROOT
from factory_assets.measures.metrics import Guess, better, improvement, naive, score
from factory_assets.measures.tables import LABEL, label_values
from factory_assets.models import estimators
from factory_assets.models.matrix import Encoding, encode, learn_encoding
from factory_assets.training.fit.warm_fit import Cold, Parent, Parents, Warm, Window, continued

#: Share of the training days, the newest, on which candidates are compared.
VALIDATION_SHARE = 0.25
#: Rows that a model predicts again where its predictions are known already: to measure how long it takes, and that they are equal.
TIMED = 100
#: All rows of a window.
EVERY = slice(None)


@dataclass(frozen=True)
class Tried:
    """A candidate in the comparison of candidates, or the only candidate as it was fitted.

    metrics: on the newest days, {} where nothing was compared. seconds: to fit. microseconds: to predict a row; the machine does
    other things at the same time. bytes: of its parts. rounds: what early stopping found. reason: why it could not be fitted on
    this node's rows, else "". traceback: where that came from, for the log of the run, if it is an error.
    """

    metrics: dict[str, float]
    interpretable: bool
    seconds: float = 0.0
    microseconds: float = 0.0
    bytes: int = 0
    rounds: int | None = None
    reason: str = ""
    traceback: str = ""


@dataclass(frozen=True)
class Fitted:
    """A node's challenger.

    options: what the candidate declares beside its parameters. rounds: what early stopping found. choice: why it was this
    candidate, in words. warm: what the model continues. start: that in words, or why it begins anew where it need not.
    """

    node: str
    candidate: str
    estimator: str
    params: Mapping[str, Any]
    model: estimators.Model
    encoding: Encoding
    #: The model's predictions of the rows that it was fitted on, in their order: nobody has to ask it again.
    fit: np.ndarray = field(repr=False, compare=False)
    rows: int
    positives: int | None
    naive: Guess
    tried: dict[str, Tried] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    rounds: int | None = None
    choice: str = ""
    warm: Warm | None = None
    start: str = ""

    @property
    def validation(self) -> dict[str, dict[str, float]]:
        """Candidate -> metric -> value on the newest days of the training window."""
        return {name: tried.metrics for name, tried in self.tried.items() if tried.metrics}


@dataclass(frozen=True)
class NotTrained:
    """A node that has no model of its own, and why; an ancestor answers."""

    node: str
    rows: int
    reason: str


@dataclass(frozen=True)
class Failed:
    """A node whose training ended in an error; an ancestor answers, or the champion that it has.

    reason: the error in words. traceback: where it came from, for the log of the run.
    """

    node: str
    rows: int
    reason: str
    traceback: str = ""


Outcome = Fitted | NotTrained | Failed
#: A candidate's model, what it took to fit, and its predictions of the rows that it was asked for.
FitResult = tuple[estimators.Trained, Tried, np.ndarray]


def rows_within(table: pa.Table, node: str) -> pa.Table:
    """Rows of the node's subtree, in their order."""
    import pyarrow.compute as pc

    if node == ROOT:
        return table
    leaf = table["leaf"]
    return table.filter(pc.or_(pc.equal(leaf, node), pc.starts_with(leaf, f"{node}/")))


def fit_node(
    line: Line, rows: pa.Table, features: Sequence[str], node: str, metric: str, parents: Parents = MappingProxyType({})
) -> Fitted | NotTrained:
    """The best candidate for one node, or why there is none. parents: what candidates with a warm start may continue.

    A candidate that cannot be fitted is left out, and named in the choice. Raises the error of the last where none can be.
    """
    if rows.num_rows < line.segments.min_rows:
        return NotTrained(node, rows.num_rows, f"{rows.num_rows} training rows, {line.segments.min_rows} needed")
    y = label_values(line.task, rows[LABEL])
    positives, needed = _positives(line, y), line.segments.min_positives
    if positives is not None and positives < needed:
        return NotTrained(node, rows.num_rows, f"{positives} positives among {len(y)} rows, {needed} needed")
    if reason := estimators.unlearnable(y, line.task):
        return NotTrained(node, rows.num_rows, f"nothing to tell apart: {reason}")
    encoding = learn_encoding(rows, features)
    x, days = encode(rows, encoding), rows["ds"].to_numpy(zero_copy_only=False)
    window = Window(line.task, encoding, x, y, days, _newer(line, days))
    tried = _validate(line, window)
    while True:
        chosen, choice = _best(line, tried, metric)
        try:
            made, warm, start = _started(line, chosen, window, tried, metric, parents.get(chosen))
            break
        except estimators.TooFewDays as error:
            return NotTrained(node, rows.num_rows, f"{chosen}: {error}")
        except (OSError, MemoryError):
            raise
        except Exception as error:
            tried = tried | {chosen: _not_fitted(line, chosen, error)}
            if all(name in tried and tried[name].traceback for name in line.candidates):
                raise
    choice += "".join(f"; {name} was not fitted: {one.reason}" for name, one in tried.items() if one.traceback)
    return _fitted(
        line, node, window, chosen, made, positives=positives, tried=tried, choice=choice, warm=warm, start=start
    )


@dataclass(frozen=True)
class Again:
    """What a version is fitted again as, on more days: the candidate that it is.

    rounds: those that early stopping found for it. warm: how it continues another version. parent: that one, or why it cannot be
    read any more.
    """

    candidate: str
    rounds: int | None = None
    warm: Warm | None = None
    parent: Parent | str | None = None


def fit_again(line: Line, rows: pa.Table, features: Sequence[str], node: str, again: Again) -> Fitted | NotTrained:
    """The candidate on rows of more days than it was found on, as it was fitted then: nothing is compared any more."""
    y = label_values(line.task, rows[LABEL])
    if reason := estimators.unlearnable(y, line.task):
        return NotTrained(node, rows.num_rows, f"nothing to tell apart: {reason}")
    encoding = learn_encoding(rows, features)
    days = rows["ds"].to_numpy(zero_copy_only=False)
    window = Window(line.task, encoding, encode(rows, encoding), y, days, np.zeros(len(y), dtype=bool))
    try:
        made, warm, start = _again(line, window, again)
    except estimators.TooFewDays as error:
        return NotTrained(node, rows.num_rows, f"{again.candidate}: {error}")
    return _fitted(line, node, window, again.candidate, made, positives=_positives(line, y), warm=warm, start=start)


def _again(line: Line, window: Window, again: Again) -> tuple[FitResult, Warm | None, str]:
    """The model, what it continues, and that in words or why it begins anew."""
    declared, parent, warm = line.candidates[again.candidate].warm_start, again.parent, again.warm
    if not declared or warm is None or parent is None:
        return _fit(line, again.candidate, window, EVERY, EVERY, rounds=again.rounds), None, ""
    reason = parent if isinstance(parent, str) else f"other levels than {parent.version} knows"
    if isinstance(parent, Parent) and parent.encoding == window.encoding:
        unseen = window.days > np.datetime64(parent.train_to)
        start = estimators.Start(parent.parts, unseen, declared.rounds, warm.stopped)
        try:
            made = _fit(line, again.candidate, window, EVERY, EVERY, start)
            return (
                made,
                replace(warm, rows=int(unseen.sum())),
                f"continues {parent.version}, as the judged version does",
            )
        except estimators.CannotContinue as why:
            reason = str(why)
    return _fit(line, again.candidate, window, EVERY, EVERY, rounds=warm.stopped), None, f"cold: {reason}"


def _positives(line: Line, y: np.ndarray) -> int | None:
    return int(y.sum()) if line.task == "binary" else None


def _fitted(line: Line, node: str, window: Window, name: str, made: FitResult, **more: Any) -> Fitted:
    """What came of a candidate. made: see `_fit`. more: the fields of it that say where it comes from."""
    candidate, (trained, alone, fit) = line.candidates[name], made
    tried = more.pop("tried", {})
    return Fitted(
        node=node,
        candidate=name,
        estimator=candidate.estimator,
        params=candidate.params,
        model=trained.model,
        encoding=window.encoding,
        fit=fit,
        rows=len(window.y),
        naive=naive(line.task, window.y),
        tried=tried if name in tried else tried | {name: alone},
        options=candidate.model_dump(mode="json", exclude={"estimator", "params"}),
        rounds=trained.rounds,
        **more,
    )


def _started(
    line: Line, name: str, window: Window, tried: Mapping[str, Tried], metric: str, parent: Parent | str | None
) -> tuple[FitResult, Warm | None, str]:
    """The candidate fitted on all days of the window, what it continues, and that in words or why it begins anew."""
    declared = line.candidates[name].warm_start

    def fit(learn: np.ndarray, asked: np.ndarray, start: estimators.Start) -> np.ndarray:
        return _fit(line, name, window, learn, asked, start)[2]

    reason = f"cold: {parent}" if isinstance(parent, str) else ""
    if declared and isinstance(parent, Parent):
        compared = tried.get(name, Tried({}, False))
        cold = Cold(metric, compared.metrics.get(metric), compared.rounds)
        try:
            start, warm = continued(parent, declared, window, cold, fit)
            return _fit(line, name, window, EVERY, EVERY, start), warm, str(warm)
        except estimators.CannotContinue as why:
            reason = f"cold: {why}"
    return _fit(line, name, window, EVERY, EVERY), None, reason


def _fit(
    line: Line,
    name: str,
    window: Window,
    learn: np.ndarray | slice,
    asked: np.ndarray | slice,
    start: estimators.Start | None = None,
    rounds: int | None = None,
) -> FitResult:
    """A candidate fitted on rows of the window, what that took, and its predictions of the rows `asked`.

    learn, asked: masks of shape (n,), or EVERY. rounds: those that early stopping found before.
    Raises estimators.TooFewDays and, of a start, estimators.CannotContinue.
    """
    candidate, encoding = line.candidates[name], window.encoding
    x, y, days = window.x[learn], window.y[learn], window.days[learn]
    rows = x if asked is learn else window.x[asked]
    began = time.perf_counter()
    trained = estimators.train(
        candidate.estimator,
        x,
        y,
        task=line.task,
        categorical=encoding.categorical,
        params=candidate.params,
        seed=line.seed,
        options=replace(options_of(candidate, encoding), rounds=rounds),
        days=days,
        start=start,
    )
    fitted = time.perf_counter()
    predictions, microseconds = _predicted(trained, rows, asked is learn)
    tried = Tried(
        metrics={},
        interpretable=estimators.registered(candidate.estimator).interpretable,
        seconds=fitted - began,
        microseconds=microseconds,
        bytes=sum(map(len, trained.model.parts().values())),
        rounds=trained.rounds,
    )
    return trained, tried, predictions


def _predicted(trained: estimators.Trained, asked: np.ndarray, learnt: bool) -> tuple[np.ndarray, float]:
    """A model's predictions of the rows `asked`, and the microseconds that a row takes. learnt: it was trained on these rows."""
    fit = trained.predictions if learnt else None
    few = asked if fit is None else asked[:TIMED]
    began = time.perf_counter()
    predictions = trained.model.predict(few)
    microseconds = 1e6 * (time.perf_counter() - began) / len(few)
    if fit is None:
        return predictions, microseconds
    return fit if np.array_equal(fit[:TIMED], predictions) else trained.model.predict(asked), microseconds


def options_of(candidate: Candidate, encoding: Encoding) -> estimators.Options:
    """How the candidate is trained, beside its parameters, on a matrix of this encoding."""
    directions = {"increasing": 1, "decreasing": -1}
    return estimators.Options(
        class_weight=candidate.class_weight,
        monotone={encoding.features.index(name): directions[way] for name, way in candidate.monotone.items()},
        early_stopping=candidate.early_stopping,
        calibrate=candidate.calibrate,
    )


def _validate(line: Line, window: Window) -> dict[str, Tried]:
    """Every candidate, fitted on the older and measured on the newest days of the training window; {} if nothing compares."""
    if len(line.candidates) == 1:
        return {}
    newer, y = window.newer, window.y
    older = ~newer
    if not older.any() or not newer.any() or estimators.unlearnable(y[older], line.task):
        return {}
    compared = {}
    for name, candidate in line.candidates.items():
        try:
            _, tried, predictions = _fit(line, name, window, older, newer)
            compared[name] = replace(tried, metrics=_measured(line.task, y[newer], predictions))
        except estimators.TooFewDays as error:
            readable = estimators.registered(candidate.estimator).interpretable
            compared[name] = Tried({}, readable, reason=str(error))
        except (OSError, MemoryError):
            raise
        except Exception as error:
            compared[name] = _not_fitted(line, name, error)
    return compared


def _not_fitted(line: Line, name: str, error: Exception) -> Tried:
    """Why a candidate is left out. The next node would meet an error of the disk or of memory too: these are not for here."""
    readable = estimators.registered(line.candidates[name].estimator).interpretable
    return Tried({}, readable, reason=f"{type(error).__name__}: {error}", traceback="".join(format_exception(error)))


def _measured(task: str, y: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """Metric -> value, those left out that are beyond the largest double. Raises ValueError for a prediction that is not finite."""
    return {metric: value for metric, value in score(task, y, predictions).items() if np.isfinite(value)}


def _newer(line: Line, days: np.ndarray) -> np.ndarray:
    """A mask of the rows on whose days candidates are compared."""
    return np.asarray(days > days.max() - np.timedelta64(compared_days(line), "D"))


def compared_days(line: Line) -> int:
    """How many days of the training window, the newest, candidates are compared on; 0 where there is nothing to compare."""
    return round(line.train.window.days * VALIDATION_SHARE) if len(line.candidates) > 1 else 0


def _best(line: Line, tried: Mapping[str, Tried], metric: str) -> tuple[str, str]:
    """The candidate to fit, and why: the best by the gate's metric, unless one that can be read is as good but for the margin.

    The first declared where the metric cannot tell.
    """
    measured = {name: one.metrics[metric] for name, one in tried.items() if metric in one.metrics}
    if not measured:
        usable = [name for name in line.candidates if name not in tried or not tried[name].traceback]
        chosen = next(iter(usable or line.candidates))
        return chosen, "the only candidate" if len(line.candidates) == 1 else "nothing to compare by"
    best = _first_best(measured, metric)
    readable = {name: value for name, value in measured.items() if tried[name].interpretable}
    reason = f"{metric} {_short(measured[best])} of {best}"
    if best in readable or not readable:
        others = {name: value for name, value in measured.items() if name != best}
        second = _first_best(others, metric) if others else None
        return best, reason + (
            f" against {_short(others[second])} of {second}" if second else "; no other could be measured"
        )
    plain = _first_best(readable, metric)
    reason += f" against {_short(measured[plain])} of {plain}, which can be read"
    margin = line.train.margin
    if improvement(metric, measured[best], measured[plain]) > margin:
        return best, f"{reason}: more than the margin of {margin:g}"
    return plain, f"{reason}: not more than the margin of {margin:g}, so {plain} is taken"


def _first_best(values: Mapping[str, float], metric: str) -> str:
    best = next(iter(values))
    for name, value in values.items():
        if better(metric, value, values[best]):
            best = name
    return best


def _short(value: float) -> str:
    return f"{value:.4g}"
