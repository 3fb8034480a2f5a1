"""What has to be made, of which days or nodes, why, and after what? The plan of work, from what is known at a moment.

A day of an asset is due when the stamp that it was made with is not the one that it would get now. It is ready when nothing
that it reads is about to change. It is not due before every stream that it reads has closed the day, nor behind a failed
blocking check; then the plan says what it waits for. A training is due by `retraining`, ready when the examples and labels of
its days are in, and predictions follow it.

Nothing is started here. Whoever carries out what is ready and asks again, until nothing is, reaches the same tables.
"""

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from factory_assets.declarations.base import format_duration
from factory_assets.declarations.catalogue import Catalogue
from factory_assets.declarations.days import DAY, ranges
from factory_assets.declarations.declared import DeclaredLine, DeclaredStream
from factory_assets.declarations.view import View
from factory_assets.events import sources
from factory_assets.features.examples import labels as label_rows
from factory_assets.features.examples import leaks
from factory_assets.features.examples import rows as examples
from factory_assets.features.examples.labels import Through
from factory_assets.governor import retraining
from factory_assets.governor.retraining import NotDue, Trained, Training
from factory_assets.identity.inputs import Asset, Recorded, changed, digest, judgement, of_declaration
from factory_assets.training.timeline import timeline
from factory_resources.verdicts import Judged

#: Assets of a training, in order; the board is drawn after each.
TRAINED = ("model", "evaluation", "champion", "leaderboard")
#: Assets of days that follow from who is champion.
SCORED = ("predictions", "performance", "drift")
Kind = Literal["blocked", "waiting", "failed", "idle"]


@dataclass(frozen=True)
class Work:
    """One run: assets, the days or the training that it makes, and why.

    after: assets whose work comes first; with none, it is ready. states: a hash an asset, or a training, of what it would be made
    from now: while it is the same, what failed would fail again. new: whether its days were never made. follows: number of the
    newest event about what it makes anew.
    """

    assets: tuple[str, ...]
    reason: str
    days: tuple[dt.date, ...] = ()
    training: Training | None = None
    after: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    new: bool = False
    follows: int = 0

    @property
    def what(self) -> str:
        """The work in short, for people."""
        if self.training:
            return f"{self.training.line} as of {self.training.as_of}, {len(self.training.nodes)} nodes"
        return ", ".join(self.assets) + (f", {len(self.days)} days" if self.days else "")


@dataclass(frozen=True)
class Notice:
    """Why something is not made. blocked: until somebody decides or mends; waiting: until something comes; failed: a run that
    was tried on what is there now; idle: nothing calls for it."""

    kind: Kind
    asset: str
    told: str
    days: tuple[dt.date, ...] = ()

    def __str__(self) -> str:
        return f"{self.asset}{f' {span(self.days)}' if self.days else ''}: {self.told}"


@dataclass(frozen=True)
class Plan:
    """Work in the order of the line, and what is not made, with the reasons."""

    work: list[Work] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)

    @property
    def ready(self) -> list[Work]:
        return [work for work in self.work if not work.after]

    @property
    def next(self) -> list[Work]:
        """What is ready, without scoring what a training that is due would score anew: a backlog is scored in one range."""
        lines = {work.training.line for work in self.work if work.training}
        scoring = {f"{line}/{name}" for line in lines for name in SCORED}
        return [work for work in self.ready if not scoring & {*work.assets}]

    def told(self, *kinds: Kind) -> list[Notice]:
        return [notice for notice in self.notices if notice.kind in kinds]


@dataclass(frozen=True)
class Running:
    """A run that is at it. days: None where they are not known, or the asset has none."""

    run_id: str
    assets: frozenset[str]
    days: frozenset[dt.date] | None = None


