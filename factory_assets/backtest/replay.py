"""What would have become of a line over a stretch of its past? Its trainings, champions and predictions by each of several policies.

The line's own functions train, judge and answer, on an archive and ledgers in a folder that the caller throws away: nothing of the
line itself is written. A training reads what was known at its close, a model is fitted once for all policies that train it, and
each day is answered by the champions decided on before it.
"""

import datetime as dt
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from factory_assets.backtest.asked import Asked, BacktestRefused
from factory_assets.backtest.policies import Deciding, Policy, World, deciding
from factory_assets.declarations.days import DAY
from factory_assets.declarations.tasks import classes_of
from factory_assets.evaluation.coverage import Counts
from factory_assets.evaluation.fresh_process import FreshProcess
from factory_assets.governor.retraining import NotDue, Training, due
from factory_assets.identity.nodes import ROOT, preorder
from factory_assets.identity.versions import contract_hash
from factory_assets.measures.compared import metric_of
from factory_assets.measures.tables import LABEL, label_values
from factory_assets.models.archived import ReleasedModel, load
from factory_assets.models.safety import Limits
from factory_assets.release.refits import Stores as RefitStores
from factory_assets.release.refits import refits
from factory_assets.scoring.champions import Champions, champions_of_days
from factory_assets.scoring.predictions import Answered, predict
from factory_assets.training.dataset import (
    DaysAsKnown,
    close_of,
    label_counts,
    labelled_by_node,
    newest_examples,
    past_stretches,
    training_rows,
)
from factory_assets.training.fit.fitting import Failed
from factory_assets.training.fit.warm import versions_of
from factory_assets.training.search.tuned import Tuning
from factory_assets.training.session import Result, Stores, session_of
from factory_assets.training.subtrees import Subtrees
from factory_assets.training.timeline import timeline
from factory_assets.words import counted
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger, VersionRecord
from factory_resources.records.trials import Trials

#: Days of examples in memory at a time, beside what is kept of each row.
READ = 28
#: Among predictions: those of the newest models but one, by which it is known how much versions differ from each other.
BEFORE = "before"
#: Stands for the run in records that are gone with the replay.
RUN = "backtest"


@dataclass(frozen=True)
class Event:
    """What happened to a node in a training of a policy.

    event: trained, too_little or failed of a training; promote, keep, fallback or undecided of a decision. seconds: of the CPU,
    for the model. champion: who answers for the node by the decision.
    """

    policy: Policy
    as_of: dt.date
    node: str
    event: str
    reason: str = ""
    version: str | None = None
    champion: str | None = None
    rows: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Predicted:
    """The rows of the stretch with their labels, and what each policy predicted of them.

    days: datetime64[D], shape (n,). leaf: of each row its place in `leaves`. clusters: whose each row is; None where nobody's.
    predictions: policy, naive, and before, -> shape (n,), or (n, k) for k classes; NaN of a row that no champion answered.
    """

    days: np.ndarray
    leaf: np.ndarray
    leaves: Sequence[str]
    y: np.ndarray
    clusters: pa.ChunkedArray | None
    predictions: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Replayed:
    """trainings: those of the stretch. events: in their order. champions: policy -> as of which day -> node -> version, from the
    day after on. made: version -> the day as of which it was trained.
    """

    asked: Asked
    metric: str
    trainings: Sequence[Training]
    events: Sequence[Event]
    champions: Mapping[Policy, Mapping[dt.date, Champions]]
    made: Mapping[str, dt.date]
    predicted: Predicted
    tables: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Stands:
    trained_as_of: dt.date | None
    contract: str | None


