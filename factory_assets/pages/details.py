"""On what does a node's standing rest? Its champions and who decided them, what they were measured by, and its days since."""

import datetime as dt
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from markupsafe import Markup

from factory_assets.declarations.days import DAY
from factory_assets.declarations.declared import DeclaredLine
from factory_assets.declarations.tasks import classes_of, kind_of
from factory_assets.evaluation.effects import Effects
from factory_assets.evaluation.parts import DISPARITIES
from factory_assets.identity.nodes import lineage
from factory_assets.pages import beside, charts
from factory_assets.pages.course import Change, Course
from factory_assets.pages.document import Badge, Cell, Column, Mood, Table, anchor, link, page_of, part
from factory_assets.pages.drawing import drawn
from factory_assets.pages.evidence import Evidence, Interval
from factory_assets.pages.fleet import Stand
from factory_assets.release.standing import Reign, reigns
from factory_assets.words import brief, counted, figure
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Decision, EvaluationRecord, Ledger, VersionRecord
from factory_resources.records.trials import Trial, Trials

#: Rows of a node's tables: the newest decisions, the features that matter most, the best trials, parts of its rows.
DECISIONS, FEATURES, BEST, PARTS = 12, 12, 5, 20
#: How an asset's table, or a decision, is seen by those who look at a node.
MOODS: Mapping[str, Mood] = {"unanswered": "bad", "alarm": "bad", "waits": "warn", "unwatched": "warn", "well": "good"}
VERDICTS: Mapping[str, Mood] = {"promote": "good", "approve": "good", "rollback": "bad", "undecided": "warn"}


@dataclass(frozen=True)
class Tables:
    """Where a page reads."""

    lake: Lake
    engine: Engine
    ledger: Ledger


#: Versions -> what the features of each do, of those of which that is known.
EffectsOf = Callable[[Collection[VersionRecord]], Mapping[str, Effects]]


def unknown_effects(_: Collection[VersionRecord]) -> Mapping[str, Effects]:
    return {}


def no_page(_a: str, _b: str) -> str:
    return ""


@dataclass(frozen=True)
class Reported:
    """What is among the reports already: what features of versions do, and the page of two versions side by side, by its name."""

    effects: EffectsOf = unknown_effects
    page: Callable[[str, str], str] = no_page


@dataclass(frozen=True)
class Archive:
    """What is known of the champions of some nodes: node -> version, its trials, its ages beside fresh ones, what its features do."""

    versions: Mapping[str, VersionRecord] = field(default_factory=dict)
    trials: Mapping[str, Sequence[Trial]] = field(default_factory=dict)
    ages: Mapping[str, Sequence[Mapping[str, object]]] = field(default_factory=dict)
    effects: Mapping[str, Effects] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        declared: DeclaredLine,
        tables: Tables,
        champions: Mapping[str, str],
        damaged: Collection[str] = (),
        effects: EffectsOf = unknown_effects,
    ) -> "Archive":
        """champions: node -> its own champion. damaged: tables that are not read, as they are not whole."""
        line, lake = declared.line.name, tables.lake
        records = tables.ledger.versions(line, ids={*champions.values()}) if champions else []
        made = {each.version: each for each in records}
        versions = {node: made[version] for node, version in champions.items() if version in made}
        searched = any(each.search for each in declared.line.candidates.values())
        book = Trials(url=tables.ledger.url)
        trials = {
            node: [each for each in book.trials(line, node) if each.as_of == version.as_of]
            for node, version in versions.items()
            if searched
        }
        table = f"{line}/decay"
        days = [] if table in damaged else lake.days(table)
        ages: dict[str, list[Mapping[str, object]]] = {}
        for row in lake.read(table, days[-1], days[-1]).to_pylist() if days else ():
            ages.setdefault(row["node"], []).append(row)
        of_versions = effects([*versions.values()])
        known = {node: of_versions[each.version] for node, each in versions.items() if each.version in of_versions}
        return cls(versions, trials, ages, known)


@dataclass(frozen=True)
class Shown:
    """A node, and all that a page has of it. records: evaluations of its champion, oldest first. decisions: on it, in the order
    they were made. blocked: days held back now. compared: its last two champions, the page of both, and the command that writes it.
    """

    declared: DeclaredLine
    metric: str
    stand: Stand
    course: Course
    change: Change | None
    records: Sequence[EvaluationRecord]
    evidence: Evidence | None
    decisions: Sequence[Decision]
    blocked: Sequence[dt.date] = ()
    compared: "Compared | None" = None


