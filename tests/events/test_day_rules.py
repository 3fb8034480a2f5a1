"""Is a day held against its bounds and its own past, and found out for each way in which it can be wrong as a whole?"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon

from factory_assets.declarations.catalogue import DeclaredStream, read_contract
from factory_assets.declarations.contract import Contract
from factory_assets.declarations.periods import Period
from factory_assets.declarations.stream import Stream
from factory_assets.events import landing
from factory_assets.events.contract import validation
from factory_assets.events.contract.day_rules import divergence
from factory_assets.events.contract.expectations import rows_to_validate, validate
from factory_assets.events.sources import Delivery

START = dt.date(2024, 3, 1)
DAYS = [START + dt.timedelta(days=offset) for offset in range(20)]
ROWS = 480
STREAM = {
    "name": "orders", "owner": "team:x", "description": "Orders.", "source": {"kind": "parquet", "uri": "x.parquet"},
    "id": "id", "event_time": "at", "start": START,
}  # fmt: skip
COLUMNS: dict[str, Any] = {
    "id": {"type": "integer"},
    "at": {"type": "timestamp"},
    "city": {"type": "string"},
    "amount": {"type": "double", "nullable": True},
    "fraud": {"type": "integer"},
    "shop": {"type": "integer"},
}


def usual(day: dt.date) -> pd.DataFrame:
    """A day like every other: 20 rows an hour by day and by night but for the quiet hours, two cities, 1 % fraud."""
    rng = np.random.default_rng(day.toordinal())
    return pd.DataFrame(
        {
            "id": np.arange(ROWS) + day.toordinal() * 10_000,
            "at": pd.Timestamp(day) + pd.to_timedelta(8 + np.arange(ROWS) % 12, unit="h"),
            "city": rng.choice(["Lyon", "Paris"], ROWS, p=[0.3, 0.7]),
            "amount": rng.lognormal(3, 0.6, ROWS).round(2),
            "fraud": (rng.random(ROWS) < 0.03).astype(int),
            "shop": rng.integers(0, 50, ROWS),
        }
    )


def judged(columns: dict[str, Any], contract: dict[str, Any], strange: dict[dt.date, pd.DataFrame | None], **known):
    """Verdicts, and outcomes of the checks, over DAYS of which some are strange; None is a day without a delivery."""
    declared = DeclaredStream(
        Stream.model_validate(STREAM),
        Contract.model_validate({"columns": COLUMNS | {k: COLUMNS[k] | v for k, v in columns.items()}} | contract),
    )
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        days = {day: strange.get(day, usual(day)) if day in strange else usual(day) for day in DAYS}
        delivered = []
        for day, frame in days.items():
            if frame is not None:
                con.register(
                    f"d{day:%m%d}", frame.assign(_line=pd.Series([None] * len(frame), dtype=object), _source=str(day))
                )
                types = {
                    "id": "BIGINT",
                    "at": "TIMESTAMP",
                    "city": "VARCHAR",
                    "amount": "DOUBLE",
                    "fraud": "BIGINT",
                    "shop": "BIGINT",
                }
                delivered.append(Delivery(f"SELECT * FROM d{day:%m%d}", types, (str(day),), Period(day, day)))
        landed = landing.land(con, declared, delivered, DAYS, DAYS[-1] + dt.timedelta(1))
        con.execute(f"CREATE VIEW past AS SELECT *, ds AS event_time FROM {landed.rows} WHERE false")
        inputs = validation.Inputs(landed.rows, landed.deliveries, "past")
        judgement = validation.judge(con, declared, inputs, DAYS, **known)
        verdicts = {verdict.day: verdict for verdict in judgement.verdicts}
        measured = [one for verdict in verdicts.values() for one in verdict.measured]
        rows = con.sql(rows_to_validate(declared, landed.rows)).to_arrow_table()
        outcomes = validate(declared, rows, validation.read_arrivals(con, landed.deliveries), DAYS, measured, **known)
    for day in DAYS:
        blocking = [one for one in outcomes if one.day == day and one.blocking]
        assert bool(blocking) == bool(verdicts[day].blocked), (day, blocking, verdicts[day].blocked)
    return verdicts, outcomes


STRANGE = DAYS[12]


def strange_day(**values: Any) -> dict[dt.date, pd.DataFrame]:
    frame = usual(STRANGE)
    return {STRANGE: frame.assign(**{name: value(frame) for name, value in values.items()})}


FAULTS: list[tuple[str, dict[str, Any], dict[str, Any], dict[dt.date, pd.DataFrame | None], str]] = [
    ("a tenth of the rows", {}, {"volume": {"max_change": 0.5}}, {STRANGE: usual(STRANGE)[:48]}, "number of rows is 48"),
    ("twice the rows", {}, {"volume": {"max_change": 0.5}},
     {STRANGE: pd.concat([usual(STRANGE), usual(STRANGE).assign(id=lambda f: f.id + 5000)])}, "number of rows is 960"),
    ("no rows", {}, {"volume": {"min": 1}}, {STRANGE: None}, "number of rows is 0, expected at least 1"),
    ("amounts in cents", {"amount": {"max_shift": 0.3}}, {}, strange_day(amount=lambda f: f.amount * 100), "shift of amount"),
    ("times shifted by five hours", {"at": {"max_shift": 0.3}}, {},
     strange_day(at=lambda f: f["at"] - pd.Timedelta(hours=5)), "shift of at"),
    ("a label turned over", {"fraud": {"max_shift": 0.3}}, {}, strange_day(fraud=lambda f: 1 - f.fraud), "shift of fraud"),
    ("codes from 0 on", {"city": {"max_shift": 0.3}}, {},
     strange_day(city=lambda f: f.city.map({"Lyon": "0", "Paris": "1"})), "shift of city"),
    ("ten times the shops", {"shop": {"distinct": {"max_change": 1}}}, {},
     strange_day(shop=lambda f: np.arange(len(f))), "different values of shop is 480"),
    ("nulls for three hours", {"amount": {"presence": {"min_fraction": 0.7, "every": "hour"}}}, {},
     strange_day(amount=lambda f: f.amount.mask(f["at"].dt.hour < 11)), "share of rows with amount in every hour (08:00) is 0"),
    ("nulls in one city", {"amount": {"presence": {"min_fraction": 0.5, "by": "city"}}}, {},
     strange_day(amount=lambda f: f.amount.mask(f.city == "Lyon")), "share of rows with amount for every city (city Lyon) is 0"),
    ("no event after noon", {}, {"freshness": "6h"}, {STRANGE: usual(STRANGE)[lambda f: f["at"].dt.hour < 12]},
     "hours without an event before the close is 13, expected at most 6"),
    ("too few values", {"amount": {"presence": {"min_count": 100}}}, {},
     strange_day(amount=lambda f: f.amount.where(f.index < 90)), "values of amount is 90, expected at least 100"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "columns", "contract", "strange", "told"), FAULTS, ids=[fault[0] for fault in FAULTS])
def test_a_strange_day_is_blocked_with_the_number_found_and_no_other_day(what, columns, contract, strange, told):
    if "presence" in columns.get("amount", {}) and "min_count" in columns["amount"]["presence"]:
        columns = {"amount": {"presence": {"min_fraction": 0, "min_count": 100}}}
    verdicts, _ = judged(columns, contract, strange)
    assert [day for day in DAYS if verdicts[day].blocked] == [STRANGE]
    assert verdicts[STRANGE].blocked[0].startswith(told)
    plain, _ = judged({}, {}, strange)
    assert not any(verdict.blocked for verdict in plain.values()), "the contract's rule is what finds it"


def test_a_daily_bar_does_not_see_what_an_hourly_one_does():
    strange = strange_day(amount=lambda f: f.amount.mask(f["at"].dt.hour < 11))
    verdicts, _ = judged({"amount": {"presence": {"min_fraction": 0.7}}}, {}, strange)
    assert not verdicts[STRANGE].blocked
    assert [one.observed for one in verdicts[STRANGE].measured] == [0.75]


def test_three_new_shops_in_fifty_are_growth_and_pass():
    strange = strange_day(shop=lambda f: f.shop.where(f.index > 9, f.shop + 50))
    verdicts, _ = judged({"shop": {"distinct": {"max_change": 0.5}, "max_shift": 0.3}}, {}, strange)
    assert not verdicts[STRANGE].blocked


def test_a_strange_day_is_nobodys_past():
    days = {day: usual(day).assign(fraud=lambda f: 1 - f.fraud) for day in DAYS[10:]}
    verdicts, _ = judged({"fraud": {"max_shift": 0.3}}, {}, days)
    assert [day for day in DAYS if verdicts[day].blocked] == DAYS[10:], "they never become the usual"


def test_weeks_of_blocked_days_do_not_switch_the_rules_off():
    fit, bad, back = DAYS[:8], DAYS[8:19], DAYS[19]
    rules = {"amount": {"max_shift": 0.3}, "shop": {"distinct": {"max_change": 1}}}
    strange = {
        day: usual(day)[:400].assign(amount=lambda f: f.amount * 100, shop=lambda f: np.arange(len(f))) for day in bad
    }
    verdicts, _ = judged(rules, {"past": "7d", "volume": {"max_change": 0.1}}, strange)
    assert [day for day in DAYS if verdicts[day].blocked] == bad, f"{back} is as usual"
    for day in bad:
        assert len(verdicts[day].blocked) == 3, verdicts[day].blocked
    known = f", as on the 7 days up to {fit[-1]}, the last that were fit for use"
    assert all(why.endswith(known) for why in verdicts[bad[-1]].blocked)
    assert not any(known in why for why in verdicts[bad[0]].blocked)


def test_what_somebody_has_accepted_informs_and_becomes_the_past():
    days = {day: usual(day).assign(fraud=lambda f: 1 - f.fraud) for day in DAYS[10:]}
    verdicts, outcomes = judged({"fraud": {"max_shift": 0.3}}, {}, days, accepted={"shift of fraud against the past"})
    assert not any(verdict.blocked for verdict in verdicts.values())
    failed = [one.day for one in outcomes if not one.passed]
    assert failed[0] == DAYS[10] and failed[-1] < DAYS[-1]


def test_nothing_is_said_about_change_before_there_is_a_week():
    early = {DAYS[6]: usual(DAYS[6])[:48], DAYS[7]: usual(DAYS[7])[:48]}
    verdicts, _ = judged({}, {"volume": {"max_change": 0.5}}, early)
    assert [day for day in DAYS if verdicts[day].blocked] == [DAYS[7]]


def test_an_empty_day_is_an_outage_unless_the_calendar_says_otherwise():
    sunday = next(day for day in DAYS if day.weekday() == 6)
    monday = sunday + dt.timedelta(1)
    empty = {sunday: None, monday: None}
    verdicts, outcomes = judged({}, {"quiet": ["sunday"], "volume": {"min": 1}}, empty)
    assert [day for day in DAYS if verdicts[day].blocked] == [monday]
    verdicts, outcomes = judged({}, {"quiet": ["sunday"]}, empty)
    assert not any(verdict.blocked for verdict in verdicts.values())
    (told,) = [one for one in outcomes if not one.passed]
    assert told.day == monday and told.concern == "volume" and "outage" in told.message and not told.blocking
    _, outcomes = judged({}, {"volume": {"min": 0}}, empty)
    assert all(one.passed for one in outcomes)


def test_a_column_that_serving_does_not_have_is_no_anomaly_there_and_one_in_training(tmp_path, monkeypatch):
    (tmp_path / "contract.yaml").write_text(
        "columns:\n  id: {type: integer}\n  fraud: {type: integer, not_in: [serving], presence: {min_fraction: 0.5}}\n"
    )
    stream = Stream.model_validate(STREAM)
    trained = read_contract(stream, tmp_path).columns["fraud"]
    assert trained.required and not trained.nullable
    monkeypatch.setenv("FACTORY_ENVIRONMENT", "serving")
    served = read_contract(stream, tmp_path).columns["fraud"]
    assert not served.required and served.nullable and served.presence is None
    monkeypatch.setenv("FACTORY_ENVIRONMENT", "production")
    with pytest.raises(ValueError, match="'production'; allowed: training, serving"):
        read_contract(stream, tmp_path)


@pytest.fixture
def counts() -> Iterator[tuple[Counter[str], Counter[str]]]:
    rng = np.random.default_rng(4)
    yield Counter(map(str, rng.integers(0, 30, 500))), Counter(map(str, rng.poisson(12, 700)))


def test_the_divergence_is_the_square_of_scipys_distance(counts):
    one, other = counts
    values = sorted({*one, *other})
    expected = jensenshannon([one[v] for v in values], [other[v] for v in values], base=2) ** 2
    assert divergence(one, other) == pytest.approx(expected, rel=1e-12)
    assert divergence(one, one) == 0 and divergence(Counter(a=3), Counter(b=4)) == 1


def test_rows_left_out_on_purpose_are_no_part_of_a_days_volume(monkeypatch):
    monkeypatch.setitem(STREAM, "exclude", {"trials": "city = 'Nowhere'"})
    day = usual(STRANGE)
    trials = day.assign(id=day["id"] + ROWS, city="Nowhere")
    verdicts, _ = judged({}, {"volume": {"max": ROWS}}, {STRANGE: pd.concat([day, trials], ignore_index=True)})
    assert verdicts[STRANGE].excluded == {"trials": ROWS} and not verdicts[STRANGE].blocked
