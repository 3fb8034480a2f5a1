"""What does the gate decide on each node of a training, from the evaluations?"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.evaluation.challengers import Challenger, challengers_of
from factory_assets.evaluation.gate import Ruling, rule
from factory_assets.evaluation.incumbents import as_judged, champions_before
from factory_assets.evaluation.met import recorded
from factory_assets.identity.nodes import ROOT, answering, parent_of
from factory_assets.identity.versions import contract_hash
from factory_assets.measures.compared import decided_by
from factory_assets.release.shipped import Shipped, refits_of, released
from factory_resources.lake import Lake
from factory_resources.ledger import EvaluationRecord, Ledger
from factory_resources.records.decisions import WAITS, ChampionChanged, Decision, in_words

#: Stands for the person in decisions that the gate made.
GATE = "gate"
#: How a training gave a node no model -> the words before the reason.
UNTRAINED = {"failed": "training failed, ", "too_little": ""}


def decide(
    declared: DeclaredLine, ledger: Ledger, day: dt.date, nodes: Sequence[str], untrained: Mapping[str, str]
) -> tuple[dict[str, Decision], list[str]]:
    """Decide on each node of a training and append it to the ledger; node -> decision, and decisions that came too late, in words.

    nodes: every node before its subtree, since a node was measured against a champion above it.
    untrained: node -> why the training of the day gave it no model.
    """
    training = Training.of(declared, ledger, day, nodes, untrained)
    by_now, refits = dict(training.meeting), refits_of(ledger, declared.line.name, day)
    decisions, late = dict[str, Decision](), list[str]()
    for node, met in training.met.items():
        champion = training.champions.get(node)
        try:
            ruling = training.rule(node, by_now)
            shipped = released(declared.line, ruling, met.version, refits)
            decision = _decision(declared, day, ruling, met, champion, shipped)
            ledger.decide(decision, against=champion)
        except ChampionChanged as changed:
            late.append(str(changed))
            continue
        decisions[node] = decision
        training.answers(node, ruling, by_now)
    return decisions, late


def winners(
    declared: DeclaredLine, ledger: Ledger, day: dt.date, nodes: Sequence[str], untrained: Mapping[str, str]
) -> dict[str, str]:
    """Node -> its challenger, of those that pass: what `decide` will release, or let wait for approval. Nothing is decided.

    nodes, untrained: as of `decide`.
    """
    training, found = Training.of(declared, ledger, day, nodes, untrained), dict[str, str]()
    by_now = dict(training.meeting)
    for node, met in training.met.items():
        try:
            ruling = training.rule(node, by_now)
        except ChampionChanged:
            # `decide` meets it too, and says so.
            continue
        if met.version is not None and ruling.passed:
            found[node] = met.version
        training.answers(node, ruling, by_now)
    return found


@dataclass(frozen=True)
class Training:
    """What is to be ruled on. champions: node -> who answers before. meeting: node -> who met others for it.

    met: node -> its meeting, every node before its subtree. withdrawn: (node, version) -> the rollback that took it back.
    untrained: node -> why the training gave it no model.
    """

    declared: DeclaredLine
    champions: Mapping[str, str]
    meeting: Mapping[str, str]
    met: Mapping[str, "Meeting"]
    withdrawn: Mapping[tuple[str, str], Decision]
    untrained: Mapping[str, str]

    @classmethod
    def of(
        cls, declared: DeclaredLine, ledger: Ledger, day: dt.date, nodes: Sequence[str], untrained: Mapping[str, str]
    ) -> "Training":
        line = declared.line.name
        champions = champions_before(ledger, line, day, nodes)
        meeting = as_judged(ledger, line, champions)
        met = _met(ledger, declared, day, nodes, meeting)
        return cls(declared, champions, meeting, met, ledger.withdrawn(line, day), untrained)

    def rule(self, node: str, by_now: Mapping[str, str]) -> Ruling:
        """The ruling on a node. by_now: as `meeting`, after the rulings on the nodes before. Raises ChampionChanged."""
        met = self.met[node]
        _require_measured(met, self.meeting, by_now)
        return _ruling(self.declared, met, self.withdrawn.get((node, str(met.version))), self.untrained.get(node))

    def answers(self, node: str, ruling: Ruling, by_now: dict[str, str]) -> None:
        """Note who meets others for the node after its ruling."""
        by_now.pop(node, None)
        if champion := ruling.champion(self.meeting.get(node), self.met[node].version):
            by_now[node] = champion


@dataclass(frozen=True)
class Meeting:
    """What the ledger has of a node's meeting: the evaluations of its champion and its challenger, and who is above.

    up: the challenger, measured or not.
    """

    node: str
    up: Challenger | None
    champion: EvaluationRecord | None
    challenger: EvaluationRecord | None
    above: str | None
    parent: str | None

    @property
    def version(self) -> str | None:
        return self.up.version if self.up else None


def _met(
    ledger: Ledger, declared: DeclaredLine, day: dt.date, nodes: Sequence[str], champions: Mapping[str, str]
) -> dict[str, Meeting]:
    line, challengers = declared.line.name, challengers_of(ledger, declared, day)
    measured = {(record.node, record.version): record for record in ledger.evaluations(line, as_of=day)}
    of_version: dict[str | None, str] = {}
    met = {}
    for node in nodes:
        champion = measured.get((node, champions[node])) if node in champions else None
        up = challengers.get(node)
        challenger = measured.get((node, up.version)) if up else None
        # The champion meets its parent; without one, the challenger does.
        first = champion or challenger
        parent = first.incumbent_version if first else None
        if parent is not None and parent not in of_version:
            of_version[parent] = ledger.version(line, parent).node
        met[node] = Meeting(node, up, champion, challenger, of_version.get(parent), parent)
    return met


def _require_measured(met: Meeting, champions: Mapping[str, str], by_now: Mapping[str, str]) -> None:
    """Raise ChampionChanged where somebody was measured against one who does not answer any more.

    champions: node -> version before the rulings of this run. by_now: after those on the nodes above.
    """
    node, first = met.node, met.champion or met.challenger
    if met.challenger is not None and met.champion is None and node in champions:
        raise ChampionChanged(
            f"{met.version} for {node!r} was not measured against {champions[node]}, its champion by now"
        )
    above = answering(str(parent_of(node)), by_now) if node != ROOT else None
    expected = by_now[above] if above else None
    if first is not None and first.incumbent_version != expected:
        raise ChampionChanged(
            f"{first.version} for {node!r} was measured against {first.incumbent_version or 'no champion'}, "
            f"but {expected or 'nobody'} answers above it now"
        )


def _ruling(declared: DeclaredLine, met: Meeting, taken_back: Decision | None, why: str | None) -> Ruling:
    """taken_back: the rollback of the challenger. why: the reason for which the training gave the node no model."""
    challenger = None if taken_back else met.challenger
    metric = decided_by(declared)
    look = met.up.look if met.up else None
    ruling = rule(metric, declared.line.bar, recorded(metric, met.champion, challenger), met.above, look)
    if taken_back:
        return replace(ruling, reason=f"{ruling.reason}: {in_words(taken_back)}")
    return replace(ruling, reason=f"{ruling.reason}: {why}") if met.version is None and why else ruling


def why_untrained(lake: Lake, line: str, day: dt.date) -> dict[str, str]:
    """Node -> why the training of this day gave it no model."""
    if lake.version(f"{line}/model") is None:
        return {}
    rows = lake.read(f"{line}/model", day, day, ["node", "status", "reason"], empty_if_absent=True).to_pylist()
    return {row["node"]: UNTRAINED[row["status"]] + row["reason"] for row in rows if row["status"] in UNTRAINED}


def _decision(
    declared: DeclaredLine, day: dt.date, ruling: Ruling, met: Meeting, champion: str | None, shipped: Shipped
) -> Decision:
    # The contract is recorded also where there was nothing to measure: a changed one is noticed by it.
    evidence: dict[str, Any] = {"contract": contract_hash(declared)}
    measured = met.challenger or met.champion
    if measured:
        contest = recorded(decided_by(declared), met.champion, met.challenger)
        evidence |= {"rows": measured.rows, "holdout": f"{measured.holdout_from} .. {measured.holdout_to}"}
        sides = {"challenger": contest.challenger, "champion": contest.champion, "parent": contest.parent}
        evidence |= {
            side: metrics for side, metrics in {**sides, "naive": contest.naive}.items() if metrics is not None
        }
        if ruling.waits:
            evidence[WAITS] = True
        evidence |= shipped.evidence
        if contest.certainty:
            evidence["certainty"] = dict(contest.certainty)
        if met.parent:
            evidence["above"] = {"node": met.above, "version": met.parent}
    return Decision(
        line=declared.line.name,
        node=met.node,
        as_of=day,
        verdict=ruling.verdict,
        version=met.version,
        champion=ruling.champion(champion, shipped.version),
        reason="; ".join(filter(None, (ruling.reason, shipped.reason))),
        decided_by=GATE,
        evidence=evidence,
    )
