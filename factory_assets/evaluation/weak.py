"""On which rows is a model worse than on the others, that nobody thought of? Values of features and pairs of them are searched.

A search among thousands finds something in any rows. So it goes over one half of them, keeps what stands out by more than so many
looks explain, and asks the other half whether that is so: what chance chose there is not chosen here. Halves are days in turn, or
clusters in turn where rows have some: what is peculiar to a day, or to a customer, is in one half alone.

A pair is found only if it is worse than the rest of either of its values, and a value only if it is worse without the pairs found.

Sources: Welch 1947 for two means; Benjamini & Hochberg 1995 for the search; Holm 1979 for what is confirmed; errors that belong
together, Liang & Zeger 1986. For slices, Chung et al., Slice Finder, 2019.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from factory_assets.declarations.tasks import classes_of, level_of
from factory_assets.evaluation.scores import BATCH, ORDER
from factory_assets.measures.metrics import Floats
from factory_assets.models.archived import ReleasedModel

#: Share of what the search keeps that may be chance, and how much of it at most is asked of the other half.
KEPT, MOST_KEPT = 0.1, 20
#: How often anything at all is found where nothing is to be found, at most.
FALSE = 0.05
#: Fewer rows of a half say too little of a slice; and fewer in all are not searched.
LEAST, LEAST_ROWS = 30, 1000
#: A search takes about as long as it has pairs of columns times rows: it looks at no more of them.
MOST_COLUMNS, MOST_ROWS = 30, 100_000
#: Two slices of which this share of the rows is common are one.
ALIKE = 0.8
#: Fewer days than this are not dealt out to halves.
FEWEST_DAYS = 4

#: Columns of `<line>/slices`.
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("node", "version", "kind", "name")),
        ("where", pa.list_(pa.struct([("column", pa.string()), ("value", pa.string())]))),
        ("rows", pa.int64()),
        *((name, pa.string()) for name in ("loss", "metric")),
        *((name, pa.float64()) for name in ("inside", "elsewhere")),
        ("rival", pa.string()),
        *((name, pa.float64()) for name in ("of_rival", "certainty")),
        ("ds", pa.date32()),
    ]
)

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Coded:
    """A column in bins. codes: shape (n,), each row's bin, in as few bytes as bins need. names: of the bins."""

    codes: npt.NDArray[np.integer[Any]]
    names: Sequence[str]


@dataclass(frozen=True)
class Weak:
    """Rows on which a model is worse. where: column -> the name of its bin. rows: which of all, shape (n,).

    loss, elsewhere: the mean loss of a row there, and of the others. p: the chance that rows without a difference seem as different in
    the half that was not searched, for all that was asked of it.
    """

    where: Mapping[str, str]
    rows: Mask
    loss: float
    elsewhere: float
    p: float

    @property
    def name(self) -> str:
        return ", ".join(f"{column}: {bin_}" for column, bin_ in self.where.items())


@dataclass(frozen=True)
class Weaknesses:
    """What was found of a challenger.

    loss: what is lost, in words. rival: who it has to beat, or the naive guess where nobody is. rivals: what that one loses on each.
    searched: the rows that were looked through; mean: what they lose on average, and of_rival: of the rival.
    """

    loss: str
    slices: Sequence[Weak]
    rival: str
    rivals: Sequence[float]
    searched: int
    mean: float
    of_rival: float

    def rows(self, node: str, version: str, metric: str, day: dt.date) -> Iterator[dict[str, object]]:
        """Rows of `<line>/slices` as of a day: all rows first, so that one that was looked through in vain is there too."""
        same = {"node": node, "version": version, "loss": self.loss, "metric": metric, "rival": self.rival, "ds": day}
        every = {
            "kind": "all",
            "name": "",
            "where": [],
            "rows": self.searched,
            "inside": self.mean,
            "of_rival": self.of_rival,
        }
        yield same | every
        for each, of_rival in zip(self.slices, self.rivals, strict=True):
            where = [{"column": column, "value": value} for column, value in each.where.items()]
            found = {
                "kind": "found",
                "name": each.name,
                "where": where,
                "rows": int(each.rows.sum()),
                "inside": each.loss,
            }
            yield same | found | {"elsewhere": each.elsewhere, "of_rival": of_rival, "certainty": 1 - each.p}


#: Columns and their bins: one pair of the two, or two.
Key = tuple[tuple[str, int], ...]


def losses(task: str, y: Floats, p: Floats) -> tuple[str, Floats]:
    """What a row's prediction loses, shape (n,), and what that is called; bounded where it is of probabilities: no row decides."""
    if classes := classes_of(task):
        return "squared error of probabilities", np.sum((p - np.eye(len(classes))[y.astype(np.intp)]) ** 2, axis=1)
    if task == "binary":
        return "squared error of the probability", (y - p) ** 2
    if (level := level_of(task)) is not None:
        return "pinball loss", np.maximum(level * (y - p), (level - 1) * (y - p))
    return "absolute error", np.abs(y - p)


