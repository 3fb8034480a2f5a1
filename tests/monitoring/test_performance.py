"""Is a day measured node by node on what is known of it, each version against its own naive guess?"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from scipy.stats import t as student

from factory_assets.automation.summary import summarise
from factory_assets.declarations.tasks import classes_of
from factory_assets.governor.executor import execute
from factory_assets.governor.plan import plan_of_line
from factory_assets.governor.work import SCORED
from factory_assets.identity.nodes import answering, lineage, tree
from factory_assets.measures.metrics import score
from factory_assets.measures.tables import label_values, prediction_columns, prediction_values
from factory_assets.monitoring.performance import measured as performance
from factory_assets.monitoring.performance.assets import _overall
from factory_assets.monitoring.performance.measured import meaning, measure, schema
from factory_assets.scoring.predictions import above
from factory_assets.training.fit.fitting import rows_within
from factory_assets.training.run_config import AS_OF
from factory_resources.lake import Lake
from tests.release.trained import LATE, LINE, MORE, compute, order, train
from tests.stations import CONTRACT, Station
from tests.stations import day as on

TASK = "multiclass(red, green, blue)"


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        connection.execute(
            """CREATE TABLE predictions(ds DATE, example_id BIGINT, leaf VARCHAR, version VARCHAR, prediction VARCHAR,
                                        p_red DOUBLE, p_green DOUBLE, p_blue DOUBLE);
               CREATE TABLE labels(ds DATE, example_id BIGINT, label VARCHAR, superseded_at TIMESTAMP)"""
        ).fetchall()
        yield connection


def test_each_version_is_held_against_the_shares_that_it_was_trained_on(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        """INSERT INTO predictions VALUES
             ('2026-01-01', 1, 'FR', 'old', 'red', 0.5, 0.25, 0.25), ('2026-01-01', 2, 'DE', 'new', 'blue', 0.1, 0.1, 0.8),
             ('2026-01-01', 3, 'DE', 'new', 'red', 0.8, 0.1, 0.1), ('2026-01-02', 4, 'DE', 'new', 'red', 0.8, 0.1, 0.1);
           INSERT INTO labels VALUES ('2026-01-01', 1, 'green', '2026-01-03'), ('2026-01-01', 1, 'red', NULL),
             ('2026-01-01', 2, 'blue', NULL)"""
    ).fetchall()
    shares = {"old": np.array([[0.2, 0.4, 0.4]]), "new": np.array([[0.6, 0.3, 0.1]])}
    found = {(row["ds"].day, row["node"]): row for row in measure(con, TASK, "log_loss", shares).to_pylist()}
    assert set(found) == {(1, "global"), (1, "FR"), (1, "DE"), (2, "global"), (2, "DE")}
    every = found[1, "global"]
    assert (every["predicted"], every["labelled"], every["accuracy"]) == (3, 2, 1.0)
    assert every["log_loss"] == pytest.approx(-(np.log(0.5) + np.log(0.8)) / 2)
    assert every["naive_log_loss"] == pytest.approx(-(np.log(0.2) + np.log(0.1)) / 2)
    assert (found[1, "DE"]["predicted"], found[1, "DE"]["labelled"]) == (2, 1)
    assert found[2, "DE"]["labelled"] == 0 and found[2, "DE"]["log_loss"] is None


@pytest.mark.parametrize("batch", [1, 7, 100_000])
def test_each_node_is_measured_on_the_rows_that_a_filter_keeps(
    con: duckdb.DuckDBPyConnection, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The naive way: all rows filtered for each node of each day."""
    monkeypatch.setattr(performance, "BATCH_ROWS", batch)
    rng, rows, classes = np.random.default_rng(3), 400, np.array(["red", "green", "blue"])
    said = rng.dirichlet(np.ones(3), rows)
    leaves = np.array(["FR/Lyon", "FR/Lyons", "FR", "global", "DE/Berlin"])
    made = {
        "ds": pa.array(rng.choice([dt.date(2026, 1, day) for day in (1, 2, 4)], rows)),
        "example_id": pa.array(range(rows)),
        "leaf": pa.array(rng.choice(leaves, rows)),
        "version": pa.array(rng.choice(["old", "new"], rows)),
        "prediction": pa.array(classes[said.argmax(axis=1)]),
        **{f"p_{name}": pa.array(said[:, place]) for place, name in enumerate(classes)},
    }
    table = pa.table(made)
    labels = pa.table(
        {"ds": made["ds"], "example_id": made["example_id"], "label": pa.array(rng.choice(classes, rows))}
    )
    labels = labels.filter(pa.array(rng.random(rows) < 0.7))
    for name, content in (("predictions", table), ("labels", labels)):
        con.register("content", content).execute(f"INSERT INTO {name} BY NAME FROM content").fetchall()
    naive = {"old": np.array([[0.2, 0.4, 0.4]]), "new": np.array([[0.6, 0.3, 0.1]])}
    found = measure(con, TASK, "log_loss", naive).to_pylist()
    told = con.sql("FROM predictions LEFT JOIN labels USING (ds, example_id) ORDER BY ds, leaf, example_id")
    every = told.to_arrow_table()
    expected = []
    for day in sorted(set(every["ds"].to_pylist())):
        of_day = every.filter(pc.equal(every["ds"], day))
        for node in tree(set(of_day["leaf"].to_pylist())):
            own = rows_within(of_day, node)
            known = own.filter(pc.is_valid(own["label"]))
            y, guess = (
                label_values(TASK, known["label"]),
                [naive[version][0] for version in known["version"].to_pylist()],
            )
            own_score = score(TASK, y, prediction_values(TASK, known)) if known.num_rows else {}
            guessed = score(TASK, y, np.array(guess)) if known.num_rows else {}
            row = dict.fromkeys(schema(TASK).names) | {"node": node, "predicted": own.num_rows, "ds": day}
            row |= zip(("low", "high"), jackknifed(y, prediction_values(TASK, known)), strict=True)
            row |= {"labelled": known.num_rows} | own_score | {f"naive_{name}": one for name, one in guessed.items()}
            expected.append(row)
    assert len(expected) > 15 and sum(row["low"] is None for row in expected) < 5
    for row, other in zip(found, expected, strict=True):
        assert row == pytest.approx(other)


