"""Is an archived model safe to serve? It answers its golden rows bit for bit, and malformed ones soundly, or with a clear error.

`python -m factory_assets.models.safety` is asked by standard input, a line of JSON a version, and answers each in a line; it
imports what a server does. What crashes it, makes it hang or runs out of memory harms nobody else. The golden rows are the
sample that was archived with its predictions.
"""

import json
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from factory_assets.declarations.line import Gate
from factory_assets.declarations.tasks import classes_of, kind_of
from factory_assets.measures.tables import prediction_values
from factory_assets.models.archived import ModelRefused, ReleasedModel, load
from factory_assets.models.libraries import libraries
from factory_resources.archive_folder import ArchiveDamaged, ArchiveFolder

#: What strange numbers may reach a server, beside the missing one.
NUMBERS = (float("nan"), float("inf"), float("-inf"), 1e308, -1e308, 2.0**63, -1.0, 0.0)
HUGE = "x" * 2**20
#: What is sent by mistake, and no training row can have held.
NO_NUMBERS: tuple[Any, ...] = ("7", [1.0], {}, object())
NO_TEXTS: tuple[Any, ...] = (7, [""], {}, "\ud800")
#: Features of which each gets every strange value by itself; all of them together get each as well.
ALONE = 100
#: Golden rows that are asked one at a time, as requests come.
REQUESTS = 10
#: Turns of one prediction of which the quickest is its latency: others wait for whatever else the machine does.
TURNS = 20
#: Memory that a model may take: so much, and a multiple of its archive, whose arrays are compressed.
MEMORY, EXPANDED = 2 * 2**30, 20
#: Seconds after which the process ends by itself, should whoever waits for its answer be gone.
LONGEST = 900
#: How much the probabilities of classes may miss 1 by.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Limits:
    """What the owner declares. latency: seconds of one prediction. size: bytes of all files. None sets no limit."""

    latency: float | None = None
    size: float | None = None

    @classmethod
    def of(cls, gate: Gate) -> "Limits":
        return cls(gate.longest, gate.largest)


def unsafe(model: ReleasedModel, limits: Limits, tell: Callable[[str], None]) -> str | None:
    """Why the model may not be served, in words; None where nothing is found. tell: is told what it is doing."""
    golden = model.sample
    if not golden.num_rows:
        return "its archive holds no rows with their predictions"
    tell("answers its golden rows")
    if found := _of_golden(model, golden):
        return found
    tell("answers malformed rows")
    if found := _of_strange(model, golden) or _of_refused(model, golden):
        return found
    if limits.latency is not None and (taken := _latency(model, golden)) > limits.latency:
        return f"one prediction takes {1000 * taken:.3g} ms, {1000 * limits.latency:.3g} ms at most are declared"
    return None


def _of_golden(model: ReleasedModel, golden: pa.Table) -> str | None:
    kept = prediction_values(model.task, golden)
    # Under other libraries the last bits may differ; `load` has held them near already.
    if model.libraries == libraries() and (found := _differing(model.predict(golden), kept)):
        return found
    requests = golden.slice(0, REQUESTS)
    alone = [_flat(model, row) for row in requests.select(model.features).to_pylist()]
    found = _differing(np.array(alone).reshape(kept[:REQUESTS].shape), model.predict(requests))
    return f"asked one at a time, {found}" if found else None


def _differing(scored: np.ndarray, kept: np.ndarray) -> str | None:
    differ = (scored != kept).reshape(len(kept), -1).any(axis=1)
    if not differ.any():
        return None
    by = np.max(np.abs(scored - kept))
    return f"{differ.sum()} of {len(kept)} golden rows are answered otherwise than in training, by up to {by:.3g}"


def _flat(model: ReleasedModel, row: dict[str, Any]) -> list[float]:
    one = model.predict_one(row)
    return list(one.values()) if isinstance(one, dict) else [one]


def _of_strange(model: ReleasedModel, golden: pa.Table) -> str | None:
    """Of rows that must be answered: by a finite value in the task's range."""
    changes = list(strange(model, golden))
    if not changes:
        return None
    numbers = {name for name in model.features if name not in model.encoding.categories}
    base = golden.slice(0, 1).to_pylist()[0]
    columns = {}
    for name in model.features:
        kind = pa.float64() if name in numbers else pa.large_string()
        usual = None if base[name] is None else float(base[name]) if name in numbers else str(base[name])
        columns[name] = pa.array([change.get(name, usual) for change in changes], kind)
    rows = pa.table(columns)
    try:
        sound = _sound(model.task, model.predict(rows))
    except Exception:
        # One of them is to be named.
        sound = None
    for place, change in enumerate(changes):
        if sound is not None and sound[place]:
            continue
        try:
            answer = model.predict(rows.slice(place, 1))
        except MemoryError:
            raise
        except Exception as error:
            return f"{_told(change)} raises {type(error).__name__}: {error!s:.200}"
        if not _sound(model.task, answer).all():
            return f"{_told(change)} is answered by {', '.join(f'{each:.4g}' for each in answer.ravel())}"
    return None if sound is not None else "malformed rows raise an error together, and none of them alone"


