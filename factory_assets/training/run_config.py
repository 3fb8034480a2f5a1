"""As of which day does a run train, and which nodes? What run configuration and tags say."""

import datetime as dt

import dagster as dg
from pydantic import Field

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.days import DAY
from factory_assets.declarations.line import Line
from factory_assets.words import listed
from factory_resources import clock
from factory_resources.dagster_private.refusals import refusal
from factory_resources.lake import Lake

#: Run tag: train as if it were the close of this day. Run configuration says the same, and comes first.
AS_OF = "factory/as_of"
#: Nodes that a message names.
NAMED = 5


class AsOf(dg.Config):
    """The day at whose close a run stands."""

    as_of: str = Field(
        "",
        description="Day at whose close the run stands, such as 2026-03-11; if empty, the newest whose labels are in.",
    )


class Chosen(AsOf):
    """The nodes of a run that are due: they need not lie side by side."""

    nodes: list[str] = Field([], description="Nodes to work on, of those that the run spans; all of them if empty.")

    def of(self, context: dg.AssetExecutionContext) -> list[str]:
        """The run's nodes, in its order. Raises Failure for those that it does not span: nothing would be done about them."""
        spanned, wanted = list(context.partition_keys), set(self.nodes)
        if absent := sorted(wanted - set(spanned)):
            raise refusal(
                f"nodes: this run does not span {listed(absent, NAMED)}; it spans {listed(spanned, NAMED, 'node')}"
            )
        return [node for node in spanned if not wanted or node in wanted]


class Restored(Chosen):
    """Nodes to be trained, or to be given back the versions that the archive has lost."""

    restore: bool = Field(
        False,
        description="Train nothing: make versions of that day whose archive is damaged again, as their records say.",
    )
    anew: bool = Field(
        False,
        description="Train a new challenger also for a node whose last one is still undecided, in place of looking at that again.",
    )


def as_of(context: dg.AssetExecutionContext, lake: Lake, declared: DeclaredLine, config: AsOf) -> dt.date:
    """The day at whose close a training run stands. Raises Failure for one that is not over: what is decided as of a day to come
    would hold against every decision until then.
    """
    stated, line = config.as_of or context.run.tags.get(AS_OF), declared.line
    if stated:
        try:
            day = dt.date.fromisoformat(stated)
        except ValueError:
            raise refusal(f"as_of: {stated!r} is no day; give one such as 2026-03-11") from None
        if day >= clock.today():
            raise refusal(f"as_of: {day} is not over; it is {clock.today()} in UTC")
        return day
    newest = newest_labelled(lake, line)
    if newest is None:
        raise refusal(f"{line.name}: there are no examples yet; materialise {line.name}/examples first")
    return newest


def newest_labelled(lake: Lake, line: Line) -> dt.date | None:
    """The newest day whose labels are in, at whose close a training stands that nobody names a day for; None without examples."""
    examples, labels = (lake.days(f"{line.name}/{table}") for table in ("examples", "labels"))
    if not examples:
        return None
    return min([examples[-1], *(day + line.horizon_days * DAY for day in labels[-1:])])