@dataclass(frozen=True)
class Compared:
    """The last two champions of a node. href: of their page side by side, empty where there is none; command: that writes it."""

    a: str
    b: str
    href: str
    command: str


def compared(line: str, decisions: Sequence[Decision], reported: Reported) -> Compared | None:
    """decisions: on a node. None where it had no two champions."""
    # One that came back after nobody had answered is one champion.
    champions = [champion for champion, _ in groupby(each.champion for each in reigns(decisions) if each.champion)]
    if len(champions) < 2:
        return None
    a, b = champions[-2:]
    page = reported.page(a, b)
    href = link(page_of(line), page) if page else ""
    return Compared(a, b, href, shlex.join(["factory", "compare", line, a, b, "--page"]))


@dataclass(frozen=True)
class Picture:
    """A figure with what it shows, or leaves out."""

    svg: Markup
    text: str


def section(shown: Shown, archive: Archive, is_open: bool) -> Markup:
    """The part of a page about one node. is_open: whether it shows before somebody asks."""
    stand, line = shown.stand, shown.declared.line.name
    version, effects = archive.versions.get(stand.node), archive.effects.get(stand.node)
    return part(
        "node.html.jinja",
        id=anchor(stand.node),
        is_open=is_open,
        stand=stand,
        badge=Badge(stand.health, MOODS[stand.health]),
        above=next((each for each in lineage(stand.node)[1:]), None),
        version=version,
        commands=_commands(line, stand),
        compared=shown.compared,
        pictures=[*_pictures(shown), *_judged(shown.evidence), *_dependences(version, effects)],
        tables=[each for each in _tables(shown, version, archive) if each.rows],
        bars=_importances(version, effects),
        effects=effects,
    )


def reign(decisions: Sequence[Decision], node: str) -> Reign | None:
    """How the present champion of a node came to answer; None where it has none of its own. decisions: of a line."""
    of_node = reigns([each for each in decisions if each.node == node])
    return of_node[-1] if of_node and of_node[-1].champion else None


def _commands(line: str, stand: Stand) -> list[tuple[str, str]]:
    """What one may ask about a node, and the command that answers it."""
    node = stand.node
    found = [("every decision on it", ["factory", "history", line, node])]
    if stand.version:
        found.append(
            ("take its champion back", ["factory", "rollback", line, stand.answers or node, "--why", "REASON"])
        )
    return [(what, shlex.join(words)) for what, words in found]


def _pictures(shown: Shown) -> list[Picture]:
    metric, course, found = shown.metric, shown.course, list[Picture]()
    node = shown.stand.node
    if course.measured:
        days, values = course.series(metric)
        _, naive = course.series(f"naive_{metric}")
        releases = {
            each.began.as_of + DAY: each.champion
            for each in reigns(shown.decisions)
            if each.champion and days[0] <= each.began.as_of + DAY <= days[-1]
        }
        blocked = [day for day in shown.blocked if days[0] <= day <= days[-1]]
        figure_ = charts.performance(metric, days, values, course.limits, naive, releases, {*course.alarmed}, blocked)
        text = "Grey lines are releases" + (", yellow bands blocked days" if blocked else "")
        if any(low is not None for low in course.limits[0]):
            text += ". The blue band holds the day's value with 95 %, by how its rows scatter"
        found.append(Picture(drawn(figure_, f"{metric} of {node} by day, beside the naive guess"), f"{text}."))
    if any(row["estimate"] is not None for row in course.estimated):
        svg = drawn(
            charts.estimated(metric, course.estimated), f"{metric} of {node} as it was estimated, and as it came"
        )
        found.append(Picture(svg, "An estimate is of a window of days that ends with the day."))
    if course.drift:
        made, left = charts.drift(course.drift)
        more = f" {counted(left, 'column')} more, with fewer alarms, are not drawn." if left else ""
        note = f"Red is an alarm, grey no verdict.{more}"
        found.append(Picture(drawn(made, f"drift of {node} by column and day"), note))
    return found


def _judged(found: Evidence | None) -> list[Picture]:
    if found is None or not len(found.y):
        return []
    where = f"{len(found.y):,} rows of the holdout of {found.as_of}"
    return [Picture(drawn(made, f"{what} on {where}"), where) for what, made in charts.curves(found)]