def strange(model: ReleasedModel, golden: pa.Table) -> Iterator[dict[str, Any]]:
    """What is changed in a row that was seen in training: feature -> value; each by itself, and all of a kind together."""
    categories, features = model.encoding.categories, model.features
    numbers = [name for name in features if name not in categories]
    texts = [name for name in features if name in categories]
    unseen = {name: _unseen(categories[name]) for name in texts}
    yield dict.fromkeys(features)
    for value in NUMBERS if numbers else ():
        yield dict.fromkeys(numbers, value)
    if texts:
        yield dict(unseen)
        yield dict.fromkeys(texts, "")
        yield {texts[0]: HUGE}
    for name in features[:ALONE]:
        for value in (None, *((unseen[name], "") if name in unseen else NUMBERS)):
            yield {name: value}


def _unseen(levels: tuple[str, ...]) -> str:
    return max(levels, default="") + "?"


def _sound(task: str, predictions: np.ndarray) -> np.ndarray:
    """Shape (n,): whether each row's prediction is one that the task can have."""
    each = predictions.reshape(len(predictions), -1)
    sound = np.isfinite(each).all(axis=1)
    if kind_of(task) == "count" or kind_of(task) == "binary" or classes_of(task):
        sound &= (each >= 0).all(axis=1)
    if kind_of(task) == "binary" or classes_of(task):
        sound &= (each <= 1).all(axis=1)
    if classes_of(task):
        sound &= np.abs(each.sum(axis=1) - 1) <= ROUNDING
    return sound


def _of_refused(model: ReleasedModel, golden: pa.Table) -> str | None:
    """Of requests that must be refused by an error which names the feature."""
    base = golden.slice(0, 1).select(model.features).to_pylist()[0]
    text = next((name for name in model.features if name in model.encoding.categories), None)
    number = next((name for name in model.features if name not in model.encoding.categories), None)
    without = [(name, f"a request without {name}", _without(base, name)) for name in model.features[:1]]
    wrong: list[tuple[str, Any]] = []
    if number is not None:
        wrong += [(number, value) for value in NO_NUMBERS]
    if text is not None:
        wrong += [(text, value) for value in NO_TEXTS]
    asked = without + [(name, _told({name: value}), {**base, name: value}) for name, value in wrong]
    for name, told, row in asked:
        try:
            answer = model.predict_one(row)
        except (KeyError, ValueError) as error:
            if name in str(error):
                continue
            return f"{told} raises {type(error).__name__} without the feature's name: {error!s:.200}"
        except Exception as error:
            return f"{told} raises {type(error).__name__}: {error!s:.200}"
        return f"{told} is answered by {answer}, and should be refused"
    return None


def _without(row: dict[str, Any], name: str) -> dict[str, Any]:
    return {each: value for each, value in row.items() if each != name}


def _told(change: dict[str, Any]) -> str:
    """What is strange about a row, in words that are the same in every process."""
    value = next(iter(change.values()))
    if value is None or isinstance(value, (float, int)):
        shown = "null" if value is None else str(value)
    elif isinstance(value, str):
        shown = f"a text of {len(value)} letters" if len(value) > 50 else ascii(value)
    else:
        shown = f"a value of type {type(value).__name__}"
    name = next(iter(change)) if len(change) == 1 else f"each of {len(change)} features"
    return f"{shown} for {name}"


def _latency(model: ReleasedModel, golden: pa.Table) -> float:
    """Seconds of the quickest of several predictions of one row."""
    row, taken = golden.slice(0, 1).select(model.features).to_pylist()[0], []
    for _ in range(TURNS):
        began = time.perf_counter()
        model.predict_one(row)
        taken.append(time.perf_counter() - began)
    return min(taken)


def _tried(archive: ArchiveFolder, line: str, version: str, limits: Limits, tell: Callable[[str], None]) -> str | None:
    """As `unsafe`, for a version of the archive. Raises OSError where the archive cannot be reached."""
    tell("loads its archive")
    try:
        size = archive.size(line, version)
        if limits.size is not None and size > limits.size:
            return f"its archive has {size:,} bytes, {limits.size:,.0f} at most are declared"
        allowed = MEMORY + EXPANDED * size
        _limit_memory(allowed)
        return unsafe(load(archive, line, version), limits, tell)
    except (FileNotFoundError, ArchiveDamaged, ModelRefused) as error:
        return str(error)
    except MemoryError:
        return f"it takes more than {allowed / 2**30:.3g} GiB of memory"
    except OSError:
        raise
    except Exception as error:
        return f"{type(error).__name__}: {error!s:.200}"


def _limit_memory(allowed: int) -> None:
    """Let the process have so much more than it has, where the system counts it; Linux does."""
    status = Path("/proc/self/status")
    if not status.exists():
        return
    (has,) = re.findall(r"^VmData:\s+(\d+) kB", status.read_text(), re.MULTILINE)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = int(has) * 1024 + allowed
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def main() -> None:
    # What a library prints is no answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def tell(**told: Any) -> None:
        answers.write(json.dumps(told) + "\n")
        answers.flush()

    tell(ready=True)
    for text in sys.stdin:
        signal.alarm(LONGEST)
        asked = json.loads(text)
        os.environ.clear()
        os.environ.update(asked["environment"])
        archive, limits = ArchiveFolder(asked["archive"]), Limits(**asked["limits"])
        try:
            found = _tried(archive, asked["line"], asked["version"], limits, lambda doing: tell(doing=doing))
        except OSError as error:
            tell(failed=f"{type(error).__name__}: {error!s:.500}")
        else:
            tell(unsafe=found)
        signal.alarm(0)


if __name__ == "__main__":
    main()
