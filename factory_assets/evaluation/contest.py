"""Who is measured against whom? The tree is walked down, so that a node meets whoever answers above it by then.

A node's challenger, its present champion, the champion that answers above it and a naive guess all predict the same rows:
the node's own in the holdout, of days that none of them has learnt from. What is recorded is a version against whoever would
answer in its place: the champion against the parent, and the challenger against the better of the two.
"""

import datetime as dt
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from factory_assets.declarations.catalogue import DeclaredLine
from factory_assets.evaluation.challengers import Challenger
from factory_assets.evaluation.gate import rule
from factory_assets.evaluation.measuring import measured
from factory_assets.evaluation.met import OWN, Met
from factory_assets.evaluation.staging import Staged
from factory_assets.evaluation.weak import Weaknesses
from factory_assets.identity.nodes import answering, depth_of, lineage, parent_of, preorder
from factory_assets.measures.certainty import Alike
from factory_assets.models.archived import ReleasedModel

#: Where a challenger that passed is worse than elsewhere; its meeting, its model, the rows of its node.
Weak = Callable[[Met, ReleasedModel, pa.Table], Weaknesses | None]


def nothing(met: Met, model: ReleasedModel, rows: pa.Table) -> None:
    """What a walk finds in which nobody looks."""


@dataclass(frozen=True)
class Contestants:
    """Who may meet. champions: node -> its version before its ruling, for all nodes of the line. challengers: node -> who is up.

    load: the model of a version. unsafe: why a version may not be served, None where nothing is found; asked only of one that is good
    enough to become champion, and before its subtree is measured against it. alike: level of the tree -> what earlier meetings tell
    of days that are like the day before. stage: one that may be served beside who answers now, by node, version and how far it is off
    on average on the holdout. weak: where such a one is worse than elsewhere, of its node's rows; see `measuring.weak_at`.
    copied: the feature of such a one that has the label of its node's rows; see `copies.copied`.
    labels: which labels of a node are missing from a day on; see `Coverage.of`.
    """

    champions: Mapping[str, str]
    challengers: Mapping[str, Challenger]
    load: Callable[[str], ReleasedModel]
    unsafe: Callable[[str], str | None]
    alike: Mapping[int, Sequence[Alike]] = field(default_factory=dict)
    stage: Callable[[str, str, float], Staged | None] = lambda node, version, error: None
    weak: Weak = nothing
    copied: Callable[[Met, ReleasedModel, pa.Table], str | None] = nothing
    labels: Callable[[str, dt.date, int], Mapping[str, float]] = lambda node, since, labelled: {}


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
            met = measured(declared.line, metric, met, rows_of(node), models, contestants.alike.get(depth_of(node), ()))
            if up and met.since:
                met = replace(met, certainty={**met.certainty, **contestants.labels(node, met.since, len(met.y))})
        ruling = rule(metric, declared.line.bar, met.contest, above, up.look if up else None)
        if ruling.passed:
            version = versions["challenger"]
            weak = contestants.weak(met, models[version], rows_of(node))
            unsafe = contestants.copied(met, models[version], rows_of(node)) or contestants.unsafe(version)
            met = replace(met, weak=weak, unsafe=unsafe)
            if met.unsafe is None:
                met = replace(met, staged=contestants.stage(node, version, met.error))
            ruling = rule(metric, declared.line.bar, met.contest, above, up.look if up else None)
        after.pop(node, None)
        if champion := ruling.champion(champions.get(node), versions.get("challenger")):
            after[node] = champion
        yield met
