"""The asset `<line>/backtest`: the line's past once more, by other policies, and whether retraining pays."""

import datetime as dt
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
from pydantic import Field

from factory_assets.backtest.asked import Asked, BacktestRefused, NothingToReplay, asked
from factory_assets.backtest.measured import COMPARED, MEANS, NAIVE, SCHEMA, SHARE, TOTALS, WORDS, Measured
from factory_assets.backtest.policies import POLICIES
from factory_assets.backtest.replay import replay
from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.days import DAY
from factory_assets.evaluation.decay import WEEK
from factory_assets.features.examples import labels as label_rows
from factory_assets.features.examples.rows import keys_seen
from factory_assets.identity.code import code_version
from factory_assets.identity.nodes import ROOT, admitted, tree
from factory_assets.identity.places import introduced, station
from factory_assets.launching import launched, written_out
from factory_assets.materialization import codes, column_schema, data_versions, served_days, table_shown
from factory_assets.measures import plots
from factory_assets.measures.compared import metric_of
from factory_assets.training.timeline import timeline
from factory_assets.words import counted, figure
from factory_resources.dagster_private.refusals import refusal
from factory_resources.engine import Engine
from factory_resources.lake import Lake

#: Points of a policy's line in the picture, about; each is a week or more, since weekdays differ.
POINTS = 52
#: Decisions that a page shows; the table in the lake has all of them.
SHOWN = 200
#: Columns of the table of decisions on the page.
DECIDED = ("as_of", "policy", "node", "event", "version", "reason")


class Backtested(dg.Config):
    """What is replayed."""

    first: str = Field(
        "", description="First day as of which a training may be, such as 2026-03-11; if empty, the first possible."
    )
    last: str = Field("", description="Last day that is predicted; if empty, the newest whose labels are in.")
    every: str = Field(
        "", description="New labelled days between trainings, such as 30d; if empty, the declared retrain.every."
    )
    policies: list[str] = Field([], description=f"Some of {', '.join(POLICIES)}; all of them if empty.")
    nodes: list[str] = Field(
        [], description="Nodes that are trained, with those above them: global for one model; all if empty."
    )
    seed: int | None = Field(None, description="Seed of everything random; the declared one if absent.")
    share: float = Field(
        SHARE, ge=0, description="Of the gain over a naive guess: retraining that gains less is not worth it."
    )


def backtest_asset(declared: DeclaredLine, replayed_from: Sequence[dg.AssetsDefinition]) -> dg.AssetsDefinition:
    """replayed_from: the line's examples and labels."""
    line, metric = declared.line, metric_of(declared)

    @dg.asset(
        config_schema=written_out(Backtested),
        key=dg.AssetKey([line.name, "backtest"]),
        deps=[dg.AssetDep(each.key, partition_mapping=dg.AllPartitionMapping()) for each in replayed_from],
        group_name=line.name,
        tags=station("evaluation"),
        owners=[line.owner],
        kinds={"python", "deltalake"},
        code_version=code_version("evaluation", metric, line.gate.cluster),
        description=introduced(
            "A stretch of the past once more, trained every so many days: who would have been champion "
            f"by the declared gate, and {metric} over time beside never retraining and always taking the newest. Materialise it when "
            "you want to know; `factory backtest` does.",
            line.description,
        ),
        metadata=column_schema({field.name: str(field.type) for field in SCHEMA}, MEANS),
    )
    def backtest(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], engine: dg.ResourceParam[Engine]
    ) -> dg.MaterializeResult:
        config = launched(Backtested, context)
        labelled, seen = _labelled(context.instance, lake, declared), _seen(lake, engine, declared)
        try:
            wanted = asked(declared, labelled, seen(dt.date.max), **config.model_dump(exclude={"share"}))
            _require_current(context.instance, wanted, replayed_from)
            with tempfile.TemporaryDirectory(prefix="factory-backtest-") as folder:
                replayed = replay(wanted, labelled, seen, lake, engine, Path(folder), context.log.info)
        except NothingToReplay as nothing:
            return dg.MaterializeResult(metadata={"status": str(nothing)})
        except BacktestRefused as refused:
            raise refusal(str(refused)) from None
        found = Measured(replayed, config.share)
        day, name = wanted.stretch.last, wanted.name
        written = lake.replace_part(f"{line.name}/backtest", found.table(), day, "replay", [name])
        lake.replace_part(f"{line.name}/backtest_events", found.events(), day, "replay", [name])
        return dg.MaterializeResult(
            metadata={"replay": name, "advice": found.advice(), "metric": metric, **_metadata(found)},
            data_version=dg.DataVersion(written.days[day].hash),
        )

    return backtest


