"""Is every module that decides a value named, so that no change of code leaves wrong rows that count as up to date?"""

from __future__ import annotations

from pathlib import Path

import pytest

import factory_assets
from factory_assets.identity.code import imported, source
from factory_assets.identity.stations import ASIDE, STATIONS, aside

LIST = "factory_assets/identity/stations.py"
NAMED = {module for each in STATIONS.values() for module in each.modules}


def modules() -> list[str]:
    root = Path(factory_assets.__file__).parent
    files = [file.relative_to(root.parent).with_suffix("") for file in root.rglob("*.py")]
    return sorted(".".join(file.parts).removesuffix(".__init__") for file in files)


@pytest.mark.parametrize("station", STATIONS)
def test_what_a_named_module_imports_is_named_too_or_stands_aside_with_a_reason(station: str) -> None:
    forgotten = [
        f"{module} imports {found}: name it in STATIONS[{station!r}] of {LIST}, or, if it decides no value there, "
        "in what stands aside, with the reason"
        for module in STATIONS[station].modules
        for found in sorted(imported(module))
        if found not in STATIONS[station].modules and not aside(found, station)
    ]
    assert not forgotten, "\n".join(forgotten)


def test_every_module_is_named_or_stands_aside_with_a_reason() -> None:
    """Assets may call a new module that no named one imports."""
    # The package itself sets switches of libraries.
    nothing = (source("factory_assets.events").body, source("factory_assets").body)
    forgotten = [
        f"{module} decides the values of which table? Name it in STATIONS of {LIST}, or in ASIDE with the reason why of none"
        for module in modules()
        if module not in NAMED and not aside(module) and source(module).body not in nothing
    ]
    assert not forgotten, "\n".join(forgotten)


@pytest.mark.parametrize("station", STATIONS)
def test_no_module_is_named_twice_or_is_named_and_stands_aside(station: str) -> None:
    named = STATIONS[station].modules
    assert len(named) == len(set(named))
    assert not set(named) & {*ASIDE, *STATIONS[station].aside}


def test_no_reason_is_given_for_a_module_that_there_is_not() -> None:
    known = {*modules(), "factory_resources"}
    assert set(ASIDE) <= known
    assert {module for each in STATIONS.values() for module in each.aside} <= known
