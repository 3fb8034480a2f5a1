"""Does a tick cost what is due, and not what was ever recorded?

    .venv/bin/python benchmarks/plan_growth.py [--quick]

Deployments in which nothing is due: streams with a file a day, views, and lines of which one, `fleet`, has most of the nodes
and versions. Declarations, files, Delta tables, the archive of champions, the event log and the ledger are real; tables are small,
and what they hold is recorded in bulk, with the stamps that the plan itself asks for. Then each is asked in a process of its own:

cold   the plan of a new process, as `factory run` and `factory due` make it
tick   `upkeep`, and the sensor of `fleet`, evaluated as a code server does it: every time with a new instance
round  one tick of every sensor there is: what the code server does every 30 seconds

CPU seconds, which other work on the machine moves less than the clock; of ticks the median of several. Then one thing at a time is
made larger: days, times that each was made again, versions, nodes, lines.

Ends with exit code 1 where a bound does not hold.
"""

import datetime as dt
import gc
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import sqlalchemy as sa
import typer
from bounds import conclude
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

START = dt.date(2025, 1, 1)
FLEET = "fleet"
#: CPU seconds of one tick where nothing is due; a process's first has the event log and the ledger to read.
TICK, COLD = 2.0, 6.0
#: CPU seconds of all the sensors' ticks, of the 30 between them: they share a code server.
ROUND = 7.0
#: MB that plan and ticks take beside the definitions and what they import.
MEMORY = 250
#: By how much ten times the versions, or five times the events, may make a tick dearer: half of in proportion.
VERSIONS, HISTORY = 5.0, 2.5
#: Rows of a day in a table.
ROWS = 5
#: Of a difference of so few CPU seconds nothing is said: it is noise.
NOISE = 0.05
console = Console()

STREAM = """
type: factory_assets.components.EventStream
attributes:
  name: {name}
  owner: team:growth
  description: Orders, one row each.
  source: {{kind: csv, uri: "{feed}/{name}/{{day}}*.csv", late: 1d}}
  id: id
  event_time: at
  known_at: known
  start: {start}
  contract: contract.yaml
"""
VIEW = """
type: factory_assets.components.FeatureView
attributes:
  name: {name}
  stream: {stream}
  entity: cust
  owner: team:growth
  description: How often somebody orders.
  windows: [7d, 28d]
  features: {{n: count(), mean_x: mean(x)}}
"""
LINE = """
type: factory_assets.components.ModelLine
attributes:
  name: {name}
  owner: team:growth
  description: The y of an order.
  task: {task}
  observe: {observe}
  label: {label}
  features: [{views}]
  segments: {{levels: [{levels}], max_nodes: 10000}}
  train: {{window: 28d, holdout: 7d}}
  candidates: {{only: {{estimator: {estimator}}}}}
  retrain: {{every: 30d}}
"""
CONTRACT = """
version: 1
columns:
  id: {type: integer}
  at: {type: timestamp}
  known: {type: timestamp}
  cust: {type: integer}
  seg: {type: string}
  x: {type: double, unit: m}
  y: {type: double, unit: m}
"""


@dataclass(frozen=True)
class Shape:
    """A deployment. versions: of `fleet`, of whose nodes each has as many. made: times that every day of every asset was made."""

    streams: int = 8
    views: int = 12
    lines: int = 20
    days: int = 365
    nodes: int = 4000
    versions: int = 200_000
    made: int = 1

    @property
    def last(self) -> dt.date:
        return START + dt.timedelta(days=self.days - 1)

    def __str__(self) -> str:
        return (
            f"{self.streams} streams, {self.views} views, {self.lines} lines, {self.days} days made {self.made} x, "
            f"{self.nodes:,} nodes, {self.versions:,} versions"
        )


@dataclass(frozen=True)
class Asked:
    """CPU seconds, and of some the clock's; MB beside the definitions; events of the log; what was due, which is to be nothing."""

    cold: float
    cold_wall: float
    first: float
    tick: float
    tick_wall: float
    retrain: float
    round: float
    memory: float
    events: int
    due: Sequence[str]


SMALL = Shape(streams=1, views=1, lines=1, days=90)
QUICK = Shape(streams=3, views=4, lines=5, days=120, versions=40_000)


