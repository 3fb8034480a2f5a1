"""What does somebody have to know of a line who takes it over? What it predicts, from what, how it learns, and what releases it.

It is what the line's declaration says, in words, beside what that amounts to: a new owner needs no other document.
"""

from collections.abc import Iterator, Mapping

from factory_assets.declarations.base import format_duration
from factory_assets.declarations.declared import DeclaredLine
from factory_assets.declarations.line import Candidate, Gate, Label, Line, Observe
from factory_assets.evaluation.luck import in_words as luck_in_words
from factory_assets.features.catalogue.inventory import of_line
from factory_assets.pages.document import Cell, Column, Fact, Table
from factory_assets.words import counted, figure, listed

#: Features that have a row, and names in a sentence.
FEATURES, NAMED = 80, 6
#: What starts a training, in words.
TRIGGERS: Mapping[str, str] = {
    "new_data": "", "schema": "a changed contract", "drift": "drift", "performance": "performance worse than a naive guess",
}  # fmt: skip


def facts(declared: DeclaredLine) -> list[Fact]:
    """What the line is, in sentences."""
    line = declared.line
    found = [
        Fact("predicts", f"{line.task}: {_truth(line.label)}"),
        Fact("of", _observed(line.observe)),
        Fact("models", _tree(line)),
        Fact("learns", _learns(line)),
        Fact("chosen from", "; ".join(_candidate(name, each) for name, each in line.candidates.items())),
        Fact("trained", _trained(line)),
        Fact("released", f"{'; '.join(_released(line.bar))}. {_capital(luck_in_words(line))}."),
        Fact("watched", _watched(line)),
    ]
    if line.outcomes:
        measures = [f"{name} in {each.unit}, {each.better} is better" for name, each in line.outcomes.items()]
        found.append(Fact("comes to", listed(measures, NAMED, "measure")))
    owners = [
        f"{name} of {declared.streams[name].stream.owner}" for name in declared.stands_on if name in declared.streams
    ]
    return [*found, Fact("stands on", listed(owners, NAMED, "stream"))]


def features(declared: DeclaredLine) -> Table:
    """What the line predicts from, and who answers for it."""
    columns = [Column("feature"), Column("is"), Column("unit"), Column("comes from"), Column("owner", is_wide=True)]
    records = of_line(declared)
    rows = [
        [
            Cell(each["feature"], shown=60), Cell(each["definition"], shown=160), Cell(each["unit"], shown=20),
            Cell(each["comes from"], shown=80), Cell(each["owner"], shown=40),
        ]
        for each in records[:FEATURES]
    ]  # fmt: skip
    left = len(records) - len(rows)
    note = f"{counted(left, 'feature')} more: factory features --line {declared.line.name}" if left > 0 else ""
    return Table(counted(len(records), "feature"), columns, rows, note)


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _truth(label: Label) -> str:
    """What is predicted, and when it is known."""
    when = f", known {format_duration(label.horizon)} after the observation" if label.horizon else ", known at once"
    if label.expression is not None:
        return f"{label.expression}{when}"
    same = f" of the same {', '.join(label.same)}" if label.same else ""
    where = f" where {label.where}" if label.where else ""
    within = f" within {format_duration(label.within)}" if label.within else ""
    return f"whether there is an event of {label.event}{same}{where}{within}{when}"


def _observed(observe: Observe) -> str:
    where = f" where {observe.where}" if observe.where else ""
    if observe.entity is None:
        return f"every event of {observe.stream}{where}, as of the moment when it happens"
    active = f"with an event of {observe.stream}{where} in the last {format_duration(observe.active)}"
    return f"each {observe.entity} {active}, at the close of each day"


def _tree(line: Line) -> str:
    segments = line.segments
    if not segments.levels:
        return "one for all rows"
    positives = f" and {segments.min_positives:,} positives" if segments.min_positives > 1 else ""
    each = f"each {' and each '.join(segments.levels)} with {segments.min_rows:,} training rows{positives}"
    return f"one for all rows, and one for {each} that is surely better than the one above; else that one answers"


def _learns(line: Line) -> str:
    train = line.train
    refit = (
        "a challenger that passes is fitted again on all labelled days"
        if train.refit
        else "what was judged answers, without the days of the holdout"
    )
    return (
        f"from {format_duration(train.window)}, is judged on the {format_duration(train.holdout)} after them; {refit}"
    )


def _candidate(name: str, candidate: Candidate) -> str:
    how = [
        f"best of {candidate.search.trials} trials" if candidate.search else "",
        f"early stopping after {candidate.early_stopping} rounds" if candidate.early_stopping else "",
        f"{candidate.calibrate} calibration" if candidate.calibrate else "",
        f"monotone in {listed(list(candidate.monotone), NAMED)}" if candidate.monotone else "",
    ]
    told = ", ".join(filter(None, how))
    return f"{name} ({candidate.estimator}{f'; {told}' if told else ''})"


def _trained(line: Line) -> str:
    retrain = line.retrain
    by_days = f"after {counted(retrain.every.days, 'new labelled day')}"
    others = [TRIGGERS.get(each, each) for each in retrain.on if each != "new_data"]
    if "new_data" not in retrain.on:
        return f"by {listed(others, NAMED)}" if others else "by hand alone"
    return f"{by_days}, and by {listed(others, NAMED)}" if others else by_days


def _released(gate: Gate) -> Iterator[str]:
    """What a challenger has to show, beside what every gate asks for."""
    yield f"with a certainty of {gate.certainty:.4g} that it is better than a naive guess and than who answers"
    if gate.floor is not None:
        yield f"{gate.metric or 'its metric'} {figure(gate.floor)} or better"
    if gate.slices:
        yield f"no worse on {listed(list(gate.slices), NAMED, 'slice')}"
    if gate.groups:
        yield f"within the limits between groups of {listed(list(gate.groups), NAMED)}"
    if gate.cost:
        yield f"yes from a probability of {figure(gate.decides_at)}, by what each outcome costs in {gate.cost.unit}"
    if gate.disagreement is not None:
        yield f"answers otherwise on {gate.disagreement:.1%} of the newest day's rows at most"
    limits = [each for each in (gate.latency, gate.size) if each]
    if limits:
        yield f"within {' and '.join(limits)}"
    yield "somebody has to approve it" if gate.approval else "nobody has to approve it"


def _watched(line: Line) -> str:
    monitor, rate = line.monitor, line.monitor.false_alarm_rate
    often = monitor.false_alarms if rate is None else f"in {rate:.2%} of looks"
    least = f"; a PSI below {monitor.minimum_effect:g} is none" if monitor.minimum_effect else ""
    return f"drift over {format_duration(monitor.window)}, wrong {often} at most while nothing changes{least}"
