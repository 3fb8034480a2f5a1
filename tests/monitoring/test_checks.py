"""Do the checks name what is wrong, since when, and what they cannot tell?"""

import datetime as dt
from typing import Any

import dagster as dg
import pytest
from pydantic import ValidationError

from factory_assets.daily_checks import Finding, _by_day, _links, _over
from factory_assets.declarations.line import Gate, Line, Monitor
from factory_assets.launching import to_retrain
from factory_assets.monitoring.checks import SHOWN, _drift_of_day, _floor_of_day, _news_of_day, _of_day
from factory_assets.monitoring.performance.losses import NAIVE, PARENT, BesideFloor, Loss, floor_of

DAY = dt.timedelta(days=1)
ON = dt.date(2026, 3, 10)


def row(column: str, statistic: float = 0.3, node: str = "FR", **more: Any) -> dict[str, Any]:
    usual = {"kind": "input", "part": "values", "finding": column, "limit": 0.1, "rows": 1200, "since": ON}
    return {"node": node, "column": column, "statistic": statistic} | usual | more


def test_a_drifted_day_names_the_worst_columns_first_with_their_size_and_since_when() -> None:
    found = _drift_of_day(ON, [row("a"), row("b", 0.5, since=ON - DAY)], 9, 2)
    assert not found.passed and found.message == (
        "drifted: input: values of b of FR since 2026-03-09 (PSI 0.5, limit 0.1, 1,200 rows); "
        "input: values of a of FR since 2026-03-10 (PSI 0.3, limit 0.1, 1,200 rows); no verdict on 2 columns"
    )
    numbers = {"drifted": 2, "stable": 5, "no verdict": 2, "input": 2}
    assert {name: value.value for name, value in found.metadata.items()} == numbers


def test_columns_that_are_absent_in_the_same_rows_are_one_finding() -> None:
    absent = {"kind": "quality", "part": "nulls", "finding": "a"}
    found = _drift_of_day(ON, [row("a", **absent), row("b", **absent), row("a", node="DE")], 9, 0)
    assert found.message == (
        "drifted: quality: nulls of a, b of FR since 2026-03-10 (PSI 0.3, limit 0.1, 1,200 rows); "
        "input: values of a of DE since 2026-03-10 (PSI 0.3, limit 0.1, 1,200 rows)"
    )


def test_of_many_columns_the_message_names_a_few_and_says_how_many_more() -> None:
    found = _drift_of_day(ON, [row(f"c{at}", 0.2 + at / 100) for at in range(SHOWN + 3)], 20, 0)
    assert found.message is not None
    assert f"values of c{SHOWN + 2} of FR" in found.message and found.message.endswith("; and 3 more")


def test_a_day_on_which_nothing_could_be_told_does_not_pass_for_a_stable_one() -> None:
    found = _drift_of_day(ON, [], 4, 4)
    assert found.passed and found.message == "nothing drifted of 0 columns; no verdict on 4 columns"


@pytest.mark.parametrize(
    ("declared", "looks", "rate"),
    [
        ({}, 100, 12 / 365.25 / 100),
        ({"false_alarms": "0.5/week"}, 10, 0.5 / 7 / 10),
        ({"false_alarms": "2/day"}, 4000, 2 / 4000),
        # Few looks could each be wrong often, and the budget would hold: a verdict is to mean something all the same.
        ({"false_alarms": "5/day"}, 3, 0.01),
        ({"false_alarm_rate": 0.02}, 1000, 0.02),
    ],
)
def test_the_rate_of_a_look_follows_from_the_alarms_that_the_owner_declares(
    declared: dict[str, Any], looks: int, rate: float
) -> None:
    assert Monitor(**declared).rate(looks) == pytest.approx(rate)


@pytest.mark.parametrize("alarms", ["1", "0/month", "-1/month", "1/decade", "many/week", "1 / week"])
def test_alarms_that_are_no_number_in_a_time_are_refused(alarms: str) -> None:
    with pytest.raises(ValidationError, match="false_alarms"):
        Monitor(false_alarms=alarms)


