"""Jobs in Dagster's UI that start work which the plan would start later, or not at all: rows set aside are released, nodes trained."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg
from pydantic import Field

from factory_assets.declarations.days import day_of
from factory_assets.declarations.documents import DeclarationError
from factory_assets.governor.by_hand import Refused, Released, Retrained, release, retrain
from factory_assets.governor.executor import Deployment, Stopped
from factory_assets.governor.runs import REASON, short
from factory_assets.launching import launched, picked, refusing, written_out
from factory_assets.materialization import table_shown
from factory_resources.asked_by import asked_by
from factory_resources.dagster_private.refusals import refusal
from factory_resources.markdown import literal
from factory_resources.people import with_claim

#: Opens the deployment whose runs a job starts, with the instance that the job runs on.
Opened = Callable[[dg.DagsterInstance], Deployment]
#: Nodes that a page lists.
SHOWN = 200


class Aside(dg.Config):
    """Rows that were set aside, and may come back."""

    stream: str = Field(description="Name of the stream.")
    first: str = Field("", description="First day, such as 2026-03-11; if empty, the first with rows set aside.")
    last: str = Field("", description="Last day; if empty, the last with rows set aside.")


def release_job_of(streams: Sequence[str], opened: Opened) -> dg.JobDefinition:
    """streams: those that a launch may name."""

    @dg.op(
        config_schema=picked(written_out(Aside), stream=streams),
        tags={"kind": "duckdb"},
        description="Starts the runs that make the days again, and notes on the page of the stream's events what came of it.",
    )
    def release_rows(context: dg.OpExecutionContext) -> None:
        config = launched(Aside, context)
        with refusing(ValueError):
            first, last = (day_of(name, text) for name, text in (("first", config.first), ("last", config.last)))
        with _refusing():
            released = release(opened(context.instance), config.stream, first, last)
        context.log.info(released.message)
        context.log_event(_released(released, asked_by(context.instance, context.run)))
        _fail(released.failures)

    @dg.job(
        name="quarantine_release",
        description="Judges the days of a stream with rows set aside again, by the contract as it is now. Rows that break no rule "
        "any more become events. The days are made by runs of their own, in this one's process; a second release finds nothing to do.",
    )
    def quarantine_release() -> None:
        release_rows()

    return quarantine_release


def _released(released: Released, who: str) -> dg.AssetObservation:
    days = sorted({day for day, _ in released.before})
    metadata: dict[str, Any] = {"asked_by": who, "days": ", ".join(map(str, days)) or "none"}
    if rules := released.rules:
        rows = [{"rule": rule, "released": back, "still_aside": still} for rule, (back, still) in rules.items()]
        metadata["rows"] = table_shown(rows, ("rule", "released", "still_aside"))
    key = dg.AssetKey([released.stream, "events"])
    return dg.AssetObservation(key, description=literal(released.message), metadata=metadata)


class Wanted(dg.Config):
    """A training that somebody wants now."""

    line: str = Field(description="Name of the line.")
    why: str = Field(description="The reason, which the run keeps for those who ask later.")
    by: str = Field(description="Who says that they ask for it. Kept as a claim, beside who it was.")
    nodes: list[str] = Field(
        [],
        description="Nodes, such as global or FR/Lyon; all if empty. Another name is refused, with those that there are.",
    )


def retrain_job_of(lines: Sequence[str], opened: Opened) -> dg.JobDefinition:
    """lines: those that a launch may name."""

    @dg.op(
        config_schema=picked(written_out(Wanted), line=lines),
        tags={"kind": "python"},
        description="Starts the run that trains the nodes, and notes on the page of the champions what came of it.",
    )
    def train_nodes(context: dg.OpExecutionContext) -> None:
        config = launched(Wanted, context)
        who = with_claim(asked_by(context.instance, context.run), config.by)
        context.instance.add_run_tags(context.run_id, {REASON: short(config.why)})
        with _refusing():
            made = retrain(opened(context.instance), config.line, config.nodes, config.why, who)
        context.log.info(made.message)
        context.log_event(_retrained(made, config.why, who))
        _fail(made.failures)

    @dg.job(
        name="retrain",
        description="Trains new challengers of a line's nodes now, as of the newest day whose labels are in, evaluates them, and lets "
        "the gate decide, as materialising model, evaluation, refit, champion and leaderboard does. One run of its own makes it, in "
        "this one's process. Days to come are scored by whoever answers then.",
    )
    def retrain_() -> None:
        train_nodes()

    return retrain_


def _retrained(made: Retrained, why: str, who: str) -> dg.AssetObservation:
    rows = [
        {"node": each.node, "new_version": each.version or "none", "verdict": each.verdict, "why": each.why}
        for each in made.nodes[:SHOWN]
    ]
    return dg.AssetObservation(
        dg.AssetKey([made.line, "champion"]),
        partition=made.nodes[0].node if len(made.nodes) == 1 else None,
        description=literal(f"{made.message}. Asked for: {why}"),
        metadata={
            "as_of": str(made.as_of),
            "reason": why,
            "asked_by": who,
            "nodes": table_shown(rows, ("node", "new_version", "verdict", "why")),
        },
    )


@contextmanager
def _refusing() -> Iterator[None]:
    """What a rule refuses, and what somebody stops, ends the run by what it says, and is not tried again."""
    try:
        # Declarations may have changed on the disk since the code server read them.
        with refusing(Refused, DeclarationError):
            yield
    except Stopped:
        raise refusal("stopped; what was made stays") from None


def _fail(failures: Sequence[str]) -> None:
    """End the run where one that it started failed, or held a day back, with what that one says."""
    if failures:
        raise dg.Failure("; ".join(failures), allow_retries=False)


def jobs_by_hand(streams: Sequence[str], lines: Sequence[str], opened: Opened) -> list[dg.JobDefinition]:
    """The jobs of a deployment that has these streams and lines."""
    return [
        *([release_job_of(streams, opened)] if streams else []),
        *([retrain_job_of(lines, opened)] if lines else []),
    ]
