"""The assets `<line>/evaluation` and `<line>/decay`: who is better on the holdout, and what a model loses as it grows older."""

import datetime as dt
import functools
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
from pydantic import Field

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.line import Gate, Line
from factory_assets.evaluation.again import Meetings, make_again, remembered
from factory_assets.evaluation.contest import GAIN, Met, weak_at
from factory_assets.evaluation.decay import SHARE, Curve, Past, advice, comparable, curve, replay
from factory_assets.evaluation.differences import by_libraries_alone
from factory_assets.evaluation.fresh_process import FreshProcess
from factory_assets.evaluation.meetings import meet
from factory_assets.evaluation.parts import Asked
from factory_assets.evaluation.scores import meaning, schema, tables
from factory_assets.evaluation.staging import SCHEMA as STAGED
from factory_assets.evaluation.staging import Staged
from factory_assets.identity.code import code_version
from factory_assets.identity.hashes import hash_of
from factory_assets.identity.nodes import ROOT, preorder
from factory_assets.identity.partitions import segment_partitions
from factory_assets.identity.places import introduced, station
from factory_assets.identity.versions import model_version
from factory_assets.launching import launched, written_out
from factory_assets.materialization import (
    DATA_VERSION,
    IN_SHORT,
    INPUTS,
    NODES,
    SHOWN,
    TABLE_VERSION,
    column_schema,
    record_partitions,
    table_shown,
)
from factory_assets.measures import plots
from factory_assets.measures.compared import metric_of
from factory_assets.measures.decay_plot import LossAtAge, decay_plot
from factory_assets.measures.metrics import improvement
from factory_assets.models.archived import ReleasedModel, load
from factory_assets.models.safety import Limits
from factory_assets.training.dataset import DaysAsKnown, close_of, labelled_by_node, newest_examples
from factory_assets.training.run_config import NAMED, AsOf, Chosen, as_of
from factory_assets.training.subtrees import Subtrees
from factory_assets.training.timeline import Timeline, timeline
from factory_assets.words import counted, figure, listed
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import EvaluationRecord, Ledger
from factory_resources.rows_file import RowsFile

#: Models that are kept: a node's, those above it, and those that it is staged beside.
MODELS = 8
#: Nodes whose reason a failure tells.
TOLD = 3

#: Whose predictions a meeting has, as far as they are there.
SIDES = ("challenger", "champion", "parent", "naive")


class Evaluated(Chosen):
    """Nodes to be measured, or whose rows are to be written once more."""

    restore: bool = Field(
        False,
        description="Decide nothing anew: make rows of that day that the lake has lost again, as the ledger has them.",
    )


