"""The assets of a stream: `raw` as delivered, `events` that may be used, and `statistics` of them, a partition a day."""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from factory_assets.declarations.catalogue import DeclaredStream
from factory_assets.declarations.contract import SQL_TYPES
from factory_assets.events import moved, sources, stations
from factory_assets.events.contract import validation
from factory_assets.events.contract.verdicts import all_blocked
from factory_assets.events.statistics import describe as statistics
from factory_assets.events.statistics import pictures
from factory_assets.identity.code import code_version
from factory_assets.identity.inputs import stamps
from factory_assets.identity.partitions import partitions
from factory_assets.identity.places import introduced, station
from factory_assets.identity.versions import stream_version
from factory_assets.launching import launchpad
from factory_assets.materialization import (
    IN_SHORT,
    SHOWN,
    column_schema,
    days_of,
    described,
    input_fingerprints,
    read_versions,
    record_days,
)
from factory_assets.words import counted
from factory_resources.clock import today
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.records.issues import Issues


def source_spec(declared: DeclaredStream) -> dg.AssetSpec:
    """The source outside of the factory, whose days are observed."""
    stream = declared.stream
    return dg.AssetSpec(
        dg.AssetKey([stream.name, "source"]),
        partitions_def=partitions(declared),
        group_name=stream.name,
        tags=station("events"),
        owners=[stream.owner],
        kinds={stream.source.kind},
        code_version=stream_version(declared),
        description=introduced(
            "Where the rows come from. A day is observed when it holds something else than what "
            f"`{stream.name}/raw` was read from; its data version is a hash of its content.",
            stream.description,
        ),
        metadata=column_schema(
            {name: SQL_TYPES[column.type] for name, column in declared.contract.columns.items()},
            declared.meanings,
        ),
    )


def raw_asset(declared: DeclaredStream) -> dg.AssetsDefinition:
    stream = declared.stream
    key = dg.AssetKey([stream.name, "raw"])

    @dg.asset(
        key=key,
        deps=[dg.AssetDep(dg.AssetKey([stream.name, "source"]), partition_mapping=dg.IdentityPartitionMapping())],
        partitions_def=partitions(declared),
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name=stream.name,
        tags=station("events"),
        owners=[stream.owner],
        kinds={stream.source.kind, "deltalake"},
        code_version=code_version("raw", stream_version(declared)),
        description=introduced(
            "Rows as delivered, typed as the contract says. Text that does not parse is kept "
            "in `_unparsed`, columns that the contract does not know in `_undeclared`, lines that are no rows in `_line`.",
            stream.description,
        ),
        metadata=column_schema(
            {name: SQL_TYPES[column.type] for name, column in declared.contract.columns.items()},
            declared.meanings,
        ),
    )
    def raw(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], engine: dg.ResourceParam[Engine]
    ) -> Iterator[dg.MaterializeResult]:
        days = days_of(context)
        try:
            state = source_state(declared, days)
            written = stations.deliver(lake, engine, declared, days, today())
        except sources.SourceError as error:
            raise dg.Failure(f"{stream.name}: {error}") from None
        inputs = input_fingerprints(context.instance, context.assets_def.get_asset_spec(key), days, state)
        yield from record_days(context, written, inputs, by_day=_delivered(lake, stream.name, days))

    return raw


def _delivered(lake: Lake, stream: str, days: Sequence[dt.date]) -> dict[dt.date, dict[str, Any]]:
    """Day -> how much was delivered for it, by how many sources, and what is the matter with those that cannot be read."""
    columns = ["ds", "source", "rows", "problem"]
    found = defaultdict[dt.date, list[dict[str, Any]]](list)
    for row in lake.read(f"{stream}/deliveries", days[0], days[-1], columns, empty_if_absent=True).to_pylist():
        found[row["ds"]].append(row)
    return {day: _in_short(found[day]) for day in days}


