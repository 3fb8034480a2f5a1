"""How good is somebody on parts of the rows, and what do the decisions cost? Slices and groups that a line declares, and its cost.

Which slices and groups a row is of is computed once, where it is predicted, and kept with it. All else follows from what is kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from factory_assets.declarations import expressions
from factory_assets.declarations.line import Line
from factory_assets.declarations.tasks import COST, classes_of, kind_of
from factory_assets.measures.metrics import Floats, costs_of, mae, most_likely, score

#: Columns of rows that are kept: the slices and groups that each is of, and what was asked of them.
SLICES, ASKED = "slices", "asked"
#: A column with more values than this names things, and no groups of them.
MOST_GROUPS = 100
#: What is known of a group, and from how many of its rows: of all, or of those that are a yes, or are none.
RATES = {"selection_rate": "rows", "true_positive_rate": "positives", "false_positive_rate": "negatives"}
#: Measure of a column's groups, as declared -> what is recorded of it, and of which measure of a group it is made.
DISPARITIES = {
    "selection": ("selection_ratio", "selection_rate"),
    "true_positive": ("true_positive_difference", "true_positive_rate"),
    "false_positive": ("false_positive_difference", "false_positive_rate"),
    "mae_ratio": ("mae_ratio", "mae"),
    "mean_error": ("mean_error_difference", "mean_error"),
}


@dataclass(frozen=True)
class Asked:
    """What is measured beside the metrics of all rows.

    metric: of slices. slices: name -> expression. groups: column -> the least rows of a group that is compared.
    threshold: from which on a prediction is a yes. cost: of each outcome; {} where none is declared.
    """

    metric: str
    slices: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, int] = field(default_factory=dict)
    threshold: float = 0.5
    cost: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, line: Line, metric: str) -> Asked | None:
        """None of a line that declares neither slices nor groups nor a cost."""
        gate = line.gate
        if not (gate.slices or gate.groups or gate.cost):
            return None
        return cls(
            metric,
            {name: each.where for name, each in gate.slices.items()},
            {column: each.rows for column, each in gate.groups.items()},
            gate.decides_at,
            dict(gate.cost.outcomes) if gate.cost else {},
        )

    @property
    def json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Asked:
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Parts:
    """What was asked of some rows.

    masks: which of them are of each slice, and of each group that is compared: name -> shape (n,). groups: column -> its groups.
    """

    asked: Asked
    masks: Mapping[str, np.ndarray]
    groups: Mapping[str, Sequence[str]]


def of(measure: str, part: str) -> str:
    """The name of a measure of a slice, a group, or of a column's groups."""
    return f"{measure} of {part}"


def belonging(asked: Asked, rows: pa.Table) -> pa.Array:
    """The slices and groups that each row is of, as lists of names. rows: of the examples, with their features.

    An expression that is null, or cannot be computed, is not true. Group a of a column is called `column=a`, rows without a value are
    `column is null`.
    """
    from factory_resources.scratch import scratch

    names = [
        f"CASE WHEN coalesce(TRY({expressions.over_features(where)}), false) THEN '{name}' END"
        for name, where in asked.slices.items()
    ]
    names += [
        f"coalesce('{column}=' || {expressions.identifier(column)}::VARCHAR, '{column} is null')"
        for column in asked.groups
    ]
    if not names:
        return pa.array([[]] * rows.num_rows, pa.list_(pa.string()))
    read = {name for where in asked.slices.values() for name in expressions.read_by(where, canonical=True)}
    used = rows.select(sorted({*read, *asked.groups})) if read or asked.groups else rows.select(rows.column_names[:1])
    with scratch() as con:
        con.register("rows_", used)
        columns = con.sql(f"SELECT {', '.join(f'{each} AS c{place}' for place, each in enumerate(names))} FROM rows_")
        found = [column.combine_chunks().cast(pa.string()) for column in columns.to_arrow_table().columns]
    is_of = np.column_stack([each.is_valid().to_numpy(zero_copy_only=False) for each in found])
    row, place = np.nonzero(is_of)
    values = pa.concat_arrays(found).take(pa.array(place * rows.num_rows + row))
    return pa.ListArray.from_arrays(pa.array(np.append(0, np.cumsum(is_of.sum(axis=1))), pa.int32()), values)


