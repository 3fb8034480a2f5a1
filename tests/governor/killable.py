"""`factory run` in processes that die at an event of Dagster's: just before it is stored, or just after.

How it dies, or is stopped, is asked for with each run.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dagster._core.events.log import EventLogEntry

from factory_resources.event_log import SqliteEventLog
from factory_resources.records.verdicts import Verdicts
from tests.forking import serve

#: What a run reads in the end, station by station.
LIBRARIES = (
    "factory_assets.cli", "factory_assets.definitions", "factory_assets.governor.executor", "great_expectations",
    "great_expectations.expectations", "evidently", "evidently.metrics", "skops.io", "lightgbm", "matplotlib.figure",
    "factory_assets.automation.summary", "factory_assets.commands.deployed", "sqlite3", "scipy.stats",
)  # fmt: skip

#: Seconds after a step's start at which it is in the middle of its work.
IN_THE_MIDDLE = 0.2


def watch(noted: Path | None, die: Sequence[Any] | None, stop: Sequence[Any] | None) -> None:
    """Note every event that is stored in a file; die at one, or be stopped in the middle of what follows it.

    die: before or after, the event's type, its step, the how many-th. stop: the same without the first, and a signal.
    """
    counts: Counter[tuple[str, str]] = Counter()
    alone, together = SqliteEventLog.store_event, SqliteEventLog.store_event_batch

    def meet(entries: Sequence[EventLogEntry]) -> list[list[Any]]:
        found = []
        for entry in entries:
            event = str(entry.dagster_event_type.value) if entry.dagster_event_type else ""
            place = event, entry.step_key or ""
            counts[place] += 1
            found.append([*place, counts[place]])
        if noted:
            with noted.open("a") as file:
                file.writelines(f"{json.dumps(each)}\n" for each in found)
        return found

    def dying(entries: Sequence[EventLogEntry], store: Any) -> None:
        met = meet(entries)
        for when in ("before", "after"):
            if die and die[0] == when and list(die[1:]) in met:
                os.kill(os.getpid(), signal.SIGKILL)
            if when == "before":
                store()
        if stop and list(stop[:3]) in met:
            threading.Timer(IN_THE_MIDDLE, os.kill, (os.getpid(), stop[3])).start()

    def store_event(self: SqliteEventLog, event: EventLogEntry) -> None:
        dying([event], lambda: alone(self, event))

    def store_event_batch(self: SqliteEventLog, events: Sequence[EventLogEntry]) -> None:
        # Written one by one they are met one by one.
        of_assets = [event for event in events if event.dagster_event_type]
        dying(of_assets, lambda: together(self, events))

    SqliteEventLog.store_event = store_event  # type: ignore[method-assign]
    SqliteEventLog.store_event_batch = store_event_batch  # type: ignore[method-assign]


def lock(check: str) -> None:
    """Verdicts of this check find the ledger's database locked."""
    note = Verdicts.note

    def refused(self: Verdicts, asset: str, name: str, judged: Any, run_id: str) -> None:
        if name == check:
            raise OSError("database is locked")
        note(self, asset, name, judged, run_id)

    Verdicts.note = refused  # type: ignore[method-assign]


def prepare(asked: dict[str, Any]) -> None:
    watch(Path(asked["noted"]) if asked.get("noted") else None, asked.get("die"), asked.get("stop"))
    if asked.get("lock"):
        lock(asked["lock"])


if __name__ == "__main__":
    serve(LIBRARIES, prepare)
