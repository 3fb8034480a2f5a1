"""Does the flight example read New York's times rightly, know nothing too early, and answer for every segment?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

from factory_assets.automation.summary import summarise
from factory_assets.governor.executor import Deployment
from factory_assets.identity.nodes import lineage
from factory_assets.measures.metrics import guessed, naive, score
from factory_assets.measures.tables import label_values, prediction_values
from tests.public_data.deployed import DATA, bring_up, deployed, run_days, table, told_of_days

FILE = DATA / "nycflights" / "flights_2013_v01.parquet"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not FILE.exists(), reason="the flights of 2013 are not beside the repository (../shared/data/nycflights)"
    ),
]

ENVIRONMENT = {"NYCFLIGHTS": str(FILE.parent)}
#: The same lines, trained on two weeks instead of ten: the first models are there in February.
SHORTER = {
    "windows: [14d]": "windows: [7d]",
    "{window: 70d, holdout: 7d}": "{window: 14d, holdout: 5d}",
    "min_rows: 5000": "min_rows: 1000",
    "num_boost_round: 150": "num_boost_round: 60",
    # Five days are too few to be sure that two weeks have taught more than a constant guess.
    "gate: {metric: mae}": "gate: {metric: mae, certainty: 0.5}",
}
UNTIL = dt.date(2013, 2, 5)
#: A third line beside the example's two: how late, in classes.
LAST_OF_THEM = "  gate: {metric: average_precision}\n  retrain: {every: 42d}"
LATENESS = """
---
type: factory_assets.components.ModelLine
attributes:
  name: lateness
  owner: team:operations
  description: How late a flight will arrive, when it is due to leave.
  task: multiclass(on_time, late, very_late)
  observe: {stream: flights}
  label:
    expression: case when arr_delay <= 15 then 'on_time' when arr_delay <= 60 then 'late' when arr_delay > 60 then 'very_late' end
    delay: 2d
  features: [scheduled, day_of_week, distance, carrier, origin, dest, airport.*, airline.*, destination.*, aircraft.*, habit.*]
  segments: {levels: [origin], min_rows: 1000}
  train: {window: 14d, holdout: 5d}
  candidates:
    logistic: {estimator: logistic_regression}
    boosted: {estimator: lightgbm, params: {num_leaves: 7, learning_rate: 0.05, num_boost_round: 60}}
  gate: {certainty: 0.5}
  retrain: {every: 42d}
"""
#: Known only after the flight has left, or landed.
TOO_LATE = {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "hour", "minute", "departed", "landed_at"}


@pytest.fixture(scope="module")
def source() -> pd.DataFrame:
    """The file as it is, with each flight's scheduled departure in UTC by pandas."""
    rows = pd.read_parquet(FILE)
    minute = rows.dep_time // 100 * 60 + rows.dep_time % 100 - rows.dep_delay
    day = pd.to_datetime(rows[["year", "month", "day"]])
    rows["a_day_early"] = minute < 0
    local = day + pd.to_timedelta(minute + 1440 * rows.a_day_early, unit="min")
    rows["scheduled"] = local.dt.tz_localize("America/New_York").dt.tz_convert("UTC").dt.tz_localize(None)
    rows["landed"] = rows.scheduled + pd.to_timedelta(rows.dep_delay + rows.air_time, unit="min")
    rows["flight_id"] = (
        day.dt.strftime("%Y-%m-%d ") + rows.carrier + rows.flight.astype(str) + " " + rows.origin + "-" + rows.dest
    )
    return rows


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The whole year of flights, raw and events."""
    with deployed(tmp_path_factory.mktemp("year"), "flight_delays", ENVIRONMENT, {}) as deployment:
        stream = deployment.catalogue.streams["flights"].stream
        assert stream.end is not None
        assert run_days(deployment, ["flights/raw", "flights/events"], stream.start, stream.end) == []
        yield deployment


@pytest.fixture(scope="module")
def winter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Both lines, and one of classes, from the first day to their first predictions."""
    replaced = SHORTER | {LAST_OF_THEM: LAST_OF_THEM + LATENESS}
    with deployed(tmp_path_factory.mktemp("winter"), "flight_delays", ENVIRONMENT, replaced) as deployment:
        bring_up(deployment, UNTIL)
        yield deployment


