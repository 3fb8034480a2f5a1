"""Who answers for a node? A floor, improvement beyond chance over a naive guess and over who would answer otherwise, and no slice
and no group beyond its limit.

A node has a model of its own only while that is better than what its parent offers. So its present champion is judged
first, against whoever answers for the parent by now, and steps down where that one is better; then the challenger,
against the better of the two. Whoever is in place stays unless something is better as surely as the gate
asks: luck changes nothing, and what cannot be measured on the rows is no reason to step down. What the rows leave open is
looked at again with more of them, where the gate has the patience.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from types import MappingProxyType
from typing import Literal

from factory_assets.declarations.line import ANY, Gate
from factory_assets.evaluation.limits import LABELLED, USUALLY, Measured, beyond
from factory_assets.measures.metrics import METRICS, better
from factory_assets.words import counted, figure, listed

#: Limits that a reason names.
MOST = 3

GateVerdict = Literal["promote", "keep", "fallback", "undecided"]


@dataclass(frozen=True)
class Look:
    """One look at a challenger.

    certainty: how sure it must be to be better, in this look. days: how many its holdout has by now. lasting: how many more it may
    have in later looks; 0: this is the last. at_last: how sure it would have to be if one more look had all the luck that is left.
    alone: how sure if this were the only look; as the gate says where it is None. among: how many nodes contest in its training, where
    so many are the reason that it must be surer than the gate says.
    """

    certainty: float
    days: int = 0
    lasting: int = 0
    at_last: float = 1.0
    alone: float | None = None
    among: int = 0


@dataclass(frozen=True)
class Ruling:
    """promote: the challenger becomes champion. keep: the node's champion goes on. fallback: the node above answers.
    undecided: the challenger is looked at again; until then the champion goes on, or, where it `steps_down`, the node above answers.

    waits: the challenger passed, and waits for somebody to approve it.
    """

    verdict: GateVerdict
    reason: str
    waits: bool = False
    steps_down: bool = False

    @property
    def passed(self) -> bool:
        """Whether the challenger is to answer, at once or once somebody approves it."""
        return self.verdict == "promote" or self.waits

    def champion(self, before: str | None, challenger: str | None) -> str | None:
        """The node's champion after the ruling. before: that until then."""
        if self.verdict == "promote":
            return challenger
        return None if self.verdict == "fallback" or self.steps_down else before


@dataclass(frozen=True)
class Contest:
    """Metrics of everyone who could answer for a node, on one set of rows; None who does not exist.

    parent: the champion that answers for the node above after that one's own ruling.
    champion: the version that the node holds now. challenger: the version trained for it.
    An absent metric could not be measured on the rows.
    certainty: champion -> how sure it is, from 0 to 1, that it is better than the parent; challenger -> better than
    its rival; naive -> that the challenger is better than the naive guess; of each slice, such as "mae of night", that the
    challenger is worse there by no more than it may be. Absent where the rows cannot say.
    unsafe: why the challenger may not be served, however good it is; None where nothing was found, or it was not tried.
    disagreement: the share of the newest day that it would answer otherwise than who answers now; None where nobody does, or it
    was not asked.
    rows: how many there are; None counts as enough.
    """

    naive: Mapping[str, float]
    parent: Mapping[str, float] | None
    champion: Mapping[str, float] | None
    challenger: Mapping[str, float] | None
    certainty: Mapping[str, float] = field(default_factory=dict)
    unsafe: str | None = None
    disagreement: float | None = None
    rows: int | None = None

    def lacks_rows(self, gate: Gate) -> str:
        """Why the rows are too few for a challenger to take over; empty where they are enough."""
        if self.rows is None or self.rows >= gate.rows or gate.certainty <= ANY:
            return ""
        return f"{counted(self.rows, 'row')} in the holdout, {gate.rows} needed"

    @property
    def lacks_labels(self) -> str:
        """That labels of the holdout are missing that should be there; empty where they are not."""
        if LABELLED not in self.certainty:
            return ""
        there, usually = self.certainty[LABELLED], self.certainty[USUALLY]
        return f"{there:.0%} of the holdout's observations have a label so far, of the training days' {usually:.0%}"


@dataclass(frozen=True)
class Rival:
    """Whom a challenger has to beat. name: in words. metrics: on these rows; none where there is nobody."""

    name: str
    metrics: Mapping[str, float]


