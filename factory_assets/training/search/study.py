"""Which parameters serve a candidate best? Trials by Optuna on time-ordered folds inside the training window.

A fold learns from days whose labels were known before those that it is judged on, as a model in use would. Where
candidates are compared, the newest days of the window decide between them: a search does not see those, nor the holdout.

Trials follow from the declaration, the rows and the seed alone: they are tried one after the other, by Optuna's TPE (Bergstra
et al. 2011, multivariate). A trial is given up after a fold where it is not in the better half of the trials that reached that
fold (asynchronous successive halving, Li et al. 2018). Number 0 is the candidate as declared: other parameters are better, or
not taken.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from factory_assets.declarations.line import Candidate, Line
from factory_assets.declarations.search import Fold, Parameter, Search, folds_of
from factory_assets.declarations.tasks import classes_of
from factory_assets.declarations.types import Mistake
from factory_assets.measures.metrics import METRICS, better, guessed, naive, score
from factory_assets.measures.tables import LABEL, label_values
from factory_assets.models import estimators
from factory_assets.models.matrix import Encoding, encode, learn_encoding
from factory_assets.training.fit.fitting import compared_days, options_of
from factory_assets.words import counted

#: Libraries whose versions decide a trial's numbers, beside our own code.
LIBRARIES = ("numpy", "optuna", "lightgbm", "scikit-learn")
#: A trial goes on after a fold if it is in the better 1/2 of all that were judged there.
HALVING = 2
#: How a trial ended, in words.
STATES = {"complete": "complete", "pruned": "given up early", "failed": "failed"}
#: From fewer different values than this, no importance of a parameter is estimated.
FEW_TRIALS = 8


@dataclass(frozen=True)
class TrialResult:
    """How one set of parameters did. folds: days, rows and metrics of each fold that was judged. message: why it ended early."""

    number: int
    params: Mapping[str, Any]
    state: Literal["complete", "pruned", "failed"]
    value: float | None
    folds: list[dict[str, Any]]
    message: str
    seconds: float


@dataclass(frozen=True)
class Data:
    """The rows of a search, as a matrix with the day of each, and the folds that they can be judged on, as (learn, judge) masks."""

    x: np.ndarray
    y: np.ndarray
    days: np.ndarray
    encoding: Encoding
    folds: list[tuple[Fold, np.ndarray, np.ndarray]] = field(default_factory=list)


@dataclass(frozen=True)
class Subject:
    """What a search is about: the parameters of a candidate at a node, compared by a metric."""

    line: Line
    candidate: str
    node: str
    metric: str


class NothingToSearch(Exception):
    """These rows allow no search; the message says why."""


def window_days(line: Line) -> int:
    """Days of the training window on which a search may look: without those on which candidates are compared."""
    return int(line.train.window.days) - compared_days(line)


def check(line: Line) -> list[Mistake]:
    """Searches whose folds do not fit the training window, as (path in the declaration, message) pairs."""
    findings: list[Mistake] = []
    for name, candidate in line.candidates.items():
        if candidate.search:
            try:
                folds_of(dt.date.min + line.train.window, window_days(line), line.horizon_days, candidate.search.folds)
            except ValueError as error:
                findings.append((("candidates", name, "search", "folds"), str(error)))
    return findings


def check_space(line: Line) -> list[Mistake]:
    """Parameters that the estimator does not know, does not allow or does not take, found by trying the ends of each.

    It imports the estimators, which takes seconds: for `factory check` and the beginning of a search.
    """
    findings: list[Mistake] = []
    for name, candidate in line.candidates.items():
        for parameter, values in candidate.search.space.items() if candidate.search else ():
            for value in values.ends:
                refusal = _refusal(line, candidate, {**candidate.params, parameter: value})
                if refusal and not (candidate.params and _refusal(line, candidate, candidate.params)):
                    findings.append((("candidates", name, "search", "space", parameter), f"{value!r}: {refusal}"))
                    break
    return findings


def _refusal(line: Line, candidate: Candidate, params: Mapping[str, Any]) -> str:
    """Why the estimator does not take the parameters; empty if it does."""
    x, labels = np.arange(60.0).reshape(-1, 1), max(2, len(classes_of(line.task)))
    try:
        estimators.fit(candidate.estimator, x, x[:, 0] % labels, task=line.task, categorical=[], params=params, seed=1)
    except ValueError as error:
        return str(error)
    return ""


def prepare(line: Line, rows: pa.Table, features: Sequence[str], declared: Search, metric: str) -> Data:
    """The rows that a search learns from and judges on.

    rows: training rows of one node, with ds, label and the features, in a fixed order: the order is part of the result.
    Raises NothingToSearch where no fold has labels that can be told apart on both sides.
    """
    days = rows["ds"].to_numpy(zero_copy_only=False)
    last = days.max() - np.timedelta64(compared_days(line), "D")
    seen = rows.filter(pa.array(days <= last))
    days, y = days[days <= last], label_values(line.task, seen[LABEL])
    encoding = learn_encoding(seen, features)
    folds = []
    for fold in folds_of(last.astype(dt.date), window_days(line), line.horizon_days, declared.folds):
        learn = days <= np.datetime64(fold.train_to)
        judge = (days >= np.datetime64(fold.validate_from)) & (days <= np.datetime64(fold.validate_to))
        if _usable(line.task, metric, y[learn], y[judge]):
            folds.append((fold, learn, judge))
    if not folds:
        raise NothingToSearch(f"{metric} can be measured on none of {declared.folds} folds of {seen.num_rows} rows")
    return Data(encode(seen, encoding), y, days, encoding, folds)


def _usable(task: str, metric: str, learn: np.ndarray, judge: np.ndarray) -> bool:
    if not len(learn) or estimators.unlearnable(learn, task):
        return False
    return metric in score(task, judge, guessed(naive(task, learn), len(judge)))


def identity(configuration: str, node: str, data: Data) -> str:
    """16 hex digits that change with all that a search's trials follow from: declaration, rows and libraries."""
    described = [configuration, node, data.encoding.categorical, {library: version(library) for library in LIBRARIES}]
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    for array in (data.x, data.y, data.days.astype("int64"), *(mask for _, *masks in data.folds for mask in masks)):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def stops(done: Sequence[TrialResult], declared: Search) -> bool:
    """Whether a search ends after these trials. It goes by the seconds that were recorded, so that a repetition ends alike."""
    if len(done) > declared.trials:
        return True
    return bool(done and declared.time and sum(one.seconds for one in done) >= declared.time.total_seconds())


