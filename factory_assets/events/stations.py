"""What does each station of a stream make? `raw` from deliveries, `events` from `raw`, `statistics` from `events`."""

import datetime as dt
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache

from factory_assets.declarations.catalogue import DeclaredStream
from factory_assets.events import landing, sources
from factory_assets.events.contract import validation
from factory_assets.events.contract.verdicts import inputs_to_judge
from factory_assets.events.statistics import describe as statistics
from factory_resources.engine import Engine
from factory_resources.lake import BATCH_ROWS, Lake, Written


@dataclass(frozen=True)
class Admitted:
    """Days made from `raw`: what was written, None where every day is blocked, and the verdict on each day."""

    written: Written | None
    verdicts: list[validation.DayVerdict]

    @property
    def blocked(self) -> dict[dt.date, tuple[str, ...]]:
        return {verdict.day: verdict.blocked for verdict in self.verdicts if verdict.blocked}


def deliver(lake: Lake, engine: Engine, declared: DeclaredStream, days: Sequence[dt.date], today: dt.date) -> Written:
    """Write the source's rows of these days to `raw`, and a record of each delivery to `deliveries`. Raises SourceError."""
    stream = declared.stream
    with engine.connect(*sources.places(stream)) as con:
        delivered = sources.deliveries(con, stream, days)
        landed = landing.land(con, declared, delivered, days, today, _days_of(lake, f"{stream.name}/deliveries"))
        deliveries = con.sql(f"SELECT * FROM {landed.deliveries}").to_arrow_reader(BATCH_ROWS)
        lake.replace(f"{stream.name}/deliveries", deliveries, days)
        return lake.replace_from(con, f"{stream.name}/raw", landed.rows, days)


def _days_of(lake: Lake, table: str) -> Callable[[str], set[dt.date]]:
    """Days of which a source held rows when it was last read."""

    @cache
    def read() -> dict[str, set[dt.date]]:
        found: dict[str, set[dt.date]] = {}
        if not lake.days(table):
            return found
        for row in lake.read(table, columns=["ds", "source"]).to_pylist():
            found.setdefault(row["source"], set()).add(row["ds"])
        return found

    return lambda source: read().get(source, set())


def admit(
    lake: Lake, engine: Engine, declared: DeclaredStream, days: Sequence[dt.date], accepted: Collection[str] = ()
) -> Admitted:
    """Judge raw rows of these days: those that may be used go to `events`, those that break a rule to `quarantine`.

    accepted: rules whose failures somebody has accepted. Days that are blocked keep the events that they have.
    """
    name = declared.stream.name
    with engine.connect() as con:
        inputs = inputs_to_judge(con, lake, declared, days)
        judgement = validation.judge(con, declared, inputs, days, accepted)
        fit = [verdict.day for verdict in judgement.verdicts if not verdict.blocked]
        # Blocked days too: the rows set aside may be the reason why a day is blocked.
        lake.replace_from(con, f"{name}/quarantine", judgement.quarantined, days)
        if not fit:
            return Admitted(None, judgement.verdicts)
        lake.replace_from(con, f"{name}/superseded", judgement.superseded, fit)
        written = lake.replace_from(con, f"{name}/events", judgement.accepted, fit, "ds, event_time")
        return Admitted(written, judgement.verdicts)


def describe(lake: Lake, engine: Engine, declared: DeclaredStream, days: Sequence[dt.date]) -> Written:
    """Sketch the columns of these days' events into `statistics`."""
    stream = declared.stream
    with engine.connect() as con:
        events = "events"
        lake.view(con, events, f"{stream.name}/events", days[0], days[-1], empty_if_absent=True)
        types = {name: kind for name, kind in declared.types.items() if name != stream.id}
        table = statistics.describe(con, events, types, stream.statistics.by, stream.statistics.correlations)
        return lake.replace(f"{stream.name}/statistics", table, days)
