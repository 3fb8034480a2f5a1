"""What does a model lose as it grows older, and how often is it worth training a new one? Past versions, replayed on later days.

On each day a version is measured on the same rows as the version that was fresh then, so that a hard day counts for neither.
A version meets only days after the one as of which it was made: it has neither learnt from them nor been judged on them.
"""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import duckdb
import numpy as np
import pyarrow as pa

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.days import DAY
from factory_assets.measures.metrics import improvement, score
from factory_assets.measures.tables import LABEL, label_values
from factory_assets.models.archived import ModelRefused, ReleasedModel
from factory_assets.models.matrix import encode
from factory_assets.training.dataset import DaysAsKnown, close_of, labelled_by_node
from factory_assets.training.timeline import timeline
from factory_assets.words import counted, figure
from factory_resources.archive_folder import ArchiveDamaged
from factory_resources.lake import Lake
from factory_resources.ledger import VersionRecord

AgeVerdict = Literal["as good", "worse", "open", "too few"]
#: Share of what a fresh model gains over a naive guess: a smaller loss is not worth a training, unless somebody says otherwise.
SHARE = 0.05
#: Chance that any of the ages is called worse while nothing is lost; and likewise that any is called as good.
CHANCE = 0.05
#: An age is judged from so many stretches, and versions, on: the spread of fewer is itself a guess.
FEWEST = 4
#: Days of a stretch at least. Errors of neighbouring days come from the same two models and are no independent witnesses.
WEEK = 7
#: Days of examples in memory at a time.
READ = 28


