"""What is decided about a node, and which decision counts? The rules by which `Ledger` reads and extends the history."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import sqlalchemy as sa

from factory_resources.people import with_claim
from factory_resources.records.tables import DECISIONS

Verdict = Literal["promote", "keep", "fallback", "undecided", "rollback", "approve"]
#: The challenger stays one: the next training looks at it again.
UNDECIDED: Verdict = "undecided"
#: What people decide, on days of their own: a training decides the rest.
BY_PEOPLE: tuple[Verdict, ...] = ("rollback", "approve")
#: In place of a champion: the decision was judged against nobody in particular.
ANYONE = "*"
#: In the evidence of the gate's decision: the challenger passed, and waits for approval.
WAITS = "waits_for_approval"
#: In the evidence of a person's decision: the name under which it was asked for, which nobody has checked.
CLAIM = "claimed_by"
#: In the evidence of a decision: under `version` the refit that answers once the challenger is released, in its place.
REFIT = "refit"
#: In the evidence of a training's decision: the hash of the contract that the training was made under.
CONTRACT = "contract"


class ChampionChanged(RuntimeError):
    """A decision comes too late: it was made about a champion that is no longer the one, or on a version taken back."""


@dataclass(frozen=True)
class Decision:
    """What became of a node on a day.

    version: the challenger that was considered, None if nothing was trained; of a rollback the version taken back.
    champion: the version that answers for the node from the day after `as_of`, None if an ancestor does; a promotion
    makes its version champion, or the refit of that.
    """

    line: str
    node: str
    as_of: dt.date
    verdict: Verdict
    version: str | None
    champion: str | None
    reason: str
    decided_by: str
    evidence: dict[str, Any]
    decided_at: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))

    @property
    def released(self) -> str | None:
        """The version that answers where the considered one passed: its refit, if it has one."""
        return self.evidence.get(REFIT, {}).get("version", self.version)

    @property
    def who(self) -> str:
        """Who decided it, and beside it the name that was only claimed, as `people.with_claim` writes it."""
        return with_claim(self.decided_by, self.evidence.get(CLAIM) or "")


@dataclass(frozen=True)
class Standing:
    """Where a node stands by all that was decided on it.

    From decided_as_of to decided_at: its last decision, by day and then by when it was made, which is the node's decision
    number `sequence`, from 1. waits: its challenger passed and waits for approval. trained_as_of: the newest day as of which
    a training was decided on, None if none was; contract: the hash of what that training was made under, None where nobody
    noted it. changed_as_of: the day as of which the champion last became another, or none; None if there never was one.
    """

    line: str
    node: str
    sequence: int
    decided_as_of: dt.date
    verdict: Verdict
    version: str | None
    champion: str | None
    reason: str
    decided_by: str
    decided_at: dt.datetime
    waits: bool
    trained_as_of: dt.date | None
    contract: str | None
    changed_as_of: dt.date | None


def in_words(decision: Decision) -> str:
    """What was decided, by whom, when and why: a sentence."""
    is_refit = decision.released != decision.version
    released = f"{decision.champion}, a refit of {decision.version}," if is_refit else decision.version
    done = {
        "promote": f"{released} was promoted",
        "keep": f"{decision.champion or 'nobody'} was kept",
        "fallback": f"{decision.champion or 'an ancestor'} was left to answer",
        "undecided": f"{decision.version} was left undecided, and {decision.champion or 'an ancestor'} to answer",
        "approve": f"{released} was approved",
        "rollback": f"{decision.version} was rolled back to {decision.champion or 'an ancestor'}",
    }
    when = f"{decision.decided_at.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
    return f"{done[decision.verdict]} by {decision.decided_by} at {when}: {decision.reason}"


def check_verdict(decision: Decision, *allowed: Verdict) -> None:
    """Raises ValueError where the verdict is none of these, or contradicts version and champion."""
    verdict, version, champion = decision.verdict, decision.version, decision.champion
    if verdict not in allowed:
        raise ValueError(f"Decision.verdict is {verdict!r}, not one of {', '.join(allowed)}")
    if verdict in ("promote", "approve") and (version is None or champion != decision.released):
        raise ValueError(f"Decision is to {verdict} {version!r} but names {champion!r} champion: make them one")
    if verdict == "rollback" and champion == version:
        raise ValueError(f"{champion or 'an ancestor'} answers for {decision.node!r} already")


def known(decisions: sa.Select[Any], before: dt.date | None, at: dt.datetime | None) -> sa.Select[Any]:
    """Decisions of earlier days than `before`, made up to the moment `at`; None sets no limit."""
    if at is not None and at.tzinfo is None:
        raise ValueError(f"the moment {at!r} has no time zone: give it one, such as UTC")
    found = decisions if before is None else decisions.where(DECISIONS.c.as_of < before)
    return found if at is None else found.where(DECISIONS.c.decided_at <= at)


def found_by(challenger: str | None, as_of: dt.date, decision: Decision) -> bool:
    """Whether a challenger of this day finds the decision made: one of earlier days, or of its own day on others.

    Of what was decided on itself only what people decided counts.
    """
    if decision.as_of == as_of:
        return decision.verdict in BY_PEOPLE or decision.version != challenger
    return decision.as_of < as_of


def newest(decisions: Sequence[Decision]) -> Decision | None:
    """Of decisions about one node, in the order they were made, the one that counts."""
    return sorted(decisions, key=lambda decision: decision.as_of)[-1] if decisions else None


def last_training(decisions: Sequence[Decision]) -> Decision | None:
    """The newest of decisions about one node that a training led to, in the order they were made."""
    return newest([decision for decision in decisions if decision.verdict not in BY_PEOPLE])


def stands(decisions: Sequence[Decision], contract: str | None) -> Standing:
    """Where a node stands by decisions on it, all of them, in the order they were made.

    contract: that of the last training.
    """
    in_order = sorted(enumerate(decisions, start=1), key=lambda numbered: numbered[1].as_of)
    sequence, last = in_order[-1]
    trained, champion, changed = last_training(decisions), None, None
    for _, decision in in_order:
        if decision.champion != champion:
            champion, changed = decision.champion, decision.as_of
    return Standing(
        line=last.line,
        node=last.node,
        sequence=sequence,
        decided_as_of=last.as_of,
        verdict=last.verdict,
        version=last.version,
        champion=last.champion,
        reason=last.reason,
        decided_by=last.decided_by,
        decided_at=last.decided_at,
        waits=last.evidence.get(WAITS) is True,
        trained_as_of=trained.as_of if trained else None,
        contract=contract,
        changed_as_of=changed,
    )


def champion_after(decisions: Sequence[Decision], day: dt.date) -> str | None:
    """The node's own champion on the morning after a day, by decisions in the order they were made."""
    last = newest([decision for decision in decisions if decision.as_of <= day])
    return last.champion if last else None


