"""In which order do versions of an event follow each other? One rule, for those who judge days and those who look back on them."""

#: Table of a stream with the versions that other days have; `ds` is the day for which each is kept.
MOVED = "moved"
#: Order in which versions came to be known. Of those known at the same time the one that happened first is the original.
FIRST_KNOWN = "known_at, event_time"
#: Order in which versions replace each other. Of those known at the same time the one that happened first holds, as within a day.
REPLACING = "known_at, event_time DESC"


def superseded_at(day: str, event: str) -> str:
    """SQL of when the next version of an event was known, or null. day, event: SQL of a row's day, and of the event's id."""
    return f"lead(known_at) OVER (PARTITION BY {day}, {event} ORDER BY {REPLACING})"


def is_original(day: str, event: str) -> str:
    """SQL of whether a version was known before all others of its event. day, event: as for `superseded_at`."""
    return f"row_number() OVER (PARTITION BY {day}, {event} ORDER BY {FIRST_KNOWN}) = 1"
