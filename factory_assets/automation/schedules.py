"""The schedule of a line: each month what age does to its models. What is due by the data, the governor starts."""

import dagster as dg

from factory_assets.declarations.catalogue import DeclaredLine

#: UTC. A month has brought versions and days enough to change the picture.
DECAY_AT = "15 5 1 * *"


def decay_schedule(declared: DeclaredLine) -> dg.ScheduleDefinition:
    name = declared.line.name
    return dg.ScheduleDefinition(
        name=f"{name}_decay",
        cron_schedule=DECAY_AT,
        target=dg.AssetSelection.assets(dg.AssetKey([name, "decay"])),
        execution_timezone="UTC",
        description=f"Every month: what past versions of {name} lose with age, and how often to train.",
    )