def _tables(shown: Shown, version: VersionRecord | None, archive: Archive) -> list[Table]:
    node = shown.stand.node
    return [
        _timeline(shown.decisions),
        _metrics(shown),
        *_decisions_of(shown.evidence),
        *_parts(shown.records[-1] if shown.records else None),
        _candidates(version, shown.metric),
        _trials(archive.trials.get(node, ()), shown.metric),
        _decay(archive.ages.get(node, ())),
    ]


def _timeline(decisions: Sequence[Decision]) -> Table:
    columns = [
        Column("as of"),
        Column("verdict"),
        Column("considered"),
        Column("answers after"),
        Column("who"),
        Column("why"),
    ]
    rows = [
        [
            each.as_of,
            Cell(each.verdict, mood=VERDICTS.get(each.verdict, "")),
            Cell(brief(each.version), code=True),
            Cell(brief(each.champion) if each.champion else "an ancestor", code=bool(each.champion)),
            Cell(each.who, shown=40),
            Cell(each.reason, shown=240),
        ]
        for each in reversed(decisions[-DECISIONS:])
    ]
    left = len(decisions) - len(rows)
    return Table(
        "Champions, and who decided",
        columns,
        rows,
        f"{counted(left, 'earlier decision')} are left out" if left > 0 else "",
    )


def _metrics(shown: Shown) -> Table:
    """What the champion was measured by when it was released, beside whom it met, and how sure that is."""
    if not shown.records:
        return Table("Metrics", [], [])
    record, released, found = shown.records[-1], shown.records[0], shown.evidence
    columns = [
        Column("metric"),
        Column("champion", right=True),
        Column("95 %", right=True, help="Rows of a day, and of a customer, are no independent witnesses"),
        Column("naive", right=True),
        Column("beside", right=True, help="Who answered before, or above"),
        Column(
            "surely better",
            right=True,
            help="How sure that was at its release: than the naive guess / than whom it met",
        ),
    ]
    names = [name for name in record.challenger if " of " not in name]
    ordered = sorted(names, key=lambda name: name != shown.metric)
    rows = []
    for name in ordered:
        interval = found.metric if found and name == shown.metric else None
        sure = [released.certainty.get(f"naive_{name}"), released.certainty.get(name)]
        rows.append(
            [
                name, record.challenger[name], _between(interval), record.naive.get(name), record.incumbent.get(name),
                " / ".join("-" if each is None else f"{each:.1%}" for each in sure) if any(sure) else None,
            ]
        )  # fmt: skip
    if found:
        rows.append(["predicted too high by", found.bias.value, _between(found.bias), None, None, None])
    caption = f"Metrics on {record.rows:,} rows of {record.holdout_from} to {record.holdout_to}"
    note = f"not safe to serve: {record.unsafe}" if record.unsafe else ""
    return Table(caption, columns, rows, note)


def _between(interval: Interval | None) -> str | None:
    if interval is None or interval.low is None:
        return None
    return f"{figure(interval.low)} to {figure(interval.high)}"


def _decisions_of(found: Evidence | None) -> list[Table]:
    """What decisions do: of a yes or a no at the line's threshold, of classes by the likeliest."""
    if found is None:
        return []
    if classes := classes_of(found.task):
        rows = [[name, *counts] for name, counts in zip(classes, found.confusion, strict=True)]
        columns = [Column("observed"), *(Column(name, right=True) for name in classes)]
        return [Table("Taken for the likeliest class", columns, rows)] if len(classes) <= FEATURES else []
    if kind_of(found.task) != "binary":
        return []
    at = found.at(found.decides_at)
    rows = [["yes", at.true_yes, at.false_no], ["no", at.false_yes, at.true_no]]
    note = f"a decision costs {figure(at.cost)} a row" if at.cost is not None else ""
    columns = [Column("observed"), Column("decided yes", right=True), Column("decided no", right=True)]
    return [Table(f"Decisions from {figure(found.decides_at)} on", columns, rows, note)]


def _parts(record: EvaluationRecord | None) -> list[Table]:
    """Slices and groups, and by how much groups differ, as the champion was measured on them."""
    if record is None:
        return []
    by_part: dict[str, dict[str, float]] = {}
    for name, value in record.challenger.items():
        measure, separator, which = name.partition(" of ")
        if separator:
            by_part.setdefault(which, {})[measure] = value
    apart = {recorded for recorded, _ in DISPARITIES.values()} | {"groups"}
    groups = {name: of for name, of in by_part.items() if not apart & of.keys()}
    between = {name: of for name, of in by_part.items() if apart & of.keys()}
    return [_of_parts("Slices and groups", groups, record), _of_parts("Between the groups of", between, record)]


