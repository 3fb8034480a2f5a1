"""Are the verdicts of days that are judged together those of each day by itself, however champions change in between?"""

import datetime as dt
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest

from factory_assets.declarations.line import Monitor
from factory_assets.measures.habits import MOST, Habit
from factory_assets.measures.profiles import profile, profiles
from factory_assets.measures.tables import prediction_columns
from factory_assets.models.archived import ReleasedModel, load
from factory_assets.monitoring.drift import days as drift_days
from factory_assets.monitoring.drift.days import MINIMUM_ROWS, DriftDays
from factory_assets.monitoring.drift.labels import Due, LabelDays
from factory_assets.monitoring.drift.table import SCHEMA
from factory_assets.monitoring.drift.verdicts import Drift, drift
from factory_assets.scoring.assets import champions_of_days
from factory_assets.training.fit.fitting import rows_within
from factory_resources.lake import Lake
from tests.release.trained import LINE, TRAINED, a_trained_line
from tests.stations import Station, day

LEAVES = ["FR/Lyon", "FR/Paris", "FR", "DE/Berlin", "global"]
NODES = ["global", "FR", "FR/Lyon", "FR/Paris", "DE", "DE/Berlin"]
DAYS = [dt.date(2026, 3, 1) + dt.timedelta(days=number) for number in range(24)]
WINDOW = dt.timedelta(days=7)
FEATURES = ("amount", "channel", "ref")
MONITOR = Monitor(false_alarms="1/week")
Verdicts = list[tuple[str, str, Drift]]


def examples(seed: int, rows: int, shift: float = 0.0) -> pa.Table:
    """Rows of all days in their order, of which some days have none, and some columns no value for days."""
    rng = np.random.default_rng(seed)
    days = np.sort(rng.choice([each for each in DAYS if each.day % 9], rows))
    leaf = np.array(LEAVES)[rng.choice(len(LEAVES), rows, p=[0.5, 0.2, 0.1, 0.1, 0.1])]
    empty = np.array([each.day % 5 == 0 for each in days])
    ref = pa.array(rng.normal(size=rows), mask=empty | (rng.random(rows) < 0.1))
    columns = {"amount": pa.array(rng.exponential(size=rows) + shift), "ref": ref, "leaf": pa.array(leaf)}
    channel = pa.array(rng.choice(["app", "web", "shop"], rows), mask=empty)
    numbers = pa.array(np.arange(rows))
    return pa.table(columns | {"channel": channel, "example_id": numbers, "ds": pa.array(days, pa.date32())})


HORIZON = 3


def labels_of(table: pa.Table) -> pa.Table:
    """A label of most rows, some of them known late, and some corrected, a few days later or at once."""
    rng, found = np.random.default_rng(11), []
    for row in table.select(["ds", "example_id", "amount"]).to_pylist():
        if rng.random() < 0.1:
            continue
        midnight = dt.datetime.combine(row["ds"], dt.time())
        known = midnight + dt.timedelta(days=int(rng.choice([0, HORIZON, HORIZON + 1, 9], p=[0.2, 0.6, 0.15, 0.05])))
        later = known + dt.timedelta(days=int(rng.integers(1, 8))) if rng.random() < 0.3 else None
        first = {"ds": row["ds"], "example_id": row["example_id"], "label": row["amount"] * 2}
        found.append(first | {"known_at": known, "superseded_at": later})
        if later:
            found.append(first | {"label": row["amount"] * 2.4, "known_at": later, "superseded_at": None})
    kinds = [("ds", pa.date32()), ("example_id", pa.int64()), ("label", pa.float64())]
    return pa.Table.from_pylist(
        found, schema=pa.schema([*kinds, ("known_at", pa.timestamp("us")), ("superseded_at", pa.timestamp("us"))])
    )


def label_days(table: pa.Table, labels: pa.Table, through: dt.date = dt.date.max) -> LabelDays:
    """Labels as the asset gives them, from tables in memory."""
    joined = labels.join(table.select(["example_id", "leaf"]), "example_id").sort_by("ds")
    return LabelDays(lambda first, last: window(joined, first, last), Due(HORIZON, WINDOW.days), through)


