"""A line whose examples a test writes itself: real declarations, assets, lake, archive and ledger in a folder, and their runs."""

from __future__ import annotations

import datetime as dt
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import yaml

from factory_assets.declarations.catalogue import load
from factory_assets.governor.executor import Deployment, execute
from factory_assets.governor.runs import training_assets, training_config, training_tags
from factory_assets.identity.partitions import add_nodes
from factory_assets.loading import load_declarations
from factory_assets.training.subtrees import Subtrees
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger
from factory_resources.records.issues import Issues
from factory_resources.records.trials import Trials
from factory_resources.records.verdicts import Verdicts
from factory_resources.reports import Reports

LINE = "score"
START = dt.date(2026, 1, 1)
STREAM = {
    "name": "events",
    "owner": "team:test",
    "description": "Events, one row each.",
    "source": {"kind": "parquet", "uri": "/nowhere/*.parquet"},
    "id": "event_id",
    "event_time": "at",
    "start": str(START),
}


def day(offset: int) -> dt.date:
    return START + dt.timedelta(days=offset)


def declare(folder: Path, features: Sequence[str] = ("x0", "x1"), **line: Any) -> Path:
    """Write a stream and the line `score` on it; `line` replaces fields of the line."""
    declared = {
        "name": LINE,
        "owner": "team:test",
        "description": "A number, by country and city.",
        "task": "regression",
        "observe": {"stream": "events"},
        "label": {"expression": "y"},
        "features": list(features),
        "segments": {"levels": ["country", "city"], "min_rows": 50},
        "train": {"window": "28d", "holdout": "7d"},
        "candidates": {"linear": {"estimator": "ridge"}},
        "retrain": {"every": "7d"},
    } | line
    contract: dict[str, Any] = {name: {"type": "double"} for name in (*features, "y")}
    contract |= {name: {"type": "string"} for name in ("country", "city")}
    contract |= {"event_id": {"type": "integer"}, "at": {"type": "timestamp"}}
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {"EventStream": STREAM, "ModelLine": declared}
    documents = [{"type": f"factory_assets.components.{kind}", "attributes": each} for kind, each in kinds.items()]
    (folder / "defs.yaml").write_text(yaml.safe_dump_all(documents, sort_keys=False))
    (folder / "contract.yaml").write_text(yaml.safe_dump({"version": 1, "columns": contract}))
    return folder


def by_node(rows: pa.Table, kind: type[Subtrees] = Subtrees) -> Subtrees:
    """The rows, as they come from a query that keeps no order."""
    shuffled = rows.take(np.random.default_rng(1).permutation(rows.num_rows)).to_reader(max_chunksize=100)
    return kind(shuffled, Counter(rows["leaf"].to_pylist()))


class Segmented:
    """A deployment of the line in a folder. instance: where its runs are recorded; FACTORY_DEFS must name `folder / "defs"`."""

    def __init__(
        self,
        folder: Path,
        instance: dg.DagsterInstance,
        ledger: str | None = None,
        archive: str | None = None,
        engine: Engine | None = None,
    ):
        self.lake, self.archive = (
            Lake(root=str(folder / "lake")),
            ArchiveFolder(root=archive or str(folder / "archive")),
        )
        self.ledger = Ledger(url=ledger or f"sqlite:///{folder / 'ledger.db'}")
        resources = {
            "lake": self.lake,
            "ledger": self.ledger,
            "archive": self.archive,
            "issues": Issues(url=self.ledger.url),
            "engine": engine or Engine(threads=1, memory_limit="2GB"),
            "trials": Trials(url=self.ledger.url),
            "verdicts": Verdicts(url=self.ledger.url),
            "reports": Reports(root=str(folder / "reports")),
        }
        own = dg.Definitions(resources=resources, executor=dg.in_process_executor)
        definitions = dg.Definitions.merge(load_declarations(), own)
        catalogue = load(Path(os.environ["FACTORY_DEFS"]))
        self.declared = catalogue.resolve(catalogue.lines[LINE])
        self.instance = instance
        self.deployment = Deployment(catalogue, definitions, instance, self.lake, self.ledger, self.archive)

    def give(self, segments: Sequence[str], days: Sequence[dt.date], x: np.ndarray, y: np.ndarray) -> list[str]:
        """Examples and labels, instead of what these days had; nodes for which there is no room.

        segments, days: of each row. x: shape (n, features). y: shape (n,).
        """
        own = pa.array(range(len(days)), pa.int64())
        at = pa.array([dt.datetime.combine(on, dt.time(12)) for on in days], pa.timestamp("us"))
        columns = {"example_id": own, "leaf": pa.array(segments, pa.string()), "observed_at": at}
        columns |= {name: pa.array(x[:, place]) for place, name in enumerate(self.declared.features)}
        ds, every = pa.array(days, pa.date32()), sorted(set(days))
        self.lake.replace(f"{LINE}/examples", pa.table(columns | {"ds": ds}), every)
        superseded = pa.nulls(len(days), pa.timestamp("us"))
        labels = {"example_id": own, "label": pa.array(y), "known_at": at, "superseded_at": superseded, "ds": ds}
        self.lake.replace(f"{LINE}/labels", pa.table(labels), every)
        return add_nodes(self.instance, self.declared, sorted(set(segments)))

    @property
    def nodes(self) -> list[str]:
        return list(self.instance.get_dynamic_partitions(f"{LINE}_segments"))

    def train(self, as_of: dt.date, nodes: Sequence[str] | None = None, stations: Sequence[str] = ()) -> list[str]:
        """One training run over these nodes, or all; returns what failed, in words."""
        chosen = [node for node in self.nodes if nodes is None or node in nodes]
        tags = training_tags(LINE, chosen, str(as_of), "test", "a test asks for it")
        keys = [key for key in training_assets(LINE) if not stations or key.path[-1] in stations]
        config = {
            op: settings
            for op, settings in training_config(LINE, chosen, as_of)["ops"].items()
            if not stations or op.removeprefix(f"{LINE}__") in stations
        }
        before = len(self.deployment.failures)
        self.deployment.failures += execute(self.deployment, keys, tags, {"ops": config})
        return self.deployment.failures[before:]

    def champions(self) -> dict[str, str]:
        return {node: str(held.champion) for node, held in self.ledger.champions(LINE).items()}

    def reason(self, node: str) -> str:
        """Of the node's newest decision."""
        return self.ledger.decisions(LINE, node)[-1].reason

    def leaderboard(self, on: dt.date) -> dict[str, dict[str, Any]]:
        """Rows of the table by node, as they stood at the close of a day."""
        return {row["node"]: row for row in self.lake.read(f"{LINE}/leaderboard", on, on).to_pylist()}
