"""The assets `<line>/refit`, `<line>/champion` and `<line>/leaderboard`: who answers for each node, by the gate's ruling."""

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.evaluation.fresh_process import FreshProcess
from factory_assets.identity.code import code_version
from factory_assets.identity.nodes import ROOT, answering, preorder
from factory_assets.identity.partitions import segment_partitions
from factory_assets.identity.places import introduced, station
from factory_assets.identity.versions import model_version
from factory_assets.launching import launched, launchpad, link, to_retrain, written_out
from factory_assets.materialization import (
    DATA_VERSION,
    IN_SHORT,
    INPUTS,
    NODES,
    SHOWN,
    Recorder,
    column_schema,
    record_partitions,
    table_shown,
)
from factory_assets.measures.compared import metric_of
from factory_assets.models.safety import Limits
from factory_assets.release.board import answered, drawn, who
from factory_assets.release.refits import Result, Stores, passing, refits
from factory_assets.release.resolver import MEANING, SCHEMA
from factory_assets.release.rulings import decide, why_untrained
from factory_assets.release.shipped import apart, checks_of, refused
from factory_assets.training.fit.fitting import Failed
from factory_assets.training.run_config import AsOf, Chosen, as_of
from factory_assets.training.timeline import timeline
from factory_assets.words import counted
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger, VersionRecord
from factory_resources.records.decisions import WAITS, Decision, Standing
from factory_resources.records.tags import Tagging, uuid_of


def refit_asset(declared: DeclaredLine) -> dg.AssetsDefinition:
    line = declared.line
    key = dg.AssetKey([line.name, "refit"])

    @dg.asset(
        config_schema=written_out(Chosen),
        key=key,
        deps=[dg.AssetDep(dg.AssetKey([line.name, "evaluation"]), partition_mapping=dg.IdentityPartitionMapping())],
        partitions_def=segment_partitions(line.name),
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name=line.name,
        tags=station("release"),
        owners=[line.owner],
        kinds={"python"},
        code_version=code_version("refit", model_version(declared), line.bar.model_dump(mode="json"), line.train.refit),
        description=introduced(
            (
                "The challenger that passed, fitted again on all labelled days: it has learnt nothing of its holdout until then. "
                "It is held against the judged version, and answers under an id of its own that names that one."
                if line.train.refit
                else "Whether a challenger passed. It answers as it was judged, since `train: {refit: false}` is declared."
            ),
            line.description,
        ),
    )
    def refit(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        engine: dg.ResourceParam[Engine],
        archive: dg.ResourceParam[ArchiveFolder],
        ledger: dg.ResourceParam[Ledger],
    ) -> Iterator[dg.MaterializeResult]:
        config = launched(Chosen, context)
        day, nodes = as_of(context, lake, declared, config), preorder(config.of(context))
        recorder, inputs = Recorder(context, len(nodes)), {INPUTS: str(day)}
        passed = passing(declared, ledger, day, nodes, why_untrained(lake, line.name, day))
        why = "nothing passed" if line.train.refit else "train.refit is false: what was judged answers"
        all_nodes = f"As of {day}: {len(passed)} of {counted(len(nodes), 'node')} passed, to be fitted again"
        for node in nodes:
            if node not in passed:
                shown = {IN_SHORT: f"{all_nodes}. {node}: {why}", "as_of": str(day), "status": why}
                recorder.add(node, shown, {DATA_VERSION: "none", **inputs})
        with engine.connect() as con, FreshProcess(archive, line.name, Limits.of(line.gate)) as apart:
            stores = Stores(con, lake, ledger, archive, apart.unsafe)
            for node, result in refits(declared, timeline(declared, day), passed, stores, context.run.run_id):
                if isinstance(result, VersionRecord):
                    ledger.register(result)
                elif isinstance(result, Failed):
                    context.log.error(f"{node} was not fitted again:\n{result.traceback}")
                refitted = _refit(declared, result)
                shown = {IN_SHORT: f"{all_nodes}. {node}: {refitted['status']}", "as_of": str(day)} | refitted
                shown["judged"] = passed[node].version
                recorder.add(node, shown, {DATA_VERSION: shown.get("version", "none"), **inputs})
                recorder.write()
        yield from recorder.results()

    return refit


def _refit(declared: DeclaredLine, result: Result) -> dict[str, Any]:
    """Metadata of a refit, or of why there is none, for the node's page."""
    if not isinstance(result, VersionRecord):
        return {"status": f"not fitted again: {result.reason}", "rows": result.rows}
    disagreement, unsafe = checks_of(result)
    bound = declared.line.gate.refit_apart
    why = refused(disagreement, unsafe, bound)
    return {
        "status": f"the judged version answers: {why}" if why else "answers in place of the judged version",
        "version": result.version,
        "train": f"{result.train_from} .. {result.train_to}",
        "rows": result.rows,
        "disagreement": f"{apart(disagreement)}; {bound:g} times at most",
    }


