"""Which nodes does a policy train as of a day, and whom does it let answer from then on? Each keeps a ledger of its own."""

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from factory_assets.declarations.declared import DeclaredLine
from factory_assets.evaluation.coverage import Counts
from factory_assets.evaluation.gate import Ruling
from factory_assets.evaluation.meetings import meet
from factory_assets.identity.nodes import preorder
from factory_assets.measures.compared import decided_by
from factory_assets.models.archived import ReleasedModel
from factory_assets.release.refits import passing
from factory_assets.release.rulings import UNTRAINED, decide
from factory_assets.release.shipped import refits_of, released
from factory_assets.training.dataset import DaysAsKnown
from factory_assets.training.fit.fitting import Failed
from factory_assets.training.session import Result
from factory_assets.training.subtrees import Subtrees
from factory_assets.training.timeline import timeline
from factory_assets.training.undecided import looked_at_again
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.ledger import Ledger, VersionRecord
from factory_resources.records.decisions import Decision

#: never: the models of the first training answer. gate: whoever passes the declared gate does. newest: those of the last training do.
#: In the order of how new their models are.
Policy = Literal["never", "gate", "newest"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
#: Of whatever is trained, where nobody judges it.
_TAKEN = Ruling("promote", "the newest model")


@dataclass(frozen=True)
class World:
    """What the policies share. load: the model of a version. unsafe: why one may not be served.

    labelled: first and last day, and the day at whose close -> the rows with labels. newest: a day -> the newest day that is to be
    answered by then, with its examples. counts: as of `dataset.label_counts`. refit: the ledger, the day and the challengers that
    passed, by node -> those of them that could be fitted again.
    """

    declared: DeclaredLine
    archive: ArchiveFolder
    load: Callable[[str], ReleasedModel]
    unsafe: Callable[[str], str | None]
    labelled: Callable[[dt.date, dt.date, dt.date], Subtrees]
    newest: Callable[[dt.date], tuple[dt.date, Subtrees] | None]
    counts: Callable[[DaysAsKnown, bool], Counts]
    refit: Callable[[Ledger, dt.date, Mapping[str, VersionRecord]], Iterable[VersionRecord]]


class Deciding(Protocol):
    """A policy at work."""

    @property
    def ledger(self) -> Ledger: ...

    def learning(self, day: dt.date, nodes: Collection[str]) -> Sequence[str]:
        """The nodes that it trains as of a day, of those that are due."""
        ...

    def decide(self, day: dt.date, nodes: Sequence[str], results: Mapping[str, Result]) -> Sequence[Decision]:
        """Who answers from the day after on. results: node -> what came of its training, of those that were trained."""
        ...


@dataclass(frozen=True)
class Gate:
    """As the line goes: a challenger has to pass the gate, or is looked at again."""

    world: World
    ledger: Ledger

    def learning(self, day: dt.date, nodes: Collection[str]) -> Sequence[str]:
        left = looked_at_again(self.ledger, self.world.archive, self.world.declared, day, nodes)
        return [node for node in nodes if node not in left]

    def decide(self, day: dt.date, nodes: Sequence[str], results: Mapping[str, Result]) -> Sequence[Decision]:
        declared, world, span = self.world.declared, self.world, timeline(self.world.declared, day)
        order, name, metric = preorder(nodes), declared.line.name, decided_by(declared)

        def holdout_from(first: dt.date) -> Subtrees:
            return world.labelled(first, span.holdout_to, day)

        def newest() -> tuple[dt.date, Subtrees] | None:
            return world.newest(day)

        for met in meet(
            declared, self.ledger, day, order, world.load, holdout_from, newest, world.unsafe, world.counts
        ):
            for record in met.records(name, span, metric):
                self.ledger.record_evaluation(record)
        untrained = reasons(results)
        self.ledger.register(*world.refit(self.ledger, day, passing(declared, self.ledger, day, order, untrained)))
        decisions, late = decide(declared, self.ledger, day, order, untrained)
        if late:
            raise AssertionError(f"nobody else decides in a replay, and yet: {'; '.join(late)}")
        return list(decisions.values())


@dataclass(frozen=True)
class Taking:
    """Whatever is trained answers, as good or bad as it is. once: nothing is trained after the first time."""

    world: World
    ledger: Ledger
    once: bool

    def learning(self, day: dt.date, nodes: Collection[str]) -> Sequence[str]:
        return [] if self.once and self.ledger.identities() else list(nodes)

    def decide(self, day: dt.date, nodes: Sequence[str], results: Mapping[str, Result]) -> Sequence[Decision]:
        made, why = [], reasons(results)
        before = {node: by.champion for node, by in self.ledger.champions(self.world.declared.line.name).items()}
        refits = self._refits(day, results)
        for node in preorder(results):
            result, old = results[node], before.get(node)
            if isinstance(result, VersionRecord):
                shipped = released(self.world.declared.line, _TAKEN, result.version, refits).version
                made.append(self._decision(day, node, shipped, shipped, _TAKEN.reason))
            else:
                made.append(self._decision(day, node, None, old, why[node]))
        for decision in made:
            self.ledger.decide(decision)
        return made

    def _refits(self, day: dt.date, results: Mapping[str, Result]) -> dict[str, VersionRecord]:
        """Judged version -> its refit: what answers has learnt as much as by the gate."""
        trained = {node: result for node, result in results.items() if isinstance(result, VersionRecord)}
        if self.world.declared.line.train.refit and trained:
            self.ledger.register(*self.world.refit(self.ledger, day, trained))
        return refits_of(self.ledger, self.world.declared.line.name, day)

    def _decision(self, day: dt.date, node: str, version: str | None, champion: str | None, reason: str) -> Decision:
        verdict: Literal["promote", "keep", "fallback"] = "promote" if version else "keep" if champion else "fallback"
        line = self.world.declared.line.name
        return Decision(line, node, day, verdict, version, champion, reason, "backtest", {})


def reasons(results: Mapping[str, Result]) -> dict[str, str]:
    """Node -> why its training gave it no model."""
    return {
        node: UNTRAINED["failed" if isinstance(result, Failed) else "too_little"] + result.reason
        for node, result in results.items()
        if not isinstance(result, VersionRecord)
    }


def deciding(policy: Policy, world: World, ledger: Ledger) -> Deciding:
    return Gate(world, ledger) if policy == "gate" else Taking(world, ledger, once=policy == "never")
