"""The plan carried out in this process: `factory run`. What is ready is made, then the plan is asked again, until nothing is.

Days are computed in ranges, one run a range. Lines are trained in the order of time: a past that was never trained is replayed
as it would have gone, each training with what was known then, and each day scored by the champion of the day before.
"""

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from factory_assets.declarations.catalogue import Catalogue, DeclaredStream
from factory_assets.events.aside import aside
from factory_assets.governor.book import Book, Stores
from factory_assets.governor.plan import plan, plan_of_stream
from factory_assets.governor.runs import PARTITION, asked
from factory_assets.governor.work import Notice, Plan, Work, days_in_words
from factory_assets.identity.partitions import add_nodes
from factory_assets.materialization import table_versions
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.dagster_private.declarations import checks_of, job_of_all_assets
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger
from factory_resources.processes import PROCESS, close_gone_runs, this_process
from factory_resources.records.issues import Issues
from factory_resources.records.verdicts import Verdicts
from factory_resources.stops import is_stop, listening

#: Times that one piece of work is made in a run of the command, if what it reads changes while it is made.
MOST = 3
STATION = {
    "raw": "events", "events": "events", "statistics": "events", "examples": "features", "labels": "features",
    "model": "training", "predictions": "scoring", "parents": "scoring", "performance": "monitoring", "outcomes": "monitoring",
    "estimates": "monitoring", "drift": "monitoring", "counts": "monitoring", "monitors": "monitoring",
    "page": "pages", "": "pages",
}  # fmt: skip
Begin = Callable[[str, str], None]


class Stopped(Exception):
    """Somebody stopped the run; days and nodes that were made stay, the others are due.

    left: the work that was not made, in words, as far as it was planned: what was at hand first.
    """

    def __init__(self, left: Sequence[str] = ()):
        super().__init__("stopped")
        self.left = tuple(left)


