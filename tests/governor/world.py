"""A world of two streams, a view of each, and two lines over them, that happens day by day, with whatever goes wrong in it.

The same happenings are told to several deployments, each kept by another executor of the plan; all must hold the same in the end.
"""

from __future__ import annotations

import datetime as dt
import json
import random
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from factory_assets.commands.due import command
from factory_assets.declarations.catalogue import load
from factory_assets.governor.executor import Deployment, catch_up
from factory_assets.governor.plan import plan
from factory_assets.loading import load_declarations
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.clock import CLOCK
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger
from factory_resources.records.issues import Issues
from factory_resources.records.trials import Trials
from factory_resources.records.verdicts import Verdicts
from factory_resources.reports import Reports
from tests.governor.ticks import QUIET, Ticker
from tests.stations import csv

START = dt.date(2026, 1, 1)
LINES = ("guess", "again")
#: Orders and visits a day.
ORDERS, VISITS = 120, 40
#: Columns of a stream's tables that name the file which a row came from.
NAMING = ("_source", "source", "note", "problem")
SLOPES = {"FR": 1.0, "DE": 5.0, "ES": -4.0}

DEFS = """
type: factory_assets.components.EventStream
attributes:
  name: orders
  owner: team:growth
  description: Orders, one row each.
  source: {kind: csv, uri: "FEED/orders-{day}*.csv", late: 3d}
  id: id
  event_time: at
  known_at: known
  start: 2026-01-01
  contract: orders.yaml
---
type: factory_assets.components.EventStream
attributes:
  name: visits
  owner: team:web
  description: Visits of the shop, one row each.
  source: {kind: csv, uri: "FEED/visits-{day}.csv"}
  id: id
  event_time: at
  start: 2026-01-01
  contract: visits.yaml
---
type: factory_assets.components.FeatureView
attributes:
  name: habit
  stream: orders
  entity: cust
  owner: team:growth
  description: How often somebody orders, and how much.
  windows: [3d]
  features: {n: count(), mean_x: mean(x)}
  units: {mean_x: m}
---
type: factory_assets.components.FeatureView
attributes:
  name: traffic
  stream: visits
  entity: cust
  owner: team:web
  description: How often somebody looks.
  windows: [1d]
  features: {n: count()}
---
type: factory_assets.components.ModelLine
attributes:
  name: guess
  owner: team:growth
  description: The y of an order.
  task: regression
  observe: {stream: orders}
  label: {expression: y, delay: 1d, told: 0d}
  features: [x, habit.*, traffic.*]
  segments: {levels: [seg], min_rows: 100}
  train: {window: 7d, holdout: 3d}
  candidates:
    linear: {estimator: ridge}
    boosted: {estimator: lightgbm, params: {num_boost_round: 10, num_leaves: 7}}
  gate: {metric: mae, floor: 15, certainty: 0.5}
  retrain: {every: 7d}
---
type: factory_assets.components.ModelLine
attributes:
  name: again
  owner: team:growth
  description: Whether somebody orders again within two days.
  task: binary
  observe: {stream: orders, entity: cust, every: 1d, active: 7d}
  label: {event: orders, within: 2d}
  features: [habit.*, traffic.*]
  segments: {min_rows: 100}
  train: {window: 7d, holdout: 3d}
  candidates: {logistic: {estimator: logistic_regression}}
  gate: {certainty: 0.5}
  retrain: {every: 7d}
"""
#: One stream, a view of it and a line over them, which is trained as of its tenth day.
SMALL = """
type: factory_assets.components.EventStream
attributes:
  name: orders
  owner: team:growth
  description: Orders, one row each.
  source: {kind: csv, uri: "FEED/orders-{day}.csv"}
  id: id
  event_time: at
  known_at: known
  start: 2026-01-01
  contract: orders.yaml
---
type: factory_assets.components.FeatureView
attributes:
  name: habit
  stream: orders
  entity: cust
  owner: team:growth
  description: How often somebody orders, and how much.
  windows: [2d]
  features: {n: count(), mean_x: mean(x)}
  units: {mean_x: m}
---
type: factory_assets.components.ModelLine
attributes:
  name: guess
  owner: team:growth
  description: The y of an order.
  task: regression
  observe: {stream: orders}
  label: {expression: y, delay: 1d}
  features: [x, habit.*]
  segments: {levels: [seg], min_rows: 50}
  train: {window: 4d, holdout: 2d}
  candidates: {linear: {estimator: ridge}}
  gate: {metric: mae, floor: 15, certainty: 0.5}
  retrain: {every: 30d}
"""
ORDERS_CONTRACT = """
version: 1
tolerance: 0.5
columns:
  id: {type: integer}
  at: {type: timestamp}
  known: {type: timestamp}
  cust: {type: integer}
  seg: {type: string}
  x: {type: double, min: 0, unit: m}
  y: {type: double, unit: m}
"""
VISITS_CONTRACT = """
version: 1
columns:
  id: {type: integer}
  at: {type: timestamp}
  cust: {type: integer}
"""


