"""Is a training due when enough days are labelled, as of the right day, for the nodes that it is due for; and is the reason told?"""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from factory_assets.declarations.catalogue import load
from factory_assets.declarations.declared import DeclaredLine
from factory_assets.declarations.line import Trigger
from factory_assets.governor.retraining import NotDue, Training, due
from factory_assets.monitoring.episodes import Alarm
from factory_assets.training.timeline import first_as_of, timeline
from tests.line.world import declare

DAY = dt.timedelta(days=1)
NODES = ["global", "DE", "FR", "DE/Berlin", "FR/Paris"]
NOW, BEFORE = "contract of now", "contract of before"


@dataclass(frozen=True)
class Stands:
    trained_as_of: dt.date | None
    contract: str | None = NOW


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> DeclaredLine:
    """Window 28 days, holdout 7, labels a day later, every 14 days."""
    catalogue = load(declare(tmp_path_factory.mktemp("declarations")))
    return catalogue.resolve(catalogue.lines["delivery_time"])


def labelled(declared: DeclaredLine, as_of: dt.date, without: Collection[dt.date] = ()) -> list[dt.date]:
    """Every day since the start whose labels are known at the close of a day."""
    start = declared.observed.stream.start
    days = [start + ahead * DAY for ahead in range((as_of - start).days)]
    return [day for day in days if day not in without]


def asked(
    declared: DeclaredLine,
    as_of: dt.date,
    standing: Mapping[str, Stands],
    without: Collection[dt.date] = (),
    first_seen: Mapping[str, dt.date] | None = None,
    on: list[Trigger] | None = None,
    alarms: Sequence[Alarm] = (),
) -> Training | NotDue:
    """What is due at the close of a day. first_seen: node -> the first day that has it, the stream's first if absent."""
    if on is not None:
        retrain = declared.line.retrain.model_copy(update={"on": on})
        declared = replace(declared, line=declared.line.model_copy(update={"retrain": retrain}))
    seen = dict.fromkeys(NODES, declared.observed.stream.start) | dict(first_seen or {})
    nodes = list(seen)
    return due(
        declared, labelled(declared, as_of, without), standing, lambda day: [node for node in nodes if seen[node] <= day],
        nodes, NOW, alarms,
    )  # fmt: skip


def all_at(day: dt.date, contract: str | None = NOW) -> dict[str, Stands]:
    return {node: Stands(day, contract) for node in NODES}


def test_before_windows_are_covered_the_first_possible_day_is_named(declared: DeclaredLine) -> None:
    first = first_as_of(declared)
    found = asked(declared, first - DAY, {})
    assert isinstance(found, NotDue) and f"training is possible from {first} on" in found.reason
    assert isinstance(due(declared, [], {}, lambda day: [], [], NOW), NotDue)


def test_the_first_training_is_as_of_the_first_possible_day_however_late_it_is_asked_for(
    declared: DeclaredLine,
) -> None:
    first = first_as_of(declared)
    for late in (0, 1, 40):
        found = asked(declared, first + late * DAY, {})
        assert isinstance(found, Training)
        assert (found.as_of, found.trigger, found.nodes) == (first, "first", tuple(NODES))


@pytest.mark.parametrize(("new", "trigger"), [(0, None), (13, None), (14, "new_data"), (30, "new_data")])
def test_a_training_is_due_after_so_many_new_labelled_days_and_as_of_the_day_on_which_they_were_in(
    declared: DeclaredLine, new: int, trigger: str | None
) -> None:
    last = first_as_of(declared)
    found = asked(declared, last + new * DAY, all_at(last))
    if trigger is None:
        assert isinstance(found, NotDue) and f"{new} new labelled days" in found.reason and "14 wanted" in found.reason
    else:
        assert isinstance(found, Training)
        assert (found.trigger, found.as_of, found.nodes) == (trigger, last + 14 * DAY, tuple(NODES))


def test_days_without_labels_are_not_counted_however_much_of_the_calendar_passes(declared: DeclaredLine) -> None:
    last = first_as_of(declared)
    lost = {last + ahead * DAY for ahead in range(3, 7)}
    assert isinstance(asked(declared, last + 14 * DAY, all_at(last), lost), NotDue)
    found = asked(declared, last + 18 * DAY, all_at(last), lost)
    assert isinstance(found, Training) and found.as_of == last + 18 * DAY