def _in_short(deliveries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if not deliveries:
        return {IN_SHORT: "nothing was delivered"}
    rows, problems = sum(one["rows"] for one in deliveries), [one for one in deliveries if one["problem"]]
    told = f"{rows:,} {'row' if rows == 1 else 'rows'} delivered by {counted(len(deliveries), 'source')}"
    if not problems:
        return {IN_SHORT: told}
    unread = {one["source"]: one["problem"] for one in problems[:SHOWN]}
    return {
        IN_SHORT: f"{told}, of which {len(problems)} could not be read as declared",
        "problems": dg.MetadataValue.json(unread),
    }


def source_state(declared: DeclaredStream, days: list[dt.date]) -> dict[dt.date, str]:
    """Day -> the state of the source, on which `raw` depends beside its declaration."""
    return sources.fingerprint(declared.stream, days)


def events_asset(declared: DeclaredStream) -> dg.AssetsDefinition:
    stream = declared.stream
    key = dg.AssetKey([stream.name, "events"])

    @dg.asset(
        key=key,
        deps=[dg.AssetDep(dg.AssetKey([stream.name, "raw"]), partition_mapping=dg.IdentityPartitionMapping())],
        partitions_def=partitions(declared),
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name=stream.name,
        tags=station("events"),
        owners=[stream.owner],
        kinds={"duckdb", "deltalake"},
        code_version=code_version("events", stream_version(declared)),
        description=introduced(
            "Rows that satisfy the contract, once each, with derived columns, named rules, "
            f"`event_time` and `known_at` in UTC. Rows that break a rule stand in `{stream.name}/quarantine`, with all they break.",
            stream.description,
        ),
        metadata=column_schema(declared.types, declared.meanings),
    )
    def events(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        engine: dg.ResourceParam[Engine],
        issues: dg.ResourceParam[Issues],
    ) -> Iterator[dg.MaterializeResult]:
        days, accepted = days_of(context), issues.accepted(stream.name)
        asset = described(context.assets_def.get_asset_spec(key))
        raw = read_versions(context.instance, asset)
        admitted = stations.admit(lake, engine, declared, days, accepted)
        blocked = admitted.blocked
        for day, why in blocked.items():
            context.log.error(f"{stream.name}: {day} is blocked: {', '.join(why)}")
        for (one, other), count in admitted.alike.items():
            context.log.warning(moved.alike_in_words(declared, one, other, count))
        # What a blocked day serves was divided when it was judged last.
        before = moved.states(lake, declared) if blocked else {}
        elsewhere = dict(admitted.moved) | {day: before[day] for day in blocked if day in before}
        inputs = stamps(asset, raw, days, moved.beside_raw(accepted, elsewhere, days))
        counts = {verdict.day: _counts(stream.name, verdict) for verdict in admitted.verdicts}
        yield from record_days(context, admitted.written, inputs, by_day=counts, blocked=blocked)
        if admitted.written is None:
            raise dg.Failure(all_blocked(stream.name, blocked))

    return events


def _counts(stream: str, verdict: validation.DayVerdict) -> Mapping[str, Any]:
    aside = sum(verdict.quarantined.values())
    found: dict[str, Any] = {
        IN_SHORT: f"{verdict.accepted:,} of {verdict.rows:,} rows delivered became events; {aside:,} set aside, "
        f"{verdict.duplicates:,} delivered before",
        "rows_delivered": verdict.rows,
        "accepted": verdict.accepted,
        "duplicates": verdict.duplicates,
        "quarantined": aside,
    }
    if verdict.superseded:
        found["superseded"] = verdict.superseded
    if verdict.cleansed:
        found["cleansed_by_rule"] = dg.MetadataValue.json(verdict.cleansed)
    if verdict.quarantined:
        found["quarantined_by_rule"] = dg.MetadataValue.json(verdict.quarantined)
        asked = {"stream": stream, "first": str(verdict.day), "last": str(verdict.day)}
        found["to_release"] = launchpad("quarantine_release", "release_rows", asked)
    if verdict.excluded:
        found["excluded_by_rule"] = dg.MetadataValue.json(verdict.excluded)
    return found


def statistics_asset(declared: DeclaredStream) -> dg.AssetsDefinition:
    stream = declared.stream
    key = dg.AssetKey([stream.name, "statistics"])

    @dg.asset(
        key=key,
        deps=[dg.AssetDep(dg.AssetKey([stream.name, "events"]), partition_mapping=dg.IdentityPartitionMapping())],
        partitions_def=partitions(declared),
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name=stream.name,
        tags=station("events"),
        owners=[stream.owner],
        kinds={"duckdb", "deltalake"},
        code_version=code_version("statistics", stream_version(declared), stream.statistics.model_dump(mode="json")),
        description=f"Presence, moments, quantiles, bins, most frequent values and correlations of every column of {stream.name}: "
        "one row a column, and one more for each declared slice. Rows of several days merge into the statistics of all.",
        metadata=column_schema({field.name: str(field.type) for field in statistics.SCHEMA}, statistics.MEANING),
    )
    def column_statistics(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], engine: dg.ResourceParam[Engine]
    ) -> Iterator[dg.MaterializeResult]:
        days = days_of(context)
        inputs = input_fingerprints(context.instance, context.assets_def.get_asset_spec(key), days)
        written = stations.describe(lake, engine, declared, days)
        yield from record_days(context, written, inputs, _pictures(lake, stream.name, days[-1]))

    return column_statistics


def _pictures(lake: Lake, stream: str, newest: dt.date) -> dict[str, Any]:
    """The last four weeks up to a day, and that day, as they stand in the table."""
    from factory_assets.measures import plots

    days = [newest - dt.timedelta(days=back) for back in reversed(range(pictures.DAYS))]
    rows = statistics.whole_days(lake.read(f"{stream}/statistics", days[0], newest, empty_if_absent=True))
    shown: dict[str, Any] = {}
    if over_days := pictures.over_days(rows, days):
        title = f"{stream} over four weeks"
        shown["day_by_day"] = dg.MetadataValue.md(plots.markdown(plots.days_plot(days, over_days), title))
    if found := pictures.distributions(row for row in rows if row["ds"] == newest):
        title = f"{stream} on {newest}"
        shown["distributions"] = dg.MetadataValue.md(plots.markdown(plots.distributions_plot(found), title))
    return shown
