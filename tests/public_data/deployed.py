"""An example's declarations on real stations, in a temporary home: with texts replaced, where a test needs less or other data."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from factory_assets.declarations.catalogue import load
from factory_assets.declarations.templates import render
from factory_assets.governor.executor import Deployment, catch_up, execute
from factory_assets.governor.runs import RANGE_END, RANGE_START
from factory_assets.loading import load_declarations
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger
from factory_resources.records.issues import Issues
from factory_resources.records.trials import Trials
from factory_resources.records.verdicts import Verdicts
from factory_resources.reports import Reports

REPOSITORY = Path(__file__).parents[2]
DATA = REPOSITORY.parent / "shared" / "data"


@contextmanager
def deployed(
    folder: Path, example: str, environment: Mapping[str, str], replaced: Mapping[str, str]
) -> Iterator[Deployment]:
    """The example of that name, deployed in an empty folder.

    environment: variables that its declarations read. replaced: what to write in them instead of what; each text must be there.
    """
    texts = {file.name: file.read_text() for file in (REPOSITORY / "examples" / example).glob("*.yaml")}
    for found, replacement in replaced.items():
        assert any(found in text for text in texts.values()), found
        texts = {name: text.replace(found, replacement) for name, text in texts.items()}
    with standing(folder, texts, environment) as deployment:
        yield deployment


@contextmanager
def standing(folder: Path, texts: Mapping[str, str], environment: Mapping[str, str]) -> Iterator[Deployment]:
    """Declarations, file name -> text, deployed in an empty folder. environment: variables that they read."""
    declarations = folder / "defs"
    declarations.mkdir(parents=True)
    for name, text in texts.items():
        (declarations / name).write_text(text)
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
        for name, value in {**environment, "FACTORY_DEFS": str(declarations)}.items():
            patch.setenv(name, value)
        lake, ledger = Lake(root=str(folder / "lake")), Ledger(url=f"sqlite:///{folder / 'ledger.db'}")
        resources = {
            "lake": lake,
            "ledger": ledger,
            "issues": Issues(url=ledger.url),
            "engine": Engine(threads=2, memory_limit="2GB"),
            "archive": ArchiveFolder(root=str(folder / "archive")),
            "trials": Trials(url=ledger.url),
            "verdicts": Verdicts(url=ledger.url),
            "reports": Reports(root=str(folder / "reports")),
        }
        own = dg.Definitions(resources=resources, executor=dg.in_process_executor)
        definitions = dg.Definitions.merge(load_declarations(), own)
        yield Deployment(load(declarations, render), definitions, instance, lake, ledger, resources["archive"])


def run_days(deployment: Deployment, assets: list[str], first: dt.date, last: dt.date) -> list[str]:
    """Materialise assets over a range of days in one run; returns what failed, in words."""
    keys = [dg.AssetKey(asset.split("/")) for asset in assets]
    deployment.failures += execute(deployment, keys, {RANGE_START: str(first), RANGE_END: str(last)})
    return deployment.failures


def bring_up(deployment: Deployment, until: dt.date) -> None:
    """What `factory run --until` does."""
    for _ in catch_up(deployment, until, lambda station, what: None):
        pass
    assert deployment.failures == []


def told_of_days(deployment: Deployment, asset: str) -> list[dict[str, object]]:
    """What the newest materialisation of each of an asset's days says."""
    events = deployment.instance.fetch_materializations(dg.AssetKey(asset.split("/")), limit=10_000).records
    by_day: dict[str, dict[str, object]] = {}
    for record in events:
        event = record.asset_materialization
        assert event is not None and event.partition is not None
        if "rows_delivered" in event.metadata:
            by_day.setdefault(event.partition, {name: value.value for name, value in event.metadata.items()})
    return [by_day[day] for day in sorted(by_day)]


def table(deployment: Deployment, name: str) -> pa.Table:
    """A whole table of the lake."""
    return deployment.lake.read(name, empty_if_absent=True)
