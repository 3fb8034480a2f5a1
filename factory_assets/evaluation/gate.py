"""May this challenger become champion? A floor, and strict improvement over what it would replace, on the same rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from factory_assets.measures.metrics import METRICS, better

Verdict = Literal["promote", "keep", "fallback"]


@dataclass(frozen=True)
class Ruling:
    """promote: the challenger becomes champion. keep: whoever answers now goes on. fallback: there is no challenger."""

    verdict: Verdict
    reason: str


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
