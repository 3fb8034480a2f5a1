"""Which work goes into one run? Assets of the same days and partitions, where nothing decides in between what goes on."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace

from factory_assets.governor.work import Work


def grouped(work: Sequence[Work], unsettled: Mapping[str, set[dt.date]]) -> list[Work]:
    """The same work in fewer runs. unsettled: asset -> its days that are about to change.

    Bad days of a range are held back by verdicts that the plan reads, so work on a range waits for them. On a single day the
    run itself stops at a failed check.
    """
    runs: list[Work] = []
    for each in work:
        place = next((at for at, run in enumerate(runs) if _together(run, each, unsettled)), None)
        if place is None:
            runs.append(each)
        else:
            first = runs[place]
            reasons = (
                first.reason if first.reason == each.reason else f"{first.reason}; {each.assets[0]}: {each.reason}"
            )
            runs[place] = replace(
                first, assets=first.assets + each.assets, reason=reasons, states=first.states + each.states,
                new=first.new and each.new, follows=max(first.follows, each.follows),
            )  # fmt: skip
    return runs


def _together(first: Work, second: Work, unsettled: Mapping[str, set[dt.date]]) -> bool:
    if (first.days, first.span) != (second.days, second.span) or not first.days or first.after:
        return False
    if not second.after:
        return not any(_checked(asset) for asset in (*first.assets, *second.assets)) or len(first.days) == 1
    if not (first.new and second.new):
        return False
    inside = set(second.after) <= set(first.assets)
    settled_else = all(unsettled.get(name, set()) <= set(first.days) for name in second.after)
    return inside and settled_else and (len(first.days) == 1 or not any(map(_gated, second.after)))


def _checked(asset: str) -> bool:
    return asset.endswith(("/raw", "/examples"))


def _gated(asset: str) -> bool:
    """Whether the assets that read this one are held back day by day: by its checks, or because a day of it serves nothing."""
    return asset.endswith(("/raw", "/events", "/examples"))
