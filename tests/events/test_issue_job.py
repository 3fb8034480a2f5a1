"""Does the owner of a stream decide about its issues in Dagster's UI as on the command line, and is a rule's refusal no fault?"""

import datetime as dt
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from factory_assets.events.checks import _may_be_let_through
from factory_assets.events.contract.expectations import Failure
from factory_assets.events.contract.rules import Kind, Rule
from factory_assets.events.jobs import issue_job_of
from factory_resources.people import process_user, with_claim
from factory_resources.records.issues import BrokenRule, Issues

DAYS = [dt.date(2026, 1, 5), dt.date(2026, 1, 6)]


@pytest.fixture
def issues(tmp_path: Path) -> Issues:
    """A rule that two days break, and a file that never came."""
    book = Issues(url=f"sqlite:///{tmp_path / 'ledger.db'}")
    found = {day: [BrokenRule("number of rows", "row", "3 rows")] for day in DAYS}
    found[DAYS[0]] = [*found[DAYS[0]], BrokenRule("the day is delivered", "delivery", "no file")]
    book.note("orders", "team:x", DAYS, found)
    return book


def decide(issues: Issues, instance: dg.DagsterInstance, **config: str) -> dg.ExecuteInProcessResult:
    told = {"stream": "orders", "rule": "number of rows", "why": "a strike", "by": "ana", **config}
    return issue_job_of(["orders"]).execute_in_process(
        run_config={"ops": {"decide_issue": {"config": told}}},
        resources={"issues": issues},
        instance=instance,
        raise_on_error=False,
    )


def test_an_issue_is_accepted_opened_again_and_closed(issues: Issues) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        for decision, state in (("accept", "accepted"), ("reopen", "open"), ("fixed", "fixed")):
            assert decide(issues, instance, decision=decision).success
            issue = next(each for each in issues.issues("orders") if each.rule == "number of rows")
            assert (issue.state, issue.why, issue.who) == (state, "a strike", with_claim(process_user(), "ana"))
        first = instance.fetch_observations(dg.AssetKey(["orders", "events"]), limit=9).records[-1]
    assert first.asset_observation is not None
    shown = {name: value.value for name, value in first.asset_observation.metadata.items()}
    assert (shown["issue"], shown["state"], shown["days"]) == ("number of rows", "accepted", "2026-01-05, 2026-01-06")


def test_a_refusal_says_what_there_is(issues: Issues) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        for rule, wanted in (
            ("number of row", "refused: orders has no issue 'number of row'; issues there: 'number of rows'"),
            ("the day is delivered", "cannot be accepted: what was not delivered cannot go on"),
        ):
            (failed,) = decide(issues, instance, rule=rule, decision="accept").get_step_failure_events()
            told = failed.step_failure_data.user_failure_data
            assert told is not None and wanted in str(told.description)
            assert not failed.step_failure_data.error_source or "Traceback" not in str(failed.step_failure_data.error)
    assert {issue.state for issue in issues.issues("orders")} == {"open"}


def test_a_launch_is_offered_what_can_be_decided() -> None:
    told = {"stream": "orders", "rule": "x", "why": "a strike", "by": "ana", "decision": "ignore"}
    job = issue_job_of(["orders"])
    (op,) = job.nodes
    assert op.definition.config_field.config_type.fields["decision"].config_type.config_values == [
        "accept",
        "reopen",
        "fixed",
    ]
    with pytest.raises(dg.DagsterInvalidConfigError, match=r"not in enum type DecisionName_[0-9a-f]{8} got ignore"):
        dg.validate_run_config(job, {"ops": {"decide_issue": {"config": told}}})


@pytest.mark.parametrize(
    ("kind", "state", "links"),
    [
        ("min", {"serious": True}, True),
        ("min", {"serious": True, "accepted": True}, False),
        ("min", {}, False),
        ("min", {"serious": True, "leader": "another rule"}, False),
        ("delivery", {"serious": True}, False),
    ],
)
def test_a_check_links_to_the_job_where_its_owner_may_let_the_day_through(
    kind: Kind, state: dict[str, Any], links: bool
) -> None:
    failure = Failure(Rule("ranges", kind, "amount", "amount >= 0", "amount < 0"), 3, 0.1, "-1", **state)
    assert _may_be_let_through(failure) is links
