"""Which versions were made again from their records, and did they come out equal? The certificates of rebuilds."""

import datetime as dt
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

import sqlalchemy as sa

from factory_resources.records.chain import append
from factory_resources.records.tables import CERTIFICATES, Database, writing

Comparison = Literal["equal", "different", "not comparable"]


@dataclass(frozen=True)
class Certificate:
    """A rebuild of a version and its outcome.

    parts: part -> its SHA-256 as archived and as rebuilt, None where there is none. made_from: what differs between then
    and now in what it was made from, as name -> then and now. message: the outcome in a sentence.
    """

    line: str
    version: str
    verdict: Comparison
    message: str
    parts: dict[str, tuple[str | None, str | None]]
    made_from: dict[str, tuple[str, str]]
    by: str
    at: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))


class Certificates(Database):
    """Certificates of rebuilds, in the ledger's database; appended, never changed."""

    def record(self, certificate: Certificate) -> None:
        """Raises ValueError for a verdict that there is not, and for a time without time zone."""
        if certificate.verdict not in get_args(Comparison):
            raise ValueError(
                f"verdict {certificate.verdict!r} is not known; allowed: {', '.join(get_args(Comparison))}"
            )
        if certificate.at.tzinfo is None:
            raise ValueError(f"a certificate of {certificate.at!r} needs a time zone, such as UTC")
        with writing(self._open(), "certificates", certificate.line) as connection:
            append(connection, CERTIFICATES, [vars(certificate)])

    def certificates(self, line: str | None = None, version: str | None = None) -> list[Certificate]:
        """Certificates in the order in which they were made, of a line or a version."""
        c = CERTIFICATES.c
        query = sa.select(CERTIFICATES).order_by(c.id)
        if line is not None:
            query = query.where(c.line == line)
        if version is not None:
            query = query.where(c.version == version)
        with self._open().connect() as connection:
            return [_certificate(row) for row in connection.execute(query).mappings()]


def _certificate(row: sa.RowMapping) -> Certificate:
    kept: dict[str, Any] = {each.name: row[each.name] for each in fields(Certificate)}
    for name in ("parts", "made_from"):
        kept[name] = {key: tuple(pair) for key, pair in kept[name].items()}
    return Certificate(**kept)
