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

from factory_assets.automation.summary import summarise
from factory_assets.governor.executor import execute
from factory_assets.governor.work import SCORED
from factory_assets.identity.nodes import tree
from factory_assets.measures.metrics import score
from factory_assets.measures.tables import label_values, prediction_values
from factory_assets.monitoring.performance import measured as performance
from factory_assets.monitoring.performance.assets import _overall
from factory_assets.monitoring.performance.measured import measure, schema
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
    found = {(row["ds"].day, row["node"]): row for row in measure(con, TASK, shares).to_pylist()}
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
    found = measure(con, TASK, naive).to_pylist()
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
            row |= {"labelled": known.num_rows} | own_score | {f"naive_{name}": one for name, one in guessed.items()}
            expected.append(row)
    assert found == expected and len(expected) > 15


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
    assert measure(con, TASK, {}).num_rows == 0


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
    for name in ("leaderboard", "decay", "calibration"):
        done = execute(station.deployment, [dg.AssetKey([LINE, name])], {AS_OF: str(last)})
        assert done == [], f"{name}: its tables have no rows, which is no error"
    assert station.lake.read(f"{LINE}/performance", last, last, empty_if_absent=True).num_rows == 0
    ((_, _, rows, _),) = summarise(
        station.catalogue, station.lake, station.deployment.ledger, station.deployment.archive
    )
    assert rows == [["global", "nobody", "-", "0", "-", "-", "-"]]
