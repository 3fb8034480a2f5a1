"""Do a line's candidates, its gate and its label fit its task and its features?"""

from collections.abc import Iterator

from factory_assets.declarations import expressions, types
from factory_assets.declarations.declared import DeclaredLine
from factory_assets.declarations.line import Candidate, Line
from factory_assets.declarations.tasks import BUILT_IN, COST, METRICS, OPTION_TASKS, classes_of, kind_of
from factory_assets.declarations.types import Mistake

#: Reported, but nothing that models can be compared by.
NOT_COMPARED = ("coverage",)


def check(line: Line) -> list[Mistake]:
    """Mistakes between a line's candidates, its gate, its label and its task, as (path in the declaration, message) pairs."""
    findings = list(_label(line)) + [
        found for name, candidate in line.candidates.items() for found in _candidate(line, name, candidate)
    ]
    allowed = [name for name in METRICS[kind_of(line.task)] if name not in NOT_COMPARED]
    if line.gate.metric == COST:
        if line.gate.cost is None:
            message = "'cost' compares models by what their decisions cost: declare gate: {cost: {unit: EUR, false_positive: 1, ...}}"
            findings.append((("gate", "metric"), message))
    elif line.gate.metric is not None and line.gate.metric not in allowed:
        message = f"{line.gate.metric!r} compares no models of task {line.task}; allowed: {', '.join(allowed)}"
        findings.append((("gate", "metric"), message))
    if line.bar.certainty > 0.5 and line.train.holdout.days < 2:
        message = (
            f"a holdout of one day cannot tell a better model from a lucky one, so {line.bar.certainty:g} is never "
            "reached; allowed: train.holdout of 2d or more, or certainty: 0.5, which takes any better value"
        )
        findings.append((("gate", "certainty"), message))
    return findings + list(_other_answers(line))


def _other_answers(line: Line) -> Iterator[Mistake]:
    """When an answer is another one is declared by a threshold of probabilities, see `parts`, or by how far numbers may lie apart."""
    is_binary, gate = line.task == "binary", line.gate
    if gate.tolerance is not None and (is_binary or classes_of(line.task)):
        instead = "write threshold" if is_binary else "another class is another answer"
        yield (("gate", "tolerance"), f"{gate.tolerance:g} is for numbers, and the task is {line.task}; {instead}")


def _label(line: Line) -> Iterator[Mistake]:
    """Classes that the label spells out must be those of the task; those that it computes are known with the labels."""
    classes = classes_of(line.task)
    if classes and line.label.event:
        yield (("label", "event"), f"says yes or no, and the task is {line.task}; take the class from an expression")
    if not classes or not line.label.expression:
        return
    try:
        strange = sorted(expressions.literals(line.label.expression) - set(classes))
    except ValueError:
        return  # another finding reports the expression
    if strange:
        message = f"gives {', '.join(map(repr, strange))}; classes of the task: {', '.join(classes)}"
        yield ("label", "expression"), message


def _candidate(line: Line, name: str, candidate: Candidate) -> Iterator[Mistake]:
    kind, path = kind_of(line.task), ("candidates", name)
    # Only the class of an installed package's estimator knows its tasks and options; it is asked when it is trained.
    abilities = BUILT_IN.get(candidate.estimator)
    if abilities and kind not in abilities.tasks:
        able = [other for other, known in BUILT_IN.items() if kind in known.tasks]
        yield (
            (*path, "estimator"),
            f"{candidate.estimator!r} cannot do task {line.task}; estimators that can: {', '.join(able)}",
        )
    for option in ("class_weight", "monotone", "early_stopping", "warm_start"):
        if abilities and getattr(candidate, option) and option not in abilities.options:
            yield (
                (*path, option),
                f"{candidate.estimator!r} has no {option}; estimators that have it: {_having(option)}",
            )
    if candidate.warm_start and len(line.candidates) == 1:
        yield (
            (*path, "warm_start"),
            "needs a second candidate, such as {estimator: constant}: a cold fit to measure by is made where two are compared",
        )
    for option, tasks in OPTION_TASKS.items():
        if getattr(candidate, option) and kind not in tasks:
            yield (*path, option), f"{option} is for a {' or '.join(tasks)} task; this one is {line.task}"
    if candidate.monotone and kind == "quantile":
        yield (*path, "monotone"), "trees of a quantile set their leaves after they are grown, and keep no direction"
    if candidate.monotone and kind == "multiclass":
        yield (
            (*path, "monotone"),
            "where the probability of one class never falls, those of others must: it has no direction",
        )


def _having(option: str) -> str:
    return ", ".join(name for name, known in BUILT_IN.items() if option in known.options)


def check_monotone(declared: DeclaredLine, feature_types: dict[str, str]) -> list[Mistake]:
    """Features that a candidate is to be monotone in must be of the line, and numbers.

    feature_types: DuckDB's type of each feature, by canonical name.
    """
    findings: list[Mistake] = []
    for name, candidate in declared.line.candidates.items():
        for feature in candidate.monotone:
            path = ("candidates", name, "monotone", feature)
            if feature not in declared.features:
                message = (
                    f"{feature!r} is not a feature of {declared.line.name}; features: {', '.join(declared.features)}"
                )
                findings.append((path, message))
            elif not types.ACCEPTED["a number"].fullmatch(feature_types[feature]):
                message = f"{feature!r} is {feature_types[feature]}: categories have no order to be monotone in"
                findings.append((path, message))
    return findings