def evaluation_asset(declared: DeclaredLine) -> dg.AssetsDefinition:
    line = declared.line
    key, asked = dg.AssetKey([line.name, "evaluation"]), Asked.of(line, metric_of(declared))

    @dg.asset(
        config_schema=written_out(Evaluated),
        key=key,
        deps=[dg.AssetDep(dg.AssetKey([line.name, "model"]), partition_mapping=dg.IdentityPartitionMapping())],
        partitions_def=segment_partitions(line.name),
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name=line.name,
        tags=station("evaluation"),
        owners=[line.owner],
        kinds={"python", "deltalake"},
        code_version=code_version(
            "evaluation",
            model_version(declared),
            metric_of(declared),
            *filter(None, [line.gate.cluster, line.gate.latency, line.gate.size]),
            *filter(None, [asked and asked.json, _declared_of_parts(line)]),
            *_staged_by(line.gate),
        ),
        description=introduced(
            "The challenger of each node against its champion, whoever answers above it by then, and a "
            f"naive guess, on the same {counted(line.train.holdout.days, 'day')} after the training window, by "
            f"{metric_of(declared)}. The table has what each of them predicted, row by row.",
            line.description,
        ),
        metadata=column_schema({field.name: str(field.type) for field in schema(line.task)}, meaning(line.task)),
    )
    def evaluation(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        engine: dg.ResourceParam[Engine],
        archive: dg.ResourceParam[ArchiveFolder],
        ledger: dg.ResourceParam[Ledger],
    ) -> Iterator[dg.MaterializeResult]:
        config = launched(Evaluated, context)
        day, nodes = as_of(context, lake, declared, config), config.of(context)
        span = timeline(declared, day)

        @functools.lru_cache(maxsize=MODELS)
        def model(version: str) -> ReleasedModel:
            return load(archive, line.name, version)

        def newest() -> tuple[dt.date, Subtrees] | None:
            with engine.connect() as con:
                return newest_examples(con, lake, line.name, day)

        def holdout_from(first: dt.date) -> Subtrees:
            with engine.connect() as con:
                return labelled_by_node(con, lake, line.name, DaysAsKnown(first, span.holdout_to, close_of(day)))[0]

        if config.restore:
            meetings = remembered(ledger, line.name, line.task, day, preorder(nodes))
            rows = holdout_from(min([span.holdout_from, *(each.since for each in meetings.met)]))
            version, failed = _write_again(lake, meetings, make_again(meetings, model, rows.mapped, asked))
            yield from _made_again(context, meetings, version, failed)
            return
        metadata, tags, metric = {}, {}, metric_of(declared)
        scores, records, staged = RowsFile(schema(line.task)), list[EvaluationRecord](), list[dict[str, Any]]()
        versions, measured_by = dict[str, Mapping[str, str]](), dict[str, Mapping[str, float | None]]()
        with FreshProcess(archive, line.name, Limits.of(line.gate)) as apart:
            for met in meet(
                declared, ledger, day, nodes, model, holdout_from, newest, apart.unsafe, partial(weak_at, line)
            ):
                of_node = met.records(line.name, span, metric)
                metadata[met.node] = _metadata(line, met, span) | (_picture(declared, met) if met.node == ROOT else {})
                versions |= {met.node: met.versions} if met.metrics else {}
                if met.metrics:
                    measured_by[met.node] = {side: of.get(metric) for side, of in met.metrics.items()}
                tags[met.node] = _tags(of_node, day)
                records += of_node
                staged += met.staged.rows(met.node, met.versions["challenger"], day) if met.staged else []
                for rows in tables(met.node, line.task, day, met.rows, met.versions, met.predictions):
                    scores.write(rows)
        scores.close()
        for node, changed in _what_changed(ledger, line.name, versions).items():
            metadata[node] |= changed
        if measured := {record.node for record in records}:
            # Before the records, so that whatever the ledger has of a meeting can be computed again. Rows of earlier meetings of
            # nodes that have nobody left to measure stay, as their records do.
            written = lake.replace_part(f"{line.name}/evaluation", scores.read(), day, "node", measured)
            for node in measured:
                metadata[node][TABLE_VERSION] = written.version
            if staged or lake.version(f"{line.name}/staging") is not None:
                of_day = pa.Table.from_pylist(staged, schema=STAGED)
                lake.replace_part(f"{line.name}/staging", of_day, day, "node", measured)
        for record in records:
            ledger.record_evaluation(record)
        yield from record_partitions(context, metadata, tags, _of_all(measured_by, len(nodes), metric, span))

    return evaluation


def _of_all(
    measured: Mapping[str, Mapping[str, float | None]], nodes: int, metric: str, span: Timeline
) -> dict[str, Any]:
    """The nodes of a run beside each other, for the asset's page. measured: node -> side -> its metric."""
    rows = [{"node": node} | {side: figure(measured[node].get(side)) for side in SIDES} for node in preorder(measured)]
    better = sum(map(partial(_is_better, metric), measured.values()))
    return {
        IN_SHORT: f"As of {span.as_of}: {len(rows)} of {counted(nodes, 'node')} could be measured, by {metric} on the rows of "
        f"{span.holdout_from} to {span.holdout_to}; {better} with a challenger that came out better than who answers. Whether that is "
        "more than luck, the gate says: see champion.",
        NODES: table_shown(rows[:SHOWN], ("node", *SIDES)),
    }


