"""Did what the model sees, or says, leave what it was trained on, further than its weeks differ by themselves?

A profile of each column is taken once, from the rows the champion was trained on, and a habit: how far past weeks lay from that
profile (`measures/habits.py`). Later rows are counted into the profile's bins and compared by the population stability
index (PSI): no reference row is read again. A column has drifted when the distance S of its rows, in units of what chance makes
of as many independent rows, exceeds

    b F(1 - a; f, M f),   b = max(1, mean S of M past weeks),   f = max(1, degrees of freedom / b)

for a false alarm rate a. Under no change n m / (n + m) times the PSI of n against m rows is approximately chi-square
(Yurdakul, Statistical Properties of Population Stability Index, Western Michigan University, 2018); rows that are not
independent scatter b times as much, in as many fewer directions (Satterthwaite, 1946; Rao and Scott, JASA 76, 1981); and that b is
itself a mean of M such distances makes their ratio an F. So the limit adapts to the rows at hand and to the column; the fixed
limits in use (0.1, 0.25) alarm on nearly every small sample, and on no small change of a large one.

Where the past reaches back a year, a column has drifted if its rows lie as far from those of a year ago as well: from the weeks
around that day taken together, by the same formula over how far each of these lies from the others. So what comes every year is no
drift; and as an alarm takes one condition more, there are no more false ones.

Nulls are judged by themselves, and where values sway so much that half of the rows could move to new ones and not be found,
values beyond all of the reference are, too; if these have not moved either, there is no verdict. A verdict says what it is
worth: the smallest change that it would have found nine times in ten.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa

from factory_assets.measures.habits import FACTORS, Habit, Part, compared, distance, in_season
from factory_assets.measures.profiles import Numbers, Profile
from factory_assets.measures.tables import LABEL, LEAF, YES
from factory_assets.words import counted

#: Past stretches of time below which there is no verdict, and below which the false alarm rate may be a few times the stated one.
FEWEST, ENOUGH = 4, 8
#: What a verdict says it would have found: columns of the table.
VISIBLE = ("visible_nulls", "visible_new", "visible_change")
#: How often the smallest visible change is found.
POWER = 0.9
#: What a verdict is on: values of a feature, predictions, labels, which segments rows are of, or values that are absent or strange.
Kind = Literal["input", "prediction", "label", "mix", "quality"]
#: Shares among which it is looked for: from one row to all of them, in steps by powers of the number of rows, and then within a step.
COARSE, FINE = np.linspace(1, 0, 14), np.linspace(0, 1, 14)
#: Steps an octave to which rows are rounded, to know what would be visible in them.
STEPS = 16


@dataclass(frozen=True)
class Drift:
    """The change in one column of the current rows.

    part: what the numbers are of: its values, its nulls, or values beyond those of the reference; of a column that has not
        drifted its values.
    statistic: PSI of the part against the reference, in nats. limit: the PSI above which it has drifted.
    p_value: chance of at least this PSI if nothing changed.
    rows: current rows, nulls included. null_share: 0..1, of the current rows. stretches: past ones that the limit is learned from.
    verdict: "stable", "drifted", or "no verdict".
    visible_nulls: smallest share of rows without a value that would have been found nine times in ten; None if none would.
    visible_new: the same of rows with values beyond those of the reference.
    visible_change: the same of a factor on all values, less 1: 0.14 is 14 % more; None of text and codes, or if none up to 10 would.
    reason: one sentence for a person; for a drifted column it names the bin that moved most.
    finding: name that columns share which drifted for one cause, as far as rows tell: the column's own if no other did.
    """

    column: str
    part: Part
    statistic: float
    limit: float
    p_value: float
    rows: int
    null_share: float
    reference_null_share: float
    stretches: int
    verdict: str
    visible_nulls: float | None
    visible_new: float | None
    visible_change: float | None
    reason: str
    finding: str = ""

    def kind(self, features: Collection[str]) -> Kind:
        """What sort of thing the verdict is on. features: those of the model; others are predictions, the label, or the leaf."""
        if self.column == LABEL:
            return "label"
        if self.part != "values":
            return "quality"
        return "input" if self.column in features else "mix" if self.column == LEAF else "prediction"


def drift(
    reference: Profile,
    habit: Habit | None,
    current: pa.Array | pa.ChunkedArray,
    *,
    false_alarm_rate: float = 0.001,
    minimum_effect: float = 0.0,
    minimum_rows: int = 100,
    last: dt.date | None = None,
) -> Drift:
    """Compare current rows with the reference.

    habit: of the column; None where nobody kept one. last: the day with which the current rows end; without it no season is known.
    false_alarm_rate: share of unchanged columns that chance may call drifted, per comparison and part. It holds from 8 past
        stretches on; of 4 to 7, where windows are long, up to ten times as many may be.
    minimum_effect: PSI under which a change is not worth acting on, however certain.
    minimum_rows: fewer rows on either side give no verdict: bins would hold too few for the chi-square limit.
    Raises TypeError where the current rows are text and the reference numbers, or the reverse.

    >>> from factory_assets.measures.profiles import profile
    >>> reference = profile(pa.array(range(1000)), name="amount")
    >>> calm = Habit(8, 8, {"values": 1.0, "nulls": 0.0, "beyond": 0.0})
    >>> drift(reference, calm, pa.array(range(1000))).verdict, drift(reference, calm, pa.array(range(500, 1500))).verdict
    ('stable', 'drifted')
    """
    column = Counted(reference, habit, reference.count(current), false_alarm_rate, last)
    return drifts([column], minimum_effect=minimum_effect, minimum_rows=minimum_rows)[0]


def unjudged(column: str, rows: int, reason: str) -> Drift:
    """No verdict on a column that was compared with nothing."""
    return Drift(column, "values", 0.0, 0.0, 1.0, rows, 0.0, 0.0, 0, "no verdict", None, None, None, reason, column)


@dataclass(frozen=True)
class Counted:
    """A column whose current rows were counted into the reference's bins. now: counts as `Profile.count` gives them.

    false_alarm_rate: see `drift`. last: the day with which the current rows end; its season is looked up by it.
    """

    reference: Profile
    habit: Habit | None
    now: Numbers
    false_alarm_rate: float = 0.001
    last: dt.date | None = None

    @cached_property
    def bins(self) -> Profile:
        """What distances are made of."""
        return _bins(self.reference)

    @cached_property
    def season(self) -> Counted | None:
        """The same rows beside those of a year ago; None where that is not known."""
        season = self.habit.season if self.habit else None
        weeks = season.of(self.last) if season and self.last else None
        if season is None or weeks is None:
            return None
        return Counted(*in_season(self.reference, weeks, season.factors), self.now, self.false_alarm_rate)

    def looks(self, *parts: Part) -> dict[Part, _Look]:
        """Part -> how far it lies from the reference."""
        return {part: self.look(*_distances(part, [self])) for part in parts}

    def look(self, found: _Found) -> _Look:
        """One part, looked at. found: how far it lies from the reference."""
        excess = self.habit.excess.get(found.part, 1.0) if self.habit else 1.0
        stretches, base = max(self.habit.stretches if self.habit else 0, 1), max(1.0, excess)
        freedom = max(1.0, found.freedom / base)
        return _Look(found, base, stretches, base * _f_limit(self.false_alarm_rate, round(freedom, 6), stretches))


class _Found(NamedTuple):
    """How far one part of one column lies from the reference; see `habits.Distance`. bins: shape (bins,)."""

    part: Part
    bins: Numbers
    psi: float
    excess: float
    freedom: float
    weight: float


class _Look(NamedTuple):
    """One part of a column, looked at. limit: of S, in units of what chance makes of independent rows."""

    found: _Found
    base: float
    stretches: int
    limit: float

    @property
    def freedom(self) -> float:
        return max(1.0, self.found.freedom / self.base)

    def exceeds(self, minimum_effect: float) -> bool:
        """Whether the part lies further away than chance explains, and than is worth to be told."""
        return self.found.excess > self.limit and self.found.psi > minimum_effect

    @property
    def limit_psi(self) -> float:
        return self.limit * max(1.0, self.found.freedom) / max(self.found.weight, 1e-12)

    @property
    def p_value(self) -> float:
        from scipy.special import fdtrc

        if not self.found.freedom:
            return 1.0
        return float(fdtrc(self.freedom, self.stretches * self.freedom, self.found.excess / self.base))


def drifts(columns: Sequence[Counted], *, minimum_effect: float = 0.0, minimum_rows: int = 100) -> list[Drift]:
    """As `drift`, for many columns: distances of all that have as many bins are computed at once."""
    found = {part: _distances(part, columns) for part in ("values", "nulls")}
    return [
        _judged(column, column.look(values), column.look(nulls), minimum_effect, minimum_rows)
        for column, values, nulls in zip(columns, found["values"], found["nulls"], strict=True)
    ]


def _distances(part: Part, columns: Sequence[Counted]) -> list[_Found]:
    """How far a part of each column lies from its reference."""
    alike: dict[tuple[str, int], list[int]] = {}
    for at, column in enumerate(columns):
        alike.setdefault((column.reference.kind, len(column.now)), []).append(at)
    found: dict[int, _Found] = {}
    for places in alike.values():
        some = [columns[at] for at in places]
        before = np.array([[*column.reference.counts, column.reference.nulls] for column in some])
        # Of the reference the kind alone is asked, and they have the same.
        apart = distance(some[0].reference, part, before, np.stack([column.now for column in some]))
        numbers = zip(
            apart.psi.tolist(), apart.excess.tolist(), apart.freedom.tolist(), apart.weight.tolist(), strict=True
        )
        for at, bins, (psi, excess, freedom, weight) in zip(places, apart.bins, numbers, strict=True):
            found[at] = _Found(part, bins, psi, excess, float(freedom), weight)
    return [found[at] for at in range(len(columns))]


def _judged(column: Counted, values: _Look, of_nulls: _Look, minimum_effect: float, minimum_rows: int) -> Drift:
    reference, habit, now = column.reference, column.habit, column.now
    m, n = reference.rows, int(now.sum())
    shown, verdict = values, "no verdict"
    visible = dict.fromkeys(VISIBLE)
    blind = _is_blind(column, values, n, minimum_effect)
    # Where values can be told, bins of their own for what lies beyond the reference tell that as well: a look less to be wrong.
    looks: dict[Part, _Look] = {"values": values, "nulls": of_nulls, **(column.looks("beyond") if blind else {})}
    far = [one for one in looks.values() if one.exceeds(minimum_effect)]
    year_ago = column.season
    seasonal = year_ago.looks(*looks) if year_ago else {}
    moved = [one for one in far if not year_ago or seasonal[one.found.part].exceeds(minimum_effect)]
    if min(n, m) < minimum_rows:
        side = "current" if n < minimum_rows else "reference"
        reason = f"{min(n, m)} {side} rows, fewer than the {minimum_rows} a verdict takes"
    elif habit is None:
        reason = "the champion is of a release that kept no past weeks to compare with; the next one will have them"
    elif habit.stretches < FEWEST or not habit.outside:
        outside = "" if habit.outside else ", none with days that the champion has not learnt from"
        reason = f"{counted(habit.stretches, 'past week')} to compare with{outside}; a verdict takes {FEWEST}"
    elif moved:
        shown = max(moved, key=lambda one: one.found.excess / one.limit)
        verdict, reason = "drifted", _moved(reference, shown, now)
        if year_ago:
            then = seasonal[shown.found.part]
            reason += f"; a year ago it was not so: PSI {then.found.psi:.3g} over {then.limit_psi:.3g}"
    elif not reference.comparable:
        reason = "the reference holds too few rows of each level, or too many levels, to compare"
    elif blind or (year_ago and _is_blind(year_ago, seasonal["values"], n, minimum_effect)):
        base = max(each.base for each in (values, *([seasonal["values"]] if year_ago else [])))
        reason = (
            f"past weeks differ by themselves, {base:.3g} times as much as chance explains: not even half of the rows moving to "
            "new values would show"
        )
    else:
        verdict = "stable"
        visible = _visible(column, values, of_nulls, n, minimum_effect)
        if year_ago:
            visible = _larger(visible, _visible(year_ago, seasonal["values"], seasonal["nulls"], n, minimum_effect))
        if far:
            # It is as far away every year.
            shown = seasonal[far[0].found.part]
        within = max(shown.limit_psi, minimum_effect)
        reason = f"PSI {shown.found.psi:.3g} within {within:.3g}{' of a year ago' if far else ''}; {_worth(visible)}"
    return Drift(
        column=reference.column,
        part=shown.found.part,
        statistic=shown.found.psi,
        limit=max(shown.limit_psi, minimum_effect),
        p_value=shown.p_value,
        rows=n,
        null_share=int(now[-1]) / n if n else 0.0,
        reference_null_share=reference.nulls / m if m else 0.0,
        stretches=habit.stretches if habit else 0,
        verdict=verdict,
        **visible,
        reason=reason,
        finding=reference.column,
    )


def _is_blind(column: Counted, values: _Look, n: int, minimum_effect: float) -> bool:
    """Whether half of n rows could move to new values and not be found. values: how far they lie from the reference."""
    rate = column.false_alarm_rate
    return _blind(column.bins, _fewer(n), values.base, values.stretches, rate, minimum_effect)


def _visible(column: Counted, values: _Look, of_nulls: _Look, n: int, minimum_effect: float) -> dict[str, float | None]:
    """What would be found nine times in ten, in n rows, by name of the columns that tell it."""
    assert column.habit
    is_label = column.reference.column == LABEL
    return {
        # What has no label is no row of labels.
        "visible_nulls": None if is_label else _visible_share(column.bins, of_nulls, n, minimum_effect),
        "visible_new": _visible_share(column.bins, values, n, minimum_effect),
        "visible_change": _from_here(column, _visible_change(column.habit, values, minimum_effect)),
    }


def _larger(one: Mapping[str, float | None], other: Mapping[str, float | None]) -> dict[str, float | None]:
    """What shows in both looks: the larger change, None where either shows none."""
    pairs = {name: (one[name], other[name]) for name in VISIBLE}
    return {name: None if a is None or b is None else max(a, b) for name, (a, b) in pairs.items()}


def _moved(reference: Profile, look: _Look, now: Numbers) -> str:
    """The PSI, its limit, and the bin that moved most."""
    part = look.found.part
    before, now = compared(reference, part, np.array([*reference.counts, reference.nulls]), now)
    worst = int(np.argmax(look.found.bins)) if part == "values" else 1
    names = {"nulls": "no value", "beyond": "values beyond those of the reference"}
    name = names.get(part) or reference.bins()[worst]
    was, is_now = (100 * rows[worst] / max(rows.sum(), 1) for rows in (before, now))
    return (
        f"PSI {look.found.psi:.3g} over {look.limit_psi:.3g}; {name}: {was:.3g} % of the reference, {is_now:.3g} % now"
    )


@lru_cache(maxsize=65536)
def _bins(reference: Profile) -> Profile:
    """Kind and counts alone: of two columns with the same the same is visible, and each day asks for the same one."""
    return Profile("", reference.kind, counts=reference.counts, nulls=reference.nulls)


def _fewer(n: int) -> int:
    """Rows, rounded down by up to 4 %: neighbouring days, and nodes of about one size, ask once what could be seen in them."""
    return int(2 ** (math.floor(STEPS * math.log2(n)) / STEPS)) if n else 0


@lru_cache(maxsize=65536)
def _blind(reference: Profile, n: int, base: float, stretches: int, rate: float, minimum_effect: float) -> bool:
    """Whether half of n rows could move to a new value, and the column would not be found to have drifted."""
    before = np.array([*reference.counts, 0])
    if reference.kind == "empty" or not n:
        return False
    half = before * (n / 2 / before.sum())
    half[-2] += n / 2
    found = distance(reference, "values", before, half)
    limit = base * _f_limit(rate, round(max(1.0, float(found.freedom) / base), 6), stretches)
    return bool(float(found.excess) <= limit or float(found.psi) <= minimum_effect)


def _visible_share(reference: Profile, look: _Look, n: int, minimum_effect: float) -> float | None:
    """The smallest share of nulls, or of values that the reference lacks, that would be found nine times in ten, in n rows."""
    return _visible_in(reference, look.found.part, _fewer(n), look.base, look.limit, minimum_effect)


@lru_cache(maxsize=65536)
def _visible_in(
    reference: Profile, part: Part, n: int, base: float, limit: float, minimum_effect: float
) -> float | None:
    before = np.array([*reference.counts, reference.nulls])
    place = -1 if part == "nulls" else -2
    usual = before[place] / max(before.sum(), 1)
    others = before.astype(float)
    others[place] = 0
    others *= n / max(others.sum(), 1)

    def seen(shares: Numbers) -> Numbers:
        # So few are found in one sample of ten: the share sways by more than independent rows' would.
        low = np.clip(shares - _normal(POWER) * np.sqrt(base * shares * (1 - shares) / n), 0, 1)
        now = (1 - low)[:, None] * others
        now[:, place] = n * low
        found = distance(reference, part, np.broadcast_to(before, now.shape), now)
        # The other bins sway too.
        others_sway = base * (found.freedom - 1) / np.maximum(found.freedom, 1)
        return (found.excess + others_sway > limit) & (found.psi > minimum_effect) & (low > usual)

    steps = usual + (1 - usual) * max(n, 2) ** -COARSE
    first = int(np.argmax(found := seen(steps)))
    if not found[first]:
        return None
    finer = steps[max(first - 1, 0)] + FINE * (steps[first] - steps[max(first - 1, 0)])
    return float(finer[int(np.argmax(seen(finer)))])


def _visible_change(habit: Habit, look: _Look, minimum_effect: float) -> float | None:
    """The smallest factor on a number's values that would be found nine times in ten, less 1."""
    if not habit.factors or not look.found.freedom:
        return None
    freedom, weight = look.found.freedom, look.found.weight
    needed = _noncentral(look.limit / look.base, look.freedom) * freedom * look.base / (look.freedom * weight)
    away = _away(habit.factors)
    if away[-1] < (needed := math.log(max(needed, minimum_effect, 1e-12))):
        return None
    return math.exp(float(np.interp(needed, away, _LOG_FACTORS))) - 1


