"""Are the runs that the plan asks for accepted, and known again, however much is made in one?"""

from pathlib import Path

import dagster as dg

from factory_assets.governor.runs import REASON, asked, states_of
from factory_assets.governor.work import Work
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