def day(offset: int) -> dt.date:
    return START + dt.timedelta(days=offset)


def orders_of(on: dt.date) -> list[dict[str, Any]]:
    """What is ordered on a day; the same whenever it is asked."""
    rng, first = random.Random(f"orders {on}"), (on - START).days * ORDERS
    rows = []
    for number in range(first, first + ORDERS):
        seg, x = rng.choice(list(SLOPES)), round(rng.random(), 4)
        at = dt.datetime.combine(on, dt.time()) + dt.timedelta(seconds=rng.randrange(86_000))
        known = at + dt.timedelta(minutes=rng.choice([1, 5, 60]))
        y = round(SLOPES[seg] * x + rng.gauss(0, 0.2), 4)
        rows.append(
            {
                "id": number,
                "at": at.isoformat(),
                "known": known.isoformat(),
                "cust": rng.randrange(300),
                "seg": seg,
                "x": x,
                "y": y,
            }
        )
    return rows


def visits_of(on: dt.date) -> list[dict[str, Any]]:
    rng, first = random.Random(f"visits {on}"), (on - START).days * VISITS
    at = [dt.datetime.combine(on, dt.time()) + dt.timedelta(seconds=rng.randrange(86_000)) for _ in range(VISITS)]
    return [
        {"id": first + number, "at": when.isoformat(), "cust": rng.randrange(300)} for number, when in enumerate(at)
    ]


class World:
    """One deployment in a folder of its own, and what happens to it. The clock stands where `at` puts it.

    defs: declarations of orders and visits; or all files of declarations and contracts, name -> text.
    """

    def __init__(
        self,
        folder: Path,
        instance: dg.DagsterInstance,
        patch: pytest.MonkeyPatch,
        defs: str | Mapping[str, str] = DEFS,
    ):
        self.folder, self.feed, self.instance, self._patch = folder, folder / "feed", instance, patch
        self.feed.mkdir(parents=True, exist_ok=True)
        (folder / "defs").mkdir(exist_ok=True)
        if isinstance(defs, str):
            defs = {"defs.yaml": defs, "orders.yaml": ORDERS_CONTRACT, "visits.yaml": VISITS_CONTRACT}
        for name, text in defs.items():
            self.write(name, text.replace("FEED", str(self.feed)))
        self.ledger = Ledger(url=f"sqlite:///{folder / 'ledger.db'}")
        url, reports = self.ledger.url, Reports(root=str(folder / "reports"))
        self.lake, self.issues = Lake(root=str(folder / "lake")), Issues(url=url)
        self.resources: dict[str, Any] = {
            "lake": self.lake, "engine": Engine(threads=1, memory_limit="1GB"), "issues": self.issues,
            "archive": ArchiveFolder(root=str(folder / "archive")), "ledger": self.ledger, "trials": Trials(url=url),
            "verdicts": Verdicts(url=url), "reports": reports,
        }  # fmt: skip
        self.load()

    def write(self, name: str, text: str) -> None:
        (self.folder / "defs" / name).write_text(text)

    def replace(self, name: str, found: str, replacement: str) -> None:
        """Another declaration, as after a merge and a restart of the code server."""
        text = (self.folder / "defs" / name).read_text()
        assert found in text, found
        self.write(name, text.replace(found, replacement))
        self.load()

    def load(self) -> None:
        self._patch.setenv("FACTORY_DEFS", str(self.folder / "defs"))
        own = dg.Definitions(resources=self.resources, executor=dg.in_process_executor)
        definitions = dg.Definitions.merge(load_declarations(), own)
        catalogue = load(self.folder / "defs")
        self.deployment = Deployment(
            catalogue,
            definitions,
            self.instance,
            self.lake,
            self.ledger,
            self.resources["archive"],
            self.resources["engine"],
        )
        before = getattr(self, "ticker", None)
        self.ticker = Ticker(self.deployment, self.resources)
        if before is not None:
            self.ticker.cursors, self.ticker.keys, self.ticker.requested = before.cursors, before.keys, before.requested

    def at(self, on: dt.date, hour: int, minute: int = 0) -> None:
        """It is this time of this day."""
        clock = self.folder / "clock"
        clock.write_text(dt.datetime.combine(on, dt.time(hour, minute), dt.UTC).isoformat())
        self._patch.setenv(CLOCK, str(clock))

    def deliver(self, stream: str, on: dt.date, rows: Sequence[dict[str, Any]] | None = None, part: str = "") -> None:
        """The day's file; the usual rows if none are given."""
        usual = orders_of if stream == "orders" else visits_of
        (self.feed / f"{stream}-{on}{part}.csv").write_text(csv(usual(on) if rows is None else rows))

    def train_by_hand(self, line: str, node: str) -> None:
        """What somebody does in the UI: one node materialised, from model to champion."""
        keys = [dg.AssetKey([line, name]) for name in ("model", "evaluation", "refit", "champion")]
        result = self.deployment.job.execute_in_process(
            instance=self.instance, asset_selection=keys, partition_key=node, raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )  # fmt: skip
        assert result.success

    def contents(self) -> dict[str, tuple[int, str]]:
        return contents(self.lake, f"{self.feed}/")

    def decisions(self) -> list[tuple[Any, ...]]:
        return sorted(
            (line, str(each.as_of), each.node, each.verdict, str(each.version), str(each.champion), each.reason)
            for line in self.deployment.catalogue.lines
            for each in self.ledger.decisions(line)
        )

    def archived(self) -> list[str]:
        """Ids of all archived models; they are hashes of what the models hold."""
        return sorted(
            path.name for line in self.deployment.catalogue.lines for path in (self.folder / "archive" / line).glob("*")
        )

    def told_issues(self) -> list[tuple[str, str, str, tuple[str, ...]]]:
        return sorted(
            (each.stream, each.rule, each.state, tuple(map(str, sorted(each.days)))) for each in self.issues.issues()
        )


