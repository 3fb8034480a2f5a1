"""Is the simulated marketplace the same for all who ask, lifelike enough to learn from, and true to its script?"""

from __future__ import annotations

import datetime as dt
import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from factory_assets.events import simulation
from factory_assets.events.simulation import Marketplace, deliveries, script

WORLD = Marketplace()
CONTROL = replace(WORLD, scripted=False)
DAYS = [WORLD.start + dt.timedelta(i) for i in range(100)]
SCRIPT = script(WORLD)
DAY_LONG = [SCRIPT[fact] for fact in ("late_rows", "duplicated_rows", "malformed_rows")]


@pytest.fixture(scope="module")
def fed() -> dict[dt.date, pa.Table]:
    return {day: deliveries(WORLD, day) for day in DAYS}


@pytest.fixture(scope="module")
def happened() -> dict[dt.date, pa.Table]:
    """The same orders without the script."""
    return {day: deliveries(CONTROL, day) for day in DAYS}


@pytest.fixture(scope="module")
def orders(happened: dict[dt.date, pa.Table]) -> pd.DataFrame:
    frame = pa.concat_tables(happened.values()).to_pandas()  # one row an order: its index is unique
    frame["day"] = (frame.placed_at.dt.normalize() - pd.Timestamp(WORLD.start)).dt.days
    return frame


def digest(table: pa.Table) -> str:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return hashlib.sha256(sink.getvalue()).hexdigest()


def design(frame: pd.DataFrame) -> np.ndarray:
    """What a linear model of the minutes sees of an order."""
    hour = frame.placed_at.dt.hour
    return np.column_stack([np.ones(len(frame)), frame.distance_km, frame["items"], hour >= 17, hour <= 13])


def fit(frame: pd.DataFrame) -> np.ndarray:
    return np.linalg.lstsq(design(frame), frame.delivery_minutes, rcond=None)[0]


def test_a_day_has_the_same_bytes_whatever_was_asked_before(fed: dict[dt.date, pa.Table]) -> None:
    asked_backwards = {day: digest(deliveries(replace(WORLD), day)) for day in reversed(DAYS)}
    assert asked_backwards == {day: digest(table) for day, table in fed.items()}


def test_a_day_has_the_same_bytes_in_a_process_that_asks_for_nothing_else(fed: dict[dt.date, pa.Table]) -> None:
    deliveries(WORLD, WORLD.start + dt.timedelta(900))  # this process has looked further ahead
    code = (
        "import sys, pyarrow as pa, datetime as dt\n"
        "from factory_assets.events.simulation import Marketplace, deliveries\n"
        "table = deliveries(Marketplace(), dt.date.fromisoformat(sys.argv[1]))\n"
        "with pa.ipc.new_stream(sys.stdout.buffer, table.schema) as stream: stream.write_table(table)\n"
    )
    root = Path(simulation.__file__).parents[2]
    day = DAYS[77]
    alone = subprocess.run([sys.executable, "-c", code, str(day)], cwd=root, check=True, capture_output=True)
    assert hashlib.sha256(alone.stdout).hexdigest() == digest(deliveries(WORLD, day)) == digest(fed[day])


def test_another_seed_or_day_gives_other_orders() -> None:
    def minutes(world: Marketplace, index: int) -> pa.ChunkedArray:
        return deliveries(world, world.start + dt.timedelta(index))["delivery_minutes"][:50]

    assert minutes(WORLD, 0) != minutes(Marketplace(seed=8), 0)
    assert minutes(WORLD, 0) != minutes(WORLD, 7)


def test_there_are_no_orders_before_the_start() -> None:
    with pytest.raises(ValueError, match=str(WORLD.start)):
        deliveries(WORLD, WORLD.start - dt.timedelta(1))


def test_a_world_too_small_for_its_script_is_refused() -> None:
    with pytest.raises(ValueError, match="299"):
        Marketplace(orders_per_day=299)


def test_the_smallest_world_allowed_plays_its_whole_script() -> None:
    small = Marketplace(orders_per_day=300)
    tables = {fact: deliveries(small, day) for fact, day in script(small).items()}
    repeated = tables["duplicated_rows"]
    assert repeated.num_rows - pc.count_distinct(repeated["order_id"]).as_py() == simulation.DUPLICATED_ROWS
    assert pc.sum(pc.less(tables["malformed_rows"]["amount"], 0)).as_py() == simulation.NEGATIVE_AMOUNTS


