"""Is the log of a Delta table whole? If not, how far can it be read, and which of its files stand in the way?

A log is a commit for every version, 0, 1, 2 ... without a gap, and checkpoints that sum up all commits so far. It is read from
the newest checkpoint on.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

FOLDER = "_delta_log"
COMMIT = re.compile(r"\d{20}\.json")
CHECKPOINT = re.compile(r"\d{20}\.checkpoint.*\.parquet")
#: Names the newest checkpoint, so that a reader need not look for it.
HINT = "_last_checkpoint"
#: Names under which file systems tell when a file was written.
WRITTEN = ("mtime", "LastModified", "updated", "last_modified")
#: What a Parquet file begins and ends with.
MAGIC = b"PAR1"


@dataclass(frozen=True)
class Damage:
    """What is wrong with a log, in a sentence, and the names of its files without which it can be read as far as it goes."""

    reason: str
    beyond: list[str]


class Mark(NamedTuple):
    """How many files a log has, its newest commit, the bytes of that, and when it was written."""

    files: int = 0
    newest: str = ""
    bytes: int = 0
    written: Any = None


def mark(files: Any, folder: str) -> Mark:
    """Another value after every commit, and for a log that was put back from a copy. It costs a listing.

    files: fsspec's, of a store whose listings are not cached.
    """
    names = _names(files, folder)
    newest = max((name for name in names if COMMIT.fullmatch(name)), default="")
    if not newest:
        return Mark(len(names))
    info = files.info(f"{folder}/{newest}")
    written = next((info[name] for name in WRITTEN if name in info), None)
    return Mark(len(names), newest, int(info["size"]), (written, info.get("ino")))


def damage(files: Any, folder: str) -> Damage | None:
    """None for a log that is whole, or that is none. Errors of the store itself are raised as they are."""
    names = _names(files, folder)
    commits = {int(name[:20]): name for name in names if COMMIT.fullmatch(name)}
    checkpoints = sorted((name for name in names if CHECKPOINT.fullmatch(name)), reverse=True)
    bad = [name for name in checkpoints if not _is_parquet(files, f"{folder}/{name}")]
    good = [int(name[:20]) for name in checkpoints if name not in bad]
    end = max(good, default=-1) + 1
    while end in commits and _is_commit(files.cat_file(f"{folder}/{commits[end]}")):
        end += 1
    later = [name for version, name in sorted(commits.items()) if version >= end]
    hinted = _hinted(files, f"{folder}/{HINT}") if HINT in names else None
    hint = [HINT] if hinted is not None and hinted not in good else []
    if later:
        reason = f"its commit {end} {'cannot be read' if end in commits else 'is gone'}"
    elif bad:
        reason = f"its checkpoint {int(bad[0][:20])} cannot be read"
    elif hint:
        reason = f"its checkpoint {hinted} is gone"
    else:
        return None
    return Damage(reason, [*later, *bad, *hint])


def _names(files: Any, folder: str) -> list[str]:
    try:
        return [name.rstrip("/").rpartition("/")[2] for name in files.ls(folder, detail=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_commit(content: bytes) -> bool:
    """Whether it is a line of JSON for each action, to the end of the last one."""
    try:
        actions = [json.loads(line) for line in content.splitlines()]
    except ValueError:
        return False
    return bool(actions) and all(isinstance(action, dict) for action in actions)


def _is_parquet(files: Any, path: str) -> bool:
    return bool(files.info(path)["size"] > len(MAGIC) and files.cat_file(path, start=-len(MAGIC)) == MAGIC)


def _hinted(files: Any, path: str) -> int | None:
    try:
        return int(json.loads(files.cat_file(path))["version"])
    except (ValueError, KeyError, TypeError):
        return None
