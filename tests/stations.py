"""A stream with real assets, checks, lake and Dagster instance in a temporary folder, fed by files that a test writes."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from dagster._core.event_api import PartitionKeyFilter

from factory_assets.declarations.catalogue import load
from factory_assets.governor.executor import Deployment
from factory_assets.loading import load_declarations
from factory_assets.materialization import data_versions
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger
from factory_resources.records.issues import Issues
from factory_resources.records.trials import Trials
from factory_resources.records.verdicts import Verdicts
from factory_resources.reports import Reports

START = dt.date(2024, 3, 1)

CSV_A_DAY = "{kind: csv, uri: 'FEED/orders-{day}*.csv'}"
STREAM = """
type: factory_assets.components.EventStream
attributes:
  name: orders
  owner: team:marketplace
  description: Orders, one row each.
  source: {source}
  id: order_id
  event_time: placed_at
  start: 2024-03-01
  end: 2024-05-31
  derive: {{ref_number: 'cast(substring(ref, 2) as integer)'}}
  exclude: {{tests: note = 'test'}}
"""

CONTRACT = """
tolerance: 0.3
columns:
  order_id: {type: integer}
  placed_at: {type: timestamp}
  city: {type: string, allowed: [Paris, Lyon]}
  amount: {type: double, min: 0, unit: EUR}
  note: {type: string, nullable: true, required: false}
  channel: {type: string, required: false}
  ref: {type: string, nullable: true, required: false}
