"""What does each station of a stream make? `raw` from deliveries, `events` from `raw`, `statistics` from `events`."""

import datetime as dt
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from factory_assets.declarations.catalogue import DeclaredStream
from factory_assets.events import landing, moved, sources
from factory_assets.events.contract import validation
from factory_assets.events.contract.verdicts import inputs_to_judge
from factory_assets.events.statistics import describe as statistics
from factory_resources.delta.day_content import DayContent
from factory_resources.delta.rows import BATCH_ROWS
from factory_resources.engine import Engine
from factory_resources.lake import Lake, Written


@dataclass(frozen=True)
class Admitted:
    """Days made from `raw`: what was written, None where every day is blocked, and the verdict on each day.

    moved: day -> hash of the versions of its events that other days have, of days that are not blocked, and have any.
    alike: pairs of days that share so many ids that these tell no corrections, each with how many.
    """

    written: Written | None
    verdicts: list[validation.DayVerdict]
    moved: Mapping[dt.date, str] = field(default_factory=dict)
    alike: Mapping[tuple[dt.date, dt.date], int] = field(default_factory=dict)

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
        settled = moved.settle(con, lake, declared, inputs.raw, judgement, fit)
        superseded = lake.replace_from(con, f"{name}/superseded", settled.superseded, fit)
        written = lake.replace_from(con, f"{name}/events", settled.accepted, fit, "ds, event_time")
        moved.write(con, lake, declared, settled)
        verdicts = [_without(verdict, settled.taken.get(verdict.day, 0)) for verdict in judgement.verdicts]
        states = {day: content.hash for day, content in settled.state.items()}
        return Admitted(_with(written, superseded.days, settled.state), verdicts, states, settled.alike)


def _without(verdict: validation.DayVerdict, taken: int) -> validation.DayVerdict:
    """A verdict on a day of whose accepted rows so many are superseded by those of other days."""
    return replace(verdict, accepted=verdict.accepted - taken, superseded=verdict.superseded + taken)


def _with(written: Written, *beside: Mapping[dt.date, DayContent]) -> Written:
    """The events as written, with hashes that change with all versions of them: what stands on a day reads all of them."""
    days = {day: each.beside(of[day] for of in beside if day in of) for day, each in written.days.items()}
    return replace(written, days=days)


def describe(lake: Lake, engine: Engine, declared: DeclaredStream, days: Sequence[dt.date]) -> Written:
    """Sketch the columns of these days' events into `statistics`."""
    stream = declared.stream
    with engine.connect() as con:
        events = "events"
        lake.view(con, events, f"{stream.name}/events", days[0], days[-1], empty_if_absent=True)
        types = {name: kind for name, kind in declared.types.items() if name != stream.id}
        table = statistics.describe(con, events, types, stream.statistics.by, stream.statistics.correlations)
        return lake.replace(f"{stream.name}/statistics", table, days)