def test_every_row_of_the_year_is_an_event_or_left_out_by_name(year, source):
    told = told_of_days(year, "flights/events")
    counted = {
        name: sum(day.get(name) or 0 for day in told)
        for name in ("rows_delivered", "accepted", "duplicates", "quarantined")
    }
    cancelled = sum((day.get("excluded_by_rule") or {}).get("cancelled", 0) for day in told)
    assert counted == {"rows_delivered": 336_776, "accepted": 328_521, "duplicates": 0, "quarantined": 0}
    assert cancelled == source.dep_time.isna().sum() == 8_255
    assert table(year, "flights/raw").num_rows == 336_776 and table(year, "flights/events").num_rows == 328_521


def test_cancelled_flights_are_counted_on_the_day_that_they_were_due(year, source):
    told = [day.get("excluded_by_rule") or {} for day in told_of_days(year, "flights/events")]
    cancelled = source[source.dep_time.isna()].groupby(["month", "day"]).size()
    assert [day["cancelled"] for day in told if day] == cancelled.tolist()


@pytest.mark.parametrize(
    ("flight", "due"),
    [
        ("2013-01-01 UA1545 EWR-IAH", "2013-01-01 10:15"),   # left 5:17, 2 minutes late, EST
        ("2013-03-09 B6727 JFK-BQN", "2013-03-10 04:59"),    # left 0:53 of a day with 23 hours, 54 late: due 23:59 EST
        ("2013-03-10 B6727 JFK-BQN", "2013-03-11 03:59"),    # left 0:06, 7 late: due 23:59, by now EDT
        ("2013-03-10 EV4368 EWR-DAY", "2013-03-11 01:00"),   # left 0:41, 221 late: due 21:00 EDT
        ("2013-11-02 VX413 JFK-LAX", "2013-11-02 20:55"),    # left 22:17, 322 late: due 16:55, the last day of EDT
        ("2013-11-03 UA322 EWR-IAH", "2013-11-03 10:20"),    # left 5:19, a minute early: due 5:20 EST
        ("2013-10-30 B6839 JFK-BQN", "2013-10-31 03:59"),    # left 24:00, a minute late: due 23:59 EDT
        ("2013-12-09 B61816 JFK-SYR", "2013-12-10 03:50"),   # left 24:00, 70 late: due 22:50 EST
    ],
)  # fmt: skip
def test_local_times_are_read_with_their_delay_their_midnight_and_their_summer_time(year, flight, due):
    day = dt.date.fromisoformat(due[:10])
    events = year.lake.read("flights/events", day, day, ["flight_id", "event_time", "ds"]).to_pylist()
    assert [row["event_time"] for row in events if row["flight_id"] == flight] == [dt.datetime.fromisoformat(due)]


def test_every_scheduled_time_is_that_of_another_calendar(year, source):
    events = table(year, "flights/events").select(["flight_id", "event_time", "ds"]).to_pandas()
    flown = source[source.dep_time.notna()]
    assert flown.a_day_early.sum() == 1_207 and (flown.dep_time == 2400).sum() == 29
    both = events.merge(flown, on="flight_id", validate="1:1")
    assert len(both) == len(events) == len(flown)
    assert (both.event_time == both.scheduled).all()
    assert (pd.to_datetime(both.ds) == both.scheduled.dt.normalize()).all()


def test_features_are_made_of_flights_whose_delay_was_known(winter, source):
    examples = table(winter, "arrival_delay/examples").to_pandas()
    known = source[source.arr_delay.notna()].assign(known=lambda rows: rows.landed + pd.Timedelta(minutes=90))
    for example in examples.sample(60, random_state=3).itertuples(index=False):
        row = dict(zip(examples.columns, example, strict=True))
        ago = row["observed_at"] - known.known
        for view, entity, hours in (("airport", "origin", 3), ("aircraft", "tailnum", 48)):
            seen = known[(known[entity] == row[entity]) & (ago >= pd.Timedelta(0)) & (ago < pd.Timedelta(hours=hours))]
            window = "3h" if hours == 3 else "2d"
            assert row[f"{view}.flights_{window}"] == len(seen)
            if view == "airport":
                mean = seen.arr_delay.mean() if len(seen) else np.nan
                np.testing.assert_allclose(row["airport.delay_3h"], mean, rtol=1e-9)


