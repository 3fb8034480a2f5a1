"""The plan carried out by Dagster's daemon: one sensor for the deployment, and one a line that starts its trainings.

Each tick asks the plan and requests a run for what is ready. It keeps nothing that it could not do without: its cursor says
which part of the past was looked at last. What was tried and failed is known by the runs themselves, and is tried again when
what it reads has changed; a run whose process died is tried again at once, a few times.
"""

import datetime as dt
import json
from collections import Counter
from collections.abc import Mapping, Sequence

import dagster as dg

from factory_assets.declarations.catalogue import Catalogue, DeclaredLine
from factory_assets.declarations.days import DAY
from factory_assets.declarations.declared import DeclaredStream
from factory_assets.events import sources
from factory_assets.governor.book import Book, Stores
from factory_assets.governor.plan import plan, plan_of_line
from factory_assets.governor.runs import TRIGGER, asked, states_of, training_assets
from factory_assets.governor.work import Plan, Work
from factory_assets.identity.inputs import Asset, Recorded, digest, of_declaration, stamps
from factory_assets.identity.partitions import add_nodes, segment_partitions
from factory_assets.materialization import DATA_VERSION
from factory_resources import clock
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.dagster_private.reading import newest_tags, sensors_on
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger
from factory_resources.processes import close_gone_runs
from factory_resources.records.issues import Issues
from factory_resources.records.verdicts import Verdicts

#: Name of the deployment's sensor.
UPKEEP = "upkeep"
#: Seconds between looks: a run that ends is followed by the next within a minute.
INTERVAL = 30
#: Newest days, looked at in every tick; what comes late mostly comes within a week.
NEWEST = 7
#: Days of the past looked at in a tick beside those: three years take a quarter of an hour.
PAST = 30
#: Newest runs that ended badly that are looked through for failures, and how often work is tried whose process died.
RECENT, ATTEMPTS = 500, 3
#: Tag of a run whose process died that keeps Dagster from trying it again beside the next tick.
RETRIED_BY_TICKS = {"dagster/max_retries": "0"}
ENDED_BADLY = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
#: Runs with a failed step, as found before: looking again opens a file a run, where the event log is in files.
_failures = set[str]()
SWITCHED_ON = ("RUNNING", "DECLARED_IN_CODE")


def retrain_name(line: str) -> str:
    """Name of the sensor that starts a line's trainings."""
    return f"{line}_retrain"


def upkeep_sensor(catalogue: Catalogue) -> dg.SensorDefinition:
    """catalogue: the declarations that the definitions were made from."""

    @dg.sensor(
        name=UPKEEP,
        asset_selection=dg.AssetSelection.all(),
        minimum_interval_seconds=INTERVAL,
        description="Makes every day of every stream, view and line that is due: what has come, has changed, or was let through. "
        "Trainings are started by the sensors of the lines. Every tick says why, or why not.",
    )
    def upkeep(
        context: dg.SensorEvaluationContext,
        lake: dg.ResourceParam[Lake],
        engine: dg.ResourceParam[Engine],
        ledger: dg.ResourceParam[Ledger],
        issues: dg.ResourceParam[Issues],
        verdicts: dg.ResourceParam[Verdicts],
        archive: dg.ResourceParam[ArchiveFolder],
    ) -> dg.SensorResult | dg.SkipReason:
        look = Look(context.cursor)
        # An instance that knows no daemon: whoever ticks one sensor ticks the others.
        on = sensors_on(context.instance, SWITCHED_ON)
        trains = [line for line in catalogue.lines if on is None or retrain_name(line) in on]
        book = _book(context, catalogue, Stores(lake, engine, ledger, issues, verdicts, archive), trains)
        book.look = look.chosen
        planned = plan(book)
        ready = [work for work in planned.ready if not work.training]
        observed = [each for name in catalogue.streams for each in _observations(context.instance, book, name)]
        return _result(context, [_request(book, work) for work in ready], planned, look.cursor, observed)

    return upkeep


