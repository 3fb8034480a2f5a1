"""The asset `<line>/decay`: what a model loses as it grows older."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

import dagster as dg
import pyarrow as pa
from pydantic import Field

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.evaluation.decay import SHARE, Curve, Past, advice, comparable, curve, replay
from factory_assets.identity.code import code_version
from factory_assets.identity.nodes import ROOT
from factory_assets.identity.places import introduced, station
from factory_assets.launching import launched, written_out
from factory_assets.materialization import column_schema, table_shown
from factory_assets.measures import plots
from factory_assets.measures.compared import metric_of
from factory_assets.measures.decay_plot import LossAtAge, decay_plot
from factory_assets.models.archived import load
from factory_assets.training.run_config import NAMED, AsOf, as_of
from factory_assets.words import figure, listed
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.dagster_private.refusals import refusal
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger

#: A row a node and age; the columns are those of `decay.Age`.
DECAY_MEANS = {
    "node": "Segment node whose past versions are replayed.",
    "first": "Youngest age of the row, in days since the training.",
    "last": "Oldest age of the row, in days.",
    "days": "Days on which old and fresh versions were compared.",
    "stretches": "Stretches of days without a training in between; few of them say little.",
    "versions": "Old versions that were compared.",
    "old": "The metric of versions of this age.",
    "fresh": "The metric of the newest version of each day, on the same rows.",
    "loss": "By how much the old is worse; negative where it is better.",
    "lower": "Lower limit of the loss; with the upper ones it holds for all ages together.",
    "upper": "Upper limit of the loss.",
    "gain": "By how much the fresh is better than a naive guess on these rows.",
    "verdict": "as good, worse, open where neither can be launched, too few stretches.",
    "metric": "What old, fresh, loss and gain are measured in.",
    "cadence": "Days between trainings that these ages suggest.",
    "ds": "The day as of which it is.",
}
DECAY = pa.schema(
    [
        ("node", pa.string()),
        *((name, pa.int64()) for name in ("first", "last", "days", "stretches", "versions")),
        *((name, pa.float64()) for name in ("old", "fresh", "loss", "lower", "upper", "gain")),
        *((name, pa.string()) for name in ("verdict", "metric")),
        ("cadence", pa.int64()),
        ("ds", pa.date32()),
    ]
)


#: Those of its columns that a page shows.
AGES = [name for name in DECAY.names if name not in ("metric", "cadence", "ds")]


class Replayed(AsOf):
    """Whose past versions are replayed."""

    nodes: list[str] = Field([ROOT], min_length=1, description="Nodes, such as global or FR/Lyon.")
    share: float = Field(SHARE, ge=0, description="Of the gain over a naive guess: a smaller loss does not count.")


def decay_asset(declared: DeclaredLine) -> dg.AssetsDefinition:
    line, metric = declared.line, metric_of(declared)

    @dg.asset(
        config_schema=written_out(Replayed),
        key=dg.AssetKey([line.name, "decay"]),
        deps=[
            dg.AssetDep(dg.AssetKey([line.name, name]), partition_mapping=dg.AllPartitionMapping())
            for name in ("model", "labels")
        ],
        group_name=line.name,
        tags=station("evaluation"),
        owners=[line.owner],
        kinds={"python", "deltalake"},
        code_version=code_version("decay", metric),
        description=introduced(
            f"What a model loses against a fresh one as it grows older, by {metric}: past versions "
            "replayed on the days after their training. How often to train follows from it.",
            line.description,
        ),
        metadata=column_schema({field.name: str(field.type) for field in DECAY}, DECAY_MEANS),
    )
    def decay(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        engine: dg.ResourceParam[Engine],
        archive: dg.ResourceParam[ArchiveFolder],
        ledger: dg.ResourceParam[Ledger],
    ) -> dg.MaterializeResult:
        config = launched(Replayed, context)
        day = as_of(context, lake, declared, config)
        trained = sorted({node for _, node, _ in ledger.identities(line.name)})
        if not trained:
            return dg.MaterializeResult(metadata={"status": "nothing is trained yet"})
        if absent := [node for node in config.nodes if node not in trained]:
            raise refusal(
                f"nodes: nothing was trained of {listed(absent, NAMED)}; trained: {listed(trained, NAMED, 'node')}"
            )
        columns = lake.read(f"{line.name}/examples", day, day, empty_if_absent=True)
        nodes = {
            node: comparable(
                ledger.versions(line.name, node), day, lambda version: load(archive, line.name, version), columns
            )
            for node in config.nodes
        }
        with engine.connect() as con:
            pairs = replay(con, lake, declared, metric, nodes, day)
        curves = {node: curve(pairs[node], nodes[node].step, metric, config.share) for node in nodes}
        rows = _ages(curves, metric, day)
        written = lake.replace(f"{line.name}/decay", pa.Table.from_pylist(rows, schema=DECAY), [day])
        first = config.nodes[0]
        metadata = _decay_metadata(declared, first, nodes[first], curves[first], config.share)
        return dg.MaterializeResult(
            metadata=metadata | {"ages": table_shown(map(_record, rows), AGES)},
            data_version=dg.DataVersion(written.days[day].hash),
        )

    return decay


def _ages(curves: Mapping[str, Curve], metric: str, day: dt.date) -> list[dict[str, Any]]:
    common = {"metric": metric, "ds": day}
    return [
        {"node": node, **vars(age), "cadence": curve.cadence, **common}
        for node, curve in curves.items()
        for age in curve.ages
    ]


def _record(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: figure(row[name]) if isinstance(row[name], float | None) else row[name] for name in AGES}


def _decay_metadata(declared: DeclaredLine, node: str, past: Past, curve: Curve, share: float) -> dict[str, Any]:
    every, metric = declared.line.retrain.every.days, metric_of(declared)
    title = f"{declared.line.name} {node}: loss of {metric} against a fresh model"
    ages = [
        LossAtAge(
            age.first,
            age.last,
            age.loss,
            None if age.lower is None or age.upper is None else (age.lower, age.upper),
            share * age.gain,
        )
        for age in curve.ages
    ]
    png = decay_plot(ages, curve.cadence, every, metric, title)
    return {
        "advice": advice(curve, every),
        "node": node,
        "versions": len(past.models),
        "left_out": dg.MetadataValue.json(dict(past.left_out)),
        "curve": dg.MetadataValue.md(plots.markdown(png, title)),
    }
