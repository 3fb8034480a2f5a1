"""Which orders does the demo's marketplace deliver on a day, and on which days does its feed misbehave?

A food delivery marketplace in 14 cities of four countries, of any length, seeded: the same world and day
give the same bytes whatever was asked before (for one numpy release; NEP 19 lets streams change between
releases). Customers come back while they are active and fall silent in pauses or for good, as in Schmittlein,
Morrison & Colombo, "Counting your customers", 1987: how often and how recently somebody ordered both tell
whether they order again. Minutes to the door add the restaurant's own preparation, the distance at the
city's pace, items, rush and chance.

The script, in days after the start; nothing else is ever wrong with the feed:

day 40     late rows: 6 % are received one to three days after they were placed
day 45     duplicated rows: 120 rows come twice, byte for byte
day 50     malformed rows: 12 negative amounts, 8 in the unknown city "Atlantis", 6 without a customer,
           5 whose items is a word; that day `items` is delivered as text
day 60 on  schema addition: a nullable column `courier_vehicle` (bike, scooter, car)
day 85 on  concept change: roadworks in Lyon triple the effect of distance and add six minutes
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa

_FACTS = {"late_rows": 40, "duplicated_rows": 45, "malformed_rows": 50, "schema_addition": 60, "concept_change": 85}
LATE_SHARE, DUPLICATED_ROWS = 0.06, 120
NEGATIVE_AMOUNTS, UNKNOWN_CITIES, MISSING_CUSTOMERS, WORDED_ITEMS = 12, 8, 6, 5
UNKNOWN_CITY = "Atlantis"
ROADWORKS_CITY, ROADWORKS_DISTANCE, ROADWORKS_MINUTES = "Lyon", 3.0, 6.0

CHANNELS, _CHANNEL_SHARES = ("app", "web", "phone"), (0.68, 0.24, 0.08)
VEHICLES, _VEHICLE_SLOWNESS = ("bike", "scooter", "car"), np.array([1.1, 0.85, 1.05])
_VEHICLE_UNTOLD = 0.08  # share of orders for which the courier did not say
_ITEM_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

_DAY_US, _QUARTER_US, _MINUTE_US = 86_400_000_000, 900_000_000, 60_000_000
_IDS_PER_DAY = 1_000_000  # an order id is day index x this + rank within the day

_CUSTOMERS_PER_ORDER = 3  # 4,500 customers at 1,500 orders a day
_ACTIVE_DAYS, _PAUSE_DAYS = 70, 25  # mean lengths of a customer's spells; geometric, as each day may be the last
_ACTIVE_SHARE = _ACTIVE_DAYS / (_ACTIVE_DAYS + _PAUSE_DAYS)
_CHURN = 0.25  # share of active spells after which the customer never comes back
_REPLACED = 0.03
_WEEKDAYS = np.array([0.86, 0.88, 0.93, 0.98, 1.14, 1.16, 1.05])  # Monday first, mean 1

_STREAM_WORLD, _STREAM_SPELLS, _STREAM_DAY, _STREAM_SCRIPT = range(4)

Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class Marketplace:
    """A world that `deliveries` can be asked about.

    start: day 0 of the script; there are no orders before it.
    orders_per_day: mean over the week, replacements included. The number of customers follows it.
    scripted: False gives the very same orders from a feed that never misbehaves in a world that never
        changes: the control to hold a scripted day against.
    """

    seed: int = 7
    start: dt.date = dt.date(2026, 1, 5)
    orders_per_day: int = 1500
    scripted: bool = True

    def __post_init__(self) -> None:
        if not 300 <= self.orders_per_day <= 500_000:  # the script needs rows to spoil, the ids room
            raise ValueError(f"orders_per_day is {self.orders_per_day}; allowed are 300 to 500000")


# Minutes per km, of handover and per item; how much longer things take at the peak of the day, as a share;
# hours UTC of the peaks at lunch and dinner; shares of the vehicles.
_COUNTRIES = {
    "FR": (2.2, 2.0, 1.2, 0.45, 11.5, 18.8, (0.50, 0.40, 0.10)),
    "DE": (1.7, 1.0, 0.8, 0.25, 11.0, 17.8, (0.60, 0.10, 0.30)),
    "ES": (2.6, 4.5, 1.6, 0.55, 13.0, 20.3, (0.25, 0.65, 0.10)),
    "IT": (2.8, 5.0, 2.0, 0.65, 11.8, 19.0, (0.20, 0.70, 0.10)),
}
# Share of all orders, radius in km; then what sets the city apart in its country: times the minutes per km,
# minutes of handover on top, times the rush.
_CITIES = {
    ("Paris", "FR"): (0.300, 3.2, 1.15, 2.0, 1.3),
    ("Lyon", "FR"): (0.120, 2.6, 0.95, 0.0, 0.9),
    ("Marseille", "FR"): (0.070, 2.8, 1.25, 1.0, 1.1),
    ("Nantes", "FR"): (0.020, 2.2, 0.80, -1.0, 0.6),
    ("Berlin", "DE"): (0.140, 3.4, 1.10, 1.0, 1.2),
    ("Hamburg", "DE"): (0.050, 3.0, 0.95, 0.0, 1.0),
    ("Munich", "DE"): (0.040, 2.6, 1.20, -0.5, 1.6),
    ("Leipzig", "DE"): (0.012, 2.2, 0.80, -0.5, 0.5),
    ("Madrid", "ES"): (0.080, 3.0, 1.10, 1.0, 1.1),
    ("Barcelona", "ES"): (0.040, 2.6, 1.25, 2.0, 1.2),
    ("Valencia", "ES"): (0.016, 2.2, 0.75, -2.0, 0.7),
    ("Milan", "IT"): (0.062, 2.6, 0.90, -1.0, 0.9),
    ("Rome", "IT"): (0.045, 2.8, 1.20, 2.0, 1.2),
    ("Turin", "IT"): (0.005, 2.2, 0.85, -2.0, 0.6),
}
_COUNTRY_NAMES, _CITY_NAMES = tuple(_COUNTRIES), tuple(city for city, _ in _CITIES)
_COUNTRY_OF_CITY = np.array([_COUNTRY_NAMES.index(country) for _, country in _CITIES])
_PER_KM, _HANDOVER, _PER_ITEM, _RUSH = np.array([c[:4] for c in _COUNTRIES.values()])[_COUNTRY_OF_CITY].T
_SHARES, _RADII, *_own = np.array(list(_CITIES.values())).T
_PER_KM, _HANDOVER, _RUSH = _PER_KM * _own[0], _HANDOVER + _own[1], _RUSH * _own[2]
_VEHICLE_CHANCES = np.cumsum([c[6] for c in _COUNTRIES.values()], axis=1)[_COUNTRY_OF_CITY]


def deliveries(world: Marketplace, day: dt.date) -> pa.Table:
    """The orders placed on a day as the feed delivers them, one row each, in order of `placed_at`.

    Columns: order_id, customer_id, restaurant_id (int64); city, country (string); placed_at, received_at
    (timestamp[us], naive UTC: when it happened and when we could know it); channel (string, of CHANNELS);
    items (int64); distance_km, amount in EUR, delivery_minutes (double); replaces (int64: the order that this
    one makes up for, else null). The script adds `courier_vehicle` (string, of VEHICLES) and turns `items` into
    text on one day. Raises ValueError for a day before the world's start.
    """
    index = (day - world.start).days
    if index < 0:
        raise ValueError(f"no orders on {day}: this marketplace starts on {world.start}")
    orders = _orders(world, day, index)
    if not world.scripted:
        return _table(orders, with_vehicle=False)
    return _table(_misdelivered(world, index, orders), with_vehicle=index >= _FACTS["schema_addition"])


def script(world: Marketplace) -> dict[str, dt.date]:
    """The first day of each scripted fact; none for a world that is not scripted.

    `late_rows`, `duplicated_rows` and `malformed_rows` last that one day, `schema_addition` and
    `concept_change` stay.
    """
    return {fact: world.start + dt.timedelta(index) for fact, index in _FACTS.items() if world.scripted}


def _rng(world: Marketplace, stream: int, index: int = 0) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(world.seed, spawn_key=(stream, index)))


def _scatter(rng: np.random.Generator, radius: np.ndarray, exponent: float) -> np.ndarray:
    """Points in a disc, in km; exponent 0.5 spreads them evenly, a greater one draws them to the centre."""
    reach, angle = radius * rng.random(len(radius)) ** exponent, 2 * np.pi * rng.random(len(radius))
    return np.column_stack([reach * np.cos(angle), reach * np.sin(angle)])


@lru_cache(maxsize=8)
def _entities(world: Marketplace) -> tuple[Columns, Columns]:
    """The places where customers live, each taken by one person after the other, and the restaurants.

    `rate` is orders a day while active, `basket` mean items beyond the first, `prep` minutes, `price` EUR an item,
    `choice` the restaurants' cumulative popularity, in (i, i + 1] for city i.
    """
    rng = _rng(world, _STREAM_WORLD)
    size = np.maximum(1, np.round(_SHARES * _CUSTOMERS_PER_ORDER * world.orders_per_day)).astype(int)
    city = rng.permutation(np.repeat(np.arange(len(_CITIES)), size))
    rate = rng.gamma(1.3, size=len(city))
    # Scaled city by city: with twenty customers chance alone would make the smallest city twice its size.
    wanted = _SHARES / _SHARES.sum() * world.orders_per_day / (1 + _REPLACED) / _ACTIVE_SHARE
    places = {
        "city": city,
        "rate": rate * (wanted / np.bincount(city, weights=rate, minlength=len(_CITIES)))[city],
        "xy": _scatter(rng, _RADII[city], 0.5),
        "basket": rng.gamma(3.0, 0.45, size=len(city)),
        "starts_active": rng.random(len(city)) < _ACTIVE_SHARE,
    }
    count = np.clip(np.round(25 * np.sqrt(_SHARES / 0.12)), 4, 30).astype(int)
    city = np.repeat(np.arange(len(_CITIES)), count)
    restaurants = {
        "xy": _scatter(rng, _RADII[city], 0.9),
        "prep": np.clip(rng.lognormal(np.log(13), 0.4, size=len(city)), 5, 35),
        "price": rng.lognormal(np.log(11), 0.25, size=len(city)),
        "choice": _cumulative([1 / (3 + np.arange(n)) for n in count]),
    }
    return places, restaurants


def _cumulative(weights: list[np.ndarray]) -> np.ndarray:
    """The distributions of several groups end to end, group i's in (i, i + 1], to `_pick` from."""
    return np.concatenate([i + np.cumsum(w) / np.cumsum(w)[-1] for i, w in enumerate(weights)])