def parts_of(rows: pa.Table) -> Parts | None:
    """What was asked of rows that are kept, and the slices and groups that they are of; None where nothing was asked."""
    import pyarrow.compute as pc

    if ASKED not in rows.column_names or not rows.num_rows or not rows[ASKED][0].is_valid:
        return None
    asked, column = Asked.read(str(rows[ASKED][0].as_py())), rows[SLICES].combine_chunks()
    names, place = pc.list_flatten(column), pc.list_parent_indices(column).to_numpy(zero_copy_only=False)
    there = sorted(filter(None, pc.unique(names).to_pylist()))
    groups = {each: [name for name in there if name.startswith(f"{each}=")] for each in asked.groups}
    groups |= {each: [*own, *({f"{each} is null"} & {*there})] for each, own in groups.items()}
    compared = [name for own in groups.values() if len(own) <= MOST_GROUPS for name in own]
    masks = {}
    for name in (*asked.slices, *compared):
        masks[name] = np.zeros(rows.num_rows, dtype=bool)
        masks[name][place[pc.equal(names, name).to_numpy(zero_copy_only=False)]] = True
    return Parts(asked, masks, groups)


def measured(task: str, y: Floats, p: Floats, parts: Parts | None) -> dict[str, float]:
    """Every metric of all rows, and what is asked of their parts; what these rows leave undefined is absent.

    y, p: as of `metrics.score`.
    """
    found = score(task, y, p)
    if parts is None:
        return found
    for name in parts.asked.slices:
        mask = parts.masks[name]
        found[of("rows", name)] = float(mask.sum())
        value = _of_slice(task, y[mask], p[mask], parts.asked) if mask.any() else None
        if value is not None:
            found[of(parts.asked.metric, name)] = value
    for column, least in parts.asked.groups.items():
        found |= _of_groups(task, y, p, parts, column, least)
    if parts.asked.cost:
        found["cost"] = float(np.mean(costs(parts.asked, y, p))) if len(y) else np.nan
    return {name: value for name, value in found.items() if np.isfinite(value)}


def _of_slice(task: str, y: Floats, p: Floats, asked: Asked) -> float | None:
    return float(np.mean(costs(asked, y, p))) if asked.metric == COST else score(task, y, p).get(asked.metric)


def costs(asked: Asked, y: Floats, p: Floats) -> Floats:
    """What the decision on each row costs, shape (n,): a yes from the threshold on."""
    return costs_of(y, p, asked.threshold, asked.cost)


def _of_groups(task: str, y: Floats, p: Floats, parts: Parts, column: str, least: int) -> dict[str, float]:
    """Measures of each group of a column, and by how much they differ among those that have rows enough."""
    groups = parts.groups[column]
    found = {of("groups", column): float(len(groups))}
    if len(groups) > MOST_GROUPS:
        return found
    for case, (happened, decided) in _cases(task, y, p, parts.asked.threshold).items():
        compared = dict[str, list[float]]()
        for group in groups:
            mask = parts.masks[group]
            own = dict(_of_group(happened[mask], decided[mask]))
            for name, value in own.items():
                if name not in RATES.values() and own[RATES.get(name, "rows")] >= least:
                    compared.setdefault(name, []).append(value)
            found |= {of(name if name == "rows" else name + case, group): value for name, value in own.items()}
        for recorded, measure in DISPARITIES.values():
            if len(values := compared.get(measure, [])) > 1:
                found[of(recorded + case, column)] = _apart(recorded, max(values), min(values))
    return found


def _apart(recorded: str, highest: float, lowest: float) -> float:
    """By how much groups differ; NaN where they cannot be compared."""
    if recorded.endswith("_difference"):
        return highest - lowest
    if recorded == "selection_ratio":
        return lowest / highest if highest else np.nan
    return highest / lowest if lowest else np.nan


def _cases(task: str, y: Floats, p: Floats, threshold: float) -> dict[str, tuple[npt.NDArray, npt.NDArray]]:
    """What is compared between groups: how its measures' names end -> what happened, and what is predicted or decided.

    Of classes each is compared with all others: who is of it, and who gets it as the most likely one.
    """
    if classes := classes_of(task):
        got = most_likely(p)
        return {f"_{name}": (y == place, got == place) for place, name in enumerate(classes)}
    return {"": (y == 1, p >= threshold) if kind_of(task) == "binary" else (y, p)}


def _of_group(y: npt.NDArray, p: npt.NDArray) -> Iterator[tuple[str, float]]:
    """Rows of the kinds that rates are shares of, and what is measured on them. y, p: numbers, or yes and no."""
    yield "rows", float(len(y))
    if y.dtype != np.bool_:
        yield "mae", mae(y, p)
        yield "mean_error", float(np.mean(p - y))
        return
    happened, yes = y, p
    yield "positives", float(happened.sum())
    yield "negatives", float((~happened).sum())
    yield "selection_rate", float(yes.mean())
    if happened.any():
        yield "true_positive_rate", float(yes[happened].mean())
    if not happened.all():
        yield "false_positive_rate", float(yes[~happened].mean())
