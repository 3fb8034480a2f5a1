"""The assets `<line>/monitors`, the one table of what every monitor says, and `<line>/calibration`: what that is worth."""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import pyarrow as pa
from pydantic import Field

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.identity.code import code_version
from factory_assets.identity.partitions import partitions
from factory_assets.identity.places import introduced, station
from factory_assets.launching import launched, written_out
from factory_assets.materialization import (
    IN_SHORT,
    column_schema,
    days_of,
    input_fingerprints,
    record_days,
    table_shown,
)
from factory_assets.measures.compared import metric_of
from factory_assets.monitoring import calibration, schemas
from factory_assets.monitoring import monitors as monitor_rows
from factory_assets.monitoring.charts import counts as counted_rows
from factory_assets.monitoring.performance.losses import NAIVE, PARENT, WORSE_OF_FEW, floor_of, window
from factory_assets.monitoring.performance.released import Reign, gains, reigns, releases
from factory_assets.scoring.champions import champions_of_days
from factory_assets.words import counted
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger


def monitors_asset(declared: DeclaredLine) -> dg.AssetsDefinition:
    line, metric = declared.line, metric_of(declared)
    key, block, floor = dg.AssetKey([line.name, "monitors"]), line.overlap_days, floor_of(line, metric)
    rivals = (NAIVE, PARENT) if line.segments.levels else (NAIVE,)
    # A loss is held against a window of days, and may have begun in the one before.
    behind = {"counts": monitor_rows.BEHIND, "performance": 2 * window(block)}
    quiet = {name: declared.streams[name].contract for name in declared.stands_on}
    quiet[counted_rows.EXAMPLES] = declared.observed.contract

    @dg.asset(
        key=key,
        deps=[
            *(
                dg.AssetDep(dg.AssetKey([line.name, name]), partition_mapping=dg.IdentityPartitionMapping())
                for name in ("drift", "estimates")
            ),
            *(
                dg.AssetDep(
                    dg.AssetKey([line.name, name]),
                    partition_mapping=dg.TimeWindowPartitionMapping(
                        start_offset=-days, end_offset=0, allow_nonexistent_upstream_partitions=True
                    ),
                )
                for name, days in behind.items()
            ),
            # Which columns a day was delivered with is recorded beside its raw rows.
            *(
                dg.AssetDep(
                    dg.AssetKey([stream, "raw"]),
                    partition_mapping=dg.TimeWindowPartitionMapping(
                        start_offset=-monitor_rows.BEHIND, end_offset=0, allow_nonexistent_upstream_partitions=True
                    ),
                )
                for stream in declared.stands_on
            ),
        ],
        partitions_def=partitions(declared.observed),
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name=line.name,
        tags=station("monitoring"),
        owners=[line.owner],
        kinds={"python", "deltalake"},
        code_version=code_version(
            "monitors",
            metric,
            block,
            declared.features,
            line.monitor.judging,
            {name: sorted(map(str, contract.quiet)) for name, contract in quiet.items()},
            *([] if floor is None else [floor]),
            *(rival.name for rival in rivals[1:]),
        ),
        description=introduced(
            "What every monitor says of the day, a row a node, monitor and column: drift, performance "
            "beside the naive guess and the parent, estimates, columns that streams are delivered with, and control charts: of rows, "
            "of freshness, and of shares that are held back, answered by another node, cold, or without a value.",
            line.description,
        ),
        metadata=column_schema({field.name: str(field.type) for field in monitor_rows.SCHEMA}, monitor_rows.MEANING),
    )
    def monitors(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], ledger: dg.ResourceParam[Ledger]
    ) -> Iterator[dg.MaterializeResult]:
        days = days_of(context)
        inputs = input_fingerprints(context.instance, context.assets_def.get_asset_spec(key), days)
        first = {name: days[0] - dt.timedelta(days=before) for name, before in behind.items()}
        counts = lake.read(f"{line.name}/counts", first["counts"], days[-1], empty_if_absent=True)
        shown = [first["counts"] + dt.timedelta(days=at) for at in range((days[-1] - first["counts"]).days + 1)]
        off = {name: {day for day in shown if contract.is_quiet(day)} for name, contract in quiet.items()}
        series = counted_rows.series(counts, first["counts"], days[-1], off)
        measured: dict[dt.date, list[dict[str, Any]]] = {}
        columns = ["node", "ds", "labelled", metric, *(rival.column(metric) for rival in rivals)]
        of_line = f"{line.name}/performance"
        for row in lake.read(of_line, first["performance"], days[-1], columns, empty_if_absent=True).to_pylist():
            measured.setdefault(row["ds"], []).append(row)
        delivered = {stream: _delivered(lake, stream, first["counts"], days[-1]) for stream in declared.stands_on}
        flags = len(counted_rows.flags_of(declared))
        # Who answers is read through the ledger: where it is another, drift of the day is of another version.
        champions = champions_of_days(ledger, line.name, days)
        standing: Mapping[dt.date, Mapping[str, Reign]] = {}
        if metric not in WORSE_OF_FEW:
            standing = reigns(ledger.steps(line.name), days)
        versions = {reign.version for of_day in standing.values() for reign in of_day.values()}
        gained = gains(ledger.evaluated(line.name, versions), metric)
        by_day: dict[dt.date, dict[str, Any]] = {}

        def batches() -> Iterator[pa.RecordBatch]:
            for day in days:
                of_day = series.until(day, monitor_rows.BEHIND + 1)
                known = monitor_rows.Known(
                    day, metric, block, line.monitor,
                    drift=lake.read(f"{line.name}/drift", day, day, empty_if_absent=True),
                    estimates=lake.read(f"{line.name}/estimates", day, day, empty_if_absent=True),
                    performance={on: rows for on, rows in measured.items() if 0 <= (day - on).days <= behind["performance"]},
                    series=of_day,
                    looks=monitor_rows.looks(of_day, len(declared.features), flags),
                    floor=floor,
                    releases=releases(standing.get(day, {}), gained),
                    delivered=delivered,
                    answered=bool(champions[day]),
                )  # fmt: skip
                table = monitor_rows.monitors(line.name, known)
                by_day[day] = _verdicts(table)
                yield from table.to_batches()

        rows = pa.RecordBatchReader.from_batches(monitor_rows.SCHEMA, batches())
        yield from record_days(context, lake.replace(f"{line.name}/monitors", rows, days), inputs, by_day=by_day)

    return monitors


