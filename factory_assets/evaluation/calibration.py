"""Do predictions mean what they say? How far they are from what happened in all, and how sure it is that this is no luck.

A probability of .3 says that three rows in ten are a yes; a number, that rows lie above it by as much as below; a quantile of .9,
that one label in ten exceeds it. Rankings, and most differences of two models, do not show where that is false: squared
probabilities rank alike.

Tenths of the rows are off by luck alone, the more the rarer the yes: a sum of distances is never 0. So the sign of a cell's
distance is taken from all other days, or clusters, and held against each day's own: of luck nothing is left on average, of a model
that is off all.

Sources: Murphy 1973 and Naeini, Cooper & Hauskrecht 2015 for the distance; Kott 2001 for how sure it is, as of `certainty`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from factory_assets.declarations.tasks import classes_of, kind_of, level_of
from factory_assets.evaluation.limits import BEYOND, OF_RIVAL, OFF
from factory_assets.measures.certainty import Groups
from factory_assets.measures.metrics import Floats, tenths


@dataclass(frozen=True)
class _Sense:
    """In which sense predictions should be what happened.

    cells, misses: of predictions, the cells that each row is of, and by how much it misses what happened there, upwards; shape (n, k).
    share: what each row adds to that of which it is a share how far they are off, shape (n,).
    """

    cells: Callable[[Floats], npt.NDArray[np.intp]]
    share: Floats
    misses: Callable[[Floats], Floats]


def calibration(
    task: str, y: Floats, p: Floats, theirs: Floats, groupings: Sequence[Groups], limit: float
) -> dict[str, float]:
    """How far off a challenger is (OFF), and its rival (OF_RIVAL), and how sure it is that it is by `limit` more (BEYOND).

    y, p, theirs: as of `certainty.judge`. groupings: the ways in which rows belong together; the least sure of them counts.
    Both are shares. Of binary probabilities: of the rows of the rarer class; of classes: of those of all but the most frequent; of a
    count: of what happened; of a quantile: of the rows that should lie on the side that lacks some. A number may be meant as the
    mean or as the median: its bias as a share of its mean absolute error, or the missing share of a half, whichever says less.
    What moves everything at once, such as a harder season, makes the rival as wrong: so it is the difference that counts.
    Nothing of rows that cannot say: of fewer than two groups, or where there is nothing of which it would be a share.

    >>> day, y = np.repeat(np.arange(7), 100), np.tile([0.0, 0.0, 0.0, 1.0], 175)
    >>> found = calibration("binary", y, np.full(700, 0.05), np.full(700, 0.25), [Groups(day)], 0.2)
    >>> {name: round(value, 2) for name, value in found.items()}
    {'calibration': 0.8, 'calibration_of_rival': 0.0, 'calibration_beyond': 1.0}
    """
    if not len(y) or any(groups.number < 2 for groups in groupings):
        return {}
    senses = [sense for sense in _senses(task, y, p) if not any(_lacks(sense.share, groups) for groups in groupings)]
    if not senses:
        return {}
    return min((_found(sense, p, theirs, groupings, limit) for sense in senses), key=lambda found: found[BEYOND])


def _found(sense: _Sense, p: Floats, theirs: Floats, groupings: Sequence[Groups], limit: float) -> dict[str, float]:
    found, sure = dict[str, float](), 1.0
    for groups in groupings:
        own, other = (np.maximum(_by_group(sense, each, groups), 0) for each in (p, theirs))
        found = found or {OFF: float(own[-1]), OF_RIVAL: float(other[-1])}
        sure = min(sure, _sure(own - other, limit))
    return found | {BEYOND: sure}


def _lacks(share: Floats, groups: Groups) -> bool:
    """Whether nothing is left to be a share of without one of the groups, or more than a double can tell."""
    of = np.bincount(groups.of, share, groups.number)
    return not np.isfinite(of.sum()) or bool(np.any(of.sum() - of <= 0))


def _senses(task: str, y: Floats, p: Floats) -> list[_Sense]:
    kind, level = kind_of(task), level_of(task)
    if level is not None:
        return [_quantile(y, p, level)]
    if classes := classes_of(task):
        happened = np.eye(len(classes))[y.astype(np.intp)]
        rarer = y != np.argmax(happened.sum(axis=0))

        def of_class(p: Floats) -> npt.NDArray[np.intp]:
            return np.stack([tenths(p[:, place]) + 10 * place for place in range(len(classes))], axis=1)

        # What one class has too much another has too little.
        return [_Sense(of_class, rarer.astype(np.float64), lambda p: (p - happened) / 2)]
    if kind == "binary":
        return [_Sense(lambda p: tenths(p)[:, None], y if y.mean() <= 0.5 else 1 - y, lambda p: (p - y)[:, None])]
    mean = _Sense(_one_cell, y if kind == "count" else np.abs(p - y), lambda p: (p - y)[:, None])
    return [mean] if kind == "count" else [mean, _quantile(y, p, 0.5)]


def _one_cell(p: Floats) -> npt.NDArray[np.intp]:
    return np.zeros((len(p), 1), np.intp)


def _quantile(y: Floats, p: Floats, level: float) -> _Sense:
    """Labels that equal a quantile are on the side that lacks some."""

    def misses(p: Floats) -> Floats:
        below, up_to = ((side.astype(np.float64) - level) for side in (y < p, y <= p))
        if below.mean() > 0:
            return below[:, None]
        return (up_to if up_to.mean() < 0 else np.zeros(len(y)))[:, None]

    return _Sense(_one_cell, np.full(len(y), 1 - level if misses(p).mean() > 0 else level), misses)


def _by_group(sense: _Sense, p: Floats, groups: Groups) -> Floats:
    """How far off the rows without each group are, and all of them; shape (groups + 1,)."""
    cells, misses, share = sense.cells(p), sense.misses(p), sense.share
    width = int(cells.max()) + 1
    place = groups.of[:, None] * width + cells
    sums = np.bincount(place.ravel(), misses.ravel(), groups.number * width).reshape(groups.number, width)
    own = (np.sign(sums.sum(axis=0) - sums) * sums).sum(axis=1)
    of = np.bincount(groups.of, share, groups.number)
    return np.append(own.sum() - own, own.sum()) / np.append(of.sum() - of, of.sum())


def _sure(off: Floats, limit: float) -> float:
    """How sure it is that it is more than the limit, from 0 to 1. off: without each group, and of all."""
    from scipy.special import stdtr

    count, without = len(off) - 1, off[:-1]
    error = float(np.sqrt((count - 1) / count * np.sum((without - without.mean()) ** 2)))
    if error == 0:
        return float(off[-1] > limit)
    return float(stdtr(count - 1, (off[-1] - limit) / error))