def test_nothing_is_trained_on_a_hole_of_weeks_and_again_when_enough_days_are_there(declared: DeclaredLine) -> None:
    last = first_as_of(declared)
    lost = {last + ahead * DAY for ahead in range(1, 43)}
    reasons, trained = set(), []
    for ahead in range(14, 120):
        found = asked(declared, last + ahead * DAY, all_at(last), lost)
        if isinstance(found, Training):
            trained.append(found.as_of)
            break
        reasons.add(found.reason.partition("; train.missing")[0] if "missing" in found.reason else "not enough days")
    assert len(trained) == 1
    span = timeline(declared, trained[0])
    window = [span.train_from + ahead * DAY for ahead in range(28)]
    assert sum(day in lost for day in window) <= 0.2 * 28, "a fifth of the window may be missing"
    assert sum(day in lost for day in [window[0] - DAY, *window]) > 0.2 * 28, "and it is the first such day"
    assert any("of the 28 days of the training window" in reason for reason in reasons)


def test_days_that_come_after_all_are_trained_on_as_if_they_had_been_there(declared: DeclaredLine) -> None:
    last = first_as_of(declared)
    lost = {last + ahead * DAY for ahead in range(1, 43)}
    assert isinstance(asked(declared, last + 50 * DAY, all_at(last), lost), NotDue)
    found = asked(declared, last + 50 * DAY, all_at(last))
    assert isinstance(found, Training) and found.as_of == last + 14 * DAY


def test_one_node_trained_by_hand_postpones_no_other_and_is_trained_with_them_again(declared: DeclaredLine) -> None:
    last = first_as_of(declared)
    by_hand = all_at(last) | {"DE/Berlin": Stands(last + 13 * DAY)}
    assert isinstance(asked(declared, last + 13 * DAY, by_hand), NotDue), "nobody else is due because of it"
    found = asked(declared, last + 14 * DAY, by_hand)
    assert isinstance(found, Training) and (found.as_of, found.nodes) == (last + 14 * DAY, tuple(NODES))


@pytest.mark.parametrize("decided", [1, 2, 4])
def test_a_killed_training_is_finished_as_of_its_day_for_the_nodes_it_had_not_come_to(
    declared: DeclaredLine, decided: int
) -> None:
    last = first_as_of(declared)
    came_to = {node: Stands(last + 14 * DAY) for node in NODES[:decided]}
    for later in (0, 3):
        found = asked(declared, last + (14 + later) * DAY, all_at(last) | came_to)
        assert isinstance(found, Training)
        assert (found.trigger, found.as_of, found.nodes) == ("unfinished", last + 14 * DAY, tuple(NODES[decided:]))


def test_a_killed_first_training_is_finished_too(declared: DeclaredLine) -> None:
    first = first_as_of(declared)
    found = asked(declared, first + 2 * DAY, {"global": Stands(first)})
    assert isinstance(found, Training)
    assert (found.trigger, found.as_of, found.nodes) == ("unfinished", first, tuple(NODES[1:]))


def test_a_node_that_comes_later_waits_for_the_next_training(declared: DeclaredLine) -> None:
    last = first_as_of(declared)
    new = {"IT": last + 2 * DAY}
    assert isinstance(asked(declared, last + 5 * DAY, all_at(last), first_seen=new), NotDue)
    found = asked(declared, last + 14 * DAY, all_at(last), first_seen=new)
    assert isinstance(found, Training) and set(found.nodes) == {*NODES, "IT"}


def test_a_node_of_the_past_that_was_never_trained_is_trained_as_of_the_last_training(declared: DeclaredLine) -> None:
    first = first_as_of(declared)
    standing = all_at(first + 14 * DAY) | {"DE/Berlin": Stands(first)}
    standing |= {node: Stands(first + 14 * DAY) for node in NODES}
    standing["FR"] = Stands(first + 15 * DAY)
    found = asked(declared, first + 16 * DAY, standing, first_seen={"IT": first})
    assert isinstance(found, Training)
    assert (found.trigger, found.as_of, found.nodes) == ("new_node", first + 14 * DAY, ("IT",))


def test_a_changed_contract_trains_the_nodes_that_were_made_under_the_old_one_as_of_now(declared: DeclaredLine) -> None:
    last = first_as_of(declared)
    standing = all_at(last, BEFORE)
    assert isinstance(asked(declared, last, standing), NotDue), "not twice as of one day"
    found = asked(declared, last + DAY, standing)
    assert isinstance(found, Training)
    assert (found.trigger, found.as_of, found.nodes) == ("schema", last + DAY, tuple(NODES))
    assert "the contract changed since the training" in found.reason
    assert isinstance(asked(declared, last + DAY, standing, on=["new_data"]), NotDue)
    killed = standing | {"global": Stands(last + DAY), "DE": Stands(last + DAY)}
    found = asked(declared, last + 3 * DAY, killed)
    assert isinstance(found, Training)
    assert (found.trigger, found.as_of, found.nodes) == ("schema", last + DAY, ("FR", "DE/Berlin", "FR/Paris"))