def _is_better(metric: str, measured: Mapping[str, float | None]) -> bool:
    """Whether the challenger came out better than the champion, or where there is none than the one above."""
    challenger, rival = measured.get("challenger"), measured.get("champion", measured.get("parent"))
    return challenger is not None and rival is not None and improvement(metric, challenger, rival) > 0


def _declared_of_parts(line: Line) -> str:
    """The limits of slices, which decide how sure an evaluation is of them; empty where none are declared."""
    return "; ".join(f"{name}: {each.model_dump_json()}" for name, each in line.gate.slices.items())


def _staged_by(gate: Gate) -> list[str]:
    """What of a gate says which answers are other ones, and how many of them may be."""
    fields = ("disagreement", "tolerance")
    return [f"{name} {value}" for name in fields if (value := getattr(gate, name)) is not None]


def _tags(records: Sequence[EvaluationRecord], day: dt.date) -> dict[str, str]:
    content = [
        (
            *(record.version, record.challenger, record.incumbent, *filter(None, [record.unsafe])),
            *([] if record.disagreement is None else [record.disagreement]),
        )
        for record in records
    ]
    return {DATA_VERSION: hash_of(*content) if content else "none", INPUTS: str(day)}


def _write_again(
    lake: Lake, meetings: Meetings, made: Iterable[tuple[str, Iterator[pa.Table] | str]]
) -> tuple[int, dict[str, str]]:
    """Write the rows that were made again: the table's version, and node -> why there are none of it."""
    file, failed, there = RowsFile(schema(meetings.task)), dict[str, str](), list[str]()
    for node, rows in made:
        if isinstance(rows, str):
            failed[node] = rows
            continue
        there.append(node)
        for each in rows:
            file.write(each)
    file.close()
    table, day = f"{meetings.line}/evaluation", meetings.day
    if day in lake.lacking(table, lake.held(table)):
        # Whatever else the day had is lost, too: these are all of its nodes.
        return lake.replace(table, file.read(), [day]).version, failed
    return lake.replace_part(table, file.read(), day, "node", there).version, failed


def _made_again(
    context: dg.AssetExecutionContext, meetings: Meetings, version: int, failed: Mapping[str, str]
) -> Iterator[dg.MaterializeResult]:
    """Report rows that were made again. failed: node -> why they were not."""
    made = {met.node: met.records for met in meetings.met if met.node not in failed}
    shown = {"as_of": str(meetings.day), "status": "rows made again, as they were", TABLE_VERSION: version}
    tags = {node: _tags(records, meetings.day) for node, records in made.items()}
    yield from record_partitions(context, dict.fromkeys(made, shown), tags)
    if failed:
        reasons = listed([f"{node}: {why}" for node, why in failed.items()], TOLD, "node")
        raise dg.Failure(
            f"{meetings.line}: rows of evaluations as of {meetings.day} are lost, and not made again: {reasons}",
            allow_retries=False,
        )


def _costs(line: Line, met: Met) -> dict[str, Any]:
    """What decisions cost by whom, and what the challenger saves beside its rival, in money; nothing where no cost is declared."""
    if line.gate.cost is None:
        return {}
    unit, rows = line.gate.cost.unit, len(met.y)
    shown: dict[str, Any] = {"threshold": line.gate.decides_at}
    costs = {side: metrics["cost"] for side, metrics in met.metrics.items() if "cost" in metrics}
    shown |= {f"cost_of_{side}": f"{cost * rows:.6g} {unit}, {cost:.4g} a row" for side, cost in costs.items()}
    rival = met.rivals.get("challenger", "")
    if {"challenger", rival} <= costs.keys():
        saved = costs[rival] - costs["challenger"]
        limits = [met.certainty[name] for name in GAIN if name in met.certainty]
        between = f", between {limits[0] * rows:.6g} and {limits[1] * rows:.6g} with 95 %" if limits else ""
        shown["gain"] = f"{saved * rows:.6g} {unit} beside the {rival} on these rows{between}"
    return shown


