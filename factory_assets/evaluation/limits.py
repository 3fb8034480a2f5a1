"""Is a challenger that is good enough on all rows bad on some of them? Its slices and groups, held against their declared limits.

What cannot be measured has not passed, unless that is declared. By its value alone, a challenger that is worse by exactly what it may
be passes in half of the tries, and one that is worse by two standard errors more in one of forty; a slice's `certainty` asks for more.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from factory_assets.declarations.limits import ANY, MISCALIBRATED, Groups, Slice
from factory_assets.declarations.line import Gate
from factory_assets.evaluation.parts import DISPARITIES, MOST_GROUPS, RATES, of
from factory_assets.measures.metrics import METRICS, better, improvement
from factory_assets.words import counted, figure, listed

#: What is recorded beside the certainty of a challenger: how far off it is; how sure it is that this is beyond the limit; and how far
#: off whoever would answer otherwise is on the same rows, or the naive guess where nobody does.
OFF, BEYOND, OF_RIVAL = "calibration", "calibration_beyond", "calibration_of_rival"
#: Likewise where labels are missing: the share of the holdout's examples that has one, and of the training days' examples.
LABELLED, USUALLY = "labels", "labels_usually"
#: How sure it must be that a challenger is badly calibrated: one that is at its limit is kept out in one of
#: twenty tries, and hardly ever one whose predictions mean what they say.
SURE = 0.95
#: What a rate of a group is a share of.
COUNTED = ("rows", "positives", "negatives")
#: Groups that a reason names.
SHOWN = 3


@dataclass(frozen=True)
class Beyond:
    """A limit that a challenger does not keep. part: the slice, or the column of the groups. reason: in words.

    for_sure: whether it is worse as surely as another would have to be better.
    """

    part: str
    reason: str
    for_sure: bool = False


@dataclass(frozen=True)
class Measured:
    """What was measured of the challenger, and of whom it has to beat (rival: in words), with their metrics; of nobody, none.

    certainty: of each slice, such as "mae of night", how sure it is that the challenger is worse by no more than it may be.
    """

    challenger: Mapping[str, float]
    rival: str
    rivals: Mapping[str, float]
    certainty: Mapping[str, float]


def beyond(metric: str, gate: Gate, measured: Measured, luck: float = 1.0) -> list[Beyond]:
    """The limits of calibration, slices and groups that are not kept, in the order in which they are declared.

    luck: the share of the luck that a gate allows which this look may use.
    """
    found = [_of_calibration(gate, measured)]
    found += [_of_slice(metric, gate, name, each, measured, luck) for name, each in gate.slices.items()]
    of_groups = (_of_groups(column, each, measured) for column, each in gate.groups.items())
    return [*filter(None, found), *(each for column in of_groups for each in column)]


def _of_calibration(gate: Gate, measured: Measured) -> Beyond | None:
    if measured.certainty.get(BEYOND, 0.0) < SURE:
        return None
    limit = MISCALIBRATED if gate.calibration is None else gate.calibration
    rival = measured.rival if measured.rivals else "the naive guess"
    return Beyond("calibration", _miscalibrated(measured.certainty, limit, rival), for_sure=True)


def _miscalibrated(certainty: Mapping[str, float], limit: float, rival: str) -> str:
    """That a challenger is off beyond the limit. certainty: as of `calibration`. rival: in words."""
    return f"badly calibrated: off by {certainty[OFF]:.2g}, {certainty[OF_RIVAL]:.2g} of {rival}, at most {limit:g} more allowed"


def _of_slice(metric: str, gate: Gate, name: str, declared: Slice, measured: Measured, luck: float) -> Beyond | None:
    own, rows = measured.challenger, int(measured.challenger.get(of("rows", name), 0))
    value, where = own.get(of(metric, name)), f"slice {name}"
    on = f"on {counted(rows, 'row')}"
    if declared.unmeasured == "ignore" and (rows < declared.rows or value is None):
        return None
    if rows < declared.rows:
        return Beyond(name, f"{where} has {counted(rows, 'row')}, {declared.rows} needed")
    if value is None:
        return Beyond(name, f"{metric} of {where} cannot be measured {on}")
    bound = "at least" if METRICS[metric].greater_is_better else "at most"
    if declared.floor is not None and value != declared.floor and not better(metric, value, declared.floor):
        return Beyond(
            name, f"worse in {where}: {metric} {figure(value)}, {bound} {figure(declared.floor)} needed, {on}"
        )
    theirs = measured.rivals.get(of(metric, name))
    if declared.worse is None or theirs is None:
        return None
    comparison = f"{metric} {figure(value)} beside {figure(theirs)} of {measured.rival}"
    sure = measured.certainty.get(of(metric, name))
    if improvement(metric, value, theirs) < -declared.worse:
        hopeless = sure is not None and sure <= 1 - gate.certainty
        return Beyond(name, f"worse in {where}: {comparison}, by more than {figure(declared.worse)}, {on}", hopeless)
    needed = 1 - (1 - declared.certainty) * luck
    if declared.certainty > ANY and (sure is None or sure < needed):
        how = "days, or clusters, are too few to tell" if sure is None else f"{sure:.4f} sure, {needed:.4f} needed"
        return Beyond(name, f"maybe worse in {where}: {comparison}, {figure(declared.worse)} allowed, but {how}, {on}")
    return None


def _of_groups(column: str, declared: Groups, measured: Measured) -> Iterator[Beyond]:
    own = measured.challenger
    number = int(own.get(of("groups", column), 0))
    if not declared.limits:
        return
    if number > MOST_GROUPS:
        yield Beyond(column, f"groups of {column} cannot be compared: {number} values, {MOST_GROUPS} at most")
        return
    groups = sorted(
        name.removeprefix("rows of ")
        for name in own
        if name.startswith((f"rows of {column}=", f"rows of {column} is null"))
    )
    for case in _cases(column, own):
        # Of a number there is no yes.
        small = {
            counting: [
                group for group in groups if own.get(of(_named(counting, case), group), math.inf) < declared.rows
            ]
            for counting in COUNTED
        }
        if declared.unmeasured == "keep":
            yield from _unmeasured(column, declared, own, small, case)
        for name, limit in declared.limits.items():
            recorded, measure = DISPARITIES[name]
            value = own.get(of(recorded + case, column))
            left_out = small[RATES.get(measure, "rows")]
            if value is None or (left_out and declared.unmeasured == "keep"):
                continue
            least = name == "selection"
            if (value < limit) if least else (value > limit):
                values = {group: own[of(measure + case, group)] for group in groups if group not in left_out}
                low, high = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
                theirs = measured.rivals.get(of(recorded + case, column))
                beside = f" ({figure(theirs)} of {measured.rival})" if theirs is not None else ""
                yield Beyond(
                    column,
                    f"groups of {column} differ: {_words(recorded, case)} {figure(value)}, "
                    f"{'at least' if least else 'at most'} {figure(limit)} allowed{beside}; "
                    f"{_words(measure, case)} {figure(values[low])} of {low}, {figure(values[high])} of {high}",
                )


def _cases(column: str, own: Mapping[str, float]) -> list[str]:
    """How names of measures end that are compared: with each class, where there are several."""
    found = [name.partition(" of ")[0].removeprefix("positives") for name in own if name.startswith("positives_")]
    return list(dict.fromkeys(found)) or [""]


def _named(counting: str, case: str) -> str:
    return counting if counting == "rows" else counting + case


def _unmeasured(
    column: str, declared: Groups, own: Mapping[str, float], small: Mapping[str, Sequence[str]], case: str
) -> Iterator[Beyond]:
    """Measures with a limit that some group has too few rows for, or that nothing is compared by. small: of what -> which groups."""
    for counting, groups in small.items():
        measures = [name for name in declared.limits if RATES.get(DISPARITIES[name][1], "rows") == counting]
        recorded = [DISPARITIES[name][0] for name in measures]
        absent = [name for name in recorded if groups or of(name + case, column) not in own]
        if absent:
            noun = counting.removesuffix("s")
            few = [f"{group} with {counted(int(own[of(_named(counting, case), group)]), noun)}" for group in groups]
            why = (
                f"{listed(few, SHOWN, 'group')}, {declared.rows} needed"
                if few
                else "no two groups have values to compare"
            )
            names = " and ".join(_words(name, case) for name in absent)
            yield Beyond(column, f"{names} of {column} cannot be measured: {why}")


def _words(measure: str, case: str) -> str:
    return measure.replace("_", " ") + (f" of {case[1:]}" if case else "")