def _delivered(lake: Lake, stream: str, first: dt.date, last: dt.date) -> dict[dt.date, schemas.Delivered]:
    """Day -> what the stream was delivered with."""
    table = f"{stream}/deliveries"
    if lake.version(table) is None:
        return {}
    rows = lake.read(table, first, last, empty_if_absent=True)
    return schemas.delivered({name: row.get(name) for name in schemas.READ} for row in rows.to_pylist())


def _verdicts(table: pa.Table) -> dict[str, Any]:
    """How many rows of a day have each verdict, and those that are alarms."""
    import pyarrow.compute as pc

    alarms = table.filter(pc.equal(table["verdict"], monitor_rows.ALARM))
    named = ("node", "monitor", "column", "reason")
    shown = alarms.slice(0, 20).to_pylist()
    stable = pc.sum(pc.equal(table["verdict"], monitor_rows.STABLE)).as_py() or 0
    judged = f"of {alarms.num_rows + stable:,} series with a verdict, {table.num_rows:,} in all"
    first = (
        f": {shown[0]['monitor']} of {shown[0]['column']} at {shown[0]['node']}, {shown[0]['reason']}" if shown else ""
    )
    return {
        IN_SHORT: f"{counted(alarms.num_rows, 'alarm')} {judged}{first}",
        "alarms": alarms.num_rows,
        "stable": stable,
        "alarmed": table_shown(shown, named),
    }


#: What a page shows of a calibration -> columns of its rows, and what people call them there.
CALIBRATED = {
    "alarms": {"month": "month", "monitor": "monitor", "tried": "days watched", "number": "alarms that began"},
    "changes": {"change": "change", "after": "days of it", "tried": "columns changed", "number": "found"},
}


class Rehearsed(dg.Config):
    """How much of the past has changes put in."""

    weeks: int = Field(4, ge=1, description="So many of the newest weeks have changes put in.")


def calibration_asset(declared: DeclaredLine) -> dg.AssetsDefinition:
    line = declared.line

    @dg.asset(
        config_schema=written_out(Rehearsed),
        key=dg.AssetKey([line.name, "calibration"]),
        deps=[
            dg.AssetDep(dg.AssetKey([line.name, name]), partition_mapping=dg.AllPartitionMapping())
            for name in ("examples", "performance", "drift")
        ],
        group_name=line.name,
        tags=station("monitoring"),
        owners=[line.owner],
        kinds={"python", "deltalake"},
        code_version=code_version("drift", line.monitor.judging),
        description=introduced(
            "What the monitors are worth on the line's own past: alarms by month, and changes put into "
            "its newest weeks, found after how many days. Materialise it when you want to know; `factory calibrate` says the same.",
            line.description,
        ),
        metadata=column_schema({field.name: str(field.type) for field in calibration.SCHEMA}, calibration.MEANS),
    )
    def calibrated(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        archive: dg.ResourceParam[ArchiveFolder],
        ledger: dg.ResourceParam[Ledger],
    ) -> dg.MaterializeResult:
        weeks = launched(Rehearsed, context).weeks
        found = calibration.calibrate(declared, lake, archive, ledger, weeks)
        if found is None:
            return dg.MaterializeResult(metadata={"status": "no day of drift yet"})
        day, rows = found.ends[-1], found.table()
        written = lake.replace(f"{line.name}/calibration", rows, [day])
        shown = {
            name: table_shown(_records(rows, columns), [*columns.values()]) for name, columns in CALIBRATED.items()
        }
        return dg.MaterializeResult(
            metadata={**shown, "declared": line.monitor.declared},
            data_version=dg.DataVersion(written.days[day].hash),
        )

    return calibrated


def _records(rows: pa.Table, shown: Mapping[str, str]) -> list[dict[str, Any]]:
    """The rows that have a value in the first of the columns shown. shown: column -> what people call it there."""
    by = next(iter(shown))
    return [
        {title: str(row[name]) if name == by else row[name] for name, title in shown.items()}
        for row in rows.to_pylist()
        if row[by] is not None
    ]
