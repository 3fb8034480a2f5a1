"""What does the leaderboard of a line hold, and what does its page show? It is drawn by its asset, and when somebody decides."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import dagster as dg
import pyarrow as pa

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.features.examples.rows import keys_seen
from factory_assets.identity.nodes import tree
from factory_assets.identity.partitions import segment_partitions
from factory_assets.materialization import DATA_VERSION, IN_SHORT, INPUTS, SHOWN, table_shown
from factory_assets.measures import plots
from factory_assets.measures.compared import metric_of
from factory_assets.release.approval import waiting
from factory_assets.release.resolver import Decided, resolve, state_of
from factory_assets.words import brief, counted, figure
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger
from factory_resources.records.tags import Tagging


def board(
    declared: DeclaredLine, lake: Lake, engine: Engine, ledger: Ledger, instance: dg.DagsterInstance
) -> dg.AssetMaterialization:
    """The leaderboard drawn as of the newest decision, outside of a run of its asset: when somebody has just decided."""
    _, newest = state_of(ledger.standing(declared.line.name), ledger.tags(declared.line.name))
    metadata, content, tags = drawn(declared, lake, engine, ledger, instance, newest)
    key = dg.AssetKey([declared.line.name, "leaderboard"])
    return dg.AssetMaterialization(key, metadata=metadata, tags={DATA_VERSION: content, **tags})


def drawn(
    declared: DeclaredLine, lake: Lake, engine: Engine, ledger: Ledger, instance: dg.DagsterInstance, day: dt.date
) -> tuple[dict[str, Any], str, dict[str, str]]:
    """Write the leaderboard as of a day: what its page shows, the hash of its rows, its tags."""
    line = declared.line
    # Before the decisions that are drawn, and of the very tags: one that is made in between has another state.
    tags = ledger.tags(line.name)
    state, newest = state_of(ledger.standing(line.name), tags)
    seen: Mapping[str, tuple[dt.date, dt.date]] = {}
    if lake.version(f"{line.name}/examples") is not None:
        with engine.connect() as con:
            seen = keys_seen(con, lake, line.name, last=day)
    after = day + dt.timedelta(days=1)
    decided = Decided(
        ledger.last_decisions(line.name, before=after),
        ledger.changed(line.name, before=after),
        ledger.candidates(line.name),
    )
    # Without nodes of later days: the board of a day is the same whenever it is drawn.
    in_tree = set(tree(seen))
    partitions = instance.get_dynamic_partitions(str(segment_partitions(line.name).name))
    nodes = [node for node in partitions if node in in_tree or node in decided.last]
    last_seen = {leaf: last for leaf, (_, last) in seen.items()}
    table = resolve(declared, metric_of(declared), day, nodes, decided, last_seen)
    written = lake.replace(f"{line.name}/leaderboard", table, [day])
    metadata = _shown(declared, table, len(waiting(ledger, line.name))) | _tags_shown(tags)
    # The board of an earlier day does not tell how nodes stand now.
    return metadata, written.days[day].hash, {INPUTS: state} if day >= newest else {}


def _shown(declared: DeclaredLine, table: pa.Table, waits: int) -> dict[str, Any]:
    rows, metric = table.to_pylist(), metric_of(declared)
    there = [row for row in rows if row["answers"]]
    own_models = [row for row in there if row["answers"] == row["node"]]
    measured = {row["node"]: row["gain"] for row in rows if row["gain"] is not None}
    names = {row["node"] for row in own_models}
    title = f"{declared.line.name}: what a model of its own gains over the node above, {metric}"
    png = plots.gains_plot(measured, names, title, metric)
    resolver = ("node", "answers", "since", "reason")
    league = ("node", "candidate", "value", "gain", "naive")
    best = sorted(rows, key=lambda row: -(row["gain"] if row["gain"] is not None else -float("inf")))
    stale = sum(row["stale"] is not None for row in rows)
    told = f"{answered({row['node']: row['answers'] for row in rows})}; {waits} wait{'s' if waits == 1 else ''} for approval"
    return {
        IN_SHORT: f"{told}{f'; {stale} not seen lately' if stale else ''}.",
        "resolver": table_shown(_records(map(_on_board, rows), resolver), resolver),
        "league": table_shown(_records(best, league), league),
        "gains": dg.MetadataValue.md(plots.markdown(png, title)),
        "nodes": len(rows),
        "with_a_model_of_their_own": len(own_models),
        "without_an_answer": len(rows) - len(there),
        "waiting_for_approval": waits,
        "stale": stale,
    }


def _tags_shown(tags: Sequence[Tagging]) -> dict[str, Any]:
    """A row a tag; nothing where nobody has put any."""
    rows = [{"node": each.node, **vars(each), "since": each.at} for each in tags]
    columns = ("node", "tag", "version", "since", "by", "why")
    return {"tags": table_shown(_records(rows, columns), columns)} if rows else {}


def _on_board(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the board as a page shows it: who answers in few words."""
    seen = f"{row['stale']}. " if row["stale"] else ""
    return {
        **row,
        "answers": who(row["node"], row["answers"], row["version"]),
        "reason": seen + row["reason"],
    }


def _records(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> list[dict[str, str | int]]:
    return [{name: _cell(row[name]) for name in columns} for row in islice(rows, SHOWN)]


def _cell(value: Any) -> str | int:
    if value is None:
        return "-"
    if isinstance(value, float):
        return figure(value)
    return value if isinstance(value, int) else str(value)


def who(node: str, answers: str | None, version: str | None) -> str:
    """Who answers for a node, and by which version, in few words: a page has little room."""
    if answers is None:
        return "nobody"
    return f"{'itself' if answers == node else answers}, {brief(version)}"


def answered(answers: Mapping[str, str | None]) -> str:
    """By whom nodes are answered. answers: node -> the node that answers for it."""
    own = sum(by == node for node, by in answers.items())
    nobody = sum(by is None for by in answers.values())
    above = f", {len(answers) - own - nobody} are answered from above"
    return f"{own} of {counted(len(answers), 'node')} have a model of their own{above}" + (
        f", {nobody} by nobody" if nobody else ""
    )
