"""Does the book of data issues say what is open, since when, and who decided what, however often a day is validated?"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from factory_resources.records.issues import BrokenRule, Issues
from factory_resources.records.tables import ISSUES

ONE, TWO, THREE = (dt.date(2024, 3, day) for day in (1, 2, 3))
OWNER = "team:orders"
SHIFT = BrokenRule("shift of amount against the past", "shift", "shift of amount is 0.9, expected at most 0.3")
LOST = BrokenRule("column city is delivered", "exists", "column city is missing")


@pytest.fixture
def book(url: str) -> Iterator[Issues]:
    opened = Issues(url=url)
    yield opened
    opened.close()


def events(book: Issues) -> int:
    with sa.create_engine(book.url).connect() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(ISSUES)).scalar_one()


def test_an_issue_is_open_while_a_day_breaks_its_rule_and_fixed_when_none_does(book):
    book.note("orders", OWNER, [ONE, TWO, THREE], {TWO: [SHIFT], THREE: [SHIFT]})
    (issue,) = book.issues("orders")
    assert (issue.state, issue.owner, issue.since, set(issue.days)) == ("open", OWNER, TWO, {TWO, THREE})
    book.note("orders", OWNER, [TWO], {})
    assert book.issues()[0].state == "open" and set(book.issues()[0].days) == {THREE}
    book.note("orders", OWNER, [THREE], {})
    assert book.issues()[0].state == "fixed"
    book.note("orders", OWNER, [THREE], {THREE: [SHIFT]})
    assert (book.issues()[0].state, book.issues()[0].since) == ("open", THREE)


def test_validating_a_day_again_writes_nothing(book):
    for _ in range(3):
        book.note("orders", OWNER, [ONE, TWO], {TWO: [SHIFT, LOST]})
    assert events(book) == 2


def test_what_is_accepted_stays_accepted_on_further_days_until_it_is_opened_again(book):
    book.note("orders", OWNER, [ONE], {ONE: [SHIFT]})
    book.decide("orders", SHIFT.rule, "accepted", "ana", "prices went up")
    book.note("orders", OWNER, [TWO], {TWO: [SHIFT]})
    (issue,) = book.issues("orders")
    assert (issue.state, issue.who, issue.why) == ("accepted", "ana", "prices went up")
    assert book.accepted("orders") == {SHIFT.rule: {ONE, TWO}} and book.accepted("others") == {}
    book.decide("orders", SHIFT.rule, "open", "ben", "they did not")
    assert book.issues()[0].state == "open" and book.accepted("orders") == {}


def test_a_person_can_declare_an_issue_fixed(book):
    book.note("orders", OWNER, [ONE], {ONE: [SHIFT]})
    book.decide("orders", SHIFT.rule, "fixed", "ana", "the feed was repaired, the day is lost")
    assert book.issues()[0].state == "fixed"


@pytest.mark.parametrize(
    ("rule", "who", "why", "error", "message"),
    [
        (LOST.rule, "ana", "never mind", ValueError, "cannot be accepted"),
        (SHIFT.rule, "ana", " ", ValueError, "a reason"),
        (SHIFT.rule, "", "so", ValueError, "somebody"),
        ("shift of x", "ana", "so", LookupError, "issues there: 'shift of amount against the past', 'column city"),
    ],
)
def test_a_decision_that_cannot_be_is_refused(book, rule, who, why, error, message):
    book.note("orders", OWNER, [ONE], {ONE: [SHIFT, LOST]})
    with pytest.raises(error, match=message):
        book.decide("orders", rule, "accepted", who, why)
    assert events(book) == 2


def test_of_many_who_validate_at_once_one_writes(book):
    book.issues()
    threads = [
        threading.Thread(target=book.note, args=("orders", OWNER, [ONE], {ONE: [SHIFT]})) for _ in range(6)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert events(book) == 1
