"""What does the archive keep of a fitted model?"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from factory_assets.declarations.declared import DeclaredLine
from factory_assets.declarations.definitions import definitions
from factory_assets.declarations.tasks import classes_of, kind_of
from factory_assets.identity.code import code_of
from factory_assets.measures.charts import bars
from factory_assets.measures.habits import Habit, Stretches, habit, in_season, more_of, season
from factory_assets.measures.metrics import score
from factory_assets.measures.profiles import Profile, profile, profiles
from factory_assets.measures.tables import (
    LABEL,
    LEAF,
    YES,
    label_column,
    label_values,
    prediction_columns,
    with_columns,
)
from factory_assets.models.archived import SAMPLE_ROWS, ReleasedModel
from factory_assets.models.libraries import libraries
from factory_assets.models.matrix import encode
from factory_assets.models.parquet_files import LARGEST_DECODED
from factory_assets.training.dataset import NodeRows, past_of_labels
from factory_assets.training.fit.fitting import Fitted
from factory_assets.training.timeline import Timeline
from factory_resources.archive_folder import ArchiveFolder

#: Tasks whose predictions may lie beyond all labels that were seen.
RANGED = ("regression", "count", "quantile")


@dataclass(frozen=True)
class Release:
    """A version in the archive, with the metrics and charts that the ledger records of it."""

    version: str
    metrics: dict[str, float]
    charts: dict[str, str]


def release(
    archive: ArchiveFolder,
    declared: DeclaredLine,
    span: Timeline,
    past: Stretches,
    fitted: Fitted,
    rows: NodeRows,
    answered: Mapping[str, str],
) -> Release:
    """Store a fitted model; the version id that it gets is a hash of all that it is.

    past: stretches over which the habit of each column is learned, by which drift from the reference is judged.

    rows: the predictions on the recent ones are the reference for drift of predictions, since a model is surer of the rows
        that it has learnt by heart.
    answered: node -> champion, of the node and its ancestors, when the model was made. It goes along with the model, as
        do libraries and charts, and is no part of the version.
    """
    line, train = declared.line, rows.train
    seen = rows.recent if rows.recent.num_rows else train
    fit = fitted.fit
    predictions = fitted.model.predict(encode(seen, fitted.encoding)) if seen is rows.recent else fit
    predicted = prediction_columns(line.task, predictions)
    # Of a node of several segments, which of them its rows are of is watched as well.
    mixed = [LEAF] if len(train[LEAF].unique()) > 1 else []
    reference = profiles(train, [*fitted.encoding.features, *mixed])
    habits = _habits_of_columns(past, rows, reference)
    reference |= {name: profile(values, name=name) for name, values in predicted.items()}
    others = prediction_columns(line.task, fitted.model.predict(encode(rows.around, fitted.encoding)))
    learnt = prediction_columns(line.task, fit)
    for name, values in predicted.items():
        habits[name] = _habit_of_predictions(
            past,
            reference[name],
            learnt=(learnt[name], train["ds"]),
            seen=(values, seen["ds"]),
            others=(others[name], rows.around["ds"]),
        )
    reference[LABEL] = profile(label_column(line.task, train[LABEL]), name=LABEL)
    habits[LABEL] = _habit_of_labels(line.task, past_of_labels(past, span), rows, reference[LABEL])
    watched = {
        "profiles": {name: profile.to_dict() for name, profile in reference.items()},
        "habits": {name: one.to_dict() for name, one in habits.items()},
    }
    return _stored(archive, declared, span, fitted, train, watched, (seen, predictions), answered)


def release_again(
    archive: ArchiveFolder,
    declared: DeclaredLine,
    span: Timeline,
    fitted: Fitted,
    train: pa.Table,
    judged: ReleasedModel,
    answered: Mapping[str, str],
) -> Release:
    """Store a model that was fitted again on all labelled days once it had passed; as `release`.

    judged: the version that passed. What later rows are compared with is what that one has: its predictions of days that it has
    not learnt from, and past weeks of which some lie outside of its window. Of a refit neither is left: a model is surer of the rows
    that it has learnt by heart, and without weeks outside there is no verdict on drift. Predictions of a refit get none themselves:
    they differ from the judged version's by more than a week's differ from those of another. So the judged version is asked what it
    would have predicted (`monitoring.drift.days.watching`).
    """
    newest = of_holdout(train, judged)
    seen = newest if newest.num_rows else train
    predictions = fitted.model.predict(encode(seen, fitted.encoding))
    habits = judged.habits
    for name in prediction_columns(declared.line.task, predictions):
        if name in habits:
            habits[name] = replace(habits[name], outside=0)
    watched = {
        "judged": judged.version,
        "profiles": judged.manifest["profiles"],
        "habits": {name: one.to_dict() for name, one in habits.items()},
    }
    return _stored(archive, declared, span, fitted, train, watched, (seen, predictions), answered)


def of_holdout(train: pa.Table, judged: ReleasedModel) -> pa.Table:
    """Those of a refit's rows that the judged version has not learnt from."""
    import pyarrow.compute as pc

    return train.filter(pc.greater_equal(train["ds"], pa.scalar(judged.unlearnt_from)))


