"""Does the book of rebuilds keep what was found, for versions that there are, and keep it for good?"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace

import pytest
import sqlalchemy as sa

from factory_resources.ledger import Ledger
from factory_resources.records.certificates import Certificate, Certificates
from tests.resources.test_ledger import LINE, a_version

AT = dt.datetime(2018, 6, 4, 4, 15, tzinfo=dt.UTC)
EQUAL = Certificate(LINE, "v1", "equal", "every part is equal", {"model.txt": ("ab", "ab")}, {}, "run 1", AT)


@pytest.fixture
def book(url: str) -> Iterator[Certificates]:
    ledger, book = Ledger(url=url), Certificates(url=url)
    for version in ("v1", "v2"):
        ledger.register(a_version(version))
    yield book
    ledger.close()
    book.close()


def test_certificates_come_back_in_order_by_line_and_version(book: Certificates) -> None:
    other = replace(
        EQUAL,
        version="v2",
        verdict="not comparable",
        parts={"model.txt": ("ab", None)},
        made_from={"lightgbm": ("4.6.0", "4.7.0")},
    )
    for certificate in (EQUAL, other, EQUAL):
        book.record(certificate)
    assert book.certificates() == book.certificates(LINE) == [EQUAL, other, EQUAL]
    assert book.certificates(LINE, "v2") == [other] and book.certificates("another") == []


def test_a_certificate_of_nothing_or_of_no_known_verdict_is_refused(book: Certificates) -> None:
    with pytest.raises(sa.exc.IntegrityError):
        book.record(replace(EQUAL, version="v9"))
    with pytest.raises(ValueError, match="'fine' is not known; allowed: equal, different, not comparable"):
        book.record(replace(EQUAL, verdict="fine"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="time zone"):
        book.record(replace(EQUAL, at=AT.replace(tzinfo=None)))


@pytest.mark.parametrize(
    "change", ["UPDATE ledger_certificates SET verdict = 'equal'", "DELETE FROM ledger_certificates"]
)
def test_a_certificate_is_never_changed(book: Certificates, url: str, change: str) -> None:
    book.record(replace(EQUAL, verdict="different"))
    engine = sa.create_engine(url)
    with pytest.raises(sa.exc.DatabaseError, match="append-only"), engine.begin() as connection:
        connection.execute(sa.text(change))
    engine.dispose()
    assert [one.verdict for one in book.certificates()] == ["different"]