@dataclass(frozen=True)
class Past:
    """The versions of a node that can be compared: made from one declaration, and usable on the examples as they are now.

    models: day as of which a version was made -> the version, ascending. left_out: version -> why it is not among them.
    """

    models: Mapping[dt.date, ReleasedModel]
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def step(self) -> int:
        """Days from one version to the next, as a rule; 0 where there are fewer than two. A model of this age is still fresh."""
        gaps = sorted((later - earlier).days for earlier, later in pairwise(self.models))
        return gaps[len(gaps) // 2] if gaps else 0


@dataclass(frozen=True)
class Pair:
    """A version beside the one fresh on the day, on its rows: the metric of both and of a naive guess. age: in days, from 1 on."""

    day: dt.date
    age: int
    version: str
    beside: str
    old: float
    fresh: float
    naive: float


@dataclass(frozen=True)
class Age:
    """Versions of an age beside fresh ones; ages in days, inclusive, the rest in the metric's unit.

    loss: by how much the old is worse. lower, upper: limits of the loss, which hold for all ages together; None where there
    are too few stretches or versions. gain: by how much the fresh is better than the naive guess on these days.
    """

    first: int
    last: int
    days: int
    stretches: int
    versions: int
    old: float
    fresh: float
    loss: float
    lower: float | None
    upper: float | None
    gain: float
    verdict: AgeVerdict


@dataclass(frozen=True)
class Curve:
    """Loss by age. cadence: days after which to train again, None where too little is known. reason: why, in words."""

    step: int
    ages: Sequence[Age]
    cadence: int | None
    reason: str


def comparable(
    records: Sequence[VersionRecord], day: dt.date, load: Callable[[str], ReleasedModel], examples: pa.Table
) -> Past:
    """The versions of a node as of a day or earlier that can be replayed beside each other.

    records: of one node, in the order of registration. examples: a table with the columns of the line's examples.
    An edited declaration makes another model, which is better or worse for other reasons than age: only versions of the newest
    declaration count.
    """
    made = sorted((record for record in records if record.as_of <= day), key=lambda record: record.as_of)
    models: dict[dt.date, ReleasedModel] = {}
    left_out: dict[str, str] = {}
    for place, record in enumerate(made):
        if any(later.as_of == record.as_of for later in made[place + 1 :]):
            left_out[record.version] = f"trained again as of {record.as_of}"
        elif record.configuration.get("id") != made[-1].configuration.get("id"):
            left_out[record.version] = "made from another declaration than the newest"
        else:
            try:
                model = load(record.version)
                encode(examples.slice(0, 0), model.encoding)
                models[record.as_of] = model
            except (FileNotFoundError, ArchiveDamaged, ModelRefused, KeyError, ValueError) as error:
                left_out[record.version] = str(error.args[0] if error.args else error)
    return Past(models, left_out)


def replay(
    con: duckdb.DuckDBPyConnection,
    lake: Lake,
    declared: DeclaredLine,
    metric: str,
    nodes: Mapping[str, Past],
    day: dt.date,
) -> dict[str, list[Pair]]:
    """Node -> its pairs, on every day up to `day` whose labels are all in; the examples are read once for all of them."""
    pairs: dict[str, list[Pair]] = {node: [] for node in nodes}
    made = [as_of for past in nodes.values() for as_of in past.models]
    last, tables = timeline(declared, day).holdout_to, None
    start = min(made, default=last) + DAY
    while start <= last:
        end = min(start + (READ - 1) * DAY, last)
        days = DaysAsKnown(start, end, close_of(day))
        rows, tables = labelled_by_node(con, lake, declared.line.name, days, tables)
        for node, past in nodes.items():
            pairs[node] += _pairs(declared.line.task, metric, past, rows.rows(node))
        start = end + DAY
    return pairs


def _pairs(task: str, metric: str, past: Past, rows: pa.Table) -> Iterator[Pair]:
    """A version of each age beside the fresh one, on each day of the rows, which are a node's."""
    import pyarrow.compute as pc

    for day in sorted(pc.unique(rows["ds"]).to_pylist()):
        made = [as_of for as_of in past.models if as_of < day]
        # Once trainings stop, nothing is fresh any more to compare with.
        if not made or (day - made[-1]).days > past.step:
            continue
        of_day = rows.filter(pc.equal(rows["ds"], pa.scalar(day)))
        y, fresh = label_values(task, of_day[LABEL]), past.models[made[-1]]
        fresh_value = score(task, y, fresh.predict(of_day, task)).get(metric)
        naive = score(task, y, fresh.naive(len(y), task)).get(metric)
        for as_of in _rivals(made, day, past.step):
            old = score(task, y, past.models[as_of].predict(of_day, task)).get(metric)
            # Rows of one class, or too few, have no value of some metrics, whoever speaks.
            if old is not None and fresh_value is not None and naive is not None:
                yield Pair(day, (day - as_of).days, past.models[as_of].version, fresh.version, old, fresh_value, naive)


def _rivals(made: Sequence[dt.date], day: dt.date, step: int) -> list[dt.date]:
    """For each age one of the days as of which versions were made, the fresh ones left out. made: ascending.

    Versions of an age take turns, stretch by stretch: the more of them meet, the less of a loss is one version's own luck.
    """
    of_age: dict[tuple[int, int], list[dt.date]] = {}
    for as_of in made:
        if (day - as_of).days > step:
            of_age.setdefault(age_of((day - as_of).days, step), []).append(as_of)
    turn = (day - made[0]).days // max(step, WEEK)
    return [alike[turn % len(alike)] for alike in of_age.values()]


def age_of(days: int, step: int) -> tuple[int, int]:
    """First and last day of the age that a version of so many days is counted to; the older, the wider.

    In steps the ages end with 1, 2, 3, 4, 6, 8, 12, 16, 24 ...: what is young is told apart, and few are judged at once.
    """
    edges = [0, 1, 2, 3, 4]
    while edges[-1] * step < days:
        edges.append(2 * edges[-2])
    low = max(edge for edge in edges if edge * step < days)
    return low * step + 1, edges[edges.index(low) + 1] * step


def curve(pairs: Sequence[Pair], step: int, metric: str, share: float = SHARE) -> Curve:
    """The loss by age, and the cadence that follows.

    step: as in Past. share: of the gain over a naive guess; a smaller loss does not count.
    The limits are those of Student's t over stretches of days, one training or a week long, or over versions: the wider ones.
    """
    by_age: dict[tuple[int, int], list[Pair]] = {}
    for pair in pairs:
        by_age.setdefault(age_of(pair.age, step), []).append(pair)
    origin = min((pair.day for pair in pairs), default=dt.date.min)
    length = max(step, WEEK)
    alike = [
        _Alike(first, last, of_age, [_stretch(pair, origin, length) for pair in of_age])
        for (first, last), of_age in sorted(by_age.items())
    ]
    judged = sum(each.enough for each in alike)
    ages = [_age(each, metric, share, CHANCE / max(judged, 1)) for each in alike]
    return Curve(step, ages, *_cadence(ages, step, length, share))


def _stretch(pair: Pair, origin: dt.date, length: int) -> int:
    return (pair.day - origin).days // length


@dataclass(frozen=True)
class _Alike:
    """Pairs of one age, from its first day to its last. stretches: the number of each pair's stretch of days."""

    first: int
    last: int
    pairs: Sequence[Pair]
    stretches: Sequence[int]

    @property
    def versions(self) -> Sequence[str]:
        return [pair.version for pair in self.pairs]

    @property
    def enough(self) -> bool:
        return min(len(set(self.stretches)), len(set(self.versions))) >= FEWEST


def _age(alike: _Alike, metric: str, share: float, chance: float) -> Age:
    """chance: that this age is called worse while nothing is lost, and likewise that it is called as good."""
    pairs = alike.pairs
    values = {
        "loss": [improvement(metric, pair.fresh, pair.old) for pair in pairs],
        "gain": [improvement(metric, pair.fresh, pair.naive) for pair in pairs],
        "old": [pair.old for pair in pairs],
        "fresh": [pair.fresh for pair in pairs],
    }
    by_stretch = {name: _means(alike.stretches, column) for name, column in values.items()}
    mean = {name: float(column.mean()) for name, column in by_stretch.items()}
    # One version that is lucky is so on all days: at the end of a history an age is that of few versions.
    by_version = _means(alike.versions, values["loss"])
    half = max(_half_width(by_stretch["loss"], chance), _half_width(by_version, chance)) if alike.enough else None
    lower, upper = (None, None) if half is None else (mean["loss"] - half, mean["loss"] + half)
    return Age(
        first=alike.first,
        last=alike.last,
        days=len({pair.day for pair in pairs}),
        stretches=len(by_stretch["loss"]),
        versions=len(by_version),
        lower=lower,
        upper=upper,
        verdict=_verdict(lower, upper, share * mean["gain"]),
        **mean,
    )


def _means(groups: Sequence[int] | Sequence[str], values: Sequence[float]) -> np.ndarray:
    """The mean of each group, so that one with more days does not count for more witnesses."""
    places = np.unique(np.asarray(groups), return_inverse=True)[1]
    return np.asarray(np.bincount(places, np.asarray(values)) / np.bincount(places))


def _half_width(losses: np.ndarray, chance: float) -> float:
    """How far below, and above, the mean the true one lies with this chance each. losses: shape (n,), one a witness."""
    from scipy.stats import t

    return float(t.ppf(1 - chance, len(losses) - 1) * losses.std(ddof=1) / np.sqrt(len(losses)))


def _verdict(lower: float | None, upper: float | None, tolerated: float) -> AgeVerdict:
    if lower is None or upper is None:
        return "too few"
    if tolerated > 0 and upper <= tolerated:
        return "as good"
    return "worse" if lower > 0 else "open"


def _cadence(ages: Sequence[Age], step: int, length: int, share: float) -> tuple[int | None, str]:
    """The last day of the ages that hold, before the first that does not, and why.

    An age holds if it is as good, or if what it seems to lose is no more than the share and might be nothing.
    """
    judged = [age for age in ages if age.verdict != "too few"]
    if not judged:
        stretches, versions = (max((getattr(age, of) for age in ages), default=0) for of in ("stretches", "versions"))
        return None, (
            f"an age is judged from {FEWEST} stretches of {counted(length, 'day')} and {FEWEST} versions on, and there are "
            f"{stretches} and {versions}"
        )
    ends = next((place for place, age in enumerate(judged) if not _holds(age, share)), len(judged))
    holding, after = judged[:ends], judged[ends:]
    cadence = holding[-1].last if holding else step
    reasons = [f"up to an age of {counted(cadence, 'day')} {_harmless(holding)}"] if holding else []
    if not after:
        reasons.append("no version was judged at a greater age")
    else:
        unsure = ", by too few days to tell that from nothing" if after[0].verdict == "open" else ""
        reasons.append(f"at {after[0].first} to {counted(after[0].last, 'day')} {_lost(after[0])}{unsure}")
    if not holding:
        reasons.append(f"versions are {counted(step, 'day')} apart, so that nothing shorter can be judged")
    return cadence, "; ".join(reasons)


def _holds(age: Age, share: float) -> bool:
    return age.verdict == "as good" or (age.verdict == "open" and age.loss <= max(share * age.gain, 0))


def _lost(age: Age) -> str:
    part = f", {age.loss / age.gain:.0%} of the gain over a naive guess" if age.gain > 0 else ""
    return f"it loses {figure(age.loss)} against a fresh one{part}"


def _harmless(ages: Sequence[Age]) -> str:
    gaining = [age for age in ages if age.gain > 0]
    if not gaining:
        return "a model is no worse than a fresh one, which is no better than a naive guess"
    most = max(0.0, *(age.loss / age.gain for age in gaining))
    words = f"a model loses {most:.0%} or less of what a fresh one gains over a naive guess"
    bounds = [age.upper / age.gain for age in gaining if age.verdict == "open" and age.upper is not None]
    return words + (f" ({max(bounds):.0%} cannot be ruled out)" if bounds else "")


def advice(curve: Curve, declared: int) -> str:
    """The advice for a line that is declared to be trained every so many days: a sentence."""
    if curve.cadence is None:
        return f"retrain.every is {declared}d, and nothing can be said of it: {curve.reason}"
    suits = "as declared" if curve.cadence == declared else f"where retrain.every is {declared}d"
    return f"train every {curve.cadence}d, {suits}: {curve.reason}"
