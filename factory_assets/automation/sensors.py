"""The sensor of a line: starts a retraining with its reason, or says why it does not."""

import hashlib

import dagster as dg

from factory_assets.automation.due import due, last_training
from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.features.segments import ROOT
from factory_assets.training.assets import AS_OF, contract_hash
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger

REASON = "factory/reason"
TRIGGER = "factory/trigger"
LINE = "factory/line"
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
#: Seconds between looks; a training takes minutes and its data arrive daily.
INTERVAL = 300


def training_assets(line: str) -> list[dg.AssetKey]:
    return [dg.AssetKey([line, name]) for name in ("model", "evaluation", "champion")]


def training_tags(declared: DeclaredLine, nodes: list[str], as_of: str, trigger: str, reason: str) -> dict[str, str]:
    """Tags of a run that trains all nodes of a line, and says why."""
    return {
        AS_OF: as_of,
        LINE: declared.line.name,
        TRIGGER: trigger,
        REASON: reason,
        RANGE_START: nodes[0],
        RANGE_END: nodes[-1],
    }


def retrain_sensor(declared: DeclaredLine) -> dg.SensorDefinition:
    line = declared.line

    @dg.sensor(
        name=f"{line.name}_retrain",
        target=dg.AssetSelection.assets(*training_assets(line.name)),
        minimum_interval_seconds=INTERVAL,
        description=f"Trains {line.name} when {' or '.join(line.retrain.on)} calls for it; every tick says why, or why not.",
    )
    def retrain(context: dg.SensorEvaluationContext, lake: Lake, ledger: Ledger) -> dg.SensorResult | dg.SkipReason:
        days = lake.days(f"{line.name}/examples")
        nodes = list(context.instance.get_dynamic_partitions(f"{line.name}_segments"))
        if not days or ROOT not in nodes:
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
        # The newest day is what a live line trains on; the steps between are for replays of the past.
        as_of = str(days[-1])
        key = hashlib.sha256(f"{as_of}|{contract}|{last}".encode()).hexdigest()[:12]
        tags = training_tags(declared, nodes, as_of, decision.trigger, decision.reason)
        request = dg.RunRequest(
            run_key=f"{line.name}:{as_of}:{key}", tags=tags, asset_selection=training_assets(line.name)
        )
        return dg.SensorResult(run_requests=[request])

    return retrain
