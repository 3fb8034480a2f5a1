"""The check on labels: a feed of labels that goes quiet is an alert of its own, whatever the events do."""

import dagster as dg

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.features import labels as label_rows
from factory_resources.lake import Lake


def labels_check(declared: DeclaredLine) -> dg.AssetChecksDefinition:
    """A warning while labels that are due have stayed away for longer than `label.freshness`."""
    line = declared.line
    key = dg.AssetKey([line.name, "labels"])
    allowed = line.label.freshness

    @dg.asset_check(
        asset=key,
        name="fresh",
        description=f"Labels come at most {allowed.days} days after they are due, {line.horizon_days} days after the observation.",
    )
    def fresh(lake: Lake) -> dg.AssetCheckResult:
        observed = lake.days(f"{line.observe.stream}/events")
        found = label_rows.arrival(declared, observed, lake.days("/".join(key.path)))
        told = f"the newest labels are of {found.labelled or 'no day yet'}, due are those of {found.due} and before"
        return dg.AssetCheckResult(
            passed=found.behind <= allowed,
            severity=dg.AssetCheckSeverity.WARN,
            description=told if found.behind else "all labels that are due have come",
            metadata={"days_behind": dg.MetadataValue.int(found.behind.days)},
        )

    return fresh