def test_a_range_tells_how_many_days_failed_and_what_the_newest_of_them_says() -> None:
    days = [Finding(ON + at * DAY, at not in (1, 3), message=f"day {at}") for at in range(5)]
    assert _over(days) == "2 of 5 days failed; the newest, 2026-03-13: day 3"
    assert _over(days[:1]) == "no day failed; the newest, 2026-03-10: day 0"
    assert _over([Finding(ON, True), Finding(ON + DAY, False)]) == "1 of 2 days failed; the newest, 2026-03-11"


def test_days_of_a_table_may_have_metadata_that_others_lack() -> None:
    """What lets a blocked day pass is offered on that day alone."""
    way = {"rows": dg.MetadataValue.int(6), "to_let_through": dg.MetadataValue.url("http://x.org")}
    shown = _by_day(
        [Finding(ON, True, metadata={"rows": dg.MetadataValue.int(5)}), Finding(ON + DAY, False, metadata=way)]
    )
    assert [record.data for record in shown.records] == [
        {"day": str(ON), "passed": True, "blocking": False, "message": "", "rows": "5", "to_let_through": ""},
        {
            "day": str(ON + DAY),
            "passed": False,
            "blocking": False,
            "message": "",
            "rows": "6",
            "to_let_through": "http://x.org",
        },
    ]


def stands(node: str, value: float, since: dt.date | None = None) -> BesideFloor:
    return BesideFloor(node, ON, value, days=28, rows=900, since=since, visible=None if since else 1.5)


def test_nodes_below_the_floor_are_named_with_their_mean_and_since_when() -> None:
    kept = _floor_of_day("mae", 15.0, ON, [stands("FR", 14.2), stands("global", 11.0)], 0)
    assert kept.passed and kept.message == "mae 11 on average of 28 days, the floor is 15"
    broken = _floor_of_day("mae", 15.0, ON, [stands("FR", 22.07, ON - 4 * DAY), stands("global", 11.0)], 0)
    assert not broken.passed and broken.message == (
        "FR, since 2026-03-06: mae 22.07 on average of 28 days, the floor is 15"
    )
    assert {name: value.value for name, value in broken.metadata.items()} == {"broken": 1, "measured": 2}
    many = _floor_of_day("mae", 15.0, ON, [stands(f"n{at}", 20.0, ON) for at in range(SHOWN + 2)], 0)
    assert many.message is not None and many.message.endswith("; and 2 nodes more")
    assert _floor_of_day("mae", 15.0, ON, [], 0).message == "not measurable yet"


def test_what_labels_tell_days_later_says_of_which_day_it_is_and_when_it_was_known() -> None:
    lost = _of_day("mae", NAIVE, ON, [], [Loss("FR", ON, ON - DAY, "mae 22, naive 18")], 7)
    assert lost.message == "FR, since 2026-03-09, known on 2026-03-16: mae 22, naive 18"
    broken = _floor_of_day("mae", 15.0, ON, [stands("FR", 22.07, ON)], 1)
    assert broken.message is not None and broken.message.startswith(
        "FR, since 2026-03-10, known on 2026-03-11: mae 22.07"
    )


def test_a_day_without_a_loss_tells_the_roots_metric_or_that_of_the_node_with_the_least_gain() -> None:
    root = {"node": "global", "labelled": 9, "mae": 7.0, "naive_mae": 10.0, "parent_mae": None}
    nodes = [
        root | {"node": node, "naive_mae": None, "parent_mae": above} for node, above in (("FR", 8.0), ("DE", 6.5))
    ]
    assert _of_day("mae", NAIVE, ON, [root, *nodes], [], 0).message == "mae 7, naive 10"
    told = _of_day("mae", PARENT, ON, [root, *nodes], [], 0)
    assert told.passed and told.message == "mae 7, parent 6.5 of DE, which is the least gain of 2 nodes"
    assert {name: value.value for name, value in told.metadata.items()} == {"labelled": 9, "measured": 2, "worse": 0}
    assert _of_day("mae", PARENT, ON, [root], [], 0).message == "not measurable yet"


