"""Which challengers passed the gate and wait for a person, and how does a person let one of them answer?"""

import datetime as dt

from factory_assets.references import find
from factory_resources.decisions import Decision, in_words, newest
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger

#: In the evidence of the gate's decision: the challenger passed, and waits for approval.
WAITS = "waits_for_approval"


class ApprovalRefused(ValueError):
    """Nothing waits for approval, or not what was approved."""


def waiting(ledger: Ledger, line: str) -> dict[str, Decision]:
    """Node -> the gate's decision that lets its challenger wait, of those that nothing was decided after."""
    made: dict[str, list[Decision]] = {}
    for decision in ledger.decisions(line):
        made.setdefault(decision.segment, []).append(decision)
    last = {node: newest(decisions) for node, decisions in made.items()}
    return {node: decision for node, decision in last.items() if decision and decision.evidence.get(WAITS)}


def approve(
    ledger: Ledger, lake: Lake, line: str, node: str, why: str, by: str, version: str | None = None
) -> Decision:
    """Let the challenger that waits answer for the node, for every day that is still to be scored.

    version: the one that is meant, by the beginning of its id, its UUID or a tag; None: whichever waits.

    Raises ApprovalRefused, saying what waits, and ChampionChanged if something else was decided meanwhile.
    """
    if not why.strip() or not by.strip():
        raise ApprovalRefused("an approval needs somebody who gives it and a reason")
    waits = waiting(ledger, line)
    if node not in waits:
        others = ", ".join(f"{each} ({decision.version})" for each, decision in sorted(waits.items())) or "none"
        last = newest(ledger.decisions(line, node))
        told = f"; {in_words(last)}" if last else ""
        raise ApprovalRefused(f"no challenger of {node!r} waits for approval{told}. Waiting in {line}: {others}")
    found = waits[node]
    challenger = str(found.version)
    if version is not None and not _means(ledger, line, node, version, challenger):
        raise ApprovalRefused(f"{version!r} does not wait for approval at {node!r}; {challenger} does")
    scored = lake.days(f"{line}/predictions")
    # Days that were scored keep who scored them.
    as_of = max([found.as_of, *scored[-1:]], default=dt.date.min)
    evidence = {name: kept for name, kept in found.evidence.items() if name != WAITS}
    approval = Decision(line, node, as_of, "approve", challenger, challenger, why, by, evidence)
    ledger.decide(approval, against=found.champion)
    return approval


def _means(ledger: Ledger, line: str, node: str, version: str, challenger: str) -> bool:
    if challenger.startswith(version):
        return True
    try:
        return find(ledger, version, line, node).version == challenger
    except LookupError:
        return False