def run(quick: Annotated[bool, typer.Option("--quick", help="Smaller deployments: under a minute.")] = False) -> None:
    """Measure the plan and the ticks."""
    base, small = (QUICK, replace(SMALL, nodes=1000, versions=10_000)) if quick else (Shape(), SMALL)
    fewer = replace(small, versions=small.versions // 10)
    grown = {"versions": (fewer, small)}
    if quick:
        grown |= {"history": (fewer, replace(fewer, made=5))}
    else:
        # Of days, events and lines, growth shows better without the ledger of a fleet beside it.
        light = replace(base, nodes=100, versions=1000)
        short = replace(light, days=90)
        grown |= {
            "nodes": (replace(fewer, nodes=small.nodes // 10), small),
            "history": (short, replace(short, made=5)),
            "days": (short, light),
            "lines": (replace(light, lines=5), light),
        }
    shapes = list(dict.fromkeys([base, *(shape for pair in grown.values() for shape in pair)]))
    found = dict[Shape, Asked]()
    with tempfile.TemporaryDirectory(prefix="plan-growth-") as folder, console.status("filling") as status:
        homes = {shape: Path(folder) / str(number) for number, shape in enumerate(shapes)}
        alone(filled, homes)
        for shape, home in homes.items():
            status.update(f"asking: {shape}")
            found[shape] = alone(asked, home, shape, 5)
    show(base, grown, found)
    broken = beyond_bounds(base, grown, found)
    conclude(broken)


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function gives in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        return pool.submit(function, *arguments).result()


def enter(home: Path, shape: Shape) -> None:
    """This process serves the deployment in the folder, on the morning after its last day."""
    import warnings

    warnings.simplefilter("ignore")
    clock = home / "clock"
    clock.write_text(f"{shape.last + dt.timedelta(days=1)}T06:00:00+00:00")
    own = {"FACTORY_DEFS": home / "defs", "FACTORY_HOME": home, "FACTORY_CLOCK": clock}
    os.environ.update({name: str(path) for name, path in own.items()} | {"DAGSTER_HOME": str(home / "dagster")})


def filled(homes: Mapping[Shape, Path]) -> None:
    """Make deployments of these shapes, in which nothing is due."""
    for shape, home in homes.items():
        declare(home, shape)
        enter(home, shape)
        with deployed() as deployment:
            for line in deployment.catalogue.lines:
                nodes, versions = (shape.nodes, shape.versions) if line == FLEET else (1, 40)
                train(deployment, line, nodes, versions, shape.last)
            for _ in range(shape.made):
                record(deployment)


def declare(home: Path, shape: Shape) -> None:
    for folder in ("defs", "feed"):
        (home / folder).mkdir(parents=True)
    streams = [f"orders_{number}" for number in range(shape.streams)]
    views = {f"habit_{number}": streams[number % shape.streams] for number in range(shape.views)}
    documents = [STREAM.format(name=name, feed=home / "feed", start=START) for name in streams]
    documents += [VIEW.format(name=name, stream=stream) for name, stream in views.items()]
    for number in range(shape.lines):
        stream = streams[number % shape.streams]
        task, observe, label, estimator = (
            ("regression", f"{{stream: {stream}}}", "{expression: y, delay: 1d}", "ridge")
            if number % 2 == 0
            else (
                "binary",
                f"{{stream: {stream}, entity: cust, every: 1d, active: 28d, carry: [seg]}}",
                f"{{event: {stream}, within: 7d}}",
                "logistic_regression",
            )
        )
        # A view of the line's own stream, and one of another's.
        chosen = {[*views][number % shape.views], [*views][(number + 1) % shape.views]}
        documents.append(
            LINE.format(
                name=f"line_{number}" if number else FLEET, task=task, observe=observe, label=label, estimator=estimator,
                views=", ".join(f"{view}.*" for view in sorted(chosen)), levels="seg",
            )
        )  # fmt: skip
    (home / "defs" / "defs.yaml").write_text("---".join(documents))
    (home / "defs" / "contract.yaml").write_text(CONTRACT)
    for stream in streams:
        (home / "feed" / stream).mkdir()
        for day in days_of(shape):
            (home / "feed" / stream / f"{day}.csv").write_text("id\n")


def days_of(shape: Shape) -> list[dt.date]:
    return [START + dt.timedelta(days=offset) for offset in range(shape.days)]


@contextmanager
def deployed() -> Iterator[Any]:
    """The deployment that this process serves, with everything that a command has."""
    import dagster as dg

    from factory_assets.declarations.catalogue import load
    from factory_assets.definitions import defs
    from factory_assets.deployment import declarations, prepare_home, stores
    from factory_assets.governor.executor import Deployment

    prepare_home()
    made = stores()
    with dg.DagsterInstance.get() as instance:
        yield Deployment(
            load(declarations()), defs(), instance, made["lake"], made["ledger"], made["archive"], made["engine"]
        )


def write_table(lake: Any, name: str, days: Sequence[dt.date], rows: int = ROWS) -> None:
    """A table with as many files as days; the newest days were written one by one.

    Labels ask when events are known, and trainings which leaves examples have.
    """
    import pyarrow as pa

    for chosen in filter(None, [days[:-20], *([day] for day in days[-20:])]):
        of = [day for day in chosen for _ in range(rows)]
        known = [dt.datetime.combine(day, dt.time(23)) for day in of]
        schema = pa.schema([("known_at", pa.timestamp("us")), ("leaf", pa.string()), ("ds", pa.date32())])
        rows_of = {"known_at": known, "leaf": ["n0"] * len(of), "ds": of}
        lake.replace(name, pa.table(rows_of, schema=schema), chosen)


def train(deployment: Any, line: str, nodes: int, versions: int, last: dt.date) -> None:
    """Every node of a line trained as often, and promoted each time; the last time a week before the last day."""
    from factory_assets.identity.partitions import segment_partitions
    from factory_assets.identity.versions import contract_hash
    from factory_resources.records.tables import DECISIONS, STANDING, VERSIONS

    at = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
    contract = contract_hash(deployment.catalogue.resolve(deployment.catalogue.lines[line]))
    shared: dict[str, Any] = {
        "line": line, "task": "regression", "estimator": "ridge", "candidate": "only",
        "configuration": {"params": {}, "contract": contract}, "rows": 200, "tables": {}, "validation": {},
        "importances": {}, "owner": "team:growth", "archive_uri": "x", "run_id": "x", "started_at": at, "ended_at": at,
    }  # fmt: skip
    judged = {"line": line, "verdict": "promote", "reason": "better", "decided_by": "gate", "decided_at": at}
    names, times = [f"n{number}" for number in range(nodes)], versions // nodes
    deployment.instance.add_dynamic_partitions(str(segment_partitions(line).name), names)
    with deployment.ledger._open().begin() as connection:
        for training in range(times):
            # Fifty trainings of a year are a week apart.
            day = last - dt.timedelta(days=7) - dt.timedelta(days=7 * (times - 1 - training) * min(1, 300 // times))
            days = dict.fromkeys(("as_of", "train_from", "train_to", "holdout_from", "holdout_to"), day)
            made = [{"node": name, "version": f"{training:08x}{number:08x}"} for number, name in enumerate(names)]
            if training == times - 1:
                for each in made:
                    manifest = {"line": line, "node": each["node"]}
                    each["version"] = deployment.archive.store(
                        line, manifest, {"model.json": b"{}", "reference.json": b"{}"}
                    )
            connection.execute(sa.insert(VERSIONS), [shared | days | each for each in made])
            by = judged | {"sequence": training + 1, "as_of": day, "evidence": {"contract": contract}}
            connection.execute(sa.insert(DECISIONS), [by | each | {"champion": each["version"]} for each in made])
        write_table(deployment.lake, f"{line}/leaderboard", [day])
        stands = judged | {"sequence": times, "waits": False, "contract": contract}
        stands |= dict.fromkeys(("decided_as_of", "trained_as_of", "changed_as_of"), day)
        connection.execute(sa.insert(STANDING), [stands | each | {"champion": each["version"]} for each in made])


def record(deployment: Any) -> None:
    """Every day of every asset is made, as far as the event log and the verdicts know."""
    from factory_assets.governor import plan as governor
    from factory_assets.identity.damage import beside
    from factory_assets.identity.inputs import Recorded, judgement, stamps
    from factory_resources.records.verdicts import Judged

    book = deployment.book()

    class Recording(governor._Planner):
        """Goes down the line as the plan does, and records what each asset would be made from."""

        def _daily(self, daily: governor.Daily) -> None:
            name, check = daily.name, daily.check
            asset = book.asset(name)
            data = {read: {day: each.data for day, each in book.recorded(read).items()} for read in asset.reads}
            told = {
                day: Recorded(f"{ROWS}-{day.toordinal():016x}", stamp)
                for day, stamp in stamps(asset, data, daily.days, daily.extra).items()
            }
            if daily.days and deployment.lake.version(name) is None:
                write_table(deployment.lake, name, daily.days)
                for other in beside(name):
                    write_table(deployment.lake, other, daily.days, 0)
            materialised(deployment.instance, name, told, deployment.lake.version(name))
            if check is not None:
                of = "contract" if name.endswith("/raw") else "no_leak"
                judged = {day: Judged(judgement(each.stamp, check)) for day, each in told.items()}
                deployment.verdicts.note(name, of, judged, "filled")
            book.forget([name])
            super()._daily(daily)

    planner = Recording(book)
    planner.plan()
    for line in deployment.catalogue.lines:
        drawn(deployment.instance, line, book)
    for work in governor.plan(deployment.book()).work:
        if work.is_page:
            shown(deployment.instance, work)


def shown(instance: Any, work: Any) -> None:
    """The page of a line, or that of all lines, as written after all of this."""
    import dagster as dg

    from factory_assets.materialization import INPUTS

    (name,), (state,) = work.assets, work.states
    instance.report_runless_asset_event(dg.AssetMaterialization(name.split("/"), tags={INPUTS: state}))


def drawn(instance: Any, line: str, book: Any) -> None:
    """The line's board, as drawn after the newest decision."""
    import dagster as dg

    from factory_assets.materialization import INPUTS

    state, _ = book.decided(line)
    instance.report_runless_asset_event(dg.AssetMaterialization([line, "leaderboard"], tags={INPUTS: state}))


def materialised(instance: Any, name: str, told: Mapping[dt.date, Any], version: int | None) -> None:
    """An event a day, as a range run writes them."""
    import dagster as dg
    from dagster._core.events import DagsterEvent, StepMaterializationData
    from dagster._core.events.log import EventLogEntry

    from factory_assets.materialization import DATA_VERSION, INPUTS

    key, events = dg.AssetKey(name.split("/")), []
    for day, each in told.items():
        made = dg.AssetMaterialization(
            key, partition=str(day), metadata={"dagster/row_count": ROWS, "content_hash": each.data, "table_version": version or 0},
            tags={DATA_VERSION: each.data, INPUTS: each.stamp},
        )  # fmt: skip
        event = DagsterEvent(
            "ASSET_MATERIALIZATION", "__ASSET_JOB", step_key=name, event_specific_data=StepMaterializationData(made)
        )
        events.append(EventLogEntry(None, 10, "", name.replace("/", "-"), time.time(), name, "__ASSET_JOB", event))
    instance.event_log_storage.store_event_batch(events)


def asked(home: Path, shape: Shape, ticks: int) -> Asked:
    """Plan and ticks of the deployment in the folder."""
    enter(home, shape)
    from factory_assets.governor.plan import plan
    from factory_assets.governor.sensors import UPKEEP, retrain_name

    with deployed() as deployment:
        repository, reference = deployment.definitions.get_repository_def(), deployment.instance.get_ref()
        gc.collect()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        cpu, wall = time.process_time(), time.perf_counter()
        found = plan(deployment.book())
        cold, cold_wall = time.process_time() - cpu, time.perf_counter() - wall
        with deployment.instance.event_log_storage.index_connection() as connection:
            events = connection.scalar(sa.text("SELECT count(*) FROM event_logs"))
    due = [work.what for work in found.work] + [str(each) for each in found.notices_of("blocked", "failed", "waiting")]
    cursors: dict[str, str | None] = {}

    def tick(sensor: str) -> tuple[float, float]:
        cpu, wall = time.process_time(), time.perf_counter()
        told = evaluated(repository, reference, sensor, cursors.get(sensor))
        cursors[sensor] = told.cursor
        due.extend(f"{sensor}: {request.asset_selection}" for request in told.run_requests)
        return time.process_time() - cpu, time.perf_counter() - wall

    first, _ = tick(UPKEEP)
    others = [retrain_name(line) for line in deployment.catalogue.lines]
    for sensor in others:
        tick(sensor)
    upkeep = [tick(UPKEEP) for _ in range(ticks)]
    retrain = [tick(retrain_name(FLEET))[0] for _ in range(ticks)]
    once = sum(tick(sensor)[0] for sensor in [UPKEEP, *others])
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    middle = [statistics.median(each) for each in zip(*upkeep, strict=True)]
    return Asked(cold, cold_wall, first, middle[0], middle[1], statistics.median(retrain), once, memory, events, due)


def evaluated(repository: Any, reference: Any, sensor: str, cursor: str | None) -> Any:
    """A tick as a code server evaluates it."""
    from dagster._core.definitions.sensor_definition import SensorExecutionData
    from dagster._core.remote_origin import RegisteredCodeLocationOrigin
    from dagster._grpc.impl import get_external_sensor_execution

    origin = RegisteredCodeLocationOrigin("factory")
    told = get_external_sensor_execution(repository, origin, reference, sensor, None, None, cursor, None, None)
    assert isinstance(told, SensorExecutionData), told
    return told


def show(base: Shape, grown: Mapping[str, tuple[Shape, Shape]], found: Mapping[Shape, Asked]) -> None:
    told = found[base]
    console.print(f"{base}; {told.events:,} events", highlight=False)
    table = Table("", "CPU s", "wall s", box=None)
    table.add_row("cold plan", f"{told.cold:.2f}", f"{told.cold_wall:.2f}")
    table.add_row("first tick after it", f"{told.first:.2f}", "")
    table.add_row("tick of upkeep", f"{told.tick:.3f}", f"{told.tick_wall:.3f}")
    table.add_row(f"tick of {FLEET}_retrain", f"{told.retrain:.3f}", "")
    table.add_row(f"round of {base.lines + 1} sensors", f"{told.round:.2f}", "")
    table.add_row("memory", f"{told.memory:.0f} MB", "")
    console.print(table)
    table = Table("grown", "from", "to", "", "CPU s", "to", "x", box=None)
    for name, (less, more) in grown.items():
        field = {"history": "made"}.get(name, name)
        for figure in ("cold", "tick", "retrain", "round"):
            one, other = getattr(found[less], figure), getattr(found[more], figure)
            what = (
                (name, f"{getattr(less, field):,}", f"{getattr(more, field):,}") if figure == "cold" else ("", "", "")
            )
            table.add_row(*what, figure, f"{one:.3f}", f"{other:.3f}", f"{other / one:.2f}")
    console.print(table)


def beyond_bounds(base: Shape, grown: Mapping[str, tuple[Shape, Shape]], found: Mapping[Shape, Asked]) -> list[str]:
    """The bounds that do not hold, each in a sentence."""
    told = found[base]
    broken = [f"{shape}: something is due: {each.due[:3]}" for shape, each in found.items() if each.due]
    for what, value, allowed, unit in (
        ("a tick of upkeep", told.tick, TICK, "CPU seconds"),
        (f"a tick of {FLEET}_retrain", told.retrain, TICK, "CPU seconds"),
        ("the plan of a new process", told.cold, COLD, "CPU seconds"),
        ("a tick of all sensors", told.round, ROUND, "CPU seconds"),
        ("plan and ticks", told.memory, MEMORY, "MB"),
    ):
        if value > allowed:
            broken.append(f"{what}: {value:.2f} {unit}; allowed: {allowed:g}")
    for name, allowed in (("versions", VERSIONS), ("history", HISTORY)):
        few, many = (found[shape] for shape in grown[name])
        for figure in ("tick", "retrain"):
            one, other = getattr(few, figure), getattr(many, figure)
            if other > max(allowed * one, one + NOISE):
                broken.append(f"{name}: {figure} costs {other / one:.1f} times as much; allowed: {allowed:g}")
    return broken


if __name__ == "__main__":
    typer.run(run)
