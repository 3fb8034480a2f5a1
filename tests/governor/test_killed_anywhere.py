"""Does `factory run`, killed at any boundary of any step, end with the next run as if it had never been killed?

One day of the line breaks its contract: it must be held back, and told, whenever the process died. What decides is here; every
boundary is in `test_killed_before` and `test_killed_after`.
"""

from __future__ import annotations

import json
import signal

import pytest

from tests.governor.killing import BAD, DAYS, ROWS, UNDER_WAY, Clean, Death, Factory, as_if_never_killed, in_file
from tests.governor.world import day

pytestmark = pytest.mark.slow

#: About what decides: that a day is judged before it is built on, that a training is finished, and once.
FEW = [
    Death("after", "STEP_START", "orders__contract"),
    Death("before", "ASSET_MATERIALIZATION", "guess__champion"),
]


def test_the_clean_run_judged_every_day_and_trained_once(clean: Clean) -> None:
    judged = [status for (asset, _, partition), (status, _, _) in clean.state["checks"].items()
              if asset == '["orders", "raw"]' and partition]  # fmt: skip
    assert judged.count("FAILED") == 1 and len(judged) == 5 * DAYS and "PLANNED" not in judged
    assert clean.state["issues"] == [("x >= 0", "open", [(day(BAD), f"x >= 0: not so for {ROWS} rows, 100.0%")])]
    assert len(clean.state["decisions"]) == 4 and clean.state["under way"] == []


@pytest.mark.parametrize("death", [FEW[0], pytest.param(FEW[1], marks=pytest.mark.longest)], ids=str)
def test_killed_at_what_decides(factory: Factory, clean: Clean, death: Death) -> None:
    home = f"few-{FEW.index(death)}"
    assert factory.run(home, die=death)[0] == -9
    as_if_never_killed(factory, home, clean)


@pytest.mark.parametrize(
    "ending", [pytest.param(signal.SIGINT, marks=pytest.mark.longest), signal.SIGTERM], ids=["SIGINT", "SIGTERM"]
)
def test_stopped_in_the_middle_of_a_step_it_ends_at_once_and_the_next_run_goes_on(
    factory: Factory, clean: Clean, ending: signal.Signals
) -> None:
    home, noted = f"stopped-{ending.name}", factory.folder / f"noted-{ending.name}"
    code, printed = factory.run(home, noted=str(noted), stop=["STEP_START", "orders__contract", 1, int(ending)])
    assert code == 130 and "stopped: what was made stays, and the next run goes on from there" in printed
    met = [json.loads(line)[:2] for line in noted.open()]
    after = met[met.index(["STEP_START", "orders__contract"]) + 1 :]
    assert not [step for event, step in after if event == "STEP_START"], "no station is begun any more"
    assert not [event for event, step in after if event == "ASSET_CHECK_EVALUATION"]
    assert " computed" not in printed
    assert in_file(factory.folder / home / "dagster" / "history" / "runs.db", UNDER_WAY) == []
    as_if_never_killed(factory, home, clean)


@pytest.mark.parametrize("check", ["contract", pytest.param("no_leak", marks=pytest.mark.longest)])
def test_a_verdict_that_finds_the_database_locked_is_given_by_the_next_run(
    factory: Factory, clean: Clean, check: str
) -> None:
    code, printed = factory.run(f"locked-{check}", lock=check)
    assert code == 1 and "database is locked" in printed
    as_if_never_killed(factory, f"locked-{check}", clean)
