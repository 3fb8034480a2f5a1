"""A line whose trainings are what a test says of each challenger: who is trained in which week, and how wrong it is."""

import datetime as dt
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa

from factory_assets.declarations.catalogue import Catalogue, DeclaredLine, load
from factory_assets.evaluation.challengers import challengers_of
from factory_assets.evaluation.contest import Contestants, walk
from factory_assets.evaluation.incumbents import champions_before
from factory_assets.release.assets import champion_asset
from factory_assets.release.request import Request
from factory_assets.release.rollback import roll_back
from factory_assets.training.run_config import AS_OF
from factory_assets.training.timeline import timeline
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Decision, Ledger
from tests.line.world import declare
from tests.resources.test_ledger import a_version

LINE = "delivery_time"
FIRST = dt.date(2026, 3, 1)
WEEK = dt.timedelta(days=7)


class World:
    """A line with a ledger and a lake, trained week by week by what a test says of each challenger's error."""

    def __init__(self, folder: Path, declared: DeclaredLine):
        self.folder, self.declared = folder, declared
        self.ledger = Ledger(url=f"sqlite:///{folder / 'ledger.db'}")
        self.lake = Lake(root=str(folder / "lake"))
        self.instance = dg.DagsterInstance.ephemeral()
        self.errors: dict[str, float] = {}
        #: Version -> why it may not be served.
        self.unsafe: dict[str, str] = {}
        self.instance.add_dynamic_partitions(f"{LINE}_segments", ["global", "FR", "FR/Lyon"])

    @property
    def resources(self) -> dict[str, Any]:
        """What the jobs of people's decisions need."""
        return {"ledger": self.ledger, "lake": self.lake, "engine": Engine()}

    @cached_property
    def catalogue(self) -> Catalogue:
        return load(declare(self.folder / "declarations"))

    def board(self) -> dict[str, str | None]:
        """Node -> the version that answers by the newest leaderboard."""
        last = self.lake.days(f"{LINE}/leaderboard")[-1]
        return {row["node"]: row["version"] for row in self.lake.read(f"{LINE}/leaderboard", last, last).to_pylist()}

    def evaluate(self, week: int, errors: Mapping[str, float], name: str = "") -> None:
        """Register challengers of a week, by node with their mean error, and measure them as the evaluation does.

        name: of the version, instead of node-week.
        """
        day, span = FIRST + week * WEEK, timeline(self.declared, FIRST + week * WEEK)
        for node, error in errors.items():
            version = name or f"{node}-{week}"
            self.errors[version] = error
            self.ledger.register(a_version(version, line=LINE, node=node, as_of=day, task="regression"))
        champions = champions_before(self.ledger, LINE, day, errors)
        challengers = challengers_of(self.ledger, self.declared, day)
        # As many rows as the gate wants, half of them each day.
        number = self.declared.line.gate.rows
        on = pa.array([day - (2 - each % 2) * WEEK for each in range(number)])
        rows = pa.table(
            {
                "label": [1.0 + each % 2 for each in range(number)],
                "ds": on,
                "example_id": list(range(number)),
                "observed_at": on.cast(pa.timestamp("us")),
                "leaf": ["FR/Lyon"] * number,
            }
        )
        contestants = Contestants(champions, challengers, self.model, self.unsafe.get)
        for met in walk(self.declared, "mae", list(errors), contestants, lambda _: rows):
            for record in met.records(LINE, span, "mae"):
                self.ledger.record_evaluation(record)

    def model(self, version: str) -> Any:
        """A model that is wrong by as much as the version is said to be."""
        return SimpleNamespace(
            predict=lambda rows, task: rows["label"].to_numpy() + self.errors[version],
            naive=lambda rows, task: np.full(rows, 100.0),
            unlearnt_from=FIRST - 9 * WEEK,
        )

    def decide(self, week: int, nodes: Sequence[str] = ("global",)) -> dg.ExecuteInProcessResult:
        """Materialise the champions as of a week, as a training's last step does."""
        return dg.materialize(
            [champion_asset(self.declared)],
            instance=self.instance,
            resources={"ledger": self.ledger, "lake": self.lake},
            tags={AS_OF: str(FIRST + week * WEEK), **keys(nodes)},
            partition_key=nodes[0] if len(nodes) == 1 else None,
            raise_on_error=False,
        )

    def train(self, node: str, week: int, error: float) -> None:
        self.evaluate(week, {node: error})
        assert self.decide(week, [node]).success

    def score(self, until: dt.date) -> None:
        self.lake.replace(f"{LINE}/predictions", pa.table({"ds": pa.array([until]), "version": ["global-1"]}), [until])

    def back(self, node: str = "global", to: str | None = None) -> list[Decision]:
        return roll_back(self.ledger, self.lake, Request(LINE, node, "complaints", "ana"), to)

    def champion(self, node: str = "global", before: dt.date | None = None) -> str | None:
        held = self.ledger.champion(LINE, node, before=before)
        return held.champion if held else None


def keys(nodes: Sequence[str]) -> dict[str, str]:
    ends = {"dagster/asset_partition_range_start": nodes[0], "dagster/asset_partition_range_end": nodes[-1]}
    return ends if len(nodes) > 1 else {}