def _labelled(instance: dg.DagsterInstance, lake: Lake, declared: DeclaredLine) -> list[dt.date]:
    """Days whose labels are all in, as trainings count them."""
    through = label_rows.through(declared, lake, served_days(instance, label_rows.stream_of(declared)))
    made = [set(data_versions(instance, dg.AssetKey([declared.line.name, name]))) for name in ("examples", "labels")]
    days = sorted(map(dt.date.fromisoformat, set.intersection(*made)))
    return [day for day in days if label_rows.complete(declared, day, through)]


def _require_current(instance: dg.DagsterInstance, wanted: Asked, tables: Sequence[dg.AssetsDefinition]) -> None:
    """Raise BacktestRefused where days that would be replayed were made by other declarations than those of now."""
    first = timeline(wanted.declared, wanted.stretch.first).train_from
    for table in tables:
        now = table.get_asset_spec().code_version
        of_days = codes(instance, table.key)
        if old := sorted(day for day, code in of_days.items() if first <= day <= wanted.stretch.last and code != now):
            raise BacktestRefused(
                f"{table.key.to_user_string()}: {counted(len(old), 'day')} from {old[0]} to {old[-1]} were made by other "
                "declarations, or another release, than those of now; `factory run` makes them anew"
            )


def _seen(lake: Lake, engine: Engine, declared: DeclaredLine) -> Callable[[dt.date], Sequence[str]]:
    """A day -> the nodes that examples up to it have, for which there is room."""
    with engine.connect() as con:
        keys = {key: first for key, (first, _) in keys_seen(con, lake, declared.line.name).items()}

    def seen(until: dt.date) -> Sequence[str]:
        there = tree([key for key, first in keys.items() if first <= until])
        return admitted(there, [], declared.line.segments.max_nodes)[0]

    return seen


def _metadata(found: Measured) -> dict[str, Any]:
    totals = [
        {
            "policy": each.policy,
            "value": figure(each.value),
            "trainings": each.trainings,
            "models": each.models,
            "cpu seconds": round(each.seconds, 1),
            "promotions": each.promotions,
            "rows without an answer": each.unanswered,
        }
        for each in found.totals
    ]
    compared = [
        {
            "policy": each.policy,
            "against": each.other,
            "gain": figure(each.gain),
            "at least": figure(each.limits and each.limits[0]),
            "at most": figure(each.limits and each.limits[1]),
            "certainty": figure(each.sure),
            "verdict": each.verdict,
        }
        for each in found.comparisons
    ]
    decided = [
        {"as_of": str(each.as_of), "policy": each.policy, "node": each.node, "event": each.event}
        | {"version": each.version or "-", "reason": each.reason}
        for each in found.replayed.events
        if each.policy == "gate" and each.seconds is None
    ]
    return {
        "rows": int(found.common.sum()),
        "naive": figure(found.naive),
        "policies": table_shown(totals, TOTALS),
        "differences": table_shown(compared, COMPARED),
        "decisions": table_shown(decided[-SHOWN:], DECIDED),
        "curve": _curve(found),
    }


def _curve(found: Measured) -> dg.MetadataValue:
    """The metric over time, a line a policy, with the promotions of the uppermost node."""
    wanted, rows = found.replayed.asked, found.rows
    begins = wanted.stretch.first + DAY
    length = max(WEEK, math.ceil((wanted.stretch.last - begins).days / POINTS))
    place = (rows.days - np.datetime64(begins)).astype(int) // length
    # The subject of the picture is what the line does.
    order = [policy for policy in ("gate", "newest", "never") if policy in found.policies]
    spans = [np.flatnonzero((place == each) & found.common) for each in range(int(place.max(initial=0)) + 1)]
    series: Mapping[str, list[float | None]] = {
        **{WORDS[policy]: [found.value(policy, span) for span in spans] for policy in order},
        NAIVE: [found.value(NAIVE, span) for span in spans],
    }
    marks = {
        each.as_of: "new champion"
        for each in found.replayed.events
        if each.policy == "gate" and each.node == ROOT and each.event == "promote"
    }
    days = [begins + each * length * DAY for each in range(len(spans))]
    title = f"{wanted.declared.line.name}: {found.replayed.metric}, {wanted.name}"
    png = plots.series_plot(days, series, title, found.replayed.metric, marks)
    return dg.MetadataValue.md(plots.markdown(png, title))