def require_champion(against: str | None, newest_decision: Decision | None, decision: Decision) -> None:
    champion = newest_decision.champion if newest_decision else None
    if against != champion:
        since = f": {in_words(newest_decision)}" if newest_decision else ""
        raise ChampionChanged(
            f"{decision.verdict} of {decision.version} for {decision.node!r}: it was decided against "
            f"{against or 'no champion'}, but {champion or 'none'} is champion now{since}"
        )


def withdrawn(
    decisions: Sequence[Decision], judged: Mapping[str, str] = MappingProxyType({})
) -> dict[tuple[str, str], Decision]:
    """(node, version) -> the rollback that took the version back, by decisions in the order they were made.

    judged: refit -> the version that was judged, which is taken back with it: it would come back by another refit.
    """
    taken_back: dict[tuple[str, str], Decision] = {}
    for decision in decisions:
        if decision.verdict == "rollback":
            for version in filter(None, (decision.version, judged.get(str(decision.version)))):
                taken_back[decision.node, version] = decision
            for version in filter(None, (decision.champion, judged.get(str(decision.champion)))):
                taken_back.pop((decision.node, version), None)
    return taken_back


def require_not_withdrawn(decision: Decision, made: Sequence[Decision]) -> None:
    taken_back = withdrawn(made)
    for version in dict.fromkeys((decision.version, decision.champion)):
        if rollback := taken_back.get((decision.node, str(version))):
            raise ChampionChanged(f"{version} cannot be promoted: {in_words(rollback)}")
