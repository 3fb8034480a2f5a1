"""The asset `<line>/model`: a challenger for every node of the segment tree, all due nodes in one run."""

import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa
from pydantic import Field

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.days import DAY
from factory_assets.declarations.line import Line
from factory_assets.declarations.tasks import kind_of
from factory_assets.events.assets import stream_version
from factory_assets.features.assets import segment_partitions, without_room
from factory_assets.features.segments import ROOT, lineage, preorder, tree
from factory_assets.identity.hashes import hash_of
from factory_assets.materialization import DATA_VERSION, INPUTS, Recorder, code_version
from factory_assets.measures import plots
from factory_assets.measures.metrics import DEFAULT, METRICS
from factory_assets.training.dataset import training_rows
from factory_assets.training.fitting import Failed, Fitted, NotTrained, Outcome
from factory_assets.training.identity import Made, made_before
from factory_assets.training.pool import Done, Job, Pace, Task, together, train_nodes
from factory_assets.training.released import Release
from factory_assets.training.search import importances
from factory_assets.training.subtrees import Subtrees
from factory_assets.training.timeline import Timeline, TrainingRefused, require_coverage
from factory_assets.training.tuned import Found, Tuned, Tuning
from factory_assets.training.warm import may_continue
from factory_resources.archive import Archive
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger, VersionRecord
from factory_resources.trials import Trials

GROUP = "training"
#: Run tag: train as if it were the close of this day. Run configuration says the same, and comes first.
AS_OF = "factory/as_of"


#: Columns of the table of outcomes, a row a node and day as of which it was to be trained. status: trained, too_little or failed.
OUTCOMES = pa.schema(
    [
        *((name, pa.string()) for name in ("node", "status", "reason", "version", "candidate")),
        ("rows", pa.int64()),
        ("ds", pa.date32()),
    ]
)


#: What is told of a node: its version in the ledger, or why there is none.
Told = VersionRecord | NotTrained | Failed


class AsOf(dg.Config):
    """When a run stands."""

    as_of: str = Field(
        "",
        description="Day at whose close the run stands, such as 2026-03-11; if empty, the newest whose labels are in.",
    )


class Chosen(AsOf):
    """Of the segments of a run, those that are due: they need not lie side by side."""

    nodes: list[str] = Field([], description="Nodes to work on, of those that the run spans; all of them if empty.")

    def of(self, context: dg.AssetExecutionContext) -> list[str]:
        """The run's nodes, in its order."""
        wanted = set(self.nodes)
        return [node for node in context.partition_keys if not wanted or node in wanted]


def as_of(context: dg.AssetExecutionContext, lake: Lake, declared: DeclaredLine, config: AsOf) -> dt.date:
    """The day at whose close a training run stands."""
    stated, line = config.as_of or context.run.tags.get(AS_OF), declared.line
    if stated:
        return dt.date.fromisoformat(stated)
    examples, labels = (lake.days(f"{line.name}/{table}") for table in ("examples", "labels"))
    if not examples:
        raise dg.Failure(f"{line.name}: there are no examples yet; materialise {line.name}/examples first")
    return min([examples[-1], *(day + line.horizon_days * DAY for day in labels[-1:])])


def metric_of(declared: DeclaredLine) -> str:
    """The metric by which the line's models are compared."""
    return declared.line.gate.metric or DEFAULT[kind_of(declared.line.task)]


def model_version(declared: DeclaredLine) -> str:
    """Changes with everything in the declaration that a model is made by; it is the id of the configuration."""
    line = declared.line
    fields = line.model_dump(mode="json", include={"task", "observe", "label", "candidates", "seed"})
    fields["train"] = line.train.model_dump(mode="json", exclude={"workers", "pool", "missing"})
    fields["segments"] = line.segments.model_dump(mode="json", include={"levels", "min_rows", "min_positives"})
    return hash_of(fields, declared.features)


