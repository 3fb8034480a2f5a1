"""How far does a column lie from the reference in weeks in which nothing is amiss? Its habit, from which limits are learned.

Rows of one week resemble each other: customers come again, weather lasts, windows of 30 days overlap. So weeks lie further from
the reference than as many independent rows would, each column by a factor of its own, and what a new week may differ by is
read from what past weeks differed by. No label is needed for that, and weeks before and after the training days count as well.

What comes every year is no news. Of the weeks of a year before those in which the model will answer the rows in each bin are kept: a
week far from the reference is held against these as well, its own season.

A column is looked at in three ways, each with a habit of its own: how its values are distributed, how many are absent, and how
many lie beyond all that the reference holds. Nulls that come where none were are seen however much the values sway.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa

from factory_assets.measures.profiles import Numbers, Profile, psi, without_rare_levels

Part = Literal["values", "nulls", "beyond"]
PARTS: tuple[Part, ...] = get_args(Part)
#: Past stretches that are looked at: a quarter of a year of weeks.
MOST = 13
#: A year in whole weeks, so that weekdays meet; of weeks around the day of a year before so many days off count as its season; and of
#: so many days after a model was made there is a season: a quarter of a year.
YEAR, AROUND, AHEAD = 364, 28, 91
#: Stretches of a season below which it is none.
FEWEST_OF_SEASON = 4
#: What a number's values are multiplied by, to know how far away that puts them; and of so many rows at most.
FACTORS = (1.01, 1.02, 1.03, 1.05, 1.07, 1.1, 1.15, 1.2, 1.3, 1.5, 2.0, 3.0, 5.0, 10.0)
FACTOR_ROWS = 50_000


@dataclass(frozen=True)
class Season:
    """Rows in the bins of the reference, of stretches of a year ago.

    ends: the last day of each, newest first. counts: of each its rows, by bins. factors: as of a `Habit`, of all of these rows.
    """

    ends: tuple[dt.date, ...]
    counts: tuple[tuple[int, ...], ...]
    factors: tuple[float, ...] = ()

    def of(self, last: dt.date) -> Numbers | None:
        """Shape (stretches, bins): a year before a stretch that ends on a day, and around it; None where there are too few."""
        before = last - dt.timedelta(days=YEAR)
        near = [each for end, each in zip(self.ends, self.counts, strict=True) if abs((end - before).days) <= AROUND]
        found = np.array([each for each in near if sum(each)])
        return found if len(found) >= FEWEST_OF_SEASON else None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"ends": [str(end) for end in self.ends]}

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Season:
        ends = tuple(map(dt.date.fromisoformat, kept["ends"]))
        return cls(ends, tuple(map(tuple, kept["counts"])), tuple(kept["factors"]))


@dataclass(frozen=True)
class Habit:
    """stretches: past ones, each as long as what is judged. outside: those of them with days that the reference lacks.

    excess: part -> mean over the stretches of their distance from the reference, in units of what as many independent rows would
    lie apart; 1 if rows are independent. factors: PSI between the reference and the same values times each of FACTORS; empty where
    they are no numbers, or mostly one of a few. season: None where the past is shorter than a year.
    """

    stretches: int
    outside: int
    excess: Mapping[str, float]
    factors: tuple[float, ...] = ()
    season: Season | None = None

    def beside(self, other: Habit) -> Habit:
        """The habit over these stretches and others, which were compared with a reference of their own."""
        number = self.stretches + other.stretches
        both: dict[str, float] = {
            part: (self.excess[part] * self.stretches + other.excess[part] * other.stretches) / max(number, 1)
            for part in PARTS
        }
        return replace(
            self, stretches=number, outside=self.outside + other.outside, excess=both if number else self.excess
        )

    def to_dict(self) -> dict[str, Any]:
        plain = {name: value for name, value in asdict(self).items() if name != "season"}
        # Only where there is one, so that the id of a model without stays what it was.
        return plain | ({"season": self.season.to_dict()} if self.season else {})

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Habit:
        season = Season.from_dict(kept["season"]) if "season" in kept else None
        return cls(kept["stretches"], kept["outside"], kept["excess"], tuple(kept["factors"]), season)


@dataclass(frozen=True)
class Stretches:
    """Past stretches of days, back from the last day that was known when a model was made; their length in days.

    >>> week = Stretches(dt.date(2026, 3, 1), dt.date(2026, 3, 20), 7)
    >>> week.number, week.first
    (2, datetime.date(2026, 3, 7))
    """

    from_day: dt.date
    last: dt.date
    length: int
    most: int = MOST

    def until(self, last: dt.date) -> Stretches:
        """As many days each, back from another day."""
        return replace(self, last=last)

    @property
    def season(self) -> Stretches:
        """The stretches that may be a season of days to come: of a year before them, as far as there is one.

        None of stretches that are no whole weeks, whose weekdays would be taken for a season.

        >>> week = Stretches(dt.date(2025, 1, 1), dt.date(2026, 3, 20), 7)
        >>> week.season.number, str(week.season.first), str(week.season.last)
        (21, '2025-02-22', '2025-07-18')
        """
        newest = (YEAR - AHEAD - AROUND) // self.length
        oldest = (YEAR + AROUND - 1) // self.length
        weekly = self.length % 7 == 0
        last = self.last - dt.timedelta(days=newest * self.length)
        return replace(self, last=last, most=oldest - newest + 1 if weekly else 0)

    @property
    def number(self) -> int:
        return max(0, min(self.most, ((self.last - self.from_day).days + 1) // self.length))

    @property
    def ends(self) -> tuple[dt.date, ...]:
        """The last day of each stretch, newest first."""
        return tuple(self.last - dt.timedelta(days=at * self.length) for at in range(self.number))

    @property
    def first(self) -> dt.date:
        """The first day of the first stretch."""
        return self.last - dt.timedelta(days=self.number * self.length - 1)

    def places(self, days: Numbers) -> Numbers:
        """Shape (n,): the number of each day's stretch, 0 the newest; -1 outside of them. days: shape (n,), datetime64."""
        back = (np.datetime64(self.last) - days.astype("datetime64[D]")).astype(np.int64)
        return np.where((back >= 0) & (back < self.number * self.length), back // self.length, -1)

    def counts(self, reference: Profile, values: pa.Array | pa.ChunkedArray, places: Numbers) -> Numbers:
        """Rows of each stretch in the bins of a reference, shape (number, bins). places: shape (n,), the stretch of each value."""
        bins = len(reference.counts) + 1
        inside = places >= 0
        cells = reference.places(values)[inside] + bins * places[inside]
        return np.bincount(cells, minlength=self.number * bins).reshape(self.number, bins)


def season(past: Stretches, reference: Profile, values: pa.Array | pa.ChunkedArray, days: Numbers) -> Season | None:
    """The season of a column, for days after the last of its past; None where that does not reach back so far.

    values: of the season's days, and maybe of others. days: shape (n,), the day of each.
    """
    stretches = past.season
    places = stretches.places(days)
    counts = stretches.counts(reference, values, places)
    if np.count_nonzero(counts.sum(axis=1)) < FEWEST_OF_SEASON:
        return None
    own = values.filter(pa.array(places >= 0))
    before, _ = in_season(reference, counts, ())
    return Season(stretches.ends, tuple(map(tuple, counts.tolist())), _multiplied(before, own))


def in_season(reference: Profile, weeks: Numbers, factors: tuple[float, ...]) -> tuple[Profile, Habit]:
    """A season as a reference, and the habit of its weeks: how far each lies from the others. weeks: shape (stretches, bins)."""
    whole = weeks.sum(axis=0)
    excess: dict[str, float] = {
        part: float(np.mean(distance(reference, part, whole - weeks, weeks).excess)) for part in PARTS
    }
    excess["beyond"] = max(excess["beyond"], excess["values"])
    own = replace(reference, counts=tuple(whole[:-1].tolist()), nulls=int(whole[-1]))
    return own, Habit(len(weeks), len(weeks), excess, factors)


def habit(reference: Profile, values: pa.Array | pa.ChunkedArray, counts: Numbers, own: Numbers) -> Habit:
    """The habit of a column. values: those that the reference is of.

    counts: of each stretch's rows, shape (stretches, bins), as `Profile.count` gives them. own: of those of the rows that are of
    the reference itself, of the same shape. A stretch is compared with the rest of it.
    """
    # The counts of the reference take levels seen once for what later rows have of new ones; its own rows know no new ones.
    later, plain = np.array([*reference.counts, reference.nulls]), reference.count(values)
    before = np.where(own.sum(axis=1, keepdims=True) == 0, later, np.maximum(plain - own, 0))
    whole = (counts.sum(axis=1) > 0) & (before.sum(axis=1) > 0)
    before, now = before[whole], counts[whole]
    apart = own[whole].sum(axis=1) == 0
    excess: dict[str, float] = {}
    for part in PARTS:
        found = distance(reference, part, before, now).excess
        # No row of the reference lies beyond it, so that of this its own stretches say nothing.
        found = found[apart] if part == "beyond" and apart.any() else found
        excess[part] = float(np.mean(found)) if len(found) else 1.0
    # Rows beyond the reference are often one customer's, or one hour's: as many at once as rows of the column move together.
    excess["beyond"] = max(excess["beyond"], excess["values"])
    outside = int(np.count_nonzero(own[whole].sum(axis=1) < now.sum(axis=1)))
    return Habit(len(now), outside, excess, _multiplied(reference, values))


def _multiplied(reference: Profile, values: pa.Array | pa.ChunkedArray) -> tuple[float, ...]:
    import pyarrow.compute as pc

    if reference.kind != "number" or _codes(reference):
        return ()
    step = -(-len(values) // FACTOR_ROWS)
    some = pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False)[:: max(step, 1)]
    before = np.array([*reference.counts, reference.nulls])
    with np.errstate(over="ignore"):
        now = np.stack([reference.count(pa.array(some * factor)) for factor in FACTORS])
    found = distance(reference, "values", np.tile(before, (len(FACTORS), 1)), now)
    return tuple(found.psi.tolist())


def more_of(reference: Profile, level: str) -> tuple[float, ...]:
    """As `Habit.factors`: PSI between the reference and as many rows, of which each of FACTORS as many are of a level."""
    before = np.array([*reference.counts, reference.nulls], dtype=float)
    if level not in reference.levels or not before[place := reference.levels.index(level)]:
        return ()
    rows, own = before.sum(), before[place]
    more = np.minimum(np.array(FACTORS) * own, rows)
    now = before * ((rows - more) / max(rows - own, 1))[:, None]
    now[:, place] = more
    return tuple(distance(reference, "values", np.tile(before, (len(FACTORS), 1)), now).psi.tolist())


def _codes(reference: Profile) -> bool:
    """Whether most values but 0 are one of a few: of counts and codes there is no such thing as 1 % more."""
    edges, counts = np.array(reference.edges), np.array(reference.counts[1:-1])
    alone, zero = edges[1:] == np.nextafter(edges[:-1], np.inf), edges[:-1] == 0
    return bool(2 * counts[alone & ~zero].sum() >= counts[~(alone & zero)].sum())


@dataclass(frozen=True)
class Distance:
    """How far rows lie from the reference. bins: PSI of each bin, shape (..., bins). freedom: degrees of freedom, shape (...).

    weight: what makes the sum of PSI chi-square if rows are independent, shape (...).
    """

    bins: Numbers
    freedom: Numbers
    weight: Numbers

    @property
    def psi(self) -> Numbers:
        return self.bins.sum(axis=-1)

    @property
    def excess(self) -> Numbers:
        """The distance in units of what chance makes of as many independent rows; 0 where nothing can differ."""
        return self.psi * self.weight / np.maximum(self.freedom, 1)


def distance(reference: Profile, part: Part, before: Numbers, now: Numbers) -> Distance:
    """How far one part of a column lies from the reference. before, now: counts of shape (..., bins)."""
    return Distance(*psi(*compared(reference, part, before, now)))


def compared(reference: Profile, part: Part, before: Numbers, now: Numbers) -> tuple[Numbers, Numbers]:
    """The counts that are compared: of values in their bins, without nulls; of others, those that are not and those that are."""
    if part == "values":
        before, now = (np.concatenate([rows[..., :-1], 0 * rows[..., -1:]], axis=-1) for rows in (before, now))
        return without_rare_levels(before, now) if reference.kind == "text" else (before, now)
    if part == "nulls":
        places, whole = [-1], slice(None)
    else:
        places, whole = {"number": [0, -2], "text": [-2], "empty": list[int]()}[reference.kind], slice(-1)
    return _split(before, places, whole), _split(now, places, whole)


def _split(rows: Numbers, places: list[int], whole: slice) -> Numbers:
    found = rows[..., places].sum(axis=-1)
    return np.stack([rows[..., whole].sum(axis=-1) - found, found], axis=-1)
