"""Does the whole line run, from the command, on a real PostgreSQL; and does it survive being killed?"""

import signal
from pathlib import Path

import pytest
import sqlalchemy as sa

from factory_resources.ledger import Ledger
from tests.line.world import Home, declare

pytestmark = pytest.mark.slow

LINES = ("delivery_time", "repeat_order")


@pytest.fixture(scope="module")
def declarations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return declare(tmp_path_factory.mktemp("declarations") / "marketplace")


@pytest.fixture(scope="module")
def on_postgres(tmp_path_factory: pytest.TempPathFactory, declarations: Path, postgres_url: str) -> tuple[Home, str]:
    """A home whose runs and ledger are kept in PostgreSQL, after one clean run, and what that run printed."""
    folder = tmp_path_factory.mktemp("postgres_home")
    (folder / "dagster").mkdir()
    storage = f"{{module: factory_resources.postgres_event_log, class: PostgresStorage, config: {{postgres_url: '{postgres_url}'}}}}"
    settings = f"storage: {{custom: {storage}}}\ntelemetry: {{enabled: false}}\n"
    (folder / "dagster" / "dagster.yaml").write_text(settings)
    extra = {"FACTORY_LEDGER": postgres_url, "DAGSTER_HOME": str(folder / "dagster")}
    home = Home(folder, declarations, extra)
    return home, home.run()


@pytest.mark.slow
def test_every_table_of_the_line_is_filled_from_the_one_before(on_postgres: tuple[Home, str]) -> None:
    home, _ = on_postgres
    contents = home.contents()
    stations = (
        "examples",
        "labels",
        "predictions",
        "parents",
        "performance",
        "estimates",
        "drift",
        "counts",
        "monitors",
    )
    expected = [f"orders/{name}" for name in ("raw", "events", "quarantine", "statistics")]
    expected += [f"{line}/{name}" for line in LINES for name in stations]
    # One champion answers all of the other line: nobody is above it.
    assert [table for table in expected if not contents.get(table, (0,))[0]] == ["repeat_order/parents"]
    assert contents["orders/raw"][0] > contents["orders/events"][0] > contents["delivery_time/examples"][0]


@pytest.mark.slow
def test_the_table_says_for_every_segment_who_answers(on_postgres: tuple[Home, str]) -> None:
    home, output = on_postgres
    ledger = Ledger(url=home.extra["FACTORY_LEDGER"])
    champions = ledger.champions("delivery_time")
    assert "global" in champions and len(champions) < 19, "some cities are too small for a model of their own"
    for node in {decision.node for decision in ledger.decisions("delivery_time")}:
        row = next(line for line in output.splitlines() if f"│ {node} " in line)
        assert ("itself" in row) == (node in champions)


@pytest.mark.slow
def test_runs_and_decisions_stand_in_postgresql(on_postgres: tuple[Home, str]) -> None:
    home, _ = on_postgres
    engine = sa.create_engine(home.extra["FACTORY_LEDGER"])
    with engine.connect() as connection:
        assert connection.execute(sa.text("select count(*) from ledger_decisions")).scalar_one() > 0
        failed = connection.execute(sa.text("select count(*) from runs where status <> 'SUCCESS'")).scalar_one()
        assert failed == 0
    assert not list(home.folder.rglob("*.db"))


@pytest.mark.slow
def test_every_prediction_leads_to_a_version_that_was_champion_before_its_day(on_postgres: tuple[Home, str]) -> None:
    from factory_resources.lake import Lake

    home, _ = on_postgres
    ledger, lake = Ledger(url=home.extra["FACTORY_LEDGER"]), Lake(root=str(home.folder / "lake"))
    for line in LINES:
        rows = lake.read(f"{line}/predictions", columns=["ds", "node", "version"])
        answered = set(zip(*(rows[name].to_pylist() for name in rows.column_names), strict=True))
        assert answered
        for day, node, version in answered:
            assert ledger.champions(line, before=day)[node].champion == version


@pytest.mark.slow
def test_no_day_is_a_missing_partition(
    on_postgres: tuple[Home, str], declarations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dagster as dg

    from factory_assets.definitions import defs

    home, _ = on_postgres
    monkeypatch.setenv("FACTORY_DEFS", str(declarations))
    specs = defs().resolve_all_asset_specs()
    daily = {spec.key: spec.partitions_def for spec in specs if spec.key.path[-1] != "source"}
    daily = {key: days for key, days in daily.items() if isinstance(days, dg.DailyPartitionsDefinition)}
    assert {dg.AssetKey([line, table]) for line in LINES for table in ("predictions", "monitors")} <= daily.keys()
    with dg.DagsterInstance.from_config(home.extra["DAGSTER_HOME"]) as instance:
        for key, days in daily.items():
            made = instance.get_materialized_partitions(key)
            assert made == set(days.get_partition_keys()), key.to_user_string()


@pytest.mark.slow
def test_a_second_run_computes_nothing(on_postgres: tuple[Home, str]) -> None:
    home, _ = on_postgres
    before = home.contents()
    again = home.run()
    assert " computed" not in again and "up to date" in again
    assert home.contents() == before


@pytest.mark.longest
def test_a_run_killed_again_and_again_ends_in_the_state_of_a_clean_one(
    on_postgres: tuple[Home, str], tmp_path: Path, declarations: Path
) -> None:
    clean, _ = on_postgres
    killed = Home(tmp_path / "home", declarations, {})
    for step in ("orders/raw", "delivery_time/labels", "delivery_time/model"):
        with killed.start("run", str(declarations)) as process:
            assert process.stdout and any(step in line for line in process.stdout), step
            process.send_signal(signal.SIGKILL)
    killed.run()
    assert killed.contents() == clean.contents()
    ours, theirs = (
        Ledger(url=url) for url in (f"sqlite:///{killed.folder / 'ledger.db'}", clean.extra["FACTORY_LEDGER"])
    )
    for line in LINES:
        assert [(d.node, d.champion) for d in ours.champions(line).values()] == [
            (d.node, d.champion) for d in theirs.champions(line).values()
        ]


def test_training_is_refused_until_windows_are_covered_and_the_command_says_from_when(
    tmp_path: Path, declarations: Path
) -> None:
    output = Home(tmp_path / "home", declarations, {}).run("--until", "2026-01-20")
    assert "training is possible from 2026-03-11" in output
    assert "not trained yet" in output


def test_check_names_file_line_value_and_what_is_allowed(tmp_path: Path) -> None:
    folder = declare(tmp_path / "broken")
    text = (folder / "defs.yaml").read_text().replace("task: regression", "task: regresion")
    (folder / "defs.yaml").write_text(text)
    line = 1 + text[: text.index("task: regresion")].count("\n")
    process = Home(tmp_path / "home", folder, {}).start("check", str(folder))
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"defs.yaml:{line}" in output and "regresion" in output and "'regression'" in output
    assert "Traceback" not in output