class Known(Protocol):
    """What the plan is made from: declarations, and what event log, lake, ledger and sources say at a moment."""

    catalogue: Catalogue
    now: dt.datetime
    until: dt.date | None
    #: Lines whose trainings are carried out: the others' predictions do not wait for one.
    trains: Collection[str]

    def asset(self, name: str) -> Asset: ...

    def recorded(self, name: str) -> Mapping[dt.date, Recorded]: ...

    def expected(
        self, name: str, days: Sequence[dt.date], extra: Mapping[dt.date, str] | None
    ) -> Mapping[dt.date, str]:
        """Day -> the stamp that it would be made with now. extra: what a day depends on beside tables."""
        ...

    def judged(self, name: str) -> Mapping[dt.date, Judged]: ...

    def unchecked(self, name: str) -> Collection[dt.date]:
        """Days that the asset's newest run made, if it died before its checks."""
        ...

    def accepted(self, stream: str) -> Mapping[str, set[dt.date]]: ...

    def looked_at(self, declared: DeclaredStream, days: Sequence[dt.date]) -> Sequence[dt.date]:
        """Those of the days whose source is asked now."""
        ...

    def source(self, declared: DeclaredStream, days: Sequence[dt.date]) -> Mapping[dt.date, str]:
        """Day -> fingerprint of what its source holds. Raises SourceError."""
        ...

    def through(self, declared: DeclaredLine) -> Through: ...

    def standing(self, line: str) -> Mapping[str, Trained]: ...

    def drawn(self, line: str) -> Collection[dt.date]:
        """Days of trainings of which there is a leaderboard."""
        ...

    def first_trained(self, line: str) -> dt.date | None: ...

    def nodes(self, line: str) -> Collection[str]: ...

    def seen(self, line: str, until: dt.date) -> Sequence[str]: ...

    def without_room(self, declared: DeclaredLine, as_of: dt.date) -> str | None: ...

    def contract(self, declared: DeclaredLine) -> str: ...

    def champions(self, line: str, days: Sequence[dt.date]) -> Mapping[dt.date, str]: ...

    def export_state(self, view: View) -> str | None:
        """A hash of the export that is due; None where the store holds the newest features, or there are none."""
        ...

    def running(self) -> Sequence[Running]: ...

    def tried(self, state: str) -> str | None:
        """Why work of this state is not tried again; None where it may be."""
        ...


def plan(known: Known) -> Plan:
    """All the work of a deployment."""
    return _Planner(known).plan()


def plan_of_stream(known: Known, stream: str, days: Sequence[dt.date]) -> Plan:
    """The work on these days of a stream alone: raw, events and statistics."""
    planner = _Planner(known)
    planner.stream(known.catalogue.streams[stream], days)
    return planner.finished()


def plan_of_line(known: Known, line: str) -> Plan:
    """The work on a line, and on the streams and views that it stands on."""
    planner, catalogue = _Planner(known), known.catalogue
    declared = catalogue.resolve(catalogue.lines[line])
    for name in declared.stands_on:
        planner.stream(catalogue.streams[name], days_until(catalogue.streams[name], known))
    for view in declared.views.values():
        planner.view(view)
    planner.line(declared)
    return planner.finished()


def days_until(stream: DeclaredStream, known: Known) -> list[dt.date]:
    """Days of a stream that are over."""
    last = min(day for day in (stream.stream.end, known.until, known.now.date() - DAY) if day is not None)
    return [stream.stream.start + offset * DAY for offset in range((last - stream.stream.start).days + 1)]


@dataclass(frozen=True)
class _Missing:
    """Why a day of an asset is not there to build on. holds: whether it may still come by itself."""

    why: str
    holds: bool = False


