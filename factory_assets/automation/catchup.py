"""What has to be computed for a deployment to be up to date, and in which order? Only what has changed is computed again.

A day of an asset is up to date when the fingerprint of its inputs, stamped on it when it was computed, is the one that
it would get now. Days that are not are computed in ranges, one run a range, asset by asset down the line. Lines are
trained in the order of time: a past that was never trained is replayed as it would have gone, each training with
what was known then, and each day scored by the champion of the day before.
"""

import datetime as dt
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import dagster as dg

from factory_assets.automation.due import due, last_training
from factory_assets.automation.sensors import (
    RANGE_END,
    RANGE_START,
    REASON,
    segments_without_room,
    training_assets,
    training_config,
    training_tags,
)
from factory_assets.declarations.catalogue import Catalogue, DeclaredLine, DeclaredStream
from factory_assets.declarations.days import DAY, ranges
from factory_assets.declarations.view import View
from factory_assets.events.assets import accepted_state, source_state, today
from factory_assets.events.sources import SourceError
from factory_assets.features import labels
from factory_assets.features.assets import labelled_through
from factory_assets.materialization import stale_days
from factory_assets.scoring.assets import champion_state, champions_of_days
from factory_assets.serving.assets import export_due, serving_key
from factory_assets.training.assets import contract_hash
from factory_resources.decisions import BY_PEOPLE
from factory_resources.engine import Engine
from factory_resources.issues import Issues
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger

#: Run tag: which process of which machine executes the run, so that a killed one can be told from a slow one.
PROCESS = "factory/process"


@dataclass(frozen=True)
class Step:
    """One run: an asset (or the training of a line) and how far it got. `days` is 0 where nothing was to be done."""

    station: str
    asset: str
    days: int
    detail: str = ""


@dataclass
class Deployment:
    """Definitions with everything needed to run and to judge them."""

    catalogue: Catalogue
    definitions: dg.Definitions
    instance: dg.DagsterInstance
    lake: Lake
    ledger: Ledger
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.job = self.definitions.resolve_implicit_global_asset_job_def()
        self.issues = Issues(url=self.ledger.url)
        self.specs = {spec.key: spec for spec in self.definitions.resolve_all_asset_specs()}


def days_until(stream: DeclaredStream, until: dt.date | None) -> list[dt.date]:
    """Days of a stream that are over, up to `until`."""
    last = min(day for day in (stream.stream.end, until, today() - DAY) if day is not None)
    return [stream.stream.start + offset * DAY for offset in range((last - stream.stream.start).days + 1)]


def catch_up(deployment: Deployment, until: dt.date | None, begin: Callable[[str, str], None]) -> Iterator[Step]:
    """Bring everything up to date, yielding each step when it is done. `begin` is told what starts."""
    close_killed_runs(deployment.instance)
    known = deployment.catalogue
    for stream in known.streams.values():
        yield from catch_up_stream(deployment, stream, days_until(stream, until), begin)
    for view in known.views.values():
        days = days_until(known.streams[view.stream], until)
        yield from _daily(deployment, "features", ["features", view.name], days, begin)
        if view.serve:
            yield _serve(deployment, view, begin)
    for line in known.lines.values():
        yield from _line(deployment, known.resolve(line), until, begin)


def catch_up_stream(
    deployment: Deployment, stream: DeclaredStream, days: list[dt.date], begin: Callable[[str, str], None]
) -> Iterator[Step]:
    """Bring these days of a stream up to date: raw, events and statistics."""
    name = stream.stream.name
    accepted = partial(accepted_state, deployment.issues, name)
    yield from _daily(deployment, "events", [name, "raw"], days, begin, partial(source_state, stream))
    yield from _daily(deployment, "events", [name, "events"], days, begin, accepted)
    yield from _daily(deployment, "events", [name, "statistics"], days, begin)


def _line(
    deployment: Deployment, declared: DeclaredLine, until: dt.date | None, begin: Callable[[str, str], None]
) -> Iterator[Step]:
    line, lake, ledger = declared.line, deployment.lake, deployment.ledger
    days = days_until(declared.observed, until)

    def label_state(chosen: list[dt.date]) -> dict[dt.date, str]:
        return labels.state(declared, chosen, labelled_through(declared, lake))

    yield from _daily(deployment, "features", [line.name, "examples"], days, begin)
    yield from _daily(deployment, "features", [line.name, "labels"], days, begin, label_state)
    yield from train_due(deployment, declared, days[-1], begin)
    decided = ledger.trained_as_of(line.name)
    scored = [day for day in days if decided and day > decided[0]]
    if scored:
        yield from _daily(
            deployment, "scoring", [line.name, "predictions"], scored, begin,
            lambda chosen: champion_state(champions_of_days(ledger, line.name, chosen)),
        )  # fmt: skip
        yield from _daily(deployment, "monitoring", [line.name, "performance"], scored, begin)
        yield from _daily(deployment, "monitoring", [line.name, "drift"], scored, begin)