"""


def day(offset: int) -> dt.date:
    """Days of the stream from 0 on."""
    return START + dt.timedelta(days=offset)


def row(number: int, on: dt.date, **values: Any) -> dict[str, Any]:
    """An order that breaks no rule; values replace its own."""
    time = f"{on}T{number % 24:02d}:00:00"
    own = {"order_id": number, "placed_at": time, "city": "Paris", "amount": f"{number}.5", "note": "hi"}
    return own | {"channel": "app", "ref": "N7"} | values


def csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> str:
    """The rows as a delivery of text; columns that a row has not are empty."""
    names = columns or list(dict.fromkeys(name for each in rows for name in each))
    lines = [",".join(str(each.get(name, "")) for name in names) for each in rows]
    return "\n".join([",".join(names), *lines]) + "\n"


class Station:
    """One deployment: write deliveries, run days, look at what came of them."""

    def __init__(self, folder: Path, source: str = CSV_A_DAY, more: str = "", contract: str = CONTRACT):
        declarations = STREAM.format(source=source.replace("FEED", str(folder / "feed"))) + more
        (folder / "defs").mkdir()
        (folder / "feed").mkdir()
        (folder / "defs" / "defs.yaml").write_text(declarations)
        self.contract_file = folder / "defs" / "contract.yaml"
        self.contract_file.write_text(contract)
        self.folder, self.feed = folder, folder / "feed"
        self.instance = dg.DagsterInstance.ephemeral()
        self.lake = Lake(root=str(folder / "lake"))
        self.load()

    def load(self) -> None:
        """Read the declarations as they are now."""
        self.catalogue = load(self.folder / "defs")
        url = f"sqlite:///{self.folder / 'ledger.db'}"
        self.issues = Issues(url=url)
        ledger = Ledger(url=url)
        resources = {
            "lake": self.lake,
            "engine": Engine(threads=2, memory_limit="1GB"),
            "issues": self.issues,
            "archive": ArchiveFolder(root=str(self.folder / "archive")),
            "ledger": ledger,
            "trials": Trials(url=ledger.url),
            "verdicts": Verdicts(url=ledger.url),
            "reports": Reports(root=str(self.folder / "reports")),
        }
        definitions = dg.Definitions.merge(
            _declared(self.folder / "defs"), dg.Definitions(resources=resources, executor=dg.in_process_executor)
        )
        self.deployment = Deployment(
            self.catalogue, definitions, self.instance, self.lake, ledger, resources["archive"]
        )

    def deliver(self, on: dt.date, content: Sequence[Mapping[str, Any]] | str | bytes, part: str = "") -> None:
        """Put a file of the day into the feed: rows, or a text, or bytes as they are."""
        text = content if isinstance(content, (str, bytes)) else csv(content)
        (self.feed / f"orders-{on}{part}.csv").write_bytes(text.encode() if isinstance(text, str) else text)

    def run(self, first: dt.date, last: dt.date | None = None, assets: Sequence[str] = ("raw", "events")) -> Run:
        """Materialise assets of the stream, in one run, for one day or a range of them."""
        keys = [dg.AssetKey(["orders", name] if "/" not in name else name.split("/")) for name in assets]
        tags = {"dagster/asset_partition_range_start": str(first), "dagster/asset_partition_range_end": str(last)}
        result = self.deployment.job.execute_in_process(
            instance=self.instance,
            asset_selection=keys,
            partition_key=None if last else str(first),
            tags=tags if last else {},
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        return Run(result)

    def table(self, name: str, on: dt.date, columns: Sequence[str] = ()) -> list[dict[str, Any]]:
        table: pa.Table = self.lake.read(f"orders/{name}", on, on, columns, empty_if_absent=True)
        return table.to_pylist()

    def ids(self, on: dt.date) -> list[int]:
        return sorted(each["order_id"] for each in self.table("events", on, ["order_id"]))

    def rules(self, on: dt.date) -> dict[int, str]:
        """Quarantined rows of a day: rule by id."""
        return {json.loads(each["raw_row"])["order_id"]: each["rule"] for each in self.table("quarantine", on)}

    def check(self, concern: str, on: dt.date) -> dg.AssetCheckEvaluation:
        """The newest evaluation of a contract's check recorded on the partition."""
        return self.check_of("orders/raw", concern, on)

    def check_of(self, asset: str, name: str, on: dt.date) -> dg.AssetCheckEvaluation:
        """The newest evaluation of an asset's check recorded on the partition."""
        record = self.instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(dg.AssetKey(asset.split("/")), name),
            limit=1,
            partition_filter=PartitionKeyFilter(key=str(on)),
        )[0]
        assert record.event is not None and record.event.dagster_event is not None
        return record.event.dagster_event.asset_check_evaluation_data

    def broken(self, concern: str, on: dt.date) -> dict[str, int]:
        """Rules that the check found broken, with the number of rows."""
        metadata = self.check(concern, on).metadata
        if "failures" not in metadata:
            return {}
        return {each.data["rule"]: each.data["rows"] for each in metadata["failures"].records}

    def versions(self, asset: str) -> dict[str, str]:
        return data_versions(self.instance, dg.AssetKey(asset.split("/")))

    def metadata(self, asset: str, on: dt.date) -> dict[str, Any]:
        """Values of the metadata of a day's newest materialisation."""
        event = self.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=dg.AssetKey(["orders", asset]), asset_partitions=[str(on)]), limit=1
        ).records[0]
        assert event.asset_materialization is not None
        return {name: value.value for name, value in event.asset_materialization.metadata.items()}

    def counts_add_up(self, on: dt.date) -> bool:
        """Rows in = accepted + quarantined + duplicates + excluded, by the event's own numbers and by the tables."""
        told = self.metadata("events", on)
        quarantined, excluded = self.table("quarantine", on), sum((told.get("excluded_by_rule") or {}).values())
        return (
            told["rows_delivered"] == len(self.table("raw", on, ["ds"]))
            and told["rows_delivered"]
            == told["accepted"] + len(quarantined) + told["duplicates"] + told.get("superseded", 0) + excluded
            and told["quarantined"] == len(quarantined)
        )


def _declared(folder: Path) -> dg.Definitions:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACTORY_DEFS", str(folder))
        return load_declarations()


class Run:
    """How a run ended, as a person sees it."""

    def __init__(self, result: dg.ExecuteInProcessResult):
        self.success = result.success
        self.steps = {event.step_key for event in result.get_step_failure_events()}
        self.message = " ".join(map(_told, result.get_step_failure_events()))
        self.materialised = {
            (event.asset_key.to_user_string(), event.partition) for event in result.get_asset_materialization_events()
        }


def _told(event: dg.DagsterEvent) -> str:
    data = event.step_failure_data
    if data.user_failure_data and data.user_failure_data.description:
        return data.user_failure_data.description
    return data.error.to_string() if data.error else ""