def _stored(
    archive: ArchiveFolder,
    declared: DeclaredLine,
    span: Timeline,
    fitted: Fitted,
    train: pa.Table,
    watched: Mapping[str, Any],
    sample: tuple[pa.Table, np.ndarray],
    answered: Mapping[str, str],
) -> Release:
    """watched: entries of the manifest that say what later rows are compared with. sample: rows, and the predictions of them."""
    line, (seen, predictions) = declared.line, sample
    predicted = prediction_columns(line.task, predictions)
    manifest = {
        "line": line.name,
        "segment": fitted.node,
        "task": line.task,
        "candidate": fitted.candidate,
        "estimator": fitted.estimator,
        "params": dict(fitted.params),
        "seed": line.seed,
        "encoding": fitted.encoding.to_dict(),
        "rows": fitted.rows,
        "naive": fitted.naive,
        "days": span.to_dict(),
        **watched,
    }
    # Only where there are any, so that the id of a model without them stays what it was.
    manifest |= {"options": fitted.options} if fitted.options else {}
    manifest |= {"rounds": fitted.rounds} if fitted.rounds else {}
    manifest |= {"warm_from": fitted.warm.version} if fitted.warm else {}
    manifest |= {"label_range": _range(train[LABEL])} if kind_of(line.task) in RANGED else {}
    parts = {
        **fitted.model.parts(),
        "definitions.json": _to_json(definitions(declared)),
        "reference.parquet": _sample(with_columns(seen.select(list(fitted.encoding.features)), predicted)),
    }
    charts = _charts(line.task, fitted, predictions)
    provenance = {
        "answered": dict(answered),
        "libraries": libraries(),
        "code": code_of("model"),
        "charts": sorted(charts),
    }
    attachments = {f"{name}.svg": chart for name, chart in charts.items()} | {"provenance.json": _to_json(provenance)}
    return Release(
        archive.store(line.name, manifest, parts, attachments),
        score(line.task, label_values(line.task, train[LABEL]), fitted.fit),
        {name: f"{name}.svg" for name in charts},
    )


def _range(labels: pa.ChunkedArray) -> list[float]:
    """The smallest label and the largest."""
    import pyarrow.compute as pc

    found = pc.min_max(labels)
    return [float(found["min"].as_py()), float(found["max"].as_py())]


def _to_json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, indent=1).encode()


def _charts(task: str, fitted: Fitted, predictions: np.ndarray) -> dict[str, bytes]:
    shares = sorted(zip(fitted.encoding.features, fitted.model.importances(), strict=True), key=lambda item: -item[1])
    importances = bars("Share of each feature in what the model does", {name: float(s) for name, s in shares})
    return {"importances": importances, "predictions": _predictions_chart(task, predictions)}


