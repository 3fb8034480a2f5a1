"""The asset `<line>/evaluation`: who is better on the holdout?"""

import datetime as dt
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import dagster as dg
import pyarrow as pa
from pydantic import Field

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.line import Gate, Line
from factory_assets.evaluation.again import Meetings, make_again, remembered
from factory_assets.evaluation.coverage import Counts
from factory_assets.evaluation.fresh_process import FreshProcess
from factory_assets.evaluation.measuring import weak_at
from factory_assets.evaluation.meetings import meet
from factory_assets.evaluation.parts import Asked
from factory_assets.evaluation.scores import meaning, schema, tables
from factory_assets.evaluation.shown import SIDES, picture, what_changed
from factory_assets.evaluation.shown import metadata as metadata_of
from factory_assets.evaluation.staging import SCHEMA as STAGED
from factory_assets.evaluation.weak import SCHEMA as WEAK
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
from factory_assets.measures.compared import decided_by
from factory_assets.measures.metrics import improvement
from factory_assets.models.archived import ReleasedModel, load
from factory_assets.models.safety import Limits
from factory_assets.training.dataset import DaysAsKnown, close_of, label_counts, labelled_by_node, newest_examples
from factory_assets.training.run_config import Chosen, as_of
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


class Evaluated(Chosen):
    """Nodes to be measured, or whose rows are to be written once more."""

    restore: bool = Field(
        False,
        description="Decide nothing anew: make rows of that day that the lake has lost again, as the ledger has them.",
    )


def evaluation_asset(declared: DeclaredLine) -> dg.AssetsDefinition:
    line = declared.line
    key, asked = dg.AssetKey([line.name, "evaluation"]), Asked.of(line, decided_by(declared))

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
            decided_by(declared),
            *filter(None, [line.gate.cluster, line.gate.latency, line.gate.size]),
            *filter(None, [asked and asked.json, _declared_of_parts(line)]),
            *_staged_by(line.gate),
            *_asked_of_rows(line.gate),
        ),
        description=introduced(
            "The challenger of each node against its champion, whoever answers above it by then, and a "
            f"naive guess, on the same {counted(line.train.holdout.days, 'day')} after the training window, by "
            f"{decided_by(declared)}. The table has what each of them predicted, row by row.",
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

        def counts(days: DaysAsKnown, labels: bool) -> Counts:
            with engine.connect() as con:
                return label_counts(con, lake, line.name, days, labels)

        if config.restore:
            meetings = remembered(ledger, line.name, line.task, day, preorder(nodes))
            rows = holdout_from(min([span.holdout_from, *(each.since for each in meetings.met)]))
            version, failed = _write_again(lake, meetings, make_again(meetings, model, rows.mapped, asked))
            yield from _made_again(context, meetings, version, failed)
            return
        metadata, tags, metric = {}, {}, decided_by(declared)
        scores, records = RowsFile(schema(line.task)), list[EvaluationRecord]()
        staged, weak = list[dict[str, Any]](), list[dict[str, Any]]()
        versions = dict[str, Mapping[str, str]]()
        measured_by = dict[str, Mapping[str, float | None]]()
        with FreshProcess(archive, line.name, Limits.of(line.gate)) as apart:
            for met in meet(
                declared, ledger, day, nodes, model, holdout_from, newest, apart.unsafe, counts, partial(weak_at, line)
            ):
                of_node = met.records(line.name, span, metric)
                metadata[met.node] = metadata_of(line, met, span) | (picture(declared, met) if met.node == ROOT else {})
                versions |= {met.node: met.versions} if met.metrics else {}
                if met.metrics:
                    measured_by[met.node] = {side: of.get(metric) for side, of in met.metrics.items()}
                tags[met.node] = _tags(of_node, day)
                records += of_node
                staged += met.staged.rows(met.node, met.versions["challenger"], day) if met.staged else []
                weak += met.weak.rows(met.node, met.versions["challenger"], metric, day) if met.weak else []
                for rows in tables(met.node, line.task, day, met.rows, met.versions, met.predictions):
                    scores.write(rows)
        scores.close()
        for node, changed in what_changed(ledger, line.name, versions).items():
            metadata[node] |= changed
        if measured := {record.node for record in records}:
            # Before the records, so that whatever the ledger has of a meeting can be computed again. Rows of earlier meetings of
            # nodes that have nobody left to measure stay, as their records do.
            written = lake.replace_part(f"{line.name}/evaluation", scores.read(), day, "node", measured)
            for node in measured:
                metadata[node][TABLE_VERSION] = written.version
            for name, of_day in (("staging", (staged, STAGED)), ("slices", (weak, WEAK))):
                if of_day[0] or lake.version(f"{line.name}/{name}") is not None:
                    kept = pa.Table.from_pylist(of_day[0], schema=of_day[1])
                    lake.replace_part(f"{line.name}/{name}", kept, day, "node", measured)
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


def _asked_of_rows(gate: Gate) -> list[str]:
    """What of a gate decides what is found of calibration, missing labels and copies of the label, where it is not the default."""
    fields, names = Gate.model_fields, ("calibration", "labels", "may_tell")
    defaults = {name: fields[name].get_default(call_default_factory=True) for name in names}
    return [f"{name} {value}" for name in names if (value := getattr(gate, name)) != defaults[name]]


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
