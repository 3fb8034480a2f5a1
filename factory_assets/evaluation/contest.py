"""Who is measured against whom? The tree is walked down, so that a node meets whoever answers above it by then.

A node's challenger, its present champion, the champion that answers above it and a naive guess all predict the same rows:
the node's own in the holdout, of days that none of them has learnt from. What is recorded is a version against whoever would
answer in its place: the champion against the parent, and the challenger against the better of the two.
"""

import datetime as dt
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.declarations.line import Line
from factory_assets.evaluation.challengers import Challenger
from factory_assets.evaluation.gate import Contest, rival, rule
from factory_assets.evaluation.likeness import kept
from factory_assets.evaluation.parts import Asked, Parts, costs, of, parts_of
from factory_assets.evaluation.parts import measured as measured_of
from factory_assets.evaluation.scores import predicted
from factory_assets.evaluation.staging import Staged
from factory_assets.evaluation.weak import LEAST_ROWS, Weaknesses, clusters_of, coded, losses, weak_slices
from factory_assets.identity.nodes import answering, depth_of, lineage, parent_of, preorder
from factory_assets.measures.certainty import Alike, Groups, certainty, judge, limits_of, sure_of, witnesses
from factory_assets.measures.tables import LABEL, label_values
from factory_assets.models.archived import ReleasedModel
from factory_assets.training.timeline import Timeline
from factory_resources.ledger import EvaluationRecord


@dataclass(frozen=True)
class Met:
    """Who met on a node's rows.

    above: the node whose champion answers above this one; None if nobody does.
    versions: challenger, champion and parent -> their version, without those that do not exist.
    since: the first day of the rows, which none of them has learnt from; None where nobody was measured.
    rows: the node's in the order of y, without their features; see `scores.predicted`.
    predictions: the same names, and naive, -> shape (n,), or (n, k) for k classes; empty where there is nobody to measure.
    rivals: champion, challenger -> the name of whom it is measured against.
    certainty: champion, challenger -> how sure it is that it is better than that one, naive -> that the challenger is better
    than the naive guess; absent where there is none, or the rows cannot say. Also of each slice, such as "mae of night": that the
    challenger is worse there by no more than it may be; and of a cost: that it saves some, and within which limits (`GAIN`).
    alike: champion, challenger -> how much it and its rival differ on a day as on the day before.
    unsafe: why a challenger that is good enough may not be served. staged: one that is and may, beside who answers now.
    weak: where it is worse than elsewhere.
    """

    node: str
    above: str | None
    versions: Mapping[str, str]
    since: dt.date | None = None
    rows: pa.Table = field(default_factory=lambda: pa.table({}))
    y: np.ndarray = field(default_factory=lambda: np.empty(0))
    predictions: Mapping[str, np.ndarray] = field(default_factory=dict)
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    rivals: Mapping[str, str] = field(default_factory=dict)
    certainty: Mapping[str, float] = field(default_factory=dict)
    alike: Mapping[str, Alike] = field(default_factory=dict)
    unsafe: str | None = None
    staged: Staged | None = None
    weak: Weaknesses | None = None

    @property
    def contest(self) -> Contest:
        sides = {side: self.metrics.get(side) for side in ("parent", *OWN)}
        return Contest(
            naive=self.metrics.get("naive", {}),
            **sides,
            certainty=self.certainty,
            unsafe=self.unsafe,
            disagreement=self.disagreement,
            rows=len(self.y),
        )

    @property
    def disagreement(self) -> float | None:
        """The share of the newest day that the challenger answers otherwise than who answers now."""
        return self.staged.all.share if self.staged else None

    @property
    def error(self) -> float:
        """How far the challenger is off on average; of classes no number."""
        predicted = self.predictions["challenger"]
        return float(np.mean(np.abs(self.y - predicted))) if predicted.ndim == 1 else 0.0

    def records(self, line: str, span: Timeline, metric: str) -> list[EvaluationRecord]:
        """One for the champion, one for the challenger, as far as they exist."""
        return [
            EvaluationRecord(
                line=line,
                node=self.node,
                version=self.versions[side],
                as_of=span.as_of,
                holdout_from=self.since or span.holdout_from,
                holdout_to=span.holdout_to,
                rows=len(self.y),
                challenger=dict(self.metrics[side]),
                incumbent=dict(self.metrics.get(self.rivals[side], {})),
                incumbent_version=self.versions.get(self.rivals[side]),
                naive=dict(self.metrics["naive"]),
                certainty=self._certainty(side, metric),
                unsafe=self.unsafe if side == "challenger" else None,
                disagreement=self.disagreement if side == "challenger" else None,
            )
            for side in OWN
            if side in self.metrics
        ]

    def _certainty(self, side: str, metric: str) -> dict[str, float]:
        """As it is recorded of one side: by the metric that it is better than its rival, by naive_<metric> than the naive guess."""
        found = {metric: self.certainty[side]} if side in self.certainty else {}
        found |= kept(metric, self.alike.get(side))
        if side == "challenger":
            found |= {name: value for name, value in self.certainty.items() if name not in (*OWN, "naive")}
        if side == "challenger" and "naive" in self.certainty:
            found[f"naive_{metric}"] = self.certainty["naive"]
        return found


#: Between which values lies what a challenger saves of the cost of a row, with 95 %.
GAIN = ("cost_gain_lowest", "cost_gain_highest")
#: The versions that a node has itself.
OWN = ("champion", "challenger")


