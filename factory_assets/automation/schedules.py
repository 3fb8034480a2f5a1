"""The schedule of decay: each month what age does to the lines' models. What is due by the data, the governor starts."""

from collections.abc import Sequence

import dagster as dg

#: UTC. A month has brought versions and days enough to change the picture.
DECAY_AT = "15 5 1 * *"


def decay_schedule(lines: Sequence[str]) -> dg.ScheduleDefinition:
    """One for all lines, a run each: every schedule and its job make the definitions longer to load."""
    keys = {line: dg.AssetKey([line, "decay"]) for line in lines}

    @dg.schedule(
        name="decay_monthly",
        cron_schedule=DECAY_AT,
        target=dg.AssetSelection.assets(*keys.values()),
        execution_timezone="UTC",
        description="Every month: what past versions of each line lose with age, and how often to train.",
    )
    def monthly(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
        day = context.scheduled_execution_time.date()
        return [dg.RunRequest(f"{line}:{day}", asset_selection=[key]) for line, key in keys.items()]

    return monthly