def model(version: str) -> ReleasedModel:
    """A model whose profiles and predictions are its version's own."""
    seed = int(version.rpartition("-")[2])
    reference, weight = examples(1000 + seed, 900, seed / 10), 1 + seed / 7

    def predict(rows: pa.Table) -> np.ndarray:
        return np.asarray(rows["amount"].to_numpy() * weight + np.nan_to_num(rows["ref"].to_numpy()))

    own = profiles(reference, FEATURES)
    own["prediction"] = profile(pa.array(predict(reference)), name="prediction")
    own["label"] = profile(pa.array((reference["amount"].to_numpy() - seed % 2 * seed / 10) * 2.1), name="label")
    parts = {"model": bytes(100)}
    calm = Habit(MOST, 3, {"values": 1 + seed / 3, "nulls": seed / 5, "beyond": 1 + seed / 3})
    habits = dict.fromkeys(own, calm)
    made = SimpleNamespace(
        features=FEATURES, task="regression", profiles=own, habits=habits, predict=predict, parts=parts,
        sample=reference, contributions=lambda rows: None,
    )  # fmt: skip
    return cast(ReleasedModel, made)


def champions_of(on: dt.date) -> dict[str, str]:
    """Another champion at some node nearly every day; at some of them none, and one that comes back."""
    number = on.day
    held = {node: f"{node}-{(number + place * 3) // 6}" for place, node in enumerate(NODES) if (number + place) % 11}
    return held | ({"FR/Lyon": "FR/Lyon-9"} if number % 8 < 4 else {})


def naive_verdicts(
    seen: pa.Table, labels: pa.Table, champions: Mapping[str, str], load: Any, monitor: Monitor = MONITOR
) -> Verdicts:
    """The naive way: all rows of the window filtered, predicted and counted for each champion of each day.

    labels: leaf and label of those that the day sees.
    """
    columns: list[tuple[str, str, Any]] = []
    for node in sorted(champions):
        rows, of_node, one = rows_within(seen, node), rows_within(labels, node), load(champions[node])
        if rows.num_rows >= MINIMUM_ROWS:
            names = [*one.features, *(["leaf"] if "leaf" in one.profiles else [])]
            of_rows = {name: rows[name] for name in names} | prediction_columns(one.task, one.predict(rows))
            columns += [(node, name, values) for name, values in of_rows.items()]
        if max(rows.num_rows, of_node.num_rows) >= MINIMUM_ROWS:
            texts = [f"{value:.0f}" if one.task == "binary" else value for value in of_node["label"].to_pylist()]
            columns.append((node, "label", pa.array(texts, pa.string() if one.task == "binary" else pa.float64())))
    # Of each column of each node the values are looked at, the nulls, and what lies beyond.
    limits = {"false_alarm_rate": monitor.rate(len(columns) * 3), "minimum_rows": MINIMUM_ROWS}
    found = []
    for node, name, values in columns:
        one = load(champions[node])
        found.append((node, champions[node], drift(one.profiles[name], one.habits[name], values, **limits)))
    return found


def naive_labels(examples: pa.Table, labels: pa.Table, on: dt.date, horizon: int) -> pa.Table:
    """Leaf and label of each label that drift of a day may see: of the newest seven days whose labels are due, as known then."""
    leaves = dict(zip(zip(examples["ds"].to_pylist(), examples["example_id"].to_pylist(), strict=True),
                      examples["leaf"].to_pylist(), strict=True))  # fmt: skip
    close = dt.datetime.combine(on, dt.time()) + dt.timedelta(days=1)
    rows = []
    for row in labels.to_pylist():
        due = row["ds"] + dt.timedelta(days=horizon)
        ends = row["superseded_at"]
        if on - WINDOW < due <= on and row["known_at"] <= close and (ends is None or ends > close):
            rows.append({"leaf": leaves[row["ds"], row["example_id"]], "label": row["label"]})
    return pa.Table.from_pylist(rows, schema=pa.schema([("leaf", pa.string()), ("label", pa.float64())]))


