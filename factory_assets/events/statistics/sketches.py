"""What do the statistics of several days say together? Sketches of a column: merged, asked for quantiles, compared.

A sketch is a row of the table `<stream>/statistics`, a mapping as `Table.to_pylist` gives it. Numbers are counted in
bins of a fixed formula (DDSketch: Masson, Rim and Lee, VLDB 2019), so the sketch of a window is the sum of its days:
no bin moves, and nothing is read again. Distinct values are counted by HyperLogLog (Flajolet et al. 2007).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Sketch = Mapping[str, Any]
Floats = npt.NDArray[np.float64]
Kind = Literal["number", "text", "time"]

#: A quantile is off by at most this share of its value; an order of magnitude has 115 bins.
ACCURACY = 0.01
GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
LOG_GAMMA = math.log(GAMMA)
#: Above the bin of any double, which lie from -37,220 to 35,490: a bin's sign is free to be the number's.
OFFSET = 40_000
LARGEST_EXPONENT = math.log(np.finfo(np.float64).max)
#: Values of a text counted by name, a day; of the rest only the rows are.
LISTED = 1_000
#: Registers of HyperLogLog: cardinality is off by 1.04 / sqrt(1024) = 3.3 % (one standard error).
REGISTERS = 1_024
RANK_BITS = 22
#: Groups of like share in which two columns are compared; so few that 1,000 rows of one kind differ by 0.02.
GROUPS = 32
#: What `comoments` holds for each partner.
COMOMENTS = ("n", "mean", "mean_of_partner", "squares", "squares_of_partner", "products")
QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}


def kind(type_: str) -> Kind:
    """How a column of this type in DuckDB is sketched; a list is the number of its values."""
    if type_.endswith("[]"):
        return "number"
    if type_ == "VARCHAR":
        return "text"
    return "time" if type_.startswith(("TIMESTAMP", "DATE")) else "number"


def is_whole(type_: str) -> bool:
    """Whether the numbers of such a column are whole."""
    return type_.endswith(("[]", "INT")) or type_ in ("INTEGER", "BOOLEAN")


def present(sketch: Sketch) -> int:
    """Rows with a value: not null, NaN or infinite."""
    return int(sketch["rows"] - sketch["nulls"] - sketch["nan"] - sketch["infinite"])


def merge(sketches: Iterable[Sketch]) -> dict[str, Any]:
    """The sketch of all rows of several sketches of one column, dated with the newest day.

    Counts, bins and registers are exactly those of one sketch of all rows; mean and deviation are to rounding (Chan,
    Golub and LeVeque 1983). Named values are exact as long as no part has `other_values`; a value that a part did not
    list is short of the rows it had there. Raises ValueError for no sketch, or for columns of different kinds.
    """
    parts = sorted(sketches, key=lambda part: part["ds"])
    kinds = {kind(part["type"]) for part in parts}
    if len(kinds) != 1:
        found = ", ".join(f"{part['column']} {part['type']} on {part['ds']}" for part in parts[:10])
        raise ValueError(f"sketches of one kind of column can be merged; got {found or 'none'}")
    merged = dict(parts[-1])
    for name in ("rows", "nulls", "nan", "infinite", "other_values"):
        merged[name] = sum(part[name] for part in parts)
    for name, extreme in (("minimum", min), ("earliest", min), ("maximum", max), ("latest", max)):
        merged[name] = extreme((part[name] for part in parts if part[name] is not None), default=None)
    merged |= _merged_counts(parts)
    moments = [
        (present(part), part["mean"], present(part) * part["deviation"] ** 2) for part in parts if _has_mean(part)
    ]
    if moments:
        n, mean, squares = _merged_moments(np.array(moments))
        merged |= {"mean": mean, "deviation": math.sqrt(squares / n)}
    merged |= _merged_comoments(parts)
    merged |= {name: quantile(merged, q) for name, q in QUANTILES.items()}
    return merged


def merge_columns(sketches: Iterable[Sketch]) -> dict[tuple[str, str], dict[str, Any]]:
    """The merged sketch of each (slice, column) of a window of the table."""
    grouped: dict[tuple[str, str], list[Sketch]] = {}
    for sketch in sketches:
        grouped.setdefault((sketch["slice"], sketch["column"]), []).append(sketch)
    return {key: merge(parts) for key, parts in grouped.items()}


def quantile(sketch: Sketch, q: float) -> float | None:
    """The value at rank floor(q (n - 1)) of a number, to 1 % of it; None where there is none."""
    if kind(sketch["type"]) != "number" or not sketch["bins"]:
        return None
    bins, counts = np.array(sketch["bins"]), np.array(sketch["counts"])
    ((found,),) = quantiles(bins, counts, np.array([0]), np.array([len(bins)]), [q], is_whole(sketch["type"]))
    return float(np.clip(found, sketch["minimum"], sketch["maximum"]))


def quantiles(bins: Any, counts: Any, starts: Any, ends: Any, qs: Sequence[float], whole: bool = False) -> Floats:
    """Quantiles of many sketches at once, shape (sketches, qs): sketch i is bins[starts[i]:ends[i]], not empty."""
    reached = np.append(0, np.cumsum(counts))
    before = reached[starts]
    rank = before[:, None] + np.floor(np.outer(reached[ends] - before - 1, qs)).astype(np.int64)
    return midpoints(bins[np.searchsorted(reached[1:], rank, side="right")], whole)


def midpoints(bins: npt.ArrayLike, whole: bool = False) -> Floats:
    """The number that stands for all of a bin; of whole numbers the one, where the bin has but one."""
    keys = np.asarray(bins, dtype=np.int64)
    size = _exp((np.abs(keys) - OFFSET) * LOG_GAMMA - math.log((GAMMA + 1) / 2))
    values: Floats = np.sign(keys) * np.where(whole & (2 * ACCURACY * size < 1), np.round(size), size)
    return values


def cardinality(sketch: Sketch) -> int | None:
    """How many different values a text or whole number has; None for other columns.

    Of a text without `other_values` it is exact. Else it is an estimate (Ertl, New cardinality estimation algorithms for
    HyperLogLog sketches, 2017), and at least the number of bins or names that are filled.
    """
    if sketch["registers"] is None:
        return None
    filled = len(sketch["values"] if sketch["values"] is not None else sketch["bins"])
    if sketch["values"] is not None and not sketch["other_values"]:
        return filled
    ranks = np.asarray(sketch["registers"], dtype=np.int64) & 31
    rows = np.bincount(ranks, minlength=RANK_BITS + 2).astype(float)
    rows[0] = REGISTERS - len(ranks)
    z = REGISTERS * _tau(1 - rows[-1] / REGISTERS)
    for count in rows[-2:0:-1]:
        z = 0.5 * (z + count)
    z += REGISTERS * _sigma(rows[0] / REGISTERS)
    return max(filled, round(REGISTERS**2 / (2 * math.log(2) * z)))


def histogram(
    sketch: Sketch, edges: Sequence[float] | None = None, bins: int = 30
) -> tuple[list[float], list[float]] | dict[str, int]:
    """A distribution to look at: (edges, counts) of a number or of the hours of a time, counts by name of a text.

    edges: ascending; else multiples of 1, 2 or 5 times a power of ten, about `bins` of them over the middle 99 %, so that
        days of like range share them. Rows beyond are not counted; a bin that an edge cuts is divided in proportion.
    Empty where the column has no value.
    """
    if kind(sketch["type"]) == "text":
        return dict(zip(sketch["values"], sketch["value_counts"], strict=True))
    if not sketch["bins"]:
        return [], []
    keys, counts = np.array(sketch["bins"]), np.array(sketch["counts"], dtype=np.float64)
    if kind(sketch["type"]) == "time":
        return list(range(25)), np.bincount(keys, counts, minlength=24).tolist()
    whole = is_whole(sketch["type"])
    cuts = np.array(edges if edges is not None else _round_edges(sketch, bins, whole))
    if whole:
        low = high = midpoints(keys, whole)
    else:
        limits = np.sort(_limits(keys), axis=0)
        low, high = np.clip(limits, sketch["minimum"], sketch["maximum"])
    with np.errstate(divide="ignore", invalid="ignore"):
        below = np.where(high > low, (cuts[:, None] - low) / (high - low), cuts[:, None] > low)
    return cuts.tolist(), np.diff((np.clip(below, 0, 1) * counts).sum(axis=1)).tolist()


def distance(a: Sketch, b: Sketch) -> float:
    """How far apart the values of two sketches lie, from 0 (the same shares) to 1 (nothing in common).

    The Jensen-Shannon divergence in bits (Lin 1991) over at most 32 groups of neighbouring bins, or of names in
    alphabetical order, that have about the same share of both taken together; a heavier bin is a group by itself. So no
    outlier squeezes the rest into one bin, and it is symmetric. A time is compared by its hours. Names that one side may
    have among its `other_values` count as such on both sides. Nulls do not enter. A column without a value is at 1 from
    one that has some, and at 0 from another without. Raises ValueError for columns of different kinds.
    """
    if kind(a["type"]) != kind(b["type"]):
        raise ValueError(f"{a['column']} is {a['type']} and {b['column']} is {b['type']}: there is no distance")
    left, right = _comparable(a, b)
    of_left, of_right = sum(left.values()), sum(right.values())
    if not of_left or not of_right:
        return float(of_left != of_right)
    keys = sorted({*left, *right})
    p = np.array([left[key] for key in keys]) / of_left
    q = np.array([right[key] for key in keys]) / of_right
    share = (p + q) / 2
    group = np.minimum(((np.cumsum(share) - share / 2) * GROUPS).astype(int), GROUPS - 1)
    grouped_p, grouped_q = (np.bincount(group, shares).astype(np.float64) for shares in (p, q))
    middle = (grouped_p + grouped_q) / 2
    return float(min(max((_divergence(grouped_p, middle) + _divergence(grouped_q, middle)) / 2, 0.0), 1.0))


def correlations(sketches: Iterable[Sketch]) -> dict[tuple[str, str], float]:
    """Pearson's correlation of each pair of columns, over the rows that have both; pairs without spread are left out."""
    found: dict[tuple[str, str], float] = {}
    for sketch in sketches:
        for partner, values in _partners(sketch).items():
            _, _, _, squares, squares_of_partner, products = values
            if squares > 0 and squares_of_partner > 0:
                r = products / math.sqrt(squares) / math.sqrt(squares_of_partner)
                found[sketch["column"], partner] = min(max(r, -1.0), 1.0)
    return found