def champion_asset(declared: DeclaredLine) -> dg.AssetsDefinition:
    line = declared.line
    key = dg.AssetKey([line.name, "champion"])

    @dg.asset(
        config_schema=written_out(Chosen),
        key=key,
        deps=[
            # It reads both; a launch of some of them keeps their order by it.
            dg.AssetDep(dg.AssetKey([line.name, name]), partition_mapping=dg.IdentityPartitionMapping())
            for name in ("evaluation", "refit")
        ],
        partitions_def=segment_partitions(line.name),
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name=line.name,
        tags=station("release"),
        owners=[line.owner],
        kinds={"python", "sql"},
        code_version=code_version(
            "champion",
            model_version(declared),
            line.bar.model_dump(mode="json"),
            *([] if line.train.refit else ["judged"]),
        ),
        description=introduced(
            "The version that answers for each node. Decisions are appended to the ledger with "
            "their reason and never changed.",
            f"{line.description}\n\n{_what_to_do(line.name)}",
        ),
    )
    def champion(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        ledger: dg.ResourceParam[Ledger],
    ) -> Iterator[dg.MaterializeResult]:
        config = launched(Chosen, context)
        day, nodes = as_of(context, lake, declared, config), preorder(config.of(context))
        decisions, late = decide(declared, ledger, day, nodes, why_untrained(lake, line.name, day))
        if decisions:
            after = {node: str(kept.champion) for node, kept in ledger.champions(line.name).items()}
            tagged = _tagged(ledger.tags(line.name))
            metadata = {node: _decided(made, after, tagged.get(node, {})) for node, made in decisions.items()}
            tags = {node: {DATA_VERSION: shown["champion"], INPUTS: str(day)} for node, shown in metadata.items()}
            yield from record_partitions(context, metadata, tags, _of_all(ledger.standing(line.name), day))
        if late:
            again = f"evaluate as of {day} again"
            raise dg.Failure(f"{line.name}: {'; '.join(late)}; {again}", allow_retries=False)

    return champion


def _decided(decision: Decision, after: Mapping[str, str], tagged: Mapping[str, str]) -> dict[str, Any]:
    """Metadata of a decision for the node's page. after: node -> champion by now. tagged: tag -> version of the node."""
    line, answers = decision.line, answering(decision.node, after)
    return {
        "as_of": str(decision.as_of),
        "verdict": decision.verdict,
        "reason": decision.reason,
        "answering_node": answers or "none",
        "champion": after[answers] if answers else "none",
        "uuid": uuid_of(line, answers, after[answers]) if answers else "none",
        "considered": decision.version or "none",
        "tags": ", ".join(f"{tag} on {version}" for tag, version in tagged.items()) or "none",
        **_to_decide(decision, after.get(decision.node)),
    }


def _what_to_do(line: str) -> str:
    """Links to what a person may do about the line's nodes, in Markdown, for the first screen of the asset's page."""
    asked = {"line": line, "node": ROOT, "why": "", "by": ""}
    return " · ".join(
        (
            link("Train now", "retrain", "train_nodes", {"line": line, "nodes": [], "why": "", "by": ""}),
            link("Take a champion back", "rollback", "roll_champion_back", asked),
            link("Let a challenger that waits answer", "approve", "approve_challenger", asked),
        )
    )


def _to_decide(decision: Decision, champion: str | None) -> dict[str, dg.MarkdownMetadataValue]:
    """Links to what a person may do about the node, filled in but for the reason and the name."""
    asked = {"line": decision.line, "node": decision.node, "why": "", "by": ""}
    links = {"to_retrain": to_retrain(decision.line, [decision.node])}
    if decision.evidence.get(WAITS):
        links["to_approve"] = launchpad("approve", "approve_challenger", asked | {"version": decision.version})
    if champion is not None:
        links["to_take_back"] = launchpad("rollback", "roll_champion_back", asked | {"version": champion})
    return links


def _of_all(stands: Mapping[str, Standing], day: dt.date) -> dict[str, Any]:
    """How all nodes of the line stand after the decisions as of a day, for the asset's page."""
    own = {node: str(each.champion) for node, each in stands.items() if each.champion}
    answers = {node: answering(node, own) for node in stands}
    rows = [
        {
            "node": node,
            "answers": who(node, answers[node], own.get(answers[node] or "")),
            "why": f"{'waits' if each.waits else each.verdict}: {each.reason}",
        }
        for node, each in ((node, stands[node]) for node in preorder(stands))
    ]
    made = Counter(each.verdict for each in stands.values() if each.decided_as_of == day)
    waits = sum(each.waits for each in stands.values())
    return {
        IN_SHORT: f"As of {day}: {', '.join(f'{number} {verdict}' for verdict, number in made.most_common()) or 'nothing decided'}. "
        f"{answered(answers)}; {waits} wait{'s' if waits == 1 else ''} for approval.",
        NODES: table_shown(rows[:SHOWN], ("node", "answers", "why")),
    }


def _tagged(tags: Sequence[Tagging]) -> dict[str, dict[str, str]]:
    """Node -> tag -> version."""
    by_node: dict[str, dict[str, str]] = {}
    for each in tags:
        by_node.setdefault(each.node, {})[each.tag] = str(each.version)
    return by_node


def leaderboard_asset(declared: DeclaredLine) -> dg.AssetsDefinition:
    line = declared.line
    metric = metric_of(declared)

    @dg.asset(
        config_schema=written_out(AsOf),
        key=dg.AssetKey([line.name, "leaderboard"]),
        deps=[dg.AssetDep(dg.AssetKey([line.name, "champion"]), partition_mapping=dg.AllPartitionMapping())],
        # It has no partitions; this lets a range of nodes be selected together with it, as `dagster asset materialize` does.
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name=line.name,
        tags=station("release"),
        owners=[line.owner],
        kinds={"python", "deltalake"},
        code_version=code_version("leaderboard", metric),
        description=introduced(
            "Who answers for each node, with which version, since when and why; and what a model of "
            f"its own gains over the node above, by {metric} on the node's rows of the holdout.",
            line.description,
        ),
        metadata=column_schema({field.name: str(field.type) for field in SCHEMA}, MEANING),
    )
    def leaderboard(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        engine: dg.ResourceParam[Engine],
        ledger: dg.ResourceParam[Ledger],
    ) -> dg.MaterializeResult:
        day = as_of(context, lake, declared, launched(AsOf, context))
        metadata, content, tags = drawn(declared, lake, engine, ledger, context.instance, day)
        return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(content), tags=tags)

    return leaderboard
