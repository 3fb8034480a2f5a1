"""How does a node go back to an earlier champion, in one action, with who and why?"""

from factory_assets.identity.nodes import answering
from factory_assets.models.names import find
from factory_assets.release.request import Request
from factory_assets.release.standing import succession
from factory_assets.words import meant
from factory_resources.lake import Lake
from factory_resources.ledger import Decision, Ledger
from factory_resources.records.decisions import ChampionChanged, in_words, newest

#: In place of a version: nobody of the node's own, so that an ancestor answers.
ANCESTOR = "ancestor"


class RollbackRefused(ValueError):
    """There is no champion to go back to, or not the one that was asked for."""


def roll_back(ledger: Ledger, lake: Lake, request: Request, to: str | None = None) -> list[Decision]:
    """Take the node's champion back, for every day that is still to be scored; the decisions appended to the ledger.

    request: its version is the one to be taken back, so that two people who see the same do not go back twice.
    to: the version to answer instead, named as in `models.names.find`, or ANCESTOR; None: whoever answered before it.

    Raises RollbackRefused, saying what there is, and ChampionChanged if somebody else was faster.
    """
    line, node, version = request.line, request.node, request.version
    if not request.complete:
        raise RollbackRefused("a rollback needs somebody who decides it and a reason")
    made = ledger.decisions(line, node)
    if not made:
        nodes = list(ledger.standing(line))
        near = meant(node, nodes) if nodes else meant(line, ledger.lines())
        raise RollbackRefused(
            f"nothing was decided about node {node!r} of line {line!r}; nodes: {', '.join(nodes) or 'none'}{near}"
        )
    line_of_champions = succession(made)
    present, last = line_of_champions[-1], newest(made)
    if version is not None and last and (wanted := _version_meant(ledger, line, node, version)) != present:
        raise ChampionChanged(
            f"{wanted} is not what answers for {node!r}, but {present or 'an ancestor'}: {in_words(last)}"
        )
    target = _target(ledger, line, node, line_of_champions, to)
    others = {other for other in ledger.champions(line) if other != node}
    if target is None and answering(node, others) is None:
        raise RollbackRefused(
            f"nobody would answer for {node!r}: {present} is its first champion, and no ancestor has one"
        )
    days = lake.days(f"{line}/predictions")
    # Where nothing was ever scored, every day is still to be scored.
    scored = days[-1] if days else min(decision.as_of for decision in made)
    back = Decision(line, node, scored, "rollback", present, target, request.why, request.by, request.evidence)
    return ledger.roll_back(back)


def _target(ledger: Ledger, line: str, node: str, line_of_champions: list[str | None], to: str | None) -> str | None:
    if to is None:
        if len(line_of_champions) < 2:
            above = answering(node, ledger.champions(line))
            helps = f"roll back {above}, which answers for it" if above else "nobody answers for it"
            raise RollbackRefused(f"{node!r} has no champion of its own: {helps}")
        return line_of_champions[-2]
    present = line_of_champions[-1]
    target = None if to == ANCESTOR else _version_meant(ledger, line, node, to)
    if target == present:
        raise RollbackRefused(f"{target or 'an ancestor'} answers for {node!r} already")
    return target


def _version_meant(ledger: Ledger, line: str, node: str, named: str) -> str:
    try:
        return find(ledger, named, line, node).version
    except LookupError as error:
        raise RollbackRefused(str(error)) from None
