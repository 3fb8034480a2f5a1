"""Who answers for a node? A floor, and improvement beyond chance over a naive guess and over who would answer otherwise.

A node has a model of its own only while that is better than what its parent offers. So its present champion is judged
first, against whoever answers for the parent by now, and steps down where that one is better; then the challenger,
against the better of the two. Whoever is in place stays unless something is better as surely as the gate
asks: luck changes nothing, and what cannot be measured on the rows is no reason to step down.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from factory_assets.declarations.line import Gate
from factory_assets.measures.metrics import METRICS, better

#: The certainty with which any better value is better.
ANY = 0.5

GateVerdict = Literal["promote", "keep", "fallback"]


@dataclass(frozen=True)
class Ruling:
    """promote: the challenger becomes champion. keep: the node's champion goes on. fallback: the node above answers.

    waits: the challenger passed, and waits for somebody to approve it.
    """

    verdict: GateVerdict
    reason: str
    waits: bool = False


@dataclass(frozen=True)
class Contest:
    """Metrics of everyone who could answer for a node, on one set of rows; None who does not exist.

    parent: the champion that answers for the node above after that one's own ruling.
    champion: the version that the node holds now. challenger: the version trained for it.
    An absent metric could not be measured on the rows.
    certainty: champion -> how sure it is, from 0 to 1, that it is better than the parent; challenger -> better than
    its rival; naive -> that the challenger is better than the naive guess. Absent where the rows cannot say.
    """

    naive: Mapping[str, float]
    parent: Mapping[str, float] | None
    champion: Mapping[str, float] | None
    challenger: Mapping[str, float] | None
    certainty: Mapping[str, float] = field(default_factory=dict)


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
    comparison = f"{metric} {champion[metric]:.4g}, {parent[metric]:.4g} of the champion of {above}"
    certainty = contest.certainty.get("champion")
    sure = None if certainty is None else 1 - certainty
    if not _sure_enough(gate, sure):
        return Ruling("keep", f"the champion stays: {comparison}, {_how_sure(gate, sure)}")
    return Ruling("fallback", f"the champion steps down: {comparison}")


def rule(metric: str, gate: Gate, contest: Contest, above: str | None) -> Ruling:
    """Who answers for a node from now on; `above` as in standing."""
    otherwise = standing(metric, gate, contest, above)
    if contest.challenger is None:
        return Ruling(otherwise.verdict, "; ".join(filter(None, (otherwise.reason, "no challenger"))))
    incumbent = Rival(f"the champion of {above}", contest.parent or {})
    if rival(metric, contest) == "champion":
        incumbent = Rival("the champion", contest.champion or {})
    naive = Rival("the naive guess", contest.naive)
    ruling = judge(metric, gate, contest.challenger, incumbent, naive, contest.certainty)
    passed = ruling.verdict == "promote"
    if passed and not gate.approval:
        return ruling
    reason = f"{ruling.reason}; waits for approval" if passed else ruling.reason
    return Ruling(otherwise.verdict, "; ".join(filter(None, (reason, otherwise.reason))), waits=passed)


def judge(
    metric: str,
    gate: Gate,
    challenger: Mapping[str, float],
    incumbent: Rival,
    naive: Rival,
    certainty: Mapping[str, float] = MappingProxyType({}),
) -> Ruling:
    """Judge metrics that were measured on one set of rows. An absent metric could not be measured on them.

    Most rankings by pure chance have a better average precision than the naive guess has, so that a better value alone says
    nothing against that one either. certainty: as of a contest.
    """
    if metric not in challenger:
        return Ruling("keep", f"{metric} cannot be measured on the holdout: too few rows, or only one class")
    value = challenger[metric]
    bound = "at least" if METRICS[metric].greater_is_better else "at most"
    if gate.floor is not None and value != gate.floor and not better(metric, value, gate.floor):
        return Ruling("keep", f"{metric} {value:.4g}, {bound} {gate.floor:.4g} needed")
    ruling = Ruling("promote", f"{metric} {value:.4g}")
    for rival, sure in ((naive, certainty.get("naive")), (incumbent, certainty.get("challenger"))):
        if metric not in rival.metrics:
            continue
        against = f"{rival.metrics[metric]:.4g} of {rival.name}"
        if not better(metric, value, rival.metrics[metric]):
            return Ruling("keep", f"{metric} {value:.4g}, no better than {against}")
        comparison = f"{metric} {value:.4g}, better than {against}"
        if not _sure_enough(gate, sure):
            return Ruling("keep", f"{comparison}, {_how_sure(gate, sure)}")
        ruling = Ruling("promote", comparison if sure is None else f"{comparison} with a certainty of {sure:.2f}")
    return ruling


def _sure_enough(gate: Gate, sure: float | None) -> bool:
    return gate.certainty <= ANY or (sure is not None and sure >= gate.certainty)


def _how_sure(gate: Gate, sure: float | None) -> str:
    if sure is None:
        return "but days, or clusters, are too few to tell that from luck"
    return f"but with a certainty of {sure:.2f} only, {gate.certainty:.4g} needed"