#: Where a challenger that passed is worse than elsewhere; its meeting, its model, the rows of its node.
Weak = Callable[[Met, ReleasedModel, pa.Table], Weaknesses | None]


def nowhere(met: Met, model: ReleasedModel, rows: pa.Table) -> None:
    """What a walk that nobody looks at says of that."""


@dataclass(frozen=True)
class Contestants:
    """Who may meet. champions: node -> its version before its ruling, for all nodes of the line. challengers: node -> who is up.

    load: the model of a version. unsafe: why a version may not be served, None where nothing is found; asked only of one that is good
    enough to become champion, and before its subtree is measured against it. alike: level of the tree -> what earlier meetings tell
    of days that are like the day before. stage: one that may be served beside who answers now, by node, version and how far it is off
    on average on the holdout. weak: where such a one is worse than elsewhere, of its node's rows; see `weak.weaknesses`.
    """

    champions: Mapping[str, str]
    challengers: Mapping[str, Challenger]
    load: Callable[[str], ReleasedModel]
    unsafe: Callable[[str], str | None]
    alike: Mapping[int, Sequence[Alike]] = field(default_factory=dict)
    stage: Callable[[str, str, float], Staged | None] = lambda node, version, error: None
    weak: Weak = nowhere


def walk(
    declared: DeclaredLine,
    metric: str,
    nodes: Collection[str],
    contestants: Contestants,
    rows_of: Callable[[str], pa.Table],
) -> Iterator[Met]:
    """The meetings of the nodes, parents before children, each after the rulings on the nodes above it.

    rows_of: the rows of a node in the holdout, the longest of those of the challengers, in any order.
    """
    champions, challengers = contestants.champions, contestants.challengers
    after, models = dict(champions), dict[str, ReleasedModel]()
    for node in preorder(nodes):
        parent = parent_of(node)
        above = answering(parent, after) if parent else None
        up = challengers.get(node)
        sides = {"challenger": up and up.version, "champion": champions.get(node), "parent": above and after[above]}
        versions = {side: version for side, version in sides.items() if version}
        # A model is needed while the walk is below its node: never more of them than the tree is deep.
        needed = {*versions.values(), *(after[each] for each in lineage(node) if each in after)}
        models = {version: model for version, model in models.items() if version in needed}
        met = Met(node, above, versions)
        if any(side in versions for side in OWN):
            models |= {version: contestants.load(version) for version in set(versions.values()) - set(models)}
            met = _measured(
                declared.line, metric, met, rows_of(node), models, contestants.alike.get(depth_of(node), ())
            )
        ruling = rule(metric, declared.line.bar, met.contest, above, up.look if up else None)
        if ruling.passed:
            version = versions["challenger"]
            weak = contestants.weak(met, models[version], rows_of(node))
            met = replace(met, weak=weak, unsafe=contestants.unsafe(version))
            if met.unsafe is None:
                met = replace(met, staged=contestants.stage(node, version, met.error))
            ruling = rule(metric, declared.line.bar, met.contest, above, up.look if up else None)
        after.pop(node, None)
        if champion := ruling.champion(champions.get(node), versions.get("challenger")):
            after[node] = champion
        yield met


def _measured(
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
        name: judge(
            line.task, metric, y, predictions[side], predictions[other], of_naive if other == "naive" else of_models
        )
        for name, (side, other) in pairs.items()
        if metric in metrics.get(side, {}) and metric in metrics.get(other, {})
    }
    certain = {name: each.sure for name, each in judged.items() if each.sure is not None}
    if parts:
        of_parts = _sure_of_parts(line, metric, replace(met, rivals=rivals), parts, of_models)
        certain |= {name: sure for name, sure in of_parts.items() if sure is not None}
    alike = {name: each.alike for name, each in judged.items() if each.alike and name != "naive"}
    return replace(met, rivals=rivals, certainty=certain, alike=alike)


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
            found[value] = certainty(
                line.task, metric, met.y[mask], p["challenger"][mask], theirs[mask], within, declared.worse
            )
    if parts.asked.cost and len(met.y):
        saved = costs(parts.asked, met.y, theirs) - costs(parts.asked, met.y, p["challenger"])
        found["cost"] = sure_of(lambda kept: float(saved[kept].mean()), len(saved), groupings)
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
    return Weaknesses(name, found, rival, [float(of_rival[each.rows].mean()) for each in found])


def recorded(metric: str, champion: EvaluationRecord | None, challenger: EvaluationRecord | None) -> Contest:
    """The contest by a metric from a node's records: the evaluations of its champion and of its challenger."""
    first = champion or challenger
    if first is None:
        return Contest({}, None, None, None)
    # Without a champion the challenger was measured against the parent.
    parent = first.incumbent if first.incumbent_version else None
    sure: dict[str, float | None] = {
        side: record.certainty.get(metric)
        for side, record in (("champion", champion), ("challenger", challenger))
        if record
    }
    sure["naive"] = challenger.certainty.get(f"naive_{metric}") if challenger else None
    own = (metric, f"naive_{metric}", *kept(metric, Alike(0.0, 0)))
    sure |= {name: value for name, value in (challenger.certainty if challenger else {}).items() if name not in own}
    return Contest(
        naive=(challenger or first).naive,
        parent=parent,
        champion=champion.challenger if champion else None,
        challenger=challenger.challenger if challenger else None,
        certainty={side: value for side, value in sure.items() if value is not None},
        unsafe=challenger.unsafe if challenger else None,
        disagreement=challenger.disagreement if challenger else None,
        rows=first.rows,
    )
