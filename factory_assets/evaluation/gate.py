"""Who answers for a node? A floor, and strict improvement over who would answer otherwise, on the same rows.

A node has a model of its own only while that is better than what its parent offers. So its present champion is judged
first, against whoever answers for the parent by now, and steps down where that one is better; then the challenger,
against the one of the two that is left. Whoever is in place stays unless something is strictly better: equal values
change nothing, and what cannot be measured on the rows is no reason to step down.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from factory_assets.measures.metrics import METRICS, better

Verdict = Literal["promote", "keep", "fallback"]


@dataclass(frozen=True)
class Ruling:
    """promote: the challenger becomes champion. keep: the node's champion goes on. fallback: the node above answers."""

    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class Contest:
    """Metrics of everyone who could answer for a node, on one set of rows; None who does not exist.

    parent: the champion that answers for the node above after that one's own ruling.
    champion: the version that the node holds now. challenger: the version trained for it.
    An absent metric could not be measured on the rows.
    """

    naive: Mapping[str, float]
    parent: Mapping[str, float] | None
    champion: Mapping[str, float] | None
    challenger: Mapping[str, float] | None


def standing(metric: str, contest: Contest, above: str | None) -> Ruling:
    """keep where the node's champion goes on as far as its parent is concerned, else fallback; challenger or not.

    above: the node whose champion is the parent. The reason is empty where there is nothing to say.
    """
    own, parent = contest.champion, contest.parent
    if own is None:
        return Ruling("fallback", "")
    if parent is None or metric not in own or metric not in parent or not better(metric, parent[metric], own[metric]):
        return Ruling("keep", "")
    told = f"{metric} {own[metric]:.4g}, {parent[metric]:.4g} of the champion of {above}"
    return Ruling("fallback", f"the champion steps down: {told}")


def rule(metric: str, floor: float | None, contest: Contest, above: str | None) -> Ruling:
    """What becomes of a node; `above` as in standing."""
    otherwise = standing(metric, contest, above)
    if contest.challenger is None:
        return Ruling(otherwise.verdict, "; ".join(filter(None, (otherwise.reason, "no challenger"))))
    incumbent, name = contest.parent, f"the champion of {above}"
    if otherwise.verdict == "keep":
        incumbent, name = contest.champion, "the champion"
    ruling = judge(metric, floor, contest.challenger, incumbent or {}, contest.naive, name if incumbent else None)
    if ruling.verdict == "promote":
        return ruling
    return Ruling(otherwise.verdict, "; ".join(filter(None, (ruling.reason, otherwise.reason))))


def judge(
    metric: str,
    floor: float | None,
    challenger: Mapping[str, float],
    incumbent: Mapping[str, float],
    naive: Mapping[str, float],
    incumbent_name: str | None,
) -> Ruling:
    """Judge metrics that were measured on one set of rows. An absent metric could not be measured on them.

    incumbent_name: who answers for these rows today, in words; None if nobody does.
    """
    if metric not in challenger:
        return Ruling("keep", f"{metric} cannot be measured on the holdout: too few rows, or only one class")
    value = challenger[metric]
    bound = "at least" if METRICS[metric].greater_is_better else "at most"
    if floor is not None and value != floor and not better(metric, value, floor):
        return Ruling("keep", f"{metric} {value:.4g}, {bound} {floor:.4g} needed")
    if metric in naive and not better(metric, value, naive[metric]):
        return Ruling("keep", f"{metric} {value:.4g}, no better than the naive {naive[metric]:.4g}")
    if metric in incumbent and not better(metric, value, incumbent[metric]):
        return Ruling("keep", f"{metric} {value:.4g}, no better than {incumbent[metric]:.4g} of {incumbent_name}")
    against = (
        f"{incumbent[metric]:.4g} of {incumbent_name}"
        if metric in incumbent
        else f"the naive {naive.get(metric, float('nan')):.4g}"
    )
    return Ruling("promote", f"{metric} {value:.4g}, better than {against}")
