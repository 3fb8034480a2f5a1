"""Which answers can be given again? Those made from the same as before. One memory for all plans of a process.

A code server makes a plan every few seconds, and mostly nothing has happened in between. What an answer was made from is compared
each time, so that no answer is given that would be another now; answers are kept by place, so that they do not grow with time.
"""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")

_kept: dict[Hashable, tuple[Any, Any]] = {}


def of(place: Hashable, made_from: Any, make: Callable[[], T]) -> T:
    """The answer about a place: what `make` gives, or what it gave the last time, if that was from the same.

    made_from: all that the answer depends on, or what changes with it; read before `make` reads. Neither it nor the answer may be
    changed afterwards. The same answer is the same object, so an answer may itself be compared as what another is made from.
    """
    before = _kept.get(place)
    if before is not None and before[0] == made_from:
        return before[1]  # type: ignore[no-any-return]
    answer = make()
    _kept[place] = made_from, answer
    return answer
