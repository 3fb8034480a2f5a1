"""The job `rollback`: what `factory rollback` does, to be launched in Dagster's UI; and how a rollback shows there."""

from collections.abc import Sequence

import dagster as dg
from pydantic import Field

from factory_assets.release.rollback import RollbackRefused, roll_back
from factory_resources.decisions import ChampionChanged
from factory_resources.lake import Lake
from factory_resources.ledger import Decision, Ledger


class Rollback(dg.Config):
    """A champion to be taken back."""

    line: str = Field(description="Name of the line.")
    segment: str = Field(description="The node, such as global or FR/Lyon.")
    why: str = Field(description="The reason, for those who ask later.")
    by: str = Field(description="Who decides it.")
    to: str | None = Field(
        default=None,
        description="Version to answer instead, by the beginning of its id, or `ancestor`. Absent: whoever answered before.",
    )


def observation(made: Sequence[Decision]) -> dg.AssetObservation:
    """A rollback as it shows on the page of the line's champions."""
    last = made[-1]
    return dg.AssetObservation(
        dg.AssetKey([last.line, "champion"]),
        partition=last.segment,
        description=last.reason,
        metadata={
            "verdict": last.verdict,
            "taken_back": last.version or "none",
            "champion": last.champion or "an ancestor",
            "reason": last.reason,
            "decided_by": last.decided_by,
            "from_the_day_after": str(made[0].as_of),
        },
    )


@dg.op(
    tags={"kind": "sql"}, description="Appends the rollback to the ledger, and notes it on the page of the champions."
)
def roll_champion_back(context: dg.OpExecutionContext, config: Rollback, lake: Lake, ledger: Ledger) -> None:
    try:
        made = roll_back(ledger, lake, config.line, config.segment, config.why, config.by, config.to)
    except (RollbackRefused, ChampionChanged) as refused:
        raise dg.Failure(str(refused), allow_retries=False) from None
    context.log_event(observation(made))


@dg.job(
    name="rollback",
    description="Takes a node's champion back: who answered before it answers again, for every day that is still to be "
    "scored. Who and why are kept; the version taken back is not promoted again.",
)
def rollback_job() -> None:
    roll_champion_back()