def run(
    subject: Subject, data: Data, recorded: Mapping[int, TrialResult], keep: Callable[[TrialResult], None]
) -> list[TrialResult]:
    """All trials of a search.

    recorded: trials of the same search by number, of a run that did not end; they are not computed again.
    keep: called with each trial that was computed, as soon as it ends.
    """
    line, metric = subject.line, subject.metric
    candidate = line.candidates[subject.candidate]
    declared = candidate.search
    assert declared
    study = _study(subject)
    space = {parameter: _distribution(values) for parameter, values in declared.space.items()}
    done: list[TrialResult] = []
    while not stops(done, declared):
        number = len(done)
        trial = study.ask(space) if number else None
        params = {**candidate.params, **(trial.params if trial else {})}
        result = recorded.get(number)
        if result is None or result.params != params:
            result = replace(_judge(line, candidate, data, params, metric, trial), number=number)
            keep(result)
        else:
            _repeat(result, metric, trial)
        done.append(result)
        if trial:
            study.tell(trial, result.value if result.state == "complete" else None, _state(result))
    return done


def best(outcomes: Iterable[TrialResult], metric: str) -> TrialResult:
    """The complete trial with the best value, the earliest of equals. Raises ValueError where none is complete."""
    winner: TrialResult | None = None
    reason = "there are no trials"
    for one in outcomes:
        reason = one.message or reason
        if one.value is not None and (
            winner is None or winner.value is None or better(metric, one.value, winner.value)
        ):
            winner = one
    if winner is None:
        raise ValueError(f"none of the parameters that were tried could be trained: {reason}")
    return winner


def why(outcomes: Sequence[TrialResult], metric: str) -> str:
    """Why this one won, in a sentence."""
    if not _any(outcomes):
        return f"None of {counted(len(outcomes), 'trial')} could be trained: {outcomes[-1].message}"
    won, declared = best(outcomes, metric), outcomes[0]
    counts = [f"{sum(one.state == state for one in outcomes)} {words}" for state, words in STATES.items()]
    among = (
        f"of {counted(len(outcomes), 'trial')}, {', '.join(counts)}; {metric} over {counted(len(won.folds), 'fold')}"
    )
    if won.number == 0:
        return f"The parameters as declared: {metric} {won.value:.5g}, and nothing that was tried is better ({among})."
    rest = [one for one in outcomes if one.number not in (0, won.number)]
    second = f", then trial {best(rest, metric).number} with {best(rest, metric).value:.5g}" if _any(rest) else ""
    before = (
        f"{declared.value:.5g} as declared"
        if declared.value is not None
        else f"as declared it failed: {declared.message}"
    )
    return f"Trial {won.number}: {metric} {won.value:.5g}, {before}{second} ({among})."