def test_a_decade_later_the_marketplace_is_as_large_and_its_customers_are_others() -> None:
    first, later = (
        pa.concat_tables(deliveries(CONTROL, CONTROL.start + dt.timedelta(i + from_day)) for i in range(7))
        for from_day in (0, 3650)
    )
    assert later.num_rows == pytest.approx(first.num_rows, rel=0.1)
    customers = [set(table["customer_id"].to_pylist()) for table in (first, later)]
    assert len(customers[0] & customers[1]) < 0.05 * len(customers[0])


def test_a_day_holds_its_own_orders_in_order_of_time(fed: dict[dt.date, pa.Table]) -> None:
    for day, table in fed.items():
        placed = table["placed_at"].to_numpy()
        assert (placed.astype("datetime64[D]") == np.datetime64(day)).all()
        assert (np.diff(placed) >= np.timedelta64(0)).all()


def test_an_order_id_is_given_once_and_grows_with_time(happened: dict[dt.date, pa.Table]) -> None:
    ids = pa.chunked_array([chunk for table in happened.values() for chunk in table["order_id"].chunks]).to_numpy()
    assert (np.diff(ids) > 0).all()


def test_a_week_brings_the_orders_that_were_asked_for(orders: pd.DataFrame) -> None:
    weeks = orders[orders.day < 98]
    assert len(weeks) / 98 == pytest.approx(WORLD.orders_per_day, rel=0.05)
    by_weekday = weeks.groupby(weeks.placed_at.dt.weekday).size()
    assert by_weekday[5] > 1.2 * by_weekday[0]


def test_people_order_for_lunch_and_dinner(orders: pd.DataFrame) -> None:
    by_hour = orders.groupby(orders.placed_at.dt.hour).size()
    assert by_hour[[11, 12]].min() > 1.3 * by_hour[15]
    assert by_hour[[18, 19]].min() > 1.3 * by_hour[15]
    assert by_hour[3] < 0.05 * by_hour[19]


def test_cities_are_very_unequal_in_size(orders: pd.DataFrame) -> None:
    share = orders.city.value_counts(normalize=True)
    assert len(share) == 14
    assert orders.country.nunique() == 4
    assert 0.25 < share.iloc[0] < 0.35
    assert share.iloc[-1] * len(orders) / 100 < 10
    assert orders.groupby("city").country.nunique().max() == 1


def test_a_customer_and_a_restaurant_belong_to_one_city(orders: pd.DataFrame) -> None:
    assert orders.groupby("customer_id").city.nunique().max() == 1
    assert orders.groupby("restaurant_id").city.nunique().max() == 1
    restaurants = orders.groupby("city").restaurant_id.nunique()
    assert restaurants["Lyon"] == 25
    assert restaurants["Turin"] < 10


def test_deliveries_take_as_long_as_deliveries_take(orders: pd.DataFrame) -> None:
    minutes = orders.delivery_minutes
    assert minutes.min() > 5
    assert 20 < minutes.quantile(0.05) < minutes.median() < minutes.quantile(0.9) < 60
    assert minutes.skew() > 0.5


def test_an_order_is_known_within_a_minute(orders: pd.DataFrame) -> None:
    wait = orders.received_at - orders.placed_at
    assert wait.min() >= pd.Timedelta("1s")
    assert wait.max() < pd.Timedelta("1min")


def test_a_replacement_follows_an_order_of_the_same_customer_on_the_same_day(orders: pd.DataFrame) -> None:
    again = orders[orders.replaces.notna()]
    assert len(again) / len(orders) == pytest.approx(0.03, abs=0.004)
    assert (again.amount == 0).all()
    assert (orders.amount[orders.replaces.isna()] > 0).all()
    pair = again.merge(orders, left_on="replaces", right_on="order_id", suffixes=("", "_first"))
    assert len(pair) == len(again)
    for name in ("customer_id", "restaurant_id", "city", "day"):
        assert (pair[name] == pair[f"{name}_first"]).all()
    assert (pair.placed_at > pair.placed_at_first).all()


def test_how_often_and_how_recently_a_customer_ordered_tell_whether_they_order_again(orders: pd.DataFrame) -> None:
    reordered = []
    for close in (41, 55, 69, 83):
        past = orders[orders.day.between(close - 27, close)]
        known = past.groupby("customer_id").agg(count=("order_id", "size"), last=("day", "max"))
        soon = orders[orders.day.between(close + 1, close + 7)].customer_id.unique()
        reordered.append(known.assign(recency=close - known["last"], again=known.index.isin(soon)))
    table = pd.concat(reordered)
    assert 0.3 < table.again.mean() < 0.8
    recent = table[table.recency <= 7]
    assert recent.again[recent["count"] >= 10].mean() > recent.again[recent["count"] <= 3].mean() + 0.2
    frequent = table[table["count"] >= 6]
    assert frequent.again[frequent.recency <= 3].mean() > frequent.again[frequent.recency > 10].mean() + 0.2


