"""The checks of features: examples hold nothing of the future, their segments are no ids, and labels that are due come."""

from collections.abc import Iterator

import dagster as dg

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.features.examples import labels as label_rows
from factory_assets.features.examples import leaks
from factory_assets.features.examples.leaks import NO_LEAK
from factory_assets.features.examples.rows import keys_in_reach
from factory_assets.features.point_in_time.tables import loader
from factory_assets.identity.inputs import judgement
from factory_assets.identity.nodes import tree
from factory_assets.identity.partitions import without_room
from factory_assets.materialization import days_of, input_stamps
from factory_assets.words import counted, listed
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.markdown import literal
from factory_resources.records.verdicts import Judged, Reason, Verdicts

#: Nodes that a message names.
SHOWN = 5


def labels_check(declared: DeclaredLine) -> dg.AssetChecksDefinition:
    """A warning while labels that are due, of all rows or of a node's, have stayed away for longer than `label.freshness`."""
    line = declared.line
    key = dg.AssetKey([line.name, "labels"])
    allowed = line.label.freshness

    @dg.asset_check(
        asset=key,
        name="fresh",
        description=f"Labels come at most {allowed.days} days after they are due, {line.horizon_days} days after the observation, "
        "those of each node too.",
    )
    def fresh(lake: dg.ResourceParam[Lake], engine: dg.ResourceParam[Engine]) -> dg.AssetCheckResult:
        observed, labelled = lake.days(f"{line.observe.stream}/events"), lake.days("/".join(key.path))
        arrival = label_rows.arrival(declared, observed, labelled)
        stopped: list[label_rows.Stopped] = []
        if labelled and lake.days(f"{line.name}/examples"):
            first = arrival.due - allowed - label_rows.BEFORE
            with engine.connect() as con:
                for name in ("examples", "labels"):
                    lake.view(con, name, f"{line.name}/{name}", first, arrival.due, empty_if_absent=True)
                stopped = label_rows.stopped(label_rows.by_leaf(con, "examples", "labels"), arrival.due, allowed)
        message = "all labels that are due have come"
        if arrival.behind or stopped:
            message = f"the newest labels are of {arrival.labelled or 'no day yet'}, due are those of {arrival.due} and before"
        if stopped and arrival.behind <= allowed:
            named = [
                f"{each.node}: {counted(each.rows, 'row')} without, {f'since {each.since}' if each.since else 'and none before'}"
                for each in stopped
            ]
            message += f"; nodes whose labels stay away: {listed(named, SHOWN, 'node')}"
        return dg.AssetCheckResult(
            passed=arrival.behind <= allowed and not stopped,
            severity=dg.AssetCheckSeverity.WARN,
            description=literal(message),
            metadata={
                "days_behind": dg.MetadataValue.int(arrival.behind.days),
                "nodes_behind": dg.MetadataValue.int(len(stopped)),
            },
        )

    return fresh


def leak_check(declared: DeclaredLine) -> dg.AssetChecksDefinition:
    """An error that stops the assets made from examples, where one of the examples holds something of the future."""
    key = dg.AssetKey([declared.line.name, "examples"])

    @dg.multi_asset_check(
        name=f"{declared.line.name}__{NO_LEAK}",
        specs=[
            dg.AssetCheckSpec(
                NO_LEAK,
                asset=key,
                blocking=True,
                description="A sample of the days' examples, computed again from events cut at each observation's moment, "
                "without what the label tells before it is known, has the same features.",
            )
        ],
    )
    def no_leak(
        context: dg.AssetCheckExecutionContext,
        lake: dg.ResourceParam[Lake],
        engine: dg.ResourceParam[Engine],
        verdicts: dg.ResourceParam[Verdicts],
    ) -> Iterator[dg.AssetCheckResult]:
        days = days_of(context)
        stamps = input_stamps(context.instance, key, days)
        with engine.connect() as con:
            sampled, found = leaks.leaks(con, declared, days, loader(lake, con))
        records = [
            dg.TableRecord(
                {
                    "feature": leak.feature,
                    "examples": leak.count,
                    "example": leak.declared or str(leak.example_id),
                    "value": "" if leak.declared else str(leak.value),
                    "of what was known": "" if leak.declared else str(leak.value_known),
                }
            )
            for leak in found
        ]
        metadata: dict[str, dg.MetadataValue] = {"examples_computed_again": dg.MetadataValue.int(sampled)}
        if records:
            metadata["leaks"] = dg.MetadataValue.table(records)
        messages = "; ".join(leak.message for leak in found[:5])
        yield dg.AssetCheckResult(
            asset_key=key,
            check_name=NO_LEAK,
            passed=not found,
            severity=dg.AssetCheckSeverity.ERROR,
            description=literal(messages or "nothing of the future"),
            metadata=metadata,
        )
        # Last: a verdict that is known was shown. One that a killed run has not come to is given by the next one.
        reasons = {leak.feature: Reason(NO_LEAK, leak.message) for leak in found}
        version = leaks.version(declared)
        judged = {day: Judged(judgement(stamps.get(str(day), ""), version), reasons) for day in days}
        verdicts.note("/".join(key.path), NO_LEAK, judged, context.run.run_id)

    return no_leak


def segments_check(declared: DeclaredLine) -> dg.AssetChecksDefinition:
    """An error where new segment keys do not fit into the tree. It stops no day's scoring; training stops by itself."""
    line = declared.line
    key = dg.AssetKey([line.name, "examples"])

    @dg.asset_check(
        asset=key,
        name="segments_fit",
        description=f"Every key of {', '.join(line.segments.levels)} that a training can see has a node, of which there may be "
        f"{line.segments.max_nodes}. While it fails the nodes above answer, and no training starts.",
    )
    def segments_fit(
        context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[Lake], engine: dg.ResourceParam[Engine]
    ) -> dg.AssetCheckResult:
        with engine.connect() as con:
            seen = keys_in_reach(con, lake, declared)
        known = set(context.instance.get_dynamic_partitions(f"{line.name}_segments"))
        refused = [node for node in tree(seen) if node not in known]
        newest = sorted((node for node in seen if node not in known), key=lambda node: seen[node], reverse=True)
        shown = [dg.TableRecord({"key": node, "first_seen": str(seen[node][0])}) for node in newest[:20]]
        return dg.AssetCheckResult(
            passed=not refused,
            severity=dg.AssetCheckSeverity.ERROR,
            description=literal(without_room(declared, refused) if refused else "every key has its node"),
            metadata={"nodes": dg.MetadataValue.int(len(known)), "without_a_node": dg.MetadataValue.int(len(refused))}
            | ({"newest_keys": dg.MetadataValue.table(shown)} if shown else {}),
        )

    return segments_fit
