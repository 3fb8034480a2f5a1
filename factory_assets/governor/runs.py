"""How does work become runs of Dagster, and which runs are open now? Tags and configuration that say what a run makes, and why."""

import datetime as dt
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from factory_assets.declarations.days import DAY
from factory_assets.governor.work import FLEET, TRAINED, Called, Notice, Work
from factory_assets.monitoring.charts.latency import Run
from factory_assets.training.run_config import AS_OF
from factory_resources.processes import is_gone

REASON = "factory/reason"
TRIGGER = "factory/trigger"
LINE = "factory/line"
#: Run tag, or the first of several, which Dagster does not show: hashes of what the run's work would be made from when it was planned.
STATES = ".dagster/factory_states"
#: States in a tag, and characters of a reason: PostgreSQL indexes tags, and refuses one of more than 2,700 bytes.
MOST_STATES, LONGEST_REASON = 100, 600
PARTITION = "dagster/partition"
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
OPEN = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
#: Runs that are read at a time.
PAGE = 500
#: Assets that work on segments, in the order of a training.
SEGMENTED = TRAINED[:-1]
#: Of these the ones that can make again what is lost.
RESTORED = ("model", "evaluation")


@dataclass(frozen=True)
class Asked:
    """A run to be started: what a RunRequest says, or an execution in this process."""

    keys: tuple[dg.AssetKey, ...]
    tags: dict[str, str]
    partition: str | None = None
    config: dict[str, Any] = field(default_factory=dict)


def asked(work: Work, nodes: Sequence[str] = ()) -> Asked:
    """The run that makes the work. nodes: those to be trained, in the order of their partitions."""
    keys = tuple(dg.AssetKey(name.split("/")) for name in work.assets)
    tags = {REASON: short(work.reason), **_states_tags(work.states)}
    if (training := work.training) is not None:
        tags |= training_tags(training.line, nodes, str(training.as_of), training.trigger, training.reason)
        ops = training_config(training.line, nodes, training.as_of)["ops"]
        chosen = {key.to_python_identifier() for key in keys}
        if training.trigger == "lost":
            for name in RESTORED:
                ops[f"{training.line}__{name}"]["config"]["restore"] = True
        elif training.trigger in ("drift", "performance"):
            # A challenger that was trained before the world changed is no answer to the change.
            ops[f"{training.line}__{TRAINED[0]}"]["config"]["anew"] = True
        return Asked(keys, tags, None, {"ops": {name: config for name, config in ops.items() if name in chosen}})
    if work.page is not None:
        (name,) = work.assets
        return Asked(keys, tags, None, {"ops": {name.replace("/", "__"): {"config": page_config(work.page)}}})
    if work.fleet is not None:
        return Asked(keys, tags, None, {"ops": {FLEET: {"config": fleet_config(work.fleet)}}})
    if len(work.days) > 1:
        tags |= {RANGE_START: str(work.days[0]), RANGE_END: str(work.days[-1])}
    return Asked(keys, tags, str(work.days[0]) if len(work.days) == 1 else None)


def training_assets(line: str) -> list[dg.AssetKey]:
    return [dg.AssetKey([line, name]) for name in TRAINED]


def training_tags(line: str, nodes: Sequence[str], as_of: str, trigger: str, reason: str) -> dict[str, str]:
    """Tags of a run that trains nodes of a line, and says why. nodes: in the order of their partitions."""
    span = {RANGE_START: nodes[0], RANGE_END: nodes[-1]}
    return {AS_OF: as_of, LINE: line, TRIGGER: trigger, REASON: short(reason)} | span


def states_of(run: dg.DagsterRun) -> list[str]:
    """The states of the run's work, as `asked` tagged them; none for a run that somebody else asked for."""
    return [state for tag, states in run.tags.items() if tag.startswith(STATES) for state in states.split(",")]


def _states_tags(states: Sequence[str]) -> dict[str, str]:
    parts = [states[first : first + MOST_STATES] for first in range(0, len(states), MOST_STATES)]
    return {f"{STATES}_{place + 1}" if place else STATES: ",".join(part) for place, part in enumerate(parts)}


