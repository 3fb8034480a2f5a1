"""Lines over two random streams, for the tests of examples and labels: declarations without a YAML file."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Sequence
from typing import Any

from factory_assets.declarations.catalogue import Catalogue, DeclaredLine, DeclaredStream
from factory_assets.declarations.contract import Contract
from factory_assets.declarations.line import Line
from factory_assets.declarations.on_demand import OnDemandView
from factory_assets.declarations.stream import Stream
from factory_assets.declarations.view import View
from tests.oracles.point_in_time import Event
from tests.oracles.streams import START, random_events

DAY = dt.timedelta(days=1)
#: Days before the first and after the last of these have events too.
DAYS = [START.date() + i * DAY for i in range(4, 10)]
TYPES = {
    "event_id": "integer", "who": "integer", "event_time": "timestamp", "known_at": "timestamp", "amount": "double",
    "items": "integer", "country": "string", "city": "string", "flag": "boolean", "shop": "integer",
}  # fmt: skip
OWNED = {"owner": "team:x", "description": "-"}


def stream(name: str) -> DeclaredStream:
    declared = Stream(
        name=name, source={"kind": "parquet", "uri": "-"}, id="event_id", event_time="event_time", known_at="known_at",
        start=START.date(), **OWNED,
    )  # fmt: skip
    return DeclaredStream(
        declared, Contract(columns={column: {"type": kind, "nullable": True} for column, kind in TYPES.items()})
    )


def view(name: str, **declared: Any) -> View:
    return View(name=name, **({"stream": "orders", "entity": "who"} | OWNED | declared))


VIEWS = [
    view("habit", windows=["1h", "3d"], features={"n": "count()", "spent": "sum(amount)", "city": "last(city)"}, include_current=True),
    view("risk", entity="shop", windows=["1d", "2d"], delay="1d", default=0.5, features={"n": "count()", "rate": "mean(flag)"}),
    # Names that the code must not trip over: `events` is a word of its own, and a feature may look like another's window.
    view("events", stream="visits", windows=["2d", "1d"], features={"n": "count()", "n_1d": "distinct(shop)", "most": "max(items)"},
         where="items > 0"),
    view("pace", entity="shop", windows=["1h", "2d"], features={"n": "count()", "mean": "mean(items)"}, default=-1),
]  # fmt: skip
ON_DEMAND = [
    OnDemandView(name="ratio", derive={
        # Before what it reads, and of views of two entities: a customer and a shop.
        "most": "coalesce(events.most_1d, -1) * ratio.spent",
        "spent": "habit.spent_3d / nullif(risk.rate_2d, 0)",
        "again": "abs(amount - events.most_1d) + items",
        "away": "case when habit.city_1h = 'Lyon' then habit.n_3d - risk.n_2d end",
    }, **OWNED),
    OnDemandView(name="calm", derive={"load": "pace.mean_2d * pace.n_2d"}, **OWNED),
    OnDemandView(name="recent", derive={"share": "events.n_1d / events.n_2d"}, **OWNED),
]  # fmt: skip


def declared_line(**more: Any) -> DeclaredLine:
    line = Line(
        **{
            "name": "question",
            "task": "binary",
            "train": {"window": "7d", "holdout": "2d"},
            "candidates": {"constant": {"estimator": "constant"}},
            **OWNED,
            **more,
        }
    )
    streams, derived = {name: stream(name) for name in ("orders", "visits")}, {one.name: one for one in ON_DEMAND}
    catalogue = Catalogue(streams, {one.name: one for one in VIEWS}, {}, derived)
    assert [found for one in ON_DEMAND for found in catalogue.check_on_demand(one)] + catalogue.check_line(line) == []
    return catalogue.resolve(line)


OF_EVENTS: dict[str, Any] = {
    "observe": {"stream": "orders", "where": "items >= -1", "carry": ["known_at", "flag"]},
    "label": {"expression": "amount > 0", "delay": "1d"},
    "features": [
        "pace.mean_2d",
        "amount",
        "habit.*",
        "flag",
        "events.n_1d_2d",
        "events.n_1d",
        "risk.*",
        "events.most_1d",
        "pace.n_1h",
        "ratio.*",
        "calm.load",
    ],
    "segments": {"levels": ["country", "city"]},
    "snapshot": ["pace"],
}
OF_ENTITIES: dict[str, Any] = {
    "observe": {
        "stream": "orders",
        "entity": "who",
        "every": "1d",
        "active": "3d",
        "where": "items > -3",
        "carry": ["amount", "flag", "shop"],
    },
    "label": {"event": "visits", "within": "2d", "where": "flag", "delay": "6h"},
    # A view of another entity, that of the shop to which the customer came last.
    "features": ["recent.share", "events.*", "risk.*"],
    "segments": {"levels": ["country", "who"]},
}
#: Whether someone comes to the same shop again within two days of a visit there, in a stream that both are in, or another.
OF_LATER: dict[str, Any] = OF_EVENTS | {
    "label": {"event": "visits", "same": ["who", "shop"], "within": "2d", "where": "flag", "delay": "6h"}
}


def worlds(seed: int) -> dict[str, Sequence[Event]]:
    """stream -> events: DAYS lie in the middle of 13 days of events; some are late, some never known."""
    rng = random.Random(seed)
    offsets = [dt.timedelta(0), dt.timedelta(hours=1), DAY, 2 * DAY, 3 * DAY]
    late = (0.0, 0.4, 1.0)[seed % 3]
    return {
        name: random_events(rng, 300, offsets, span=13 * DAY, entities=14, late=late, moved=0.4)
        for name in ("orders", "visits")
    }