def jackknifed(y: np.ndarray, p: np.ndarray) -> tuple[float | None, float | None]:
    """Limits of the log loss by its values without each tenth of the rows."""
    part = np.random.default_rng(0).permutation(len(y)) % 10
    number = min(len(y), 10)
    if number < 2:
        return None, None
    without = [score(TASK, y[part != each], p[part != each])["log_loss"] for each in range(number)]
    error = np.sqrt((number - 1) / number * np.sum((without - np.mean(without)) ** 2))
    reach = student.ppf(0.975, number - 1) * error
    value = score(TASK, y, p)["log_loss"]
    return max(value - reach, 0.0), value + reach


@pytest.mark.parametrize(
    ("task", "metric"), [("regression", "mae"), ("binary", "average_precision"), ("binary", "log_loss")]
)
def test_the_limits_hold_the_metric_on_nineteen_of_twenty_days(
    con: duckdb.DuckDBPyConnection, task: str, metric: str
) -> None:
    rng, days, rows = np.random.default_rng(5), 300, 300

    def told(number: int) -> tuple[np.ndarray, np.ndarray]:
        p = rng.beta(1, 3, number)
        y = (rng.random(number) < p).astype(np.float64) if task == "binary" else p + rng.standard_t(5, number)
        return y, p

    true = score(task, *told(2_000_000))[metric]
    ids, on = np.arange(days * rows), [dt.date(2026, 1, 1) + dt.timedelta(days=day) for day in range(days)]
    y, p = told(days * rows)
    shared = {"ds": pa.array(np.repeat(np.array(on, "datetime64[D]"), rows)), "example_id": pa.array(ids)}
    said = {"leaf": pa.array(["global"] * len(ids)), "version": pa.array(["v"] * len(ids)), "prediction": pa.array(p)}
    labels = {"label": pa.array(y), "superseded_at": pa.nulls(len(ids), pa.timestamp("us"))}
    for name, content in (("predictions", shared | said), ("labels", shared | labels)):
        con.register("content", pa.table(content)).execute(f"CREATE OR REPLACE TABLE {name} AS FROM content").fetchall()
    found = measure(con, task, metric, {"v": np.array([0.25])}).to_pylist()
    held = np.mean([row["low"] <= true <= row["high"] for row in found])
    assert len(found) == days and 0.92 <= held <= 0.98


