"""What changed between two versions, and is the second one better? One page, from what `factory compare` computed.

First the answer and who decided; then figures on the same rows, what differs, and what both were made from, side by side.
"""

import datetime as dt
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from factory_assets.declarations.declared import DeclaredLine
from factory_assets.declarations.tasks import kind_of
from factory_assets.evaluation.dependence import Dependence
from factory_assets.evaluation.differences import OUTCOME, Difference, recipes
from factory_assets.measures.metrics import METRICS, improvement, score
from factory_assets.pages import beside, charts
from factory_assets.pages.details import VERDICTS, Picture
from factory_assets.pages.document import Badge, Cell, Column, Mood, Table, cut, document, link, page_of, page_of_pair
from factory_assets.pages.drawing import drawn
from factory_assets.pages.evidence import bins_of
from factory_assets.release.comparison import Comparison, Limits, is_better
from factory_assets.release.standing import reigns
from factory_assets.words import brief, counted, figure, listed
from factory_resources.ledger import Decision, VersionRecord

#: Rows of the page's tables: parts that differ, decisions, features, parameters, candidates.
DIFFERENCES, DECISIONS, FEATURES, PARAMETERS, CANDIDATES = 60, 12, 15, 60, 20
#: Things that the answer names.
NAMED = 3
#: Why the certainty is not the one in a decision's reason.
OF_THESE_ROWS = (
    "How sure it is that one is better is told by these rows alone; the gate's certainty also counts how alike the line's "
    "days are, other nodes of the training, and earlier looks."
)
#: Days on which a metric is drawn, at least: two points are no course.
COURSE = 3


@dataclass(frozen=True)
class Pair:
    """Two versions, and all that a page shows of them.

    decisions: on the line, in the order they were made. judged: refit -> the version whose refit it is. has_page: whether the line has
    a page. seeds: as the command was asked.
    """

    declared: DeclaredLine
    found: Comparison
    a: VersionRecord
    b: VersionRecord
    decisions: Sequence[Decision] = ()
    judged: Mapping[str, str] = field(default_factory=dict)
    dependences: Sequence[Dependence] = ()
    has_page: bool = False
    seeds: int = 0

    @property
    def both(self) -> tuple[VersionRecord, VersionRecord]:
        return self.a, self.b

    def of(self, version: str | None) -> str:
        """A, B, or nothing; a refit counts as the version that was judged."""
        judged = self.judged.get(version or "", version)
        return "A" if judged == self.a.version else "B" if judged == self.b.version else ""


@dataclass(frozen=True)
class Weight:
    """A feature and what it adds to either version; None where that does not have it. shares: of the largest, from 0 to 1."""

    name: str
    values: tuple[float | None, float | None]
    shares: tuple[float, float]


def compare_page(pair: Pair, now: dt.datetime) -> str:
    """The page as HTML. now: when it is written."""
    found, line = pair.found, pair.declared.line
    own = page_of_pair(line.name, found.a, found.b)
    verdict = _verdict(pair)
    return document(
        "compare.html.jinja",
        f"{line.name}: two versions",
        line=line,
        found=found,
        a=pair.a,
        b=pair.b,
        verdict=verdict,
        answer=_answer(pair),
        now=f"{now:%Y-%m-%d %H:%M} UTC",
        back=link(own, page_of(line.name)) if pair.has_page else "",
        metrics=_metrics(pair),
        changed=_changed(found.differences),
        shares=_shares(found),
        who=[_who(pair, name, record) for name, record in zip("AB", pair.both, strict=True)],
        pictures=_pictures(pair),
        dependences=_dependences(pair),
        weights=_weights(pair),
        tables=[each for each in _tables(pair) if each.rows],
        command=shlex.join(["factory", "compare", line.name, found.a, found.b, "--seeds", str(pair.seeds), "--page"]),
    )


def _verdict(pair: Pair) -> Badge:
    found, total = pair.found, pair.found.difference
    if total is None:
        return Badge("nobody can tell", "warn")
    gained = improvement(found.metric, total, 0.0)
    if gained == 0:
        return Badge("as good", "")
    if not _is_sure(pair):
        return Badge("better, not surely" if gained > 0 else "worse, not surely", "warn")
    return Badge("better", "good") if gained > 0 else Badge("worse", "bad")


def _is_sure(pair: Pair) -> bool:
    """By the certainty that the line's gate asks for, in either direction."""
    sure = pair.found.certainty
    return sure is not None and max(sure, 1 - sure) >= pair.declared.line.gate.certainty