def coded(model: ReleasedModel, rows: pa.Table, since: dt.date) -> dict[str, Coded]:
    """The model's features in the bins of the rows that it learnt from. rows, since, and the order: as of `scores.predicted`."""
    import pyarrow.compute as pc

    profiles = {name: model.profiles[name] for name in model.features if name in model.profiles}
    chosen = {name: each for name, each in profiles.items() if each.comparable and each.kind != "empty"}
    names = {name: chosen[name].bins() for name in list(chosen)[:MOST_COLUMNS]}
    # Of all rows and columns at once: in 8 bytes each they would be as large as the features.
    kinds = {name: np.min_scalar_type(len(bins)) for name, bins in names.items()}
    parts: dict[str, list[npt.NDArray[np.integer[Any]]]] = {name: [] for name in names}
    for start in range(0, max(rows.num_rows, 1), BATCH):
        batch = rows.slice(start, BATCH).filter(pc.field("ds") >= since)
        for name in names:
            parts[name].append(chosen[name].places(batch[name]).astype(kinds[name]))
    kept = rows.select(["example_id", "observed_at", "ds"]).filter(pc.field("ds") >= since)
    ids = kept["example_id"].cast(pa.string())
    order = pc.sort_indices(kept.set_column(0, "example_id", ids), sort_keys=ORDER).to_numpy()
    return {name: Coded(np.concatenate(parts[name])[order], bins) for name, bins in names.items()}


def weak_slices(
    columns: Mapping[str, Coded], lost: Floats, days: npt.NDArray, clusters: Numbers | None = None
) -> list[Weak]:
    """Rows that lose more than others, by what they lose together; nothing is found in FALSE of samples at most where nothing is.

    lost: the loss of each row, shape (n,). days: the day of each. clusters: the number of whose each is, if rows have clusters.
    """
    if len(lost) < LEAST_ROWS:
        return []
    searched, asked = _halves(days, clusters)
    kept = _search(_taken(columns, searched), _by_day(lost[searched], days[searched]))
    half = _taken(columns, asked)
    left, of = _by_day(lost[asked], days[asked]), None if clusters is None else clusters[asked]
    found = _confirmed({key: _p_of(half, key, left, of) for key in kept})
    told = sorted((_told(columns, lost, key, found[key]) for key in _own(half, found, left, of)), key=_most)
    return _distinct(told)


def _most(weak: Weak) -> float:
    return -(weak.loss - weak.elsewhere) * float(weak.rows.sum())


def _distinct(found: Sequence[Weak]) -> list[Weak]:
    """Without those that are nearly the rows of one before: features say the same in several ways."""
    kept: list[Weak] = []
    for each in found:
        alike = [(each.rows & other.rows).sum() / (each.rows | other.rows).sum() for other in kept]
        if max(alike, default=0.0) < ALIKE:
            kept.append(each)
    return kept


def _halves(days: npt.NDArray, clusters: Numbers | None) -> tuple[Numbers, Numbers]:
    """The rows that are searched, and those that are asked after: clusters in turn, or days, or where these are few, rows."""
    distinct, place = np.unique(days, return_inverse=True)
    turn = clusters if clusters is not None else place if len(distinct) >= FEWEST_DAYS else np.arange(len(days))
    chosen = np.linspace(0, len(days) - 1, min(len(days), MOST_ROWS)).astype(np.intp)
    return chosen[turn[chosen] % 2 == 0], chosen[turn[chosen] % 2 == 1]


def _taken(columns: Mapping[str, Coded], rows: Numbers) -> dict[str, Coded]:
    return {name: Coded(each.codes[rows].astype(np.intp), each.names) for name, each in columns.items()}


def _by_day(lost: Floats, days: npt.NDArray) -> Floats:
    """What each row loses more than its day: a hard day is no slice."""
    place = np.unique(days, return_inverse=True)[1]
    return np.asarray(lost - (np.bincount(place, lost) / np.bincount(place))[place])


def _search(columns: Mapping[str, Coded], lost: Floats) -> list[Key]:
    """What stands out by more than so many looks explain, the most surely first."""
    keys, values = list[Key](), list[float]()
    for key, p in _candidates(columns, lost):
        keys.append(key)
        values.append(p)
    order = np.argsort(values, kind="stable")
    passing = np.flatnonzero(np.array(values)[order] <= KEPT * np.arange(1, len(keys) + 1) / max(len(keys), 1))
    return [keys[place] for place in order[: passing[-1] + 1][:MOST_KEPT]] if len(passing) else []