@pytest.mark.parametrize(("task", "metric"), [("regression", "mae"), (TASK, "log_loss")])
def test_without_its_own_model_a_nodes_rows_are_as_if_the_champion_above_had_answered_those_that_it_answered(
    con: duckdb.DuckDBPyConnection, task: str, metric: str
) -> None:
    """The naive way: predictions replaced row by row."""
    rng, rows = np.random.default_rng(4), 300
    champions = {"global", "FR", "FR/Lyon", "DE/Berlin"}
    leaves = rng.choice(["FR/Lyon", "FR/Paris", "DE/Berlin", "DE", "global"], rows).tolist()
    on = rng.choice([dt.date(2026, 1, day) for day in (1, 2)], rows).tolist()
    classes = classes_of(task)
    labels = rng.choice(classes, rows).tolist() if classes else rng.normal(size=rows).tolist()
    labels = [label if known else None for label, known in zip(labels, rng.random(rows) < 0.8, strict=True)]
    said = {side: rng.dirichlet(np.ones(3), rows) if classes else rng.normal(size=rows) for side in ("own", "above")}

    def table(side: str, nodes: list[str | None]) -> pa.Table:
        names = {
            "ds": pa.array(on),
            "example_id": pa.array(range(rows)),
            "leaf": leaves,
            "node": pa.array(nodes, pa.string()),
        }
        whole = pa.table(names | {"version": ["v"] * rows} | prediction_columns(task, said[side]))
        return whole.filter(pc.is_valid(whole["node"]))

    of = {
        "predictions": table("own", [answering(leaf, champions) for leaf in leaves]),
        "parents": table("above", [above(leaf, champions) for leaf in leaves]),
        "labels": pa.table({"ds": pa.array(on), "example_id": pa.array(range(rows)), "label": labels})
        .append_column("superseded_at", pa.nulls(rows, pa.timestamp("us"))),
    }  # fmt: skip
    of["labels"] = of["labels"].filter(pc.is_valid(of["labels"]["label"]))
    for name, content in of.items():
        con.execute(f"DROP TABLE IF EXISTS {name}").fetchall()
        con.register("content", content).execute(f"CREATE TABLE {name} AS FROM content").fetchall()
    naive = {"v": np.full((1, 3), 1 / 3) if classes else np.array([0.0])}
    found = measure(con, task, metric, naive, parents=True)
    assert found.schema == schema(task, parents=True) and set(meaning(task, parents=True)) | {"ds"} == set(
        found.schema.names
    )
    assert found.drop_columns([name for name in found.schema.names if name.startswith("parent_")]) == measure(
        con, task, metric, naive
    )
    held = set[str]()
    for row in found.to_pylist():
        node, own = row["node"], {name: row[f"parent_{name}"] for name in score(task, *first_two(task))}
        places = [
            at for at in range(rows) if on[at] == row["ds"] and node in lineage(leaves[at]) and labels[at] is not None
        ]
        theirs = [answering(leaves[at], champions) == node for at in places]
        if node == "global" or not any(theirs):
            assert set(own.values()) == {None}, node
            continue
        held.add(node)
        values = np.array([said["above" if mine else "own"][at] for at, mine in zip(places, theirs, strict=True)])
        y = label_values(task, pa.chunked_array([pa.array([labels[at] for at in places])]))
        assert own == pytest.approx(score(task, y, values))
    assert held == {"FR", "FR/Lyon", "DE/Berlin"}