def rival(metric: str, contest: Contest) -> Literal["champion", "parent"]:
    """Whom a challenger has to beat: the parent where that is better than the champion, or there is no champion."""
    champion, parent = contest.champion, contest.parent
    if champion is None:
        return "parent"
    overtaken = (
        parent is not None
        and metric in champion
        and metric in parent
        and better(metric, parent[metric], champion[metric])
    )
    return "parent" if overtaken else "champion"


def standing(metric: str, gate: Gate, contest: Contest, above: str | None) -> Ruling:
    """Whether the node's champion goes on beside its parent (keep) or steps down (fallback), with a challenger or without.

    above: the node whose champion is the parent. The reason is empty where there is nothing to say.
    """
    champion, parent = contest.champion, contest.parent
    if champion is None:
        return Ruling("fallback", "")
    if parent is None or rival(metric, contest) == "champion":
        return Ruling("keep", "")
    comparison = f"{metric} {figure(champion[metric])}, {figure(parent[metric])} of the champion of {above}"
    certainty = contest.certainty.get("champion")
    sure = None if certainty is None else 1 - certainty
    if not _sure_enough(gate.certainty, gate.certainty, sure):
        return Ruling("keep", f"the champion stays: {comparison}, {_how_sure(gate.certainty, sure)}")
    return Ruling("fallback", f"the champion steps down: {comparison}")


def rule(metric: str, gate: Gate, contest: Contest, above: str | None, look: Look | None = None) -> Ruling:
    """Who answers for a node from now on; `above` as in standing. look: that at the challenger; one alone if absent."""
    if gate.swaps is not None:
        gate, look = _by_swaps(gate, contest, look)
    otherwise = standing(metric, gate, contest, above)
    if contest.challenger is None:
        return Ruling(otherwise.verdict, "; ".join(filter(None, (otherwise.reason, "no challenger"))))
    if contest.champion is None and contest.parent is None:
        # Where nobody answers, nobody can wait: each challenger has one look, and the next training brings another.
        look = look and Look(gate.certainty if look.alone is None else look.alone, among=look.among)
    incumbent = Rival(f"the champion of {above}", contest.parent or {})
    if rival(metric, contest) == "champion":
        incumbent = Rival("the champion", contest.champion or {})
    naive = Rival("the naive guess", contest.naive)
    if lacking := contest.lacks_labels or contest.lacks_rows(gate):
        look = look or Look(gate.certainty)
        ruling = _not_yet(look, lacking, f"{counted(look.lasting, 'more day')} may bring them")
    else:
        ruling = judge(metric, gate, contest.challenger, incumbent, naive, contest.certainty, look)
    passed = ruling.verdict == "promote"
    waits = passed and not contest.unsafe
    disagrees = _disagrees(gate, contest) if waits else ""
    if waits and not (gate.approval or disagrees):
        return ruling
    ruling = replace(ruling, reason=f"{ruling.reason}{disagrees}")
    reason = f"{ruling.reason}; waits for approval" if waits else ruling.reason
    if passed and contest.unsafe:
        reason = f"{reason}, but not safe to serve: {contest.unsafe}"
    reason = "; ".join(filter(None, (reason, otherwise.reason)))
    if ruling.verdict == "undecided":
        return Ruling("undecided", reason, steps_down=otherwise.verdict == "fallback")
    return Ruling(otherwise.verdict, reason, waits=waits)


def _by_swaps(gate: Gate, contest: Contest, look: Look | None) -> tuple[Gate, Look | None]:
    """The gate and the look where all that luck changes at a node counts: its champion may step down by luck, too, so that each of the
    two has half of what luck may.
    """
    sure = look.certainty if look else gate.certainty
    if contest.champion is not None and contest.parent is not None and sure > ANY:
        sure = 1 - (1 - sure) / 2
    return gate.model_copy(update={"certainty": sure}), look and replace(look, certainty=sure, at_last=sure, alone=sure)


def _disagrees(gate: Gate, contest: Contest) -> str:
    """That the challenger answers more of the newest day otherwise than may go unseen; empty where it does not."""
    share, allowed = contest.disagreement, gate.disagreement
    if share is None or allowed is None or share <= allowed:
        return ""
    return f", but {share:.1%} of the newest day would get another answer than now, {allowed:.1%} at most are declared"


