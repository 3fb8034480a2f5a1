"""What has to be made, of which days or nodes, why, and after what? The plan of work, from what is known at a moment.

A day of an asset is due when the stamp that it was made with is not the one that it would get now. It is ready when nothing
that it reads is about to change. It is not due before every stream that it reads has closed the day, nor behind a failed
blocking check; then the plan says what it waits for. A training is due by `retraining`, ready when the examples and labels of
its days are in, and predictions follow it.

Nothing is started here. Whoever carries out what is ready and asks again, until nothing is, reaches the same tables.
"""

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from factory_assets.declarations.base import format_duration
from factory_assets.declarations.days import DAY, ranges
from factory_assets.declarations.declared import DeclaredLine, DeclaredStream
from factory_assets.declarations.view import View
from factory_assets.events import moved, sources
from factory_assets.features.examples import labels as label_rows
from factory_assets.features.examples import leaks
from factory_assets.features.examples import rows as examples
from factory_assets.features.examples.labels import Through
from factory_assets.governor import retraining
from factory_assets.governor.grouping import grouped
from factory_assets.governor.known import Known
from factory_assets.governor.retraining import NotDue, Training
from factory_assets.governor.work import (
    CALLING,
    FLEET,
    PAGE,
    SCORED,
    TRAINED,
    Called,
    Kind,
    Notice,
    Plan,
    Work,
    days_in_words,
    reasons_in_words,
)
from factory_assets.identity.inputs import changed, digest, judgement, of_declaration
from factory_assets.monitoring.drift import labels as label_days
from factory_assets.monitoring.episodes import Alarm
from factory_assets.monitoring.estimates import windows as estimates
from factory_assets.monitoring.performance import outcomes
from factory_assets.training.timeline import timeline
from factory_resources.collector import uncollected

#: Table of scored days -> tables whose day has to be there. Drift judges rows without their labels, where these are held back.
NEEDED = {
    "predictions": ("examples",),
    "parents": ("examples",),
    "performance": ("predictions", "parents", "labels"),
    "estimates": ("predictions", "labels"),
    "drift": ("predictions", "examples"),
}
#: What such a table depends on beside tables, in words.
_LABELS = "what is known of its labels"
_CHAMPIONS = "the champions before it"
BESIDE = {"predictions": _CHAMPIONS, "parents": _CHAMPIONS, "estimates": _LABELS, "drift": _LABELS}
#: Tables that champions score: they wait for a training that decides who these are.
ANSWERED = ("predictions", "parents")


def _needed(declared: DeclaredLine) -> Mapping[str, tuple[str, ...]]:
    """As `NEEDED`, of a line; without segments no champion is above another."""
    if declared.line.segments.levels:
        return NEEDED
    there = {table: needed for table, needed in NEEDED.items() if table != "parents"}
    return {table: tuple(each for each in needed if each != "parents") for table, needed in there.items()}


def plan(known: Known) -> Plan:
    """All the work of a deployment."""
    return _Planner(known).plan()


def plan_of_stream(known: Known, stream: str, days: Sequence[dt.date]) -> Plan:
    """The work on these days of a stream alone: raw, events and statistics."""
    planner = _Planner(known)
    if not planner.ledger_is_lost():
        planner.stream(known.catalogue.streams[stream], days)
    return planner.finished()


def plan_of_line(known: Known, line: str) -> Plan:
    """The work on a line, and on the streams and views that it stands on."""
    planner, catalogue = _Planner(known), known.catalogue
    declared = catalogue.resolve(catalogue.lines[line])
    if planner.ledger_is_lost():
        return planner.finished()
    for name in declared.stands_on:
        planner.stream(catalogue.streams[name], days_until(catalogue.streams[name], known))
    for view in declared.views.values():
        planner.view(view)
    planner.line(declared)
    return planner.finished()


def page_state(name: str, content: str, called: Called) -> str:
    """The state of a page that shows this content of tables and decisions, and tells what is called for."""
    return digest([name, content, *called.parts])


def fleet_state(version: str, pages: Iterable[str]) -> str:
    """The state of the page of all lines. version: of its code. pages: the states of the lines' pages."""
    return digest([FLEET, version, *pages])