def short(reason: str) -> str:
    """A reason as a tag holds it."""
    return reason if len(reason) <= LONGEST_REASON else reason[: LONGEST_REASON - 1] + "…"


def training_config(line: str, nodes: Sequence[str], as_of: dt.date) -> dict[str, Any]:
    """Run configuration by which one run trains just these nodes, wherever they lie between the first and the last."""
    ops: dict[str, Any] = {
        f"{line}__{name}": {"config": {"nodes": list(nodes), "as_of": str(as_of)}} for name in SEGMENTED
    }
    ops[f"{line}__{TRAINED[-1]}"] = {"config": {"as_of": str(as_of)}}
    return {"ops": ops}


def page_config(called: Called) -> dict[str, Any]:
    """What a page is told, as its run's configuration."""
    notices = [
        json.dumps({"kind": each.kind, "asset": each.asset, "reason": each.reason, "days": list(map(str, each.days))})
        for each in called.notices
    ]
    return {"notices": notices, "due": [json.dumps(each) for each in called.due], "is_planned": True}


def fleet_config(called: Mapping[str, Called]) -> dict[str, Any]:
    """What the page of all lines is told, as its run's configuration. called: of each line."""
    return {"lines": [json.dumps({"line": line} | page_config(each)) for line, each in called.items()]}


def called_of_lines(lines: Sequence[str]) -> dict[str, Called]:
    """The inverse of `fleet_config`. Raises ValueError for texts that it did not write."""
    try:
        return {each["line"]: called_of(each["notices"], each["due"]) for each in map(json.loads, lines)}
    except (KeyError, TypeError) as error:
        raise ValueError(f"lines are written by the plan, as JSON: {error!r}") from None


def called_of(notices: Sequence[str], due: Sequence[str]) -> Called:
    """The inverse of `page_config`. Raises ValueError for texts that it did not write."""
    try:
        found = [json.loads(each) for each in notices]
        return Called(
            tuple(
                Notice(each["kind"], each["asset"], each["reason"], tuple(map(dt.date.fromisoformat, each["days"])))
                for each in found
            ),
            tuple((what, why) for what, why in map(json.loads, due)),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"notices and due are written by the plan, as JSON: {error!r}") from None


def open_runs(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """Runs that have not ended, and may, whoever asked for them."""
    records = instance.get_run_records(dg.RunsFilter(statuses=OPEN))
    return [record.dagster_run for record in records if not is_gone(instance, record)]


def runs_of_a_day(instance: dg.DagsterInstance, since: dt.datetime) -> Iterator[Run]:
    """Runs that make assets of one day, which began since then and have succeeded, or go on."""
    wanted = dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.STARTED], created_after=since)
    cursor, now = None, time.time()
    while page := instance.get_run_records(wanted, limit=PAGE, cursor=cursor):
        for record in page:
            run = record.dagster_run
            day, assets = _day(run.tags.get(PARTITION)), run.asset_selection
            running = record.end_time is None
            if day is None or not assets or record.start_time is None or (running and is_gone(instance, record)):
                continue
            began = dt.datetime.fromtimestamp(record.start_time, dt.UTC)
            names = tuple(sorted(key.to_user_string() for key in assets))
            yield Run(names, day, began, (record.end_time or now) - record.start_time, running)
        cursor = page[-1].dagster_run.run_id


def days_of_run(run: dg.DagsterRun) -> frozenset[dt.date] | None:
    """The days that a run makes; None where its partitions are no days, or it has none."""
    first, last = run.tags.get(RANGE_START), run.tags.get(RANGE_END)
    if PARTITION in run.tags:
        first = last = run.tags[PARTITION]
    start, end = _day(first), _day(last)
    if start is None or end is None:
        return None
    return frozenset(start + ahead * DAY for ahead in range((end - start).days + 1))


def _day(text: str | None) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text) if text else None
    except ValueError:
        return None
