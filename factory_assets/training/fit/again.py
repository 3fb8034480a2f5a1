"""How is a version that passed fitted again on all labelled days, and does what comes out still say what the judged one says?

The configuration is that of the judged version, with the rounds that were found for it: nothing is chosen any more, so that no
holdout is needed. What nobody can measure is whether the refit is better; whether it is another model, its predictions tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from factory_assets.declarations.declared import DeclaredLine
from factory_assets.declarations.line import Line
from factory_assets.declarations.tasks import classes_of
from factory_assets.measures.tables import LABEL, label_values
from factory_assets.models.archived import ReleasedModel
from factory_assets.training.archiving import Release, of_holdout, release_again
from factory_assets.training.fit.fitting import Again, Fitted, NotTrained, fit_again
from factory_assets.training.fit.warm_fit import Parents, Warm
from factory_assets.training.timeline import Timeline
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.ledger import VersionRecord


@dataclass(frozen=True)
class Disagreement:
    """How far a refit's predictions are from those of the judged version, and these from the labels: means over the same rows.

    Of classes the distance is the part of the probability that lies elsewhere.
    """

    apart: float
    off: float
    rows: int

    def within(self, bound: float) -> bool:
        return self.apart <= bound * self.off

    @property
    def times(self) -> float | None:
        """apart in terms of off; None where the judged version is never off."""
        return self.apart / self.off if self.off else None


def again_of(record: VersionRecord, parents: Parents) -> Again:
    """What a version is fitted again as. record: the version's own, or that of a refit of it. parents: as of `fit_node`."""
    configuration = record.configuration
    warm = configuration.get("warm_from")
    parent = parents.get(record.candidate)
    return Again(record.candidate, configuration.get("rounds"), Warm(**warm) if warm else None, parent)


def refitted(
    archive: ArchiveFolder,
    declared: DeclaredLine,
    span: Timeline,
    line: Line,
    judged: ReleasedModel,
    again: Again,
    rows: pa.Table,
    answered: Mapping[str, str],
) -> tuple[Fitted | NotTrained, Release | None]:
    """The judged version on all of these rows, in the archive; or why it cannot be fitted on them.

    span: of the refit. line: with the parameters that were found for the node. answered: as of `archiving.release`.
    """
    outcome = fit_again(line, rows, declared.features, str(judged.manifest["segment"]), again)
    if not isinstance(outcome, Fitted):
        return outcome, None
    return outcome, release_again(archive, declared, span, outcome, rows, judged, answered)


def disagreement(judged: ReleasedModel, refit: ReleasedModel, rows: pa.Table) -> Disagreement:
    """On those of the refit's labelled rows that the judged version has not learnt from, the newest that there are."""
    newest, task = of_holdout(rows, judged), judged.task
    if not newest.num_rows:
        return Disagreement(0.0, 0.0, 0)
    y, p, q = label_values(task, newest[LABEL]), judged.predict(newest), refit.predict(newest)
    if classes_of(task):
        elsewhere = 1 - p[np.arange(len(y)), y.astype(np.intp)]
        return Disagreement(float(np.abs(p - q).sum(axis=1).mean() / 2), float(elsewhere.mean()), len(y))
    return Disagreement(float(np.abs(p - q).mean()), float(np.abs(p - y).mean()), len(y))