def trainings(asked: Asked, labelled: Collection[dt.date], seen: Callable[[dt.date], Sequence[str]]) -> list[Training]:
    """The trainings of the stretch, in the order of time, as the line would have begun them.

    labelled: days whose labels are all in. seen: a day -> the nodes that examples up to it have. Raises BacktestRefused for none.
    """
    declared, stretch = asked.declared, asked.stretch
    contract, standing, found = contract_hash(declared), dict[str, _Stands](), list[Training]()

    def chosen(until: dt.date) -> list[str]:
        return [node for node in seen(until) if asked.nodes is None or node in asked.nodes]

    while True:
        next_one = due(
            declared, labelled, standing, chosen, chosen(stretch.last), contract, since=stretch.first
        )  # fmt: skip
        if isinstance(next_one, NotDue) or next_one.as_of >= stretch.last:
            if not found:
                why = (
                    next_one.reason if isinstance(next_one, NotDue) else f"the first possible is as of {next_one.as_of}"
                )
                raise BacktestRefused(f"no training in {stretch.first} .. {stretch.last}: {why}")
            return found
        found.append(next_one)
        standing |= dict.fromkeys(next_one.nodes, _Stands(next_one.as_of, contract))


def replay(
    asked: Asked,
    labelled: Collection[dt.date],
    seen: Callable[[dt.date], Sequence[str]],
    lake: Lake,
    engine: Engine,
    folder: Path,
    say: Callable[[str], None] = lambda text: None,
) -> Replayed:
    """Replay the stretch by each policy. folder: an empty one, for models and ledgers. say: is told how far it is.

    labelled, seen: as of `trainings`. Raises BacktestRefused.
    """
    declared, found = asked.declared, trainings(asked, labelled, seen)
    archive = ArchiveFolder(str(folder / "archive"))
    with (
        engine.connect() as con,
        FreshProcess(archive, declared.line.name, Limits.of(declared.line.gate)) as apart,
    ):
        going = _Replay(asked, con, lake, archive, folder, apart.unsafe)
        ends = [*(each.as_of for each in found[1:]), asked.stretch.last]
        for number, (training, end) in enumerate(zip(found, ends, strict=True), start=1):
            seconds = going.train(training)
            rows = going.answer(training.as_of + DAY, end)
            say(
                f"{declared.line.name}: training {number} of {len(found)}, as of {training.as_of}: "
                f"{counted(len(training.nodes), 'node')}, {seconds:.1f} s of the CPU; {counted(rows, 'row')} answered up to {end}"
            )
    return Replayed(
        asked,
        metric_of(declared),
        found,
        going.events,
        going.champions,
        going.made,
        going.predicted(),
        going.tables,
    )