def retrain_sensor(declared: DeclaredLine, catalogue: Catalogue) -> dg.SensorDefinition:
    line = declared.line

    @dg.sensor(
        name=retrain_name(line.name),
        asset_selection=dg.AssetSelection.assets(*training_assets(line.name)),
        minimum_interval_seconds=INTERVAL,
        description=f"Trains {line.name} when {' or '.join(line.retrain.on)} calls for it; every tick says why, or why not.",
    )
    def retrain(
        context: dg.SensorEvaluationContext,
        lake: dg.ResourceParam[Lake],
        engine: dg.ResourceParam[Engine],
        ledger: dg.ResourceParam[Ledger],
        issues: dg.ResourceParam[Issues],
        verdicts: dg.ResourceParam[Verdicts],
        archive: dg.ResourceParam[ArchiveFolder],
    ) -> dg.SensorResult | dg.SkipReason:
        book = _book(context, catalogue, Stores(lake, engine, ledger, issues, verdicts, archive), [line.name])
        # Sources are asked only where a training would start: what has come since the other sensor looked comes first.
        book.look = lambda stream, days, recorded, raw: []
        planned = plan_of_line(book, line.name)
        trainings = _trainings(planned, line.name)
        if any(not work.after for work in trainings):
            book.look = Look(None).chosen
            planned = plan_of_line(book, line.name)
            trainings = _trainings(planned, line.name)
        requests = []
        for work in trainings:
            if not work.after and work.training:
                add_nodes(context.instance, declared, work.training.nodes)
                wanted = set(work.training.nodes)
                partitions = context.instance.get_dynamic_partitions(str(segment_partitions(line.name).name))
                requests.append(_request(book, work, [node for node in partitions if node in wanted]))
        shown = Plan(trainings, [each for each in planned.notices if each.asset.partition("/")[0] == line.name])
        return _result(context, requests, shown, None, [])

    return retrain


def _trainings(planned: Plan, line: str) -> list[Work]:
    return [work for work in planned.work if work.training and work.training.line == line]


class Look:
    """Which days' sources one tick asks: those never read, the newest, those written to lately, and a stretch of the past.

    cursor: what the tick before left; its successor goes on where it ended, stream by stream.
    """

    def __init__(self, cursor: str | None):
        self._before: Mapping[str, str] = json.loads(cursor) if cursor else {}
        self._after: dict[str, str] = {}

    @property
    def cursor(self) -> str:
        return json.dumps(self._after, sort_keys=True)

    def chosen(
        self, declared: DeclaredStream, days: Sequence[dt.date], recorded: Mapping[dt.date, Recorded], raw: Asset
    ) -> list[dt.date]:
        """Days to look at in this tick, oldest first. recorded: of raw."""
        written = sources.source_of(declared.stream).written_since(clock.today() - NEWEST * DAY)
        newest, past, name = days[-NEWEST:], days[:-NEWEST], declared.stream.name
        left = [day for day in past if str(day) < self._before.get(name, "")] or past
        stretch = left[-PAST:]
        if stretch:
            self._after[name] = str(stretch[0])
        # Days read under another declaration: all of them are read anew, and in one run.
        other = {day for day in days if day not in recorded or not of_declaration(raw, recorded[day].stamp)}
        return sorted({*newest, *stretch, *written, *other} & {*days})


def _book(context: dg.SensorEvaluationContext, catalogue: Catalogue, stores: Stores, trains: Sequence[str]) -> Book:
    close_gone_runs(context.instance)
    definitions = context.repository_def
    assert definitions is not None  # Dagster gives a sensor its repository
    specs = {key: assets.get_asset_spec(key) for key, assets in definitions.assets_defs_by_key.items()}
    checks = {node.key: node.check_keys for node in definitions.asset_graph.asset_nodes}
    book = Book(catalogue, specs, checks, context.instance, stores, trains=trains)
    book.given_up, book.tries = _failed(context.instance)
    return book