def window(table: pa.Table, first: dt.date, last: dt.date) -> pa.Table:
    days = table["ds"].to_numpy().astype("datetime64[D]")
    return table.filter(pa.array((days >= np.datetime64(first)) & (days <= np.datetime64(last))))


def undated(verdict: Drift) -> Drift:
    """The verdict without the days of its labels."""
    return replace(verdict, reason=verdict.reason.split("; labels of ")[0])


@pytest.mark.parametrize("room", [0, 250, 2**20])
@pytest.mark.parametrize("gap", [1, 2, 9])
@pytest.mark.parametrize("through", [dt.date.min, DAYS[13], DAYS[-1]], ids=["day by day", "half ahead", "ahead"])
def test_days_judged_together_are_judged_as_each_by_itself(
    room: int, gap: int, through: dt.date, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift_days, "KEPT_BYTES", room)
    table, read = examples(1, 3000), Counter[dt.date]()

    def reading(first: dt.date, last: dt.date) -> pa.Table:
        found = window(table, first, last)
        read.update(set(found["ds"].to_pylist()))
        return found

    days, labels = DAYS[6::gap], labels_of(table)
    together = DriftDays(reading, model, MONITOR, label_days(table, labels), through=through)
    verdicts = set()
    for on in days:
        found = [(node, version, undated(one)) for node, version, one in together.judge(on, champions_of(on))]
        seen = window(table, on - WINDOW + dt.timedelta(days=1), on)
        assert found == naive_verdicts(seen, naive_labels(table, labels, on, HORIZON), champions_of(on), model), on
        assert together.rows("FR").equals(rows_within(seen, "FR").combine_chunks())
        assert sum(len(one.parts["model"]) for one in together._kept.values()) <= room
        verdicts |= {(verdict.column, verdict.verdict) for _, _, verdict in found}
    assert set(read.values()) == {1}, "each day is read once"
    assert {verdict for _, verdict in verdicts} >= {"drifted", "stable"}
    assert verdicts >= {("label", "drifted"), ("label", "stable")}


def test_of_a_champion_that_stays_only_the_rows_of_the_new_day_are_predicted() -> None:
    table, predicted = examples(2, 3000), list[int]()

    def watched(version: str) -> ReleasedModel:
        one = model(version)
        predict = one.predict

        def counting(rows: pa.Table) -> np.ndarray:
            predicted.append(rows.num_rows)
            return predict(rows)

        one.predict = counting  # type: ignore[method-assign, assignment]
        return one

    days = DriftDays(lambda first, last: window(table, first, last), watched, MONITOR)
    for on in DAYS[6:]:
        days.judge(on, {"global": "global-1", "FR": "FR-2"})
    assert sum(predicted) == table.num_rows + rows_within(table, "FR").num_rows


@pytest.fixture(scope="module")
def trained_line(tmp_path_factory: pytest.TempPathFactory) -> Station:
    return a_trained_line(tmp_path_factory.mktemp("factory"))


@pytest.mark.longest
def test_the_asset_writes_the_same_rows_for_a_range_as_for_each_day_and_as_the_naive_way(trained_line: Station) -> None:
    first, last = TRAINED[0], day(13)
    on = [first + dt.timedelta(days=number) for number in range((last - first).days + 1)]
    deployment, lake = trained_line.deployment, Lake(root=trained_line.lake.root)

    def written(run_days: list[tuple[dt.date, dt.date | None]]) -> pa.Table:
        for start, end in run_days:
            run = trained_line.run(start, end, [f"{LINE}/drift"])
            assert run.success, run.message
        return lake.read(f"{LINE}/drift", first, last).sort_by([("ds", "ascending")])

    together = written([(first, last)])
    archive, monitor = deployment.definitions.resources["archive"], trained_line.catalogue.lines[LINE].monitor
    champions, rows = champions_of_days(deployment.ledger, LINE, on), []
    assert len({str(held) for held in champions.values()}) > 2, "champions change in the range"
    examples, labels = lake.read(f"{LINE}/examples"), lake.read(f"{LINE}/labels")
    for each in on:
        seen = lake.read(f"{LINE}/examples", each - monitor.window + dt.timedelta(days=1), each)
        of_day = naive_labels(examples, labels, each, horizon=1)
        for node, version, verdict in naive_verdicts(
            seen, of_day, champions[each], lambda one: load(archive, LINE, one), monitor
        ):
            told = {name: getattr(verdict, name) for name in SCHEMA.names if hasattr(verdict, name)}
            kind = verdict.kind(deployment.catalogue.resolve(deployment.catalogue.lines[LINE]).features)
            rows.append(told | {"node": node, "version": version, "kind": kind, "ds": each})
    found = [row | {"reason": row["reason"].split("; labels of ")[0]} for row in together.to_pylist()]
    assert found == rows and {row["node"] for row in rows} > {"global"}
    assert {row["kind"] for row in rows} == {"input", "prediction", "label", "mix"}
    assert written([(each, None) for each in on]).equals(together)


