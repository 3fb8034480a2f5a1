"""The asset `<line>/evaluation`: each challenger, the champion and a naive guess on the same rows of the holdout."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.features.assets import segment_partitions
from factory_assets.features.segments import ROOT, answering
from factory_assets.materialization import DATA_VERSION, INPUTS, code_version, record_partitions
from factory_assets.measures import plots
from factory_assets.measures.metrics import score
from factory_assets.training.assets import as_of, metric_of, model_version
from factory_assets.training.dataset import close_of, labelled
from factory_assets.training.fitting import rows_within
from factory_assets.training.released import ReleasedModel, load
from factory_resources.archive import Archive
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import EvaluationRecord, Ledger

GROUP = "evaluation"


@dataclass(frozen=True)
class Scored:
    """Predictions of everyone who was asked, on one set of labelled rows."""

    y: np.ndarray
    predictions: Mapping[str, np.ndarray]

    def metrics(self, task: str) -> dict[str, dict[str, float]]:
        return {name: score(task, self.y, values) for name, values in self.predictions.items()}


def evaluation_asset(declared: DeclaredLine) -> dg.AssetsDefinition:
    line = declared.line
    key = dg.AssetKey([line.name, "evaluation"])

    @dg.asset(
        key=key,
        deps=[dg.AssetDep(dg.AssetKey([line.name, "model"]), partition_mapping=dg.IdentityPartitionMapping())],
        partitions_def=segment_partitions(line.name),
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name=GROUP,
        owners=[line.owner],
        kinds={"python"},
        code_version=code_version(model_version(declared), metric_of(declared)),
        description=f"{line.description}\n\nThe challenger of each node against the champion that answers today and a naive guess, "
        f"on the same {line.train.holdout.days} days after the training window, by {metric_of(declared)}.",
    )
    def evaluation(
        context: dg.AssetExecutionContext, lake: Lake, engine: Engine, archive: Archive, ledger: Ledger
    ) -> Iterator[dg.MaterializeResult]:
        day = as_of(context, lake, line.name)
        champions = {node: held.champion for node, held in ledger.incumbents(line.name, day).items()}
        models: dict[str, ReleasedModel] = {}
        metadata: dict[str, dict[str, Any]] = {}
        tags: dict[str, dict[str, str]] = {}
        holdout: pa.Table | None = None
        for node in context.partition_keys:
            version = ledger.latest_version(line.name, node, day)
            if version is None:
                metadata[node] = {"as_of": str(day), "status": "no challenger: an ancestor answers"}
                tags[node] = {DATA_VERSION: "none", INPUTS: str(day)}
                continue
            if holdout is None:
                with engine.connect() as con:
                    holdout, _ = labelled(con, lake, line.name, version.holdout_from, version.holdout_to, close_of(day))
            incumbent = answering(node, champions)
            rows = rows_within(holdout, node)
            challenger = load(archive, line.name, version.version)
            asked = {"challenger": challenger.predict(rows), "naive": np.full(rows.num_rows, challenger.naive)}
            if incumbent is not None:
                name = str(champions[incumbent])
                models[name] = models.get(name) or load(archive, line.name, name)
                asked["incumbent"] = models[name].predict(rows)
            scored = Scored(rows["label"].to_numpy(), asked)
            record = _record(declared, version, node, scored, champions[incumbent] if incumbent else None)
            ledger.record_evaluation(record)
            metadata[node] = _metadata(record, incumbent) | (_picture(declared, scored) if node == ROOT else {})
            tags[node] = {
                DATA_VERSION: code_version(version.version, record.challenger, record.incumbent),
                INPUTS: str(day),
            }
        yield from record_partitions(context, metadata, tags)

    return evaluation


def _record(declared: DeclaredLine, version: Any, node: str, scored: Scored, incumbent: str | None) -> EvaluationRecord:
    metrics = scored.metrics(declared.line.task)
    return EvaluationRecord(
        line=declared.line.name,
        segment=node,
        version=version.version,
        as_of=version.as_of,
        holdout_from=version.holdout_from,
        holdout_to=version.holdout_to,
        rows=len(scored.y),
        challenger=metrics["challenger"],
        incumbent=metrics.get("incumbent", {}),
        incumbent_version=incumbent,
        naive=metrics["naive"],
    )


def _metadata(record: EvaluationRecord, incumbent: str | None) -> dict[str, Any]:
    columns = {"challenger": record.challenger, "incumbent": record.incumbent, "naive": record.naive}
    table = [
        dg.TableRecord({"metric": metric} | {who: _short(values.get(metric)) for who, values in columns.items()})
        for metric in record.challenger
    ]
    return {
        "as_of": str(record.as_of),
        "holdout": f"{record.holdout_from} .. {record.holdout_to}",
        "rows": record.rows,
        "version": record.version,
        "incumbent": f"{record.incumbent_version} of {incumbent}" if incumbent else "none",
        "comparison": dg.MetadataValue.table(table) if table else dg.MetadataValue.text("nothing could be measured"),
        **record.challenger,
    }


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _picture(declared: DeclaredLine, scored: Scored) -> dict[str, dg.MetadataValue]:
    if len(scored.y) < 2 or (declared.line.task == "binary" and len(np.unique(scored.y)) < 2):
        return {}
    png = plots.evaluation_plot(declared.line.task, scored.y, dict(scored.predictions))
    return {"plot": dg.MetadataValue.md(plots.markdown(png, f"{declared.line.name} on the holdout"))}
