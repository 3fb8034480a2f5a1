"""Does the ledger say in a row a node where all decisions on it have led, whoever made them and in whichever order?"""

import datetime as dt
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings

from factory_resources.ledger import Ledger
from factory_resources.records import migrations
from factory_resources.records.chain import SUBJECTS as CHAINED
from factory_resources.records.decisions import ChampionChanged, Standing
from tests.resources.test_ledger import (
    DAY,
    LINE,
    _at_once,
    _decide_at_random,
    a_decision,
    a_version,
    ledger,
    processes,
)

NODES = ("global", "FR/Lyon")
#: Of each version of a node the contract that it was made under; the last is older than contracts.
CONTRACTS: tuple[str | None, ...] = ("c0", "c1", None)
LATER = dt.date(9999, 1, 1)
__all__ = ["ledger", "processes"]

STEP = st.tuples(
    st.sampled_from(["promote", "keep", "fallback", "approve", "rollback"]),
    st.sampled_from(NODES),
    st.integers(0, 3),
    st.integers(0, len(CONTRACTS) - 1),
    st.sampled_from([{}, {"contract": "c9"}, {"contract": None}, {"waits_for_approval": True}]),
)


def register(ledger: Ledger, line: str) -> None:
    for node in NODES:
        for number, contract in enumerate(CONTRACTS):
            made = a_version(f"{node}-{number}", line=line, node=node)
            noted = {"contract": contract} if contract else {}
            ledger.register(replace(made, configuration=made.configuration | noted))


def take(ledger: Ledger, line: str, step: tuple[str, str, int, int, dict[str, Any]]) -> None:
    """Decide what the step says; what the ledger refuses changes nothing."""
    verdict, node, day, number, evidence = step
    version, held = f"{node}-{number}", ledger.champion(line, node)
    of_verdict: dict[str, tuple[str | None, str | None]] = {
        "keep": (version, held.champion if held else None),
        "fallback": (None, None),
        "rollback": (held.champion if held else None, version if number else None),
    }
    before, champion = of_verdict.get(verdict, (version, version))
    decision = a_decision(verdict, before, champion, line=line, node=node, as_of=DAY + dt.timedelta(days=day))
    with suppress(ChampionChanged, ValueError):
        if verdict == "rollback":
            ledger.roll_back(decision)
        else:
            ledger.decide(replace(decision, evidence=evidence))


def rebuilt(ledger: Ledger, line: str) -> dict[str, Standing]:
    """The naive way: all decisions of each node, read from the first to the last."""
    versions = {version.version: version for version in ledger.versions(line)}
    changed, found = ledger.changed(line), {}
    for node in {decision.node for decision in ledger.decisions(line)}:
        made = ledger.decisions(line, node)
        last = trained = None
        for number, decision in enumerate(made, start=1):
            if last is None or decision.as_of >= last[1].as_of:
                last = number, decision
            by_training = decision.verdict in ("promote", "keep", "fallback")
            if by_training and (trained is None or decision.as_of >= trained.as_of):
                trained = decision
        assert last is not None
        sequence, of_now = last
        contract = trained.evidence.get("contract") if trained else None
        if contract is None and trained and trained.version:
            contract = versions[trained.version].configuration.get("contract")
        found[node] = Standing(
            line, node, sequence, of_now.as_of, of_now.verdict, of_now.version, of_now.champion, of_now.reason,
            of_now.decided_by, of_now.decided_at, bool(of_now.evidence.get("waits_for_approval")),
            trained.as_of if trained else None, contract, changed.get(node),
        )  # fmt: skip
    return found


def forget_the_table(ledger: Ledger) -> None:
    """Bring the database to the revision before there was one."""
    with ledger._open().begin() as connection:
        for table in ("ledger_standing", "ledger_verdicts"):
            connection.execute(sa.text(f"DROP TABLE {table}"))
        for table in CHAINED:
            connection.execute(sa.text(f"ALTER TABLE {table.name} DROP COLUMN chain"))
        for column in ("unsafe", "disagreement"):
            connection.execute(sa.text(f"ALTER TABLE ledger_evaluations DROP COLUMN {column}"))
        for table in ("versions", "evaluations", "decisions", "trials", "tags"):
            connection.execute(sa.text(f"ALTER TABLE ledger_{table} RENAME COLUMN node TO segment"))
        for table in ("issues", "certificates", "trials"):
            connection.execute(sa.text(f"ALTER TABLE ledger_{table} RENAME COLUMN message TO told"))
        connection.execute(sa.update(migrations.TABLE).values(version_num="0006"))
    ledger.close()


