"""Does a stream's source hold something else than what `raw` was read from? The sensor that notices, and has it read.

Nothing is asked but whether a day's content is new: by the rule of `factory run`, and by hashes of content, so that the
same bytes delivered once more start nothing. A tick looks at the newest days, at those that the source says were
written to, and at one stretch of the past, which the next tick continues: its work is bounded, and a change long ago
is noticed too, on the sensor's next way through the past.
"""

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence

import dagster as dg

from factory_assets.automation.catchup import days_until
from factory_assets.automation.sensors import RANGE_END, RANGE_START, REASON, TRIGGER
from factory_assets.declarations.catalogue import DeclaredStream
from factory_assets.declarations.days import DAY, ranges
from factory_assets.events import sources
from factory_assets.events.assets import source_state
from factory_assets.materialization import DATA_VERSION, input_fingerprints, input_stamps, stale_days

RUN_KEY_TAG = "dagster/run_key"
#: Seconds between looks.
INTERVAL = 300
#: Newest days, looked at in every tick; what comes late mostly comes within a week.
NEWEST = 7
#: Days of the past looked at in a tick: three years take three hours.
PAST = 30
OPEN = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def new_data_sensor(declared: DeclaredStream, raw: dg.AssetSpec) -> dg.SensorDefinition:
    """raw: spec of the stream's raw asset, whose days are compared with the source's."""
    name = declared.stream.name
    keys = [dg.AssetKey([name, asset]) for asset in ("raw", "events", "statistics")]

    @dg.sensor(
        name=f"{name}_new_data",
        target=dg.AssetSelection.assets(*keys),
        minimum_interval_seconds=INTERVAL,
        description=f"Observes the source of {name} and reads the days whose content is new; every tick says why, or why not.",
    )
    def new_data(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        instance, days = context.instance, days_until(declared, None)
        if running := _running(instance, raw.key):
            return dg.SkipReason(f"{name}: run {running} is reading it now")
        try:
            written = sources.source_of(declared.stream).written_since(dt.datetime.now(dt.UTC).date() - NEWEST * DAY)
            looked, cursor = chosen(days, written, context.cursor)
            state = source_state(declared, looked)
        except sources.SourceError as error:
            raise dg.Failure(f"{name}: {error}") from None
        stale = stale_days(instance, raw, looked, state)
        known = input_stamps(instance, raw.key, stale) if stale else {}
        awaited = [day for day in stale if state[day] == sources.ABSENT and str(day) not in known]
        changed = [day for day in stale if day not in awaited]
        expected = input_fingerprints(instance, raw, changed, state)
        requests, tried = [], []
        for stretch in ranges(changed):
            run_key = _run_key(instance, raw.key, stretch, expected)
            if before := instance.get_run_records(dg.RunsFilter(tags={RUN_KEY_TAG: run_key}), limit=1):
                tried.append(f"run {before[0].dagster_run.run_id} could not read {_span(stretch)}")
                continue
            new = sum(str(day) not in known for day in stretch)
            tags = {TRIGGER: "new_data", REASON: _reason(stretch, new)}
            tags |= {RANGE_START: str(stretch[0]), RANGE_END: str(stretch[-1])} if len(stretch) > 1 else {}
            partition = str(stretch[0]) if len(stretch) == 1 else None
            requests.append(dg.RunRequest(run_key, tags=tags, partition_key=partition, asset_selection=keys))
        why = [
            f"{name}: {len(looked)} days looked at, from {looked[0]} on" if looked else f"{name}: no day is over yet"
        ]
        why += [f"nothing has come for {_span(stretch)}" for stretch in ranges(awaited)]
        why += [f"{told}; it is tried again when its source changes, or when you do" for told in tried]
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else "; ".join([*why, "the rest is what was read"]),
            cursor=cursor,
            asset_events=_observations(instance, dg.AssetKey([name, "source"]), {day: state[day] for day in changed}),
        )

    return new_data


def chosen(days: Sequence[dt.date], written: set[dt.date], cursor: str | None) -> tuple[list[dt.date], str | None]:
    """Days to look at in this tick, oldest first, and the cursor for the next: the oldest day of the stretch of the past.

    days: all that are over. written: those that the source says were written to lately.
    """
    newest, past = days[-NEWEST:], days[:-NEWEST]
    left = [day for day in past if cursor and str(day) < cursor] or past
    stretch = left[-PAST:]
    return sorted({*newest, *stretch, *written} & {*days}), str(stretch[0]) if stretch else None


def _running(instance: dg.DagsterInstance, key: dg.AssetKey) -> str | None:
    """A run that has not ended and computes the asset, whoever asked for it."""
    for record in instance.get_run_records(dg.RunsFilter(statuses=OPEN)):
        if key in (record.dagster_run.asset_selection or ()):
            return record.dagster_run.run_id
    return None


def _run_key(
    instance: dg.DagsterInstance, key: dg.AssetKey, stretch: Sequence[dt.date], expected: Mapping[dt.date, str]
) -> str:
    """One for each attempt: a run that failed is not repeated every few minutes, content that comes back is read again."""
    newest = instance.event_log_storage.get_latest_storage_id_by_partition(
        key, dg.DagsterEventType.ASSET_MATERIALIZATION, set(map(str, stretch))
    )
    text = "|".join(f"{day}:{expected[day]}:{newest.get(str(day))}" for day in stretch)
    return f"{key.to_user_string()}:{stretch[0]}:{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _observations(
    instance: dg.DagsterInstance, key: dg.AssetKey, state: Mapping[dt.date, str]
) -> list[dg.AssetObservation]:
    """What is new, said once: days whose last observation is another."""
    seen = instance.event_log_storage.get_latest_tags_by_partition(
        key, dg.DagsterEventType.ASSET_OBSERVATION, tag_keys=[DATA_VERSION], asset_partitions=list(map(str, state))
    )
    return [
        dg.AssetObservation(key, partition=str(day), tags={DATA_VERSION: version})
        for day, version in state.items()
        if seen.get(str(day), {}).get(DATA_VERSION) != version
    ]


def _reason(stretch: Sequence[dt.date], new: int) -> str:
    kinds = {"new": new, "changed since the source, or the declaration, was read": len(stretch) - new}
    return f"{_span(stretch)}: " + ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)


def _span(days: Sequence[dt.date]) -> str:
    return str(days[0]) if len(days) == 1 else f"{days[0]} to {days[-1]}"
