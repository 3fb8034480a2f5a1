"""The asset `<line>/champion`: who answers for each node from the next day on, by the gate's ruling, in the ledger."""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.evaluation.gate import Ruling, judge
from factory_assets.features.assets import segment_partitions
from factory_assets.features.segments import answering
from factory_assets.materialization import DATA_VERSION, INPUTS, code_version, record_partitions
from factory_assets.training.assets import as_of, metric_of, model_version
from factory_resources.decisions import ChampionChanged, Decision, in_words
from factory_resources.lake import Lake
from factory_resources.ledger import EvaluationRecord, Ledger

GROUP = "release"
#: Who a decision is by when the gate made it.
GATE = "gate"


def champion_asset(declared: DeclaredLine) -> dg.AssetsDefinition:
    line = declared.line
    key = dg.AssetKey([line.name, "champion"])

    @dg.asset(
        key=key,
        deps=[dg.AssetDep(dg.AssetKey([line.name, "evaluation"]), partition_mapping=dg.IdentityPartitionMapping())],
        partitions_def=segment_partitions(line.name),
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name=GROUP,
        owners=[line.owner],
        kinds={"python", "sql"},
        code_version=code_version(model_version(declared), line.gate.model_dump(mode="json")),
        description=f"{line.description}\n\nThe version that answers for each node. Decisions are appended to the ledger with "
        "their reason and never changed.",
    )
    def champion(context: dg.AssetExecutionContext, lake: Lake, ledger: Ledger) -> Iterator[dg.MaterializeResult]:
        day = as_of(context, lake, line.name)
        before = {node: held.champion for node, held in ledger.incumbents(line.name, day).items()}
        withdrawn = ledger.withdrawn(line.name, day)
        rulings, late = {}, []
        for node in context.partition_keys:
            try:
                ruling, evaluation = _rule(declared, ledger, node, day, before, withdrawn)
                decision = _decision(declared, node, day, ruling, evaluation, before.get(node))
                ledger.decide(decision, against=before.get(node))
                rulings[node] = ruling, evaluation
            except ChampionChanged as changed:
                late.append(str(changed))
        after = {node: held.champion for node, held in ledger.champions(line.name).items()}
        metadata: dict[str, dict[str, Any]] = {}
        tags = {}
        for node, (ruling, evaluation) in rulings.items():
            answers = answering(node, after)
            metadata[node] = {
                "as_of": str(day),
                "verdict": ruling.verdict,
                "reason": ruling.reason,
                "answering_node": answers or "none",
                "champion": after[answers] if answers else "none",
                "considered": evaluation.version if evaluation else "none",
            }
            tags[node] = {DATA_VERSION: str(after[answers]) if answers else "none", INPUTS: str(day)}
        if rulings:
            yield from record_partitions(context, metadata, tags)
        if late:
            again = f"evaluate as of {day} again"
            raise dg.Failure(f"{line.name}: {'; '.join(late)}; {again}", allow_retries=False)

    return champion


def _rule(
    declared: DeclaredLine,
    ledger: Ledger,
    node: str,
    day: dt.date,
    champions: Mapping[str, str | None],
    withdrawn: Mapping[tuple[str, str], Decision],
) -> tuple[Ruling, EvaluationRecord | None]:
    """Raises ChampionChanged where the challenger was measured against somebody who does not answer any more."""
    version = ledger.latest_version(declared.line.name, node, day)
    evaluation = ledger.evaluation(declared.line.name, node, version.version) if version else None
    if evaluation is None:
        return Ruling("fallback", f"no challenger as of {day}: too little data of its own"), None
    if taken_back := withdrawn.get((node, evaluation.version)):
        return Ruling("keep", in_words(taken_back)), evaluation
    answers = answering(node, champions)
    incumbent = champions[answers] if answers else None
    if evaluation.incumbent_version != incumbent:
        raise ChampionChanged(
            f"{evaluation.version} for {node!r} was measured against {evaluation.incumbent_version or 'no champion'}, "
            f"but {incumbent or 'nobody'} answers now"
        )
    name = None if answers is None else ("the champion" if answers == node else f"the champion of {answers}")
    metric, floor = metric_of(declared), declared.line.gate.floor
    return judge(metric, floor, evaluation.challenger, evaluation.incumbent, evaluation.naive, name), evaluation


def _decision(
    declared: DeclaredLine,
    node: str,
    day: dt.date,
    ruling: Ruling,
    evaluation: EvaluationRecord | None,
    held: str | None,
) -> Decision:
    version = evaluation.version if evaluation else None
    evidence = {}
    if evaluation:
        evidence = {"rows": evaluation.rows, "challenger": evaluation.challenger, "incumbent": evaluation.incumbent}
        evidence |= {"naive": evaluation.naive, "holdout": f"{evaluation.holdout_from} .. {evaluation.holdout_to}"}
    return Decision(
        line=declared.line.name,
        segment=node,
        as_of=day,
        verdict=ruling.verdict,
        version=version,
        champion=version if ruling.verdict == "promote" else held,
        reason=ruling.reason,
        decided_by=GATE,
        evidence=evidence,
    )
