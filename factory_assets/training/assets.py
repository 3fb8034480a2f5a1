"""The asset `<line>/model`: a challenger for every node of the segment tree, all due nodes in one run."""

import datetime as dt
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.days import DAY
from factory_assets.declarations.line import Line
from factory_assets.identity.code import code_version
from factory_assets.identity.nodes import ROOT, preorder, tree
from factory_assets.identity.partitions import segment_partitions, without_room
from factory_assets.identity.places import introduced, station
from factory_assets.identity.versions import model_version
from factory_assets.launching import launched, written_out
from factory_assets.materialization import (
    DATA_VERSION,
    IN_SHORT,
    INPUTS,
    NODES,
    SHOWN,
    Recorder,
    day_of,
    lost_days,
    materializations,
    record_partitions,
    shown_last,
    table_shown,
)
from factory_assets.measures import plots
from factory_assets.measures.compared import metric_of
from factory_assets.measures.metrics import METRICS
from factory_assets.training.dataset import past_stretches, training_rows
from factory_assets.training.fit.fitting import Failed, Fitted
from factory_assets.training.fit.pool import Done, Pace, together
from factory_assets.training.restoring import restore
from factory_assets.training.run_config import Restored, as_of
from factory_assets.training.search.study import importances
from factory_assets.training.search.tuned import FinishedSearch, Tuned, Tuning
from factory_assets.training.session import Result, Session, Stores, session_of
from factory_assets.training.subtrees import Subtrees
from factory_assets.training.timeline import Timeline, TrainingRefused, require_coverage
from factory_assets.training.undecided import Undecided, looked_at_again
from factory_assets.words import brief, counted
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.dagster_private.refusals import refusal
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger, VersionRecord
from factory_resources.records.trials import Trials

#: Columns of the table of outcomes, a row a node and day as of which it was to be trained. status: trained, too_little or failed.
OUTCOMES = pa.schema(
    [
        *((name, pa.string()) for name in ("node", "status", "reason", "version", "candidate")),
        ("rows", pa.int64()),
        ("ds", pa.date32()),
    ]
)


#: A node that has too little for a model, on its page. Whether an ancestor answers is not for a training to say: none may have one.
WITHOUT = "no model of its own"
#: What a node's page says of an outcome that is no version, or said in an earlier release -> its status in the table.
OUTCOME_OF = {"failed": "failed", WITHOUT: "too_little", "an ancestor answers": "too_little"}


def model_asset(declared: DeclaredLine) -> dg.AssetsDefinition:
    line = declared.line
    key = dg.AssetKey([line.name, "model"])

    @dg.asset(
        config_schema=written_out(Restored),
        key=key,
        deps=[
            # Only the newest day reaches the models: filling in an old day is no reason to train.
            dg.AssetDep(dg.AssetKey([line.name, name]), partition_mapping=dg.LastPartitionMapping())
            for name in ("examples", "labels")
        ],
        partitions_def=segment_partitions(line.name),
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name=line.name,
        tags=station("training"),
        owners=[line.owner],
        kinds={candidate.estimator.replace("_", "") for candidate in line.candidates.values()} - {"constant"}
        or {"python"},
        code_version=code_version("model", model_version(declared)),
        description=introduced(
            f"A challenger for each node of {' → '.join(['global', *line.segments.levels])} with at "
            f"least {line.segments.min_rows} training rows; below that an ancestor answers. Candidates: {', '.join(line.candidates)}.",
            line.description,
        ),
    )
    def model(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        engine: dg.ResourceParam[Engine],
        archive: dg.ResourceParam[ArchiveFolder],
        ledger: dg.ResourceParam[Ledger],
        trials: dg.ResourceParam[Trials],
    ) -> Iterator[dg.MaterializeResult]:
        config = launched(Restored, context)
        day, nodes = as_of(context, lake, declared, config), config.of(context)
        if config.restore:
            records = [record for record in ledger.versions(line.name, as_of=day, refits=True) if record.node in nodes]
            _write_down(context.instance, lake, line.name, key)
            yield from _restored(context, records, restore(records, lake, engine, ledger, archive))
            return
        left = {} if config.anew else looked_at_again(ledger, archive, declared, day, nodes)
        span = _covered(declared, day)
        _refuse_holes(context.instance, lake, line.name, span)
        with engine.connect() as con:
            rows, tables = training_rows(con, lake, line.name, span, past_stretches(declared, span))
        _refuse_unknown_segments(context.instance, declared, rows.train.leaves)
        learning = [node for node in nodes if node not in left]
        tuned = _tuned(context, declared, trials, rows.train, learning, day)
        stores = Stores(lake, archive, ledger)
        session = session_of(declared, span, (rows, tables), tuned, learning, stores, context.run.run_id)
        report = _Report(context, session, nodes)
        before = session.made_before(ledger, learning)
        due = preorder([node for node in learning if node not in before])
        report.begin(before, due, left)
        # Several nodes in one transaction: opening it costs more than writing one node.
        for group in together(session.train(due)):
            ledger.register(*(result for _, result in group if isinstance(result, VersionRecord)))
            report.trained(group)
        _keep(lake, line.name, day, report.rows)
        yield from report.results(_newest(lake, line.name))
        _refuse_failures(line, report.failed, len(nodes))

    return model


