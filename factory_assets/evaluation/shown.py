"""What does the page of an evaluation show of a node: who met, how good each is, what decisions cost, and where it is weak?"""

import shlex
from collections.abc import Mapping
from typing import Any

import dagster as dg
import numpy as np

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.line import Line
from factory_assets.evaluation.differences import by_libraries_alone
from factory_assets.evaluation.met import GAIN, Met
from factory_assets.evaluation.staging import Staged
from factory_assets.materialization import table_shown
from factory_assets.measures import plots
from factory_assets.training.timeline import Timeline
from factory_assets.words import counted, figure
from factory_resources.ledger import Ledger

#: Whose predictions a meeting has, as far as they are there.
SIDES = ("challenger", "champion", "parent", "naive")


def metadata(line: Line, met: Met, span: Timeline) -> dict[str, Any]:
    common = {"as_of": str(span.as_of), "holdout": f"{met.since or span.holdout_from} .. {span.holdout_to}"}
    if not met.metrics:
        return {**common, "status": f"no model of its own to measure: {met.above or 'nobody'} answers"}
    sides = [side for side in SIDES if side in met.metrics]
    names = dict.fromkeys(name for side in sides for name in met.metrics[side])
    table = [
        dg.TableRecord({"metric": name} | {side: figure(met.metrics[side].get(name)) for side in sides})
        for name in names
    ]
    versions = {
        side: f"{version} of {met.above}" if side == "parent" else version for side, version in met.versions.items()
    }
    return {
        **common,
        "rows": len(met.y),
        **versions,
        **({"not_safe_to_serve": met.unsafe} if met.unsafe else {}),
        **_costs(line, met),
        **(_staged(met.staged) if met.staged else {}),
        **_weak(met),
        "comparison": dg.MetadataValue.table(table) if table else dg.MetadataValue.text("nothing could be measured"),
        **met.metrics.get("challenger", {}),
    }


def _costs(line: Line, met: Met) -> dict[str, Any]:
    """What decisions cost by whom, and what the challenger saves beside its rival, in money; nothing where no cost is declared."""
    if line.gate.cost is None:
        return {}
    unit, rows = line.gate.cost.unit, len(met.y)
    shown: dict[str, Any] = {"threshold": line.gate.decides_at}
    costs = {side: metrics["cost"] for side, metrics in met.metrics.items() if "cost" in metrics}
    shown |= {f"cost_of_{side}": f"{cost * rows:.6g} {unit}, {cost:.4g} a row" for side, cost in costs.items()}
    rival = met.rivals.get("challenger", "")
    if {"challenger", rival} <= costs.keys():
        saved = costs[rival] - costs["challenger"]
        limits = [met.certainty[name] for name in GAIN if name in met.certainty]
        between = f", between {limits[0] * rows:.6g} and {limits[1] * rows:.6g} with 95 %" if limits else ""
        shown["gain"] = f"{saved * rows:.6g} {unit} beside the {rival} on these rows{between}"
    return shown


def _weak(met: Met) -> dict[str, Any]:
    """Where a challenger that passed is worse than elsewhere; nothing of one that nobody looked at."""
    if met.weak is None:
        return {}
    rows = [
        {
            "where": f"{each.name} ({counted(int(each.rows.sum()), 'row')})",
            met.weak.loss: figure(each.loss),
            "elsewhere": figure(each.elsewhere),
            f"of the {met.weak.rival}": figure(rival),
            "by chance": f"{each.p:.2g}",
        }
        for each, rival in zip(met.weak.slices, met.weak.rivals, strict=True)
    ]
    if not rows:
        return {
            "weak_slices": "none: no value of a feature, and no pair of them, is worse than the others beyond chance"
        }
    return {"weak_slices": table_shown(rows, list(rows[0]))}


def _staged(staged: Staged) -> dict[str, Any]:
    rows = [
        {
            "where": part.kind,
            "which": part.name,
            "rows": part.rows,
            "other answers": f"{part.share:.1%}",
            "change": figure(part.change),
        }
        for part in staged.parts
    ]
    shown = table_shown(rows, ("where", "which", "rows", "other answers", "change"))
    return {"staging": str(staged), "other_answers": shown}


def what_changed(ledger: Ledger, line: str, met: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Node -> how to ask what makes its challenger another one than its champion, and what, where that is libraries alone.

    met: node -> the versions that met. Nodes where no two did are left out.
    """
    pairs = {
        node: (of["champion"], of["challenger"]) for node, of in met.items() if {"champion", "challenger"} <= of.keys()
    }
    ids = {version for pair in pairs.values() for version in pair}
    made = {record.version: record for record in ledger.versions(line, ids=ids)} if ids else {}
    found = {}
    for node, (champion, challenger) in pairs.items():
        if champion != challenger:
            alone = by_libraries_alone(made[champion], made[challenger])
            named = {"by_libraries_alone": ", ".join(f"{each.what} {each.a} -> {each.b}" for each in alone)}
            asked = f"factory compare {shlex.join([line, champion, challenger])}"
            found[node] = {"what_changed": asked, **(named if alone else {})}
    return found


def picture(declared: DeclaredLine, scored: Met) -> dict[str, dg.MetadataValue]:
    if len(scored.y) < 2 or (declared.line.task == "binary" and len(np.unique(scored.y)) < 2):
        return {}
    png = plots.evaluation_plot(declared.line.task, scored.y, dict(scored.predictions))
    return {"plot": dg.MetadataValue.md(plots.markdown(png, f"{declared.line.name} on the holdout"))}
