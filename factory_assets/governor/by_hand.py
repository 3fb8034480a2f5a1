"""What does a person have made who does not wait for the plan? Days with rows set aside are judged again, nodes are trained now.

The runs are those that the plan would start, with another reason. What follows from them is due as after any other run.
"""

import datetime as dt
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from factory_assets.events.aside import by_rule
from factory_assets.governor.executor import Deployment, catch_up_stream, execute
from factory_assets.governor.runs import open_runs, training_assets, training_config, training_tags
from factory_assets.governor.work import TRAINED
from factory_assets.identity.partitions import segment_partitions
from factory_assets.training.run_config import newest_labelled
from factory_assets.training.timeline import TrainingRefused, require_coverage
from factory_assets.words import counted, listed, meant
from factory_resources.processes import close_gone_runs

#: Trigger of a training that a person asked for, beside those of the plan.
PERSON = "person"
#: Names that a message lists.
NAMED = 20


class Refused(ValueError):
    """A rule speaks against what was asked for. Nothing was started."""


@dataclass(frozen=True)
class Released:
    """Rows set aside before and after their days were judged again, by day and rule. failures: days held back, a sentence each."""

    stream: str
    before: Counter[tuple[dt.date, str]]
    after: Counter[tuple[dt.date, str]]
    judged: int
    failures: Sequence[str] = ()

    @property
    def rules(self) -> dict[str, tuple[int, int]]:
        """Rule -> rows that were released, and rows that are still aside."""
        was, still = (_per_rule(rows) for rows in (self.before, self.after))
        return {rule: (was[rule] - still[rule], still[rule]) for rule in sorted(was)}

    @property
    def message(self) -> str:
        """What came of it, in a sentence."""
        if not self.before:
            return f"{self.stream}: no rows are set aside"
        if not self.judged:
            return f"{self.stream}: nothing to release, the contract is the one by which these rows were set aside"
        rows = sum(released for released, _ in self.rules.values())
        return f"{self.stream}: {counted(rows, 'row')} released, {self.after.total()} still aside"


def _per_rule(rows: Counter[tuple[dt.date, str]]) -> Counter[str]:
    counts = Counter[str]()
    for (_, rule), number in rows.items():
        counts[rule] += number
    return counts


def release(deployment: Deployment, stream: str, first: dt.date | None, last: dt.date | None) -> Released:
    """Judge the days with rows set aside again, by the contract as it is now; what breaks no rule any more becomes events.

    first, last: days, inclusive; None: as far as there are any. Raises Refused, and Stopped where somebody stops it.
    """
    if stream not in deployment.catalogue.streams:
        raise Refused(_unknown(stream, "stream", deployment.catalogue.streams))
    if first and last and first > last:
        raise Refused(f"the first day, {first}, is after the last, {last}")
    before = by_rule(deployment.lake, stream, first, last)
    days = sorted({day for day, _ in before})
    if not days:
        return Released(stream, before, before, 0)
    known = len(deployment.failures)
    declared = deployment.catalogue.streams[stream]
    judged = sum(step.days for step in catch_up_stream(deployment, declared, days, lambda station, what: None))
    after = by_rule(deployment.lake, stream, first, last)
    return Released(stream, before, after, judged, tuple(deployment.failures[known:]))


@dataclass(frozen=True)
class Decided:
    """What came of a node's training. version: the new challenger's; None where there is none. why: of the verdict, in words."""

    node: str
    version: str | None
    verdict: str
    why: str


@dataclass(frozen=True)
class Retrained:
    """A training that a person asked for. failures: of its run, a sentence each."""

    line: str
    as_of: dt.date
    nodes: Sequence[Decided]
    failures: Sequence[str] = ()

    @property
    def message(self) -> str:
        """What came of it, in a sentence."""
        new = sum(each.version is not None for each in self.nodes)
        verdicts = Counter(each.verdict for each in self.nodes).most_common()
        found = ", ".join(f"{number} {verdict}" for verdict, number in verdicts)
        same = "" if new else "; what was learnt from is the same as in the training before"
        nodes = counted(len(self.nodes), "node")
        return f"{self.line} as of {self.as_of}: {nodes}, {counted(new, 'new version')}; {found}{same}"