def _pick(rng: np.random.Generator, cumulative: np.ndarray, group: np.ndarray) -> np.ndarray:
    """One draw each from the group's own distribution, as a position in `cumulative`."""
    return np.minimum(np.searchsorted(cumulative, group + rng.random(len(group)), "right"), len(cumulative) - 1)


@lru_cache(maxsize=8)
def _spells(world: Marketplace, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """When each place's spells end, active and silent ones in turn, until all reach the horizon.

    Returns (ends, gones), both (places, spells): the day index at which the spell is over, and how many persons
    have left for good by then. Each spell has its own random stream: a longer horizon only appends.
    """
    active = _entities(world)[0]["starts_active"]
    end = gone = np.zeros(len(active), dtype=np.int64)
    spells: list[tuple[np.ndarray, np.ndarray]] = []
    while end.min() < horizon:
        rng = _rng(world, _STREAM_SPELLS, len(spells))
        end = end + rng.geometric(np.where(active, 1 / _ACTIVE_DAYS, 1 / _PAUSE_DAYS))
        gone = gone + (active & (rng.random(len(end)) < _CHURN))
        spells.append((end, gone))
        active = ~active
    ends, gones = np.array(spells).transpose(1, 2, 0)
    return ends, gones


def _who_is_there(world: Marketplace, index: int) -> tuple[np.ndarray, np.ndarray]:
    """(active, customer_id) of every place on a day; whoever takes over a place has a customer_id of their own."""
    horizon = 1 << (index + 1).bit_length()  # few distinct values, so that neighbouring days share the cache
    ends, gones = _spells(world, horizon)
    over = (ends <= index).sum(axis=1)
    place = np.arange(len(ends))
    gone = np.where(over > 0, gones[place, over - 1], 0)
    return _entities(world)[0]["starts_active"] ^ (over % 2 == 1), 1 + place + len(place) * gone


@lru_cache(maxsize=2)
def _clock(weekend: bool) -> tuple[np.ndarray, np.ndarray]:
    """How orders spread over the 96 quarter hours of a day: (chances, rush), a country after the other.

    chances: shape (countries * 96,), to `_pick` from. rush: (countries, 96), intensity relative to the day's peak.
    """
    hour = (np.arange(96) + 0.5) / 4
    rows = []
    for *_, at_lunch, at_dinner, _ in _COUNTRIES.values():
        lunch = (0.40 if weekend else 0.32) * np.exp(-((hour - at_lunch) ** 2) / 2)
        dinner = 0.45 * np.exp(-(((hour - at_dinner) / 1.3) ** 2) / 2)
        rows.append(lunch + dinner + 0.03 * ((hour > 7) & (hour < 23)) + 0.002)
    return _cumulative(rows), np.array([row / row.max() for row in rows])


def _orders(world: Marketplace, day: dt.date, index: int) -> Columns:
    """What really happened on a day, in order of time; places, restaurants, names as positions, -1 for none."""
    places, restaurants = _entities(world)
    rng = _rng(world, _STREAM_DAY, index)
    active, customer_id = _who_is_there(world, index)
    place = np.repeat(np.arange(len(active)), rng.poisson(places["rate"] * active * _WEEKDAYS[day.weekday()]))
    n, city = len(place), places["city"][place]
    restaurant = _pick(rng, restaurants["choice"], city)
    chances, rush = _clock(day.weekday() >= 5)
    quarter = _pick(rng, chances, _COUNTRY_OF_CITY[city]) % 96
    items = np.minimum(1 + rng.poisson(places["basket"][place]), len(_ITEM_WORDS) - 1)
    beeline = np.hypot(*(places["xy"][place] - restaurants["xy"][restaurant]).T)
    orders: Columns = {
        "customer_id": customer_id[place],
        "restaurant": restaurant,
        "city": city,
        "placed": quarter * _QUARTER_US + rng.integers(_QUARTER_US, size=n),
        "channel": rng.choice(len(CHANNELS), size=n, p=_CHANNEL_SHARES),
        "items": items,
        "distance_km": np.round(0.2 + 1.3 * beeline, 2),  # streets are about 1.3 times as long as the beeline
        "amount": np.round(2.5 + items * restaurants["price"][restaurant] * rng.lognormal(0, 0.12, n), 2),
    }
    orders = _with_replacements(rng, index, orders)
    midnight = int(np.datetime64(day, "us").astype(np.int64))
    orders["placed_at"] = midnight + orders["placed"]
    orders["received_at"] = orders["placed_at"] + (1e6 + rng.exponential(3e6, len(orders["placed"]))).astype(np.int64)
    changed = world.scripted and index >= _FACTS["concept_change"]
    return orders | _journey(rng, orders, restaurants["prep"], rush, roadworks=changed)


def _with_replacements(rng: np.random.Generator, index: int, orders: Columns) -> Columns:
    """The orders and those made up for later the same day, free of charge, numbered in order of time."""
    n = len(orders["placed"])
    # How long the journey took is left out of the gap: a concept change must not move any input.
    later = orders["placed"] + rng.integers(45 * _MINUTE_US, 120 * _MINUTE_US, size=n)
    original = np.flatnonzero((rng.random(n) < _REPLACED) & (later < _DAY_US))
    placed = np.concatenate([orders["placed"], later[original]])
    order = np.argsort(placed, kind="stable")
    rank = np.argsort(order)
    row, again = np.concatenate([np.arange(n), original])[order], order >= n
    first_id = index * _IDS_PER_DAY + 1
    return {name: values[row] for name, values in orders.items()} | {
        "order_id": first_id + np.arange(len(order)),
        "placed": placed[order],
        "amount": np.where(again, 0.0, orders["amount"][row]),
        "replaces": np.where(again, first_id + rank[row], -1),
    }


def _journey(rng: np.random.Generator, orders: Columns, prep: np.ndarray, rush: np.ndarray, roadworks: bool) -> Columns:
    """The vehicle and the minutes that each order takes."""
    city, n = orders["city"], len(orders["city"])
    vehicle = np.minimum((rng.random((n, 1)) >= _VEHICLE_CHANCES[city]).sum(axis=1), len(VEHICLES) - 1)
    at_work = prep[orders["restaurant"]] + _PER_ITEM[city] * (orders["items"] - 1)
    at_work += 2.0 * (orders["channel"] == CHANNELS.index("phone"))  # somebody types it in
    closed = roadworks & (city == _CITY_NAMES.index(ROADWORKS_CITY))
    per_km = _PER_KM[city] * _VEHICLE_SLOWNESS[vehicle] * np.where(closed, ROADWORKS_DISTANCE, 1)
    handover = _HANDOVER[city] + ROADWORKS_MINUTES * closed
    slower = _RUSH[city] * rush[_COUNTRY_OF_CITY[city], orders["placed"] // _QUARTER_US]
    weather = np.exp(rng.normal(0, 0.03, len(_COUNTRIES)))[_COUNTRY_OF_CITY[city]]  # a day's orders share their luck
    mishap = rng.exponential(15, n) * (rng.random(n) < 0.04)
    minutes = at_work * (1 + slower / 2) + orders["distance_km"] * per_km * (1 + slower) + handover
    minutes *= weather * rng.lognormal(0, 0.16, n)
    given = rng.random(n) >= _VEHICLE_UNTOLD
    return {"vehicle": np.where(given, vehicle, -1), "delivery_minutes": np.round(5.1 + minutes + mishap, 1)}


def _misdelivered(world: Marketplace, index: int, orders: Columns) -> Columns:
    """What the feed makes of a day's orders; its own random stream, so that the orders stay what they are."""
    rng = _rng(world, _STREAM_SCRIPT, index)
    n = len(orders["order_id"])
    if index == _FACTS["late_rows"]:
        late = rng.choice(n, size=round(LATE_SHARE * n), replace=False)
        received_at = orders["received_at"].copy()
        received_at[late] = orders["placed_at"][late] + rng.integers(_DAY_US, 3 * _DAY_US, size=len(late))
        return orders | {"received_at": received_at}
    if index == _FACTS["duplicated_rows"]:
        times = np.ones(n, dtype=np.int64)
        times[rng.choice(n, size=DUPLICATED_ROWS, replace=False)] = 2
        return {name: np.repeat(values, times) for name, values in orders.items()}
    return orders | _malformed(rng, orders) if index == _FACTS["malformed_rows"] else orders


def _malformed(rng: np.random.Generator, orders: Columns) -> Columns:
    """The columns of a day in which some rows are broken, each in one way."""
    # Replaced and replacing orders are spared: a row should break one rule, not another row's reference too.
    linked = np.isin(orders["order_id"], orders["replaces"]) | (orders["replaces"] >= 0)
    counts = (NEGATIVE_AMOUNTS, UNKNOWN_CITIES, MISSING_CUSTOMERS, WORDED_ITEMS)
    chosen = rng.choice(np.flatnonzero(~linked), size=sum(counts), replace=False)
    negative, nowhere, nobody, worded = np.split(chosen, np.cumsum(counts)[:-1])
    broken = {name: orders[name].copy() for name in ("amount", "customer_id")}
    broken["amount"][negative] *= -1
    broken["customer_id"][nobody] = -1
    broken["unknown_city"] = np.isin(np.arange(len(linked)), nowhere)
    broken["items"] = orders["items"].astype(str).astype(object)
    broken["items"][worded] = np.array(_ITEM_WORDS, dtype=object)[orders["items"][worded]]
    return broken


def _names(names: tuple[str, ...], position: np.ndarray) -> pa.Array:
    return pa.array(names).take(pa.array(position, mask=position < 0))


def _table(orders: Columns, *, with_vehicle: bool) -> pa.Table:
    city = np.where(orders.get("unknown_city", False), len(_CITIES), orders["city"])
    columns = {
        "order_id": orders["order_id"],
        "customer_id": pa.array(orders["customer_id"], mask=orders["customer_id"] < 0),
        "restaurant_id": orders["restaurant"] + 1,
        "city": _names((*_CITY_NAMES, UNKNOWN_CITY), city),
        "country": _names(_COUNTRY_NAMES, _COUNTRY_OF_CITY[orders["city"]]),
        "placed_at": orders["placed_at"].view("datetime64[us]"),
        "received_at": orders["received_at"].view("datetime64[us]"),
        "channel": _names(CHANNELS, orders["channel"]),
        **{name: orders[name] for name in ("items", "distance_km", "amount", "delivery_minutes")},
        "replaces": pa.array(orders["replaces"], mask=orders["replaces"] < 0),
    }
    return pa.table(columns | ({"courier_vehicle": _names(VEHICLES, orders["vehicle"])} if with_vehicle else {}))
