"""`factory run` in processes whose Dagster is another: a later version, or one that has changed a private name.

No module of the factory is read before a process is forked for the run: they take private names when they are read.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import dagster as dg

from tests.forking import serve

LIBRARIES = (
    "great_expectations.expectations", "evidently.metrics", "skops.io", "lightgbm", "matplotlib.figure", "scipy.stats",
    "dagster._core.storage.event_log", "dagster_postgres", "deltalake", "duckdb",
)  # fmt: skip


def _module(name: str) -> Any:
    return importlib.import_module(f"dagster._core.{name}")


def _version() -> None:
    dg.__version__ = "1.14.0rc1"


def _sqlite() -> None:
    storage = _module("storage.event_log").SqliteEventLogStorage
    kept = storage._initdb
    storage._initdb = lambda self, of, for_index_shard=False: kept(self, of, for_index_shard)


def _reading() -> None:
    _module("storage.event_log").EventLogStorage.get_latest_tags_by_partition = lambda self, keys: {}


def _marking() -> None:
    _module("storage.event_log").SqlEventLogStorage.index_connection = lambda self, shard: None


def _reading_checks() -> None:
    _module("storage.event_log").EventLogStorage.get_latest_asset_check_execution_by_key = lambda self, keys, days: {}


def _recording() -> None:
    del _module("definitions.source_asset").SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION


def _recording_checks() -> None:
    events = _module("events").DagsterEvent
    kept = events.asset_check_evaluation
    events.asset_check_evaluation = staticmethod(lambda step, evaluation: kept(step, evaluation))


def _printing() -> None:
    manager = _module("storage.local_compute_log_manager").LocalComputeLogManager
    kept = manager.complete_artifact_path
    manager.complete_artifact_path = lambda self, key: kept(self, key)


def _outside() -> None:
    del dg.ComponentTree


def _job() -> None:
    name = "resolve_implicit_global_asset_job_def"
    delattr(next(each for each in dg.Definitions.__mro__ if name in vars(each)), name)


#: What a next Dagster may have changed, and the part that goes Dagster's own way then; None: that needs no warning. Changes
#: that do not touch each other come together: a run for each would take minutes.
CHANGES: dict[str, dict[Callable[[], None], str | None]] = {
    "version": {_version: "Its private parts are left alone"},
    "start": {_sqlite: "event log in SQLite", _outside: "declarations outside the package", _job: None},
    "reading": {_reading: "reading events", _reading_checks: "reading checks"},
    "marking": {_marking: "marking assets", _printing: "printing", _recording_checks: "recording checks"},
    "recording": {_recording: "recording partitions"},
}


def prepare(asked: dict[str, Any]) -> None:
    for change in CHANGES.get(asked["change"], ()):
        change()


if __name__ == "__main__":
    import factory_assets  # noqa: F401 - switches of libraries

    serve(LIBRARIES, prepare)