def _any(outcomes: Iterable[TrialResult]) -> bool:
    return any(one.value is not None for one in outcomes)


def importances(outcomes: Sequence[TrialResult], declared: Search, metric: str) -> dict[str, float]:
    """Share of each parameter in what sets good trials apart (PED-ANOVA, Watanabe et al. 2023); {} for a few trials."""
    import optuna

    complete = [one for one in outcomes if one.number and one.value is not None]
    if len({one.value for one in complete}) < FEW_TRIALS:
        return {}
    space = {name: _distribution(values) for name, values in declared.space.items()}
    study = optuna.create_study(direction=_direction(metric))
    for one in complete:
        params = {name: one.params[name] for name in space}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=one.value))
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    return {
        name: float(share)
        for name, share in optuna.importance.get_param_importances(study, evaluator=evaluator).items()
    }


def _study(subject: Subject) -> Any:
    import optuna

    # Otherwise it reports every trial on the console, in every run.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    identified = f"{subject.line.seed}|{subject.candidate}|{subject.node}"
    seed = int.from_bytes(hashlib.sha256(identified.encode()).digest()[:4], "big")
    return optuna.create_study(
        direction=_direction(subject.metric),
        sampler=optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=False),
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=HALVING),
    )


def _direction(metric: str) -> Literal["maximize", "minimize"]:
    return "maximize" if METRICS[metric].greater_is_better else "minimize"


def _distribution(values: Parameter) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if values.choice is not None:
        return CategoricalDistribution(values.choice)
    return (IntDistribution if values.int_ is not None else FloatDistribution)(*values.ends, log=values.log)


def _judge(
    line: Line, candidate: Candidate, data: Data, params: dict[str, Any], metric: str, trial: Any
) -> TrialResult:
    """Try one set of parameters, fold after fold; given up as soon as the pruner says so."""
    began, folds = time.perf_counter(), list[dict[str, Any]]()

    def ended(
        state: Literal["complete", "pruned", "failed"], value: float | None = None, reason: str = ""
    ) -> TrialResult:
        return TrialResult(0, params, state, value, folds, reason, time.perf_counter() - began)

    for fold, learn, judge in data.folds:
        try:
            trained = estimators.train(
                candidate.estimator, data.x[learn], data.y[learn], task=line.task, categorical=data.encoding.categorical,
                params=params, seed=line.seed, options=options_of(candidate, data.encoding), days=data.days[learn],
            )  # fmt: skip
            metrics = score(line.task, data.y[judge], trained.model.predict(data.x[judge]))
        except ValueError as error:
            return ended("failed", reason=str(error))
        days = {name: str(day) for name, day in asdict(fold).items()}
        folds.append({**days, "rows": int(learn.sum()), "validation_rows": int(judge.sum()), "metrics": metrics})
        if trial and len(folds) < len(data.folds) and _given_up(trial, folds, metric):
            return ended("pruned", reason=f"not in the better half after {len(folds)} of {len(data.folds)} folds")
    return ended("complete", _mean(folds, metric))


def _given_up(trial: Any, folds: Sequence[Mapping[str, Any]], metric: str) -> bool:
    trial.report(_mean(folds, metric), len(folds))
    return bool(trial.should_prune())


def _repeat(result: TrialResult, metric: str, trial: Any) -> None:
    """Report a recorded trial to Optuna as it was reported then, so that the trials after it are the same."""
    seen = len(result.folds) - (result.state == "complete")
    for judged in range(1, seen + 1 if trial else 1):
        _given_up(trial, result.folds[:judged], metric)


def _mean(folds: Sequence[Mapping[str, Any]], metric: str) -> float:
    return float(sum(fold["metrics"][metric] for fold in folds) / len(folds))


def _state(result: TrialResult) -> Any:
    from optuna.trial import TrialState

    return {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}[result.state]
