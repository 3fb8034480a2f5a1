"""Jobs on streams in Dagster's UI: what their owners decide about days that break a rule, and which patch of the contract would do."""

import datetime as dt
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path

import dagster as dg
from pydantic import Field

from factory_assets.declarations.catalogue import DeclaredStream
from factory_assets.declarations.days import day_of
from factory_assets.declarations.edits import EditError
from factory_assets.events.contract.patches import Patch
from factory_assets.events.contract.proposal import NothingToJudge, Proposal, propose
from factory_assets.launching import launched, picked, refusing, written_out
from factory_assets.materialization import table_shown
from factory_assets.words import counted
from factory_resources.asked_by import asked_by
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.markdown import block, literal
from factory_resources.people import with_claim
from factory_resources.records.issues import Issues


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
        with refusing(LookupError, ValueError):
            issues.decide(config.stream, config.rule, ruling.value, who, config.why)  # type: ignore[arg-type]
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


class Looked(dg.Config):
    """What a patch of a contract is wanted for."""

    stream: str = Field(description="Name of the stream.")
    day: str = Field(
        "",
        description="A day to look at, such as 2026-03-11; if empty, the days with open issues, or the newest if there are none.",
    )


def patch_job_of(streams: Mapping[str, DeclaredStream], files: Mapping[str, Path]) -> dg.JobDefinition:
    """streams: those that a launch may name. files: of their contracts."""

    @dg.op(
        config_schema=picked(written_out(Looked), stream=list(streams)),
        tags={"kind": "duckdb"},
        description="Judges the days once more, and shows on the page of the stream's raw rows which change lets them pass, or why "
        "none should.",
    )
    def suggest_patch(
        context: dg.OpExecutionContext,
        lake: dg.ResourceParam[Lake],
        engine: dg.ResourceParam[Engine],
        issues: dg.ResourceParam[Issues],
    ) -> None:
        config = launched(Looked, context)
        with refusing(ValueError):
            day = day_of("day", config.day)
        with refusing(NothingToJudge):
            proposal = propose(lake, engine, issues, streams[config.stream], day)
        observed = _proposed(proposal, files[config.stream], day)
        context.log.info(f"{config.stream}: {observed.description}")
        context.log_event(observed)

    @dg.job(
        name="contract_patch",
        description="Shows which change of a stream's contract would let days pass that break it, and the lines of its file that "
        "change; or why there should be none. It changes no file: what a code server reads may be an image, or a checkout that "
        "nobody commits from, and a contract is reviewed like code. `git apply` takes the change as it is shown, and "
        "`factory contract patch STREAM --apply` makes it in the folder of declarations.",
    )
    def contract_patch() -> None:
        suggest_patch()

    return contract_patch


def _proposed(proposal: Proposal, file: Path, day: dt.date | None) -> dg.AssetObservation:
    """What is suggested, as it shows on the page of the raw rows. file: of the contract. day: the one that was asked for."""
    rows = [
        {
            "rule": rule,
            "patch": each.text if isinstance(each, Patch) else "none",
            "why": each.reason if isinstance(each, Patch) else f"{each.reason}; {each.instead}",
        }
        for rule, each in proposal.by_rule.items()
    ]
    metadata: dict[str, dg.MetadataValue | str] = {"days": ", ".join(map(str, proposal.days))}
    if rows:
        metadata["suggestions"] = table_shown(rows, ("rule", "patch", "why"))
    if proposal.patches:
        try:
            metadata["change"] = dg.MetadataValue.md(block(proposal.difference(file.read_text(), file.name), "diff"))
        except (OSError, EditError) as unreadable:
            metadata["no_change_shown"] = f"{file.name}: {unreadable}"
        metadata["command"] = f"factory contract patch {proposal.stream}{f' --day {day}' if day else ''} --apply"
    found = (
        f"{counted(len(proposal.patches), 'patch', 'patches')} for {counted(len(rows), 'rule')} that "
        f"{counted(len(proposal.days), 'day breaks', 'days break')}"
        if rows
        else proposal.nothing_is_wrong
    )
    partition = str(proposal.days[0]) if len(proposal.days) == 1 else None
    key = dg.AssetKey([proposal.stream, "raw"])
    return dg.AssetObservation(key, partition=partition, description=literal(found), metadata=metadata)
