"""Who answers for each node, with which version, since when and why? One row a node, of a day."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.days import DAY
from factory_assets.identity.inputs import digest
from factory_assets.identity.nodes import answering, lineage, preorder
from factory_assets.measures.metrics import improvement
from factory_assets.training.timeline import timeline
from factory_resources.ledger import Decision
from factory_resources.records.decisions import UNDECIDED, Standing
from factory_resources.records.tags import Tagging

#: answers, version: the node that answers for this one, and its champion. reason: of the last decision about the node.
#: since: the first day on which this version answered for it. last_seen: the last day with a row of the node. stale: the reason
#: where no training can see the node any more. rows: of the holdout; on them the next four were measured. value: of the version
#: that answers. own: of the node's own model, the one that answers or the challenger that was refused. parent, naive: of these.
#: gain: by how much own is better than parent.
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("node", "answers", "version", "candidate", "reason")),
        ("since", pa.date32()),
        ("last_seen", pa.date32()),
        ("stale", pa.string()),
        ("rows", pa.int64()),
        ("metric", pa.string()),
        *((name, pa.float64()) for name in ("value", "own", "parent", "gain", "naive")),
        ("ds", pa.date32()),
    ]
)
MEANING = {
    "node": "Segment node; a row for each that was ever seen.",
    "answers": "The node whose champion answers for it: itself or the nearest one above that has one; empty for nobody.",
    "version": "Version that answers.",
    "candidate": "The declared candidate that this version is.",
    "reason": "Why: what the gate or a person decided last about this node.",
    "since": "From which day on this version answers here.",
    "last_seen": "The last day with an observation of the node or below it.",
    "stale": "Said where nothing was seen within the training window: the model is kept.",
    "rows": "Rows of the holdout on which it was decided.",
    "metric": "What the next columns are measured in.",
    "value": "Of the version that the decision lets answer.",
    "own": "Of a model of its own, be it the challenger or the champion that was kept.",
    "parent": "Of the champion of the node above.",
    "gain": "By how much a model of its own is better than that of the node above; negative where it is worse.",
    "naive": "Of a guess that knows the training labels alone.",
    "ds": "The day as of which it is.",
}


@dataclass(frozen=True)
class Decided:
    """The decisions on a line until the close of a day.

    last: node -> its last decision. changed: node -> as of when its own champion last changed. candidates: version -> the
    candidate that it is.
    """

    last: Mapping[str, Decision]
    changed: Mapping[str, dt.date]
    candidates: Mapping[str, str]


def state_of(standing: Mapping[str, Standing], tags: Sequence[Tagging]) -> tuple[str, dt.date]:
    """A hash of what people and the gate have decided on a line's versions, and the newest day as of which one was decided on.

    standing: of one node or more. tags: those that are on a version now.
    """
    parts = [f"{node}:{each.sequence}" for node, each in sorted(standing.items())]
    parts += sorted(f"{each.node}@{each.tag}:{each.version}:{each.at.isoformat()}" for each in tags)
    return digest(parts), max(each.decided_as_of for each in standing.values())


def resolve(
    declared: DeclaredLine,
    metric: str,
    day: dt.date,
    nodes: Sequence[str],
    decided: Decided,
    last_seen: Mapping[str, dt.date],
) -> pa.Table:
    """The nodes as they stand at the close of a day, every node before its subtree.

    last_seen: leaf -> the last day that has it.
    """
    champions = {node: str(decision.champion) for node, decision in decided.last.items() if decision.champion}
    seen: dict[str, dt.date] = {}
    for leaf, newest in last_seen.items():
        for node in lineage(leaf):
            seen[node] = max(newest, seen.get(node, newest))
    trained_from = timeline(declared, day).train_from
    rows = []
    for node in preorder(nodes):
        answers, decision = answering(node, champions), decided.last.get(node)
        above = lineage(node)
        asked = above if answers is None else above[: above.index(answers) + 1]
        turns = [decided.changed[each] + DAY for each in asked if each in decided.changed]
        last = seen.get(node)
        rows.append(
            {
                "node": node,
                "answers": answers,
                "version": champions[answers] if answers else None,
                "candidate": decided.candidates.get(champions[answers]) if answers else None,
                "reason": decision.reason if decision else "not decided yet",
                "since": max(turns) if turns else None,
                "last_seen": last,
                "stale": f"last seen {last}" if last and last < trained_from else None,
                "metric": metric,
                "ds": day,
                **measured(metric, decision),
            }
        )
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def measured(metric: str, decision: Decision | None) -> dict[str, Any]:
    """Columns of `SCHEMA` with the metric's values in the decision's evidence."""
    if decision is None or not decision.evidence:
        return {}
    evidence = decision.evidence
    values = {side: evidence.get(side, {}).get(metric) for side in ("challenger", "champion", "parent", "naive")}
    own = values["challenger" if "challenger" in evidence and decision.verdict != "keep" else "champion"]
    kept = "champion" if decision.champion else "parent"
    sides = {
        "promote": "challenger",
        "approve": "challenger",
        "keep": "champion",
        "fallback": "parent",
        UNDECIDED: kept,
    }
    side = sides.get(decision.verdict, "")
    gain = None if own is None or values["parent"] is None else improvement(metric, own, values["parent"])
    return {
        "rows": evidence.get("rows"),
        "value": values.get(side),
        "own": own,
        "parent": values["parent"],
        "gain": gain,
        "naive": values["naive"],
    }