def a_model(reference: pa.Table, columns: list[str]) -> ReleasedModel:
    """One that predicts the amount. columns: what is profiled of it."""
    own = profiles(reference, columns)
    own["prediction"] = profile(reference["amount"], name="prediction")
    calm = Habit(MOST, 3, {"values": 1.0, "nulls": 1.0, "beyond": 1.0})
    features = tuple(name for name in columns if name != "leaf")
    made = SimpleNamespace(
        features=features, task="regression", profiles=own, habits=dict.fromkeys(own, calm),
        predict=lambda rows: np.nan_to_num(rows["amount"].to_numpy(zero_copy_only=False)), parts={"model": bytes(100)},
        sample=reference, contributions=lambda rows: None,
    )  # fmt: skip
    return cast(ReleasedModel, made)


def rows_of(seed: int, rows: int, lyon: float) -> dict[str, Any]:
    """A day's. lyon: share of them that are of Lyon."""
    rng = np.random.default_rng(seed)
    numbers = {name: rng.exponential(size=rows) for name in ("amount", "b", "c", "d")}
    return numbers | {"leaf": rng.choice(["FR/Lyon", "FR/Paris"], rows, p=[lyon, 1 - lyon])}


def as_table(columns: dict[str, Any]) -> pa.Table:
    return pa.table(columns | {"ds": pa.array([DAYS[0]] * len(columns["leaf"]), pa.date32())})


def test_columns_without_a_value_in_the_very_same_rows_are_one_finding() -> None:
    made = a_model(as_table(rows_of(1, 2000, 0.5)), ["amount", "b", "c", "d"])
    now, absent = rows_of(2, 1000, 0.5), np.random.default_rng(3).random(1000) < 0.2
    for name, mask in (("b", absent), ("c", absent), ("d", absent[::-1])):
        now[name] = pa.array(now[name], mask=mask)
    table = as_table(now)
    verdicts = DriftDays(lambda first, last: table, lambda version: made, MONITOR).judge(DAYS[0], {"FR": "v"})
    drifted = {one.column: one for _, _, one in verdicts if one.verdict == "drifted"}
    assert {name: one.finding for name, one in drifted.items()} == {"b": "b", "c": "b", "d": "d"}
    assert drifted["c"].reason.endswith("; in the same rows as b") and "same rows" not in drifted["d"].reason
    assert {one.kind(made.features) for one in drifted.values()} == {"quality"}


def test_another_mix_of_segments_is_told_where_a_node_has_several() -> None:
    learnt = as_table(rows_of(1, 2000, 0.5))
    kinds = []
    for columns in (["amount", "leaf"], ["amount"]):
        made, table = a_model(learnt, columns), as_table(rows_of(2, 1000, 0.8))
        watched = DriftDays(lambda first, last, table=table: table, lambda version, made=made: made, MONITOR)
        verdicts = watched.judge(DAYS[0], {"FR": "v"})
        kinds.append([one.kind(made.features) for _, _, one in verdicts if one.verdict == "drifted"])
    assert kinds == [["mix"], []]
