"""How did one prediction come about? Its events, features, node, version, score and what each feature added, and the outcome.

Everything is read, or computed anew beside what is stored: nothing is written.
"""

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.days import DAY
from factory_assets.declarations.expressions import identifier
from factory_assets.features.examples.labels import stream_of
from factory_assets.features.examples.single import Behind, Single
from factory_assets.features.point_in_time.tables import loader
from factory_assets.identity.nodes import answering
from factory_assets.measures.tables import prediction_columns, prediction_fields
from factory_assets.models.archived import ReleasedModel, load
from factory_assets.release.rebuild import Origin
from factory_resources.ledger import Ledger
from factory_resources.records.decisions import in_words

#: Two predictions are the same up to the last bits, in which two machines may differ.
SAME = 1e-12


class NotThere(LookupError):
    """There is no such prediction, or what it was made of is gone; the message says what there is."""


@dataclass(frozen=True)
class Feature:
    """A value that a prediction used, and the value by the events as they are now.

    used: as `<line>/examples` holds it. verdict: equal, differs, or why it cannot be told.
    adds: what it adds to each score; () where the estimator cannot tell.
    """

    name: str
    used: Any
    now: Any
    verdict: str
    adds: tuple[float, ...]


@dataclass(frozen=True)
class Score:
    """The scores that a prediction is made of: base plus what all features add; see `models.contributions`."""

    base: tuple[float, ...]
    total: tuple[float, ...]
    link: str
    of: tuple[str, ...]
    then: str


@dataclass(frozen=True)
class Outcome:
    """What happened. label: None while it is not known; state: when it became known, or is due, in a sentence.

    earlier: labels that were corrected since, as (label, known at).
    """

    label: Any
    known_at: dt.datetime | None
    state: str
    earlier: tuple[tuple[Any, dt.datetime], ...] = ()


@dataclass(frozen=True)
class Explained:
    """A row of `<line>/predictions`, and what it came of.

    prediction: column -> value, as it is stored; again: as the version says now of the stored features; repeated: whether they
    are the same. why: why this node and version answered. score: None where the estimator cannot tell.
    """

    line: str
    example_id: Any
    day: dt.date
    leaf: str
    observed_at: dt.datetime
    node: str
    version: str
    why: str
    estimator: str
    prediction: Mapping[str, Any]
    again: Mapping[str, Any]
    repeated: bool
    score: Score | None
    features: tuple[Feature, ...]
    behind: tuple[Behind, ...]
    outcome: Outcome


def explain(declared: DeclaredLine, example: str, day: dt.date | None, origin: Origin, events: int) -> Explained:
    """The prediction for an example, explained.

    example: its id, as text. day: where it is looked for; None for all days. events: how many of each view are listed.
    Raises NotThere where the id has no prediction, or several and no day is named, or where its example is gone.
    """
    line = declared.line.name
    with origin.engine.connect() as con:
        predicted = _predicted(con, declared, example, day, origin)
        found: dt.date = predicted["ds"]
        asked = _asked(con, declared, predicted, origin)
        model = load(origin.archive, line, predicted["version"])
        stored = con.sql(f"FROM {asked}").to_arrow_table()
        single = Single(con, declared, asked, loader(origin.lake, con))
        score, features = _features(model, stored, single.again())
        names = [field.name for field in prediction_fields(declared.line.task)]
        prediction = {name: predicted[name] for name in names}
        columns = prediction_columns(declared.line.task, model.predict(_usable(model, stored), declared.line.task))
        again = {name: columns[name][0].as_py() for name in names}
        return Explained(
            line, predicted["example_id"], found, predicted["leaf"], predicted["observed_at"],
            predicted["node"], predicted["version"], _why(origin.ledger, line, predicted), model.manifest["estimator"],
            prediction, again, all(_same(prediction[name], again[name]) for name in names),
            score, features, single.behind(events), _outcome(con, declared, predicted, origin),
        )  # fmt: skip


def _predicted(
    con: duckdb.DuckDBPyConnection, declared: DeclaredLine, example: str, day: dt.date | None, origin: Origin
) -> dict[str, Any]:
    """The row of the predictions. Raises NotThere with the days that there are."""
    line = declared.line.name
    table = f"{line}/predictions"
    days = origin.lake.days(table)
    if not days:
        raise NotThere(f"{line} has no predictions yet")
    origin.lake.view(con, "predicted", table, day, day, empty_if_absent=True)
    kind = con.sql("SELECT example_id FROM predicted LIMIT 0").types[0]
    found = con.execute(f"SELECT * FROM predicted WHERE example_id = TRY_CAST(? AS {kind})", [example])
    names = [column[0] for column in found.description]
    rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    if not rows:
        on = f" of {day}" if day else ""
        raise NotThere(f"{line} has no prediction of {example!r}{on}; it has predictions of {stretches(days)}")
    if len({row["ds"] for row in rows}) > 1:
        others = ", ".join(sorted(str(row["ds"]) for row in rows))
        raise NotThere(f"{line} has predictions of {example!r} of {len(rows)} days: {others}; say which by --day")
    return rows[0]


