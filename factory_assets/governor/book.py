"""What is known at a moment? The plan's questions, answered from Dagster's event log, the lake, the ledger and the sources.

What was read or worked out before is kept as long as what it was made from is the same; that is asked anew by every plan: the
event log by its marks, tables by their versions, the ledger and the book of issues, which only grow, by how far they have.
"""

import datetime as dt
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import dagster as dg

from factory_assets.declarations.catalogue import Catalogue
from factory_assets.declarations.days import DAY
from factory_assets.declarations.declared import DeclaredLine, DeclaredStream
from factory_assets.declarations.view import View
from factory_assets.events import moved, sources
from factory_assets.events.contract.verdicts import CONTRACT
from factory_assets.features.examples import labels as label_rows
from factory_assets.features.examples.leaks import NO_LEAK
from factory_assets.features.examples.rows import keys_in_reach, keys_seen
from factory_assets.governor import memo
from factory_assets.governor.retraining import Trained
from factory_assets.governor.runs import days_of_run, open_runs
from factory_assets.governor.work import FLEET, PAGE, TRAINED, Running
from factory_assets.identity.damage import beside, damaged, damaged_beside
from factory_assets.identity.inputs import Asset, Recorded, digest, stamps
from factory_assets.identity.nodes import admitted, preorder, tree
from factory_assets.identity.partitions import segment_partitions, without_room
from factory_assets.identity.versions import contract_hash
from factory_assets.materialization import (
    INPUTS,
    TABLE_VERSION,
    Noted,
    day_of,
    described,
    materializations,
    newest_events,
    newest_of,
    newest_versions,
    noted_since,
    recorded,
    recorded_before,
    recorded_of_all,
    table_versions,
)
from factory_assets.measures.compared import metric_of
from factory_assets.monitoring.episodes import Alarm, of_drift, of_losses
from factory_assets.monitoring.performance.losses import losses, window
from factory_assets.release.resolver import state_of
from factory_assets.scoring.champions import champion_state, champions_of_days
from factory_assets.serving.due import export_due, export_state, serving_key
from factory_resources import clock
from factory_resources.archive_folder import ArchiveFolder
from factory_resources.dagster_private.reading import marks, name_of, newest_checks
from factory_resources.engine import Engine
from factory_resources.lake import Held, Lake
from factory_resources.ledger import Ledger
from factory_resources.records.decisions import UNDECIDED, Standing
from factory_resources.records.issues import Issues
from factory_resources.records.verdicts import Judged, Verdicts

T = TypeVar("T")
#: Newest events among which one is looked for that tells the version of its table: those of days held back tell none.
NEWEST = 20
#: Assets whose tables a line's page shows.
ON_PAGE = ("monitors", "performance", "estimates", "evaluation", "leaderboard", "decay")
#: Which days' sources are asked: (stream, its days that are over, what is recorded of its raw asset, that asset) -> days.
Look = Callable[[DeclaredStream, Sequence[dt.date], Mapping[dt.date, Recorded], Asset], Sequence[dt.date]]
#: (Instance, asset) -> the event log's mark when it was read, and what was recorded of the asset's days then.
_days_recorded: dict[tuple[str, str], tuple[object, dict[dt.date, Recorded]]] = {}


@dataclass(frozen=True)
class Stores:
    """Where a deployment keeps tables, versions, issues, verdicts and models, and an engine to read tables by."""

    lake: Lake
    engine: Engine
    ledger: Ledger
    issues: Issues
    verdicts: Verdicts
    archive: ArchiveFolder