@pytest.mark.slow
def test_after_any_history_the_table_says_what_reading_all_decisions_says_and_so_does_a_migration(
    ledger: Ledger,
) -> None:
    kept: dict[str, dict[str, Standing]] = {}

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(STEP, min_size=1, max_size=10))
    def decide(steps: list[tuple[str, str, int, int, dict[str, Any]]]) -> None:
        line = f"line_{len(kept)}"
        register(ledger, line)
        for step in steps:
            take(ledger, line, step)
        kept[line] = ledger.standing(line)
        assert kept[line] == rebuilt(ledger, line)
        assert ledger.last_decisions(line) == ledger.last_decisions(line, before=LATER)
        assert ledger.champions(line) == ledger.champions(line, before=LATER)

    decide()
    assert {each.verdict for line in kept.values() for each in line.values()} > {"rollback", "approve", "promote"}
    forget_the_table(ledger)
    assert {line: ledger.standing(line) for line in kept} == kept


def test_a_decision_on_a_day_long_past_changes_neither_the_champion_nor_the_last_training(ledger: Ledger) -> None:
    register(ledger, LINE)
    newest, past = DAY + dt.timedelta(days=7), DAY
    ledger.decide(a_decision("promote", "global-1", "global-1", as_of=newest))
    ledger.decide(a_decision("promote", "global-0", "global-0", as_of=past))
    (stands,) = ledger.standing(LINE).values()
    assert (stands.sequence, stands.champion, stands.decided_as_of) == (1, "global-1", newest)
    assert (stands.trained_as_of, stands.contract, stands.changed_as_of) == (newest, "c1", newest)


def test_what_people_decide_is_no_training(ledger: Ledger) -> None:
    register(ledger, LINE)
    ledger.decide(a_decision("promote", "global-0", "global-0", evidence={"contract": "c7"}))
    later = DAY + dt.timedelta(days=3)
    ledger.decide(a_decision("approve", "global-1", "global-1", as_of=later))
    (stands,) = ledger.standing(LINE).values()
    assert (stands.verdict, stands.trained_as_of, stands.contract) == ("approve", DAY, "c7")


def test_what_is_refused_or_said_again_leaves_the_standing(ledger: Ledger) -> None:
    register(ledger, LINE)
    ledger.decide(a_decision("promote", "global-0", "global-0"))
    before = ledger.standing(LINE)
    assert not ledger.decide(a_decision("promote", "global-0", "global-0", reason="again"))
    with pytest.raises(ChampionChanged):
        ledger.decide(a_decision("keep", "global-1", "global-1"), against="global-2")
    assert ledger.standing(LINE) == before and ledger.standing("another") == {}


def test_processes_that_decide_at_once_leave_the_standing_of_all_that_they_decided(
    url: str, ledger: Ledger, processes: ProcessPoolExecutor
) -> None:
    ledger.register(a_version("v1"), a_version("v2"))
    _at_once(processes, _decide_at_random, url)
    assert ledger.standing(LINE) == rebuilt(ledger, LINE)


def test_deciders_of_many_nodes_in_opposite_orders_do_not_lock_each_other_out(url: str, ledger: Ledger) -> None:
    ledger.register(a_version("v1"), a_version("v2"))
    nodes = [f"n{number}" for number in range(20)]

    def decide(worker: int) -> None:
        own = Ledger(url=url)
        for day in range(2):
            for node in nodes if worker % 2 else reversed(nodes):
                version = f"v{worker % 2 + 1}"
                as_of = DAY + dt.timedelta(days=day)
                own.decide(a_decision("promote", version, version, node=node, as_of=as_of))
        own.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(decide, range(4)))
    assert ledger.standing(LINE) == rebuilt(ledger, LINE) and len(ledger.standing(LINE)) == 20


def test_the_standing_of_a_line_is_read_from_its_own_table_alone(ledger: Ledger) -> None:
    register(ledger, LINE)
    ledger.decide(a_decision("promote", "global-0", "global-0"))
    asked: list[str] = []
    sa.event.listen(ledger._open(), "before_cursor_execute", lambda *told: asked.append(told[2]))
    assert list(ledger.standing(LINE)) == ["global"]
    (statement,) = [each for each in asked if each.startswith("SELECT")]
    assert "FROM ledger_standing" in statement.replace("\n", "") and "ledger_decisions" not in statement