def contract_hash(declared: DeclaredLine) -> str:
    """Changes with the contract, or the derived columns, of any stream that the line stands on."""
    return hash_of([stream_version(declared.streams[name]) for name in declared.stands_on])


def model_asset(declared: DeclaredLine) -> dg.AssetsDefinition:
    line = declared.line
    key = dg.AssetKey([line.name, "model"])

    @dg.asset(
        key=key,
        deps=[
            # Only the newest day reaches the models: filling in an old day is no reason to train.
            dg.AssetDep(dg.AssetKey([line.name, name]), partition_mapping=dg.LastPartitionMapping())
            for name in ("examples", "labels")
        ],
        partitions_def=segment_partitions(line.name),
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name=GROUP,
        owners=[line.owner],
        kinds={candidate.estimator.replace("_", "") for candidate in line.candidates.values()} - {"constant"}
        or {"python"},
        code_version=code_version("model", model_version(declared)),
        description=f"{line.description}\n\nA challenger for each node of {' → '.join(['global', *line.segments.levels])} with at "
        f"least {line.segments.min_rows} training rows; below that an ancestor answers. Candidates: {', '.join(line.candidates)}.",
    )
    def model(
        context: dg.AssetExecutionContext,
        config: Chosen,
        lake: Lake,
        engine: Engine,
        archive: Archive,
        ledger: Ledger,
        trials: Trials,
    ) -> Iterator[dg.MaterializeResult]:
        day, started = as_of(context, lake, declared, config), dt.datetime.now(dt.UTC)
        try:
            span = require_coverage(declared, day)
        except TrainingRefused as refused:
            raise dg.Failure(str(refused), allow_retries=False) from None
        with engine.connect() as con:
            rows, later, tables = training_rows(con, lake, line.name, span)
        nodes = config.of(context)
        _refuse_unknown_segments(context.instance, declared, rows.leaves)
        tuned = _tuned(context, declared, trials, rows, nodes, day)
        now = {"id": model_version(declared), "contract": contract_hash(declared)}
        continued = may_continue(line, span, now, nodes, tuned.of, lake, archive, ledger)
        held = {node: str(by.champion) for node, by in ledger.champions(line.name, before=day).items()}
        job = Job(declared, metric_of(declared), span, archive.root)

        def task_of(node: str) -> Task:
            answered = {up: held[up] for up in lineage(node) if up in held}
            return Task(node, tuned.of(node), answered, continued.get(node, {}))

        def made_now(node: str) -> Made:
            return job.made(task_of(node), rows.rows(node), later.rows(node))

        before = made_before(ledger, archive, line.name, span.as_of, made_now, nodes)
        due = preorder([node for node in nodes if node not in before])
        context.log.info(
            f"{line.name}: {rows.num_rows} rows of {span.train_from} to {span.train_to}, {len(due)} nodes to train, "
            f"{len(before)} trained before from the same"
        )
        recorder, kept, failed = Recorder(context, len(nodes)), dict[str, dict[str, Any]](), list[Failed]()

        def tell(node: str, outcome: Told, **more: Any) -> None:
            metadata = _metadata(outcome, span, context.run.run_id) | more | _searches(tuned, node)
            recorder.add(node, metadata, _tags(outcome, day))
            kept[node] = _row(node, outcome, day)

        def told_of(done: Done) -> tuple[Outcome, Told]:
            outcome, released, made = done
            if not isinstance(outcome, Fitted):
                return outcome, outcome
            assert released and made
            run_id = context.run.run_id
            return outcome, _record(declared, span, outcome, released, made, tables, archive, run_id, started, tuned)

        for node, record in before.items():
            tell(node, record)
        recorder.write()
        pace = Pace(len(due))
        # A transaction each for many: that costs more than what is written in it.
        for group in together(map(told_of, train_nodes(job, rows, later, map(task_of, due)))):
            ledger.register(*(told for _, told in group if isinstance(told, VersionRecord)))
            for outcome, told in group:
                candidates = {"candidates": _candidates(outcome, job.metric)} if isinstance(outcome, Fitted) else {}
                failed += [outcome] if isinstance(outcome, Failed) else []
                tell(outcome.node, told, **candidates)
                if word := pace.one_more():
                    context.log.info(f"{line.name}: {word}")
            recorder.write()
        _keep(lake, line.name, day, kept)
        yield from recorder.results()
        _refuse_failures(line, failed, len(nodes))

    return model


