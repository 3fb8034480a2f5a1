"""Do two features say the same under two names? Their values for the same entities on the same day tell.

Pearson's correlation of every pair over the entities that have both. Declarations that are the same are found by
`catalogue.twins`; this finds the others: a sum in euro and one in cents, a count of orders and one of their ids.
"""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import duckdb
import numpy as np

from factory_assets.declarations.catalogue import Catalogue
from factory_assets.declarations.expressions import identifier
from factory_assets.declarations.types import ACCEPTED
from factory_assets.declarations.view import View
from factory_assets.features.examples.rows import Load

#: One feature then leaves two thousandths of the other's variance to be explained: a model has no use for both.
CORRELATED = 0.999
#: Fewer entities correlate by chance, and say little of those to come.
MIN_ENTITIES = 100
#: With so many rows, a correlation of .999 has a standard error of 1e-5, (1 - r²)/√n; more would cost memory only.
MAX_ENTITIES = 50_000
#: Values that differ by less than this share of their size differ by rounding.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Pair:
    """Two features of one entity whose values on a day correlate, over `entities` that have both."""

    first: str
    second: str
    r: float
    entities: int
    day: dt.date


def comparable(catalogue: Catalogue) -> list[list[View]]:
    """Views of one entity, by its name and its type, so that one finds the entities of another."""
    found: dict[tuple[tuple[str, ...], ...], list[View]] = {}
    for view in catalogue.views.values():
        types = catalogue.streams[view.stream].types
        found.setdefault((view.entity, tuple(types[key] for key in view.entity)), []).append(view)
    return list(found.values())


def newest_common(days: Mapping[str, Collection[dt.date]]) -> dict[dt.date, set[frozenset[str]]]:
    """Day -> the pairs of views, one with itself among them, that have it as the newest day in common."""
    found: dict[dt.date, set[frozenset[str]]] = {}
    for one, other in combinations_with_replacement(days, 2):
        if common := set(days[one]) & set(days[other]):
            found.setdefault(max(common), set()).add(frozenset([one, other]))
    return found


def duplicates(
    con: duckdb.DuckDBPyConnection, views: Sequence[View], days: Mapping[str, Collection[dt.date]], load: Load
) -> list[Pair]:
    """Pairs of features that correlate beyond CORRELATED, the strongest first.

    views: of one entity, see `comparable`. days: view -> days of its table `features/<view>`.
    load: makes days of a table a view of a name on the connection.
    """
    pairs = []
    for day, compared in newest_common({view.name: days[view.name] for view in views}).items():
        present = [view for view in views if any(view.name in pair for pair in compared)]
        for view in present:
            load(f"day_{view.name}", f"features/{view.name}", day, day)
        columns, values = _matrix(con, present)
        pairs += [
            Pair(columns[i], columns[j], r, n, day)
            for i, j, r, n in correlated(values)
            if frozenset([columns[i].partition(".")[0], columns[j].partition(".")[0]]) in compared
        ]
    return sorted(pairs, key=lambda pair: (-abs(pair.r), pair.first, pair.second))


def _matrix(con: duckdb.DuckDBPyConnection, views: Sequence[View]) -> tuple[list[str], np.ndarray]:
    """Numeric features of the loaded views by canonical name, and their values: a row an entity, NaN for none."""
    key = ", ".join(map(identifier, views[0].entity))
    everyone = " UNION ".join(f"SELECT {key} FROM day_{view.name}" for view in views)
    chosen: dict[str, str] = {}
    for view in views:
        kinds = {name: kind for name, kind, *_ in con.execute(f"DESCRIBE day_{view.name}").fetchall()}
        for name, canonical in zip(view.names, view.canonical, strict=True):
            # A table may be older than the declaration: what it does not hold yet cannot be compared.
            if ACCEPTED["a number"].fullmatch(kinds.get(name, "")):
                chosen[canonical] = f"CAST(day_{view.name}.{identifier(name)} AS DOUBLE) AS {identifier(canonical)}"
    if not chosen:
        return [], np.empty((0, 0))
    joins = " ".join(f"LEFT JOIN day_{view.name} USING ({key})" for view in views)
    # Chosen by a hash, entities are the same in every run, and not those that happen to have the smallest ids.
    found = con.execute(
        f"""SELECT {", ".join(chosen.values())} FROM ({everyone}) everyone {joins}
            ORDER BY hash({key}), {key} LIMIT {MAX_ENTITIES}"""
    ).fetchnumpy()
    return list(chosen), np.column_stack([np.ma.filled(found[name].astype(float), np.nan) for name in chosen])


def correlated(values: np.ndarray) -> list[tuple[int, int, float, int]]:
    """Pairs of columns (i, j, r, rows that have both), i < j, with |r| > CORRELATED over at least MIN_ENTITIES rows.

    values: shape (n, k), NaN or infinite where there is none. A column that is constant over the rows of a pair has
    no correlation.
    """
    if not values.size:
        return []
    there = np.isfinite(values)
    raw = np.where(there, values, 0.0)
    scaled = raw / np.maximum(np.abs(raw).max(axis=0), np.finfo(float).tiny)
    filled = np.where(there, scaled - scaled.sum(axis=0) / np.maximum(there.sum(axis=0), 1), 0.0)
    present = there.astype(float)
    n = present.T @ present
    sums, squares, products = filled.T @ present, (filled**2).T @ present, filled.T @ filled
    variances = n * squares - sums**2
    with np.errstate(divide="ignore", invalid="ignore"):
        rough = (n * products - sums * sums.T) / np.sqrt(variances * variances.T)
    # All pairs at once cost a little precision where a pair's rows are few and alike: those that are near are asked again.
    near = np.triu(~(np.abs(rough) < CORRELATED - 0.01) & (n >= MIN_ENTITIES), k=1)
    found = []
    for i, j in np.argwhere(near):
        both = there[:, i] & there[:, j]
        r = _pearson(scaled[both, i], scaled[both, j])
        if abs(r) > CORRELATED:
            found.append((int(i), int(j), r, int(both.sum())))
    return found


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Correlation of two columns without gaps; 0 where one of them is constant, but for rounding."""
    if any(np.ptp(column) <= ROUNDING * np.abs(column).max() for column in (x, y)):
        return 0.0
    x, y = ((column - column.mean()) / np.ptp(column) for column in (x, y))
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1, 1))
