"""What do those who meet predict of the same rows, how good is each, and how sure is it that one is better than another?"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from factory_assets.declarations.line import Line
from factory_assets.declarations.tasks import COST
from factory_assets.evaluation.calibration import calibration
from factory_assets.evaluation.gate import rival
from factory_assets.evaluation.met import GAIN, OWN, Met
from factory_assets.evaluation.parts import Asked, Parts, costs, of, parts_of
from factory_assets.evaluation.parts import measured as measured_of
from factory_assets.evaluation.scores import predicted
from factory_assets.evaluation.weak import LEAST_ROWS, Weaknesses, clusters_of, coded, losses, weak_slices
from factory_assets.measures.certainty import Alike, Groups, Judged, judge, judge_gain, limits_of, witnesses
from factory_assets.measures.metrics import Floats, costs_of
from factory_assets.measures.tables import LABEL, label_values
from factory_assets.models.archived import ReleasedModel


def measured(
    line: Line, metric: str, met: Met, rows: pa.Table, models: Mapping[str, ReleasedModel], past: Sequence[Alike]
) -> Met:
    """The meeting with predictions, metrics and certainty. models: version -> model, of all who meet. past: as of `witnesses`."""
    sides = {side: models[version] for side, version in met.versions.items()}
    # A challenger that is looked at for weeks may meet a champion above it that was trained since.
    since = max(model.unlearnt_from for model in sides.values())
    rows, predictions = predicted(line.task, rows, sides, since, Asked.of(line, metric), line.cluster)
    y = label_values(line.task, rows[LABEL])
    newest = next(met.versions[side] for side in reversed(OWN) if side in met.versions)
    predictions["naive"] = models[newest].naive(len(y), line.task)
    parts = parts_of(rows)
    metrics = {side: measured_of(line.task, y, values, parts) for side, values in predictions.items()}
    met = replace(met, since=since, rows=rows, y=y, predictions=predictions, metrics=metrics)
    rivals = {"champion": "parent", "challenger": rival(metric, met.contest)}
    pairs = {side: (side, other) for side, other in rivals.items()} | {"naive": ("challenger", "naive")}
    clusters = rows[line.cluster] if line.cluster else None
    # By one week alone, how much a day is like the day before costs a third of what it finds; more looks make up for that, and
    # earlier meetings tell it better. Those were of models: how one differs from a naive guess is another matter.
    days, follow = rows["ds"].to_numpy(), bool(line.gate.patience)
    of_models = witnesses(days, line.overlap_days, clusters, follow, past)
    of_naive = witnesses(days, line.overlap_days, clusters, follow)
    judged = {
        name: _judged(
            line, metric, y, predictions[side], predictions[other], of_naive if other == "naive" else of_models
        )
        for name, (side, other) in pairs.items()
        if metric in metrics.get(side, {}) and metric in metrics.get(other, {})
    }
    certain = {name: each.sure for name, each in judged.items() if each.sure is not None}
    if parts:
        of_parts = _sure_of_parts(line, metric, replace(met, rivals=rivals), parts, of_models)
        certain |= {name: sure for name, sure in of_parts.items() if sure is not None}
    if (limit := line.calibration) is not None and metric in metrics.get("challenger", {}):
        theirs = predictions.get(rivals["challenger"], predictions["naive"])
        certain |= calibration(line.task, y, predictions["challenger"], theirs, of_models, limit)
    alike = {name: each.alike for name, each in judged.items() if each.alike and name != "naive"}
    return replace(met, rivals=rivals, certainty=certain, alike=alike)


def _judged(
    line: Line,
    metric: str,
    y: Floats,
    ours: Floats,
    theirs: Floats,
    groupings: Sequence[Groups],
    worse: float = 0.0,
) -> Judged:
    """As `certainty.judge`; what decisions cost is of the gate's threshold and outcomes."""
    if metric != COST or line.gate.cost is None:
        return judge(line.task, metric, y, ours, theirs, groupings, worse)
    threshold, outcomes = line.gate.decides_at, line.gate.cost.outcomes
    saved = costs_of(y, theirs, threshold, outcomes) - costs_of(y, ours, threshold, outcomes)
    return judge_gain(lambda kept: float(saved[kept].mean()) + worse, len(saved), groupings)


def _sure_of_parts(
    line: Line, metric: str, met: Met, parts: Parts, groupings: Sequence[Groups]
) -> dict[str, float | None]:
    """How sure it is that the challenger is worse than its rival on each slice by no more than it may, and what it gains in cost."""
    found, p = dict[str, float | None](), met.predictions
    if "challenger" not in p or (theirs := p.get(met.rivals["challenger"])) is None:
        return found
    for name, declared in line.gate.slices.items():
        mask, value = parts.masks[name], of(metric, name)
        if declared.worse is not None and value in met.metrics["challenger"]:
            within = [groups.within(mask) for groups in groupings]
            ours, others = p["challenger"][mask], theirs[mask]
            found[value] = _judged(line, metric, met.y[mask], ours, others, within, declared.worse).sure
    if parts.asked.cost and len(met.y):
        saved = costs(parts.asked, met.y, theirs) - costs(parts.asked, met.y, p["challenger"])
        found["cost"] = judge_gain(lambda kept: float(saved[kept].mean()), len(saved), groupings).sure
        limits = limits_of(lambda kept: float(saved[kept].mean()), len(saved), groupings)
        found |= dict(zip(GAIN, limits, strict=True)) if limits else {}
    return found


def weak_at(line: Line, met: Met, model: ReleasedModel, rows: pa.Table) -> Weaknesses | None:
    """Where a node's challenger is worse than elsewhere; None of so few rows that nobody looks.

    rows: the node's in the holdout with their features, in any order.
    """
    if len(met.y) < LEAST_ROWS or met.since is None:
        return None
    name, lost = losses(line.task, met.y, met.predictions["challenger"])
    clusters = clusters_of(met.rows[line.cluster]) if line.cluster else None
    found = weak_slices(coded(model, rows, met.since), lost, met.rows["ds"].to_numpy(), clusters)
    rival = met.rivals["challenger"] if met.rivals["challenger"] in met.predictions else "naive"
    of_rival = losses(line.task, met.y, met.predictions[rival])[1]
    rivals = [float(of_rival[each.rows].mean()) for each in found]
    return Weaknesses(name, found, rival, rivals, len(lost), float(lost.mean()), float(of_rival.mean()))