def _from_here(column: Counted, change: float | None) -> float | None:
    """A change of the reference's values as one of the current rows': where these lie lower already, it takes so much more.

    None where nothing is left that could be so many times as much.
    """
    if change is None:
        return None
    was, is_now = (_level(column.reference, counts) for counts in (np.array(column.reference.counts), column.now[:-1]))
    if was and not is_now:
        return None
    lower = was / is_now if was * is_now > 0 else 1.0
    return (1 + change) * max(lower, 1.0) - 1


def _level(reference: Profile, counts: Numbers) -> float:
    """What a change multiplies: the median of a number's values, as far as bins tell it, or the share of yes among labels."""
    upto = np.concatenate([[0.0], np.cumsum(counts)])
    if not upto[-1]:
        return 0.0
    if reference.kind == "text":
        return float(counts[reference.levels.index(YES)] / upto[-1])
    edges = np.array([reference.edges[0], *reference.edges, reference.edges[-1]])
    return float(np.interp(upto[-1] / 2, upto, edges))


_LOG_FACTORS = np.log(FACTORS)


@lru_cache(maxsize=4096)
def _away(factors: tuple[float, ...]) -> Numbers:
    """Logarithms of the PSI that each of FACTORS is seen by, with all larger ones.

    A factor may put values on others, and be seen less than a smaller one: from the one that is asked for on, all are seen.
    """
    away: Numbers = np.minimum.accumulate(np.array(factors)[::-1])[::-1]
    return np.log(np.maximum(away, 1e-12))


def _worth(visible: Mapping[str, float | None]) -> str:
    """What a stable verdict is worth, in words."""
    more, new, missing = (visible[name] for name in ("visible_change", "visible_new", "visible_nulls"))
    changes = [] if more is None else [f"{more:.0%} more"]
    changes += [f"{100 * new:.2g}% of the rows with new values"] if more is None and new is not None else []
    changes += [] if missing is None else [f"{100 * missing:.2g}% of the rows missing"]
    return f"{' or '.join(changes)} would have shown" if changes else "no change would have shown for sure"


@lru_cache(maxsize=65536)
def _f_limit(rate: float, freedom: float, stretches: int) -> float:
    from scipy.special import fdtri

    return float(fdtri(freedom, stretches * freedom, 1 - rate))


@lru_cache(maxsize=65536)
def _noncentral(limit: float, freedom: float) -> float:
    """The noncentrality with which chi-square by its degrees of freedom exceeds the limit nine times in ten."""
    from scipy.special import chndtrinc

    return float(chndtrinc(limit * freedom, freedom, 1 - POWER))


def _normal(share: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(share))