class _Replay:
    """A replay that goes on, training by training."""

    def __init__(
        self,
        asked: Asked,
        con: duckdb.DuckDBPyConnection,
        lake: Lake,
        archive: ArchiveFolder,
        folder: Path,
        unsafe: Callable[[str], str | None],
    ):
        self._asked, self._declared, self._con, self._lake, self._archive = asked, asked.declared, con, lake, archive
        self._unsafe, self._refits = unsafe, dict[tuple[str, dt.date], VersionRecord | None]()
        self._refit_seconds = 0.0
        world = World(
            asked.declared, archive, self._load, unsafe, self._labelled, self._newest, self._counts, self._refit
        )
        ledgers = {policy: Ledger(url=f"sqlite:///{folder / policy}.db") for policy in asked.policies}
        self._deciding: dict[Policy, Deciding] = {
            policy: deciding(policy, world, ledger) for policy, ledger in ledgers.items()
        }
        self._trials = Trials(url=f"sqlite:///{folder / 'trials'}.db")
        self._models: dict[str, ReleasedModel] = {}
        self._before: Champions = {}
        self._parts: list[_Part] = []
        self.tables: dict[str, int] = {}
        self.events: list[Event] = []
        self.made: dict[str, dt.date] = {}
        self.champions: dict[Policy, dict[dt.date, Champions]] = {policy: {} for policy in asked.policies}

    def train(self, training: Training) -> float:
        """Train the nodes as of the day and let each policy decide; the seconds of the CPU that the models took."""
        declared, day, line = self._declared, training.as_of, self._declared.line.name
        span = timeline(declared, day)
        self._before = next(reversed(self.champions.get("newest", {}).values()), {})
        learning = {policy: each.learning(day, training.nodes) for policy, each in self._deciding.items()}
        rows, self.tables = training_rows(
            self._con, self._lake, line, span, past_stretches(declared, span), self.tables or None
        )
        every = [node for node in training.nodes if any(node in nodes for nodes in learning.values())]
        began = _cpu()
        tuning = Tuning(declared, self._trials, rows.train, every, metric_of(declared), day, RUN, lambda text: None)
        tuned, results = tuning.tune(), dict[tuple[str, str], tuple[Result, float]]()
        searched = (_cpu() - began) / max(len(every), 1)
        spent = _cpu() - began
        for policy, each in self._deciding.items():
            stores = Stores(self._lake, self._archive, each.ledger)
            session = session_of(declared, span, (rows, self.tables), tuned, learning[policy], stores, RUN)
            # Of a node that two policies would continue from different versions, each fits its own model.
            keys = {
                node: (node, str(sorted(versions_of(session.continued.get(node, {})).items())))
                for node in learning[policy]
            }
            fresh = preorder([node for node, key in keys.items() if key not in results])
            began = _cpu()
            fitted = {done.outcome.node: result for done, result in session.train(fresh)}
            seconds = _cpu() - began
            spent += seconds
            learnt = sum(result.rows for result in fitted.values()) or 1
            for node, result in fitted.items():
                results[keys[node]] = result, searched + seconds * result.rows / learnt
            own = {node: results[key] for node, key in keys.items()}
            versions = [result for result, _ in own.values() if isinstance(result, VersionRecord)]
            each.ledger.register(*versions)
            self.made |= {version.version: day for version in versions}
            self.events += [_trained(policy, day, node, *own[node]) for node in own]
            self._refit_seconds = 0.0
            decisions = each.decide(day, training.nodes, {node: result for node, (result, _) in own.items()})
            spent += self._refit_seconds
            for made in decisions:
                event = Event(policy, day, made.node, made.verdict, made.reason, made.version, made.champion)
                self.events.append(event)
            self.champions[policy][day] = champions_of_days(each.ledger, line, [day + DAY])[day + DAY]
        wanted = {version for by_day in self.champions.values() for version in by_day[day].values()}
        wanted |= set(self._before.values())
        self._models = {version: model for version, model in self._models.items() if version in wanted}
        return spent

    def answer(self, first: dt.date, last: dt.date) -> int:
        """Predict the days, both inclusive, by the champions of each policy as they stand; the number of rows."""
        champions = {policy: list(by_day.values())[-1] for policy, by_day in self.champions.items()}
        start, rows = first, 0
        while start <= last:
            end = min(start + (READ - 1) * DAY, last)
            # As far as labels are known once those of the last day are: a later correction is of no use to anybody here.
            known = self._asked.stretch.last + self._declared.line.horizon_days * DAY
            part = self._part(self._labelled(start, end, known).rows(ROOT), champions)
            self._parts.append(part)
            rows, start = rows + len(part.y), end + DAY
        return rows

    def _part(self, rows: pa.Table, champions: Mapping[Policy, Champions]) -> "_Part":
        line, task = self._declared.line, self._declared.line.task
        shape = (rows.num_rows, *([len(classes)] if (classes := classes_of(task)) else []))
        predictions = {who: np.full(shape, np.nan) for who in (*champions, "naive", BEFORE)}
        placed = rows.append_column(_PLACE, pa.array(np.arange(rows.num_rows)))
        everybody: list[tuple[str, Champions]] = [(BEFORE, self._before), *champions.items()]
        for who, of_policy in everybody:

            def see(answered: Answered, who: str = who) -> None:
                at = answered.rows[_PLACE].to_numpy()
                predictions[who][at] = answered.predictions
                # The guess of whoever learnt last: policies go from the oldest models to the newest.
                predictions["naive"][at] = answered.model.naive(len(at), task)

            predict(placed, {node: self._load(version) for node, version in of_policy.items()}, task, see)
        clusters = rows[line.cluster] if line.cluster else None
        return _Part(
            rows["ds"].to_numpy().astype("datetime64[D]"),
            rows["leaf"],
            label_values(task, rows[LABEL]),
            clusters,
            predictions,
        )

    def predicted(self) -> Predicted:
        """All that was predicted."""
        leaf = pa.chunked_array(
            [chunk.cast(pa.string()) for part in self._parts for chunk in part.leaf.chunks], pa.string()
        )
        coded = leaf.dictionary_encode().combine_chunks()
        whose = [chunk for part in self._parts if part.clusters is not None for chunk in part.clusters.chunks]
        return Predicted(
            days=np.concatenate([part.days for part in self._parts]),
            leaf=np.asarray(coded.indices.to_numpy(), np.intp),
            leaves=coded.dictionary.to_pylist(),
            y=np.concatenate([part.y for part in self._parts]),
            clusters=pa.chunked_array(whose) if whose else None,
            predictions={
                who: np.concatenate([part.predictions[who] for part in self._parts])
                for who in self._parts[0].predictions
            },
        )

    def _load(self, version: str) -> ReleasedModel:
        if version not in self._models:
            self._models[version] = load(self._archive, self._declared.line.name, version)
        return self._models[version]

    def _newest(self, day: dt.date) -> tuple[dt.date, Subtrees] | None:
        return newest_examples(self._con, self._lake, self._declared.line.name, day)

    def _counts(self, days: DaysAsKnown, labels: bool) -> Counts:
        return label_counts(self._con, self._lake, self._declared.line.name, days, labels, self.tables)

    def _refit(self, ledger: Ledger, day: dt.date, passed: Mapping[str, VersionRecord]) -> list[VersionRecord]:
        """The challengers that passed once more, on all labelled days, those that could be fitted: each once for all policies."""
        due = {node: record for node, record in passed.items() if (record.version, day) not in self._refits}
        began, span = _cpu(), timeline(self._declared, day)
        stores = RefitStores(self._con, self._lake, ledger, self._archive, self._unsafe)
        for node, result in refits(self._declared, span, due, stores, RUN):
            self._refits[due[node].version, day] = result if isinstance(result, VersionRecord) else None
        self._refit_seconds += _cpu() - began
        found = [refit for record in passed.values() if (refit := self._refits[record.version, day])]
        self.made |= {refit.version: day for refit in found}
        return found

    def _labelled(self, first: dt.date, last: dt.date, day: dt.date) -> Subtrees:
        days = DaysAsKnown(first, last, close_of(day))
        return labelled_by_node(self._con, self._lake, self._declared.line.name, days, self.tables)[0]


#: Column by which predictions find back to their rows.
_PLACE = "place in the part"


@dataclass(frozen=True)
class _Part:
    """Some days of `Predicted`. leaf: the keys themselves."""

    days: np.ndarray
    leaf: pa.ChunkedArray
    y: np.ndarray
    clusters: pa.ChunkedArray | None
    predictions: Mapping[str, np.ndarray]


def _trained(policy: Policy, day: dt.date, node: str, result: Result, seconds: float) -> Event:
    if isinstance(result, VersionRecord):
        reason = str(result.configuration.get("choice", ""))
        return Event(policy, day, node, "trained", reason, result.version, rows=result.rows, seconds=seconds)
    event = "failed" if isinstance(result, Failed) else "too_little"
    return Event(policy, day, node, event, result.reason, rows=result.rows, seconds=seconds)


def _cpu() -> float:
    """Seconds of the CPU that this process and its workers have had."""
    return sum(os.times()[:4])
