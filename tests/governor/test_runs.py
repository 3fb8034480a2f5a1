"""Are the runs that the plan asks for accepted, and known again, however much is made in one?"""

import datetime as dt
from pathlib import Path

import dagster as dg
import pytest

from factory_assets.governor.runs import REASON, asked, called_of_lines, states_of
from factory_assets.governor.work import Called, Notice, Work
from factory_assets.identity.inputs import digest
from tests.governor.processes import database, declare_instance


def test_postgresql_accepts_a_run_of_any_number_of_assets_and_any_reason(tmp_path: Path, postgres_url: str) -> None:
    names = [f"line_{number}/predictions" for number in range(450)]
    reason = "; ".join(f"{name}: {digest([name])} of Île-de-France" for name in names)
    work = Work(tuple(names), reason, states=tuple(digest([name]) for name in names))
    declare_instance(tmp_path, database(postgres_url, "tags"))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        run = instance.create_run_for_job(
            dg.JobDefinition(name="any", graph_def=dg.GraphDefinition(name="any")), tags=asked(work).tags
        )
        stored = instance.get_run_by_id(run.run_id)
        assert stored is not None and states_of(stored) == list(work.states)
        assert stored.tags[REASON].startswith(reason[:500]) and len(stored.tags[REASON]) <= 600


def test_the_page_of_all_lines_is_told_what_the_plan_knows_of_each() -> None:
    notice = Notice("blocked", "orders/raw", 'x >= 0, "quoted" <b>', (dt.date(2026, 3, 2), dt.date(2026, 3, 3)))
    called = {"eta": Called((notice,), (("eta as of 2026-03-02, 3 nodes", "7 new labelled days"),)), "churn": Called()}
    run = asked(Work(("fleet",), "what it shows has changed", states=("s",), fleet=called))
    assert run.keys == (dg.AssetKey("fleet"),) and run.partition is None
    assert called_of_lines(run.config["ops"]["fleet"]["config"]["lines"]) == called
    with pytest.raises(ValueError, match="written by the plan"):
        called_of_lines(['{"line": "eta"}'])