def _restored(
    context: dg.AssetExecutionContext, records: Sequence[VersionRecord], failed: Mapping[str, str]
) -> Iterator[dg.MaterializeResult]:
    """Report versions that were put back. failed: version -> why it was not."""
    whole = [record for record in records if record.version not in failed]
    # The version that was trained stands for its node; a refit of it, where there is one, was put back too.
    back = {record.node: record for record in sorted(whole, key=lambda record: record.judged is None)}
    metadata = {
        node: {"status": "in the archive, whole", "version": record.version, "as_of": str(record.as_of)}
        for node, record in back.items()
    }
    tags = {node: {DATA_VERSION: record.version, INPUTS: str(record.as_of)} for node, record in back.items()}
    yield from record_partitions(context, metadata, tags)
    if failed:
        reasons = "; ".join(f"{version} cannot be made again: {why}" for version, why in failed.items())
        raise dg.Failure(f"{records[0].line}: {reasons}", allow_retries=False)


class _Report:
    """The run's report of each node: its materialisation, its row of outcomes, and lines of the log."""

    def __init__(self, context: dg.AssetExecutionContext, session: Session, nodes: Sequence[str]):
        self._context, self._session, self._recorder = context, session, Recorder(context, len(nodes))
        self._pace = Pace(0)
        #: The node with whose event the asset's page opens. It is kept back until all are there.
        self._last = shown_last(nodes)[-1] if nodes else None
        self._kept: tuple[dict[str, Any], dict[str, str]] | None = None
        self.rows: dict[str, dict[str, Any]] = {}
        self.failed: list[Failed] = []

    def begin(self, before: Mapping[str, VersionRecord], due: Sequence[str], left: Mapping[str, Undecided]) -> None:
        """before: node -> its version, of those that are not trained again. left: node -> its undecided challenger."""
        span, rows = self._session.span, self._session.rows.train.num_rows
        self._log(
            f"{counted(rows, 'row')} of {span.train_from} to {span.train_to}, {counted(len(due), 'node')} to train, "
            f"{len(before)} trained before from the same, {len(left)} undecided"
        )
        for node, record in before.items():
            self._add(node, record)
        for node, each in left.items():
            again = f"undecided as of {each.looked}, looked at again"
            self._add(node, each.version, status=again, train=f"{each.version.train_from} .. {each.version.train_to}")
        self._recorder.write()
        self._pace = Pace(len(due))

    def trained(self, group: Sequence[tuple[Done, Result]]) -> None:
        """Report nodes that ended within a short time of each other."""
        for done, result in group:
            outcome = done.outcome
            if isinstance(outcome, Failed):
                self.failed.append(outcome)
                self._context.log.error(f"{outcome.node} was not trained:\n{outcome.traceback}")
            for name, tried in outcome.tried.items() if isinstance(outcome, Fitted) else ():
                if tried.traceback:
                    self._context.log.error(f"{outcome.node}: {name} was not fitted:\n{tried.traceback}")
            metric = self._session.job.metric
            candidates = {"candidates": _candidates(outcome, metric)} if isinstance(outcome, Fitted) else {}
            self._add(outcome.node, result, **candidates)
            if progress := self._pace.one_more():
                self._log(progress)
        self._recorder.write()

    def results(self, newest: Mapping[str, Mapping[str, Any]]) -> Iterator[dg.MaterializeResult]:
        """The results that the asset yields. newest: node -> its newest outcome, of those that this run did not train as well."""
        if self._last and self._kept:
            shown, tags = self._kept
            self._recorder.add(self._last, _of_all(self.rows, newest, self._session.span.as_of) | shown, tags)
        yield from self._recorder.results()

    def _add(self, node: str, result: Result, **more: Any) -> None:
        span = self._session.span
        metadata = _metadata(result, span, self._context.run.run_id) | more | _searches(self._session.tuned, node)
        if node == self._last:
            self._kept = metadata, _tags(result, span.as_of)
        else:
            self._recorder.add(node, metadata, _tags(result, span.as_of))
        self.rows[node] = _row(node, result, span.as_of)

    def _log(self, message: str) -> None:
        self._context.log.info(f"{self._session.declared.line.name}: {message}")