def _has_mean(sketch: Sketch) -> bool:
    return sketch["mean"] is not None


def _merged_counts(parts: Sequence[Sketch]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    if any(part["bins"] is not None for part in parts):
        bins = sorted(_sum(parts, "bins", "counts").items())
        merged |= {"bins": [key for key, _ in bins], "counts": [n for _, n in bins]}
    if any(part["values"] is not None for part in parts):
        named = sorted(_sum(parts, "values", "value_counts").items(), key=lambda item: (-item[1], item[0]))
        merged |= {"values": [value for value, _ in named[:LISTED]], "value_counts": [n for _, n in named[:LISTED]]}
        merged["other_values"] = sum(part["other_values"] for part in parts) + sum(n for _, n in named[LISTED:])
    if any(part["registers"] is not None for part in parts):
        ranks: dict[int, int] = {}
        for part in parts:
            for code in part["registers"] or ():
                ranks[code >> 5] = max(ranks.get(code >> 5, 0), code & 31)
        merged["registers"] = [register * 32 + rank for register, rank in sorted(ranks.items())]
    return merged


def _sum(parts: Sequence[Sketch], keys: str, counts: str) -> Counter[Any]:
    total: Counter[Any] = Counter()
    for part in parts:
        for key, count in zip(part[keys] or (), part[counts] or (), strict=True):
            total[key] += count
    return total


def _merged_moments(moments: Floats) -> tuple[float, float, float]:
    """(n, mean, sum of squared deviations) of all rows together, from those of their parts; n > 0."""
    n, mean, squares = moments.T
    middle = float(mean @ (n / n.sum()))
    return float(n.sum()), middle, float(squares.sum() + n @ (mean - middle) ** 2)


def _partners(sketch: Sketch) -> dict[str, Floats]:
    values = np.array(sketch["comoments"] or [], dtype=np.float64).reshape(-1, len(COMOMENTS))
    return dict(zip(sketch["partners"] or (), values, strict=True))


def _merged_comoments(parts: Sequence[Sketch]) -> dict[str, Any]:
    found: dict[str, list[Floats]] = {}
    for part in parts:
        for partner, values in _partners(part).items():
            found.setdefault(partner, []).append(values)
    if not found:
        return {"partners": parts[-1]["partners"], "comoments": parts[-1]["comoments"]}
    merged = []
    for each in found.values():
        n, mean, partner_mean, squares, partner_squares, products = np.array(each).T
        if not n.sum():
            merged += [0.0] * len(COMOMENTS)
            continue
        total, middle, spread = _merged_moments(np.array([n, mean, squares]).T)
        _, partner_middle, partner_spread = _merged_moments(np.array([n, partner_mean, partner_squares]).T)
        together = float(products.sum() + n @ ((mean - middle) * (partner_mean - partner_middle)))
        merged += [total, middle, partner_middle, spread, partner_spread, together]
    return {"partners": list(found), "comoments": merged}


def _comparable(a: Sketch, b: Sketch) -> tuple[Counter[Any], Counter[Any]]:
    if kind(a["type"]) != "text":
        return _sum([a], "bins", "counts"), _sum([b], "bins", "counts")
    left, right = _sum([a], "values", "value_counts"), _sum([b], "values", "value_counts")
    rest = (2, "")
    unsure = {
        name
        for name in {*left, *right}
        if (a["other_values"] and name not in left) or (b["other_values"] and name not in right)
    }
    sides = []
    for counts, others in ((left, a["other_values"]), (right, b["other_values"])):
        side: Counter[Any] = Counter({rest: others})
        for name, count in counts.items():
            side[rest if name in unsure else (1, name)] += count
        sides.append(side)
    return sides[0], sides[1]


def _divergence(p: Floats, middle: Floats) -> float:
    """Kullback-Leibler divergence in bits."""
    given = p > 0
    return float((p[given] * np.log2(p[given] / middle[given])).sum())


def _limits(keys: Any) -> Floats:
    """Inner and outer limit of each bin, shape (2, bins)."""
    size = np.abs(keys) - OFFSET
    limits: Floats = np.sign(keys) * _exp(np.stack([size - 1, size]) * LOG_GAMMA)
    return limits


def _exp(exponents: Floats) -> Floats:
    """The limit of a bin; for the bin of the largest doubles, whose limit no double is, the largest double."""
    return np.exp(np.minimum(exponents, LARGEST_EXPONENT))


def _round_edges(sketch: Sketch, bins: int, whole: bool) -> list[float]:
    low, high = quantile(sketch, 0.005), quantile(sketch, 0.995)
    if low is None or high is None:
        return []
    width = max(high / bins - low / bins, 1.0 if whole else 1e-9 * max(abs(low), abs(high), 1e-300))
    power = 10.0 ** math.floor(math.log10(width))
    step = power * next(factor for factor in (1, 2, 5, 10) if power * factor >= width * (1 - 1e-9))
    first, last = math.floor(low / step), math.floor(high / step) + 1
    # Whole numbers lie within bins, not on their edges.
    edges = np.arange(first, last + 1 + whole) * step - (0.5 if whole else 0.0)
    limit = np.finfo(np.float64).max
    return [float(edge) for edge in np.unique(np.clip(edges, -limit, limit))]


def _sigma(x: float) -> float:
    if x == 1:
        return math.inf
    y, z, before = 1.0, x, -1.0
    while z != before:
        x, before = x * x, z
        z, y = z + x * y, y + y
    return z


def _tau(x: float) -> float:
    if x in (0, 1):
        return 0.0
    y, z, before = 1.0, 1 - x, -1.0
    while z != before:
        x, before, y = math.sqrt(x), z, 0.5 * y
        z -= (1 - x) ** 2 * y
    return z / 3