def _weak(met: Met) -> dict[str, Any]:
    """Where a challenger that passed is worse than elsewhere; nothing of one that nobody looked at."""
    if met.weak is None:
        return {}
    rows = [
        {
            "where": f"{each.name} ({counted(int(each.rows.sum()), 'row')})",
            met.weak.loss: figure(each.loss),
            "elsewhere": figure(each.elsewhere),
            f"of the {met.weak.rival}": figure(rival),
            "by chance": f"{each.p:.2g}",
        }
        for each, rival in zip(met.weak.slices, met.weak.rivals, strict=True)
    ]
    if not rows:
        return {
            "weak_slices": "none: no value of a feature, and no pair of them, is worse than the others beyond chance"
        }
    return {"weak_slices": table_shown(rows, list(rows[0]))}


def _metadata(line: Line, met: Met, span: Timeline) -> dict[str, Any]:
    common = {"as_of": str(span.as_of), "holdout": f"{met.since or span.holdout_from} .. {span.holdout_to}"}
    if not met.metrics:
        return {**common, "status": f"no model of its own to measure: {met.above or 'nobody'} answers"}
    sides = [side for side in SIDES if side in met.metrics]
    names = dict.fromkeys(name for side in sides for name in met.metrics[side])
    table = [
        dg.TableRecord({"metric": name} | {side: figure(met.metrics[side].get(name)) for side in sides})
        for name in names
    ]
    versions = {
        side: f"{version} of {met.above}" if side == "parent" else version for side, version in met.versions.items()
    }
    return {
        **common,
        "rows": len(met.y),
        **versions,
        **({"not_safe_to_serve": met.unsafe} if met.unsafe else {}),
        **_costs(line, met),
        **(_staged(met.staged) if met.staged else {}),
        **_weak(met),
        "comparison": dg.MetadataValue.table(table) if table else dg.MetadataValue.text("nothing could be measured"),
        **met.metrics.get("challenger", {}),
    }


def _staged(staged: Staged) -> dict[str, Any]:
    rows = [
        {
            "where": part.kind,
            "which": part.name,
            "rows": part.rows,
            "other answers": f"{part.share:.1%}",
            "change": figure(part.change),
        }
        for part in staged.parts
    ]
    shown = table_shown(rows, ("where", "which", "rows", "other answers", "change"))
    return {"staging": str(staged), "other_answers": shown}


def _what_changed(ledger: Ledger, line: str, met: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Node -> how to ask what makes its challenger another one than its champion, and what, where that is libraries alone.

    met: node -> the versions that met. Nodes where no two did are left out.
    """
    pairs = {
        node: (of["champion"], of["challenger"]) for node, of in met.items() if {"champion", "challenger"} <= of.keys()
    }
    ids = {version for pair in pairs.values() for version in pair}
    made = {record.version: record for record in ledger.versions(line, ids=ids)} if ids else {}
    found = {}
    for node, (champion, challenger) in pairs.items():
        if champion != challenger:
            alone = by_libraries_alone(made[champion], made[challenger])
            named = {"by_libraries_alone": ", ".join(f"{each.what} {each.a} -> {each.b}" for each in alone)}
            asked = f"factory compare {shlex.join([line, champion, challenger])}"
            found[node] = {"what_changed": asked, **(named if alone else {})}
    return found


def _picture(declared: DeclaredLine, scored: Met) -> dict[str, dg.MetadataValue]:
    if len(scored.y) < 2 or (declared.line.task == "binary" and len(np.unique(scored.y)) < 2):
        return {}
    png = plots.evaluation_plot(declared.line.task, scored.y, dict(scored.predictions))
    return {"plot": dg.MetadataValue.md(plots.markdown(png, f"{declared.line.name} on the holdout"))}


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
            raise dg.Failure(
                f"nodes: nothing was trained of {listed(absent, NAMED)}; trained: {listed(trained, NAMED, 'node')}",
                allow_retries=False,
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