def first_two(task: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels and predictions of which every metric can be told."""
    return np.array([0.0, 1.0]), np.full((2, 3), 1 / 3) if classes_of(task) else np.array([0.1, 0.9])


def test_of_the_history_a_run_reads_its_own_days_and_those_that_the_plot_shows(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    lake, first = Lake(root=str(tmp_path)), dt.date(2025, 1, 1)
    days = [first + dt.timedelta(days=number) for number in range(200)]
    assert _overall(con, lake_of(lake, days[:1], []), "p", days[:1]) == [], "a day without a prediction has no row"
    lake_of(lake, days, days)
    assert [row["ds"] for row in _overall(con, lake, "p", days[150:151])] == days[61:151]
    assert [row["ds"] for row in _overall(con, lake, "p", days[20:151])] == days[20:151]
    assert {row["node"] for row in _overall(con, lake, "p", days)} == {"global"}


def lake_of(lake: Lake, days: list[dt.date], measured: list[dt.date]) -> Lake:
    """A table p with two nodes on each of the days that are measured."""
    nodes = [(day, node) for day in measured for node in ("global", "FR")]
    columns = {
        "ds": pa.array([day for day, _ in nodes], pa.date32()),
        "node": pa.array([n for _, n in nodes], pa.string()),
    }
    lake.replace("p", pa.table(columns), days)
    return lake


def test_days_without_a_prediction_have_nothing_to_measure(con: duckdb.DuckDBPyConnection) -> None:
    assert measure(con, TASK, "log_loss", {}).num_rows == 0


@pytest.mark.slow
def test_a_line_that_nobody_is_good_enough_for_is_monitored_without_an_error(tmp_path: Path) -> None:
    out_of_reach = MORE.replace("certainty: 0.5}", "certainty: 0.5, floor: 1.1}")
    station = Station(
        tmp_path, LATE, out_of_reach, CONTRACT.replace("columns:\n", "columns:\n  told_at: {type: timestamp}\n")
    )
    rng, last = random.Random(4), on(9)
    for offset in range(10):
        station.deliver(
            on(offset), [order(rng, number, on(offset)) for number in range(100 * offset, 100 * offset + 60)]
        )
    compute(station, last)
    train(station, on(8), ["global"])
    (decided,) = station.deployment.ledger.decisions(LINE)
    assert decided.champion is None and "at least 1.1 needed" in decided.reason
    for name in SCORED:
        if dg.AssetKey([LINE, name]) in station.deployment.definitions.resolve_asset_graph().get_all_asset_keys():
            run = station.run(last, last, [f"{LINE}/{name}"])
            assert run.success, run.message
    for name in ("leaderboard", "decay", "backtest", "calibration", "page"):
        done = execute(station.deployment, [dg.AssetKey([LINE, name])], {AS_OF: str(last)})
        assert done == [], f"{name}: its tables have no rows, which is no error"
    assert station.lake.read(f"{LINE}/performance", last, last, empty_if_absent=True).num_rows == 0
    ((_, _, rows, _),) = summarise(
        station.catalogue, station.lake, station.deployment.ledger, station.deployment.archive
    )
    assert rows == [["global", "nobody", "-", "0", "-", "-", "-"]]


@pytest.mark.slow
def test_a_line_without_segments_has_no_parents_and_is_planned_and_watched_without_them(tmp_path: Path) -> None:
    contract = CONTRACT.replace("columns:\n", "columns:\n  told_at: {type: timestamp}\n")
    whole = MORE.replace("levels: [city], ", "")
    station = Station(tmp_path, LATE, whole, contract)
    rng, last = random.Random(4), on(9)
    for offset in range(10):
        orders = [order(rng, number, on(offset)) for number in range(100 * offset, 100 * offset + 60)]
        station.deliver(on(offset), orders)
    compute(station, last)
    train(station, on(8), ["global"])
    there = {key.path[-1] for key in station.deployment.specs if key.path[0] == LINE}
    assert "parents" not in there
    assert {key.name for key in station.deployment.checks[dg.AssetKey([LINE, "performance"])]} == {"better_than_naive"}

    def planned() -> set[str]:
        work = plan_of_line(station.deployment.book(until=last), LINE).work
        names = {name for each in work if last in each.days for name in each.assets}
        return {name.partition("/")[2] for name in names if name.startswith(f"{LINE}/")}

    scored = [name for name in SCORED if name in there]
    assert planned() == set(scored)
    for name in scored:
        run = station.run(last, last, [f"{LINE}/{name}"])
        assert run.success, run.message
    assert planned() == set()
    measured = station.lake.read(f"{LINE}/performance", last, last)
    assert measured.num_rows == 1 and not [name for name in measured.column_names if name.startswith("parent_")]
    monitors = {row["monitor"] for row in station.lake.read(f"{LINE}/monitors", last, last).to_pylist()}
    assert "performance" in monitors and "parent" not in monitors
