"""The schedules: each day what yesterday's events feed, then labels that came of age; each month what age does to a line's models."""

import datetime as dt
from collections.abc import Sequence

import dagster as dg

from factory_assets.declarations.catalogue import DeclaredLine, DeclaredStream
from factory_assets.declarations.view import View

#: UTC. A day is taken up half an hour after its close; labels wait until its events are in.
DAY_AT = "30 0 * * *"
LABELS_AT = "30 2 * * *"
#: A month has brought versions and days enough to change the picture.
DECAY_AT = "15 5 1 * *"
REASON = "factory/reason"


def stream_schedules(
    declared: DeclaredStream, views: Sequence[View], lines: Sequence[DeclaredLine]
) -> list[dg.ScheduleDefinition]:
    stream = declared.stream
    keys = [dg.AssetKey([stream.name, name]) for name in ("raw", "events", "statistics")]
    keys += [dg.AssetKey(["features", view.name]) for view in views]
    keys += [dg.AssetKey(["serving", view.name]) for view in views if view.serve]
    keys += [dg.AssetKey([line.line.name, name]) for line in lines for name in ("examples", "predictions", "drift")]

    @dg.schedule(
        name=f"{stream.name}_daily",
        cron_schedule=DAY_AT,
        target=dg.AssetSelection.assets(*keys),
        execution_timezone="UTC",
        description=f"Yesterday's {stream.name}: events, statistics, features and their export, examples, predictions, drift.",
    )
    def daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        day = _yesterday(context)
        if not _in_stream(declared, day):
            return dg.SkipReason(_outside(declared, day))
        return dg.RunRequest(
            run_key=f"{stream.name}:{day}", partition_key=str(day), tags={REASON: f"the day {day} is over"}
        )

    schedules = [daily]
    if lines:
        schedules.append(_labels_schedule(declared, lines))
    return schedules


def _labels_schedule(declared: DeclaredStream, lines: Sequence[DeclaredLine]) -> dg.ScheduleDefinition:
    own = {
        line.line.name: [dg.AssetKey([line.line.name, name]) for name in ("labels", "performance")] for line in lines
    }

    @dg.schedule(
        name=f"{declared.stream.name}_labels",
        cron_schedule=LABELS_AT,
        target=dg.AssetSelection.assets(*[key for keys in own.values() for key in keys]),
        execution_timezone="UTC",
        description="Labels of the day whose delay has just passed, and the performance of that day's predictions.",
    )
    def labels(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        requests = []
        for line in lines:
            day = _yesterday(context) - dt.timedelta(days=line.line.horizon_days)
            if _in_stream(declared, day):
                name = line.line.name
                reason = f"labels of {day} are known after {line.line.horizon_days} days"
                requests.append(
                    dg.RunRequest(
                        run_key=f"{name}:labels:{day}",
                        partition_key=str(day),
                        asset_selection=own[name],
                        tags={REASON: reason},
                    )
                )
        return requests or dg.SkipReason(_outside(declared, _yesterday(context)))

    return labels


def _yesterday(context: dg.ScheduleEvaluationContext) -> dt.date:
    return (context.scheduled_execution_time - dt.timedelta(days=1)).date()


def _in_stream(declared: DeclaredStream, day: dt.date) -> bool:
    return declared.stream.start <= day and (declared.stream.end is None or day <= declared.stream.end)


def _outside(declared: DeclaredStream, day: dt.date) -> str:
    return f"{day} is outside the stream, which runs from {declared.stream.start} to {declared.stream.end or 'now'}"


def decay_schedule(declared: DeclaredLine) -> dg.ScheduleDefinition:
    name = declared.line.name
    return dg.ScheduleDefinition(
        name=f"{name}_decay",
        cron_schedule=DECAY_AT,
        target=dg.AssetSelection.assets(dg.AssetKey([name, "decay"])),
        execution_timezone="UTC",
        description=f"Every month: what past versions of {name} lose with age, and how often to train.",
    )