def test_nothing_that_is_known_only_after_departure_is_a_feature(winter):
    for line in winter.catalogue.lines.values():
        declared = winter.catalogue.resolve(line)
        assert not TOO_LATE & set(declared.row_features)
        assert all(view.stream == "landings" for view in declared.views.values())


def test_a_diverted_flight_is_predicted_and_never_labelled(winter, source):
    diverted = set(source[source.dep_time.notna() & source.arr_delay.isna()].flight_id)
    labelled = set(table(winter, "arrival_delay/labels")["example_id"].to_pylist())
    predicted = set(table(winter, "arrival_delay/predictions")["example_id"].to_pylist())
    assert predicted & diverted and not labelled & diverted


def test_hundreds_of_segments_are_considered_and_each_has_somebody_to_answer(winter):
    (title, columns, rows, _), *_ = summarise(winter.catalogue, winter.lake, winter.ledger, winter.archive)
    assert title == "arrival_delay" and columns[:2] == ["node", "answers"]
    answers = {row[0]: row[1] for row in rows}
    assert len(answers) >= 200
    own = {node for node, who in answers.items() if who == "itself"}
    assert {(row[6] == f"as {row[1]}") != (row[0] in own) for row in rows} == {True}
    outcomes = table(winter, "arrival_delay/model").to_pylist()
    trained = {row["node"] for row in outcomes if row["status"] == "trained"}
    assert "global" in own and 5 < len(trained) < len(answers) / 2 and own <= trained
    board = {row["node"]: row for row in table(winter, "arrival_delay/leaderboard").to_pylist()}
    for node in trained - own:
        assert "no better than" in board[node]["reason"], "few days of winter: none of them beats what is above it"
    for node, who in answers.items():
        assert who == "itself" or who in own & set(lineage(node)), node


def test_each_prediction_says_which_node_answered_and_it_is_the_nearest_with_a_champion(winter):
    champions = {held.node for held in winter.ledger.champions("arrival_delay").values() if held.champion}
    rows = table(winter, "arrival_delay/predictions").select(["leaf", "node"]).to_pandas().drop_duplicates()
    assert len(rows) > 200
    for leaf, node in rows.itertuples(index=False):
        assert node == next(each for each in lineage(leaf) if each in champions)


@pytest.mark.parametrize(("line", "metric"), [("arrival_delay", "mae"), ("late_arrival", "average_precision")])
def test_the_champions_are_better_than_the_best_constant(winter, line, metric):
    predictions = table(winter, f"{line}/predictions").to_pandas()
    rows = predictions.merge(table(winter, f"{line}/labels").to_pandas(), on="example_id", validate="1:1")
    y, task = rows.label.to_numpy(), winter.catalogue.lines[line].task
    constant = np.full(len(y), np.median(y) if task == "regression" else y.mean())
    ours, theirs = score(task, y, rows.prediction.to_numpy())[metric], score(task, y, constant)[metric]
    assert len(y) > 2_000
    assert ours < 0.97 * theirs if metric == "mae" else ours > 1.4 * theirs


def test_how_late_is_told_in_classes_better_than_by_their_shares(winter):
    task, labels = winter.catalogue.lines["lateness"].task, table(winter, "lateness/labels")
    minutes = {row["example_id"]: row["label"] for row in table(winter, "arrival_delay/labels").to_pylist()}
    for row in labels.to_pylist():
        late = minutes[row["example_id"]]
        assert row["label"] == ("on_time" if late <= 15 else "late" if late <= 60 else "very_late")
    rows = table(winter, "lateness/predictions").join(
        labels.select(["example_id", "label"]), "example_id", join_type="inner"
    )
    y, said = label_values(task, rows["label"]), prediction_values(task, rows)
    shares = guessed(naive(task, y), len(y))
    assert len(y) > 2_000 and score(task, y, said)["log_loss"] < 0.98 * score(task, y, shares)["log_loss"]
    watched = {row["column"] for row in table(winter, "lateness/drift").to_pylist()}
    assert {"prediction", "p_on_time", "p_late", "p_very_late", "airport.delay_3h"} <= watched
