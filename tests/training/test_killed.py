"""Is a training that was killed in the middle finished by the next one, and is nothing done twice?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from factory_resources.ledger import Ledger
from tests.training.segmented import LINE, Segmented, day, declare

REPOSITORY = Path(__file__).parents[2]
AS_OF = day(34)
BOOSTED = {"boosted": {"estimator": "lightgbm", "params": {"num_boost_round": 60}}}


def prepared(folder: Path, cities: int, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Examples of so many cities, in a folder where nothing was trained yet."""
    monkeypatch.setenv("FACTORY_DEFS", str(declare(folder / "defs", candidates=BOOSTED)))
    (folder / "dagster").mkdir()
    (folder / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    rng, names = np.random.default_rng(7), [f"{number % 10}/{number}" for number in range(cities)]
    rows = [(name, day(offset)) for offset in range(35) for name in names for _ in range(10)]
    slope = dict(zip(names, rng.normal(size=cities), strict=True))
    x = rng.normal(size=(len(rows), 2))
    y = np.array([slope[name] for name, _ in rows]) * x[:, 0] + x[:, 1] + rng.normal(size=len(rows))
    with dg.DagsterInstance.from_config(str(folder / "dagster")) as instance:
        Segmented(folder, instance).give([name for name, _ in rows], [on for _, on in rows], x, y)
    return folder


def start(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.training.killable", str(folder), str(AS_OF)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "ignore"}
    return subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def finish(folder: Path) -> None:
    process = start(folder)
    told, _ = process.communicate(timeout=900)
    assert process.returncode == 0, told


def registered(folder: Path) -> dict[str, str]:
    if not (folder / "ledger.db").exists():
        return {}
    versions = Ledger(url=f"sqlite:///{folder / 'ledger.db'}").versions(LINE)
    assert len({version.node for version in versions}) == len(versions), "one version a node"
    return {version.node: version.version for version in versions}


def fitted(folder: Path) -> list[str]:
    noted = folder / "fitted"
    return noted.read_text().split() if noted.exists() else []


def state(folder: Path) -> object:
    """Everything that a training leaves: versions, champions with their reasons, and tables."""
    ledger = Ledger(url=f"sqlite:///{folder / 'ledger.db'}")
    decided = {d.node: (d.verdict, d.version, d.champion, d.reason) for d in ledger.decisions(LINE)}
    assert len(decided) == len(ledger.decisions(LINE)), "one decision a node"
    from factory_resources.lake import Lake

    lake = Lake(root=str(folder / "lake"))
    tables = {name: lake.read(f"{LINE}/{name}").sort_by("node").to_pylist() for name in ("model", "leaderboard")}
    archived = {file.name for file in (folder / "archive" / LINE).iterdir()}
    return registered(folder), decided, tables, archived


# That a killed line ends as a clean one is tested in every run (tests/line); this is about one training of many nodes.
@pytest.mark.longest
# What is fitted is registered together, every two seconds: of few nodes nothing may be yet.
@pytest.mark.parametrize(("cities", "told"), [(30, fitted), (390, registered)], ids=["30", "390"])
def test_a_killed_training_is_finished_by_the_next_as_if_nothing_had_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cities: int, told: Callable[[Path], Collection[str]]
) -> None:
    killed = prepared(tmp_path / "killed", cities, monkeypatch)
    clean = prepared(tmp_path / "clean", cities, monkeypatch)
    process = start(killed)
    while process.poll() is None and len(told(killed)) < cities // 3:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it was killed in the middle"
    before, at_first = registered(killed), len(fitted(killed))
    assert cities // 3 <= len(told(killed)) and len(before) < cities
    finish(killed)
    again = fitted(killed)[at_first:]
    assert len(again) == len(set(again)) and not set(again) & set(before), "only what is missing is fitted"
    assert set(again) | set(before) == set(registered(killed))
    with dg.DagsterInstance.from_config(str(clean / "dagster")) as instance:
        monkeypatch.setenv("FACTORY_DEFS", str(clean / "defs"))
        assert Segmented(clean, instance).train(AS_OF) == []
    assert state(killed) == state(clean)