def test_customers_join_and_leave(orders: pd.DataFrame) -> None:
    seen = [set(orders.customer_id[orders.day.between(first, first + 27)]) for first in (0, 72)]
    assert 0.1 < len(seen[0] - seen[1]) / len(seen[0]) < 0.6
    assert 0.1 < len(seen[1] - seen[0]) / len(seen[1]) < 0.6


def test_most_customers_of_a_week_order_in_the_next_one_too_whichever_the_week(orders: pd.DataFrame) -> None:
    weeks = [set(orders.customer_id[orders.day.between(day, day + 6)]) for day in range(94)]
    kept = [len(week & later) / len(week) for week, later in zip(weeks, weeks[7:], strict=False)]
    assert min(kept) > 0.7
    assert max(kept) < 0.9


def test_a_restaurant_that_was_slow_stays_slow(orders: pd.DataFrame) -> None:
    slow = orders.assign(slow=0.0)
    for _, rows in orders.groupby("city"):
        slow.loc[rows.index, "slow"] = rows.delivery_minutes - design(rows) @ fit(rows)
    past = slow[slow.day < 28].groupby("restaurant_id").slow.mean()
    future = slow[slow.day.between(28, 55)].groupby("restaurant_id").slow.mean()
    assert past.corr(future) > 0.7


def test_a_kilometre_takes_longer_in_some_cities_than_in_others_of_the_same_country(orders: pd.DataFrame) -> None:
    same_kitchen = orders.groupby("restaurant_id")[["distance_km", "delivery_minutes"]].transform("mean")
    apart = (orders[["distance_km", "delivery_minutes"]] - same_kitchen).groupby(orders.city)
    per_km = apart.apply(lambda rows: np.polyfit(rows.distance_km, rows.delivery_minutes, 1)[0])
    assert 1 < per_km.min() < per_km.max() < 6
    assert per_km["Marseille"] > 1.15 * per_km["Lyon"]
    assert per_km["Rome"] > 1.15 * per_km["Milan"]
    assert per_km["Milan"] > 1.15 * per_km["Berlin"]


def test_a_model_of_one_city_beats_the_model_of_all(orders: pd.DataFrame) -> None:
    train, holdout = orders[orders.day < 56], orders[orders.day.between(56, 83)]
    shared = fit(train)
    ratio = {}
    for city, rows in holdout.groupby("city"):
        own = fit(train[train.city == city])
        by_own, by_shared = (np.square(rows.delivery_minutes - design(rows) @ w).mean() for w in (own, shared))
        ratio[city] = by_own / by_shared
    assert max(ratio.values()) < 1.05
    assert np.median(list(ratio.values())) < 0.85


def test_the_script_names_the_day_of_every_fact() -> None:
    index = {fact: (day - WORLD.start).days for fact, day in SCRIPT.items()}
    assert index == {
        "late_rows": 40,
        "duplicated_rows": 45,
        "malformed_rows": 50,
        "schema_addition": 60,
        "concept_change": 85,
    }
    assert script(CONTROL) == {}


def test_nothing_is_wrong_on_days_that_the_script_leaves_alone(
    fed: dict[dt.date, pa.Table], happened: dict[dt.date, pa.Table]
) -> None:
    quiet = [day for day in DAYS if day < SCRIPT["concept_change"] and day not in DAY_LONG]
    assert len(quiet) == 82
    for day in quiet:
        assert fed[day].select(happened[day].column_names).equals(happened[day])


def test_late_rows_differ_from_the_others_only_in_when_they_were_received(
    fed: dict[dt.date, pa.Table], happened: dict[dt.date, pa.Table]
) -> None:
    table = fed[SCRIPT["late_rows"]]
    delay = table["received_at"].to_numpy() - table["placed_at"].to_numpy()
    late = delay > np.timedelta64(1, "h")
    assert late.mean() == pytest.approx(0.06, abs=0.001)
    assert delay[late].min() >= np.timedelta64(1, "D")
    assert delay[late].max() <= np.timedelta64(3, "D")
    truth = happened[SCRIPT["late_rows"]]
    assert table.drop_columns("received_at").equals(truth.drop_columns("received_at"))
    assert table.filter(pa.array(~late)).equals(truth.filter(pa.array(~late)))


