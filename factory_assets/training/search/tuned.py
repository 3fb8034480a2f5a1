"""Which parameters does each candidate get at each node: those of a search that is due now, or of an earlier one?

A node takes what was found at the nearest place above it, its own first. So a node that is trained alone, or has too few
rows for a search of its own, takes what its ancestors found last, as far as it was known on the day of the training.
"""

import datetime as dt
import hashlib
import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.line import Line
from factory_assets.declarations.search import Search
from factory_assets.identity.nodes import ROOT, lineage
from factory_assets.training.search import study as search
from factory_assets.training.subtrees import Subtrees
from factory_resources.records.trials import SearchKey, Trial, Trials


@dataclass(frozen=True)
class FinishedSearch:
    """A finished search: where and as of when it was made, and its trials. now: made, or ended, by this run."""

    key: SearchKey
    metric: str
    outcomes: Sequence[search.TrialResult]
    now: bool

    @property
    def best(self) -> search.TrialResult:
        return search.best(self.outcomes, self.metric)

    @property
    def why(self) -> str:
        return search.why(self.outcomes, self.metric)

    def record(self) -> dict[str, Any]:
        """The search in the record of a version whose parameters come from it; JSON."""
        return {
            "node": self.key.node,
            "as_of": str(self.key.as_of),
            "search": self.key.search,
            "trial": self.best.number,
            "trials": len(self.outcomes),
            self.metric: self.best.value,
        }


@dataclass(frozen=True)
class Tuned:
    """The line of each node, its candidates with the parameters found for them, and the searches that found these."""

    line: Line
    lines: Mapping[str, Line] = field(default_factory=dict)
    searches: Mapping[str, Mapping[str, FinishedSearch]] = field(default_factory=dict)

    def of(self, node: str) -> Line:
        return self.lines.get(node, self.line)

    def source(self, node: str, candidate: str) -> FinishedSearch | None:
        """The search that a candidate's parameters come from; None where it has none."""
        return self.searches.get(node, {}).get(candidate)


@dataclass(frozen=True)
class Tuning:
    """The searches of one training: those that are due are made, and every node takes its parameters."""

    declared: DeclaredLine
    trials: Trials
    train: Subtrees
    nodes: Sequence[str]
    metric: str
    as_of: dt.date
    run_id: str
    say: Callable[[str], None]

    def tune(self) -> Tuned:
        """Make the searches that are due, and settle every node's parameters."""
        line = self.declared.line
        searched = [name for name, candidate in line.candidates.items() if candidate.search]
        if not searched:
            return Tuned(line)
        if findings := search.check(line) + search.check_space(line):
            raise ValueError("; ".join(f"{line.name}: {'.'.join(path)}: {message}" for path, message in findings))
        jobs = [(name, node) for name in searched for node in self._due(name)]
        # Side by side, as models are; each search has its own order of trials.
        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            now = {key for key in pool.map(lambda job: self._search(*job), jobs) if key}
        finished = {name: self._finished(name, now) for name in searched}
        by_node = {
            node: {name: place for name in searched if (place := _nearest(node, finished[name]))} for node in self.nodes
        }
        return Tuned(line, {node: _settled(line, places) for node, places in by_node.items()}, by_node)

    def _due(self, name: str) -> list[str]:
        """Nodes at which a candidate is to be searched in this run."""
        declared = self._declared(name)
        searched_as_of = {node: finished.key.as_of for node, finished in self._finished(name).items()}
        places = list(self.nodes)
        if declared.nodes == "global":
            # Training one node alone starts no search for all, unless there was none yet: then nothing could be taken.
            places = [ROOT] if ROOT in self.nodes or ROOT not in searched_as_of else []
        return [
            node for node in places if node not in searched_as_of or self.as_of - searched_as_of[node] >= declared.every
        ]

    def _search(self, name: str, node: str) -> SearchKey | None:
        """Search at a node, or say why its rows allow none."""
        line, rows = self.declared.line, self.train.rows(node)
        if rows.num_rows < line.segments.min_rows:
            return None
        try:
            data = search.prepare(line, rows, self.declared.features, self._declared(name), self.metric)
        except search.NothingToSearch as nothing:
            self.say(f"{line.name}: no search for {name} at {node}: {nothing}")
            return None
        key = SearchKey(node, self.as_of, search.identity(self._configuration(name), node, data))
        recorded = {trial.number: _outcome(trial) for trial in self.trials.of_search(line.name, name, key)}
        subject = search.Subject(line, name, node, self.metric)
        outcomes = search.run(subject, data, recorded, lambda outcome: self._record(name, key, outcome))
        self.say(f"{line.name}: {name} at {node}: {search.why(outcomes, self.metric)}")
        return key

    def _finished(self, name: str, now: Collection[SearchKey] = ()) -> dict[str, FinishedSearch]:
        """Node -> its newest search that came to its end and found parameters that can be trained."""
        line, declared = self.declared.line, self._declared(name)
        newest: dict[str, FinishedSearch] = {}
        for key in self.trials.searches(line.name, name, self._configuration(name), self.as_of):
            if key.node in newest:
                continue
            outcomes = [_outcome(trial) for trial in self.trials.of_search(line.name, name, key)]
            ends = next((end for end in range(1, len(outcomes) + 1) if search.stops(outcomes[:end], declared)), None)
            if ends is not None and any(outcome.value is not None for outcome in outcomes[:ends]):
                newest[key.node] = FinishedSearch(key, self.metric, outcomes[:ends], key in now)
        return newest

    def _record(self, name: str, key: SearchKey, outcome: search.TrialResult) -> None:
        line = self.declared.line
        self.trials.record(
            Trial(
                line=line.name,
                candidate=name,
                estimator=line.candidates[name].estimator,
                configuration=self._configuration(name),
                metric=self.metric,
                run_id=self.run_id,
                ended_at=dt.datetime.now(dt.UTC),
                **asdict(key),
                **{f.name: getattr(outcome, f.name) for f in fields(outcome)},
            )
        )

    def _configuration(self, name: str) -> str:
        """16 hex digits of the declaration as far as it makes a search another: an earlier search of other digits does not count."""
        line, candidate = self.declared.line, self.declared.line.candidates[name]
        declared = line.model_dump(mode="json", include={"task", "observe", "label", "seed"})
        asked = candidate.model_dump(mode="json", exclude={"warm_start"}) | {
            "search": self._declared(name).model_dump(mode="json", include={"space", "folds", "nodes"})
        }
        described = [declared, asked, self.declared.features, self.metric, search.window_days(line)]
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]

    def _declared(self, name: str) -> Search:
        declared = self.declared.line.candidates[name].search
        assert declared
        return declared


def _nearest(node: str, searches: Mapping[str, FinishedSearch]) -> FinishedSearch | None:
    return next((searches[place] for place in lineage(node) if place in searches), None)


def _settled(line: Line, searches: Mapping[str, FinishedSearch]) -> Line:
    """The line with parameters in the place of searches."""
    candidates = {
        name: candidate.model_copy(
            update={
                "params": dict(searches[name].best.params if name in searches else candidate.params),
                "search": None,
            }
        )
        for name, candidate in line.candidates.items()
    }
    return line.model_copy(update={"candidates": candidates})


def _outcome(trial: Trial) -> search.TrialResult:
    return search.TrialResult(**{f.name: getattr(trial, f.name) for f in fields(search.TrialResult)})
