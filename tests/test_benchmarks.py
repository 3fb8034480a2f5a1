"""Does every benchmark still run, at its smallest, and come to a verdict on its bounds? Whether they hold is for an idle machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
CARDS = "../shared/data/card_transactions/raw"
#: How each is asked for as little as it can do. The others need what is installed beside the environment, or are no benchmark.
SMALLEST = {
    "backtest": ["--quick"],
    "control_charts": ["--quick"],
    "definitions_growth": ["--quick", "--repeat", "1"],
    "drift_speed": ["--quick"],
    "drift_verdicts": ["--quick"],
    "estimates": ["--quick"],
    "evaluation_cost": ["--quick"],
    "fleet": ["--quick", "--nodes", "40", "--nodes", "160"],
    "features_at_scale": [CARDS, "--halves", "1", "--repeat", "1"],
    "gate_verdicts": ["--quick"],
    "ledger_growth": ["--nodes", "50", "--trainings", "2", "--trainings", "4"],
    "monitors_growth": ["--quick"],
    "one_request": [CARDS],
    "pages": ["--quick"],
    "plan_growth": ["--quick"],
    "raw_to_events": [CARDS],
    "raw_to_examples": [CARDS],
    "refit": ["--quick"],
    "release": [],
    "slices": ["--quick"],
    "segment_training": ["--segments", "8", "--rows", "200", "--storage", "sqlite", "--repeat", "1"],
}
ASIDE = {"bounds": "what benchmarks share", "feast_join": "Feast", "point_in_time_join": "compares with Feast"}


def test_every_benchmark_is_run_here_or_named_with_a_reason() -> None:
    assert {path.stem for path in BENCHMARKS.glob("*.py")} == {*SMALLEST, *ASIDE}


@pytest.mark.longest
@pytest.mark.parametrize("name", SMALLEST)
def test_a_benchmark_runs_to_its_end(name: str) -> None:
    if name in ("drift_verdicts", "control_charts", "estimates", "release") or CARDS in SMALLEST[name]:
        folder = ROOT.parent / "shared" / "data"
        if not folder.exists():
            pytest.skip(f"no public data in {folder}")
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *SMALLEST[name]]
    ran = subprocess.run(command, cwd=ROOT, env={**os.environ, "COLUMNS": "120"}, capture_output=True, text=True)
    assert ran.returncode in (0, 1), ran.stderr[-2000:]
    assert "Traceback" not in ran.stderr + ran.stdout, (ran.stdout + ran.stderr)[-3000:]
