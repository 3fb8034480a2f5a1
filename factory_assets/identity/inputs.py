"""What is a day of an asset made from, and what of it is another than when it was made?

A day is stamped with a hash of all that it is made from. Behind it stand short ones, of the asset's declaration and code, of
what it depends on beside tables, and of each table that it reads: so a day that has to be made again says why.
"""

import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

#: Between the parts of a stamp.
SEPARATOR = "-"
#: Hex digits of all, of the declaration, and of each other part. A stamp is a tag of Dagster's, which has 63 characters at most.
WHOLE, OWN, PART = 16, 8, 3
#: Parts beside the declaration's; what is left of the tables that are read shares the last one.
PARTS = 9
#: Data version of a day that was held back and serves nothing.
BLOCKED = "blocked"


@dataclass(frozen=True)
class Asset:
    """An asset with days. reads: asset -> first and last day, from its own day on, that a day of this one reads of it."""

    name: str
    version: str
    reads: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Recorded:
    """The newest materialisation of a day: a hash of what it holds, the stamp of what it was made from, the event's number."""

    data: str
    stamp: str
    number: int = 0

    @property
    def served(self) -> bool:
        """Whether the day has content to build on: it was not held back before it ever had any."""
        return self.data != BLOCKED


def stamps(
    asset: Asset,
    data: Mapping[str, Mapping[str, str]],
    days: Sequence[dt.date],
    extra: Mapping[dt.date, str] | None = None,
) -> dict[dt.date, str]:
    """Day -> what it would be made from now.

    data: for each asset that this one reads, day -> hash of its content. extra: what a day depends on beside tables.
    """
    read: dict[dt.date, list[str]] = {day: [asset.version, (extra or {}).get(day, "")] for day in days}
    for name in sorted(asset.reads):
        first, last = asset.reads[name]
        held = {dt.date.fromisoformat(day).toordinal(): version for day, version in data.get(name, {}).items()}
        # Before its first day an asset has nothing, however far a window reaches.
        start = min(held, default=dt.date.max.toordinal())
        for day in days:
            at = day.toordinal()
            window = range(max(at + first, start), at + last + 1)
            read[day].append("|".join(held.get(each, "") for each in window))
    return {day: _stamp(parts) for day, parts in read.items()}


def _stamp(parts: Sequence[str]) -> str:
    own, *rest = parts
    if len(rest) > PARTS:
        rest = [*rest[: PARTS - 1], SEPARATOR.join(rest[PARTS - 1 :])]
    told = [_short(SEPARATOR.join(parts), WHOLE), _short(own, OWN), *(_short(part, PART) for part in rest)]
    return SEPARATOR.join(told)


def changed(asset: Asset, before: str, now: str, beside: str) -> list[str]:
    """What differs between two stamps, in words. beside: what the asset depends on beside tables."""
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
    """What a verdict on a day stands on: the day as it was made, and the declaration of the check beside the asset's own."""
    return f"{stamp}{SEPARATOR}{_short(version, WHOLE)}"


def digest(parts: Iterable[str]) -> str:
    """16 hex digits that change with any of the texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _short(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]
