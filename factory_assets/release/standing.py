"""Who answers for each node, since when, and who decided that and why? A line's history, read as successive champions."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from factory_assets.identity.nodes import answering, lineage, tree
from factory_resources.ledger import Decision, Ledger
from factory_resources.records.decisions import newest


@dataclass(frozen=True)
class Reign:
    """A stretch of time in which one version was a node's own champion, None if an ancestor answered; how it began."""

    champion: str | None
    began: Decision


@dataclass(frozen=True)
class Answer:
    """A node, the node that answers for it (itself, an ancestor, or None), that one's version, and the decision behind it.

    by: where an ancestor answers, the decision that made that one champion, or the later decision that left the node without one.
    own: the decision about the node itself that counts, None without any: of the newest day, and of that day the last.
    crowned: the decision that made the version champion of the node that answers.
    """

    node: str
    answers: str | None
    version: str | None
    by: Decision | None
    own: Decision | None = None
    crowned: Decision | None = None


def reigns(decisions: Sequence[Decision]) -> list[Reign]:
    """Champions of one node, first to last. decisions: the node's, in the order they were made.

    A decision as of a day long past, made after a decision as of a later day, changes nothing.
    """
    champions: list[Reign] = []
    newest = dt.date.min
    for decision in decisions:
        if decision.as_of >= newest:
            newest = decision.as_of
            if not champions or champions[-1].champion != decision.champion:
                champions.append(Reign(decision.champion, decision))
    return champions


def succession(decisions: Sequence[Decision]) -> list[str | None]:
    """Whom a rollback can go back to: the champion last, before it the one that it followed, and so on; first an ancestor.

    A rollback takes away what it went back over, so that the next one goes further back.
    """
    line: list[str | None] = [None]
    for reign in reigns(decisions):
        if reign.began.verdict == "rollback" and reign.champion in line:
            while line[-1] != reign.champion:
                line.pop()
        elif line[-1] != reign.champion:
            line.append(reign.champion)
    return line


def standing(ledger: Ledger, line: str, at: dt.datetime | None = None, node: str | None = None) -> list[Answer]:
    """How each node of a line stands, or one of them, by the decisions until a moment (None: now).

    Nodes about which nothing was decided are answered for by an ancestor, like all others.
    """
    made: dict[str, list[Decision]] = {}
    decisions = (
        ledger.decisions(line) if node is None else [d for up in lineage(node) for d in ledger.decisions(line, up)]
    )
    for decision in decisions:
        if at is None or decision.decided_at <= at:
            made.setdefault(decision.node, []).append(decision)
    reign = {node: reigns(of_node)[-1] for node, of_node in made.items()}
    own = {node: newest(of_node) for node, of_node in made.items()}
    return [_standing(each, reign, own.get(each)) for each in (tree(made) if node is None else [node])]


def _standing(node: str, last: Mapping[str, Reign], own: Decision | None) -> Answer:
    champions = {node: reign.champion for node, reign in last.items() if reign.champion is not None}
    answers, path = answering(node, champions), lineage(node)
    if answers is None:
        return Answer(node, None, None, None, own)
    asked = [last[node].began for node in path[: path.index(answers) + 1] if node in last]
    by = max(asked, key=lambda decision: decision.decided_at)
    return Answer(node, answers, champions[answers], by, own, last[answers].began)
