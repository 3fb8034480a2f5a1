"""Who meets in the training of a day, and on which days' rows? By what the ledger has of the nodes until then."""

import datetime as dt
from collections.abc import Callable, Collection, Iterator
from functools import partial

from factory_assets.declarations.days import DAY
from factory_assets.declarations.declared import DeclaredLine
from factory_assets.declarations.line import ANY
from factory_assets.evaluation.challengers import challengers_of
from factory_assets.evaluation.contest import Contestants, Weak, nothing, walk
from factory_assets.evaluation.copies import copied
from factory_assets.evaluation.coverage import Counts, Coverage
from factory_assets.evaluation.incumbents import as_judged, champions_before
from factory_assets.evaluation.likeness import likeness
from factory_assets.evaluation.met import Met
from factory_assets.evaluation.staging import Staging
from factory_assets.measures.compared import decided_by
from factory_assets.models.archived import ReleasedModel
from factory_assets.training.dataset import DaysAsKnown, close_of, window_of
from factory_assets.training.subtrees import Subtrees
from factory_assets.training.timeline import timeline
from factory_resources.ledger import Ledger


def meet(
    declared: DeclaredLine,
    ledger: Ledger,
    day: dt.date,
    nodes: Collection[str],
    load: Callable[[str], ReleasedModel],
    holdout_from: Callable[[dt.date], Subtrees],
    newest: Callable[[], tuple[dt.date, Subtrees] | None],
    unsafe: Callable[[str], str | None],
    counts: Callable[[DaysAsKnown, bool], Counts],
    weak: Weak = nothing,
) -> Iterator[Met]:
    """The meetings of the nodes in the training of a day, parents before children. Nothing is recorded.

    load, unsafe, weak: as of `contest.Contestants`. holdout_from: the labelled rows from a day to the end of the holdout, asked once.
    newest: as of `staging.Staging`. counts: as of `dataset.label_counts`.
    """
    line, withdrawn = declared.line, ledger.withdrawn(declared.line.name, day)
    challengers = {
        node: up
        for node, up in challengers_of(ledger, declared, day).items()
        if node in nodes and (node, up.version) not in withdrawn
    }
    longest = max([line.train.holdout.days, *(up.look.days for up in challengers.values())])
    span = timeline(declared, day)
    first = span.holdout_to - longest * DAY + DAY
    holdout = holdout_from(first)
    coverage = Coverage(
        line.gate.labels if line.gate.certainty > ANY else 0.0,
        lambda: counts(DaysAsKnown(first, span.holdout_to, close_of(day)), False),
        lambda: counts(window_of(span), True),
    )
    metric, in_place = decided_by(declared), champions_before(ledger, line.name, day, nodes)
    contestants = Contestants(
        as_judged(ledger, line.name, in_place),
        challengers,
        load,
        unsafe,
        likeness(ledger, line.name, metric, day),
        Staging(declared, in_place, newest, load).staged,
        weak,
        partial(copied, line),
        coverage.of,
    )
    yield from walk(declared, metric, nodes, contestants, holdout.mapped)
