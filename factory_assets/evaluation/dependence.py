"""What do models predict on average while one feature takes each of its values? Their partial dependence, side by side.

Every model answers for the sample of its own training rows that the archive keeps, with the feature set to one value in all of them
and the other features as they are. Nothing is drawn: the same archive gives the same numbers.

Source: Friedman 2001, section 8.2.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from factory_assets.declarations.tasks import classes_of
from factory_assets.measures.metrics import Floats
from factory_assets.models.archived import ReleasedModel
from factory_assets.models.matrix import encode

#: Values that a feature takes: each of its own where they are no more, else quantiles between which 90 % of the rows lie.
POINTS = 20
LOWEST, HIGHEST = 0.05, 0.95


@dataclass(frozen=True)
class Dependence:
    """How models answer to one feature.

    values: numbers in order, or levels, those of most rows first. means: version -> mean prediction for each value, shape (n,), of
    a model that knows the feature; NaN for a level that it does not know. of: the class whose probability that is; "" without classes.
    """

    feature: str
    values: tuple[float, ...] | tuple[str, ...]
    means: Mapping[str, Floats]
    of: str = ""

    @property
    def is_of_levels(self) -> bool:
        return bool(self.values) and isinstance(self.values[0], str)


def some(rows: pa.Table, most: int) -> pa.Table:
    """So many rows at most, from all over the table: the same ones whenever it is asked."""
    if rows.num_rows <= most:
        return rows
    return rows.take(pa.array(np.linspace(0, rows.num_rows - 1, most).astype(np.int64)))


def dependences(
    models: Sequence[ReleasedModel], features: Sequence[str], task: str, most: int | None = None
) -> list[Dependence]:
    """The dependence of models on each of some features; without a feature that no sample has a value of.

    task: the line's, whose classes may be others by now. most: rows of each sample; all of them if absent.
    """
    tables = [(model, model.sample if most is None else some(model.sample, most)) for model in models]
    samples = [(model, encode(rows, model.encoding)) for model, rows in tables if rows.num_rows]
    found = (_dependence([each for each in samples if name in each[0].features], name, task) for name in features)
    return [each for each in found if each is not None]


def _dependence(samples: Sequence[tuple[ReleasedModel, np.ndarray]], feature: str, task: str) -> Dependence | None:
    # A feature that is a text in one model and a number in the other is another one there.
    are_levels = {feature in model.encoding.categories for model, _ in samples}
    if len(are_levels) != 1:
        return None
    values = _levels(samples, feature) if are_levels.pop() else _numbers(samples, feature)
    if len(values) < 2:
        return None
    means = {model.version: _means(model, matrix, feature, values, task) for model, matrix in samples}
    means = {version: each for version, each in means.items() if not np.isnan(each).all()}
    classes = classes_of(task)
    if not classes:
        return Dependence(feature, values, means)
    # Of many classes the one that the feature moves most.
    moved = [np.nanmax(each, axis=0) - np.nanmin(each, axis=0) for each in means.values()]
    place = int(np.argmax(np.max(moved, axis=0)))
    return Dependence(feature, values, {version: each[:, place] for version, each in means.items()}, classes[place])


def _means(model: ReleasedModel, matrix: np.ndarray, feature: str, values: Sequence[float | str], task: str) -> Floats:
    """Shape (n,), or (n, k) of classes."""
    place, levels = model.features.index(feature), model.encoding.categories.get(feature)
    as_it_is = model.predict_encoded(matrix, task).mean(axis=0)
    means, changed = [], matrix.copy()
    for value in values:
        if levels is not None and value not in levels:
            means.append(np.full_like(as_it_is, np.nan))
            continue
        changed[:, place] = value if levels is None else levels.index(str(value))
        means.append(model.predict_encoded(changed, task).mean(axis=0))
    return np.array(means)


def _numbers(samples: Sequence[tuple[ReleasedModel, np.ndarray]], feature: str) -> tuple[float, ...]:
    column = np.concatenate([matrix[:, model.features.index(feature)] for model, matrix in samples])
    known = column[np.isfinite(column)]
    distinct = np.unique(known)
    if len(distinct) > POINTS:
        # Values that there are, not means of two of them: a whole number stays one.
        distinct = np.unique(np.quantile(known, np.linspace(LOWEST, HIGHEST, POINTS), method="nearest"))
    return tuple(float(each) for each in distinct)


def _levels(samples: Sequence[tuple[ReleasedModel, np.ndarray]], feature: str) -> tuple[str, ...]:
    rows = Counter[str]()
    for model, matrix in samples:
        column, levels = matrix[:, model.features.index(feature)], model.encoding.categories[feature]
        rows.update(levels[int(each)] for each in column[np.isfinite(column)])
    return tuple(sorted(rows, key=lambda level: (-rows[level], level))[:POINTS])
