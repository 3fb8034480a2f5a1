"""What came out of a meeting on a node's rows, as the gate judges it and the ledger keeps it?"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from factory_assets.evaluation.gate import Contest
from factory_assets.evaluation.likeness import kept
from factory_assets.evaluation.staging import Staged
from factory_assets.evaluation.weak import Weaknesses
from factory_assets.measures.certainty import Alike
from factory_assets.training.timeline import Timeline
from factory_resources.ledger import EvaluationRecord

#: Between which values lies what a challenger saves of the cost of a row, with 95 %.
GAIN = ("cost_gain_lowest", "cost_gain_highest")
#: The versions that a node has itself.
OWN = ("champion", "challenger")


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