def judge(
    metric: str,
    gate: Gate,
    challenger: Mapping[str, float],
    incumbent: Rival,
    naive: Rival,
    certainty: Mapping[str, float] = MappingProxyType({}),
    look: Look | None = None,
) -> Ruling:
    """Judge metrics that were measured on one set of rows. An absent metric could not be measured on them.

    Most rankings by pure chance have a better average precision than the naive guess has, so that a better value alone says
    nothing against that one either. certainty: as of a contest. look: as of `rule`.
    """
    look = look or Look(gate.certainty)
    if metric not in challenger:
        reason = f"{metric} cannot be measured on the holdout: too few rows, or only one class"
        return _not_yet(look, reason, f"{counted(look.lasting, 'more day')} may tell")
    value = challenger[metric]
    bound = "at least" if METRICS[metric].greater_is_better else "at most"
    if gate.floor is not None and value != gate.floor and not better(metric, value, gate.floor):
        return Ruling("keep", f"{metric} {figure(value)}, {bound} {figure(gate.floor)} needed")
    ruling = Ruling("promote", f"{metric} {figure(value)}")
    for rival, sure in ((naive, certainty.get("naive")), (incumbent, certainty.get("challenger"))):
        if metric not in rival.metrics:
            continue
        against = f"{figure(rival.metrics[metric])} of {rival.name}"
        is_better = better(metric, value, rival.metrics[metric])
        comparison = f"{metric} {figure(value)}, {'better than' if is_better else 'no better than'} {against}"
        if is_better and _sure_enough(gate.certainty, look.certainty, sure):
            if ruling.verdict == "promote":
                ruling = Ruling(
                    "promote", comparison if sure is None else f"{comparison} with a certainty of {sure:.2f}"
                )
            continue
        if is_better:
            comparison = f"{comparison}, {_how_sure(look.certainty, sure)}{_why(look)}"
        # Nobody waits for one that is worse as surely as another would have to be better.
        hopeless = sure is not None and sure <= 1 - gate.certainty
        against_it = Ruling("keep", comparison) if hopeless else _not_yet(look, comparison, _outlook(look, sure))
        if against_it.verdict == "keep":
            return against_it
        ruling = against_it if ruling.verdict == "promote" else ruling
    return _within_limits(
        metric, gate, ruling, Measured(challenger, incumbent.name, incumbent.metrics, certainty), look
    )


def _within_limits(metric: str, gate: Gate, ruling: Ruling, measured: Measured, look: Look) -> Ruling:
    """The ruling on a challenger that nobody is better than, after a look at its slices and groups."""
    luck = (1 - look.certainty) / (1 - gate.certainty)
    if not (found := beyond(metric, gate, measured, luck)):
        return ruling
    if lost := [each.reason for each in found if each.for_sure]:
        return Ruling("keep", f"{ruling.reason}, but {listed(lost, MOST)}")
    if ruling.verdict != "promote":
        return ruling
    reason = f"{ruling.reason}, but {listed([each.reason for each in found], MOST)}"
    return _not_yet(look, reason, f"looked at again for up to {counted(look.lasting, 'more day')}")


def _not_yet(look: Look, reason: str, outlook: str) -> Ruling:
    """Of a challenger that has not shown enough: it is looked at again, or that was the last look."""
    return Ruling("undecided", f"{reason}; {outlook}") if look.lasting else Ruling("keep", reason)


def _outlook(look: Look, sure: float | None) -> str:
    """How many more days it would take to tell, if they are like those so far: what is gained grows with the days, its spread with
    their root.
    """
    left = f"looked at again for up to {counted(look.lasting, 'more day')}"
    if sure is None:
        return left
    normal = NormalDist()
    if sure <= ANY:
        return f"{left}, though none would do if all are like those so far"
    by_now, needed = normal.inv_cdf(min(sure, 1 - 1e-9)), normal.inv_cdf(min(look.at_last, 1 - 1e-9))
    more = max(1, round(look.days * ((needed / by_now) ** 2 - 1)))
    enough = f"about {counted(more, 'day')} would do" if more <= look.lasting else "more than these would be needed"
    return f"{left}; {enough} if all are like those so far"


def _why(look: Look) -> str:
    return f": {counted(look.among, 'node')} contest" if look.among else ""


def _sure_enough(declared: float, needed: float, sure: float | None) -> bool:
    """declared: the gate's certainty. needed: that of the look."""
    return declared <= ANY or (sure is not None and sure >= needed)


def _how_sure(needed: float, sure: float | None) -> str:
    if sure is None:
        return "but days, or clusters, are too few to tell that from luck"
    # 0.998 rounds to 1.00, which would be enough.
    shown = f"{sure:.2f}" if round(sure, 2) < needed else f"{sure:.4f}"
    return f"but with a certainty of {shown} only, {figure(needed)} needed"