def stretches(days: Sequence[dt.date]) -> str:
    """Days, ascending, as stretches without a gap: "2026-03-01 .. 2026-03-09, 2026-03-11".

    >>> stretches([dt.date(2026, 3, 1), dt.date(2026, 3, 2), dt.date(2026, 3, 4)])
    '2026-03-01 .. 2026-03-02, 2026-03-04'
    """
    parts: list[list[dt.date]] = []
    for day in days:
        if parts and day - parts[-1][-1] == DAY:
            parts[-1].append(day)
        else:
            parts.append([day])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]} .. {part[-1]}" for part in parts)


def _asked(con: duckdb.DuckDBPyConnection, declared: DeclaredLine, predicted: Mapping[str, Any], origin: Origin) -> str:
    """Create the relation of the example's stored row alone; its name."""
    line, day, asked = declared.line.name, predicted["ds"], "asked"
    origin.lake.view(con, "stored", f"{line}/examples", day, day, empty_if_absent=True)
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE {asked} AS SELECT * FROM stored WHERE example_id = ?", [predicted["example_id"]]
    ).fetchall()
    if not con.execute(f"SELECT 1 FROM {asked}").fetchall():
        raise NotThere(
            f"{line} has a prediction of {predicted['example_id']!r} of {day}, but no such example any more: its events "
            "have changed since, and `factory run` scores the day anew"
        )
    return asked


def _usable(model: ReleasedModel, stored: pa.Table) -> pa.Table:
    """The stored row, with a null for each feature that the examples do not hold any more."""
    for name in model.features:
        if name not in stored.column_names:
            stored = stored.append_column(name, pa.nulls(stored.num_rows))
    return stored


def _features(
    model: ReleasedModel, stored: pa.Table, again: Mapping[str, Any] | None
) -> tuple[Score | None, tuple[Feature, ...]]:
    """What each feature of the model was, is by now, and adds."""
    parts = model.contributions(_usable(model, stored))
    values = stored.to_pylist()[0]
    features = []
    for place, name in enumerate(model.features):
        used, now = values.get(name), (again or {}).get(name)
        adds = () if parts is None else tuple(map(float, parts.of_features[0, :, place]))
        features.append(Feature(name, used, now, _verdict(name, values, again), adds))
    if parts is None:
        return None, tuple(features)
    base, total = (tuple(map(float, each)) for each in (parts.base, parts.scores[0]))
    return Score(base, total, parts.link, parts.of, parts.then), tuple(features)


def _verdict(name: str, values: Mapping[str, Any], again: Mapping[str, Any] | None) -> str:
    if name not in values:
        return "not stored any more"
    if again is None:
        return "no such event now"
    if name not in again:
        return "not declared any more"
    return "equal" if _same(values[name], again[name], exactly=True) else "differs"


def _same(one: Any, other: Any, exactly: bool = False) -> bool:
    """Whether two values are the same; a number that is none is as good as no value."""
    one, other = (None if isinstance(each, float) and math.isnan(each) else each for each in (one, other))
    if exactly or not (isinstance(one, float) and isinstance(other, float)):
        return bool(one == other)
    return bool(np.isclose(one, other, rtol=SAME, atol=SAME))


def _why(ledger: Ledger, line: str, predicted: Mapping[str, Any]) -> str:
    """Why this node and version answered, by the decisions of the days before."""
    day, leaf, node, version = (predicted[name] for name in ("ds", "leaf", "node", "version"))
    champions, last = ledger.champions(line, before=day), ledger.last_decisions(line, before=day)
    answers = answering(leaf, champions)
    if answers is None or (answers, champions[answers].champion) != (node, version):
        now = f"{champions[answers].champion} of {answers}" if answers else "nobody"
        return f"it answered when the day was scored; by the decisions as they are now {now} would"
    ruling = in_words(champions[node])
    if node == leaf:
        return f"champion of {leaf} itself: {ruling}"
    of_leaf = f" ({in_words(last[leaf])})" if leaf in last else ""
    return f"{leaf} has no champion of its own{of_leaf}; {node} is the nearest node above it that has one: {ruling}"


def _outcome(
    con: duckdb.DuckDBPyConnection, declared: DeclaredLine, predicted: Mapping[str, Any], origin: Origin
) -> Outcome:
    line, day = declared.line.name, predicted["ds"]
    rows: list[tuple[Any, dt.datetime, dt.datetime | None]] = []
    if origin.lake.version(f"{line}/labels") is not None:
        origin.lake.view(con, "truth", f"{line}/labels", day, day, empty_if_absent=True)
        rows = con.execute(
            f"""SELECT label, known_at, superseded_at FROM truth WHERE {identifier("example_id")} = ?
                ORDER BY known_at, superseded_at NULLS LAST""",
            [predicted["example_id"]],
        ).fetchall()
    earlier = tuple((label, known_at) for label, known_at, until in rows if until is not None)
    for label, known_at, until in rows:
        if until is None:
            return Outcome(label, known_at, f"known at {known_at:%Y-%m-%d %H:%M:%S} UTC", earlier)
    due = day + declared.line.horizon_days * DAY
    newest = max(origin.lake.days(f"{stream_of(declared)}/events"), default=day)
    if newest < due or not declared.line.horizon_days:
        return Outcome(None, None, f"not known yet; due at the close of {due}", earlier)
    return Outcome(
        None, None, f"not known; it was due at the close of {due}, and events are in until {newest}", earlier
    )