def look(monitor: str, node: str, column: str, since: int, told: bool) -> dict[str, Any]:
    """since: days before the day."""
    own = {"monitor": monitor, "node": node, "column": column, "reason": f"{column} is amiss", "n": 90}
    return own | {"since": ON - since * DAY, "is_news": told}


def test_the_news_of_a_day_are_what_began_and_what_lasts_for_another_while() -> None:
    rows = [
        look("drift", "FR", "a", 7, True), look("nulls", "FR", "b", 0, True), look("performance", "FR", "mae", 0, True),
        look("drift", "DE", "a", 3, False), look("rows", "global", "orders", 6, False),
    ]  # fmt: skip
    found = _news_of_day(ON, rows, 4)
    assert (
        not found.passed
        and not found.blocking
        and found.message
        == (
            "new: performance of mae of FR: mae is amiss; new: nulls of b of FR: b is amiss; "
            "still, since 2026-03-03: drift of a of FR: a is amiss; as before: 2 alarms, the first since 2026-03-04; "
            "no verdict on 4 series"
        )
    )
    assert {name: found.metadata[name].value for name in ("new", "still", "going on")} == {
        "new": 2,
        "still": 1,
        "going on": 2,
    }
    table = found.metadata["news"].records
    assert [record.data["column"] for record in table] == ["mae", "b", "a"] and table[2].data["since"] == "2026-03-03"


def test_a_day_without_news_says_whether_something_lasts() -> None:
    calm = _news_of_day(ON, [], 0)
    assert calm.passed and calm.message == "no alarm" and "news" not in calm.metadata
    lasting = _news_of_day(ON, [look("drift", "FR", "a", 2, False)], 0)
    assert lasting.passed and lasting.message == "nothing new; as before: 1 alarm, the first since 2026-03-08"


def test_columns_of_a_node_that_began_to_drift_together_are_one_piece_of_news() -> None:
    found = _news_of_day(ON, [look("drift", "FR", f"c{at}", 0, True) for at in range(5)], 0)
    assert found.message == "new: drift of c0, c1, c2 and 2 columns more of FR"
    nodes = _news_of_day(ON, [look("drift", f"n{at}", "a", 0, True) for at in range(SHOWN + 2)], 0)
    assert nodes.message is not None and nodes.message.endswith("; and 2 more")


def test_when_people_are_reminded_makes_no_verdict_and_no_model_another() -> None:
    usual = {"window": "7d", "false_alarms": "1/month", "false_alarm_rate": None, "minimum_effect": 0.0}
    assert Monitor().judging == Monitor(remind="3d").judging == usual
    with pytest.raises(ValidationError, match="whole days"):
        Monitor(remind="0d")


@pytest.mark.parametrize(
    ("gate", "metric", "floor"),
    [
        ({}, "mae", None),
        ({"floor": 15}, "mae", 15),
        ({"floor": 0}, "mae", 0),
        ({"floor": 0.5, "metric": "r2"}, "r2", None),
    ],
)
def test_days_are_held_against_a_floor_that_is_declared_by_a_metric_that_few_rows_do_not_worsen(
    gate: dict[str, Any], metric: str, floor: float | None
) -> None:
    line = Line.model_construct(gate=Gate.model_validate(gate))
    assert floor_of(line, metric) == floor


def test_a_range_leads_to_where_the_newest_day_that_failed_leads() -> None:
    def linked(day: dt.date, passed: bool, to: str) -> Finding:
        metadata = {"to_retrain": to_retrain(to, []), "worse": dg.MetadataValue.int(1)}
        return Finding(day, passed, metadata={} if passed else metadata)

    days = [linked(ON + at * DAY, at not in (1, 2), f"/{at}") for at in range(4)]
    assert _links(days) == {"to_retrain": to_retrain("/2", [])}
    assert _links(days[:1]) == {}
