"""The asset `<line>/predictions`: every observation of the day scored by the champion of its nearest node."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pyarrow as pa

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.tasks import classes_of
from factory_assets.identity.code import code_version
from factory_assets.identity.partitions import partitions
from factory_assets.materialization import column_schema, days_of, input_fingerprints, record_days
from factory_assets.models.archived import ReleasedModel, load
from factory_assets.scoring.champions import champion_state, champions_of_days
from factory_assets.scoring.outliers import Bounds, Outliers
from factory_assets.scoring.predictions import champion_periods, meaning, predict, schema
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger

GROUP = "scoring"
#: Nodes that a day's page lists with outliers, those with the largest share first.
NODES = 20


def predictions_asset(declared: DeclaredLine) -> dg.AssetsDefinition:
    line = declared.line
    key = dg.AssetKey([line.name, "predictions"])

    @dg.asset(
        key=key,
        deps=[
            dg.AssetDep(dg.AssetKey([line.name, "examples"]), partition_mapping=dg.IdentityPartitionMapping()),
            dg.AssetDep(dg.AssetKey([line.name, "champion"]), partition_mapping=dg.AllPartitionMapping()),
        ],
        partitions_def=partitions(declared.observed),
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name=GROUP,
        owners=[line.owner],
        kinds={"python", "deltalake"},
        code_version=code_version("predictions", *([line.task] if classes_of(line.task) else [])),
        description=f"{line.description}\n\nOne row an observation: the prediction, and which node and version answered. A day is "
        "scored by the champions decided before it, also when it is computed again later.",
        metadata=column_schema(
            {field.name: str(field.type) for field in schema(pa.string(), line.task)}, meaning(line.task)
        ),
    )
    def predictions(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        archive: dg.ResourceParam[ArchiveFolder],
        ledger: dg.ResourceParam[Ledger],
    ) -> Iterator[dg.MaterializeResult]:
        days = days_of(context)
        champions = champions_of_days(ledger, line.name, days)
        inputs = input_fingerprints(
            context.instance, context.assets_def.get_asset_spec(key), days, champion_state(champions)
        )
        example_id = (
            lake.read(f"{line.name}/examples", days[0], days[-1], ["example_id"], empty_if_absent=True)
            .schema.field(0)
            .type
        )
        models: dict[str, ReleasedModel] = {}
        bounds: dict[str, Bounds] = {}
        by_day: dict[dt.date, dict[str, Any]] = {}

        def scored() -> Iterator[pa.RecordBatch]:
            for period, of_period in champion_periods(days, champions):
                for version in set(of_period.values()) - set(models):
                    models[version] = load(archive, line.name, version)
                answering = {node: models[version] for node, version in of_period.items()}
                for day in period:
                    examples = lake.read(f"{line.name}/examples", day, day, empty_if_absent=True)
                    outliers = Outliers(bounds)
                    yield from predict(examples, answering, line.task, outliers.see).to_batches()
                    by_day[day] = _outside(outliers)

        written = lake.replace(
            f"{line.name}/predictions", pa.RecordBatchReader.from_batches(schema(example_id, line.task), scored()), days
        )
        unanswered = [day for day in days if not champions[day]]
        by_day |= {day: {"status": "no champion had been decided before this day"} for day in unanswered}
        yield from record_days(context, written, inputs, by_day=by_day)

    return predictions


def _outside(found: Outliers) -> dict[str, Any]:
    """What lies beyond the training rows of the versions that answered, as metadata of a day."""
    counts: dict[str, Any] = {"outliers": found.rows}
    counts |= {} if found.predictions is None else {"predictions_out_of_bounds": found.predictions}
    nodes = [
        {"node": each.node, "rows": each.rows, "outliers": each.outliers}
        | ({} if each.predictions is None else {"predictions_out_of_bounds": each.predictions})
        for each in found.nodes[:NODES]
    ]
    worst = [
        {
            "example_id": str(each.example_id),
            "node": each.node,
            "column": each.column,
            "value": str(each.value),
            "bounds": each.bounds,
        }
        for each in found.worst
    ]
    tables: dict[str, list[dict[str, Any]]] = {"outliers_by_node": nodes, "furthest_out": worst}
    return counts | {
        name: dg.MetadataValue.table([dg.TableRecord(row) for row in rows]) for name, rows in tables.items() if rows
    }
