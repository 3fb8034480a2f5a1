"""The job `issue` in Dagster's UI: what the owner of a stream decides about days that break a rule."""

from collections.abc import Sequence
from enum import Enum

import dagster as dg
from pydantic import Field

from factory_assets.launching import launched, picked, written_out
from factory_resources.asked_by import asked_by
from factory_resources.issues import Issues
from factory_resources.markdown import literal
from factory_resources.people import with_claim


class Ruling(Enum):
    """What is decided about an issue."""

    #: Rows that break the rule stay aside, the rest become events.
    accept = "accepted"
    #: Days that break the rule are blocked again.
    reopen = "open"
    #: The days will not be judged again.
    fixed = "fixed"


class Decided(dg.Config):
    """A decision about an issue."""

    stream: str = Field(description="Name of the stream.")
    rule: str = Field(description="Name of the rule, as the issue has it.")
    decision: str = Field(
        description="accept: the days go on as they are, without the rows that break the rule. reopen: they are blocked again. "
        "fixed: they will not be judged again; the issue opens by itself when another day breaks the rule."
    )
    why: str = Field(description="The reason, for those who ask later.")
    by: str = Field(description="Who says that they decide it. Kept as a claim, beside who it was.")


def issue_job_of(streams: Sequence[str] = ()) -> dg.JobDefinition:
    """streams: those that a launch may name; any if there are none."""

    @dg.op(
        config_schema=picked(written_out(Decided), stream=streams, decision=list(Ruling.__members__)),
        tags={"kind": "sql"},
        description="Appends the decision to the book of issues, and notes it on the page of the stream's events.",
    )
    def decide_issue(context: dg.OpExecutionContext, issues: dg.ResourceParam[Issues]) -> None:
        config = launched(Decided, context)
        ruling, who = Ruling[config.decision], with_claim(asked_by(context.instance, context.run), config.by)
        try:
            issues.decide(config.stream, config.rule, ruling.value, who, config.why)  # type: ignore[arg-type]
        except (LookupError, ValueError) as refused:
            raise dg.Failure(f"refused: {refused.args[0]}", allow_retries=False) from None
        days = next(each.days for each in issues.issues(config.stream) if each.rule == config.rule)
        context.log_event(
            dg.AssetObservation(
                dg.AssetKey([config.stream, "events"]),
                description=literal(config.why),
                metadata={
                    "issue": config.rule,
                    "state": ruling.value,
                    "reason": config.why,
                    "decided_by": who,
                    "days": ", ".join(map(str, sorted(days))) or "none",
                },
            )
        )

    @dg.job(
        name="issue",
        description="Accepts an issue of a stream, opens it again, or declares it fixed. Accepted days go on at the next look of the "
        "sensor `upkeep`, or the next `factory run`.",
    )
    def issue() -> None:
        decide_issue()

    return issue