def _candidates(columns: Mapping[str, Coded], lost: Floats) -> Iterator[tuple[Key, float]]:
    """Every value and pair of values with rows enough, and at most half of them, and how likely chance is to make it so bad."""
    total = np.array([len(lost), lost.sum(), (lost**2).sum()])

    def sums(codes: npt.NDArray[np.integer[Any]], bins: int) -> Floats:
        return np.stack([np.bincount(codes, weights, bins) for weights in (None, lost, lost**2)], axis=-1)

    of_column = {name: sums(each.codes, len(each.names)) for name, each in columns.items()}
    for name, own in of_column.items():
        p = _welch(own, total - own)
        for place in np.flatnonzero((own[:, 0] >= LEAST) & (own[:, 0] <= len(lost) / 2)):
            yield ((name, int(place)),), float(p[place])
    for (first, a), (second, b) in combinations(columns.items(), 2):
        width = len(b.names)
        own = sums(a.codes * width + b.codes, len(a.names) * width).reshape(len(a.names), width, 3)
        enough = (own[..., 0] >= LEAST) & (own[..., 0] <= len(lost) / 2)
        if not enough.any():
            continue
        one, other = np.nonzero(enough)
        pair = own[one, other]
        rests = (total - pair, of_column[first][one] - pair, of_column[second][other] - pair)
        # Where all rows of a value are of the pair, the pair is that value, and is looked at as such.
        p = np.max([_welch(pair, rest) for rest in rests], axis=0)
        yield from (
            (((first, int(i)), (second, int(j))), float(value)) for i, j, value in zip(one, other, p, strict=True)
        )


def _welch(ours: Floats, others: Floats) -> Floats:
    """How likely chance is to make the first mean so much larger. ours, others: number, sum and sum of squares, shape (..., 3)."""
    from scipy.special import stdtr

    with np.errstate(divide="ignore", invalid="ignore"):
        (n, total, squares), (m, rest, rest_squares) = np.moveaxis(ours, -1, 0), np.moveaxis(others, -1, 0)
        first = np.maximum(squares - total**2 / n, 0) / (n - 1) / n
        second = np.maximum(rest_squares - rest**2 / m, 0) / (m - 1) / m
        freedom = (first + second) ** 2 / (first**2 / (n - 1) + second**2 / (m - 1))
        p = stdtr(freedom, -(total / n - rest / m) / np.sqrt(first + second))
    return np.where(np.isfinite(p) & (n > 1) & (m > 1), p, 1.0)


def _mask(columns: Mapping[str, Coded], key: Key) -> Mask:
    return np.logical_and.reduce([columns[name].codes == place for name, place in key])


def _p_of(
    columns: Mapping[str, Coded], key: Key, lost: Floats, clusters: Numbers | None, but: Mask | None = None
) -> float:
    """The largest of those beside all other rows and beside the rest of either value. but: rows that are left out."""
    there = np.ones(len(lost), bool) if but is None else ~but
    inside = _mask(columns, key) & there
    rests = [there & ~inside]
    rests += [_mask(columns, (one,)) & ~inside for one in key] if len(key) > 1 else []
    return max(_p(lost, inside, rest, clusters) for rest in rests)


def _p(lost: Floats, inside: Mask, outside: Mask, clusters: Numbers | None) -> float:
    """How likely chance is to make the mean inside so much larger than that outside, rows of a cluster together."""
    from scipy.special import stdtr

    if inside.sum() < LEAST or outside.sum() < LEAST:
        return 1.0
    if clusters is None:
        ours, others = (np.array([len(x), x.sum(), (x**2).sum()]) for x in (lost[inside], lost[outside]))
        return float(_welch(ours, others))
    gained = lost[inside].mean() - lost[outside].mean()
    moves = np.where(inside, (lost - lost[inside].mean()) / inside.sum(), 0.0)
    moves -= np.where(outside, (lost - lost[outside].mean()) / outside.sum(), 0.0)
    number, own = len(np.unique(clusters[inside | outside])), len(np.unique(clusters[inside]))
    if own < 2:
        return 1.0
    variance = float(np.sum(np.bincount(clusters, moves) ** 2)) * number / (number - 1)
    return float(stdtr(own - 1, -gained / np.sqrt(variance))) if variance else 1.0


def _confirmed(p: Mapping[Key, float]) -> dict[Key, float]:
    """Those that hold in the other half, each with its chance for all that was asked of it."""
    found, worst = dict[Key, float](), 0.0
    for place, key in enumerate(sorted(p, key=p.__getitem__)):
        worst = max(worst, min(p[key] * (len(p) - place), 1.0))
        if worst > FALSE:
            break
        found[key] = worst
    return found


def _own(columns: Mapping[str, Coded], found: Mapping[Key, float], lost: Floats, clusters: Numbers | None) -> list[Key]:
    """The pairs, and the values that are worse without them."""
    pairs = [key for key in found if len(key) > 1]
    kept = list(pairs)
    for key in found:
        if len(key) == 1:
            of_pairs = [_mask(columns, pair) for pair in pairs if key[0] in pair]
            but = np.logical_or.reduce(of_pairs) if of_pairs else None
            if but is None or _p_of(columns, key, lost, clusters, but) <= FALSE / len(found):
                kept.append(key)
    return kept


def _told(columns: Mapping[str, Coded], lost: Floats, key: Key, p: float) -> Weak:
    mask = _mask(columns, key)
    where = {name: columns[name].names[place] for name, place in key}
    return Weak(where, mask, float(lost[mask].mean()), float(lost[~mask].mean()), p)


def clusters_of(column: pa.ChunkedArray) -> Numbers:
    """The number of whose each row is, shape (n,); nulls are one."""
    import pyarrow.compute as pc

    return np.asarray(pc.index_in(column, value_set=pc.unique(column).sort()).to_numpy(), np.intp)
