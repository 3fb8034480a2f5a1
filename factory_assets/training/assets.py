"""The asset `<line>/model`: a challenger for every node of the segment tree, all due nodes in one run."""

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pyarrow as pa

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.tasks import kind_of
from factory_assets.events.assets import stream_version
from factory_assets.features.assets import segment_partitions
from factory_assets.features.segments import ROOT, lineage
from factory_assets.materialization import DATA_VERSION, INPUTS, code_version, record_partitions
from factory_assets.measures import plots
from factory_assets.measures.metrics import DEFAULT, METRICS
from factory_assets.training.dataset import training_rows
from factory_assets.training.fitting import Fitted, NotTrained, fit_nodes, rows_within
from factory_assets.training.identity import Made, made_before, made_from
from factory_assets.training.released import Release, release
from factory_assets.training.search import importances
from factory_assets.training.timeline import Timeline, TrainingRefused, require_coverage
from factory_assets.training.tuned import Found, Tuned, Tuning
from factory_resources.archive import Archive
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger, VersionRecord
from factory_resources.trials import Trials

GROUP = "training"
#: Run tag: train as if it were the close of this day. Without it, the last day that has examples.
AS_OF = "factory/as_of"


def as_of(context: dg.AssetExecutionContext, lake: Lake, line: str) -> dt.date:
    """The day at whose close a training run stands."""
    tagged = context.run.tags.get(AS_OF)
    if tagged:
        return dt.date.fromisoformat(tagged)
    days = lake.days(f"{line}/examples")
    if not days:
        raise dg.Failure(f"{line}: there are no examples yet; materialise {line}/examples first")
    return days[-1]


def metric_of(declared: DeclaredLine) -> str:
    """The metric by which the line's models are compared."""
    return declared.line.gate.metric or DEFAULT[kind_of(declared.line.task)]


def model_version(declared: DeclaredLine) -> str:
    """Changes with everything in the declaration that a model is made by; it is the id of the configuration."""
    line = declared.line
    fields = line.model_dump(
        mode="json", include={"task", "observe", "label", "segments", "train", "candidates", "seed"}
    )
    return code_version(fields, declared.features)


def contract_hash(declared: DeclaredLine) -> str:
    """Changes with the contract, or the derived columns, of any stream that the line stands on."""
    return code_version([stream_version(declared.streams[name]) for name in declared.stands_on])


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
        code_version=model_version(declared),
        description=f"{line.description}\n\nA challenger for each node of {' → '.join(['global', *line.segments.levels])} with at "
        f"least {line.segments.min_rows} training rows; below that an ancestor answers. Candidates: {', '.join(line.candidates)}.",
    )
    def model(
        context: dg.AssetExecutionContext, lake: Lake, engine: Engine, archive: Archive, ledger: Ledger, trials: Trials
    ) -> Iterator[dg.MaterializeResult]:
        day, started = as_of(context, lake, line.name), dt.datetime.now(dt.UTC)
        try:
            span = require_coverage(declared, day)
        except TrainingRefused as refused:
            raise dg.Failure(str(refused), allow_retries=False) from None
        with engine.connect() as con:
            train, recent, tables = training_rows(con, lake, line.name, span)
        context.log.info(
            f"{line.name}: {train.num_rows} rows of {span.train_from} to {span.train_to}, {len(context.partition_keys)} nodes"
        )
        tuned = _tuned(context, declared, trials, train, day)
        made = made_from(declared, span, train, recent, context.partition_keys, tuned.of)
        before = made_before(ledger, archive, line.name, span.as_of, made)
        if before:
            context.log.info(f"{line.name}: {len(before)} nodes were trained before from the same, and are not again")
        held = {node: str(by.champion) for node, by in ledger.champions(line.name, before=day).items()}
        metadata = {node: _metadata_before(known, span) for node, known in before.items()}
        tags = {node: {DATA_VERSION: known.version, INPUTS: str(day)} for node, known in before.items()}
        due = [node for node in context.partition_keys if node not in before]
        for outcome in fit_nodes(tuned.of, train, declared.features, due, metric_of(declared)):
            version = None
            if isinstance(outcome, Fitted):
                node = outcome.node
                answered = {above: held[above] for above in lineage(node) if above in held}
                released = release(
                    archive, declared, span, outcome, rows_within(train, node), rows_within(recent, node), answered
                )
                version = released.version
                ledger.register(
                    _record(
                        declared,
                        span,
                        outcome,
                        released,
                        made[node],
                        tables,
                        archive,
                        context.run.run_id,
                        started,
                        tuned,
                    )
                )
            told = _searches(tuned, outcome.node)
            metadata[outcome.node] = _metadata(outcome, version, span, metric_of(declared)) | told
            tags[outcome.node] = {DATA_VERSION: version or "none", INPUTS: str(day)}
        yield from record_partitions(context, metadata, tags)

    return model


def _tuned(
    context: dg.AssetExecutionContext, declared: DeclaredLine, trials: Trials, train: pa.Table, day: dt.date
) -> Tuned:
    say, nodes = context.log.info, context.partition_keys
    try:
        return Tuning(declared, trials, train, nodes, metric_of(declared), day, context.run.run_id, say).tune()
    except ValueError as refused:
        raise dg.Failure(str(refused), allow_retries=False) from None


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


def _metadata_before(known: VersionRecord, span: Timeline) -> dict[str, Any]:
    return {
        "rows": known.rows,
        "as_of": str(span.as_of),
        "train": f"{span.train_from} .. {span.train_to}",
        "status": f"made before from the same, by run {known.run_id}",
        "version": known.version,
        "candidate": known.candidate,
    }


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


def _metadata(outcome: Fitted | NotTrained, version: str | None, span: Timeline, metric: str) -> dict[str, Any]:
    common = {"rows": outcome.rows, "as_of": str(span.as_of), "train": f"{span.train_from} .. {span.train_to}"}
    if isinstance(outcome, NotTrained):
        return {**common, "status": "an ancestor answers", "reason": outcome.reason}
    importances = sorted(
        zip(outcome.encoding.features, outcome.model.importances(), strict=True), key=lambda item: -item[1]
    )
    table = dg.MetadataValue.table(
        [dg.TableRecord({"feature": name, "importance": round(float(share), 4)}) for name, share in importances[:15]]
    )
    return {
        **common,
        "status": "trained",
        "version": version,
        "candidate": outcome.candidate,
        "choice": outcome.choice,
        "candidates": _candidates(outcome, metric),
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
