"""The sensor of a line: starts a retraining with its reason, or says why it does not."""

import hashlib
from collections.abc import Sequence
from typing import Any

import dagster as dg

from factory_assets.automation.due import due, last_training
from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.features.assets import add_nodes, without_room
from factory_assets.features.examples import keys_in_reach
from factory_assets.training.assets import AS_OF, contract_hash
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger

REASON = "factory/reason"
TRIGGER = "factory/trigger"
LINE = "factory/line"
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
#: Seconds between looks; a training takes minutes and its data arrive daily.
INTERVAL = 300


#: Assets that work on segments, in the order of a training.
SEGMENTED = ("model", "evaluation", "champion")


def training_assets(line: str) -> list[dg.AssetKey]:
    return [dg.AssetKey([line, name]) for name in (*SEGMENTED, "leaderboard")]


def training_tags(
    declared: DeclaredLine, nodes: Sequence[str], as_of: str, trigger: str, reason: str
) -> dict[str, str]:
    """Tags of a run that trains nodes of a line, and says why. nodes: in the order of their partitions."""
    return {
        AS_OF: as_of,
        LINE: declared.line.name,
        TRIGGER: trigger,
        REASON: reason,
        RANGE_START: nodes[0],
        RANGE_END: nodes[-1],
    }


def training_config(line: str, nodes: Sequence[str]) -> dict[str, Any]:
    """Run configuration by which one run trains just these nodes, wherever they lie between the first and the last."""
    return {"ops": {f"{line}__{name}": {"config": {"nodes": list(nodes)}} for name in SEGMENTED}}


def segments_without_room(
    instance: dg.DagsterInstance, declared: DeclaredLine, lake: Lake, engine: Engine
) -> str | None:
    """Make partitions of all segments that a training can see; in words, those for which there is no room."""
    with engine.connect() as con:
        refused = add_nodes(instance, declared, list(keys_in_reach(con, lake, declared)))
    return without_room(declared, refused) if refused else None


def retrain_sensor(declared: DeclaredLine) -> dg.SensorDefinition:
    line = declared.line

    @dg.sensor(
        name=f"{line.name}_retrain",
        target=dg.AssetSelection.assets(*training_assets(line.name)),
        minimum_interval_seconds=INTERVAL,
        description=f"Trains {line.name} when {' or '.join(line.retrain.on)} calls for it; every tick says why, or why not.",
    )
    def retrain(
        context: dg.SensorEvaluationContext, lake: Lake, engine: Engine, ledger: Ledger
    ) -> dg.SensorResult | dg.SkipReason:
        days = lake.days(f"{line.name}/examples")
        if not days:
            return dg.SkipReason(f"{line.name}: there are no examples yet")
        contract = contract_hash(declared)
        last = last_training(ledger, line.name)
        decision = due(declared, days[-1], last, contract)
        if not decision.train:
            return dg.SkipReason(f"{line.name}: {decision.reason}")
        running = context.instance.get_run_records(
            dg.RunsFilter(
                tags={LINE: line.name},
                statuses=[dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING],
            ),
            limit=1,
        )
        if running:
            return dg.SkipReason(
                f"{line.name}: run {running[0].dagster_run.run_id} is training it now; then: {decision.reason}"
            )
        if refused := segments_without_room(context.instance, declared, lake, engine):
            return dg.SkipReason(f"{refused}; then: {decision.reason}")
        nodes = list(context.instance.get_dynamic_partitions(f"{line.name}_segments"))
        # The newest day is what a live line trains on; the steps between are for replays of the past.
        as_of = str(days[-1])
        key = hashlib.sha256(f"{as_of}|{contract}|{last}".encode()).hexdigest()[:12]
        tags = training_tags(declared, nodes, as_of, decision.trigger, decision.reason)
        request = dg.RunRequest(
            run_key=f"{line.name}:{as_of}:{key}", tags=tags, asset_selection=training_assets(line.name)
        )
        return dg.SensorResult(run_requests=[request])

    return retrain
