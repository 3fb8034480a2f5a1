"""Is the estimate what labels give on average, does its band hold, is concept change told, and does nothing of the future enter?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from factory_assets.measures.metrics import METRICS, score
from factory_assets.monitoring.checks import _estimated_of_day
from factory_assets.monitoring.episodes import lasting
from factory_assets.monitoring.estimates import expected
from factory_assets.monitoring.estimates.expected import Counted, band, cells, curve, error, outcomes, values
from factory_assets.monitoring.estimates.windows import (
    SCHEMA,
    Asked,
    Foretold,
    estimates,
    foretold,
    maturity,
    query,
    state,
)

FIRST = dt.date(2026, 1, 1)
ASKED = Asked("binary", window=7, horizon=3)
DAY = dt.timedelta(days=1)
CLASSES = "multiclass(red, green, blue)"


def logistic(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


@pytest.mark.parametrize(("rows", "spread"), [(4000, 1.5), (300, 1.0), (60, 2.0)])
def test_of_calibrated_scores_the_expected_metrics_are_the_mean_over_labels(rows: int, spread: float) -> None:
    rng = np.random.default_rng(rows)
    p = cells("binary", logistic(rng.normal(-2.5, spread, rows)))
    x = np.sort(p)
    told = values("binary", expected.expected("binary", x, np.ones(rows), x[:, None]))
    drawn = [score("binary", (rng.random(rows) < x).astype(float), x) for _ in range(1500)]
    for metric in ("average_precision", "roc_auc", "log_loss", "brier"):
        found = np.array([each[metric] for each in drawn if metric in each])
        # Of few positives the share of a mean is not the mean of the shares: a hundredth of the spread of one draw is left.
        allowed = 4 * found.std() / len(found) ** 0.5 + 0.25 * found.std() * (60 / rows)
        assert told[metric] == pytest.approx(found.mean(), abs=allowed), metric
    assert told["base_rate"] == pytest.approx(x.mean())


def test_one_score_for_all_ranks_nothing() -> None:
    told = values("binary", expected.expected("binary", np.full(3, 0.2), np.full(3, 4.0), np.full((3, 1), 0.3)))
    assert told["roc_auc"] == pytest.approx(0.5) and told["base_rate"] == pytest.approx(0.3)
    # Each of the twelve rows that is positive is one of the twelve for sure.
    assert told["average_precision"] == pytest.approx((1 + 11 * 0.3) / 12)


def test_known_labels_are_measured_as_the_metrics_define_it() -> None:
    rng = np.random.default_rng(4)
    p = cells("binary", rng.random(500) ** 3)
    y = (rng.random(500) < p).astype(float)
    order = np.argsort(p, kind="stable")
    told = values("binary", Counted(p[order], np.ones(500), y[order][:, None]))
    for metric in ("average_precision", "roc_auc", "log_loss", "brier"):
        assert told[metric] == pytest.approx(METRICS[metric].fn(y, p)), metric


@pytest.mark.parametrize("task", ["regression", "count", "quantile(0.8)", CLASSES])
def test_the_mean_of_what_happened_to_rows_is_the_metric(task: str) -> None:
    rng = np.random.default_rng(5)
    labels = rng.poisson(3, 400).astype(float)
    predictions = labels + rng.normal(0, 1, 400) ** 2
    if task == CLASSES:
        labels, predictions = rng.integers(0, 3, 400).astype(float), rng.dirichlet(np.ones(3), 400)
    told = values(task, Counted(cells(task, predictions), np.ones(400), outcomes(task, labels, predictions)))
    measured = score(task, labels, predictions)
    assert told and told == pytest.approx({name: measured[name] for name in told})


def test_predictions_are_told_apart_by_three_digits_from_the_nearer_end() -> None:
    found = cells("binary", np.array([0.0, 0.00012345, 0.43219, 0.998765, 1.0]))
    assert found == pytest.approx([0.0, 0.000123, 0.432, 0.99877, 1.0], abs=1e-12)
    assert cells("regression", np.array([-1234.5, 0.0, 0.0098765])) == pytest.approx([-1230, 0, 0.00988])
    assert cells(CLASSES, np.array([[0.1, 0.2, 0.7]])) == pytest.approx([0.7])


def test_a_curve_gives_scores_the_share_that_came_true_and_losses_their_mean() -> None:
    rng = np.random.default_rng(6)
    x = np.sort(cells("binary", rng.random(20_000)))
    y = (rng.random(len(x)) < x**2).astype(float)
    found = curve("binary", Counted(x, np.ones(len(x)), y[:, None]))
    assert found is not None
    at = np.linspace(0.1, 0.9, 9)
    assert found.at(at)[:, 0] == pytest.approx(at**2, abs=0.05)
    assert np.all(np.diff(found.means[:, 0]) >= 0)
    loss = 1 + np.abs(x - 0.5)
    found = curve("quantile(0.5)", Counted(x, np.ones(len(x)), np.column_stack([loss, y])))
    assert found is not None and found.at(at)[:, 0] == pytest.approx(1 + np.abs(at - 0.5), abs=0.05)


@pytest.mark.parametrize(("rows", "positives"), [(expected.LEAST_ROWS - 1, 50), (500, expected.LEAST_OF_A_KIND - 1)])
def test_too_few_labels_give_no_curve(rows: int, positives: int) -> None:
    y = np.append(np.zeros(rows - positives), np.ones(positives))
    assert curve("binary", Counted(np.linspace(0, 1, rows), np.ones(rows), y[:, None])) is None


def world(days: int, rows: int, seed: int = 1, change: int | None = None, delay: int = 3) -> pa.Table:
    """Rows as `query` gives them: scores that are too high, in two leaves; their level moves from day to day.

    change: a day from which on scores say nothing.
    """
    rng = np.random.default_rng(seed)
    level = rng.normal(0, 0.3, days).repeat(rows)
    truth = logistic(rng.normal(-1, 1.5, days * rows) + level)
    day = np.arange(days).repeat(rows)
    chance = truth.copy()
    if change is not None:
        late = day >= change
        chance[late] = truth[late].mean()
    label = (rng.random(days * rows) < chance).astype(float)
    ds = np.datetime64(FIRST) + day
    leaf = np.sort(np.where(rng.random((days, rows)) < 0.3, "DE", "FR"), axis=1).ravel()
    known = (ds + 1 + delay).astype("datetime64[us]")
    return pa.table(
        {
            "ds": pa.array(ds),
            "example_id": pa.array(range(days * rows)),
            "leaf": pa.array(leaf),
            "node": pa.array(np.full(days * rows, "global")),
            "prediction": truth**0.7,
            "label": label,
            "known_at": pa.array(known),
            "superseded_at": pa.nulls(days * rows, pa.timestamp("us")),
        }
    )


def estimated(
    rows: pa.Table, asked: Asked = ASKED, days: list[dt.date] | None = None, through: dt.date | None = None
) -> pa.Table:
    every = sorted(set(rows["ds"].to_pylist()))
    first = (days or every)[0] - asked.reach * DAY
    seen = rows.filter(pc.and_(pc.greater_equal(rows["ds"], first), pc.less_equal(rows["ds"], (days or every)[-1])))
    reader = pa.RecordBatchReader.from_batches(seen.schema, seen.to_batches(1000))
    return estimates(asked, reader, days or every, through or every[-1])


def rows_of(table: pa.Table, node: str = "global", metric: str = "average_precision") -> list[dict[str, Any]]:
    return [row for row in table.to_pylist() if (row["node"], row["metric"]) == (node, metric)]


def test_scores_that_are_too_high_are_corrected_before_anything_is_expected_of_them() -> None:
    table = estimated(world(60, 400))
    (landed,) = [[row for row in rows_of(table, metric="base_rate") if row["error"] is not None]]
    assert len(landed) > 40
    assert abs(np.mean([row["error"] for row in landed])) < 0.01
    mean_score = np.mean(world(60, 400)["prediction"].to_numpy())
    assert mean_score - np.mean([row["final"] for row in landed]) > 0.08, "else there was nothing to correct"


@pytest.mark.slow
def test_the_band_holds_nineteen_windows_in_twenty_and_chance_is_not_taken_for_another_concept() -> None:
    """Levels move from day to day, so that estimates miss by more than labels do by chance; histories of 100 days."""
    held, beyond = list[bool](), list[bool]()
    for seed in range(12):
        for row in estimated(world(100, 150, seed)).to_pylist():
            if row["final"] is not None and row["low"] is not None:
                held.append(row["low"] <= row["final"] <= row["high"])
                beyond.append(row["verdict"] == "concept")
    assert len(held) > 5000
    assert 0.92 <= np.mean(held) <= 0.99
    assert np.mean(beyond) <= 0.004


def test_another_concept_is_told_in_the_first_week_whose_labels_are_in_and_before_that_nothing_shows() -> None:
    change = 60
    table = estimated(world(75, 300, change=change))
    rows = {row["ds"]: row for row in rows_of(table)}
    since = FIRST + change * DAY
    told = [day for day, row in rows.items() if row["verdict"] == "concept"]
    assert told and since <= min(told) <= since + 6 * DAY
    unlabelled = estimated(world(75, 300, change=change), through=since)
    before = {row["ds"]: row for row in rows_of(unlabelled)}[since + 6 * DAY]
    assert before["verdict"] == "estimated" and before["coverage"] == 0
    assert before["estimate"] == rows[since + 6 * DAY]["estimate"]
    days, changed = by_day(table), dict[dt.date, list[dict[str, Any]]]()
    for each, began in lasting(of_metric(table).to_pylist(), ("node",), "concept", "final"):
        changed.setdefault(each["ds"], []).append({**each, "since": began})
    on, before_it = since + 6 * DAY, since - DAY
    found = _estimated_of_day("average_precision", on, days[on], changed[on])
    assert not found.passed and found.message is not None
    assert (
        found.message.startswith("concept change: ")
        and f"global, since {min(told)}: average_precision" in found.message
    )
    earlier = _estimated_of_day("average_precision", before_it, days[before_it], changed.get(before_it, ()))
    assert earlier.passed and "estimated: " in str(earlier.message)


def by_day(table: pa.Table) -> Mapping[dt.date, list[dict[str, Any]]]:
    days: dict[dt.date, list[dict[str, Any]]] = {}
    for row in of_metric(table).to_pylist():
        days.setdefault(row["ds"], []).append(row)
    return days


def of_metric(table: pa.Table) -> pa.Table:
    return table.filter(pc.equal(table["metric"], "average_precision"))


def test_labels_that_are_known_later_change_no_estimate_and_no_band() -> None:
    rows, last = world(50, 200), FIRST + 49 * DAY
    judged = FIRST + 40 * DAY
    label, known = rows["label"].to_numpy().copy(), rows["known_at"].to_numpy()
    later = known > np.datetime64(judged + DAY)
    assert 0.05 < later.mean() < 0.5
    label[later] = 1 - label[later]
    other = rows.set_column(rows.column_names.index("label"), "label", pa.array(label))
    told = ("node", "metric", "estimate", "low", "high", "limit", "again", "past")
    one, two = (
        [[row[name] for name in told] for row in estimated(each, through=last).to_pylist() if row["ds"] == judged]
        for each in (rows, other)
    )
    assert one == two and len(one) == 15 and all(row[2] is not None for row in one)
    label[:] = 1 - rows["label"].to_numpy()
    changed = rows.set_column(rows.column_names.index("label"), "label", pa.array(label))
    assert one != [[row[name] for name in told] for row in estimated(changed).to_pylist() if row["ds"] == judged]


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_a_day_has_the_same_estimate_alone_and_among_others_whenever_it_is_asked(task: str) -> None:
    """Bit by bit: a range and a day, and where leaves were met in another order."""
    rows, asked = world(90, 60, delay=1), Asked(task, window=2, horizon=1)
    # On the first days one leaf alone: its code is another one for those who begin later.
    leaf = pc.if_else(pc.less(rows["ds"], FIRST + 5 * DAY), "FR", rows["leaf"])
    # Few predictions, so that those of both leaves are alike, and their sums are of many numbers.
    rough = pa.array(np.round(rows["prediction"].to_numpy(), 1))
    for name, column in (("leaf", leaf), ("prediction", rough)):
        rows = rows.set_column(rows.column_names.index(name), name, column)
    if task == "regression":
        noise = np.random.default_rng(3).normal(size=rows.num_rows)
        rows = rows.set_column(rows.column_names.index("label"), "label", pa.array(noise))
    every = estimated(rows, asked).to_pylist()
    for number in (20, 75, 80, 85):
        day = FIRST + number * DAY
        alone = estimated(rows, asked, [day], FIRST + 89 * DAY).to_pylist()
        assert alone == [row for row in every if row["ds"] == day] and alone
    stays = ["node", "metric", "estimate", "low", "high", "limit", "again", "rows", "past", "reason", "ds"]
    on_the_day = estimated(rows, asked, [day], day).select(stays).to_pylist()
    assert on_the_day == estimated(rows, asked, [day], day + 4 * DAY).select(stays).to_pylist()


def test_a_window_goes_from_estimated_over_partial_to_final_and_is_measured_as_the_metric_is() -> None:
    rows, day = world(40, 300), FIRST + 39 * DAY
    verdicts = [
        row["verdict"]
        for passed in (-4, 0, 1, 3)
        for row in rows_of(estimated(rows, days=[day], through=day + passed * DAY))
    ]
    assert verdicts == ["estimated", "partial", "partial", "final"]
    partial, final = (rows_of(estimated(rows, days=[day], through=day + passed * DAY))[0] for passed in (0, 3))
    assert partial["final"] is None and partial["coverage"] == pytest.approx(4 / 7)
    assert final["partial"] is None and final["coverage"] == 1 and final["rows"] == 2100
    window = rows.filter(pc.greater(rows["ds"], day - 7 * DAY))
    measured = score("binary", window["label"].to_numpy(), window["prediction"].to_numpy())
    for metric in ("average_precision", "roc_auc", "log_loss", "brier"):
        (row,) = rows_of(estimated(rows, days=[day], through=day + 3 * DAY), metric=metric)
        assert row["final"] == pytest.approx(measured[metric], rel=2e-3)
    assert final["error"] == final["estimate"] - final["final"]


def test_a_label_that_was_corrected_counts_as_it_stood(con: duckdb.DuckDBPyConnection) -> None:
    """Of one observation each with both labels, the first for two days: the truth at maturity, and later, is of the second."""
    con.execute(
        """INSERT INTO predictions SELECT DATE '2026-01-01', i, 'FR', 'global', 0.25 + 0.5 * (i % 2) FROM range(10) t(i);
           INSERT INTO labels SELECT ds, example_id, 0.0, '2026-01-02', '2026-01-04' FROM predictions WHERE example_id < 4;
           INSERT INTO labels SELECT ds, example_id, 1.0, '2026-01-04', NULL FROM predictions WHERE example_id < 4;
           INSERT INTO labels SELECT ds, example_id, 0.0, '2026-01-02', NULL FROM predictions WHERE example_id >= 6"""
    ).fetchall()
    told = {}
    for through in (1, 2, 3):
        table = estimates(Asked("binary", 1, 2), query(con, "binary"), [FIRST], dt.date(2026, 1, through))
        (told[through],) = rows_of(table, metric="base_rate")
    assert [told[each]["rows"] for each in told] == [10, 10, 10]
    assert [told[each]["coverage"] for each in told] == [0.8, 0.8, 0.8]
    assert [told[each]["partial"] for each in told] == [0, 0, None] and told[3]["final"] == 0.5


@pytest.fixture
def con() -> Any:
    with duckdb.connect(":memory:") as connection:
        connection.execute(
            """CREATE TABLE predictions(ds DATE, example_id BIGINT, leaf VARCHAR, node VARCHAR, prediction DOUBLE);
               CREATE TABLE labels(ds DATE, example_id BIGINT, label DOUBLE, known_at TIMESTAMP, superseded_at TIMESTAMP)"""
        ).fetchall()
        yield connection


def test_without_labels_or_predictions_there_is_no_estimate_and_the_reason_says_so(
    con: duckdb.DuckDBPyConnection,
) -> None:
    assert estimates(ASKED, query(con, "binary"), [FIRST], FIRST).num_rows == 0
    con.execute(
        "INSERT INTO predictions SELECT DATE '2026-01-01', i, 'FR', 'global', 0.5 FROM range(10) t(i)"
    ).fetchall()
    table = estimates(ASKED, query(con, "binary"), [FIRST], FIRST)
    assert table.schema == SCHEMA
    assert {(row["verdict"], row["reason"]) for row in table.to_pylist()} == {
        ("no estimate", "no estimate: 0 rows with a label in the 28 days whose labels are in, too few")
    }


def test_each_node_has_its_own_rows_and_the_curve_of_the_node_that_answers() -> None:
    """Two leaves that answer for themselves: what the score of one means is the opposite of what it means in the other."""
    rows = world(50, 600)
    own = rows["leaf"].to_numpy(zero_copy_only=False)
    score_of = np.where(own == "DE", 1 - rows["prediction"].to_numpy(), rows["prediction"].to_numpy())
    for name, column in (("node", pa.array(own)), ("prediction", pa.array(score_of))):
        rows = rows.set_column(rows.column_names.index(name), name, column)
    day = FIRST + 45 * DAY
    table = estimated(rows, days=[day], through=day + 4 * DAY)
    by_node = {row["node"]: row for row in rows_of(table, metric="roc_auc") + rows_of(table, "FR", "roc_auc")}
    (turned,) = rows_of(table, "DE", "roc_auc")
    assert by_node["FR"]["estimate"] == pytest.approx(by_node["FR"]["final"], abs=0.05)
    # A rising curve through what falls is flat: nothing is known, and not the opposite.
    assert turned["estimate"] == pytest.approx(0.5, abs=0.02) and turned["final"] < 0.3
    assert by_node["FR"]["rows"] + turned["rows"] == by_node["global"]["rows"] == 4200


def test_a_band_is_of_the_past_errors_and_none_where_they_are_few() -> None:
    rng = np.random.default_rng(8)
    errors = rng.normal(0, 0.1, 56).tolist()
    found = band("mae", 10.0, errors, 7)
    assert found is not None and found.limit is not None
    assert found.low < 10 < found.high < found.limit and np.log(found.high / 10) == pytest.approx(0.1 * 2.31, rel=0.2)
    assert band("mae", 10.0, errors[:13], 7) is None
    fewer = band("mae", 10.0, errors[:14], 7)
    assert fewer is not None and fewer.high > found.high, "of few errors less is known"
    precision, neutral = band("average_precision", 0.7, errors, 7), band("base_rate", 0.1, errors, 7)
    assert precision is not None and precision.limit is not None and precision.limit < precision.low
    assert neutral is not None and neutral.limit is None, "of a base rate neither more nor less is worse"
    always = band("mae", 10.0, [0.2] * 56, 7)
    assert always is not None and np.log(always.high / 10) > 0.4, "an estimate that is always wrong is not sure"
    assert error("mae", 8.0, 10.0) > 0 > error("average_precision", 0.7, 0.6)


def test_windows_count_as_one_while_they_share_labels() -> None:
    assert Asked("binary", 7, 3).alone == 7 and Asked("binary", 7, 7, block=7).alone == 13
    assert Asked("binary", 1, 0).reach == 1 + 8 - 1 + 27


def test_what_a_day_tells_changes_with_each_day_of_labels_until_all_are_in() -> None:
    told = [state(ASKED, [FIRST], FIRST + number * DAY)[FIRST] for number in (-200, -1, 0, 3, 4)]
    assert told == [str(-ASKED.reach), "-1", "0", "3", "3"]


def test_what_estimates_foretold_is_held_against_the_last_window_again() -> None:
    rows = [
        {"estimate": 2.0, "final": 3.0, "again": 5.0, "error": -1.0, "low": 1.0, "high": 2.5},
        {"estimate": 4.0, "final": 3.0, "again": 4.0, "error": 1.0, "low": 2.0, "high": 6.0},
        {"estimate": 4.0, "final": 3.0, "again": 3.0, "error": 1.0, "low": None, "high": None},
        {"estimate": 9.0, "final": None, "again": 1.0, "error": None, "low": None, "high": None},
    ]
    assert foretold(rows) == Foretold(3, 1.0, 1.0, 2, 0.5)
    assert foretold(rows[3:]) is None


def test_maturity_is_the_share_of_labels_known_by_age(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        """INSERT INTO predictions SELECT DATE '2026-01-01' + i::INT, i, 'FR', 'global', 0.5 FROM range(10) t(i);
           INSERT INTO labels SELECT ds, example_id, 1.0, ds::TIMESTAMP + to_days(3), NULL FROM predictions WHERE example_id < 5"""
    ).fetchall()
    assert maturity(con, dt.date(2026, 1, 10), 3) == [(0, 10, 0.0), (1, 9, 0.0), (2, 8, 5 / 8), (3, 7, 5 / 7)]
