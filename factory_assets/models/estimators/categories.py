"""Which number stands for a category, where trees split numbers alone?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from factory_assets.models.estimators.base import Examples, finite
from factory_assets.models.one_thread import ONE_BLAS_THREAD

#: Folds by which a row's own label is kept out of the number that stands for its category.
FOLDS = 5
#: Weight of the mean of all rows against those of a level: half of what a level of ten rows says is its own.
ROWS_OF_ALL = 10


@dataclass(frozen=True)
class Categories:
    """The number that stands for each level of each categorical column: its mean label, drawn to that of all rows.

    Trees split numbers; levels in the order of their mean label are split as well as by any set of them (Fisher, 1958). Of classes,
    which have no order, it is the mean of a number that stands for each class: see `_along_levels`.
    levels: column -> codes, ascending with NaN last, and the number of each. unseen: column -> that of any other code.
    """

    levels: Mapping[int, tuple[np.ndarray, np.ndarray]]
    unseen: Mapping[int, float]

    def encode(self, x: np.ndarray) -> np.ndarray:
        """A copy of x, shape (n, p), with numbers for codes."""
        x = finite(x)
        for column, (codes, values) in self.levels.items():
            place = np.minimum(np.searchsorted(codes, x[:, column]), len(codes) - 1)
            same = (codes[place] == x[:, column]) | (np.isnan(codes[place]) & np.isnan(x[:, column]))
            x[:, column] = np.where(same, values[place], self.unseen[column])
        return x


def learn_categories(examples: Examples, seed: int) -> tuple[Categories, np.ndarray]:
    """The numbers of the categories, and the encoded examples, in which no row's number knows the row's own label."""
    x = finite(examples.x)
    # scikit-learn cannot cut a column without a value into bins; no tree splits one that is the same in every row.
    x[:, np.isnan(x).all(axis=0)] = 0
    fold = np.random.default_rng(seed).permutation(len(x)) % FOLDS
    levels, unseen = {}, {}
    for column in examples.categorical:
        codes, place = np.unique(x[:, column], return_inverse=True)
        y = _along_levels(examples, place) if examples.classes else examples.y
        levels[column], unseen[column] = (codes, _drawn_means(place, y, len(codes))), float(y.mean())
        for one in range(FOLDS):
            others = fold != one
            if others.any():
                x[~others, column] = _drawn_means(place[others], y[others], len(codes))[place[~others]]
    return Categories(levels, unseen), x


def _along_levels(examples: Examples, place: np.ndarray) -> np.ndarray:
    """Shape (n,): of each row a number for its class, such that their means tell the levels apart as well as one number can.

    The first principal component of the levels' shares of classes, by which trees of more than two classes order levels
    (Coppersmith, Hong and Hosking, 1999). place: shape (n,), the level of each row.
    """
    classes = examples.y.astype(np.int64)
    counts = np.bincount(place * examples.classes + classes, minlength=(place.max() + 1) * examples.classes)
    counts = counts.reshape(-1, examples.classes).astype(np.float64)
    rows = counts.sum(axis=1)
    apart = counts / rows[:, None] - counts.sum(axis=0) / len(classes)
    with ONE_BLAS_THREAD:
        _, axes = np.linalg.eigh((apart * rows[:, None]).T @ apart)
    found = axes[:, -1]
    return (found * np.sign(found[np.argmax(np.abs(found))]))[classes]


def _drawn_means(place: np.ndarray, y: np.ndarray, levels: int) -> np.ndarray:
    """Mean label of each level, as if it had ROWS_OF_ALL more rows with the mean of all (Micci-Barreca, 2001)."""
    rows, total = np.bincount(place, minlength=levels), np.bincount(place, y, minlength=levels)
    return (total + ROWS_OF_ALL * y.mean()) / (rows + ROWS_OF_ALL)
