"""The asset `<line>/predictions`: every observation of the day scored by the champion of its nearest node; and `<line>/parents`, by
the champion above that one."""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import dagster as dg
import pyarrow as pa

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.tasks import classes_of
from factory_assets.identity.code import code_version
from factory_assets.identity.partitions import partitions
from factory_assets.identity.places import introduced, station
from factory_assets.materialization import (
    IN_SHORT,
    column_schema,
    days_of,
    input_fingerprints,
    record_days,
    table_shown,
)
from factory_assets.models.archived import ReleasedModel, load
from factory_assets.scoring.champions import Champions, champion_state, champions_of_days
from factory_assets.scoring.outliers import Bounds, Outliers
from factory_assets.scoring.predictions import (
    Answered,
    above,
    champion_periods,
    meaning,
    meaning_of_parents,
    parents,
    predict,
    schema,
)
from factory_assets.words import counted
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger

#: Nodes that a day's page lists with outliers, those with the largest share first.
NODES = 20


def predictions_asset(declared: DeclaredLine) -> dg.AssetsDefinition:
    what = (
        "One row an observation: the prediction, and which node and version answered. A day is scored by the champions decided "
        "before it, also when it is computed again later."
    )
    return _asset(declared, "predictions", what, meaning(declared.line.task), _nearest)


def parents_asset(declared: DeclaredLine) -> dg.AssetsDefinition:
    """Of a line with segments."""
    what = (
        "What the champion above the one that answered would have predicted: of each observation that was not answered by the "
        "uppermost. Performance holds a node's model against it."
    )
    return _asset(declared, "parents", what, meaning_of_parents(declared.line.task), _above)


def _asset(
    declared: DeclaredLine, name: str, what: str, meaning: Mapping[str, str], score: "Score"
) -> dg.AssetsDefinition:
    """A table of predictions by the champions of each day. what: the table in words. meaning: column -> what it is."""
    line = declared.line
    key = dg.AssetKey([line.name, name])

    @dg.asset(
        key=key,
        deps=[
            dg.AssetDep(dg.AssetKey([line.name, "examples"]), partition_mapping=dg.IdentityPartitionMapping()),
            dg.AssetDep(dg.AssetKey([line.name, "champion"]), partition_mapping=dg.AllPartitionMapping()),
        ],
        partitions_def=partitions(declared.observed),
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name=line.name,
        tags=station("scoring"),
        owners=[line.owner],
        kinds={"python", "deltalake"},
        code_version=code_version(name, *([line.task] if classes_of(line.task) else [])),
        description=introduced(what, line.description),
        metadata=column_schema({field.name: str(field.type) for field in schema(pa.string(), line.task)}, meaning),
    )
    def scored(
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
        rows, shown = score(_Scoring(declared, lake, archive), days, champions)
        written = lake.replace("/".join(key.path), rows, days)
        yield from record_days(context, written, inputs, by_day=shown())

    return scored


def _nearest(
    scoring: "_Scoring", days: Sequence[dt.date], champions: Mapping[dt.date, Champions]
) -> tuple[pa.RecordBatchReader, "Shown"]:
    bounds: dict[str, Bounds] = {}
    outliers = {day: Outliers(bounds) for day in days}

    def shown() -> dict[dt.date, dict[str, Any]]:
        nobody = "no champion had been decided before this day"
        unanswered = {IN_SHORT: f"no prediction: {nobody}", "status": nobody}
        return {day: _outside(each) if champions[day] else unanswered for day, each in outliers.items()}

    return scoring.rows(days, champions, lambda day: outliers[day].see), shown


def _above(
    scoring: "_Scoring", days: Sequence[dt.date], champions: Mapping[dt.date, Champions]
) -> tuple[pa.RecordBatchReader, "Shown"]:
    return scoring.rows_above(days, champions), dict


class _Scoring:
    """Scores days of a line. A version is loaded once."""

    def __init__(self, declared: DeclaredLine, lake: Lake, archive: ArchiveFolder):
        self._line, self._lake, self._archive = declared.line, lake, archive
        self._table = f"{declared.line.name}/examples"
        self._models: dict[str, ReleasedModel] = {}

    def rows(
        self,
        days: Sequence[dt.date],
        champions: Mapping[dt.date, Champions],
        see: Callable[[dt.date], Callable[[Answered], None]],
    ) -> pa.RecordBatchReader:
        """What the nearest champions say. see: is shown the rows of each node of a day."""

        def scored() -> Iterator[pa.RecordBatch]:
            for period, of_period in champion_periods(days, champions):
                answering = self._loaded(of_period)
                # Where nobody answers, no row is read.
                for day in period if answering else ():
                    yield from predict(self._examples(day), answering, self._line.task, see(day)).to_batches()

        return self._reader(days, scored())

    def rows_above(self, days: Sequence[dt.date], champions: Mapping[dt.date, Champions]) -> pa.RecordBatchReader:
        """What the champions above these say."""

        def scored() -> Iterator[pa.RecordBatch]:
            for period, of_period in champion_periods(days, champions):
                asked = self._loaded({node: of_period[node] for node in parents(of_period)})
                # Where one champion answers all, no row is read.
                for day in period if asked else ():
                    rows, who = self._examples(day), partial(above, champions=of_period)
                    yield from predict(rows, asked, self._line.task, who=who).to_batches()

        return self._reader(days, scored())

    def _loaded(self, champions: Champions) -> dict[str, ReleasedModel]:
        for version in set(champions.values()) - set(self._models):
            self._models[version] = load(self._archive, self._line.name, version)
        return {node: self._models[version] for node, version in champions.items()}

    def _examples(self, day: dt.date) -> pa.Table:
        return self._lake.read(self._table, day, day, empty_if_absent=True)

    def _reader(self, days: Sequence[dt.date], rows: Iterator[pa.RecordBatch]) -> pa.RecordBatchReader:
        ids = self._lake.read(self._table, days[0], days[-1], ["example_id"], empty_if_absent=True)
        return pa.RecordBatchReader.from_batches(schema(ids.schema.field(0).type, self._line.task), rows)


#: Metadata of days, once their rows are written.
Shown = Callable[[], dict[dt.date, dict[str, Any]]]
#: Rows of days by their champions, and what their pages show.
Score = Callable[[_Scoring, Sequence[dt.date], Mapping[dt.date, Champions]], tuple[pa.RecordBatchReader, Shown]]


def _outside(found: Outliers) -> dict[str, Any]:
    """What lies beyond the training rows of the versions that answered, as metadata of a day."""
    beyond = f"{counted(found.rows, 'row')} with a feature beyond all that its model was trained on"
    labels = (
        ""
        if found.predictions is None
        else f", {counted(found.predictions, 'prediction')} beyond all labels of its training"
    )
    counts: dict[str, Any] = {IN_SHORT: f"{beyond}{labels}", "outliers": found.rows}
    counts |= {} if found.predictions is None else {"predictions_out_of_bounds": found.predictions}
    nodes = [
        {"node": each.node, "rows": each.rows, "outliers": each.outliers}
        | ({} if each.predictions is None else {"predictions": each.predictions})
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
    # Of some nodes it may not be known whether predictions are beyond: that of others has a column more.
    return counts | {name: table_shown(rows) for name, rows in tables.items() if rows}
