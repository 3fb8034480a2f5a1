"""Does a feature have the label, under another name? A copy, a rising or falling function of it, or one with a little noise or nulls.

A model of such a feature is perfect in the holdout as in training, and nothing on the day when the label is not known yet. Only the
data tell so: `no_leak` finds what the declaration tells of. What an honest feature knows by itself of a label is far from all of it:
the limits lie above the strongest that were found in public data, and below copies with noise of a thirtieth of the label's spread,
or with one yes in a hundred lost.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from factory_assets.declarations.line import ANY, Line
from factory_assets.declarations.tasks import classes_of, kind_of
from factory_assets.evaluation.met import Met
from factory_assets.measures.metrics import Floats, roc_auc
from factory_assets.measures.tables import LABEL, label_values
from factory_assets.models.archived import ReleasedModel

#: Of a number: the correlation, of values or of ranks, from which on a feature is a copy. Noise of a thirtieth of the label's
#: spread leaves .9994 of it.
OF_NUMBERS = 0.999
#: Of a yes or a class: the share of what the label's shares leave open that a feature tells; of a yes, twice
#: the AUC's distance from .5.
OF_CLASSES = 0.985
#: Rows that are looked at; and how few with a value, and of the rarer class, say nothing.
MOST_ROWS, FEWEST, FEWEST_YES = 20_000, 100, 10
#: A feature that is null in more rows than this share tells little of the label.
MOST_NULLS = 0.5
#: A column of no more values has names, whatever its type. Of a class, numbers fall into so many bins.
MOST_NAMES, BINS = 50, 200


def copied(line: Line, met: Met, model: ReleasedModel, rows: pa.Table) -> str | None:
    """That a feature of the model has the label of a node's rows, in a sentence; None where none has.

    rows: the node's in the holdout with features and labels, in any order. Of a gate that takes any better value nothing is asked.
    """
    import pyarrow.compute as pc

    if met.since is None or line.gate.certainty <= ANY:
        return None
    step = max(rows.num_rows // MOST_ROWS, 1)
    some = rows.take(pa.array(np.arange(0, rows.num_rows, step))).filter(pc.field("ds") >= met.since)
    y = label_values(line.task, some[LABEL])
    asked = [name for name in model.features if name in some.column_names and name not in line.gate.may_tell]
    told = {name: tells(line.task, y, some[name].combine_chunks()) for name in asked}
    limit = OF_NUMBERS if kind_of(line.task) in ("regression", "count", "quantile") else OF_CLASSES
    found = {name: share for name, share in told.items() if share >= limit}
    return _in_words(found) if found else None


def _in_words(found: Mapping[str, float]) -> str:
    name = max(found, key=found.__getitem__)
    others = f", as do {len(found) - 1} more" if len(found) > 1 else ""
    return (
        f"feature {name} tells the label all by itself ({found[name]:.4f} of 1){others}: it seems to be a copy, which nobody has "
        f"before the label is known; if it is known with the observation, declare gate: {{may_tell: [{name}]}}"
    )


def tells(task: str, y: Floats, column: pa.Array) -> float:
    """How much of the label a column tells by itself, from 0 to 1; 0 where the rows cannot say.

    y: labels as numbers, or places of classes, shape (n,). column: n values of any type.

    >>> round(tells("regression", np.arange(200.0), pa.array(np.arange(200.0) ** 3)), 2)
    1.0
    """
    there = column.is_valid().to_numpy(zero_copy_only=False)
    if there.sum() < max(FEWEST, (1 - MOST_NULLS) * len(y)):
        return 0.0
    y, values = y[there], _values(column.filter(pa.array(there)))
    distinct = np.unique(values)
    if len(distinct) < 2 or len(np.unique(y)) < 2:
        return 0.0
    named = not np.issubdtype(values.dtype, np.number) or len(distinct) <= MOST_NAMES
    if classes := classes_of(task):
        return _of_classes(y.astype(np.intp), values if named else _bins(values), len(classes))
    if named and len(distinct) > 2:
        # What is learnt of names is told of other rows: else names that come once would tell all.
        learnt = np.arange(len(y)) % 2 == 0
        return _ranks(task, y[~learnt], _means(values, y, learnt)[~learnt])
    return _ranks(task, y, np.unique(values, return_inverse=True)[1].astype(np.float64) if named else values)


def _values(column: pa.Array) -> npt.NDArray:
    """Numbers as floats, also those that are written as texts; all else as texts."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    if pa.types.is_temporal(kind) and not pa.types.is_duration(kind):
        column = column.cast(pa.timestamp("us") if not pa.types.is_time(kind) else pa.time64("us")).cast(pa.int64())
    try:
        values = np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return np.asarray(column.cast(pa.string()).to_numpy(zero_copy_only=False), str)
    # A rank of what is no number is that of the largest.
    return np.where(np.isnan(values), np.inf, values)


def _means(values: npt.NDArray, y: Floats, learnt: npt.NDArray[np.bool_]) -> Floats:
    """Of each row the mean label of the learnt rows with its value; of a value that none has, that of all."""
    place = np.unique(values, return_inverse=True)[1]
    number = np.bincount(place[learnt], minlength=place.max() + 1)
    total = np.bincount(place[learnt], y[learnt], minlength=place.max() + 1)
    means = np.where(number > 0, total / np.maximum(number, 1), y[learnt].mean())
    return np.asarray(means[place])


def _ranks(task: str, y: Floats, values: Floats) -> float:
    """How alike labels and values, or their orders, are, in either direction: noise hides an order where labels lie close."""
    from scipy.stats import rankdata

    if task == "binary":
        rarer = min(y.sum(), len(y) - y.sum())
        return 0.0 if rarer < FEWEST_YES else float(abs(2 * roc_auc(y, values) - 1))
    found = [0.0]
    for one, other in ((y, values), (rankdata(y), rankdata(values))):
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            found.append(float(abs(np.corrcoef(one, other)[0, 1])))
    return max(each for each in found if np.isfinite(each))


def _bins(values: Floats) -> npt.NDArray:
    return np.searchsorted(np.unique(np.quantile(values, np.arange(1, BINS) / BINS)), values)


def _of_classes(y: npt.NDArray[np.intp], values: npt.NDArray, classes: int) -> float:
    """By how much fewer classes are wrong if each row gets that of its value, than if all get the most frequent one."""
    learnt, place = np.arange(len(y)) % 2 == 0, np.unique(values, return_inverse=True)[1]
    seen = np.bincount(place[learnt] * classes + y[learnt], minlength=(place.max() + 1) * classes).reshape(-1, classes)
    most = int(np.argmax(np.bincount(y[learnt], minlength=classes)))
    guess = np.where(seen.sum(axis=1) > 0, np.argmax(seen, axis=1), most)[place]
    wrong, otherwise = (guess != y)[~learnt].sum(), (y != most)[~learnt].sum()
    return 0.0 if otherwise < FEWEST_YES else max(float(1 - wrong / otherwise), 0.0)