def _refuse_unknown_segments(instance: dg.DagsterInstance, declared: DeclaredLine, keys: Sequence[str]) -> None:
    """A level that turned out to hold ids spoils the nodes above it too; what the check `segments_fit` says, said again."""
    known = set(instance.get_dynamic_partitions(str(segment_partitions(declared.line.name).name)))
    if refused := [node for node in tree(keys) if node not in known]:
        raise dg.Failure(without_room(declared, refused), allow_retries=False)


def _tuned(
    context: dg.AssetExecutionContext,
    declared: DeclaredLine,
    trials: Trials,
    train: Subtrees,
    nodes: Sequence[str],
    day: dt.date,
) -> Tuned:
    say = context.log.info
    try:
        return Tuning(declared, trials, train, nodes, metric_of(declared), day, context.run.run_id, say).tune()
    except ValueError as refused:
        raise dg.Failure(str(refused), allow_retries=False) from None


def _keep(lake: Lake, line: str, day: dt.date, told: Mapping[str, dict[str, Any]]) -> None:
    """The outcomes, rows by node, in the lake; those of the day's other nodes stay."""
    table, rows = f"{line}/model", [row for _, row in sorted(told.items())]
    if lake.version(table) is not None:
        others = lake.read(table, day, day, OUTCOMES.names, empty_if_absent=True).to_pylist()
        rows += [row for row in others if row["node"] not in told]
    lake.replace(table, pa.Table.from_pylist(rows, schema=OUTCOMES), [day])


def _row(node: str, outcome: Told, day: dt.date) -> dict[str, Any]:
    common = {"node": node, "rows": outcome.rows, "ds": day}
    if isinstance(outcome, VersionRecord):
        return {**common, "status": "trained", "version": outcome.version, "candidate": outcome.candidate}
    return {**common, "status": "failed" if isinstance(outcome, Failed) else "too_little", "reason": outcome.reason}


def _refuse_failures(line: Line, failed: Sequence[Failed], of: int) -> None:
    """End the run after everything is recorded, where more of its nodes failed than the declaration allows."""
    if len(failed) <= line.segments.max_failed * of:
        return
    first = "; ".join(f"{outcome.node}: {outcome.reason}" for outcome in failed[:3])
    raise dg.Failure(
        f"{line.name}: {len(failed)} of {of} nodes failed, segments.max_failed allows {line.segments.max_failed:.0%}. {first}",
        allow_retries=False,
    )


def _record(
    declared: DeclaredLine,
    span: Timeline,
    fitted: Fitted,
    released: Release,
    made: Made,
    tables: dict[str, int],
    archive: Archive,
    run_id: str,
    started: dt.datetime,
    tuned: Tuned,
) -> VersionRecord:
    line = declared.line
    found = tuned.source(fitted.node, fitted.candidate)
    importances = dict(zip(fitted.encoding.features, map(float, fitted.model.importances()), strict=True))
    return VersionRecord(
        version=released.version,
        line=line.name,
        segment=fitted.node,
        task=line.task,
        estimator=fitted.estimator,
        candidate=fitted.candidate,
        configuration={
            "id": model_version(declared),
            "contract": contract_hash(declared),
            "params": dict(fitted.params),
            "features": declared.features,
            "seed": line.seed,
            "choice": fitted.choice,
            **({"start": fitted.start} if fitted.start else {}),
            **({"warm_from": fitted.warm.record()} if fitted.warm else {}),
            **({"options": fitted.options} if fitted.options else {}),
            **({"rounds": fitted.rounds} if fitted.rounds else {}),
            **({"search": found.record()} if found else {}),
            **made.configuration(),
        },
        as_of=span.as_of,
        train_from=span.train_from,
        train_to=span.train_to,
        holdout_from=span.holdout_from,
        holdout_to=span.holdout_to,
        rows=fitted.rows,
        positives=fitted.positives,
        tables=tables,
        validation=fitted.validation,
        metrics=released.metrics,
        importances=importances,
        charts=released.charts,
        owner=line.owner,
        archive_uri=archive.uri(line.name, released.version),
        run_id=run_id,
        started_at=started,
        ended_at=dt.datetime.now(dt.UTC),
    )


