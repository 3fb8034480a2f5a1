"""From what is a day of an asset made, and what has changed since?

A day is stamped with a hash of all that it is made from. Short hashes follow, of the asset's declaration and code, of what
it depends on beside tables, and of each table that it reads: so the stamp of a day that has to be made again shows why.
"""

import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

#: Between the parts of a stamp.
SEPARATOR = "-"
#: Hex digits of the whole, of the declaration, and of each other part. A stamp is a tag of Dagster's, of at most 63 characters.
WHOLE, OWN, PART = 16, 8, 3
#: Parts beside the declaration's; tables beyond so many share the last part.
PARTS = 9
#: Data version of a day that was held back and serves nothing.
BLOCKED = "blocked"


@dataclass(frozen=True)
class Asset:
    """An asset with days.

    reads: asset -> first and last day that a day of this one reads, counted from the day itself. span: the days that it has at all.
    """

    name: str
    version: str
    reads: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    span: str = ""


@dataclass(frozen=True)
class Recorded:
    """The newest materialisation of a day: the hash of its content, the stamp of its inputs, the number of the event."""

    data: str
    stamp: str
    number: int = 0

    @property
    def served(self) -> bool:
        """Whether the day has content to build on: it was not held back before it ever had any."""
        return self.data != BLOCKED


def stamps(
    asset: Asset,
    data: Mapping[str, Mapping[dt.date, str]],
    days: Sequence[dt.date],
    extra: Mapping[dt.date, str] | None = None,
) -> dict[dt.date, str]:
    """Day -> the stamp with which it would be made now.

    data: for each asset that this one reads, day -> hash of its content. extra: day -> what it depends on beside tables.
    """
    read: dict[dt.date, list[str]] = {day: [asset.version, (extra or {}).get(day, "")] for day in days}
    own = _short(asset.version, OWN)
    for name in sorted(asset.reads):
        first, last = asset.reads[name]
        versions = {day.toordinal(): version for day, version in data.get(name, {}).items()}
        # Before its first day an asset has nothing, however far a window reaches.
        start = min(versions, default=dt.date.max.toordinal())
        end = max((day.toordinal() for day in days), default=start) + last + 1
        in_order = [versions.get(each, "") for each in range(start, end)]
        for day in days:
            at = day.toordinal() - start
            read[day].append("|".join(in_order[max(at + first, 0) : max(at + last + 1, 0)]))
    return {day: _stamp(own, parts) for day, parts in read.items()}


def _stamp(own: str, parts: Sequence[str]) -> str:
    """own: the short hash of the first part, which all days of an asset share."""
    rest = parts[1:]
    if len(rest) > PARTS:
        rest = [*rest[: PARTS - 1], SEPARATOR.join(rest[PARTS - 1 :])]
    return SEPARATOR.join([_short(SEPARATOR.join(parts), WHOLE), own, *(_short(part, PART) for part in rest)])


def changed(asset: Asset, before: str, now: str, beside: str) -> list[str]:
    """The inputs in which two stamps differ, by name. beside: the name of what the asset depends on beside tables."""
    names = ["its declaration or code", beside, *sorted(asset.reads)]
    if len(names) > PARTS + 1:
        names = [*names[:PARTS], ", ".join(names[PARTS:])]
    old, new = before.split(SEPARATOR)[1:], now.split(SEPARATOR)[1:]
    if len(old) != len(new) or len(new) != len(names) or old[0] != new[0]:
        return names[:1]
    # A part is short: should it be the same for two contents, the whole still is not.
    return [name for name, one, other in zip(names, old, new, strict=True) if one != other] or ["what it reads"]


def of_declaration(asset: Asset, stamp: str) -> bool:
    """Whether a stamp was given under the asset's declaration and code as they are now."""
    return stamp.split(SEPARATOR)[1:2] == [_short(asset.version, OWN)]


def judgement(stamp: str, version: str = "") -> str:
    """The text that identifies the inputs of a verdict on a day: the day's stamp, and the declaration of the check."""
    return f"{stamp}{SEPARATOR}{_short(version, WHOLE)}"


def digest(parts: Iterable[str]) -> str:
    """16 hex digits that change with any of the texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _short(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]
