"""Are runs that take longer than those before them found, and others left alone?"""

from __future__ import annotations

import datetime as dt
import json
import time
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from typer.testing import CliRunner

from factory_assets.cli import app
from factory_assets.governor.runs import PARTITION, runs_of_a_day
from factory_assets.monitoring.charts.latency import Run, latencies

SCORED, READ = ("line/drift", "line/predictions"), ("orders/raw",)
DAY, BEGAN = dt.date(2026, 3, 1), dt.datetime(2026, 3, 2, 1, tzinfo=dt.UTC)


def runs(seconds: list[float], assets: tuple[str, ...] = SCORED, running: bool = False) -> list[Run]:
    """A run a day; the newest goes on if it is running."""
    last = len(seconds) - 1
    return [
        Run(assets, DAY + dt.timedelta(at), BEGAN + dt.timedelta(at), each, running and at == last)
        for at, each in enumerate(seconds)
    ]


def usual(number: int, seed: int = 1) -> list[float]:
    return [60 * float(np.exp(each)) for each in np.random.default_rng(seed).normal(0, 0.1, number)]


@pytest.mark.parametrize("running", [False, True])
def test_a_run_that_takes_three_times_as_long_is_slow_also_while_it_goes_on(running: bool) -> None:
    (found,) = latencies(runs([*usual(20), 200], running=running))
    assert found.verdict == "slow" and found.run.seconds == 200 and found.limit is not None and found.limit < 120
    assert found.reason.startswith(f"{'running for' if running else 'took'} 3 min 20 s; usual are ")
    assert found.reason.endswith(" by 20 runs")
    (calm,) = latencies(runs([*usual(20), 70], running=running))
    assert calm.verdict == "as usual" and calm.limit == found.limit


def test_runs_that_make_something_else_are_no_past_and_slow_ones_come_first() -> None:
    found = latencies([*runs([*usual(3), 60]), *runs([*[600.0] * 20, 2000.0], READ)])
    assert [(each.run.assets, each.verdict) for each in found] == [(READ, "slow"), (SCORED, "no verdict")]
    assert found[1].reason == "took 1 min 0 s; 3 runs before it in control, a verdict takes 8"


def test_a_run_that_is_left_open_is_no_past_of_later_ones() -> None:
    left = Run(SCORED, DAY, BEGAN - dt.timedelta(1), 1e6, running=True)
    (found,) = latencies([left, *runs([*usual(20), 60])])
    assert found.before == 20 and found.verdict == "as usual"


def test_unchanged_runs_are_slow_no_more_often_than_stated() -> None:
    slow = [latencies(runs(usual(30, seed)))[0].verdict == "slow" for seed in range(1000)]
    assert np.mean(slow) <= 0.005


def test_the_event_log_tells_how_long_runs_of_a_day_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    naps = iter([*[0.0] * 9, 4.0])
    days = dg.DailyPartitionsDefinition("2026-03-01")

    @dg.asset(partitions_def=days, backfill_policy=dg.BackfillPolicy.single_run())
    def scored() -> None:
        time.sleep(next(naps, 0.0))

    monkeypatch.setenv("FACTORY_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    ran = CliRunner().invoke(app, ["latency"])
    assert ran.exit_code == 0 and "no run of a single day in the last 90 days" in ran.output
    job = dg.Definitions([scored]).resolve_implicit_global_asset_job_def()
    before = dt.datetime.now(dt.UTC)
    with dg.DagsterInstance.get() as instance:
        for at in range(10):
            tags = {PARTITION: str(DAY + dt.timedelta(at))}
            job.execute_in_process(
                instance=instance, partition_key=tags[PARTITION], tags=tags, asset_selection=[scored.key]
            )
        span = {"dagster/asset_partition_range_start": "2026-03-01", "dagster/asset_partition_range_end": "2026-03-09"}
        job.execute_in_process(instance=instance, tags=span, asset_selection=[scored.key])
        found = list(runs_of_a_day(instance, before))
        assert not list(runs_of_a_day(instance, dt.datetime.now(dt.UTC) + dt.timedelta(days=1)))
    assert [run.day for run in found] == [DAY + dt.timedelta(at) for at in reversed(range(10))]
    assert {run.assets for run in found} == {("scored",)} and 4 < found[0].seconds < 60
    ran = CliRunner().invoke(app, ["latency", "--json"])
    (told,) = json.loads(ran.output)
    # Whether that is slow is up to the machine: pure runs are tested above.
    assert ran.exit_code == (told["verdict"] == "slow")
    assert (told["day"], told["runs"], told["running"]) == ("2026-03-10", 9, False)
    assert told["seconds"] == round(found[0].seconds, 1)
    ran = CliRunner().invoke(app, ["latency"])
    assert "scored" in ran.output and told["verdict"] in ran.output
