"""A million pairs of entity and time against a scan of all of an entity's events: not one value may differ."""

from __future__ import annotations

import datetime as dt

import duckdb
import numpy as np
import pytest

from factory_assets.declarations.base import format_duration
from factory_assets.declarations.view import View
from factory_assets.features.point_in_time.windows import compute

ENTITIES, EVENTS, PAIRS = 5_000, 200_000, 1_000_000
DAY = 86_400_000_000
START = 19_800 * DAY
NEVER = np.int64(2**62)
#: Amounts are whole numbers of this part of one, which doubles hold: so numpy's sums are exact, as ours are for any number.
PART = 128
FEATURES = {
    "n": "count()", "total": "sum(amount)", "mean": "mean(amount)", "low": "min(amount)", "high": "max(amount)",
    "newest": "last(amount)", "oldest": "first(amount)", "ago": "time_since_last()", "paid": "count(amount) where flag",
}  # fmt: skip
VIEWS = [
    {"windows": ["1h", "1d", "30d"]},
    {"windows": ["6h", "7d"], "delay": "2h"},
    {"windows": ["10m", "3d"], "delay": "7d", "where": "flag"},
    {"windows": ["1d", "ever"], "where": "amount > 0"},
]


def stream(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Events with ties, gaps, late rows, rows delivered twice, and corrections. Times in microseconds since 1970."""
    base = EVENTS * 4 // 5
    time = START + rng.integers(0, 60 * DAY // 600_000_000, base) * 600_000_000  # ten-minute steps: ties are many
    midnight = rng.random(base) < 0.3
    time[midnight] = START + rng.integers(0, 60, midnight.sum()) * DAY
    entity = (rng.pareto(1.0, base) * 50).astype(np.int64) % ENTITIES
    late = np.where(rng.random(base) < 0.1, rng.integers(0, 10 * DAY, base), 0)
    events = {
        "who": entity, "event_time": time, "known_at": time + late, "superseded_at": np.full(base, NEVER),
        "amount": np.where(rng.random(base) < 0.1, np.nan, rng.integers(-5000, 5000, base) / PART), "flag": rng.random(base) < 0.4,
    }  # fmt: skip
    again = rng.choice(base, EVENTS - base, replace=False)
    other = {name: values[again].copy() for name, values in events.items()}
    corrects = rng.random(len(again)) < 0.7  # the others are rows that came twice and stayed so
    other["known_at"] = other["known_at"] + np.where(corrects, rng.integers(1, 5 * DAY, len(again)), 0)
    other["amount"] = np.where(corrects, -other["amount"], other["amount"])
    events["superseded_at"][again[corrects]] = other["known_at"][corrects]
    return {name: np.concatenate([events[name], other[name]]) for name in events}


def scanned(view: View, events: dict[str, np.ndarray], asked: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The rule as written, for every pair a scan of its entity's events; NaN where there is no value."""
    delay = view.delay // dt.timedelta(microseconds=1)
    chosen = {"flag": events["flag"], "amount > 0": events["amount"] > 0}.get(view.where or "", np.ones(EVENTS, bool))
    found = {name: np.full(PAIRS, np.nan) for name in view.names}
    by_event, by_pair = np.argsort(events["who"], kind="stable"), np.argsort(asked["entity"], kind="stable")
    ends_e = np.searchsorted(events["who"][by_event], np.arange(ENTITIES + 1))
    ends_p = np.searchsorted(asked["entity"][by_pair], np.arange(ENTITIES + 1))
    for entity in range(ENTITIES):
        mine, pairs = by_event[ends_e[entity] : ends_e[entity + 1]], by_pair[ends_p[entity] : ends_p[entity + 1]]
        if not len(pairs):
            continue
        for part in np.array_split(pairs, max(1, len(pairs) * max(1, len(mine)) // 2_000_000)):
            one = {name: values[mine][None, :] for name, values in events.items()}
            t, u = asked["t"][part][:, None], one["event_time"] + delay
            there = (
                (u <= t)
                & (one["event_time"] < t)
                & (one["known_at"] <= t)
                & (one["superseded_at"] > t)
                & chosen[mine][None, :]
            )
            given = ~np.isnan(one["amount"])
            for window in view.windows:
                length = window // dt.timedelta(microseconds=1)
                inside = there & (u > t - length)
                valued, name = inside & given, format_duration(window)
                amount = np.where(given, one["amount"], 0.0)
                n = valued.sum(axis=1)
                parts = (valued * (amount * PART).astype(np.int64)).sum(axis=1)
                empty = n == 0
                found[f"n_{name}"][part] = inside.sum(axis=1)
                found[f"paid_{name}"][part] = (valued & one["flag"]).sum(axis=1)
                found[f"total_{name}"][part] = np.where(empty, np.nan, parts / PART)
                found[f"mean_{name}"][part] = np.where(empty, np.nan, parts / PART / np.maximum(n, 1))
                found[f"low_{name}"][part] = np.where(
                    empty, np.nan, np.where(valued, amount, np.inf).min(axis=1, initial=np.inf)
                )
                found[f"high_{name}"][part] = np.where(
                    empty, np.nan, np.where(valued, amount, -np.inf).max(axis=1, initial=-np.inf)
                )
                latest = np.where(valued, u, -NEVER).max(axis=1, initial=-NEVER)[:, None]
                first = np.where(valued, u, NEVER).min(axis=1, initial=NEVER)[:, None]
                newest = np.where(valued & (u == latest), amount, -np.inf).max(axis=1, initial=-np.inf)
                oldest = np.where(valued & (u == first), amount, np.inf).min(axis=1, initial=np.inf)
                found[f"newest_{name}"][part] = np.where(empty, np.nan, newest)
                found[f"oldest_{name}"][part] = np.where(empty, np.nan, oldest)
                last = np.where(inside, one["event_time"], -NEVER).max(axis=1, initial=-NEVER)
                found[f"ago_{name}"][part] = np.where(inside.any(axis=1), (t[:, 0] - last) / 1e6, np.nan)
    return found


@pytest.mark.longest
@pytest.mark.parametrize("declared", VIEWS, ids=lambda one: " ".join(one["windows"]))
def test_a_million_pairs_equal_a_naive_scan(declared: dict) -> None:
    rng = np.random.default_rng(len(str(declared)))
    events = stream(rng)
    view = View(
        name="habit", stream="orders", entity="who", owner="team:x", description="", features=FEATURES, **declared
    )
    times = np.concatenate(
        [events["event_time"], events["known_at"], events["event_time"] + view.delay // dt.timedelta(microseconds=1)]
    )
    asked = {
        "entity": rng.integers(0, ENTITIES, PAIRS),
        # Half of the moments are at an event's own time, or a microsecond beside it.
        "t": np.where(
            rng.random(PAIRS) < 0.5,
            START + rng.integers(0, 75 * DAY, PAIRS),
            rng.choice(times, PAIRS) + rng.integers(-1, 2, PAIRS),
        ),
    }
    with duckdb.connect(":memory:", config={"threads": 2}) as con:
        con.execute("SET TimeZone = 'UTC'")
        con.register("given", events)
        con.execute(
            f"""CREATE TABLE events AS SELECT who, make_timestamp(event_time) AS event_time, make_timestamp(known_at) AS known_at,
                CASE WHEN superseded_at < {NEVER} THEN make_timestamp(superseded_at) END AS superseded_at,
                CASE WHEN NOT isnan(amount) THEN amount END AS amount, flag FROM given"""
        )
        con.register("pairs", asked)
        con.execute(
            "CREATE TABLE asked AS SELECT row_number() OVER () - 1 AS obs, entity, make_timestamp(t) AS t FROM pairs"
        )
        compute(con, view, "events", "(SELECT * FROM asked)", "result", same_stream=False)
        found = con.execute("SELECT * FROM result ORDER BY obs").fetchnumpy()
    expected = scanned(view, events, asked)
    assert len(found["obs"]) == PAIRS
    for name, values in expected.items():
        ours = np.ma.filled(np.ma.asarray(found[name]).astype(float), np.nan)
        differing = ~((ours == values) | (np.isnan(ours) & np.isnan(values)))
        assert not differing.any(), (name, int(differing.sum()), ours[differing][:3], values[differing][:3])
