"""Does the ledger stay whole when eight processes promote and roll back at random and are killed at random?"""

from __future__ import annotations

import datetime as dt
import itertools
import multiprocessing
import random
import time
from collections import Counter, defaultdict
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import sqlalchemy as sa

from factory_assets.release.standing import succession
from factory_resources.ledger import Decision, Ledger
from factory_resources.records.decisions import ChampionChanged
from tests.resources.test_ledger import DAY, LINE, a_decision, a_version

NODES = ("global", "FR", "FR/Lyon")
PROCESSES = 8
KILLS = 30
#: Seconds between kills, at most: some hit a process in a transaction, some while it waits for one.
PAUSE = 0.25


def work(url: str, name: str, told: Path, seed: int) -> None:
    """Promote and roll back for ever. What is about to be done is written down, and how it ended as soon as it has."""
    ledger, rng = Ledger(url=url), random.Random(seed)
    with told.open("a", buffering=1) as notes:
        for number in itertools.count():
            node, why = rng.choice(NODES), f"{name}-{number}"
            notes.write(f"begun {why}\n")
            try:
                done = _roll_back(ledger, node, why) if rng.random() < 0.4 else _promote(ledger, rng, node, why)
                notes.write(f"{'done' if done else 'nothing'} {why}\n")
            except ChampionChanged:
                notes.write(f"refused {why}\n")


def _promote(ledger: Ledger, rng: random.Random, node: str, why: str) -> bool:
    decisions = ledger.decisions(LINE, node)
    newest = max((made.as_of for made in decisions), default=DAY)
    day = newest + dt.timedelta(days=rng.randrange(2))
    ledger.register(a_version(why, node=node, as_of=day))
    held = ledger.incumbents(LINE, day).get(node)
    decision = a_decision("promote", why, why, node=node, as_of=day, reason=why)
    return ledger.decide(decision, against=held.champion if held else None)


def _roll_back(ledger: Ledger, node: str, why: str) -> bool:
    decisions = ledger.decisions(LINE, node)
    champions = succession(decisions)
    if len(champions) < 2:
        return False
    newest = max(made.as_of for made in decisions)
    back = a_decision("rollback", champions[-1], champions[-2], node=node, as_of=newest, reason=why)
    return bool(ledger.roll_back(replace(back, decided_by="ana")))


def whole(ledger: Ledger) -> dict[str, list[Decision]]:
    """The history of each node, after it was found to be one that decisions taken one after the other lead to."""
    with ledger._open().connect() as connection:
        rows = connection.execute(sa.text("SELECT node, sequence FROM ledger_decisions ORDER BY id")).all()
    sequences: dict[str, list[int]] = defaultdict(list)
    for node, number in rows:
        sequences[node].append(number)
    assert sequences == {node: list(range(1, len(found) + 1)) for node, found in sequences.items()}
    history = {node: ledger.decisions(LINE, node) for node in NODES}
    for made in history.values():
        newest, champion = DAY, None
        for decision in made:
            if decision.verdict == "rollback":
                assert decision.version == champion, "it took back another than the champion"
            if decision.as_of >= newest:
                newest, champion = decision.as_of, decision.champion
    return history


@pytest.mark.parametrize("seed", [1])
@pytest.mark.slow
def test_killed_at_random_processes_leave_one_champion_a_node_and_all_that_they_were_told(
    url: str, tmp_path: Path, seed: int
) -> None:
    # A server that has imported the ledger starts a process in milliseconds, so that many can be killed.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.resources.test_ledger", "factory_assets.release.standing"])
    names, rng, ledger = itertools.count(), random.Random(seed), Ledger(url=url)
    ledger.register(a_version())

    def start() -> BaseProcess:
        name = f"p{next(names)}"
        process = context.Process(target=work, args=(url, name, tmp_path / name, rng.randrange(2**32)), daemon=True)
        process.start()
        return process

    running = [start() for _ in range(PROCESSES)]
    seen: dict[str, list[Decision]] = {}
    try:
        for _ in range(KILLS):
            time.sleep(rng.uniform(0, PAUSE))
            place = rng.randrange(PROCESSES)
            running[place].kill()
            running[place].join()
            assert running[place].exitcode == -9, "it had ended by itself"
            running[place] = start()
            now = whole(ledger)
            assert {node: now[node][: len(before)] for node, before in seen.items()} == seen, "what is there stays"
            seen = now
    finally:
        for process in running:
            process.kill()
            process.join()
    _everything_told_is_there(tmp_path, [decision for made in whole(ledger).values() for decision in made])
    assert _promote(ledger, rng, "FR", "after all") and _roll_back(ledger, "FR", "and back")
    ledger.close()


def _everything_told_is_there(folder: Path, history: list[Decision]) -> None:
    notes: dict[str, set[str]] = defaultdict(set)
    for line in itertools.chain.from_iterable(path.read_text().splitlines() for path in folder.glob("p*")):
        event, why = line.split()
        notes[event].add(why)
    # A rollback is one action, also where it has a row for each of several days.
    written = Counter(reason for reason, _ in {(decision.reason, decision.decided_at) for decision in history})
    assert set(written.values()) == {1}
    assert notes["done"] <= set(written), "somebody was told of a success that is not in the history"
    unknown = notes["begun"] - notes["done"] - notes["refused"] - notes["nothing"]
    assert set(written) - notes["done"] <= unknown, "what was refused is in the history"
    assert len(unknown) <= KILLS + PROCESSES
    assert len(notes["done"]) > KILLS and notes["refused"], f"{len(notes['done'])} done: nothing was tested"
    assert {decision.verdict for decision in history} == {"promote", "rollback"}