@dataclass
class Book:
    """Implements `known.Known`. After something was made, call `forget`."""

    catalogue: Catalogue
    specs: Mapping[dg.AssetKey, dg.AssetSpec]
    #: Asset -> its checks.
    checks: Mapping[dg.AssetKey, Collection[dg.AssetCheckKey]]
    instance: dg.DagsterInstance
    stores: Stores
    until: dt.date | None = None
    trains: Collection[str] = ()
    #: Days whose source is asked, of those that are over; all of them if absent.
    look: Look | None = None
    #: Whether a ledger that has lost its versions is to be filled anew.
    new_ledger: bool = False
    now: dt.datetime = field(default_factory=clock.now)
    #: State of work -> why it is not tried again.
    given_up: dict[str, str] = field(default_factory=dict)
    #: State of work -> how often it was tried in vain.
    tries: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._storage = name_of(self.instance)
        self._assets: dict[str, Asset] = {}
        self._recorded: dict[str, dict[dt.date, Recorded]] = {}
        self._judged: dict[str, Mapping[dt.date, Judged]] = {}
        self._damaged: dict[str, Mapping[dt.date, str]] = {}
        self._versions: dict[str, int | None] = {}
        self._sources: dict[str, dict[dt.date, str]] = {}
        self._not_evaluated: dict[dg.AssetCheckKey, str] | None = None
        self._marks: dict[dg.AssetKey, object] = {}
        self._of_lines: dict[str, object] = {}
        self._at_first: dict[dg.AssetKey, dict[dt.date, Recorded]] | None = None
        self._newest_versions: dict[dg.AssetKey, tuple[int, int]] | None = None

    def forget(self, assets: Iterable[str], days: Collection[dt.date] = ()) -> None:
        """Ask again what is recorded of these assets, and what the sources hold of these days."""
        self._not_evaluated = self._newest_versions = None
        self._of_lines.clear()
        for name in assets:
            self._marks.pop(_key(name), None)
            self._recorded.pop(name, None)
            if self._at_first:
                self._at_first.pop(_key(name), None)
            self._judged.pop(name, None)
            self._damaged.pop(name, None)
            self._versions.pop(name, None)
            stream = name.removesuffix("/raw")
            for day in days if stream in self._sources else ():
                self._sources[stream].pop(day, None)

    def asset(self, name: str) -> Asset:
        if name not in self._assets:
            self._assets[name] = described(self.specs[_key(name)])
        return self._assets[name]

    def _mark(self, key: dg.AssetKey) -> object:
        """Of the asset's events. The first time of all assets: a question for each would cost more than the answers."""
        if key not in self._marks:
            self._marks |= marks(self.instance, [key] if self._marks else {key, *self.specs})
        return self._marks[key]

    def recorded(self, name: str) -> Mapping[dt.date, Recorded]:
        if name not in self._recorded:
            key, place = _key(name), (self._storage, name)
            # Before what it marks: what comes in between has another the next time.
            now = self._mark(key)
            before, by_day = _days_recorded.get(place, (None, {}))
            if place not in _days_recorded and (at_first := self._recorded_at_first(key)) is not None:
                by_day = at_first
            elif now is None or now != before:
                newest = newest_events(self.instance, key)
                days = {day: partition for partition in newest if (day := day_of(partition))}
                # An event never changes, so those that were read are not read again.
                same = {day for day, each in by_day.items() if day in days and newest[days[day]] == each.number}
                new = [partition for day, partition in days.items() if day not in same]
                events = recorded(self.instance, key, newest, new)
                by_day = {
                    day: by_day[day] if day in same else events[day] for day in days if day in same or day in events
                }
            _days_recorded[place] = now, by_day
            self._recorded[name] = by_day
        return self._recorded[name]

    def _recorded_at_first(self, key: dg.AssetKey) -> dict[dt.date, Recorded] | None:
        """What is recorded of an asset that was not asked for yet: as marks, it is asked of all; None where that does not tell."""
        if self._at_first is None:
            daily = [
                each.key
                for each in self.specs.values()
                if isinstance(each.partitions_def, dg.TimeWindowPartitionsDefinition)
            ]
            unread = [each for each in daily if (self._storage, each.to_user_string()) not in _days_recorded]
            self._at_first = recorded_of_all(self.instance, unread)
        return self._at_first.pop(key, None)

    def damaged(self, name: str) -> Mapping[dt.date, str]:
        if name not in self._damaged:
            key, events = _key(name), self.recorded(name)
            numbers = sorted((each.number for each in events.values()), reverse=True)

            def newest_version() -> int | None:
                number, version = self._newest_version(key)
                if numbers[:1] == [number]:
                    return version
                for asked in (numbers[:1], numbers[1:NEWEST]):
                    if versions := table_versions(self.instance, key, asked):
                        return max(versions.values())
                return None

            newest = memo.of(("newest version", self._storage, name), events, newest_version)
            found: dict[dt.date, str] = {}
            for table in beside(name):
                found |= damaged_beside(table, events, *self._looked_at(table))
            held, lacking = self._looked_at(name)
            found |= damaged(events, held, lacking, newest, lambda: table_versions(self.instance, key, numbers))
            self._damaged[name] = found
        return self._damaged[name]

    def _newest_version(self, key: dg.AssetKey) -> tuple[int, int]:
        """Number of the asset's newest event and its table's version, zeros where it tells none. As marks, it is asked of all."""
        if self._newest_versions is None:
            self._newest_versions = newest_versions(self.instance, self.specs)
        return self._newest_versions.get(key, (0, 0))

    def _looked_at(self, table: str) -> tuple[Held, Mapping[dt.date, Sequence[str]]]:
        """What a table consists of, and what is wrong with its files now. The log is read again when it has another commit."""
        held = self._held(table)
        return held, self.stores.lake.lacking(table, held)

    def _held(self, table: str) -> Held:
        lake = self.stores.lake
        return memo.of(("held", lake.root, table), lake.log_mark(table), lambda: lake.held(table))

    def lost_models(self, line: str) -> Mapping[dt.date, Mapping[str, str]]:
        archive, ledger = self.stores.archive, self.stores.ledger
        standing = self._standing(line).values()
        needed = {each.champion for each in standing} | {each.version for each in standing if each.verdict == UNDECIDED}
        # A refit meets nobody: the version that was judged stands in for it.
        needed |= self._of_ledger("judged", line, lambda: {*ledger.judged(line, {*filter(None, needed)}).values()})
        lacking = [version for version in needed if version is not None and archive.lacking(line, version)]
        days = {version.as_of for version in ledger.versions(line, ids=lacking)} if lacking else set()
        # What took one model of a training mostly took others of it.
        made = {day: ledger.versions(line, as_of=day, refits=True) for day in days}
        why = {day: {each.node: archive.lacking(line, each.version) for each in of} for day, of in made.items()}
        return {day: {node: reason for node, reason in of.items() if reason} for day, of in why.items()}

    def recorded_before(self, name: str, days: Sequence[dt.date], moment: dt.datetime) -> Mapping[dt.date, Recorded]:
        """Day -> what was recorded of it last before a moment, of these days."""
        return recorded_before(self.instance, _key(name), list(map(str, days)), moment)

    def noted(self, name: str, since: dt.datetime) -> Iterator[Noted]:
        """What the event log has of the nodes of an asset since a moment."""
        return noted_since(self.instance, _key(name), since)

    def lost_trainings(self, name: str, line: str) -> Collection[dt.date]:
        held, lacking = self._looked_at(name)
        is_gone = held.unreadable or (held.version is None and self.newest_event(name))
        return self.stores.ledger.trained_as_of(line) if is_gone else lacking.keys()

    def lost_scores(self, line: str) -> Mapping[dt.date, Sequence[str]]:
        table = f"{line}/evaluation"
        held, lacking = self._looked_at(table)
        is_gone = bool(held.unreadable) or held.version is None
        # An older release wrote no rows: only of those that were written can any be lost.
        if not lacking and not (is_gone and any(TABLE_VERSION in each.metadata for each in self._newest(table))):
            return {}
        found: dict[dt.date, set[str]] = {}
        for event in materializations(self.instance, _key(table)):
            if event.partition and TABLE_VERSION in event.metadata:
                day = dt.date.fromisoformat(str(event.metadata["as_of"].value))
                if is_gone or day in lacking:
                    found.setdefault(day, set()).add(event.partition)
        return {day: preorder(nodes) for day, nodes in found.items()}

    def _newest(self, name: str) -> list[dg.AssetMaterialization]:
        records = self.instance.fetch_materializations(_key(name), limit=NEWEST).records
        return [each.asset_materialization for each in records if each.asset_materialization]

    def newest_event(self, name: str) -> int:
        records = self.instance.fetch_materializations(_key(name), limit=1).records
        return records[0].storage_id if records else 0

    def unknown_versions(self, line: str) -> Sequence[str]:
        if self.new_ledger or self.first_trained(line) is not None:
            return ()
        table, lake = f"{line}/predictions", self.stores.lake
        held, lacking = self._looked_at(table)
        for day in sorted(held.files.keys() - lacking.keys()):
            if named := lake.read(table, day, day, ["version"])["version"].drop_null().unique().to_pylist():
                return sorted(named)
        return ()

    def expected(
        self, name: str, days: Sequence[dt.date], extra: Mapping[dt.date, str] | None
    ) -> Mapping[dt.date, str]:
        asset, beside = self.asset(name), dict(extra or {})
        read = {each: self.recorded(each) for each in asset.reads}

        def made() -> dict[dt.date, str]:
            # An event that somebody reported by hand tells no content: as for the run itself, it is none.
            data = {table: {day: each.data for day, each in of.items() if each.data} for table, of in read.items()}
            return stamps(asset, data, days, beside)

        return memo.of(("expected", self._storage, name), (asset, read, tuple(days), beside), made)

    def judged(self, name: str) -> Mapping[dt.date, Judged]:
        if name not in self._judged:
            self._judged[name] = self.stores.verdicts.newest(name, CONTRACT if name.endswith("/raw") else NO_LEAK)
        return self._judged[name]

    def unchecked(self, name: str) -> Collection[dt.date]:
        """Days of runs that planned a check and ended before it: nobody knows its verdict."""
        key, unchecked = _key(name), set[dt.date]()
        planned_by = {self._planned[check] for check in self.checks.get(key, ()) if check in self._planned}
        for run_id in planned_by - {run.run_id for run in self.running()} if planned_by else ():
            made = self.instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION).records
            events = [record.asset_materialization for record in made]
            unchecked |= {day for each in events if each and each.asset_key == key and (day := day_of(each.partition))}
        return unchecked

    @property
    def _planned(self) -> Mapping[dg.AssetCheckKey, str]:
        """Check -> the run that planned it last, of checks that this run has not evaluated; asked once a plan."""
        if self._not_evaluated is None:
            every = [check for checks in self.checks.values() for check in checks]
            newest = newest_checks(self.instance, every)
            self._not_evaluated = {key: each.run_id for key, each in newest.items() if each.passed is None}
        return self._not_evaluated

    def accepted(self, stream: str) -> Mapping[str, set[dt.date]]:
        place, newest = ("accepted", self.stores.issues.url, stream), self.stores.issues.newest(stream)
        return memo.of(place, newest, lambda: self.stores.issues.accepted(stream))

    def moved(self, declared: DeclaredStream) -> Mapping[dt.date, str]:
        lake, table = self.stores.lake, moved.table_of(declared.stream.name)
        made_from = (declared.stream.reach, lake.log_mark(table))
        return memo.of(("moved", lake.root, table), made_from, lambda: moved.states(lake, declared))

    def looked_at(self, declared: DeclaredStream, days: Sequence[dt.date]) -> Sequence[dt.date]:
        if self.look is None:
            return days
        raw = f"{declared.stream.name}/raw"
        return self.look(declared, days, self.recorded(raw), self.asset(raw))

    def source(self, declared: DeclaredStream, days: Sequence[dt.date]) -> Mapping[dt.date, str]:
        fingerprints = self._sources.setdefault(declared.stream.name, {})
        if new := [day for day in days if day not in fingerprints]:
            fingerprints |= sources.fingerprint(declared.stream, new)
        return fingerprints

    def looked(self, stream: str) -> Mapping[dt.date, str]:
        """Days of a stream whose source was asked, with what it holds."""
        return self._sources.get(stream, {})

    def through(self, declared: DeclaredLine) -> label_rows.Through:
        stream = label_rows.stream_of(declared)
        table = f"{stream}/events"
        made_from = (declared.line, declared.streams[stream].stream, self.recorded(table), self._version(table))
        events = self.recorded(table)

        def made() -> label_rows.Through:
            return label_rows.through(declared, self.stores.lake, {day for day, each in events.items() if each.served})

        return memo.of(("through", self._storage, declared.line.name), made_from, made)

    def _version(self, table: str) -> int | None:
        """The newest version of a table; asked once, until its asset is forgotten."""
        if table not in self._versions:
            self._versions[table] = self._held(table).version
        return self._versions[table]

    def standing(self, line: str) -> Mapping[str, Trained]:
        return self._standing(line)

    def _standing(self, line: str) -> Mapping[str, Standing]:
        return self._of_ledger("standing", line, lambda: self.stores.ledger.standing(line))

    def drawn(self, line: str) -> Collection[dt.date]:
        table = f"{line}/{TRAINED[-1]}"
        held, lacking = self._looked_at(table)
        return [day for day in held.files if day not in lacking]

    def decided(self, line: str) -> tuple[str, dt.date] | None:
        standing = self._standing(line)
        return state_of(standing, self.stores.ledger.tags(line)) if standing else None

    def decided_on_board(self, line: str) -> str | None:
        board = self.instance.get_latest_materialization_event(_key(f"{line}/{TRAINED[-1]}"))
        return (board.asset_materialization.tags or {}).get(INPUTS) if board and board.asset_materialization else None

    def first_trained(self, line: str) -> dt.date | None:
        return self._of_ledger("first trained", line, lambda: self.stores.ledger.first_trained(line))

    def _of_ledger(self, what: str, line: str, ask: Callable[[], T], *beside: object) -> T:
        """An answer of the ledger about a line; the same until something is decided about the line."""
        if line not in self._of_lines:
            self._of_lines[line] = self.stores.ledger.mark(line)
        return memo.of((what, self.stores.ledger.url, line), (self._of_lines[line], beside), ask)

    def nodes(self, line: str) -> Collection[str]:
        return self.instance.get_dynamic_partitions(str(segment_partitions(line).name))

    def seen(self, line: str, until: dt.date) -> Sequence[str]:
        keys = [key for key, first in self._first_seen(line).items() if first <= until]
        partitions = self.nodes(line)
        joined, _ = admitted(tree(keys), partitions, self.catalogue.lines[line].segments.max_nodes)
        there = set(tree(keys))
        return [node for node in [*partitions, *joined] if node in there]

    def _first_seen(self, line: str) -> Mapping[str, dt.date]:
        """Segment key -> the first day that has it."""
        table = f"{line}/examples"

        def made() -> dict[str, dt.date]:
            with self.stores.engine.connect() as con:
                return {key: first for key, (first, _) in keys_seen(con, self.stores.lake, line).items()}

        return memo.of(("first seen", self._storage, line), (self._held(table).version, self.recorded(table)), made)

    def without_room(self, declared: DeclaredLine, as_of: dt.date) -> str | None:
        with self.stores.engine.connect() as con:
            reach = keys_in_reach(con, self.stores.lake, declared, as_of)
        partitions = self.nodes(declared.line.name)
        _, refused = admitted(tree(reach), partitions, declared.line.segments.max_nodes)
        return without_room(declared, refused) if refused else None

    def contract(self, declared: DeclaredLine) -> str:
        return contract_hash(declared)

    def alarms(self, declared: DeclaredLine, first: dt.date, last: dt.date) -> Sequence[Alarm]:
        line, horizon, found = declared.line, declared.line.horizon_days, list[Alarm]()
        if "drift" in line.retrain.on:
            table = f"{line.name}/drift"
            data = {day: each.data for day, each in self.recorded(table).items() if first <= day <= last}
            place, made_from = ("drift", self._storage, table), (first, last, data)
            found += memo.of(place, made_from, lambda: self._drifted(table, first, last)) if data else []
        if "performance" in line.retrain.on:
            table, back = f"{line.name}/performance", 2 * window(line.overlap_days) * DAY
            days = [day for day in self.recorded(table) if first <= day + horizon * DAY <= last]
            data = {day: each.data for day, each in self.recorded(table).items() if days and day >= min(days) - back}
            found += memo.of(
                ("losses", self._storage, table), (line, first, last, data), lambda: self._lost(declared, sorted(days))
            )
        return found

    def _drifted(self, table: str, first: dt.date, last: dt.date) -> list[Alarm]:
        with self.stores.engine.connect() as con:
            self.stores.lake.view(con, "drift", table, first, last, empty_if_absent=True)
            rows = con.sql(
                """SELECT ds, node, "column", part, verdict, reason FROM drift
                   SEMI JOIN (FROM drift WHERE verdict = 'drifted') AS drifted USING (node, "column")"""
            )
            return list(of_drift(rows.to_arrow_table().to_pylist()))

    def _lost(self, declared: DeclaredLine, days: Sequence[dt.date]) -> list[Alarm]:
        if not days:
            return []
        line, metric = declared.line, metric_of(declared)
        columns, back = ["node", "ds", "labelled", metric, f"naive_{metric}"], 2 * window(line.overlap_days) * DAY
        table = f"{line.name}/performance"
        rows = self.stores.lake.read(table, days[0] - back, days[-1], columns, empty_if_absent=True).to_pylist()
        return list(of_losses(losses(metric, rows, days, line.overlap_days), line.horizon_days))

    def champions(self, line: str, days: Sequence[dt.date]) -> Mapping[dt.date, str]:
        def ask() -> Mapping[dt.date, str]:
            return champion_state(champions_of_days(self.stores.ledger, line, days))

        return self._of_ledger("champions", line, ask, tuple(days))

    def export_state(self, view: View) -> str | None:
        spec = self.specs[serving_key(view)]
        if not export_due(self.instance, self.stores.lake, view, spec):
            return None
        event = self.instance.get_latest_materialization_event(spec.key)
        return f"{export_state(self.instance, self.stores.lake, view, spec)}|{event.timestamp if event else ''}"

    def page(self, line: str) -> tuple[str, str | None]:
        content = page_content(self.instance, line, self.asset(f"{line}/{PAGE}").version, self.decided(line))
        return content, self._state_of_page(f"{line}/{PAGE}")

    def fleet(self) -> tuple[str, str | None]:
        return self.asset(FLEET).version, self._state_of_page(FLEET)

    def _state_of_page(self, name: str) -> str | None:
        page = self.instance.get_latest_materialization_event(_key(name))
        event = page.asset_materialization if page else None
        return (event.tags or {}).get(INPUTS) if event else None

    def running(self) -> Sequence[Running]:
        return [
            Running(run.run_id, frozenset(key.to_user_string() for key in run.asset_selection or ()), days_of_run(run))
            for run in open_runs(self.instance)
        ]

    def tried(self, state: str) -> str | None:
        return self.given_up.get(state)


def page_content(instance: dg.DagsterInstance, line: str, version: str, decided: tuple[str, dt.date] | None) -> str:
    """A hash of what a line's page would show of tables and decisions. version: of the page's code. decided: as `Known` gives it."""
    newest = newest_of(instance, [f"{line}/{table}" for table in ON_PAGE])
    return digest([version, str(decided), *(f"{name}:{number}" for name, number in newest.items())])


def _key(name: str) -> dg.AssetKey:
    return dg.AssetKey(name.split("/"))
