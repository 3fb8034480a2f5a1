"""What does Feast's point-in-time join cost? The part of point_in_time_join.py that runs in Feast's own environment.

    FEAST_VENV/bin/python benchmarks/feast_join.py FOLDER DAYS_TO_LIVE OUT FEATURE...

Joins `snapshots.parquet` to `observations.parquet` in the folder, writes OUT and prints the cost as JSON. Imports, the
registry and a join of one row come before; reading the observations, the join and writing its rows are measured.
"""

import datetime as dt
import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Float64
from raw_to_examples import Cost, costing


def main(folder: Path, life: int, out: Path, features: list[str]) -> Cost:
    with tempfile.TemporaryDirectory() as state:
        config = RepoConfig(
            project="benchmark",
            registry=f"{state}/registry.db",
            provider="local",
            offline_store={"type": "duckdb"},
            online_store=None,
            entity_key_serialization_version=3,
        )
        store = FeatureStore(config=config)
        customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)

        def view(name: str, snapshots: Path) -> FeatureView:
            return FeatureView(
                name=name,
                entities=[customer],
                ttl=dt.timedelta(days=life),
                schema=[Field(name=feature, dtype=Float64) for feature in features],
                source=FileSource(path=str(snapshots), timestamp_field="known_at"),
                online=False,
            )

        # What is imported, connected and compiled on first use is no cost of rows: one row is joined first, of a file
        # of its own, for DuckDB keeps what it has read.
        for name in ("snapshots", "observations"):
            pq.write_table(pq.read_table(folder / f"{name}.parquet").slice(0, 1), f"{state}/{name}.parquet")
        store.apply(
            [customer, view("habit", folder / "snapshots.parquet"), view("one", Path(state) / "snapshots.parquet")]
        )
        join(store, Path(state), "one", features, Path(state) / "out.parquet")
        with costing() as cost:
            join(store, folder, "habit", features, out)
        return cost


def join(store: FeatureStore, folder: Path, view: str, features: list[str], out: Path) -> None:
    observations = pd.read_parquet(folder / "observations.parquet")
    joined = store.get_historical_features(observations, [f"{view}:{feature}" for feature in features])
    pq.write_table(joined.to_arrow(), out)


if __name__ == "__main__":
    os.environ["TZ"] = "UTC"
    folder, life, out, *features = sys.argv[1:]
    print(json.dumps(asdict(main(Path(folder), int(life), Path(out), features))))