def contents(lake: Lake, feed: str = "") -> dict[str, tuple[int, str]]:
    """Table -> rows and a hash of them, whatever their order and the table's version. Tables that hold nothing are left out,
    and tiles and totals, which are kept to spare work and name the files that they were made from. So is the feed's folder.
    """
    found = {}
    for table in lake.tables():
        if table.startswith(("tiles/", "totals/")):
            continue
        with duckdb.connect(":memory:") as con:
            lake.view(con, "rows", table, empty_if_absent=True)
            columns = ", ".join(
                f"""replace("{name}", '{feed}', '')""" if feed and name in NAMING else f'"{name}"'
                for name in sorted(lake.columns(table))
            )
            rows, digest = con.execute(f"SELECT count(*), sum(hash({columns})::HUGEINT)::VARCHAR FROM rows").fetchall()[
                0
            ]
            if rows:
                found[table] = (rows, digest)
    return found


def by_command(world: World) -> None:
    world.deployment.failures.clear()
    for _ in catch_up(world.deployment, None, lambda station, what: None):
        pass


def by_daemon(world: World) -> None:
    world.ticker.until_quiet()


def by_forgetful_daemon(world: World) -> None:
    """Cursors are lost all the time, and every tick comes twice."""
    world.ticker.until_quiet(forgetful=True)


def by_ci(world: World) -> None:
    """What `factory due` prints for ready work, executed in this process as Dagster's command would, until nothing is due."""
    for _ in range(60):
        found = plan(world.deployment.book())
        if not found.ready:
            return
        for work in found.ready:
            materialize(world, command(world.deployment, work))
    raise AssertionError(f"never up to date: {[work.what for work in found.ready]}")


def materialize(world: World, printed: str) -> None:
    """`dagster asset materialize`, by what its command line says and nothing else."""
    words = shlex.split(printed)
    told = dict(zip(words[3::2], words[4::2], strict=True))
    keys = [dg.AssetKey(name.removeprefix("key:").split("/")) for name in told["--select"].split(",")]
    first, _, last = told.get("--partition-range", "").partition("...")
    world.deployment.job.execute_in_process(
        instance=world.instance, asset_selection=keys, raise_on_error=False,
        tags={"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last} if first else {},
        run_config={**json.loads(told.get("--config-json", "{}")), **QUIET},
    )  # fmt: skip


def in_files(folder: Path) -> dg.DagsterInstance:
    """An instance whose events are kept as a deployment keeps them."""
    events = {"module": "factory_resources.event_log", "class": "SqliteEventLog", "config": {"base_dir": str(folder)}}
    return dg.DagsterInstance.local_temp(str(folder), overrides={"event_log_storage": events})


@contextmanager
def worlds(
    folder: Path, names: Sequence[str], defs: str | Mapping[str, str] = DEFS, *, kept: bool = False
) -> Iterator[dict[str, World]]:
    """kept: instances in files, which know of each sensor whether it is switched on; of others all sensors count as ticked."""
    with pytest.MonkeyPatch.context() as patch:
        made = {}
        for name in names:
            (folder / name).mkdir(parents=True, exist_ok=True)
            opened = in_files(folder / name) if kept else dg.DagsterInstance.ephemeral()
            made[name] = World(folder / name, opened, patch, defs)
        try:
            yield made
        finally:
            for world in made.values():
                world.instance.dispose()