def _of_all(
    outcomes: Mapping[str, Mapping[str, Any]], newest: Mapping[str, Mapping[str, Any]], day: dt.date
) -> dict[str, Any]:
    """All nodes beside each other, for the asset's page. outcomes: of the run's nodes, as `_row` tells them. newest: of every node."""
    every = {**newest, **outcomes}
    rows = [
        {
            "node": node,
            "challenger": _challenger(every[node]),
            "rows": every[node]["rows"],
            "as of": str(every[node]["ds"]),
        }
        for node in preorder(every)
    ]
    numbers = Counter(each["status"].replace("_", " ") for each in outcomes.values())
    found = ", ".join(f"{number} {outcome}" for outcome, number in numbers.most_common())
    of = f" of {len(every)}" if len(every) > len(outcomes) else ""
    return {
        IN_SHORT: f"As of {day}: {counted(len(outcomes), 'node')}{of}, {found}. What was trained is a challenger; who answers: "
        "see champion.",
        NODES: table_shown(rows[:SHOWN], ("node", "challenger", "rows", "as of")),
    }


def _challenger(outcome: Mapping[str, Any]) -> str:
    """What a node has to show for its training, in few words: a page is as wide as its widest table."""
    version, candidate = outcome.get("version"), outcome.get("candidate")
    return f"{candidate}, {brief(version)}" if version and candidate else outcome["status"].replace("_", " ")


def _covered(declared: DeclaredLine, day: dt.date) -> Timeline:
    try:
        return require_coverage(declared, day)
    except TrainingRefused as refused:
        raise refusal(str(refused)) from None


def _refuse_holes(instance: dg.DagsterInstance, lake: Lake, line: str, span: Timeline) -> None:
    """Refuse to learn from tables that do not hold the days of the training as they were recorded.

    The days between window and holdout are those of a refit.
    """
    days = [str(span.train_from + ahead * DAY) for ahead in range((span.holdout_to - span.train_from).days + 1)]
    holes = [
        f"{line}/{name} {day}: {why}"
        for name in ("examples", "labels")
        for day, why in lost_days(instance, lake, dg.AssetKey([line, name]), days).items()
    ]
    if holes:
        more = f"; and {len(holes) - 3} more" if len(holes) > 3 else ""
        raise refusal(
            f"{line}: not trained as of {span.as_of}, on rows that are lost or damaged: {'; '.join(holes[:3])}{more}. "
            "`factory run` makes these days again"
        )


def _refuse_unknown_segments(instance: dg.DagsterInstance, declared: DeclaredLine, keys: Sequence[str]) -> None:
    """Refuse a level that turned out to hold ids, as the check `segments_fit` does: it spoils the nodes above it too."""
    partitions = set(instance.get_dynamic_partitions(str(segment_partitions(declared.line.name).name)))
    if refused := [node for node in tree(keys) if node not in partitions]:
        raise refusal(without_room(declared, refused))


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
        raise refusal(str(refused)) from None


def _keep(lake: Lake, line: str, day: dt.date, outcomes: Mapping[str, dict[str, Any]]) -> None:
    """The outcomes, rows by node, in the lake; those of the day's other nodes stay."""
    rows = [row for _, row in sorted(outcomes.items())]
    lake.replace_part(f"{line}/model", pa.Table.from_pylist(rows, schema=OUTCOMES), day, "node", outcomes)


def _newest(lake: Lake, line: str) -> dict[str, dict[str, Any]]:
    """Node -> its newest outcome, by the days of the table that can be read."""
    table = f"{line}/model"
    lost, days = set(lake.lacking(table, lake.held(table))), lake.days(table)
    spans = [(days[0], days[-1])] if days and not lost else [(day, day) for day in days if day not in lost]
    parts = [lake.read(table, first, last) for first, last in spans]
    rows = pa.concat_tables([OUTCOMES.empty_table(), *parts], promote_options="default").sort_by([("ds", "descending")])
    place = dict[str, int]()
    for at, node in enumerate(rows["node"].to_pylist()):
        place.setdefault(node, at)
    return {row["node"]: row for row in rows.take([*place.values()]).to_pylist()} if place else {}


