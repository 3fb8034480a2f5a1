"""Is this the Dagster whose private parts were tried, and are they as they were? If not, a warning says what is different."""

import inspect
import logging
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import dagster as dg

T = TypeVar("T")

#: Minor versions on which tests/resources/test_dagster_private.py passes; constraints.txt pins one of them.
TESTED = ("1.13",)
#: Part -> what it is like without Dagster's private names.
OTHERWISE = {
    "event log in SQLite": "each event opens its file anew, and what a day was made from is read from its event, not by index",
    "event log in PostgreSQL": "each event connects anew, and what a day was made from is read from its event, not by index",
    "reading events": "each plan reads the events of every partition, of which there is more every day",
    "marking assets": "each plan asks for the newest event of every partition, whether there is more or not",
    "reading checks": "checks are looked for in the events of the newest runs",
    "recording partitions": "a run over many partitions writes two events for each, one at a time, and only at its end",
    "recording checks": "a check over many days shows one result for all, with a table of the days, and none on each day",
    "refusals": "a refusal by rule shows a traceback below what it says",
    "printing": "four processes a run copy what a command's runs print, and print tracebacks at Ctrl-C",
    "declarations outside the package": "they are loaded as a project of their own, by a file in a temporary folder",
}
_log = logging.getLogger("factory")
_told: set[str] = set()


class UntestedDagsterWarning(UserWarning):
    """A Dagster whose private parts are not those that were tried: the factory goes Dagster's own ways."""


def tested(version: str) -> bool:
    """Whether the private parts of this version of Dagster were tried. A pre-release counts as the release to come."""
    return ".".join(version.split(".")[:2]) in TESTED


def private(part: str, take: Callable[[], T]) -> T | None:
    """What `take` imports of Dagster's private names; None, with a warning a process, where they are not what was tried.

    part: of `OTHERWISE`.
    take: raises ImportError, AttributeError or TypeError where a name is missing or another; see `require`.
    """
    if not tested(dg.__version__):
        ways = "".join(f"\n  {each}: {otherwise}" for each, otherwise in OTHERWISE.items())
        _warn("version", f"Its private parts are left alone:{ways}")
        return None
    try:
        return take()
    except (ImportError, AttributeError, TypeError) as changed:
        _warn(part, f"{part}: {changed}. It goes on without: {OTHERWISE[part]}")
        return None


def require(function: Any, *parameters: str) -> None:
    """Raise TypeError unless the function takes these as its first arguments, by these names, and needs no more."""
    name = getattr(function, "__qualname__", str(function))
    found = [each for each in inspect.signature(function).parameters.values() if each.name != "self"]
    names = tuple(each.name for each in found)
    more = [each for each in found[len(parameters) :] if each.default is each.empty and each.kind not in (2, 4)]
    if names[: len(parameters)] != parameters or more:
        raise TypeError(f"{name} takes ({', '.join(names)}), where the factory gives ({', '.join(parameters)})")


def _warn(what: str, message: str) -> None:
    if what in _told:
        return
    _told.add(what)
    text = f"Dagster {dg.__version__} runs; the factory was tried with {', '.join(f'{each}.x' for each in TESTED)}. {message}"
    # Both: commands hide Python's warnings, and a log is what stays of a daemon.
    warnings.warn(text, UntestedDagsterWarning, stacklevel=3)
    _log.warning(text)
