"""Which sets of parameters were tried, for which model, and how did each do? A trial is no version: most are never released.

Appended to, one row a trial, as soon as it ends. A search that was killed goes on where it stopped: what it had tried is
read here instead of being computed again. Where a trial was made twice, the later row counts.
"""

import datetime as dt
from dataclasses import dataclass, fields
from typing import Any, Literal

import sqlalchemy as sa

from factory_resources.records.chain import append
from factory_resources.records.tables import TRIALS, Database, writing

State = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True)
class Trial:
    """One set of parameters and what came of it.

    search: what it is a trial of: the same declaration, rows and library versions have the same search.
    configuration: the declaration alone. number: 0 for the parameters as declared, then 1, 2, 3 ...
    params: all that the estimator was given. value: the mean of `metric` over the folds, None if not all were judged.
    folds: for each fold that was judged its days, rows and metrics. message: why a trial failed or was given up.
    """

    line: str
    node: str
    candidate: str
    estimator: str
    as_of: dt.date
    configuration: str
    search: str
    number: int
    params: dict[str, Any]
    metric: str
    value: float | None
    folds: list[dict[str, Any]]
    state: State
    message: str
    seconds: float
    run_id: str
    ended_at: dt.datetime
    id: int | None = None

    @property
    def metrics(self) -> dict[str, float]:
        """Every metric that all judged folds have, as their mean."""
        return mean_metrics([fold["metrics"] for fold in self.folds])


def mean_metrics(found: list[dict[str, float]]) -> dict[str, float]:
    """The mean of each metric that is in all of them."""
    shared = [name for name in found[0] if all(name in metrics for metrics in found)] if found else []
    return {name: sum(metrics[name] for metrics in found) / len(found) for name in shared}


@dataclass(frozen=True)
class SearchKey:
    """One search at one node, as of one day."""

    node: str
    as_of: dt.date
    search: str


class Trials(Database):
    """The trials of all searches, in the ledger's database. Safe in threads and across processes."""

    def record(self, trial: Trial) -> None:
        """Append a trial."""
        row = {f.name: getattr(trial, f.name) for f in fields(trial) if f.name != "id"}
        with writing(self._open(), "trials", trial.line, trial.node) as connection:
            append(connection, TRIALS, [row])

    def searches(self, line: str, candidate: str, configuration: str, until: dt.date) -> list[SearchKey]:
        """Searches of a configuration as of a day or earlier, newest first; an unfinished one is among them."""
        c = TRIALS.c
        of = (c.line == line, c.candidate == candidate, c.configuration == configuration, c.as_of <= until)
        newest = sa.func.max(c.id).label("newest")
        query = sa.select(c.node, c.as_of, c.search, newest).where(*of).group_by(c.node, c.as_of, c.search)
        with self._open().connect() as connection:
            rows = connection.execute(query.order_by(c.as_of.desc(), newest.desc()))
            return [SearchKey(row.node, row.as_of, row.search) for row in rows]

    def of_search(self, line: str, candidate: str, key: SearchKey) -> list[Trial]:
        """Trials of a search in the order of their numbers; of a number that was tried again, the later one."""
        c = TRIALS.c
        query = _of(line, key.node, candidate).where(c.as_of == key.as_of, c.search == key.search)
        latest = {trial.number: trial for trial in self._read(query.order_by(c.id))}
        return [latest[number] for number in sorted(latest)]

    def trials(self, line: str, node: str | None = None, candidate: str | None = None) -> list[Trial]:
        """Trials of a line, of one of its nodes or candidates, in the order in which they ended."""
        return self._read(_of(line, node, candidate).order_by(TRIALS.c.id))

    def trial(self, line: str, trial_id: int) -> Trial:
        """The trial of this id. Raises LookupError for one that the line does not have."""
        for found in self._read(_of(line).where(TRIALS.c.id == trial_id)):
            return found
        raise LookupError(f"line {line!r} has no trial {trial_id}")

    def _read(self, query: sa.Select[Any]) -> list[Trial]:
        with self._open().connect() as connection:
            return [Trial(**row) for row in connection.execute(query).mappings()]


def _of(line: str, node: str | None = None, candidate: str | None = None) -> sa.Select[Any]:
    query = sa.select(*(TRIALS.c[f.name] for f in fields(Trial))).where(TRIALS.c.line == line)
    query = query if node is None else query.where(TRIALS.c.node == node)
    return query if candidate is None else query.where(TRIALS.c.candidate == candidate)