def _answer(pair: Pair) -> str:
    """What changed between A and B, and whether B is better: a sentence."""
    found, total = pair.found, pair.found.difference
    kinds = [
        f"{kind} ({listed([cut(each.what, 40) for each in of], NAMED)})"
        for kind, of in _by_kind(found.differences).items()
        if kind != OUTCOME
    ]
    # Names keep their letters: only the first of the sentence becomes a capital.
    changed = f"{kinds[0][0].upper()}{_and(kinds)[1:]} changed" if kinds else "Nothing that was recorded changed"
    if total is None:
        return f"{changed}; whether B is better cannot be measured on these rows."
    gained = improvement(found.metric, total, 0.0)
    if gained == 0:
        return f"{changed}; B is as good as A."
    how = f"B is {'better' if gained > 0 else 'worse'} by {figure(abs(total))} in {found.metric}"
    return f"{changed}; {how}{_certainly(pair, gained)}."


def _certainly(pair: Pair, gained: float) -> str:
    sure = pair.found.certainty
    if sure is None:
        return ", and how sure that is cannot be told"
    sure = sure if gained > 0 else 1 - sure
    asked = pair.declared.line.gate.certainty
    least = f", less than the {_percent(asked)} that the gate asks for" if sure < asked else ""
    return f", with a certainty of {_percent(sure)}{least}"


def _percent(share: float) -> str:
    # What is not wholly certain is not written as if it were.
    return "more than 99.9 %" if 0.999 < share < 1 else f"{100 * share:.3g} %"


def _metrics(pair: Pair) -> Table:
    found = pair.found
    values = [found.metrics.get(each, {}) for each in (found.a, found.b)]
    names = list(dict.fromkeys([found.metric, *values[0], *values[1]]))
    columns = [Column("metric"), Column("A", right=True), Column("B", right=True), Column("B - A", right=True)]
    rows = list[list[object]]()
    for name in names:
        a, b = (of.get(name) for of in values)
        change = None if a is None or b is None else b - a
        better = f" ({is_better(name)})" if name == found.metric else ""
        rows.append(
            [f"{name}{better}", a, b, Cell(None if change is None else _signed(change), mood=_mood(name, change))]
        )
        if name == found.metric and found.limits:
            limits = [_between(found.limits.get(each)) for each in (found.a, found.b)]
            rows.append([Cell("with 95 % between", mood="dim"), *limits, _between(found.between)])
    where = f"{found.rows:,} rows of {found.node} of {found.first} to {found.last}: {found.where}. {OF_THESE_ROWS}"
    return Table("On the same rows", columns, rows, where, is_narrow=True)


def _mood(metric: str, change: float | None) -> Mood:
    if not change or metric not in METRICS or METRICS[metric].greater_is_better is None:
        return ""
    return "good" if improvement(metric, change, 0.0) > 0 else "bad"


def _changed(differences: Sequence[Difference]) -> list[tuple[str, list[str]]]:
    """Kind -> what of it differs, in the order of `differences`."""
    return [(kind, _named(of)) for kind, of in _by_kind(differences).items()]


def _named(differences: Sequence[Difference]) -> list[str]:
    named = [f"{cut(each.what, 60)}: {cut(each.a, 40)} → {cut(each.b, 40)}" for each in differences[: 2 * NAMED]]
    left = len(differences) - len(named)
    return [*named, *([f"and {left} more"] if left > 0 else [])]


def _by_kind(differences: Sequence[Difference]) -> dict[str, list[Difference]]:
    kinds: dict[str, list[Difference]] = {}
    for each in differences:
        kinds.setdefault(each.kind, []).append(each)
    return kinds


def _shares(found: Comparison) -> Table:
    columns = [
        Column("cause"),
        Column("B - A", right=True, help="What it changes, on average over the orders in which causes may change"),
        Column("alone", right=True, help="What it changes by itself in A"),
        Column("last", right=True, help="What it changes when all others have changed already"),
    ]
    rows: list[list[object]] = [
        [
            each.cause,
            Cell(_signed(each.size), mood=_mood(found.metric, each.size)),
            *map(_signed, (each.alone, each.last)),
        ]
        for each in found.shares
    ]
    if rows:
        rows.append(["all", _signed(sum(each.size for each in found.shares)), None, None])
    if rows and found.seeds is not None:
        rows.append([Cell("another seed", mood="dim"), f"± {found.seeds:.3g}", None, None])
    return Table(f"Of the difference in {found.metric}", columns, rows, is_narrow=True)


@dataclass(frozen=True)
class Who:
    """How a version became what it is. name: A or B."""

    name: str
    record: VersionRecord
    stands: Badge
    decision: Decision | None