def _failed(instance: dg.DagsterInstance) -> tuple[dict[str, str], Counter[str]]:
    """State of work -> why it is not tried again, and how often it was tried: a run of it failed, or its process died often."""
    given_up: dict[str, str] = {}
    died: Counter[str] = Counter()
    for record in instance.get_run_records(dg.RunsFilter(statuses=ENDED_BADLY), limit=RECENT):
        run = record.dagster_run
        states = states_of(run)
        if not states:
            continue
        by_itself = _failed_by_itself(instance, run.run_id)
        for state in states:
            died[state] += 1
            if by_itself or died[state] >= ATTEMPTS or run.status == dg.DagsterRunStatus.CANCELED:
                ended = (
                    "failed"
                    if by_itself
                    else "was stopped"
                    if run.status == dg.DagsterRunStatus.CANCELED
                    else "died again"
                )
                given_up.setdefault(
                    state, f"run {run.run_id} {ended}; it is tried again when what it reads changes, or when you do"
                )
    return given_up, died


def _failed_by_itself(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether a step of the run failed, and not only its process died. A failure found is remembered; one may still be written."""
    if run_id not in _failures:
        kind = dg.DagsterEventType.STEP_FAILURE
        if not instance.get_records_for_run(run_id, of_type=kind, limit=1).records:
            return False
        _failures.add(run_id)
    return True


def _request(book: Book, work: Work, nodes: Sequence[str] = ()) -> dg.RunRequest:
    run = asked(work, nodes)
    # The same tick once more asks for the same runs.
    key = f"{digest(work.states)}:{work.follows}:{sum(book.tries[state] for state in work.states)}"
    tags = {TRIGGER: "due", **RETRIED_BY_TICKS, **run.tags}
    return dg.RunRequest(
        key, tags=tags, partition_key=run.partition, asset_selection=list(run.keys), run_config=run.config
    )


def _result(
    context: dg.SensorEvaluationContext,
    requests: Sequence[dg.RunRequest],
    planned: Plan,
    cursor: str | None,
    observed: Sequence[dg.AssetObservation],
) -> dg.SensorResult:
    for work in planned.work:
        waits = f"after {', '.join(work.after)}" if work.after else "due"
        context.log.info(f"{work.what}: {waits}; {work.reason}")
    for notice in planned.notices:
        context.log.info(f"{notice.kind}: {notice}")
    waiting = [f"{work.what} waits for {', '.join(work.after)}" for work in planned.work if work.after]
    why = [*waiting, *map(str, planned.notices)] or ["everything is up to date"]
    return dg.SensorResult(
        run_requests=list(requests),
        skip_reason=None if requests else "; ".join(why),
        cursor=cursor,
        asset_events=list(observed),
    )


def _observations(instance: dg.DagsterInstance, book: Book, stream: str) -> list[dg.AssetObservation]:
    """Observations of days whose source holds something else than `raw` was read from, each reported once."""
    key = dg.AssetKey([stream, "source"])
    fingerprints, recorded, raw = book.looked(stream), book.recorded(f"{stream}/raw"), book.asset(f"{stream}/raw")
    expected = stamps(raw, {}, list(fingerprints), fingerprints)
    new = {
        day: digest([fingerprint])
        for day, fingerprint in fingerprints.items()
        if day not in recorded or recorded[day].stamp != expected[day]
    }
    if not new:
        return []
    seen = newest_tags(instance, key, [DATA_VERSION], list(map(str, new)), kind=dg.DagsterEventType.ASSET_OBSERVATION)
    return [
        dg.AssetObservation(key, partition=str(day), tags={DATA_VERSION: version})
        for day, version in new.items()
        if seen.get(str(day), {}).get(DATA_VERSION) != version
    ]