def _predictions_chart(task: str, predictions: np.ndarray) -> bytes:
    if classes := classes_of(task):
        mean = dict(zip(classes, predictions.mean(axis=0).tolist(), strict=True))
        return bars("Mean probability of each class on the newest days", mean)
    counts, edges = np.histogram(predictions, bins=20)
    between = {f"{low:.4g} to {high:.4g}": float(n) for low, high, n in zip(edges, edges[1:], counts, strict=False)}
    return bars("Predictions of the newest days, in rows", between)


def _habits_of_columns(past: Stretches, rows: NodeRows, reference: Mapping[str, Profile]) -> dict[str, Habit]:
    """Column -> its habit. reference: of the training rows."""
    parts = [rows.train, rows.recent, rows.around]
    stretches = [past.places(part["ds"].to_numpy()) for part in parts]
    days = np.concatenate([part["ds"].to_numpy() for part in parts])
    found = {}
    for name, one in reference.items():
        counts = [past.counts(one, part[name], places) for part, places in zip(parts, stretches, strict=True)]
        of_year = season(past, one, pa.concat_tables([part.select([name]) for part in parts])[name], days)
        found[name] = replace(habit(one, rows.train[name], np.sum(counts, axis=0), counts[0]), season=of_year)
    return found


def _habit_of_labels(task: str, past: Stretches, rows: NodeRows, reference: Profile) -> Habit:
    """The habit of the label. past: stretches of labels. reference: of those of the training rows."""
    learnt, weeks = label_column(task, rows.train[LABEL]), label_column(task, rows.labels[LABEL])
    own = past.counts(reference, learnt, past.places(rows.train["ds"].to_numpy()))
    counts = past.counts(reference, weeks, past.places(rows.labels["ds"].to_numpy()))
    of_year = season(past, reference, weeks, rows.labels["ds"].to_numpy())
    found = replace(habit(reference, learnt, counts, own), season=of_year)
    if task != "binary":
        return found
    if of_year:
        before, _ = in_season(reference, np.array(of_year.counts), ())
        found = replace(found, season=replace(of_year, factors=more_of(before, YES)))
    return replace(found, factors=more_of(reference, YES))


#: Values, and the day of each.
OnDays = tuple[pa.Array, pa.ChunkedArray]


def _habit_of_predictions(
    past: Stretches, reference: Profile, *, learnt: OnDays, seen: OnDays, others: OnDays
) -> Habit:
    """The habit of a column of predictions.

    A model is surer of the rows that it has learnt from: stretches of these are compared with each other, and stretches without
    any with the reference. learnt: predictions of the training rows. seen: of the rows that the reference is of, the recent or else
    the training rows. others: of the rows of other days.
    """

    def counts(one: Profile, on_days: OnDays, stretches: np.ndarray) -> np.ndarray:
        values, days = on_days
        places = past.places(days.to_numpy())
        return past.counts(one, values, np.where(np.isin(places, stretches), places, -1))

    with_learnt = np.unique(past.places(learnt[1].to_numpy()))
    within, fit = np.arange(past.number), profile(learnt[0], name=reference.column)
    own = counts(fit, learnt, within)
    of_learnt = habit(fit, learnt[0], own, own)
    without = np.setdiff1d(within, with_learnt)
    own = counts(reference, seen, without)
    found = habit(reference, seen[0], own + counts(reference, others, without), own).beside(of_learnt)
    return replace(found, season=season(past, reference, others[0], others[1].to_numpy()))


def _sample(rows: pa.Table) -> bytes:
    step = max(1, -(-rows.num_rows // SAMPLE_ROWS))
    kept = rows.take(pa.array(range(0, rows.num_rows, step)))
    # A reader takes no more than that: of long texts fewer rows are kept. Half, for pages have headers and dictionaries.
    while kept.nbytes > LARGEST_DECODED // 2 and kept.num_rows > 1:
        kept = kept.take(pa.array(range(0, kept.num_rows, 2)))
    target = io.BytesIO()
    pq.write_table(kept, target)
    return target.getvalue()