def _who(pair: Pair, name: str, record: VersionRecord) -> Who:
    about = [each for each in pair.decisions if pair.judged.get(each.version or "", each.version) == record.version]
    of_node = reigns([each for each in pair.decisions if each.node == record.node])
    champions = [pair.of(each.champion) for each in of_node]
    if champions and champions[-1] == name:
        stands = Badge(f"champion of {record.node}", "good")
    elif name in champions:
        stands = Badge(f"was champion of {record.node}", "")
    else:
        stands = Badge("never champion", "")
    return Who(name, record, stands, about[-1] if about else None)


def _pictures(pair: Pair) -> list[Picture]:
    found, pictures = pair.found, list[Picture]()
    if len(found.shares) > 1:
        band = " What lies in the grey band may be luck: another seed does as much." if found.seeds else ""
        made = beside.causes(found.metric, found.shares, found.seeds)
        pictures.append(
            Picture(drawn(made, f"what each cause changes in {found.metric}"), f"From A to B, cause by cause.{band}")
        )
    measured, task = found.measured, pair.declared.line.task
    by_name = {name: measured.predictions.get(each.version) for name, each in zip("AB", pair.both, strict=True)}
    ps = {name: each for name, each in by_name.items() if each is not None}
    if len(ps) < 2 or not len(measured.y):
        return pictures
    pictures += _by_day(pair)
    where = f"{found.rows:,} rows of {found.first} to {found.last}"
    predicted, happened = {
        "binary": ("predicted probability", "share that happened"),
        "multiclass": ("how sure of the likeliest class", "share that came"),
    }.get(kind_of(task), ("predicted", "mean of what came"))
    bins = {name: bins_of(task, measured.y, each) for name, each in ps.items()}
    made = beside.calibrations(bins, predicted, happened)
    pictures.append(Picture(drawn(made, f"calibration of A and B on {where}"), where))
    if kind_of(task) == "binary" and measured.y.min() < measured.y.max():
        # The subject of these figures is the first.
        curves = {"ROC": charts.roc, "precision by recall": charts.precision, "cumulative gain": charts.gain}
        ordered = {"B": ps["B"], "A": ps["A"]}
        pictures += [
            Picture(drawn(of(measured.y, ordered), f"{what} of A and B on {where}"), where)
            for what, of in curves.items()
        ]
    return pictures


def _by_day(pair: Pair) -> list[Picture]:
    measured, metric, task = pair.found.measured, pair.found.metric, pair.declared.line.task
    days = sorted({*measured.days.tolist()})
    if len(days) < COURSE:
        return []
    values = {
        name: [
            score(task, measured.y[rows], measured.predictions[each.version][rows]).get(metric)
            for rows in (measured.days == np.datetime64(day) for day in days)
        ]
        for name, each in zip("AB", pair.both, strict=True)
    }
    known = [(a, b) for a, b in zip(values["A"], values["B"], strict=True) if a is not None and b is not None]
    better = sum(improvement(metric, b, a) > 0 for a, b in known)
    text = f"B is better on {better} of {counted(len(known), 'day')}."
    return [Picture(drawn(beside.by_day(metric, days, values), f"{metric} of A and B by day"), text)]


def _dependences(pair: Pair) -> list[Picture]:
    names = {pair.a.version: "A", pair.b.version: "B"}
    return [
        Picture(
            drawn(beside.dependence(each, names), f"mean prediction of A and B by {each.feature}"),
            "" if len(each.means) == len(names) else f"Only {names[next(iter(each.means))]} knows it.",
        )
        for each in pair.dependences
        if each.means
    ]


def most_important(a: VersionRecord, b: VersionRecord, most: int) -> list[str]:
    """The features that matter most to either, by the larger of their shares of each."""
    shares = [_of_largest(each) for each in (a, b)]
    names = dict.fromkeys([*shares[0], *shares[1]])
    return sorted(names, key=lambda name: (-max(of.get(name, 0.0) for of in shares), name))[:most]


def _of_largest(record: VersionRecord) -> dict[str, float]:
    largest = max((abs(value) for value in record.importances.values()), default=0) or 1
    return {name: abs(value) / largest for name, value in record.importances.items()}


def _weights(pair: Pair) -> list[Weight]:
    shares = [_of_largest(each) for each in pair.both]
    return [
        Weight(
            name,
            (pair.a.importances.get(name), pair.b.importances.get(name)),
            (shares[0].get(name, 0.0), shares[1].get(name, 0.0)),
        )
        for name in most_important(pair.a, pair.b, FEATURES)
    ]


def _tables(pair: Pair) -> list[Table]:
    return [
        _differences(pair.found),
        _records(pair),
        _side_by_side("Candidates and parameters", "parameter", recipes(pair.a, pair.b)),
        _candidates(pair),
        _side_by_side("Libraries", "library", _libraries(pair)),
        _decided(pair),
    ]