def _of_parts(caption: str, parts: Mapping[str, Mapping[str, float]], record: EvaluationRecord) -> Table:
    measures = list(dict.fromkeys(measure for of in parts.values() for measure in of))
    columns = [
        Column("rows that are"),
        *(Column(each.replace("_", " "), right=True) for each in measures),
        Column("no worse", right=True),
    ]
    sure = {name: record.certainty.get(f"{measures[-1]} of {name}") for name in parts} if measures else {}
    rows = [
        [
            Cell(name, shown=40),
            *(_number(of.get(each)) for each in measures),
            None if sure[name] is None else f"{sure[name]:.1%}",
        ]
        for name, of in list(parts.items())[:PARTS]
    ]
    left = len(parts) - len(rows)
    return Table(caption, columns, rows, f"{left} more are not shown" if left > 0 else "")


def _number(value: float | None) -> object:
    return f"{value:,.0f}" if value is not None and value == int(value) and abs(value) >= 10 else value


def _candidates(version: VersionRecord | None, metric: str) -> Table:
    """Those that the champion was chosen from, by their metrics on the validation days."""
    if version is None or not version.validation:
        return Table("Candidates", [], [])
    names = list(dict.fromkeys(name for of in version.validation.values() for name in of if " of " not in name))
    ordered = sorted(names, key=lambda name: name != metric)[:5]
    columns = [Column("candidate"), *(Column(each, right=True) for each in ordered), Column("")]
    rows = [
        [
            Cell(name, shown=40),
            *(of.get(each) for each in ordered),
            Cell("chosen", mood="good") if name == version.candidate else Cell(""),
        ]
        for name, of in version.validation.items()
    ]
    return Table(f"Candidates, on days between {version.train_from} and {version.train_to}", columns, rows)


def _trials(trials: Sequence[Trial], metric: str) -> Table:
    from factory_assets.measures.metrics import METRICS

    ended = [each for each in trials if each.value is not None]
    sign = -1 if METRICS[metric].greater_is_better else 1
    best = sorted(ended, key=lambda each: sign * (each.value or 0))[:BEST]
    columns = [Column("candidate"), Column("trial", right=True), Column(metric, right=True), Column("parameters")]
    rows = [
        [
            each.candidate,
            each.number,
            each.value,
            Cell(", ".join(f"{name} {_short(value)}" for name, value in each.params.items()), shown=160),
        ]
        for each in best
    ]
    given_up = sum(each.state == "pruned" for each in trials)
    note = f"the best of {counted(len(trials), 'trial')}, {given_up} of them given up early"
    return Table("Trials", columns, rows, note)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _decay(ages: Sequence[Mapping[str, object]]) -> Table:
    columns = [
        Column("age in days"),
        Column("loss", right=True),
        Column("between", right=True),
        Column("versions", right=True),
        Column("verdict"),
    ]
    rows = [
        [
            f"{row['first']} to {row['last']}",
            row["loss"],
            None if row["lower"] is None else f"{row['lower']:+.3g} to {row['upper']:+.3g}",
            row["versions"],
            Cell(row["verdict"], mood="bad" if row["verdict"] == "worse" else ""),
        ]
        for row in ages
    ]
    cadence = ages[0]["cadence"] if ages else None
    return Table(
        "What it loses as it grows older",
        columns,
        rows,
        f"these ages suggest a training every {cadence} days" if cadence else "",
    )


@dataclass(frozen=True)
class Bar:
    """A feature and what it adds. share: of the largest, from 0 to 1. moves: how far it moves the score of a row, on average."""

    name: str
    value: float
    share: float
    moves: float | None


def _importances(version: VersionRecord | None, effects: Effects | None) -> list[Bar]:
    if version is None:
        return []
    ranked = sorted(version.importances.items(), key=lambda each: -abs(each[1]))[:FEATURES]
    largest = max((abs(value) for _, value in ranked), default=0) or 1
    moves = effects.contributions if effects else {}
    return [Bar(name, value, abs(value) / largest, moves.get(name)) for name, value in ranked]


def _dependences(version: VersionRecord | None, effects: Effects | None) -> list[Picture]:
    if version is None or effects is None:
        return []
    text = f"Mean prediction for {effects.rows:,} of its training rows, with this value in all of them."
    return [
        Picture(drawn(beside.dependence(each, {version.version: ""}), f"mean prediction by {each.feature}"), text)
        for each in effects.dependences
        if each.means
    ]