class _Planner:
    """Goes down the line once. Of each asset it keeps which days are about to change, and which are not there."""

    def __init__(self, known: Known):
        self.known = known
        self.work: list[Work] = []
        self.notices: list[Notice] = []
        self.unsettled: dict[str, set[dt.date]] = {}
        self.missing: dict[str, dict[dt.date, _Missing]] = {}
        self.leaking: dict[str, dict[dt.date, str]] = {}
        self.days: dict[str, set[dt.date]] = {}
        self.busy = list(known.running())

    def plan(self) -> Plan:
        catalogue, known = self.known.catalogue, self.known
        for stream in catalogue.streams.values():
            self.stream(stream, days_until(stream, known))
        for view in catalogue.views.values():
            self.view(view)
            self.served(view)
        for line in catalogue.lines.values():
            self.line(catalogue.resolve(line))
        return self.finished()

    def finished(self) -> Plan:
        return Plan(grouped(self.work, self.unsettled), self.notices)

    def stream(self, declared: DeclaredStream, days: Sequence[dt.date]) -> None:
        name = declared.stream.name
        raw, events = f"{name}/raw", f"{name}/events"
        accepted = self.known.accepted(name)
        self.missing[raw] = {}
        looked, state = self._source(declared, days)
        held = self.known.recorded(raw)
        awaited = [day for day in looked if day not in held and self._awaited(declared, day, state[day])]
        self.missing[raw] |= {day: _Missing(f"{name}: nothing has come for {day} yet", holds=True) for day in awaited}
        if awaited:
            grace = format_duration(declared.stream.grace)
            why = f"nothing has come yet; a day's file is waited for until {grace} after its close"
            self.notices.append(Notice("waiting", raw, why, tuple(awaited)))
        self._daily(raw, [day for day in looked if day not in self.missing[raw]], state, "its source", check="")
        self.days[raw] = set(days)
        # A run is at days, too, whose source was not asked.
        self.unsettled[raw] |= self._running(raw, days)
        blocked = self._blocked(raw, days, set(accepted))
        state = {day: "|".join(sorted(rule for rule, of in accepted.items() if day in of)) for day in days}
        self._daily(events, days, state, "what was accepted of its issues", gates=[(raw, 0)])
        stands = self.known.recorded(events)
        for day, why in blocked.items():
            # What was served before goes on being served.
            if day not in stands or not stands[day].served:
                self.missing[events][day] = _Missing(why)
        self._daily(f"{name}/statistics", days, gates=[(events, 0)])

    def _source(
        self, declared: DeclaredStream, days: Sequence[dt.date]
    ) -> tuple[Sequence[dt.date], Mapping[dt.date, str]]:
        try:
            # Days that a run read, and died before it judged them, are not built on, wherever one looks.
            unjudged = self._unjudged(f"{declared.stream.name}/raw", days)
            looked = sorted({*self.known.looked_at(declared, days), *unjudged})
            return looked, self.known.source(declared, looked)
        except sources.SourceError as error:
            self.notices.append(Notice("failed", declared.stream.name, str(error)))
            raw = self.known.asset(f"{declared.stream.name}/raw")
            held, why = self.known.recorded(raw.name), f"{declared.stream.name} cannot be read"
            read = {day for day, each in held.items() if of_declaration(raw, each.stamp)} - unjudged
            self.missing[raw.name] = {day: _Missing(why) for day in days if day not in read}
            return [], {}

    def _unjudged(self, raw: str, days: Sequence[dt.date]) -> set[dt.date]:
        held, judged = self.known.recorded(raw), self.known.judged(raw)
        stands_on = {day: judged[day].stands_on if day in judged else "" for day in days if day in held}
        return {day for day, on in stands_on.items() if on != judgement(held[day].stamp)}

    def _awaited(self, declared: DeclaredStream, day: dt.date, state: str) -> bool:
        if state != sources.ABSENT or not sources.expects_a_file(declared.stream) or declared.contract.is_quiet(day):
            return False
        closed = dt.datetime.combine(day + DAY, dt.time(), dt.UTC)
        return self.known.now < closed + declared.stream.grace

    def view(self, view: View) -> None:
        stream, name = self.known.catalogue.streams[view.stream], f"features/{view.name}"
        self._daily(name, days_until(stream, self.known), gates=[(f"{view.stream}/events", 0)])

    def served(self, view: View) -> None:
        if view.serve is None:
            return
        served, after = f"serving/{view.name}", self._about_to_change([f"features/{view.name}"])
        state = self.known.export_state(view)
        if state is not None or after:
            states = (digest([served, state]),) if state else ()
            self._offer(Work((served,), "the newest features are not in the store", after=after, states=states))

    def line(self, declared: DeclaredLine) -> None:
        line, known = declared.line, self.known
        name = {
            table: f"{line.name}/{table}" for table in ("examples", "labels", "predictions", "performance", "drift")
        }
        days = days_until(declared.observed, known)
        fresh = {view.name for view in examples.fresh_views(declared)}
        read = [(f"{stream}/events", 0) for stream in examples.lookback(declared)]
        read += [
            (f"features/{view}", 0 if view in fresh else examples.snapshot_offset(declared)) for view in declared.views
        ]
        self._daily(name["examples"], days, gates=read, check=leaks.version(declared))
        leaking = self.leaking[line.name] = self._blocked(name["examples"], days)
        self.missing[name["examples"]] |= {day: _Missing(why) for day, why in leaking.items()}

        through = known.through(declared)
        state = label_rows.state(declared, days, through)
        of_labels = [(f"{stream}/events", 0) for stream in label_rows.lookaround(declared)]
        self._daily(name["labels"], days, state, "what is known of them", gates=of_labels)

        training = self._training(declared, days, through)
        first = known.first_trained(line.name)
        scored = [day for day in days if first is not None and day > first]
        if scored:
            # A training as of a day decides who answers after it.
            waits = [day for day in scored if training and day > training.as_of]
            self._daily(
                name["predictions"], scored, known.champions(line.name, scored), "the champions before it",
                gates=[(name["examples"], 0)], held_by=dict.fromkeys(waits, f"{line.name}/{TRAINED[0]}"),
            )  # fmt: skip
            self._daily(name["performance"], scored, gates=[(name["predictions"], 0), (name["labels"], 0)])
            self._daily(name["drift"], scored, gates=[(name["predictions"], 0), (name["examples"], 0)])

    def _training(self, declared: DeclaredLine, days: Sequence[dt.date], through: Through) -> Training | None:
        """Offer the training that is due; the training that predictions wait for, if there is one."""
        line, known = declared.line, self.known
        model, tables = f"{line.name}/{TRAINED[0]}", [f"{line.name}/examples", f"{line.name}/labels"]
        if busy := next((run for run in self.busy if model in run.assets), None):
            self.notices.append(Notice("waiting", model, f"run {busy.run_id} is training it now"))
            return Training(line.name, dt.date.min, (), "unfinished", "")
        there = [set(known.recorded(table)) | self.unsettled[table] for table in tables]
        missing = (self.missing[tables[0]].keys() - self.leaking[line.name].keys()) | self.missing[tables[1]].keys()
        whole = there[0] & there[1] - missing
        complete = [day for day in days if day in whole and label_rows.complete(declared, day, through)]
        found = retraining.due(
            declared, complete, known.standing(line.name), lambda until: known.seen(line.name, until),
            known.nodes(line.name), known.contract(declared),
        )  # fmt: skip
        finishing = isinstance(found, Training) and found.trigger == "unfinished"
        if not finishing and (left := retraining.undrawn(line.name, known.standing(line.name), known.drawn(line.name))):
            # What was decided stands: it may have been approved, or rolled back, since.
            board = f"{line.name}/{TRAINED[-1]}"
            self._offer(Work((board,), left.reason, (), left, (), (digest([board, str(left.as_of), *left.nodes]),)))
        if isinstance(found, NotDue):
            self.notices.append(Notice("idle", model, found.reason))
            return None
        waiting = found if line.name in known.trains else None
        span = timeline(declared, found.as_of)
        needed = [day for day in days if span.train_from <= day <= span.holdout_to]
        if leak := next((why for day, why in sorted(self.leaking[line.name].items()) if day in needed), None):
            self.notices.append(Notice("blocked", model, f"not trained as of {found.as_of}: {leak}"))
            return None
        held = [each for day in needed for table in tables if (each := self.missing[table].get(day)) and each.holds]
        if held:
            self.notices.append(Notice("waiting", model, f"to be trained as of {found.as_of}; {held[0].why}"))
            return waiting
        if refused := known.without_room(declared, found.as_of):
            self.notices.append(Notice("blocked", model, refused))
            return None
        after = tuple(table for table in tables if any(day <= found.as_of for day in self.unsettled[table]))
        read = [known.recorded(table)[day].data for table in tables for day in needed if day in known.recorded(table)]
        state = digest([line.name, str(found.as_of), found.trigger, known.contract(declared), *found.nodes, *read])
        assets = tuple(f"{line.name}/{each}" for each in TRAINED)
        return waiting if self._offer(Work(assets, found.reason, (), found, after, (state,))) else None

    def _daily(
        self,
        name: str,
        days: Sequence[dt.date],
        extra: Mapping[dt.date, str] | None = None,
        beside: str = "",
        gates: Iterable[tuple[str, int]] = (),
        check: str | None = None,
        held_by: Mapping[dt.date, str] | None = None,
    ) -> None:
        """Offer the days of an asset that are due.

        extra, beside: what its days depend on beside tables, and what that is. gates: assets, and how many days from its own one
        a day of theirs has to be there. check: the declaration of its blocking check beside its own; None where it has none.
        held_by: days that wait for the work on another asset.
        """
        asset, held = self.known.asset(name), self.known.recorded(name)
        expected = self.known.expected(name, days, extra)
        judged = self.known.judged(name) if check is not None else {}
        unchecked = self.known.unchecked(name)
        reasons: dict[dt.date, str] = {}
        for day in days:
            if day not in held:
                reasons[day] = "new"
            elif held[day].stamp != expected[day]:
                reasons[day] = "changed: " + ", ".join(changed(asset, held[day].stamp, expected[day], beside))
            elif check is not None and (
                day not in judged or judged[day].stands_on != judgement(held[day].stamp, check)
            ):
                reasons[day] = "without a verdict of its checks"
            elif day in unchecked:
                reasons[day] = "its run ended before its checks"
        self.days[name], missing = set(days), self.missing.setdefault(name, {})
        for upstream, offset in gates:
            for day in reasons:
                if day not in missing and (lacks := self._lacks(upstream, day + offset * DAY)):
                    missing[day] = lacks
        moving = {read: self._moved(read, asset.reads[read]) for read in asset.reads}
        running = self._running(name, days)
        self._tell_running(name, [day for day in days if day in reasons and day in running])
        due = [day for day in days if day in reasons and day not in missing and day not in running]
        touched = set[dt.date]().union(*moving.values()) & set(days)
        self.unsettled[name] = running | touched | set(due)
        for stretch in ranges(due):
            for part, after in _alike(stretch, lambda day: self._after(day, moving, held_by)):
                new = all(reasons[day] == "new" for day in part)
                before = [held[day] for day in part if day in held]
                state = digest([name, *(f"{day}:{expected[day]}" for day in part), *(each.stamp for each in before)])
                follows = max((each.number for each in before), default=0)
                why = told([reasons[day] for day in part])
                work = Work((name,), why, tuple(part), None, after, (state,), new, follows)
                if not self._offer(work):
                    self.unsettled[name] -= set(part) - touched
                    missing |= {day: _Missing(f"{name} {day} failed") for day in part}

    def _lacks(self, name: str, day: dt.date) -> _Missing | None:
        """Why a day of an asset is not there to build on; None where it is, or is about to be, or the asset has no such day."""
        if found := self.missing[name].get(day):
            return found
        if day in self.unsettled[name] or day not in self.days[name] or day in self.known.recorded(name):
            return None
        return _Missing(f"{name} has no {day}")

    def _moved(self, read: str, window: tuple[int, int]) -> set[dt.date]:
        """Days whose window on an asset holds a day that is about to change."""
        first, last = window
        found = set[dt.date]()
        for stretch in ranges(self.unsettled.get(read, ())):
            # A day d reads d+first .. d+last: it sees the stretch from stretch[0]-last to stretch[-1]-first.
            start, end = stretch[0] - last * DAY, min(stretch[-1].toordinal() - first, dt.date.max.toordinal())
            found.update(
                dt.date.fromordinal(each) for each in range(start.toordinal(), min(end, start.toordinal() + 4000) + 1)
            )
        return found

    def _after(
        self, day: dt.date, moving: Mapping[str, set[dt.date]], held_by: Mapping[dt.date, str] | None
    ) -> tuple[str, ...]:
        names = [name for name, days in moving.items() if day in days]
        if held_by and day in held_by:
            names.append(held_by[day])
        return tuple(names)

    def _about_to_change(self, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(name for name in names if self.unsettled.get(name))

    def _running(self, name: str, days: Sequence[dt.date]) -> set[dt.date]:
        found = set[dt.date]()
        for run in self.busy:
            if name in run.assets:
                found |= set(days) if run.days is None else run.days & set(days)
        return found

    def _tell_running(self, name: str, days: Sequence[dt.date]) -> None:
        """A run whose process is gone looks like one that is at it: a person must see what is waited for."""
        for run in self.busy:
            if name in run.assets and (own := [day for day in days if run.days is None or day in run.days]):
                self.notices.append(Notice("waiting", name, f"run {run.run_id} is making them now", tuple(own)))

    def _blocked(self, name: str, days: Sequence[dt.date], accepted: Collection[str] = ()) -> dict[dt.date, str]:
        """Day -> why it may not be built on, by the newest verdict on it; told by every plan until it passes."""
        wanted, found = set(days), dict[dt.date, str]()
        for day, verdict in self.known.judged(name).items():
            reasons = {rule: each for rule, each in verdict.reasons.items() if rule not in accepted}
            if day in wanted and reasons and day not in self.unsettled[name]:
                checks: dict[str, list[str]] = {}
                for each in reasons.values():
                    checks.setdefault(each.check, []).append(each.told)
                found[day] = "; ".join(f"{check} blocks the day: {'; '.join(told)}" for check, told in checks.items())
        alike: dict[str, list[dt.date]] = {}
        for day, why in sorted(found.items()):
            alike.setdefault(why, []).append(day)
        for why, same in alike.items():
            self.notices.append(Notice("blocked", name, why, tuple(same)))
        return found

    def _offer(self, work: Work) -> bool:
        """Add work to the plan, unless it was tried on the same and failed: then say so."""
        why = next(filter(None, map(self.known.tried, work.states)), None)
        if not work.after and why:
            self.notices.append(Notice("failed", work.assets[0], why, work.days))
            return False
        self.work.append(work)
        return True


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


def grouped(work: Sequence[Work], unsettled: Mapping[str, set[dt.date]]) -> list[Work]:
    """Work on the same days in one run, where nothing decides in between what goes on.

    A range's bad days are held back by verdicts that the plan reads, so a range waits for them; of a single day the run itself
    stops at a failed check.
    """
    found: list[Work] = []
    for each in work:
        place = next((at for at, other in enumerate(found) if _together(other, each, unsettled)), None)
        if place is None:
            found.append(each)
        else:
            first = found[place]
            reasons = (
                first.reason if first.reason == each.reason else f"{first.reason}; {each.assets[0]}: {each.reason}"
            )
            found[place] = replace(
                first, assets=first.assets + each.assets, reason=reasons, states=first.states + each.states,
                new=first.new and each.new, follows=max(first.follows, each.follows),
            )  # fmt: skip
    return found


def _together(first: Work, second: Work, unsettled: Mapping[str, set[dt.date]]) -> bool:
    if first.days != second.days or not first.days or first.after:
        return False
    if not second.after:
        return not any(_checked(asset) for asset in (*first.assets, *second.assets)) or len(first.days) == 1
    if not (first.new and second.new):
        return False
    inside = set(second.after) <= set(first.assets)
    settled_else = all(unsettled.get(name, set()) <= set(first.days) for name in second.after)
    return inside and settled_else and (len(first.days) == 1 or not any(map(_gated, second.after)))


def _checked(asset: str) -> bool:
    return asset.endswith(("/raw", "/examples"))


def _gated(asset: str) -> bool:
    """Whether what stands on the asset is held back day by day: by its checks, or as a day that serves nothing."""
    return asset.endswith(("/raw", "/events", "/examples"))


def told(reasons: Sequence[str]) -> str:
    """Reasons of days in words, with how many days have each."""
    counts: dict[str, int] = {}
    for reason in reasons:
        counts[reason] = counts.get(reason, 0) + 1
    return ", ".join(reason if len(reasons) == 1 else f"{count} {reason}" for reason, count in counts.items())


def span(days: Sequence[dt.date]) -> str:
    """Days in words."""
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]} to {part[-1]}" for part in ranges(days))