def _candidates(fitted: Fitted, metric: str) -> dg.MetadataValue:
    """What there was to choose from, and at which price."""
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "candidate": name + (" (taken)" if name == fitted.candidate else ""),
                    metric: round(tried.metrics[metric], 4) if metric in tried.metrics else "-",
                    "can be read": "yes" if tried.interpretable else "no",
                    "fit, seconds": round(tried.seconds, 3),
                    "predict, microseconds a row": round(tried.microseconds, 1),
                    "size, kB": round(tried.bytes / 1000, 1),
                    "not fitted": tried.reason,
                }
            )
            for name, tried in fitted.tried.items()
        ]
    )


def _tags(outcome: Told, day: dt.date) -> dict[str, str]:
    return {DATA_VERSION: outcome.version if isinstance(outcome, VersionRecord) else "none", INPUTS: str(day)}


def _metadata(outcome: Told, span: Timeline, run_id: str) -> dict[str, Any]:
    common = {"rows": outcome.rows, "as_of": str(span.as_of), "train": f"{span.train_from} .. {span.train_to}"}
    if not isinstance(outcome, VersionRecord):
        status = "failed" if isinstance(outcome, Failed) else "an ancestor answers"
        return {**common, "status": status, "reason": outcome.reason}
    start = outcome.configuration.get("start")
    importances = sorted(outcome.importances.items(), key=lambda item: -item[1])
    table = dg.MetadataValue.table(
        [dg.TableRecord({"feature": name, "importance": round(float(share), 4)}) for name, share in importances[:15]]
    )
    return {
        **common,
        "status": "trained" if outcome.run_id == run_id else f"made before from the same, by run {outcome.run_id}",
        "version": outcome.version,
        "candidate": outcome.candidate,
        "choice": outcome.configuration.get("choice", ""),
        **({"start": start} if start else {}),
        "validation": dg.MetadataValue.json(outcome.validation),
        "importances": table,
    }


def _searches(tuned: Tuned, node: str) -> dict[str, Any]:
    """Of each candidate that is searched for: where its parameters come from; of a search of this run also its trials."""
    told: dict[str, Any] = {}
    for name, found in tuned.found.get(node, {}).items():
        place = f"The search at {found.key.segment} as of {found.key.as_of}."
        told[f"search_{name}"] = f"{place} {found.why}"
        if found.now and found.key.segment == node:
            told[f"trials_{name}"] = _trials(found)
            if node == ROOT:
                told[f"course_{name}"] = dg.MetadataValue.md(_course(tuned, name, found))
    return told


def _trials(found: Found) -> dg.TableMetadataValue:
    judged = [one for one in found.outcomes if one.value is not None]
    ranked = sorted(judged, key=lambda one: one.value or 0.0, reverse=bool(METRICS[found.metric].greater_is_better))
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {"trial": one.number, found.metric: f"{one.value:.5g}", "params": json.dumps(dict(one.params))}
            )
            for one in ranked[:10]
        ]
    )


def _course(tuned: Tuned, name: str, found: Found) -> str:
    declared = tuned.line.candidates[name].search
    shares = importances(found.outcomes, declared, found.metric) if declared else {}
    title = f"{tuned.line.name}: search for {name}, as of {found.key.as_of}"
    values = [one.value for one in found.outcomes]
    return plots.markdown(plots.trials_plot(values, found.metric, shares, title), title)