def retrain(deployment: Deployment, line: str, nodes: Collection[str], why: str, who: str) -> Retrained:
    """Train new challengers of these nodes as of the newest day whose labels are in, evaluate them, and let the gate decide.

    nodes: all that there are if empty. A challenger of before that is still undecided gives way to the new one. why, who: the
    reason and the person, which the run keeps. Raises Refused, and Stopped where somebody stops it.
    """
    if line not in deployment.catalogue.lines:
        raise Refused(_unknown(line, "line", deployment.catalogue.lines))
    if not why.strip() or not who.strip():
        raise Refused("a training by hand needs somebody who asks for it and a reason")
    declared = deployment.catalogue.resolve(deployment.catalogue.lines[line])
    there = deployment.instance.get_dynamic_partitions(str(segment_partitions(line).name))
    if unknown := [node for node in dict.fromkeys(nodes) if node not in there]:
        raise Refused(_unknown(unknown[0], f"node of {line}", sorted(there), "nodes"))
    day = newest_labelled(deployment.lake, declared.line)
    if day is None or not there:
        raise Refused(f"{line}: there are no examples yet; materialise {line}/examples first")
    try:
        require_coverage(declared, day)
    except TrainingRefused as refused:
        raise Refused(str(refused)) from None
    _refuse_two_at_once(deployment, line)
    # A range of partitions follows the order in which they were added.
    chosen = [node for node in there if not nodes or node in nodes]
    stands = deployment.ledger.standing(line)
    if later := [node for node in chosen if node in stands and stands[node].decided_as_of > day]:
        raise Refused(
            f"{line}: labels are in up to the close of {day}, and {listed(later, NAMED)} was decided on as of "
            f"{stands[later[0]].decided_as_of}: a training would decide nothing before the labels of that day are in"
        )
    before = {each.version for each in deployment.ledger.versions(line, as_of=day)}
    failures = execute(
        deployment, training_assets(line), training_tags(line, chosen, str(day), PERSON, f"{why.strip()} ({who})"),
        _anew(line, chosen, day),
    )  # fmt: skip
    new = [each for each in deployment.ledger.versions(line, as_of=day) if each.version not in before]
    made = {each.node: each.version for each in new}
    stands = deployment.ledger.standing(line)
    decided = [
        Decided(node, made.get(node), stands[node].verdict, stands[node].reason)
        if node in stands
        else Decided(node, made.get(node), "none", "nothing was decided")
        for node in chosen
    ]
    return Retrained(line, day, decided, tuple(failures))


def _anew(line: str, nodes: Sequence[str], day: dt.date) -> dict[str, object]:
    """The configuration of a training that looks at no challenger of before again: somebody asks for another one."""
    config = training_config(line, nodes, day)
    config["ops"][f"{line}__{TRAINED[0]}"]["config"]["anew"] = True
    return config


def _refuse_two_at_once(deployment: Deployment, line: str) -> None:
    """Raise Refused while another run trains the line: both would decide on the same nodes."""
    close_gone_runs(deployment.instance)
    training = {*training_assets(line)}
    for run in open_runs(deployment.instance):
        if training & {*(run.asset_selection or ())}:
            raise Refused(f"{line} is being trained by run {run.run_id}: wait until it has ended, or stop it")


def _unknown(name: str, kind: str, names: Collection[str], several: str = "") -> str:
    """The message about a name that there is not. names: those that there are."""
    some = [*names][:NAMED]
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    there = f"{', '.join(some) or 'none'}{more}"
    return f"{name!r} is not a {kind}; {several or f'{kind}s'} here: {there}{meant(name, names)}"
