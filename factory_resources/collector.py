"""When does Python look for garbage? Not while much is made that stays: it would look through all of it again and again."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Without the garbage collector. A tree that grows, or modules and definitions that load, take a tenth to a half less time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