def test_a_contract_that_nobody_noted_is_no_changed_one(declared: DeclaredLine) -> None:
    last = first_as_of(declared)
    assert isinstance(asked(declared, last + DAY, all_at(last, None)), NotDue)


def alarm(node: str, day: dt.date, since: dt.date | None = None, what: str = "x") -> Alarm:
    return Alarm("drift", node, what, day, since or day, "x: far away")


ALARMED: list[Trigger] = ["new_data", "drift"]


def called(
    declared: DeclaredLine,
    after: int,
    alarms: Sequence[Alarm],
    standing: Mapping[str, Stands] | None = None,
    **more: Any,
) -> Training | NotDue:
    """What is due so many days after all nodes were trained."""
    first = first_as_of(declared)
    return asked(declared, first + after * DAY, standing or all_at(first), on=ALARMED, alarms=alarms, **more)


def test_an_alarm_trains_the_nodes_that_it_is_found_of_as_of_its_day(declared: DeclaredLine) -> None:
    day = first_as_of(declared) + 5 * DAY
    found = called(declared, 8, [alarm("DE/Berlin", day), alarm("DE", day), alarm("FR", day + DAY)])
    assert isinstance(found, Training)
    assert (found.as_of, found.trigger, found.nodes) == (day, "drift", ("DE", "DE/Berlin")), "parents first"
    assert found.reason.startswith(f"drift of DE since {day}: x: far away; drift of DE/Berlin")


@pytest.mark.parametrize("began", [-3, 0])
def test_an_episode_that_a_training_did_not_end_starts_no_other(declared: DeclaredLine, began: int) -> None:
    first = first_as_of(declared)
    days = [first + ahead * DAY for ahead in range(1, 9)]
    assert isinstance(called(declared, 8, [alarm("DE", day, first + began * DAY) for day in days]), NotDue)


def test_within_the_cooldown_nothing_is_trained_and_after_it_what_still_lasts_is(declared: DeclaredLine) -> None:
    first = first_as_of(declared)
    lasts = [alarm("DE", first + ahead * DAY, first + DAY) for ahead in range(1, 6)]
    assert isinstance(called(declared, 8, lasts[:2]), NotDue)
    found = called(declared, 8, lasts)
    assert isinstance(found, Training) and found.as_of == first + 3 * DAY


def test_columns_that_follow_at_once_on_a_training_that_was_called_for_are_of_its_episode(
    declared: DeclaredLine,
) -> None:
    first = first_as_of(declared)
    answered = [alarm("DE", first, what="y")]
    follows = [alarm("DE", first + ahead * DAY, first + 2 * DAY) for ahead in range(2, 8)]
    assert isinstance(called(declared, 8, [*answered, *follows]), NotDue)
    later = alarm("DE", first + 4 * DAY, what="z")
    found = called(declared, 8, [*answered, *follows, later])
    assert isinstance(found, Training) and found.as_of == later.day


def test_where_most_nodes_alarm_all_are_trained_and_what_was_killed_is_finished(declared: DeclaredLine) -> None:
    first = first_as_of(declared)
    day = first + 5 * DAY
    alarms = [alarm(node, day) for node in ("DE", "FR", "FR/Paris")]
    found = called(declared, 8, alarms)
    assert isinstance(found, Training) and found.nodes == tuple(NODES)
    killed = all_at(first) | {"global": Stands(day), "DE": Stands(day)}
    found = called(declared, 8, alarms, killed)
    assert isinstance(found, Training) and (found.as_of, found.nodes) == (day, ("FR", "FR/Paris"))


def test_new_data_come_first_where_they_are_of_no_later_day(declared: DeclaredLine) -> None:
    first = first_as_of(declared)
    found = called(declared, 20, [alarm("DE", first + 14 * DAY)])
    assert isinstance(found, Training) and (found.trigger, found.as_of) == ("new_data", first + 14 * DAY)
    found = called(declared, 20, [alarm("DE", first + 13 * DAY)])
    assert isinstance(found, Training) and (found.trigger, found.as_of) == ("drift", first + 13 * DAY)


def test_an_alarm_waits_for_the_labels_of_its_day_and_is_nothing_where_it_is_not_declared(
    declared: DeclaredLine,
) -> None:
    day = first_as_of(declared) + 5 * DAY
    assert isinstance(called(declared, 4, [alarm("DE", day)]), NotDue)
    assert isinstance(asked(declared, day + DAY, all_at(first_as_of(declared)), alarms=[alarm("DE", day)]), NotDue)
    hole = [day - ahead * DAY for ahead in range(2, 20)]
    assert isinstance(called(declared, 8, [alarm("DE", day)], without=hole), NotDue)
