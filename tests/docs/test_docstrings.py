"""Do the examples in docstrings run, and does what users and plug-ins call have one?"""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = [
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for room in ("factory_assets", "factory_resources")
    for file in sorted((ROOT / room).rglob("*.py"))
    if ">>> " in file.read_text()
]
#: What a server, a notebook or a plug-in calls.
CALLED = [
    "factory_assets.declarations.catalogue.load",
    "factory_assets.declarations.expressions.aggregate",
    "factory_assets.declarations.expressions.sql",
    "factory_assets.features.online.vectors.Online",
    "factory_assets.identity.nodes.answering",
    "factory_assets.identity.nodes.lineage",
    "factory_assets.measures.certainty.certainty",
    "factory_assets.measures.metrics.score",
    "factory_assets.measures.profiles.profile",
    "factory_assets.models.archived.load",
    "factory_assets.models.estimators.train",
    "factory_assets.monitoring.drift.verdicts.drift",
    "factory_resources.archive_folder.ArchiveFolder",
    "factory_resources.engine.Engine",
    "factory_resources.lake.Lake",
    "factory_resources.ledger.Ledger",
]
#: Their examples need a trained line, and are run by tests that have one.
WITH_A_LINE = {"factory_assets.models.archived", "factory_assets.features.online.vectors"}


@pytest.mark.parametrize("module", [name for name in MODULES if name not in WITH_A_LINE])
def test_examples_run(module: str) -> None:
    found = doctest.testmod(importlib.import_module(module))
    assert found.attempted and not found.failed


@pytest.mark.parametrize("name", CALLED)
def test_what_is_called_from_outside_has_an_example(name: str) -> None:
    module, _, called = name.rpartition(".")
    assert ">>> " in (getattr(importlib.import_module(module), called).__doc__ or "")