def days_until(stream: DeclaredStream, known: Known) -> list[dt.date]:
    """Days of a stream that are over."""
    last = min(day for day in (stream.stream.end, known.until, known.now.date() - DAY) if day is not None)
    return [stream.stream.start + offset * DAY for offset in range((last - stream.stream.start).days + 1)]


@dataclass(frozen=True)
class Daily:
    """An asset, its days that are over, and what makes one of them due or holds it back.

    extra, beside: what its days depend on beside tables, and what that is in words. gates: assets, and how many days from its own
    one a day of theirs has to be there. check: the declaration of its blocking check beside its own; None where it has none.
    waits_for: day -> an asset whose work comes first.
    """

    name: str
    days: Sequence[dt.date]
    extra: Mapping[dt.date, str] | None = None
    beside: str = ""
    gates: Sequence[tuple[str, int]] = ()
    check: str | None = None
    waits_for: Mapping[dt.date, str] | None = None


@dataclass(frozen=True)
class _Missing:
    """Why a day of an asset is not there to build on. may_come: whether it may still come by itself."""

    reason: str
    may_come: bool = False


class _Planner:
    """Goes down the line once. It keeps the days of each asset that are about to change, and those that are not there."""

    def __init__(self, known: Known):
        self.known = known
        self.work: list[Work] = []
        self.notices: list[Notice] = []
        self.unsettled: dict[str, set[dt.date]] = {}
        self.missing: dict[str, dict[dt.date, _Missing]] = {}
        self.leaking: dict[str, dict[dt.date, str]] = {}
        self.days: dict[str, set[dt.date]] = {}
        self.busy = list(known.running())

    @uncollected()
    def plan(self) -> Plan:
        catalogue, known = self.known.catalogue, self.known
        if self.ledger_is_lost():
            return self.finished()
        for stream in catalogue.streams.values():
            self.stream(stream, days_until(stream, known))
        for view in catalogue.views.values():
            self.view(view)
            self.served(view)
        lines = [catalogue.resolve(line) for line in catalogue.lines.values()]
        for declared in lines:
            self.line(declared)
        pages = [self.page(declared) for declared in lines]
        self.fleet(dict(pages))
        return self.finished()

    def finished(self) -> Plan:
        return Plan(grouped(self.work, self.unsettled), self.notices)

    def ledger_is_lost(self) -> bool:
        """Whether predictions name versions, and the ledger has none: then nothing is made until a person says what is to be done.

        Verdicts, and what was accepted of issues, are lost with it: raw days would be read again from sources that may have
        forgotten them.
        """
        lost = False
        for line in self.known.catalogue.lines:
            if unknown := self.known.unknown_versions(line):
                lost = True
                reason = (
                    f"the ledger has no training of {line}, and the lake has predictions of its version {unknown[0]}: the ledger "
                    "is another one, or new. Put it back, from a copy if it is lost; or let `factory run --new-ledger` make all "
                    "decisions again, without those that people made. Until then nothing is made"
                )
                self.notices.append(Notice("blocked", f"{line}/{TRAINED[0]}", reason))
        return lost

    def stream(self, declared: DeclaredStream, days: Sequence[dt.date]) -> None:
        name = declared.stream.name
        raw, events = f"{name}/raw", f"{name}/events"
        accepted = self.known.accepted(name)
        self.missing[raw] = {}
        looked, fingerprints = self._source(declared, days)
        read = self.known.recorded(raw)
        awaited = [day for day in looked if day not in read and self._awaited(declared, day, fingerprints[day])]
        self.missing[raw] |= {
            day: _Missing(f"{name}: nothing has come for {day} yet", may_come=True) for day in awaited
        }
        if awaited:
            grace = format_duration(declared.stream.grace)
            reason = f"nothing has come yet; a day's file is waited for until {grace} after its close"
            self.notices.append(Notice("waiting", raw, reason, tuple(awaited)))
        to_read = [day for day in looked if day not in self.missing[raw]]
        self._daily(Daily(raw, to_read, fingerprints, "its source", check=""))
        self.days[raw] = set(days)
        # A run may also make days whose source was not asked.
        self.unsettled[raw] |= self._running(raw, days)
        blocked = self._blocked(raw, days, set(accepted))
        beside = moved.beside_raw(accepted, self.known.moved(declared), days)
        words = f"what was accepted of its issues{', or moved to another day' if declared.stream.reach else ''}"
        self._daily(Daily(events, days, beside, words, gates=[(raw, 0)]))
        stands = self.known.recorded(events)
        for day, reason in blocked.items():
            # A day that served rows before goes on serving them.
            if day not in stands or not stands[day].served:
                self.missing[events][day] = _Missing(reason)
        self._daily(Daily(f"{name}/statistics", days, gates=[(events, 0)]))

    def _source(
        self, declared: DeclaredStream, days: Sequence[dt.date]
    ) -> tuple[Sequence[dt.date], Mapping[dt.date, str]]:
        """The days whose source is asked now, and its fingerprint on each; none of either where it cannot be read."""
        raw = f"{declared.stream.name}/raw"
        again = self._unjudged(raw, days) | (self.known.damaged(raw).keys() & set(days))
        try:
            # Days that are lost, or that a run read, and died before it judged them, are not built on, wherever one looks.
            looked = sorted({*self.known.looked_at(declared, days), *again})
            return looked, self.known.source(declared, looked)
        except sources.SourceError as error:
            self.notices.append(Notice("failed", declared.stream.name, str(error)))
            asset = self.known.asset(raw)
            recorded, reason = self.known.recorded(raw), f"{declared.stream.name} cannot be read"
            read = {day for day, each in recorded.items() if of_declaration(asset, each.stamp)} - again
            self.missing[raw] = {day: _Missing(reason) for day in days if day not in read}
            return [], {}

    def _unjudged(self, raw: str, days: Sequence[dt.date]) -> set[dt.date]:
        recorded, judged = self.known.recorded(raw), self.known.judged(raw)
        stands_on = {day: judged[day].stands_on if day in judged else "" for day in days if day in recorded}
        return {day for day, on in stands_on.items() if on != judgement(recorded[day].stamp)}

    def _awaited(self, declared: DeclaredStream, day: dt.date, fingerprint: str) -> bool:
        if fingerprint != sources.ABSENT or not sources.expects_a_file(declared.stream):
            return False
        if declared.contract.is_quiet(day):
            return False
        closed = dt.datetime.combine(day + DAY, dt.time(), dt.UTC)
        return self.known.now < closed + declared.stream.grace

    def view(self, view: View) -> None:
        stream = self.known.catalogue.streams[view.stream]
        gates = [(f"{view.stream}/events", 0)]
        self._daily(Daily(f"features/{view.name}", days_until(stream, self.known), gates=gates))

    def served(self, view: View) -> None:
        if view.serve is None:
            return
        features = f"features/{view.name}"
        served, after = f"serving/{view.name}", self._about_to_change([features])
        state = None if self.known.damaged(features) else self.known.export_state(view)
        if state is not None or after:
            states = (digest([served, state]),) if state else ()
            self._offer(Work((served,), "the newest features are not in the store", after=after, states=states))

    def line(self, declared: DeclaredLine) -> None:
        line, known = declared.line, self.known
        name = {table: f"{line.name}/{table}" for table in ("examples", "labels", *SCORED)}
        days = days_until(declared.observed, known)
        fresh = {view.name for view in examples.fresh_views(declared)}
        read = [(f"{stream}/events", 0) for stream in examples.lookback(declared)]
        read += [
            (f"features/{view}", 0 if view in fresh else examples.snapshot_offset(declared)) for view in declared.views
        ]
        self._daily(Daily(name["examples"], days, gates=read, check=leaks.version(declared)))
        leaking = self.leaking[line.name] = self._blocked(name["examples"], days)
        self.missing[name["examples"]] |= {day: _Missing(reason) for day, reason in leaking.items()}

        through = known.through(declared)
        state = label_rows.state(declared, days, through)
        of_labels = [(f"{stream}/events", 0) for stream in label_rows.lookaround(declared)]
        self._daily(Daily(name["labels"], days, state, "what is known of them", gates=of_labels))

        training = self._restoring(line.name) or self._training(declared, days, through)
        self._scores(line.name)
        # A training as of a day decides who answers after it; on days before the first, nobody does, and that is on record.
        waiting = [day for day in days if training and day > training.as_of]
        waits_for = dict.fromkeys(waiting, f"{line.name}/{TRAINED[0]}")
        for table, needed in _needed(declared).items():
            self._daily(
                Daily(
                    name[table], days, self._beside(declared, table, days, through), BESIDE.get(table, ""),
                    gates=[(name[each], 0) for each in needed], waits_for=waits_for if table in ANSWERED else None,
                )
            )  # fmt: skip
        if line.outcomes:
            self._daily(Daily(name["outcomes"], days, gates=[(read, 0) for read in outcomes.reads(declared)]))
        self._daily(Daily(name["counts"], days, gates=[(name[table], 0) for table in ("predictions", "examples")]))
        said = [(name[table], 0) for table in ("performance", "estimates", "drift", "counts")]
        self._daily(Daily(name["monitors"], days, gates=said))

    def page(self, declared: DeclaredLine) -> tuple[str, tuple[Called, str]]:
        """Offer to write the page of a line, once the work on it is done: its tables or decisions, or what holds it back, changed.

        The line, what its page is told, and its state.
        """
        line, known = declared.line.name, self.known
        name, own = f"{line}/{PAGE}", Plan(self.work, self.notices).of_line(declared)
        # A training that nobody starts would keep the page waiting for good: it says so instead.
        left = [work for work in own.work if work.training and line not in known.trains]
        after = dict.fromkeys(asset for work in own.work if work not in left for asset in work.assets)
        called = Called(tuple(own.notices_of(*CALLING)), tuple((work.what, work.reason) for work in left))
        content, shown = known.page(line)
        state = page_state(name, content, called)
        # What a run is making now will change what it shows.
        if state != shown and not any(run.is_at(declared) for run in self.busy):
            reason = "what it shows has changed" if shown else "there is none yet"
            # It may come back to what it showed before.
            follows = known.newest_event(name)
            self._offer(Work((name,), reason, after=tuple(after), states=(state,), follows=follows, page=called))
        return line, (called, state)

    def fleet(self, pages: Mapping[str, tuple[Called, str]]) -> None:
        """Offer to write the page of all lines, after all other work. pages: by line, what `page` gives of it."""
        if not pages or any(FLEET in run.assets for run in self.busy):
            return
        version, shown = self.known.fleet()
        if (state := fleet_state(version, [state for _, state in pages.values()])) != shown:
            untended = [work for work in self.work if work.training and work.training.line not in self.known.trains]
            after = dict.fromkeys(name for work in self.work if work not in untended for name in work.assets)
            called = {line: called for line, (called, _) in pages.items()}
            reason = "what it shows has changed" if shown else "there is none yet"
            follows = self.known.newest_event(FLEET)
            self._offer(Work((FLEET,), reason, after=tuple(after), states=(state,), follows=follows, fleet=called))

    def _restoring(self, line: str) -> Training | None:
        """Offer to make champions again that the archive has lost; the training that all that they answer for waits for."""
        model = f"{line}/{TRAINED[0]}"
        if any(model in run.assets for run in self.busy):
            return None
        tables = [f"{line}/examples", f"{line}/labels"]
        after = tuple(table for table in tables if self.known.damaged(table).keys() & self.unsettled[table])
        models = self.known.lost_models(line)
        lost = {as_of: dict(nodes) for as_of, nodes in models.items()}
        if outcomes := self.known.lost_trainings(model, line):
            # The event log has them all: one run, of any node, writes them down again.
            why = "its outcomes are lost or damaged in the lake"
            self.notices.append(Notice("damaged", model, why, tuple(sorted(outcomes))))
            lost.setdefault(max(outcomes), {}).setdefault(min(self.known.standing(line)), why)
        for as_of, nodes in sorted(lost.items()):
            for node, why in models.get(as_of, {}).items():
                self.notices.append(Notice("damaged", model, f"{node}, as of {as_of}: {why}"))
            data = [f"{day}:{each.data}" for table in tables for day, each in self.known.recorded(table).items()]
            state = digest(
                [model, "lost", str(as_of), *(f"{node}:{why}" for node, why in nodes.items()), *sorted(data)]
            )
            reason = f"made again as recorded: {'; '.join(dict.fromkeys(nodes.values()))}"
            training = Training(line, as_of, tuple(nodes), "lost", reason)
            self._offer(Work((model,), reason, (), training, after, (state,), follows=self.known.newest_event(model)))
        return Training(line, dt.date.min, (), "lost", "") if lost else None

    def _training(self, declared: DeclaredLine, days: Sequence[dt.date], through: Through) -> Training | None:
        """Offer the training that is due; the training that predictions wait for, if there is one."""
        line, known = declared.line, self.known
        model, tables = f"{line.name}/{TRAINED[0]}", [f"{line.name}/examples", f"{line.name}/labels"]
        if busy := next((run for run in self.busy if model in run.assets), None):
            self.notices.append(Notice("waiting", model, f"run {busy.run_id} is training it now"))
            return Training(line.name, dt.date.min, (), "unfinished", "")
        damaged = {table: set(known.damaged(table)) for table in tables}
        if holes := [f"{table} {days_in_words(sorted(of))}" for table, of in damaged.items() if of]:
            # Which nodes there are is asked of all days, so none of them may be damaged, in the windows or not.
            made_again = all(of <= self.unsettled[table] for table, of in damaged.items())
            reason = f"nothing is trained while rows are lost or damaged: {'; '.join(holes)}"
            self.notices.append(Notice("waiting" if made_again else "blocked", model, reason))
            return Training(line.name, dt.date.min, (), "unfinished", "") if made_again else None
        there = [set(known.recorded(table)) | self.unsettled[table] for table in tables]
        missing = (self.missing[tables[0]].keys() - self.leaking[line.name].keys()) | self.missing[tables[1]].keys()
        whole = there[0] & there[1] - missing
        complete = [day for day in days if day in whole and label_rows.complete(declared, day, through)]
        unwatched = self._unwatched(declared, days, through)
        due = retraining.due(
            declared, complete, known.standing(line.name), lambda until: known.seen(line.name, until),
            known.nodes(line.name), known.contract(declared), self._alarms(declared, days, unwatched),
        )  # fmt: skip
        finishing = isinstance(due, Training) and due.trigger == "unfinished"
        if not finishing and (left := self._undrawn(line.name)):
            # The board alone is drawn: decisions stand, and may have been approved, or rolled back, since.
            board, decided = f"{line.name}/{TRAINED[-1]}", known.decided(line.name)
            states = (digest([board, str(left.as_of), *left.nodes, str(decided)]),)
            self._offer(Work((board,), left.reason, training=left, states=states))
        self._boards(line.name)
        if isinstance(due, NotDue):
            self.notices.append(Notice("idle", model, due.reason))
            return None
        waited_for = due if line.name in known.trains else None
        span = timeline(declared, due.as_of)
        needed = [day for day in days if span.train_from <= day <= span.holdout_to]
        if leak := next((reason for day, reason in sorted(self.leaking[line.name].items()) if day in needed), None):
            self.notices.append(Notice("blocked", model, f"not trained as of {due.as_of}: {leak}"))
            return None
        lacking = [each for day in needed for table in tables if (each := self.missing[table].get(day))]
        if to_come := next((each for each in lacking if each.may_come), None):
            self.notices.append(Notice("waiting", model, f"to be trained as of {due.as_of}; {to_come.reason}"))
            return waited_for
        if refused := known.without_room(declared, due.as_of):
            self.notices.append(Notice("blocked", model, refused))
            return None
        after = tuple(table for table in tables if any(day <= due.as_of for day in self.unsettled[table]))
        if due.trigger == "new_data":
            # What the monitors will say of an earlier day may call for a training before.
            after += tuple(table for table, known_at in unwatched.items() if min(known_at) < due.as_of)
        read = [known.recorded(table)[day].data for table in tables for day in needed if day in known.recorded(table)]
        state = digest([line.name, str(due.as_of), due.trigger, known.contract(declared), *due.nodes, *read])
        assets = tuple(f"{line.name}/{each}" for each in TRAINED)
        return waited_for if self._offer(Work(assets, due.reason, (), due, after, (state,))) else None

    def _unwatched(self, declared: DeclaredLine, days: Sequence[dt.date], through: Through) -> dict[str, list[dt.date]]:
        """Monitors that may start a training -> the days at whose close they will be known to have looked, where they have not yet."""
        line, known = declared.line, self.known
        first, horizon = known.first_trained(line.name), line.horizon_days * DAY
        known_at = {"drift": 0 * DAY, "performance": horizon}
        if first is None or not {*known_at} & {*line.retrain.on}:
            return {}
        scored, lacking, read_of = [day for day in days if day > first], set[dt.date](), _needed(declared)
        to_come = {f"{line.name}/{table}": self.unsettled[f"{line.name}/{table}"] for table in ("examples", "labels")}
        for table in (*(each for each in ANSWERED if each in read_of), *known_at):
            name = f"{line.name}/{table}"
            asset, recorded = known.asset(name), known.recorded(name)
            expected = known.expected(name, scored, self._beside(declared, table, scored, through))
            moved = set[dt.date]().union(*(_touched(to_come.get(read, ()), asset.reads[read]) for read in asset.reads))
            needed = [f"{line.name}/{each}" for each in read_of[table]]
            lacks = {day for day in scored if any(self._lacks(each, day) for each in needed if each in self.days)}
            lacking |= lacks if table == "predictions" else set()
            to_come[name] = {
                day
                for day in scored
                if (day in moved or day not in recorded or recorded[day].stamp != expected[day])
                and day not in lacks | lacking
            }
        found = {
            f"{line.name}/{table}": sorted(day + after for day in to_come[f"{line.name}/{table}"])
            for table, after in known_at.items()
            if table in line.retrain.on
        }
        return {name: of for name, of in found.items() if of}

    def _beside(
        self, declared: DeclaredLine, table: str, days: Sequence[dt.date], through: Through
    ) -> Mapping[dt.date, str] | None:
        """Day -> what a table of scored days depends on beside tables; None where that is nothing."""
        if table in ANSWERED:
            return self.known.champions(declared.line.name, days)
        if table == "estimates":
            return estimates.state(estimates.asked_of(declared.line), days, through.day)
        return label_days.state(days, through.day) if table == "drift" else None

    def _alarms(
        self, declared: DeclaredLine, days: Sequence[dt.date], unwatched: Mapping[str, Sequence[dt.date]]
    ) -> Sequence[Alarm]:
        """What the monitors found since most nodes were trained, up to the first day on which they have not looked yet."""
        first = retraining.trained_upto(self.known.standing(declared.line.name))
        if first is None or not days or not {"drift", "performance"} & {*declared.line.retrain.on}:
            return []
        last = min([days[-1], *(min(of) - DAY for of in unwatched.values())])
        return self.known.alarms(declared, first, last)

    def _undrawn(self, line: str) -> Training | None:
        """The leaderboard that is to be drawn: of a training that died before, or as of the newest decision that none tells."""
        known = self.known
        if left := retraining.undrawn(line, known.standing(line), known.drawn(line)):
            return left
        decided, board = known.decided(line), f"{line}/{TRAINED[-1]}"
        if (
            decided is None
            or any(board in run.assets for run in self.busy)
            or known.decided_on_board(line) == decided[0]
        ):
            return None
        _, day = decided
        return Training(
            line, day, tuple(known.standing(line)), "unfinished", "decisions or tags that no leaderboard tells yet"
        )

    def _boards(self, line: str) -> None:
        """Offer to draw leaderboards again that the lake has lost, but that of the newest training, which is drawn anyway."""
        board, standing = f"{line}/{TRAINED[-1]}", self.known.standing(line)
        newest = max((each.trained_as_of for each in standing.values() if each.trained_as_of), default=None)
        lost = sorted(self.known.lost_trainings(board, line))
        if lost:
            self.notices.append(Notice("damaged", board, "its table is lost or damaged", tuple(lost)))
        for as_of in lost:
            if as_of != newest:
                training = Training(line, as_of, tuple(standing), "unfinished", "its leaderboard is lost")
                states = (digest([board, "lost", str(as_of)]),)
                follows = self.known.newest_event(board)
                self._offer(Work((board,), training.reason, (), training, (), states, follows=follows))

    def _scores(self, line: str) -> None:
        """Offer to make rows of evaluations again that the lake has lost, by models that are there."""
        table, known = f"{line}/evaluation", self.known
        lost = known.lost_scores(line)
        if not lost or any(table in run.assets for run in self.busy):
            return
        why = "its rows are lost or damaged"
        self.notices.append(Notice("damaged", table, why, tuple(sorted(lost))))
        read = [
            name for name in (f"{line}/examples", f"{line}/labels") if known.damaged(name).keys() & self.unsettled[name]
        ]
        after = (*read, *({f"{line}/{TRAINED[0]}"} & {name for work in self.work for name in work.assets}))
        for as_of, nodes in sorted(lost.items()):
            training = Training(line, as_of, tuple(nodes), "lost", f"made again as they were: {why}")
            states = (digest([table, "lost", str(as_of), *nodes]),)
            self._offer(Work((table,), training.reason, (), training, after, states, follows=known.newest_event(table)))

    def _daily(self, daily: Daily) -> None:
        """Offer the days of an asset that are due."""
        name, days = daily.name, daily.days
        asset, recorded = self.known.asset(name), self.known.recorded(name)
        expected = self.known.expected(name, days, daily.extra)
        running = self._running(name, days)
        over = set(days) - running
        damaged = {day: why for day, why in self.known.damaged(name).items() if day in over}
        self._notice_days("damaged", name, damaged)
        reasons = self._reasons(daily, expected, damaged)
        self.days[name], missing = set(days), self.missing.setdefault(name, {})
        for upstream, offset in daily.gates:
            for day in reasons:
                if day not in missing and (lacks := self._lacks(upstream, day + offset * DAY)):
                    missing[day] = lacks
        moving = {read: self._moved(read, asset.reads[read]) for read in asset.reads}
        self._notice_running(name, [day for day in days if day in reasons and day in running])
        due = [day for day in days if day in reasons and day not in missing and day not in running]
        touched = set[dt.date]().union(*moving.values()) & set(days)
        self.unsettled[name] = running | touched | set(due)
        for stretch in ranges(due):
            for part, after in _alike(stretch, lambda day: _after(day, moving, daily.waits_for)):
                before = [recorded[day] for day in part if day in recorded]
                state = digest([name, *(f"{day}:{expected[day]}" for day in part), *(each.stamp for each in before)])
                work = Work(
                    (name,),
                    reasons_in_words([reasons[day] for day in part]),
                    tuple(part),
                    after=after,
                    states=(state,),
                    new=all(reasons[day] == "new" for day in part),
                    follows=max((each.number for each in before), default=0),
                    span=asset.span,
                )
                if not self._offer(work):
                    self.unsettled[name] -= set(part) - touched
                    missing |= {day: _Missing(f"{name} {day} failed") for day in part}

    def _reasons(
        self, daily: Daily, expected: Mapping[dt.date, str], damaged: Mapping[dt.date, str]
    ) -> dict[dt.date, str]:
        """Day -> why it is to be made, of the days that are. expected: day -> the stamp that it would be made with now."""
        name, check = daily.name, daily.check
        asset, recorded, unchecked = self.known.asset(name), self.known.recorded(name), self.known.unchecked(name)
        judged = self.known.judged(name) if check is not None else {}
        reasons: dict[dt.date, str] = {}
        for day in daily.days:
            if day not in recorded:
                reasons[day] = "new"
            elif recorded[day].stamp != expected[day]:
                differing = changed(asset, recorded[day].stamp, expected[day], daily.beside)
                reasons[day] = f"changed: {', '.join(differing)}"
            elif day in damaged:
                reasons[day] = "lost or damaged in the lake"
            elif check is not None and (
                day not in judged or judged[day].stands_on != judgement(recorded[day].stamp, check)
            ):
                reasons[day] = "without a verdict of its checks"
            elif day in unchecked:
                reasons[day] = "its run ended before its checks"
        return reasons

    def _lacks(self, name: str, day: dt.date) -> _Missing | None:
        """Why a day of an asset is not there to build on; None where it is, or is about to be, or the asset has no such day."""
        if missing := self.missing[name].get(day):
            return missing
        if day in self.unsettled[name] or day not in self.days[name] or day in self.known.recorded(name):
            return None
        return _Missing(f"{name} has no {day}")

    def _moved(self, read: str, window: tuple[int, int]) -> set[dt.date]:
        """Days whose window on an asset holds a day that is about to change."""
        return _touched(self.unsettled.get(read, ()), window)

    def _about_to_change(self, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(name for name in names if self.unsettled.get(name))

    def _running(self, name: str, days: Sequence[dt.date]) -> set[dt.date]:
        running = set[dt.date]()
        for run in self.busy:
            if name in run.assets:
                running |= set(days) if run.days is None else run.days & set(days)
        return running

    def _notice_days(self, kind: Kind, name: str, reasons: Mapping[dt.date, str]) -> None:
        """Days with the same reason in one notice."""
        alike: dict[str, list[dt.date]] = {}
        for day, why in sorted(reasons.items()):
            alike.setdefault(why, []).append(day)
        for why, days in alike.items():
            self.notices.append(Notice(kind, name, why, tuple(days)))

    def _notice_running(self, name: str, days: Sequence[dt.date]) -> None:
        """A run whose process is gone looks like one that makes them: a person must see what is waited for."""
        for run in self.busy:
            if name in run.assets and (made := [day for day in days if run.days is None or day in run.days]):
                self.notices.append(Notice("waiting", name, f"run {run.run_id} is making them now", tuple(made)))

    def _blocked(self, name: str, days: Sequence[dt.date], accepted: Collection[str] = ()) -> dict[dt.date, str]:
        """Day -> why it may not be built on, by the newest verdict on it; every plan says so until the day passes."""
        wanted, blocked = set(days), dict[dt.date, str]()
        for day, verdict in self.known.judged(name).items():
            reasons = {rule: each for rule, each in verdict.reasons.items() if rule not in accepted}
            if day in wanted and reasons and day not in self.unsettled[name]:
                checks: dict[str, list[str]] = {}
                for each in reasons.values():
                    checks.setdefault(each.check, []).append(each.message)
                blocked[day] = "; ".join(
                    f"{check} blocks the day: {'; '.join(messages)}" for check, messages in checks.items()
                )
        self._notice_days("blocked", name, blocked)
        return blocked

    def _offer(self, work: Work) -> bool:
        """Add work to the plan, unless it was tried on the same and failed: then say so."""
        why = next(filter(None, map(self.known.tried, work.states)), None)
        if not work.after and why:
            self.notices.append(Notice("failed", work.assets[0], why, work.days))
            return False
        self.work.append(work)
        return True


def _touched(days: Collection[dt.date], window: tuple[int, int]) -> set[dt.date]:
    """Days whose window on an asset holds one of these days of it."""
    first, last = window
    touched = set[dt.date]()
    for stretch in ranges(days):
        # A day d reads d+first .. d+last: it sees the stretch from stretch[0]-last to stretch[-1]-first.
        start, end = stretch[0] - last * DAY, min(stretch[-1].toordinal() - first, dt.date.max.toordinal())
        touched.update(
            dt.date.fromordinal(each) for each in range(start.toordinal(), min(end, start.toordinal() + 4000) + 1)
        )
    return touched


def _after(
    day: dt.date, moving: Mapping[str, set[dt.date]], waits_for: Mapping[dt.date, str] | None
) -> tuple[str, ...]:
    """Assets whose work comes before that on a day. moving: asset -> days whose rows of it are about to change."""
    names = [name for name, days in moving.items() if day in days]
    if waits_for and day in waits_for:
        names.append(waits_for[day])
    return tuple(names)


def _alike(
    days: Sequence[dt.date], key: Callable[[dt.date], tuple[str, ...]]
) -> Iterable[tuple[list[dt.date], tuple[str, ...]]]:
    """The days in order, in stretches of the same key."""
    part: list[dt.date] = []
    for day in days:
        if part and key(day) != key(part[-1]):
            yield part, key(part[-1])
            part = []
        part.append(day)
    if part:
        yield part, key(part[-1])
