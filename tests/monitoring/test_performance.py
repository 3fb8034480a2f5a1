"""Is a day measured node by node on what is known of it, each version against its own naive guess?"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import numpy as np
import pytest

from factory_assets.monitoring.performance import measure

TASK = "multiclass(red, green, blue)"


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        connection.execute(
            """CREATE TABLE predictions(ds DATE, example_id BIGINT, segment VARCHAR, version VARCHAR, prediction VARCHAR,
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
    found = {(row["ds"].day, row["segment"]): row for row in measure(con, TASK, shares).to_pylist()}
    assert set(found) == {(1, "global"), (1, "FR"), (1, "DE"), (2, "global"), (2, "DE")}
    every = found[1, "global"]
    assert (every["predicted"], every["labelled"], every["accuracy"]) == (3, 2, 1.0)
    assert every["log_loss"] == pytest.approx(-(np.log(0.5) + np.log(0.8)) / 2)
    assert every["naive_log_loss"] == pytest.approx(-(np.log(0.2) + np.log(0.1)) / 2)
    assert (found[1, "DE"]["predicted"], found[1, "DE"]["labelled"]) == (2, 1)
    assert found[2, "DE"]["labelled"] == 0 and found[2, "DE"]["log_loss"] is None


def test_days_without_a_prediction_have_nothing_to_measure(con: duckdb.DuckDBPyConnection) -> None:
    assert measure(con, TASK, {}).num_rows == 0
