"""The assets `<line>/champion` and `<line>/leaderboard`: who answers for each node, by the gate's ruling, and how it stands."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg
import pyarrow as pa

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.evaluation.contest import recorded
from factory_assets.evaluation.gate import Ruling, rule
from factory_assets.evaluation.incumbents import held_before
from factory_assets.features.examples.rows import keys_seen
from factory_assets.identity.code import code_version
from factory_assets.identity.nodes import ROOT, answering, parent_of, preorder, tree
from factory_assets.identity.partitions import segment_partitions
from factory_assets.identity.versions import contract_hash, model_version
from factory_assets.materialization import DATA_VERSION, INPUTS, column_schema, record_partitions
from factory_assets.measures import plots
from factory_assets.measures.compared import metric_of
from factory_assets.release.approval import waiting
from factory_assets.release.resolver import MEANING, SCHEMA, resolve
from factory_assets.training.run_config import AsOf, Chosen, as_of
from factory_resources.decisions import WAITS, ChampionChanged, Decision, in_words
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import EvaluationRecord, Ledger
from factory_resources.tags import Tagging, uuid_of

GROUP = "release"
#: Who a decision is by when the gate made it.
GATE = "gate"
#: Nodes shown on the asset's page; the table in the lake has all of them.
SHOWN = 500


def champion_asset(declared: DeclaredLine) -> dg.AssetsDefinition:
    line = declared.line
    key = dg.AssetKey([line.name, "champion"])

    @dg.asset(
        key=key,
        deps=[dg.AssetDep(dg.AssetKey([line.name, "evaluation"]), partition_mapping=dg.IdentityPartitionMapping())],
        partitions_def=segment_partitions(line.name),
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name=GROUP,
        owners=[line.owner],
        kinds={"python", "sql"},
        code_version=code_version("champion", model_version(declared), line.gate.model_dump(mode="json")),
        description=f"{line.description}\n\nThe version that answers for each node. Decisions are appended to the ledger with "
        "their reason and never changed.",
    )
    def champion(
        context: dg.AssetExecutionContext,
        config: Chosen,
        lake: dg.ResourceParam[Lake],
        ledger: dg.ResourceParam[Ledger],
    ) -> Iterator[dg.MaterializeResult]:
        day, nodes = as_of(context, lake, declared, config), preorder(config.of(context))
        held, withdrawn = held_before(ledger, line.name, day, nodes), ledger.withdrawn(line.name, day)
        why, by_now = _untrained(lake, line.name, day), dict(held)
        decisions, late = {}, []
        for node, met in _met(ledger, line.name, day, nodes, held).items():
            taken_back = withdrawn.get((node, str(met.version)))
            try:
                _require_measured(met, held, by_now)
                ruling = _ruling(declared, met, taken_back, why.get(node))
                decision = _decision(declared, day, ruling, met, held.get(node))
                ledger.decide(decision, against=held.get(node))
            except ChampionChanged as changed:
                late.append(str(changed))
                continue
            decisions[node] = decision
            if decision.champion is None:
                by_now.pop(node, None)
            else:
                by_now[node] = decision.champion
        after = {node: str(kept.champion) for node, kept in ledger.champions(line.name).items()}
        metadata, tags, tagged = {}, {}, _tagged(ledger.tags(line.name))
        for node, decision in decisions.items():
            answers = answering(node, after)
            metadata[node] = {
                "as_of": str(day),
                "verdict": decision.verdict,
                "reason": decision.reason,
                "answering_node": answers or "none",
                "champion": after[answers] if answers else "none",
                "uuid": uuid_of(line.name, answers, after[answers]) if answers else "none",
                "considered": decision.version or "none",
                "tags": ", ".join(f"{tag} on {version}" for tag, version in tagged.get(node, {}).items()) or "none",
            }
            tags[node] = {DATA_VERSION: after[answers] if answers else "none", INPUTS: str(day)}
        if decisions:
            yield from record_partitions(context, metadata, tags)
        if late:
            again = f"evaluate as of {day} again"
            raise dg.Failure(f"{line.name}: {'; '.join(late)}; {again}", allow_retries=False)

    return champion


def _tagged(tags: Sequence[Tagging]) -> dict[str, dict[str, str]]:
    """Node -> tag -> version."""
    found: dict[str, dict[str, str]] = {}
    for each in tags:
        found.setdefault(each.node, {})[each.tag] = str(each.version)
    return found


@dataclass(frozen=True)
class Meeting:
    """What the ledger has of a node's meeting: the evaluations of its champion and its challenger, and who is above.

    version: that of its challenger, measured or not.
    """

    node: str
    version: str | None
    own: EvaluationRecord | None
    challenger: EvaluationRecord | None
    above: str | None
    parent: str | None


def _met(ledger: Ledger, line: str, day: dt.date, nodes: Sequence[str], held: Mapping[str, str]) -> dict[str, Meeting]:
    challengers = {version.node: version.version for version in ledger.versions(line, as_of=day)}
    measured = {(record.node, record.version): record for record in ledger.evaluations(line, as_of=day)}
    of_version: dict[str | None, str] = {}
    met = {}
    for node in nodes:
        own = measured.get((node, held[node])) if node in held else None
        challenger = measured.get((node, challengers[node])) if node in challengers else None
        # The champion meets its parent; without one, the challenger does.
        first = own or challenger
        parent = first.incumbent_version if first else None
        if parent is not None and parent not in of_version:
            of_version[parent] = ledger.version(line, parent).node
        met[node] = Meeting(node, challengers.get(node), own, challenger, of_version.get(parent), parent)
    return met


def _require_measured(met: Meeting, held: Mapping[str, str], by_now: Mapping[str, str]) -> None:
    """Raise ChampionChanged where somebody was measured against one who does not answer any more.

    held: node -> version before the rulings of this run, by_now: after those on the nodes above.
    """
    node, first = met.node, met.own or met.challenger
    if met.challenger is not None and met.own is None and node in held:
        raise ChampionChanged(f"{met.version} for {node!r} was not measured against {held[node]}, its champion by now")
    above = answering(str(parent_of(node)), by_now) if node != ROOT else None
    expected = by_now[above] if above else None
    if first is not None and first.incumbent_version != expected:
        raise ChampionChanged(
            f"{first.version} for {node!r} was measured against {first.incumbent_version or 'no champion'}, "
            f"but {expected or 'nobody'} answers above it now"
        )


def _ruling(declared: DeclaredLine, met: Meeting, taken_back: Decision | None, why: str | None) -> Ruling:
    """taken_back: the rollback of the challenger. why: the reason for which the training gave the node no model."""
    challenger = None if taken_back else met.challenger
    metric = metric_of(declared)
    ruling = rule(metric, declared.line.gate, recorded(metric, met.own, challenger), met.above)
    if taken_back:
        return replace(ruling, reason=f"{ruling.reason}: {in_words(taken_back)}")
    return replace(ruling, reason=f"{ruling.reason}: {why}") if met.version is None and why else ruling


def _untrained(lake: Lake, line: str, day: dt.date) -> dict[str, str]:
    """Node -> why the training of this day gave it no model."""
    if lake.version(f"{line}/model") is None:
        return {}
    rows = lake.read(f"{line}/model", day, day, ["node", "status", "reason"], empty_if_absent=True).to_pylist()
    words = {"failed": "training failed, ", "too_little": ""}
    return {row["node"]: words[row["status"]] + row["reason"] for row in rows if row["status"] in words}


def _decision(declared: DeclaredLine, day: dt.date, ruling: Ruling, met: Meeting, held: str | None) -> Decision:
    # Under which contract it was decided, also where there was nothing to measure: by it, a changed one is known.
    evidence: dict[str, Any] = {"contract": contract_hash(declared)}
    measured = met.challenger or met.own
    if measured:
        contest = recorded(metric_of(declared), met.own, met.challenger)
        evidence |= {"rows": measured.rows, "holdout": f"{measured.holdout_from} .. {measured.holdout_to}"}
        sides = {"challenger": contest.challenger, "champion": contest.champion, "parent": contest.parent}
        evidence |= {
            side: metrics for side, metrics in {**sides, "naive": contest.naive}.items() if metrics is not None
        }
        if ruling.waits:
            evidence[WAITS] = True
        if contest.certainty:
            evidence["certainty"] = dict(contest.certainty)
        if met.parent:
            evidence["above"] = {"node": met.above, "version": met.parent}
    after = {"promote": met.version, "keep": held, "fallback": None}[ruling.verdict]
    return Decision(
        line=declared.line.name,
        node=met.node,
        as_of=day,
        verdict=ruling.verdict,
        version=met.version,
        champion=after,
        reason=ruling.reason,
        decided_by=GATE,
        evidence=evidence,
    )


def leaderboard_asset(declared: DeclaredLine) -> dg.AssetsDefinition:
    line = declared.line
    metric = metric_of(declared)

    @dg.asset(
        key=dg.AssetKey([line.name, "leaderboard"]),
        deps=[dg.AssetDep(dg.AssetKey([line.name, "champion"]), partition_mapping=dg.AllPartitionMapping())],
        # It has no partitions; this lets a range of nodes be selected together with it, as `dagster asset materialize` does.
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name=GROUP,
        owners=[line.owner],
        kinds={"python", "deltalake"},
        code_version=code_version("leaderboard", metric),
        description=f"{line.description}\n\nWho answers for each node, with which version, since when and why; and what a model of "
        f"its own gains over the node above, by {metric} on the node's rows of the holdout.",
        metadata=column_schema({field.name: str(field.type) for field in SCHEMA}, MEANING),
    )
    def leaderboard(
        context: dg.AssetExecutionContext,
        config: AsOf,
        lake: dg.ResourceParam[Lake],
        engine: dg.ResourceParam[Engine],
        ledger: dg.ResourceParam[Ledger],
    ) -> dg.MaterializeResult:
        day = as_of(context, lake, declared, config)
        with engine.connect() as con:
            seen = keys_seen(con, lake, line.name, last=day)
        # Not nodes that came later: the board of a day is the same whenever it is drawn.
        known, decided = set(tree(seen)), ledger.last_decisions(line.name, before=day + dt.timedelta(days=1))
        partitions = context.instance.get_dynamic_partitions(str(segment_partitions(line.name).name))
        nodes = [node for node in partitions if node in known or node in decided]
        cut = day + dt.timedelta(days=1)
        table = resolve(
            declared, metric, day, nodes, decided,
            ledger.changed(line.name, before=cut), {key: last for key, (_, last) in seen.items()},
            ledger.candidates(line.name),
        )  # fmt: skip
        written = lake.replace(f"{line.name}/leaderboard", table, [day])
        return dg.MaterializeResult(
            metadata=_shown(declared, table, len(waiting(ledger, line.name))) | _tags_shown(ledger.tags(line.name)),
            data_version=dg.DataVersion(written.days[day].hash),
        )

    return leaderboard


def _shown(declared: DeclaredLine, table: pa.Table, waits: int) -> dict[str, Any]:
    rows, metric = table.to_pylist(), metric_of(declared)
    answered = [row for row in rows if row["answers"]]
    own = [row for row in answered if row["answers"] == row["node"]]
    measured = {row["node"]: row["gain"] for row in rows if row["gain"] is not None}
    names = {row["node"] for row in own}
    title = f"{declared.line.name}: what a model of its own gains over the node above, {metric}"
    png = plots.gains_plot(measured, names, title, metric)
    resolver = ("node", "answers", "version", "since", "reason", "stale")
    league = ("node", "answers", "candidate", "rows", "value", "parent", "gain", "naive", "since", "stale")
    best = sorted(rows, key=lambda row: -(row["gain"] if row["gain"] is not None else -float("inf")))
    return {
        "nodes": len(rows),
        "with_a_model_of_their_own": len(own),
        "without_an_answer": len(rows) - len(answered),
        "waiting_for_approval": waits,
        "stale": sum(row["stale"] is not None for row in rows),
        "resolver": dg.MetadataValue.table(_records(rows, resolver)),
        "league": dg.MetadataValue.table(_records(best, league)),
        "gains": dg.MetadataValue.md(plots.markdown(png, title)),
    }


def _tags_shown(tags: Sequence[Tagging]) -> dict[str, Any]:
    """A row a tag; nothing where nobody has put any."""
    rows = [{"node": each.node, **vars(each), "since": each.at} for each in tags]
    columns = ("node", "tag", "version", "since", "by", "why")
    return {"tags": dg.MetadataValue.table(_records(rows, columns))} if rows else {}


def _records(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[dg.TableRecord]:
    return [dg.TableRecord({name: _cell(row[name]) for name in columns}) for row in rows[:SHOWN]]


def _cell(value: Any) -> str | int:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, int) else str(value)