def train_due(
    deployment: Deployment, declared: DeclaredLine, last_day: dt.date, begin: Callable[[str, str], None]
) -> Iterator[Step]:
    """Every training that is due, oldest first, until one fails."""
    name, ledger, instance = declared.line.name, deployment.ledger, deployment.instance
    while deployment.lake.days(f"{name}/examples"):
        last = last_training(ledger, name)
        decision = due(declared, last_day, last, contract_hash(declared))
        nodes = list(instance.get_dynamic_partitions(f"{name}_segments"))
        unfinished = undecided(ledger, name, last.as_of, nodes) if last else []
        if unfinished and last:
            nodes, as_of = unfinished, last.as_of
            trigger, reason = "unfinished", f"{len(nodes)} nodes without a decision as of {as_of}"
        elif decision.train and decision.as_of is not None:
            as_of, trigger, reason = decision.as_of, decision.trigger, decision.reason
        else:
            yield Step("training", f"{name}/model", 0, decision.reason)
            return
        refused = segments_without_room(instance, declared, deployment.lake, Engine())
        if refused:
            deployment.failures.append(refused)
            yield Step("training", f"{name}/model", 0, refused)
            return
        begin("training", f"{name} as of {as_of}, {len(nodes)} nodes")
        tags = training_tags(declared, nodes, str(as_of), trigger, reason)
        failed = len(deployment.failures)
        execute(deployment, training_assets(name), tags, training_config(name, nodes))
        yield Step("training", f"{name}/model", len(nodes), f"as of {as_of}: {reason}")
        if len(deployment.failures) > failed:
            return


def undecided(ledger: Ledger, line: str, as_of: dt.date, nodes: list[str]) -> list[str]:
    """Nodes that the last training was for and has no decision about: it was killed, or they came since."""
    made = [decision for decision in ledger.decisions(line) if decision.as_of == as_of]
    decided = {decision.segment for decision in made if decision.verdict not in BY_PEOPLE}
    return [node for node in nodes if node not in decided]


def _daily(
    deployment: Deployment,
    station: str,
    path: list[str],
    days: list[dt.date],
    begin: Callable[[str, str], None],
    extra: Callable[[list[dt.date]], dict[dt.date, str]] | None = None,
) -> Iterator[Step]:
    key = dg.AssetKey(path)
    try:
        stale = stale_days(deployment.instance, deployment.specs[key], days, extra(days) if extra else None)
    except SourceError as error:
        deployment.failures.append(f"{path[0]}: {error}")
        stale = []
    for stretch in ranges(stale):
        begin(station, f"{'/'.join(path)}, {len(stretch)} days")
        tags = {
            RANGE_START: str(stretch[0]),
            RANGE_END: str(stretch[-1]),
            REASON: "catching up: inputs are new or have changed",
        }
        if len(stretch) == 1:
            tags = {"dagster/partition": str(stretch[0]), REASON: tags[REASON]}
        execute(deployment, [key], tags)
    yield Step(station, "/".join(path), len(stale))


def _serve(deployment: Deployment, view: View, begin: Callable[[str, str], None]) -> Step:
    """Export the newest features of a view where the store was not given them yet, or was found to hold others."""
    spec = deployment.specs[serving_key(view)]
    due = export_due(deployment.instance, deployment.lake, view, spec)
    if due:
        begin("serving", spec.key.to_user_string())
        execute(deployment, [spec.key], {REASON: "catching up: the newest features are not in the store"})
    return Step("serving", spec.key.to_user_string(), int(due))


def execute(
    deployment: Deployment, keys: Sequence[dg.AssetKey], tags: dict[str, str], config: Mapping[str, Any] | None = None
) -> None:
    """Run assets and their checks in this process. A failure is noted, so that what does not depend on it goes on."""
    result = deployment.job.execute_in_process(
        instance=deployment.instance,
        asset_selection=list(keys),
        partition_key=tags.get("dagster/partition"),
        tags={**tags, PROCESS: _this_process()},
        raise_on_error=False,
        run_config={**(config or {}), "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    for event in result.all_events:
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            found = event.asset_check_evaluation_data
            if found.passed or found.severity != dg.AssetCheckSeverity.ERROR:
                continue
            asset = found.asset_key.to_user_string()
            if found.partition:
                deployment.failures.append(f"{asset} {found.partition}: {found.check_name} blocks the day")
            elif found.blocking:
                deployment.failures.append(f"{asset}: {found.check_name}: {found.description}")
    if not result.success:
        for event in result.get_step_failure_events():
            deployment.failures.append(_told(event))


def _told(event: dg.DagsterEvent) -> str:
    data = event.step_failure_data
    if data.user_failure_data and data.user_failure_data.description:
        return data.user_failure_data.description
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return f"{event.step_key}: {error.message.strip().splitlines()[0]}" if error else f"{event.step_key} failed"


def _this_process() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def close_killed_runs(instance: dg.DagsterInstance) -> None:
    """Runs of a process of this machine that is gone will never end by themselves: they are marked as failed."""
    open_statuses = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.NOT_STARTED]
    for record in instance.get_run_records(dg.RunsFilter(statuses=open_statuses)):
        run = record.dagster_run
        host, _, pid = run.tags.get(PROCESS, "").rpartition(":")
        if host == socket.gethostname() and not _alive(int(pid)):
            instance.report_run_failed(run, f"the process {pid} that executed this run is gone")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