def test_duplicated_rows_are_delivered_twice_and_equal_in_every_column(
    fed: dict[dt.date, pa.Table], happened: dict[dt.date, pa.Table]
) -> None:
    table = fed[SCRIPT["duplicated_rows"]].to_pandas()
    truth = happened[SCRIPT["duplicated_rows"]].to_pandas()
    assert table.duplicated().sum() == 120
    assert table.order_id.value_counts().max() == 2
    pd.testing.assert_frame_equal(table.drop_duplicates().reset_index(drop=True), truth)


def test_malformed_rows_are_each_broken_in_one_way_and_the_others_are_whole(
    fed: dict[dt.date, pa.Table], happened: dict[dt.date, pa.Table]
) -> None:
    table, truth = fed[SCRIPT["malformed_rows"]], happened[SCRIPT["malformed_rows"]]
    broken = {
        "amount": pc.less(table["amount"], 0),
        "city": pc.equal(table["city"], "Atlantis"),
        "customer_id": pc.is_null(table["customer_id"]),
        "items": pc.invert(pc.match_substring_regex(table["items"], r"^\d+$")),
    }
    count = {name: pc.sum(rows).as_py() for name, rows in broken.items()}
    assert count == {"amount": 12, "city": 8, "customer_id": 6, "items": 5}
    assert np.sum([rows.to_numpy() for rows in broken.values()], axis=0).max() == 1
    for field in truth.schema:
        pair = pa.table({"fed": table[field.name], "truth": truth[field.name]})
        whole = pair.filter(pc.invert(broken[field.name])) if field.name in broken else pair
        assert whole["fed"].cast(field.type).equals(whole["truth"]), field.name


def test_items_are_text_on_the_day_of_the_malformed_rows_only(fed: dict[dt.date, pa.Table]) -> None:
    as_text = [day for day, table in fed.items() if table.schema.field("items").type == pa.string()]
    assert as_text == [SCRIPT["malformed_rows"]]
    others = [day for day in DAYS if day not in as_text and day < SCRIPT["schema_addition"]]
    assert len({fed[day].schema for day in others}) == 1


def test_the_courier_vehicle_is_told_from_the_schema_addition_on(fed: dict[dt.date, pa.Table]) -> None:
    told = [day for day, table in fed.items() if "courier_vehicle" in table.column_names]
    assert told == [day for day in DAYS if day >= SCRIPT["schema_addition"]]
    vehicles = pa.concat_tables(fed[day] for day in told)["courier_vehicle"]
    assert vehicles.type == pa.string()
    assert set(vehicles.drop_null().unique().to_pylist()) == {"bike", "scooter", "car"}
    assert 0 < vehicles.null_count < 0.2 * len(vehicles)


def test_the_concept_change_moves_the_minutes_of_one_city_and_no_input(
    fed: dict[dt.date, pa.Table], happened: dict[dt.date, pa.Table]
) -> None:
    for day in (day for day in DAYS if day >= SCRIPT["concept_change"]):
        table, truth = fed[day].drop_columns("courier_vehicle"), happened[day]
        assert table.drop_columns("delivery_minutes").equals(truth.drop_columns("delivery_minutes"))
        slower = pc.greater(table["delivery_minutes"], truth["delivery_minutes"])
        assert slower.equals(pc.equal(table["city"], "Lyon"))
        same = pc.equal(table["delivery_minutes"], truth["delivery_minutes"])
        assert same.equals(pc.invert(slower))


def test_the_concept_change_triples_the_effect_of_distance_and_adds_a_constant(fed: dict[dt.date, pa.Table]) -> None:
    def line(city: str, days: list[dt.date]) -> np.ndarray:
        rows = pa.concat_tables(fed[day].select(["city", "distance_km", "delivery_minutes"]) for day in days)
        rows = rows.filter(pc.equal(rows["city"], city))
        return np.polyfit(rows["distance_km"].to_numpy(), rows["delivery_minutes"].to_numpy(), 1)

    change = DAYS.index(SCRIPT["concept_change"])
    before, after = DAYS[:change], DAYS[change:]
    lyon = line("Lyon", before), line("Lyon", after)
    assert lyon[1][0] / lyon[0][0] == pytest.approx(3, abs=0.6)
    assert lyon[1][1] - lyon[0][1] == pytest.approx(6, abs=3)
    paris = line("Paris", before), line("Paris", after)
    assert paris[1][0] / paris[0][0] == pytest.approx(1, abs=0.2)
