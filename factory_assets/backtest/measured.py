"""How good was each policy over time, and does retraining pay? By the rows that all policies answered.

A policy is better than another where that is sure by stretches of days, each as long as trainings are apart and a week at least,
and by the customers where rows have some. But the model that is never replaced is one version, and versions of one recipe differ by
luck that lasts as long as they do: it is no less for more days. How large it is, the newest models beside those before them tell.

Two questions are asked: is it better at all, and may it be better by more than a share of what models gain over a naive guess?
Where neither has a sure answer, there is none.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from factory_assets.backtest.policies import Policy
from factory_assets.backtest.replay import BEFORE, Event, Predicted, Replayed
from factory_assets.declarations.base import whole_days
from factory_assets.evaluation.decay import FEWEST, WEEK
from factory_assets.identity.nodes import ROOT, answering, lineage, tree
from factory_assets.measures.certainty import certainty, witnesses
from factory_assets.measures.metrics import improvement, score
from factory_assets.scoring.champions import Champions
from factory_assets.words import counted, figure

#: Share of the gain over a naive guess that is worth a training, unless somebody says otherwise.
SHARE = 0.05
#: How sure it must be that one policy is better than another, or that it is not by more than the share.
SURE = 0.95
#: What is surer than this, or less sure, is taken to be as sure.
LEAST = 1e-9
NAIVE = "naive"
WORDS: Mapping[str, str] = {
    "never": "never retraining",
    "gate": "retraining with the gate",
    "newest": "always taking the newest",
}
#: Columns of what people are shown: of each policy, and of one against another.
TOTALS = ("policy", "value", "trainings", "models", "cpu seconds", "promotions", "rows without an answer")
COMPARED = ("policy", "against", "gain", "at least", "at most", "certainty", "verdict")
Verdict = Literal["better", "worse", "too little", "cannot tell", "unknown"]
MEANS = {
    "replay": "Which replay: how often trained, over which days, with which seed, and of which nodes if not of all.",
    "policy": "never: the models of the first training answer; gate: whoever passes the declared gate; newest: the newest models.",
    "period": "What the row is about: a day (of global alone), a month, or the whole stretch.",
    "day": "Its first day.",
    "node": "The node on whose rows it is measured; they are those of its subtree, whoever answers.",
    "version": "The version that answers for the node at the end of the period.",
    "as_of": "The day as of which that version was trained.",
    "metric": "What value and naive are.",
    "value": "The metric of the policy's predictions; empty where these rows leave it undefined.",
    "naive": "That of a guess by the training labels alone.",
    "rows": "Rows that all policies answered, on which they are measured.",
    "unanswered": "Further rows, for which this policy had no champion.",
    "ds": "The last day of the replay.",
}
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("replay", "policy", "period")),
        ("day", pa.date32()),
        *((name, pa.string()) for name in ("node", "version")),
        ("as_of", pa.date32()),
        ("metric", pa.string()),
        *((name, pa.float64()) for name in ("value", "naive")),
        *((name, pa.int64()) for name in ("rows", "unanswered")),
        ("ds", pa.date32()),
    ]
)
#: Columns of `<line>/backtest_events`: what happened to a node in a training of a policy.
EVENTS = pa.schema(
    [
        *((name, pa.string()) for name in ("replay", "policy")),
        ("as_of", pa.date32()),
        *((name, pa.string()) for name in ("node", "event", "reason", "version", "champion")),
        ("rows", pa.int64()),
        ("seconds", pa.float64()),
        ("ds", pa.date32()),
    ]
)


@dataclass(frozen=True)
class Against:
    """A policy against another, on the same rows. gain: by how much it is better. over_naive: by how much the better of the two is
    better than the naive guess. error: the standard error of the gain, by days, clusters and the luck of versions, with `freedom`
    degrees of freedom; None where days, or trainings, are too few. share: of over_naive; a smaller gain is not worth a training.
    """

    policy: Policy
    other: Policy
    value: float
    other_value: float
    gain: float
    over_naive: float
    error: float | None
    freedom: int
    share: float

    @property
    def sure(self) -> float | None:
        """How sure it is that the policy is better, from 0 to 1."""
        from scipy.special import stdtr

        return None if self.error is None else float(stdtr(self.freedom, self.gain / self.error))

    @property
    def limits(self) -> tuple[float, float] | None:
        """What the gain is at least, and at most, each as sure as `SURE`."""
        from scipy.special import stdtrit

        if self.error is None:
            return None
        reach = float(stdtrit(self.freedom, SURE)) * self.error
        return self.gain - reach, self.gain + reach

    @property
    def worth(self) -> float:
        """The gain that is worth a training."""
        return self.share * max(self.over_naive, 0.0)

    @property
    def verdict(self) -> Verdict:
        if self.limits is None:
            return "unknown"
        least, most = self.limits
        if most < 0 and self.gain < -self.worth:
            return "worse"
        if most <= self.worth:
            return "too little"
        return "better" if least > 0 and self.gain > self.worth else "cannot tell"


@dataclass(frozen=True)
class Total:
    """A policy over the whole stretch. trainings: days as of which it trained anything. seconds: of the CPU, for its models.

    promotions: decisions that let another version of a node answer than before. value: None where it cannot be measured.
    """

    policy: Policy
    value: float | None
    trainings: int
    models: int
    seconds: float
    promotions: int
    unanswered: int


@dataclass(frozen=True)
class Measured:
    """A replay, measured. share: of the gain over a naive guess; less than that is not worth a training."""

    replayed: Replayed
    share: float = SHARE

    @property
    def rows(self) -> Predicted:
        return self.replayed.predicted

    @property
    def _task(self) -> str:
        return self.replayed.asked.declared.line.task

    @cached_property
    def answered(self) -> Mapping[str, np.ndarray]:
        """Policy -> a mask of the rows that one of its champions answered."""
        found = self.rows.predictions
        return {who: ~np.isnan(found[who].reshape(len(found[who]), -1)).any(axis=1) for who in self.policies}

    @cached_property
    def common(self) -> np.ndarray:
        """A mask of the rows that all policies answered."""
        return np.logical_and.reduce([np.ones(len(self.rows.y), bool), *self.answered.values()])

    @property
    def policies(self) -> Sequence[Policy]:
        return self.replayed.asked.policies

    def value(self, who: str, kept: np.ndarray) -> float | None:
        """The metric of a policy, or of the naive guess, on some rows: a mask, or their places."""
        found = score(self._task, self.rows.y[kept], self.rows.predictions[who][kept])
        return found.get(self.replayed.metric)

    @cached_property
    def totals(self) -> list[Total]:
        return [self._total(policy) for policy in self.policies]

    def _total(self, policy: Policy) -> Total:
        own = [event for event in self.replayed.events if event.policy == policy]
        trained = [event for event in own if event.seconds is not None]
        held, changes = dict[str, str | None](), 0
        for event in own:
            if event.seconds is None:
                changes += event.champion is not None and held.get(event.node) != event.champion
                held[event.node] = event.champion
        return Total(
            policy,
            self.value(policy, self.common),
            len({event.as_of for event in trained}),
            sum(event.event == "trained" for event in trained),
            sum(event.seconds or 0.0 for event in trained),
            changes,
            int((~self.answered[policy]).sum()),
        )

    @cached_property
    def naive(self) -> float | None:
        return self.value(NAIVE, self.common)

    def against(self, policy: Policy, other: Policy) -> Against | None:
        """A policy against another; None where either cannot be measured."""
        kept, metric, line = self.common, self.replayed.metric, self.replayed.asked.declared.line
        values = {who: self.value(who, kept) for who in (policy, other, NAIVE)}
        ours, theirs, naive = values[policy], values[other], values[NAIVE]
        if ours is None or theirs is None or naive is None:
            return None
        rows = self.rows
        clusters = rows.clusters.filter(pa.array(kept)) if rows.clusters is not None else None
        # Days between two trainings have the same models in common. That one stretch is like the stretch before is no luck here: a
        # model that grows old is worse and worse.
        length = max(line.overlap_days, whole_days(line.retrain.every), WEEK)
        groupings = witnesses(rows.days[kept], length, clusters)
        p, q = (rows.predictions[who][kept] for who in (policy, other))
        gain = improvement(metric, ours, theirs)
        by_days = (
            LEAST
            if np.array_equal(p, q)
            else _spread(gain, certainty(self._task, metric, rows.y[kept], p, q, groupings))
        )
        error = self._with_luck(policy, other, by_days)
        over_naive = max(improvement(metric, value, naive) for value in (ours, theirs))
        freedom = len(self.between_versions) - 1
        return Against(policy, other, ours, theirs, gain, over_naive, error, freedom, self.share)

    @cached_property
    def between_versions(self) -> list[float]:
        """By how much the newest models were better than those before them, of each training that either can be measured after."""
        rows, metric = self.rows, self.replayed.metric
        if "newest" not in self.policies:
            return []
        there = self.answered["newest"] & ~np.isnan(rows.predictions[BEFORE].reshape(len(rows.y), -1)).any(axis=1)
        parts = [there & (self._after == each) for each in range(1, len(self.replayed.trainings) + 1)]
        pairs = [(self.value("newest", part), self.value(BEFORE, part)) for part in parts if part.any()]
        return [improvement(metric, new, old) for new, old in pairs if new is not None and old is not None]

    @cached_property
    def _after(self) -> np.ndarray:
        """Of each row the number of the training before it: 1, 2 ..."""
        days = np.array([each.as_of for each in self.replayed.trainings], "datetime64[D]")
        return np.searchsorted(days, self.rows.days)

    def _with_luck(self, policy: Policy, other: Policy, by_days: float | None) -> float | None:
        """The standard error of a gain, where a policy may stand by a lucky version. by_days: that by days and clusters."""
        if by_days is None or len(self.between_versions) < FEWEST - 1:
            return None
        return float(np.hypot(by_days, np.sqrt(luck(self.between_versions) * self.lasting(policy, other))))

    def lasting(self, policy: Policy, other: Policy) -> float:
        """How much of the luck of one version is in the difference of two policies: 1 for one that stays against ever new ones, 2 for
        one that stays against another that stays, 0 where they answer by the same ones. Averaged over the rows of leaves.

        It is the sum over versions of the squared difference of the shares of rows that either policy answers by them.
        """
        rows, by_leaf = self.rows, list[float]()
        number = len(self.replayed.trainings) + 1
        counts = np.bincount((rows.leaf * number + self._after)[self.common], minlength=len(rows.leaves) * number)
        for leaf, answered in zip(rows.leaves, counts.reshape(-1, number), strict=True):
            weight = dict[str, float]()
            for sign, who in ((1, policy), (-1, other)):
                for training, many in zip(self.replayed.trainings, answered[1:], strict=True):
                    champions = self.replayed.champions[who][training.as_of]
                    if many and (node := answering(leaf, champions)):
                        weight[champions[node]] = weight.get(champions[node], 0.0) + sign * many
            by_leaf.append(sum(each**2 for each in weight.values()) / max(answered.sum(), 1) ** 2)
        return float(np.average(by_leaf, weights=counts.reshape(-1, number).sum(axis=1)))

    @cached_property
    def comparisons(self) -> list[Against]:
        """Each policy against each that is named before it, as far as they can be measured."""
        pairs = [(policy, other) for place, policy in enumerate(self.policies) for other in self.policies[:place]]
        return [found for pair in pairs if (found := self.against(*pair)) is not None]

    def advice(self) -> str:
        """Whether retraining pays, and what the gate does: a sentence or two."""
        if not self.common.any():
            worst = max(self.totals, key=lambda total: total.unanswered)
            rows = counted(len(self.rows.y), "row")
            return f"nothing can be compared: {WORDS[worst.policy]} had no champion for {worst.unanswered} of {rows}{self._failed()}"
        by_pair = {(each.policy, each.other): each for each in self.comparisons}
        retraining = by_pair.get(("gate", "never")) or by_pair.get(("newest", "never"))
        taking = by_pair.get(("newest", "gate"))
        sentences = [self._pays(retraining)] if retraining else []
        sentences += [self._of_gate(taking)] if taking else []
        found = (
            "; ".join(sentences) or f"{self.replayed.metric} cannot be compared: there are too few rows, or one policy"
        )
        return found + self._failed()

    def _failed(self) -> str:
        """How many models could not be made, and why the last of them; empty where all could."""
        trained = {(each.as_of, each.node): each for each in self.replayed.events if each.seconds is not None}
        failed = [each for each in trained.values() if each.event == "failed"]
        if not failed:
            return ""
        last = max(failed, key=lambda each: each.as_of)
        what = f"{len(failed)} of {counted(len(trained), 'model')} could not be made"
        return f"; {what}, that of {last.node} as of {last.as_of} for {last.reason}"

    def _pays(self, against: Against) -> str:
        every, sure = self.replayed.asked.every, _sure(against)
        what = f"{self.replayed.metric} {figure(against.value)} against {figure(against.other_value)} of never"
        words: Mapping[Verdict, str] = {
            "better": f"pays: {what}, with a certainty of {sure}",
            "worse": f"does not pay: {what}, which is worse with a certainty of {sure}",
            "too little": f"does not pay: {what}; {_at_most(against)}, and less than {self.share:.0%} is not worth a training",
            "cannot tell": f"cannot be told from luck: {what} (certainty {sure}); {_at_most(against)}",
            "unknown": f"cannot be judged: {what}; {self._lacks()}",
        }
        return f"retraining every {every} {words[against.verdict]}"

    def _of_gate(self, against: Against) -> str:
        what = f"always taking the newest comes to {figure(against.value)}, the gate to {figure(against.other_value)}"
        words: Mapping[Verdict, str] = {
            "better": f"the gate costs more than it saves (certainty {_sure(against)})",
            "worse": f"the gate pays (certainty {_sure(against)})",
            "too little": f"without the gate {_at_most(against)}",
            "cannot tell": f"the difference is within luck (certainty {_sure(against)})",
            "unknown": self._lacks(),
        }
        return f"{what}: {words[against.verdict]}"

    def _lacks(self) -> str:
        if "newest" not in self.policies:
            return "the newest models beside those before them tell how large luck is: replay the policy newest as well"
        return f"days, or trainings, are too few to tell that from luck: {FEWEST} trainings are the fewest"

    def table(self) -> pa.Table:
        """The table `<line>/backtest`: days of all rows, months and the stretch of each node."""
        return pa.Table.from_pylist(list(self._rows()), schema=SCHEMA)

    def _rows(self) -> Iterator[dict[str, Any]]:
        rows = self.rows
        of_leaf: dict[str, list[int]] = {}
        for place, leaf in enumerate(rows.leaves):
            for node in lineage(leaf):
                of_leaf.setdefault(node, []).append(place)
        order = np.argsort(rows.days, kind="stable")
        for node in tree(rows.leaves):
            within = np.zeros(len(rows.leaves), bool)
            within[of_leaf.get(node, [])] = True
            of_node = order[within[rows.leaf[order]]]
            periods = (
                [("month", "datetime64[M]"), ("day", "datetime64[D]")] if node == ROOT else [("month", "datetime64[M]")]
            )
            for period, unit in periods:
                when = rows.days[of_node].astype(unit)
                starts = np.flatnonzero(np.append(True, when[1:] != when[:-1])) if len(when) else np.empty(0, int)
                for part in np.split(of_node, starts[1:]):
                    yield from self._of_period(period, node, part)
            if len(of_node):
                yield from self._of_period("stretch", node, of_node)

    def _of_period(self, period: str, node: str, part: np.ndarray) -> Iterator[dict[str, Any]]:
        """part: places of the rows, in the order of their days."""
        replayed, kept = self.replayed, part[self.common[part]]
        first, last = (self.rows.days[part[at]].astype(dt.date) for at in (0, -1))
        naive = self.value(NAIVE, kept)
        begins = first.replace(day=1) if period == "month" else first
        for policy in self.policies:
            champions = _champions_on(replayed.champions[policy], last)
            answers = answering(node, champions)
            version = champions[answers] if answers else None
            yield {
                "replay": replayed.asked.name,
                "policy": policy,
                "period": period,
                "day": begins,
                "node": node,
                "version": version,
                "as_of": replayed.made[version] if version else None,
                "metric": replayed.metric,
                "value": self.value(policy, kept),
                "naive": naive,
                "rows": len(kept),
                "unanswered": int((~self.answered[policy][part]).sum()),
                "ds": replayed.asked.stretch.last,
            }

    def events(self) -> pa.Table:
        """The table `<line>/backtest_events`."""
        asked = self.replayed.asked
        common = {"replay": asked.name, "ds": asked.stretch.last}
        return pa.Table.from_pylist([_event(event) | common for event in self.replayed.events], schema=EVENTS)


def _spread(gain: float, sure: float | None) -> float | None:
    """The standard error of a gain that is so sure; None where a gain of nothing leaves it open."""
    from scipy.special import ndtri

    return None if sure is None or not gain else gain / float(ndtri(np.clip(sure, LEAST, 1 - LEAST)))


def luck(differences: Sequence[float]) -> float:
    """The variance of what sets a version apart from others of its recipe as long as it answers.

    differences: of each version and the one before, oldest first, each on the days after the version was made; two or more.
    Neighbours have a version in common, with opposite signs: their covariance is minus the variance that is sought, and the luck of
    days is in neither. Of so few an estimate is rough: its standard error, as of differences that have nothing in common, is added.
    It is at most half of the variance of the differences, which has the luck of days, too.
    """
    apart = np.asarray(differences) - np.mean(differences)
    most = float(apart.var(ddof=1)) / 2
    in_common = -float(apart[1:] @ apart[:-1]) / (len(apart) - 1)
    return min(max(in_common + 2 * most / np.sqrt(len(apart)), 0.0), most)


def _champions_on(by_day: Mapping[dt.date, Champions], day: dt.date) -> Champions:
    """Those that were decided on as of the last day before."""
    before = [as_of for as_of in by_day if as_of < day]
    return by_day[max(before)] if before else {}


def _event(event: Event) -> dict[str, Any]:
    return dict(vars(event))


def _sure(against: Against) -> str:
    """How sure the verdict is, where there is one."""
    sure = against.sure or 0.0
    return f"{1 - sure if against.verdict == 'worse' else sure:.2f}"


def _at_most(against: Against) -> str:
    """The largest gain that there may be; empty where there is no verdict."""
    if against.limits is None:
        return ""
    part = against.limits[1] / against.over_naive if against.over_naive > 0 else 0.0
    gains = f"at most {part:.1%} of what the line gains over a naive guess" if part > 0 else "nothing"
    return f"with a certainty of {SURE:.2f} it gains {gains}"