@dataclass(frozen=True)
class Step:
    """What one run made of an asset, or why nothing was to be made. days: number of days, or of nodes of a training."""

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
    archive: ArchiveFolder
    engine: Engine = field(default_factory=Engine)
    #: Days held back and runs that failed, a sentence each.
    failures: list[str] = field(default_factory=list)
    #: Stream -> days whose events were made, or held back.
    judged: dict[str, set[dt.date]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.job = job_of_all_assets(self.definitions)
        self.issues, self.verdicts = Issues(url=self.ledger.url), Verdicts(url=self.ledger.url)
        self.specs = {spec.key: spec for spec in self.definitions.resolve_all_asset_specs()}
        self.checks = checks_of(self.definitions)

    @property
    def daily_assets(self) -> list[str]:
        """Names of the assets that are made by day, and recorded by day with what they hold."""
        by_day = (spec for spec in self.specs.values() if isinstance(spec.partitions_def, dg.DailyPartitionsDefinition))
        return sorted(spec.key.to_user_string() for spec in by_day if spec.key.path[-1] != "source")

    @property
    def other_tables(self) -> list[str]:
        """Names of the tables that are not recorded by day with what they hold: of nodes, and of what snapshots are made from."""
        names = {spec.key.to_user_string() for spec in self.specs.values()} - {*self.daily_assets}
        tables = {name for name in names if name.partition("/")[0] in self.catalogue.lines}
        return sorted(tables | {f"{what}/{view}" for what in ("tiles", "totals") for view in self.catalogue.views})

    def book(self, until: dt.date | None = None) -> Book:
        """What is known now."""
        stores = Stores(self.lake, self.engine, self.ledger, self.issues, self.verdicts, self.archive)
        lines = list(self.catalogue.lines)
        return Book(self.catalogue, self.specs, self.checks, self.instance, stores, until, lines)


def catch_up(deployment: Deployment, until: dt.date | None, begin: Begin, new_ledger: bool = False) -> Iterator[Step]:
    """Bring everything up to date, yielding each step when it is done. begin: called with what starts. Raises Stopped.

    new_ledger: whether decisions are made again where the ledger has lost them.
    """
    close_gone_runs(deployment.instance)
    book = deployment.book(until)
    book.new_ledger = new_ledger
    yield from _carry_out(deployment, book, lambda: plan(book), begin)
    yield from _rest(deployment, book)


def catch_up_stream(
    deployment: Deployment, stream: DeclaredStream, days: Sequence[dt.date], begin: Begin
) -> Iterator[Step]:
    """Bring these days of a stream up to date: raw, events and statistics. Raises Stopped."""
    book, name = deployment.book(), stream.stream.name
    yield from _carry_out(deployment, book, lambda: plan_of_stream(book, name, days), begin)


def _carry_out(deployment: Deployment, book: Book, asking: Callable[[], Plan], begin: Begin) -> Iterator[Step]:
    made: Counter[tuple[object, ...]] = Counter()
    named = set[Notice]()
    while True:
        planned = asking()
        for notice in planned.notices_of("damaged"):
            if notice not in named:
                named.add(notice)
                days = f"{days_in_words(notice.days)}: " if notice.days else ""
                yield Step(_station(notice.asset), notice.asset, 0, f"damaged: {days}{notice.reason}")
        ready = planned.next
        if not ready:
            break
        waiting = [work.what for work in planned.work if work not in ready]
        for place, work in enumerate(ready):
            what = (work.assets, work.days, work.training and (work.training.as_of, work.training.nodes))
            made[what] += 1
            if made[what] > MOST:
                why = f"was made {MOST} times, and what it reads has changed each time"
                book.given_up |= dict.fromkeys(work.states, why)
                continue
            try:
                yield from _make(deployment, book, work, begin)
            except (Stopped, KeyboardInterrupt):
                raise Stopped([each.what for each in ready[place:]] + waiting) from None
    deployment.failures += [str(notice) for notice in planned.notices_of("blocked", "failed")]


def _make(deployment: Deployment, book: Book, work: Work, begin: Begin) -> Iterator[Step]:
    begin(_station(work.assets[0]), work.what)
    before = {name: book.recorded(name) for name in work.assets} if work.days else {}
    nodes = nodes_of(deployment, work)
    failures = carry_out(deployment, work, nodes)
    book.forget(work.assets, work.days)
    if failures:
        # The part of it that was made all the same is not due any more.
        book.given_up |= dict.fromkeys(work.states, "; ".join(failures))
    if work.training:
        failed = "failed " if failures else ""
        yield Step(
            "training",
            work.assets[0],
            0 if failures else len(nodes),
            f"{failed}as of {work.training.as_of}: {work.reason}",
        )
        return
    for name in work.assets:
        if not work.days:
            yield Step(_station(name), name, 0 if failures else 1, "failed" if failures else "")
            continue
        now, then = book.recorded(name), before[name]
        noted = [day for day in work.days if day in now and (day not in then or now[day].number != then[day].number)]
        yield _step_of_days(deployment, name, work.days, {day: now[day].number for day in noted}, bool(failures))


def _step_of_days(
    deployment: Deployment, name: str, asked: Sequence[dt.date], noted: Mapping[dt.date, int], has_failed: bool
) -> Step:
    """The step of a run of days. noted: days that it recorded, with the numbers of their events."""
    stream, _, kind = name.partition("/")
    if kind != "events":
        failed = f", of {len(asked)} (failed)" if has_failed and len(noted) < len(asked) else ""
        return Step(_station(name), name, len(noted), f"{len(noted)} computed{failed}" if failed else "")
    # A day that is held back is recorded without a version of the table.
    made = table_versions(deployment.instance, dg.AssetKey([stream, kind]), list(noted.values()))
    held_back = len(noted) - len(made)
    deployment.judged.setdefault(stream, set()).update(noted)
    parts = [
        f"{len(made)} computed" + (f", of {len(asked)} (failed)" if has_failed and len(noted) < len(asked) else ""),
        f"{held_back} held back" if held_back else "",
        str(aside(deployment.lake, stream, noted.keys())),
    ]
    return Step(_station(name), name, len(made), "; ".join(filter(None, parts)))


def _rest(deployment: Deployment, book: Book) -> Iterator[Step]:
    """Assets with nothing to do yet, and lines without a training that is due, with the reasons."""
    for notice in plan(book).notices_of("idle", "waiting"):
        yield Step(_station(notice.asset), notice.asset, 0, notice.reason)


def nodes_of(deployment: Deployment, work: Work) -> list[str]:
    """Nodes of a training in the order of their partitions, which are made where they are new."""
    if work.training is None:
        return []
    declared = deployment.catalogue.resolve(deployment.catalogue.lines[work.training.line])
    add_nodes(deployment.instance, declared, work.training.nodes)
    wanted = set(work.training.nodes)
    partitions = deployment.instance.get_dynamic_partitions(f"{work.training.line}_segments")
    return [node for node in partitions if node in wanted]


def carry_out(deployment: Deployment, work: Work, nodes: Sequence[str] = ()) -> list[str]:
    """Run work in this process; what failed, in words. Raises Stopped."""
    run = asked(work, nodes)
    return execute(deployment, run.keys, run.tags | ({PARTITION: run.partition} if run.partition else {}), run.config)


def execute(
    deployment: Deployment,
    keys: Sequence[dg.AssetKey],
    tags: Mapping[str, str],
    config: Mapping[str, Any] | None = None,
) -> list[str]:
    """Run assets and their checks in this process; what failed, in words. Raises Stopped."""
    with listening() as is_told_to_stop:
        result = deployment.job.execute_in_process(
            instance=deployment.instance,
            asset_selection=list(keys),
            partition_key=tags.get(PARTITION),
            tags={**tags, PROCESS: this_process()},
            raise_on_error=False,
            run_config={**(config or {}), "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        stopped = is_told_to_stop()
    failed = result.get_step_failure_events()
    if stopped or any(_interrupted(event) for event in failed):
        raise Stopped
    return [] if result.success else [_message(event) for event in failed] or ["the run failed"]


def _interrupted(event: dg.DagsterEvent) -> bool:
    error = event.step_failure_data.error
    while error is not None:
        if is_stop(error.cls_name or "", error.message):
            return True
        error = error.cause
    return False


def _message(event: dg.DagsterEvent) -> str:
    data = event.step_failure_data
    if data.user_failure_data and data.user_failure_data.description:
        return data.user_failure_data.description
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return f"{event.step_key}: {error.message.strip().splitlines()[0]}" if error else f"{event.step_key} failed"


def _station(asset: str) -> str:
    head, _, tail = asset.partition("/")
    return head if head in ("features", "serving") else STATION.get(tail, head)