def _write_down(instance: dg.DagsterInstance, lake: Lake, line: str, key: dg.AssetKey) -> None:
    """Outcomes that the lake has lost, once more, as the events of their nodes tell them."""
    table = f"{line}/model"
    held = lake.held(table)
    is_gone, lacking = bool(held.unreadable) or held.version is None, lake.lacking(table, held)
    if not is_gone and not lacking:
        return
    by_place: dict[tuple[dt.date, str], dict[str, Any]] = {}
    for event in materializations(instance, key):  # newest first
        shown = {name: value.value for name, value in event.metadata.items()}
        day = day_of(str(shown.get("as_of")))
        if day and event.partition and (is_gone or day in lacking):
            status = OUTCOME_OF.get(str(shown.get("status")), "trained")
            kept = {name: shown.get(name) for name in ("reason", "version", "candidate", "rows")}
            by_place.setdefault((day, event.partition), kept | {"node": event.partition, "status": status, "ds": day})
    days = sorted({day for day, _ in by_place} | set(lacking))
    rows = [by_place[place] for place in sorted(by_place)]
    if days:
        lake.replace(table, pa.Table.from_pylist(rows, schema=OUTCOMES), days)


def _row(node: str, outcome: Result, day: dt.date) -> dict[str, Any]:
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
        f"{line.name}: {len(failed)} of {counted(of, 'node')} failed, segments.max_failed allows "
        f"{line.segments.max_failed:.0%}. {first}",
        allow_retries=False,
    )


def _candidates(fitted: Fitted, metric: str) -> dg.MetadataValue:
    """The candidates, and what each costs."""
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "candidate": name + (" (taken)" if name == fitted.candidate else ""),
                    metric: round(tried.metrics[metric], 4) if metric in tried.metrics else "-",
                    "can be read": "yes" if tried.interpretable else "no",
                    "costs": f"fit {tried.seconds:.3g} s, predict {tried.microseconds:.3g} us a row, {tried.bytes / 1000:.3g} kB",
                    "not fitted": tried.reason,
                }
            )
            for name, tried in fitted.tried.items()
        ]
    )


def _tags(outcome: Result, day: dt.date) -> dict[str, str]:
    return {DATA_VERSION: outcome.version if isinstance(outcome, VersionRecord) else "none", INPUTS: str(day)}


def _metadata(outcome: Result, span: Timeline, run_id: str) -> dict[str, Any]:
    common = {"rows": outcome.rows, "as_of": str(span.as_of), "train": f"{span.train_from} .. {span.train_to}"}
    if not isinstance(outcome, VersionRecord):
        status = "failed" if isinstance(outcome, Failed) else WITHOUT
        return {**common, "status": status, "reason": outcome.reason}
    start = outcome.configuration.get("start")
    importances = sorted(outcome.importances.items(), key=lambda item: -item[1])
    rows = [{"feature": name, "importance": round(float(share), 4)} for name, share in importances[:15]]
    return {
        **common,
        "status": "trained" if outcome.run_id == run_id else f"made before from the same, by run {outcome.run_id}",
        "version": outcome.version,
        "candidate": outcome.candidate,
        "choice": outcome.configuration.get("choice", ""),
        **({"start": start} if start else {}),
        "validation": dg.MetadataValue.json(outcome.validation),
        "importances": table_shown(rows, ("feature", "importance")),
    }


def _searches(tuned: Tuned, node: str) -> dict[str, Any]:
    """Where the parameters of each candidate with a search come from; for a search of this run also its trials."""
    metadata: dict[str, Any] = {}
    for name, search in tuned.searches.get(node, {}).items():
        place = f"The search at {search.key.node} as of {search.key.as_of}."
        metadata[f"search_{name}"] = f"{place} {search.why}"
        if search.now and search.key.node == node:
            metadata[f"trials_{name}"] = _trials(search)
            if node == ROOT:
                metadata[f"course_{name}"] = dg.MetadataValue.md(_course(tuned, name, search))
    return metadata


def _trials(search: FinishedSearch) -> dg.TableMetadataValue:
    judged = [one for one in search.outcomes if one.value is not None]
    ranked = sorted(judged, key=lambda one: one.value or 0.0, reverse=bool(METRICS[search.metric].greater_is_better))
    rows = [
        {"trial": one.number, search.metric: f"{one.value:.5g}", "params": json.dumps(dict(one.params))}
        for one in ranked[:10]
    ]
    return table_shown(rows, ("trial", search.metric, "params"))


def _course(tuned: Tuned, name: str, search: FinishedSearch) -> str:
    declared = tuned.line.candidates[name].search
    shares = importances(search.outcomes, declared, search.metric) if declared else {}
    title = f"{tuned.line.name}: search for {name}, as of {search.key.as_of}"
    values = [one.value for one in search.outcomes]
    return plots.markdown(plots.trials_plot(values, search.metric, shares, title), title)
