"""How does a line stand? Its page: first whether it is good and safe, who decided and what to do; then node by node why.

All of it was found before, by the gate, the monitors and people, and stands in tables and the ledger. A page of thousands of nodes
stays one that a phone opens: those that need somebody most have all their figures, the next a row, the rest are counted.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from factory_assets.declarations.declared import DeclaredLine
from factory_assets.declarations.tasks import kind_of, level_of
from factory_assets.governor.work import Called
from factory_assets.identity.nodes import ROOT
from factory_assets.measures.compared import metric_of
from factory_assets.measures.metrics import METRICS
from factory_assets.pages import card, details
from factory_assets.pages.course import MONTH, Change, Courses, courses, since_a_month
from factory_assets.pages.details import Reported, Tables
from factory_assets.pages.document import (
    FLEET,
    Badge,
    Cell,
    Column,
    Fact,
    Mood,
    Table,
    anchor,
    document,
    link,
    page_of,
    shown,
)
from factory_assets.pages.evidence import Evidence, evidence
from factory_assets.pages.fleet import HEALTH, Stand, nodes_of
from factory_assets.pages.lines import State
from factory_assets.pages.todo import Todo, todo
from factory_assets.words import brief, counted, figure, listed
from factory_resources.ledger import Decision
from factory_resources.records.decisions import in_words
from factory_resources.records.issues import Issues

#: A space at which no line breaks.
NBSP = "\N{NO-BREAK SPACE}"
#: Bytes of a page that nodes' figures may fill, and its rows; together with the rest it is less than a million.
FIGURES, ROWS = 450_000, 200_000
#: Bytes of a cell beside its text.
CELL = 80
#: Nodes with figures, and with a row, at most: so many are still looked through.
DETAILED, LISTED = 8, 500
#: Nodes that the first screen names.
FIRST = 6
#: Columns whose drift the first screen names.
DRIFTED = 6
MOODS: Mapping[str, Mood] = {
    "unanswered": "bad", "alarm": "bad", "waits": "warn", "unwatched": "warn", "well": "good",
    "blocked": "bad", "damaged": "bad", "due": "warn", "current": "good",
}  # fmt: skip


@dataclass
class _Page:
    """What is known of a line while its page is put together."""

    declared: DeclaredLine
    tables: Tables
    called: Called
    metric: str
    nodes: Sequence[Stand]
    courses: Courses
    decisions: Sequence[Decision]
    changes: Mapping[str, Change | None] = field(default_factory=dict)
    evidence: dict[str, Evidence] = field(default_factory=dict)
    detailed: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        return self.declared.line.name

    def href(self, node: str) -> str:
        """Where the page shows a node: its figures, or else the table of all."""
        return f"#{anchor(node)}" if node in self.detailed else "#nodes"


def line_page(
    declared: DeclaredLine,
    tables: Tables,
    called: Called,
    state: State | None,
    now: dt.datetime,
    reported: Reported = Reported(),  # noqa: B008
) -> str:
    """The page as HTML. state: of the line; None where no plan was asked. now: when it is written."""
    page = _read(declared, tables, called)
    parts, page.detailed = _details(page, reported)
    rows, left = _rows(page)
    line = declared.line
    return document(
        "line.html.jinja",
        f"{line.name}: how it stands",
        line=line,
        state=Badge(state, MOODS[state]) if state else None,
        healths=[Badge(f"{number} {health}", MOODS[health]) for health, number in _healths(page.nodes) if number],
        metric=f"{page.metric}, {_better(page.metric)}",
        now=f"{now:%Y-%m-%d %H:%M} UTC",
        newest=page.courses.newest,
        fleet=link(page_of(line.name), FLEET),
        good=_good(page),
        good_facts=_calibrated(page),
        safe=_safe(page),
        decided=_decided(page, reported),
        todos=_todos(page),
        rows=rows,
        sections=parts,
        detailed={anchor(node) for node in page.detailed},
        left=_left(page, left),
        card=card.facts(declared),
        features=card.features(declared),
    )


def _read(declared: DeclaredLine, tables: Tables, called: Called) -> _Page:
    line, metric, damaged = declared.line, metric_of(declared), called.damaged
    nodes = sorted(nodes_of(declared, tables.lake, tables.ledger, damaged), key=lambda each: each.urgency)
    chosen = nodes[:LISTED]
    # The whole line is looked at whatever its health.
    of_nodes = courses(line.name, metric, tables.lake, {ROOT, *(each.node for each in chosen)}, damaged)
    changes = {each.node: since_a_month(metric, of_nodes.of(each.node), len(chosen)) for each in chosen}
    decisions = tables.ledger.decisions(line.name)
    return _Page(declared, tables, called, metric, nodes, of_nodes, decisions, changes)


def _details(page: _Page, reported: Reported) -> tuple[list[Markup], list[str]]:
    """Sections of nodes with all their figures, and whose they are: the whole line first, then those that need somebody most."""
    ordered = sorted(page.nodes[:LISTED], key=lambda each: each.node != ROOT)
    chosen = ordered[:DETAILED]
    own = {each.node: each.version for each in chosen if each.version and each.answers == each.node}
    found = {
        node: (records, of_rows)
        for node, records, of_rows in evidence(
            page.declared,
            page.metric,
            own,
            page.tables.lake,
            page.tables.engine,
            page.tables.ledger,
            page.called.damaged,
        )
    }
    page.evidence |= {node: of_rows for node, (_, of_rows) in found.items() if of_rows}
    archive = details.Archive.of(page.declared, page.tables, own, page.called.damaged, reported.effects)
    parts, size, nodes = list[Markup](), 0, list[str]()
    for stand in chosen:
        records, of_rows = found.get(stand.node, ((), None))
        decisions = [each for each in page.decisions if each.node == stand.node]
        node = details.Shown(
            page.declared, page.metric, stand, page.courses.of(stand.node), page.changes.get(stand.node), records, of_rows,
            decisions, page.called.blocked, details.compared(page.line, decisions, reported),
        )  # fmt: skip
        part = details.section(node, archive, is_open=not parts)
        size += len(part.encode())
        if parts and size > FIGURES:
            break
        parts.append(part)
        nodes.append(stand.node)
    return parts, nodes


def _rows(page: _Page) -> tuple[Table, int]:
    """All nodes as rows of a table, as many as a page holds; how many are left out."""
    columns = [
        Column("node"),
        Column("health", help="; ".join(HEALTH)),
        Column(page.metric, right=True, help="Of the newest day that could be measured"),
        Column("naive", right=True, help="Of a guess that knows the training labels alone, on the same rows"),
        Column(
            "against a month ago", right=True, help=f"Positive is better; days against those {MONTH.days} days before"
        ),
        Column("labels in", right=True, help="Of the predictions of the newest measured day"),
        Column("answers"),
        Column("trained", right=True),
        Column("why"),
    ]
    rows, size = list[list[Cell]](), 0
    for stand in page.nodes[:LISTED]:
        row = _row(page, stand)
        # As it is written: a letter of a name may take five.
        size += sum(len(shown(cell.value, cell.shown).encode()) + CELL for cell in row)
        if size > ROWS:
            break
        rows.append(row)
    return Table("All nodes", columns, rows, "those that need somebody first", "nodes"), len(page.nodes) - len(rows)


def _row(page: _Page, stand: Stand) -> list[Cell]:
    change = page.changes.get(stand.node)
    labelled = None if stand.labelled is None else f"{stand.labelled:.0%}"
    answers = "itself" if stand.answers == stand.node else (stand.answers or "nobody")
    return [
        Cell(stand.node, page.href(stand.node) if stand.node in page.detailed else "", shown=40),
        Cell(stand.health, mood=MOODS[stand.health]),
        Cell(stand.value),
        Cell(stand.naive),
        Cell(_change(change), mood=_mood(change)),
        Cell(labelled),
        Cell(answers, shown=30),
        Cell(stand.trained),
        Cell(stand.why, shown=90),
    ]


def _good(page: _Page) -> Table:
    """Whether the line is good: the whole of it, then the nodes that have become worse, or need somebody."""
    stands = {each.node: each for each in page.nodes}
    worse = [each for each in page.nodes[:LISTED] if (change := page.changes.get(each.node)) and change.is_worse]
    first = [each for each in (stands.get(ROOT), *worse, *page.nodes) if each]
    chosen = list({each.node: each for each in first}.values())[:FIRST]
    floor = page.declared.line.gate.floor
    columns = [
        Column("node"),
        Column(page.metric, right=True, help="Of the newest day that could be measured"),
        Column("naive", right=True, help="Of a guess that knows the training labels alone, on the same rows"),
        *([Column("floor", right=True, help="Of the gate", is_wide=True)] if floor is not None else []),
        Column(
            "last holdout", right=True, help="Of its champion, where it last met a challenger, with 95 %", is_wide=True
        ),
        Column("month ago", right=True, help="By how much it is better than a month ago: the mean, and its limits"),
    ]
    rows = [
        [
            Cell(each.node, page.href(each.node), shown=30),
            Cell(each.value, mood=_beside_naive(page.metric, each)),
            Cell(each.naive),
            *([Cell(floor)] if floor is not None else []),
            Cell(_on_holdout(page.evidence.get(each.node))),
            Cell(_change(page.changes.get(each.node)), mood=_mood(page.changes.get(each.node))),
        ]
        for each in chosen
    ]
    said = [name for name, change in page.changes.items() if change]
    note = (
        f"worse than a month ago: {listed([each.node for each in worse], FIRST, 'node')}"
        if worse
        else f"no node is surely worse than a month ago, of {counted(len(said), 'node')} with enough days"
        if said
        else "no node has enough days to be held against a month ago"
    )
    return Table(note, columns, rows, is_narrow=True)


def _calibrated(page: _Page) -> list[Fact]:
    found = page.evidence.get(ROOT) or next(iter(page.evidence.values()), None)
    if found is None:
        return [Fact("calibrated", "nothing to tell it by: no rows of a champion's evaluation are kept")]
    node = next(name for name, each in page.evidence.items() if each is found)
    bias, level = found.bias, level_of(found.task)
    what = {
        "multiclass": "how sure it is, less how often it is right",
        "quantile": f"rows at or below the prediction, less {level:.0%}" if level is not None else "",
    }.get(kind_of(found.task), "predicted less observed, on average")
    within = "" if bias.low is None else f", with 95 % between {figure(bias.low)} and {figure(bias.high)}"
    where = f"{node}, on the {len(found.y):,} rows of its holdout"
    if bias.low is None or bias.high is None:
        return [Fact("calibrated", f"no verdict: {what}: {figure(bias.value)} ({where})", href=page.href(node))]
    fits = bias.low <= 0 <= bias.high
    verdict = "yes, as far as these rows can tell" if fits else "no"
    return [
        Fact(
            "calibrated",
            f"{verdict}: {what}: {figure(bias.value)}{within} ({where})",
            "good" if fits else "bad",
            page.href(node),
        )
    ]


def _safe(page: _Page) -> list[Fact]:
    healths = {each.health for each in page.nodes}
    mood: Mood = "bad" if healths & {"alarm", "unanswered"} else "warn" if "unwatched" in healths else "good"
    facts = [Fact("monitors", _monitors(page), mood)]
    facts += _drifted(page)
    return [*facts, *_labels(page)]


def _monitors(page: _Page) -> str:
    number = dict(_healths(page.nodes))
    said = [f"{number[name]} {'alarmed' if name == 'alarm' else name}" for name in ("alarm", "unwatched", "unanswered")]
    return f"{counted(len(page.nodes), 'node')}: {', '.join(said)}, as of {page.courses.newest or 'no day yet'}"


def _drifted(page: _Page) -> list[Fact]:
    facts, more = list[Fact](), 0
    for stand in page.nodes[:LISTED]:
        for column in stand.drifted:
            if len(facts) == DRIFTED:
                more += 1
                continue
            since = page.courses.of(stand.node).drifting(column)
            began = f"since {since[0]}{' or before' if since[1] else ''}" if since else "now"
            facts.append(Fact("drift", f"{column} of {stand.node}, {began}", "bad", page.href(stand.node)))
    if more:
        facts.append(Fact("drift", f"and {counted(more, 'column')} more", "bad", "#nodes"))
    watched = any(page.courses.of(each.node).drift for each in page.nodes[:LISTED])
    return facts or [Fact("drift", "no column" if watched else "nobody has looked yet", "good" if watched else "warn")]


def _labels(page: _Page) -> Iterator[Fact]:
    """How many labels are in: of the newest day, and of the newest day all of whose labels were due."""
    rows = [row for row in page.courses.of(ROOT).measured if row["predicted"]]
    if not rows:
        yield Fact("labels in", "no day was scored yet")
        return
    due = page.declared.line.horizon_days
    newest = rows[-1]
    whole = [row for row in rows if (newest["ds"] - row["ds"]).days >= due]
    for row in [*whole[-1:], newest] if whole and whole[-1] is not newest else [newest]:
        share = row["labelled"] / row["predicted"]
        is_due = row in whole
        when = "newest day all of whose labels are due" if is_due and row is not newest else "newest day"
        mood: Mood = "warn" if is_due and share < 0.9 else ""
        yield Fact(
            "labels in", f"{row['labelled']:,} of {row['predicted']:,} ({share:.0%}) of {row['ds']}, the {when}", mood
        )


def _decided(page: _Page, reported: Reported) -> list[Fact]:
    """The champion of the whole line, and the newest decision on any node."""
    facts = list[Fact]()
    root = next((each for each in page.nodes if each.node == ROOT), None)
    reign = details.reign(page.decisions, ROOT)
    if root and root.version and reign:
        facts.append(Fact(ROOT, f"{in_words(reign.began)}", href=page.href(ROOT)))
    elif root:
        facts.append(Fact(ROOT, "nobody answers", "bad", page.href(ROOT)))
    if both := details.compared(page.line, [each for each in page.decisions if each.node == ROOT], reported):
        text = f"from {brief(both.a)} to {brief(both.b)}: {'side by side' if both.href else both.command}"
        facts.append(Fact("what changed", text, href=both.href))
    newest = max(page.decisions, key=lambda each: each.decided_at, default=None)
    if newest and not (reign and newest is reign.began):
        facts.append(Fact(f"newest, on {newest.node}", in_words(newest), href=page.href(newest.node)))
    people = [each for each in page.decisions if each.verdict in ("rollback", "approve")]
    if people and people[-1] is not newest:
        facts.append(Fact(f"last by a person, on {people[-1].node}", in_words(people[-1])))
    return facts or [Fact("nobody", "nothing was decided yet")]


def _todos(page: _Page) -> list[Todo]:
    stands_on = set(page.declared.stands_on)
    issues = [
        each
        for each in Issues(url=page.tables.ledger.url).issues()
        if each.state == "open" and each.stream in stands_on
    ]
    return todo(page.line, page.called.notices, page.called.due, page.nodes, issues)


def _left(page: _Page, left: int) -> str:
    """What the page leaves out; empty where it has everything."""
    without = len(page.nodes) - len(page.detailed)
    if not without:
        return ""
    rows = f"; {counted(left, 'node')} have no row here" if left else ""
    return f"figures of {counted(len(page.detailed), 'node')}, those that need somebody first; {without} more are in the table{rows}"


def _healths(nodes: Sequence[Stand]) -> list[tuple[str, int]]:
    return [(health, sum(each.health == health for each in nodes)) for health in HEALTH]


def _beside_naive(metric: str, stand: Stand) -> Mood:
    if stand.value is None or stand.naive is None or METRICS[metric].greater_is_better is None:
        return ""
    higher = stand.value > stand.naive
    return "" if stand.value == stand.naive else "good" if higher == METRICS[metric].greater_is_better else "bad"


def _better(metric: str) -> str:
    better = METRICS[metric].greater_is_better
    return "nearest the level is best" if better is None else f"{'more' if better else 'less'} is better"


def _on_holdout(found: Evidence | None) -> str | None:
    if found is None:
        return None
    between = "" if found.metric.low is None else f" [{figure(found.metric.low)},{NBSP}{figure(found.metric.high)}]"
    return f"{figure(found.metric.value)}{between}"


def _change(change: Change | None) -> str | None:
    if change is None:
        return None
    between = (
        "" if change.low is None or change.high is None else f" [{_signed(change.low)},{NBSP}{_signed(change.high)}]"
    )
    return f"{_signed(change.gain)}{between}"


def _signed(value: float) -> str:
    """By two digits, and of large numbers those before the point: nobody reads +1.4e+02."""
    return f"{value:+.2g}" if abs(value) < 99.5 else f"{value:+,.0f}"


def _mood(change: Change | None) -> Mood:
    return "" if change is None else "bad" if change.is_worse else "good" if change.is_better else ""