def _libraries(pair: Pair) -> list[tuple[str, str, str]]:
    made = [each.configuration for each in pair.both]
    a, b = (each.get("libraries", {}) for each in made)
    found = [(name, str(a.get(name, "-")), str(b.get(name, "-"))) for name in sorted({*a, *b})]
    return [*found, ("code of models", brief(made[0].get("code")), brief(made[1].get("code")))]


def _differences(found: Comparison) -> Table:
    rows = [[each.kind, each.what, Cell(each.a, shown=160), Cell(each.b, shown=160)] for each in found.differences]
    left = len(rows) - DIFFERENCES
    columns = [Column("of"), Column("what"), Column("A"), Column("B")]
    note = f"{left} more are left out" if left > 0 else ""
    return Table("What differs", columns, rows[:DIFFERENCES], note)


def _records(pair: Pair) -> Table:
    def seen(record: VersionRecord) -> dict[str, object]:
        made = record.configuration
        return {
            "version": Cell(record.version, code=True, shown=40),
            "node": record.node,
            "candidate": f"{record.candidate} ({record.estimator})",
            "trained as of": record.as_of,
            "training days": f"{record.train_from} to {record.train_to}",
            "training rows": f"{record.rows:,}",
            "positives": None if record.positives is None else f"{record.positives:,}",
            "holdout": f"{record.holdout_from} to {record.holdout_to}",
            "features": len(made.get("features", record.importances)),
            "seed": made.get("seed"),
            "rounds": made.get("rounds"),
            "trained at": f"{record.ended_at:%Y-%m-%d %H:%M} UTC",
            "owner": record.owner,
            "run": Cell(record.run_id, code=True, shown=40),
        }

    a, b = seen(pair.a), seen(pair.b)
    rows = [[name, *_beside(a[name], b[name])] for name in a if (a[name], b[name]) != (None, None)]
    return Table("Both versions", _columns("what"), rows, is_narrow=True)


def _side_by_side(caption: str, what: str, values: Sequence[tuple[str, str, str]]) -> Table:
    """Both values of each thing; those that differ first, where not all are shown."""
    ordered = values if len(values) <= PARAMETERS else sorted(values, key=lambda each: each[1] == each[2])
    rows = [[Cell(name, shown=60), *_beside(Cell(a, shown=120), Cell(b, shown=120))] for name, a, b in ordered]
    left = len(rows) - PARAMETERS
    note = f"{left} more are left out" if left > 0 else ""
    return Table(caption, _columns(what), rows[:PARAMETERS], note, is_narrow=True)


def _columns(what: str) -> list[Column]:
    return [Column(what), Column("A"), Column("B"), Column("", help="Whether it differs", is_wide=True)]


def _beside(a: object, b: object) -> list[object]:
    """Cells of both values, and of whether they differ."""
    if a == b:
        return [a, b, ""]
    return [a, replace(b, mood="warn") if isinstance(b, Cell) else Cell(b, mood="warn"), Cell("differs", mood="warn")]


def _candidates(pair: Pair) -> Table:
    """Those that each was chosen from, by their metric on the validation days of each."""
    metric = pair.found.metric
    names = list(dict.fromkeys([*pair.a.validation, *pair.b.validation]))
    rows = [
        [
            Cell(name, shown=60),
            *(record.validation.get(name, {}).get(metric) for record in pair.both),
            Cell(
                _and([f"taken in {of}" for of, each in zip("AB", pair.both, strict=True) if each.candidate == name]),
                mood="good",
            ),
        ]
        for name in names[:CANDIDATES]
    ]
    columns = [Column("candidate"), Column("A", right=True), Column("B", right=True), Column("")]
    note = "days of A and of B are others, unless they were trained as of the same day"
    return Table(f"Candidates by {metric} on their validation days", columns, rows, note, is_narrow=True)


def _decided(pair: Pair) -> Table:
    about = [each for each in pair.decisions if pair.of(each.version) or pair.of(each.champion)]
    rows = [
        [
            f"{each.decided_at.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC",
            each.node,
            Cell(each.verdict, mood=VERDICTS.get(each.verdict, "")),
            pair.of(each.version) or brief(each.version),
            pair.of(each.champion) or brief(each.champion),
            Cell(each.who, shown=40),
            Cell(each.reason, shown=240),
        ]
        for each in reversed(about[-DECISIONS:])
    ]
    columns = [Column(name) for name in ("decided at", "node", "verdict", "considered", "answers after", "who", "why")]
    left = len(about) - len(rows)
    return Table("Who decided", columns, rows, f"{counted(left, 'earlier decision')} are left out" if left > 0 else "")


def _between(limits: Limits | None) -> str | None:
    return None if limits is None else f"{figure(limits[0])} to {figure(limits[1])}"


def _signed(value: float | None) -> str | None:
    return None if value is None else f"{value:+.4g}"


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
