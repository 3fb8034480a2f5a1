"""Which challengers passed the gate and wait for a person, and how does a person let one of them answer?"""

import datetime as dt

from factory_assets.models.names import find
from factory_assets.release.request import Request
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger
from factory_resources.records.decisions import WAITS, Decision, Standing, in_words, newest


class ApprovalRefused(ValueError):
    """No challenger waits for approval, or another one than was approved."""


def waiting(ledger: Ledger, line: str) -> dict[str, Standing]:
    """Node -> how it stands, of those whose challenger waits by the gate's decision and nothing was decided after."""
    return {node: stands for node, stands in ledger.standing(line).items() if stands.waits}


def approve(ledger: Ledger, lake: Lake, request: Request) -> Decision:
    """Let the challenger that waits answer for the node, for every day that is still to be scored.

    Raises ApprovalRefused, saying what waits, and ChampionChanged if something else was decided meanwhile.
    """
    line, node, version = request.line, request.node, request.version
    if not request.complete:
        raise ApprovalRefused("an approval needs somebody who gives it and a reason")
    last = newest(ledger.decisions(line, node))
    if last is None or not last.evidence.get(WAITS):
        others = ", ".join(f"{each} ({stands.version})" for each, stands in waiting(ledger, line).items()) or "none"
        decided = f"; {in_words(last)}" if last else ""
        raise ApprovalRefused(f"no challenger of {node!r} waits for approval{decided}. Waiting in {line}: {others}")
    challenger = str(last.version)
    if version is not None and not any(
        _means(ledger, line, node, version, each) for each in {challenger, last.released}
    ):
        raise ApprovalRefused(f"{version!r} does not wait for approval at {node!r}; {challenger} does")
    scored = lake.days(f"{line}/predictions")
    # Days that were scored keep who scored them.
    as_of = max([last.as_of, *scored[-1:]], default=dt.date.min)
    evidence = {name: kept for name, kept in last.evidence.items() if name != WAITS} | request.evidence
    approval = Decision(line, node, as_of, "approve", challenger, last.released, request.why, request.by, evidence)
    ledger.decide(approval, against=last.champion)
    return approval


def _means(ledger: Ledger, line: str, node: str, version: str, challenger: str | None) -> bool:
    if challenger is not None and challenger.startswith(version):
        return True
    try:
        return find(ledger, version, line, node).version == challenger
    except LookupError:
        return False
