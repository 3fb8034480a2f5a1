"""What becomes of a day of real transactions that is delivered wrongly, in each of the ways that feeds have of being wrong?

Two weeks of a tenth of the customers, a file a day. Each variant changes the file of one day; the days around it must come out
byte for byte as without it.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import numpy as np
import pandas as pd
import pytest

from factory_assets.declarations.catalogue import load
from factory_assets.events.contract.patches import Patch, apply
from factory_assets.events.contract.verdicts import outcomes, suggestions
from factory_assets.loading import load_declarations
from factory_assets.materialization import data_versions
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger
from factory_resources.records.issues import Issues
from factory_resources.records.verdicts import Verdicts
from tests.public_data.deployed import DATA

RAW = DATA / "card_transactions" / "raw"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not RAW.exists(),
        reason="the card transactions are not beside the repository (../shared/data/card_transactions)",
    ),
]

FIRST = dt.date(2018, 6, 4)
DAYS = [FIRST + dt.timedelta(days=offset) for offset in range(14)]
STRANGE = DAYS[12]
#: What is run again for a variant: the day, and two beside it.
AROUND = DAYS[10:]
REGIONS = np.array(["north", "south", "east", "west"])

STREAM = """
type: factory_assets.components.EventStream
attributes:
  name: transactions
  owner: team:payments
  description: Card transactions, one row each.
  source: {kind: csv, uri: 'FEED/{day}*.csv', null_values: ['', NA], late: 9d}
  id: TRANSACTION_ID
  event_time: TX_DATETIME
  known_at: RECEIVED_AT
  start: 2018-06-04
  end: 2018-06-17
  cleanse:
    no_amount: {column: TX_AMOUNT, null_if: [-1, 999]}
    one_spelling: {column: REGION, to: lower(trim(REGION))}
"""
CONTRACT = """
version: 1
tolerance: 0.05
columns:
  TRANSACTION_ID: {type: integer}
  TX_DATETIME: {type: timestamp}
  RECEIVED_AT: {type: timestamp}
  CUSTOMER_ID: {type: integer, min: 0, max: 4999, distinct: {max_change: 0.5}}
  TERMINAL_ID: {type: integer, nullable: true, min: 0, max: 19999, presence: {min_fraction: 0.9, by: REGION}}
  TX_AMOUNT: {type: double, nullable: true, min: 0, max: 5000, presence: {min_fraction: 0.85, every: hour}}
  TX_FRAUD: {type: integer, nullable: true, allowed: [0, 1], max_shift: 0.3, presence: {min_fraction: 0.5}, not_in: [serving]}
  REGION: {type: string, required: false, nullable: true, allowed: [north, south, east, west]}
  WEEKDAY: {type: integer, min: 0, max: 7}
rules:
  weekday_is_that_of_the_date: WEEKDAY = isodow(TX_DATETIME)
volume: {min: 100, max_change: 0.25}
warn: [share of rows with TX_FRAUD]
"""


class Feed:
    """A folder with declarations, files, tables and a Dagster instance of its own."""

    def __init__(self, folder: Path):
        self.folder, self.feed = folder, folder / "feed"
        self.lake = Lake(root=str(folder / "lake"))
        self.engine = Engine(threads=2, memory_limit="1GB")
        self.instance = dg.DagsterInstance.ephemeral()
        self.contract = folder / "defs" / "contract.yaml"

    def declare(self) -> None:
        (self.folder / "defs").mkdir(exist_ok=True)
        (self.folder / "defs" / "defs.yaml").write_text(STREAM.replace("FEED", str(self.feed)))
        if not self.contract.exists():
            self.contract.write_text(CONTRACT)

    def run(self, days: list[dt.date]) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FACTORY_DEFS", str(self.folder / "defs"))
            declared = load_declarations()
        url = f"sqlite:///{self.folder / 'ledger.db'}"
        resources = {
            "lake": self.lake, "engine": self.engine, "issues": Issues(url=url), "ledger": Ledger(url=url),
            "verdicts": Verdicts(url=url),
        }  # fmt: skip
        definitions = dg.Definitions.merge(
            declared, dg.Definitions(resources=resources, executor=dg.in_process_executor)
        )
        result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(["transactions", name]) for name in ("raw", "events")],
            tags={
                "dagster/asset_partition_range_start": str(days[0]),
                "dagster/asset_partition_range_end": str(days[-1]),
            },
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        assert result.success

    def versions(self, asset: str = "events") -> dict[str, str]:
        return data_versions(self.instance, dg.AssetKey(["transactions", asset]))

    def told(self, on: dt.date) -> dict[str, Any]:
        """Metadata of the day's newest materialisation of events."""
        event = self.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=dg.AssetKey(["transactions", "events"]), asset_partitions=[str(on)]),
            limit=1,
        ).records[0]
        assert event.asset_materialization is not None
        return {name: value.value for name, value in event.asset_materialization.metadata.items()}

    def read(self, name: str, on: dt.date) -> pd.DataFrame:
        return self.lake.read(f"transactions/{name}", on, on, empty_if_absent=True).to_pandas()

    def file(self, on: dt.date) -> Path:
        return self.feed / f"{on}.csv"


def written(frame: pd.DataFrame, file: Path) -> None:
    frame.to_csv(file, index=False, date_format="%Y-%m-%d %H:%M:%S")


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Feed:
    feed = Feed(tmp_path_factory.mktemp("clean"))
    feed.feed.mkdir()
    feed.declare()
    rows = duckdb.sql(
        f"""SELECT TRANSACTION_ID, TX_DATETIME::TIMESTAMP AS TX_DATETIME, TX_DATETIME::TIMESTAMP + INTERVAL 1 MINUTE AS RECEIVED_AT,
                   CUSTOMER_ID::INT AS CUSTOMER_ID, TERMINAL_ID::INT AS TERMINAL_ID, TX_AMOUNT, TX_FRAUD::INT AS TX_FRAUD
            FROM '{RAW}/2018-06.parquet'
            WHERE CUSTOMER_ID::INT % 10 = 0 AND TX_DATETIME::DATE BETWEEN '{DAYS[0]}' AND '{DAYS[-1]}'
            ORDER BY TX_DATETIME, TRANSACTION_ID"""
    ).df()
    rows["REGION"] = REGIONS[rows.TERMINAL_ID % 4]
    rows["WEEKDAY"] = rows.TX_DATETIME.dt.dayofweek + 1
    for on, frame in rows.groupby(rows.TX_DATETIME.dt.date):
        written(frame, feed.file(on))
    feed.run(DAYS)
    assert set(feed.versions()) == set(map(str, DAYS))
    assert len(rows) > 11_000 and feed.lake.read("transactions/events").num_rows == len(rows)
    return feed


def delivered(feed: Feed, on: dt.date) -> pd.DataFrame:
    return pd.read_csv(feed.file(on), parse_dates=["TX_DATETIME", "RECEIVED_AT"], float_precision="round_trip")


def copied(clean: Feed, folder: Path) -> Feed:
    """The same two weeks, to be made dirty."""
    for name in ("feed", "lake", "defs"):
        shutil.copytree(clean.folder / name, folder / name)
    feed = Feed(folder)
    feed.declare()
    return feed


@dataclass(frozen=True)
class Variant:
    """A way to be wrong. blocked: how the reason begins, '' where the day goes on. aside: quarantined rows by rule."""

    name: str
    change: Callable[[pd.DataFrame], pd.DataFrame]
    blocked: str = ""
    aside: dict[str, int] | None = None
    same: bool = False
    told: dict[str, Any] | None = None
    patched: bool | None = None


def changed(column: str, value: Callable[[pd.DataFrame], Any]) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda frame: frame.assign(**{column: value(frame)})


def some(frame: pd.DataFrame, column: str, values: list[Any]) -> pd.Series:
    """The column with its first values replaced."""
    replaced = frame[column].astype(object).copy()
    replaced.iloc[: len(values)] = values
    return replaced


def swapped(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(CUSTOMER_ID=frame.TERMINAL_ID, TERMINAL_ID=frame.CUSTOMER_ID)


def shifted(frame: pd.DataFrame, hours: int = 5) -> pd.DataFrame:
    by = pd.Timedelta(hours=hours)
    return frame.assign(TX_DATETIME=frame.TX_DATETIME - by, RECEIVED_AT=frame.RECEIVED_AT - by)


RNG = np.random.default_rng(12)
VARIANTS = [
    Variant("a column renamed", lambda f: f.rename(columns={"TX_AMOUNT": "AMOUNT"}), "column TX_AMOUNT is missing", patched=True),
    Variant("an id as zero-padded text", changed("TRANSACTION_ID", lambda f: f.TRANSACTION_ID.astype(str).str.zfill(12)), same=True),
    Variant("a new nullable column", changed("CHANNEL", lambda f: np.where(np.arange(len(f)) % 2, "web", "")),
            same=True, patched=True),
    Variant("an optional column absent", lambda f: f.drop(columns="REGION")),
    Variant("two integer columns swapped", swapped, "rows break 'CUSTOMER_ID <= 4999'", {}, patched=False),
    Variant("a control character in one integer", changed("CUSTOMER_ID", lambda f: some(f, "CUSTOMER_ID", ["\x1110"])),
            aside={"CUSTOMER_ID is integer": 1}, patched=False),
    Variant("amounts in cents", changed("TX_AMOUNT", lambda f: f.TX_AMOUNT * 100),
            "rows break 'TX_AMOUNT <= 5000'", {}, patched=False),
    Variant("times off by five hours", shifted, "rows break 'TX_DATETIME lies in the day'", {}, patched=False),
    Variant("codes from 0 instead of from 1", changed("WEEKDAY", lambda f: f.WEEKDAY - 1),
            "ROWS of ROWS rows break 'weekday_is_that_of_the_date'", {}, patched=False),
    Variant("a label turned over", changed("TX_FRAUD", lambda f: 1 - f.TX_FRAUD), "shift of TX_FRAUD", {}, patched=False),
    Variant("sentinels for null", changed("TX_AMOUNT", lambda f: some(f, "TX_AMOUNT", [-1, 999, "", "NA"])),
            told={"cleansed_by_rule": {"no_amount": 2}}),
    Variant("an exploding id", changed("CUSTOMER_ID", lambda f: RNG.integers(0, 4999, len(f))), "different values of CUSTOMER_ID", {}),
    Variant("300 new terminals", changed("TERMINAL_ID", lambda f: some(f, "TERMINAL_ID", list(range(10_000, 10_300))))),
    Variant("a category in other case and with blanks", changed("REGION", lambda f: " " + f.REGION.str.upper() + "  "), same=True),
    Variant("every row twice", lambda f: pd.concat([f, f]), same=True, told={"duplicates": "ROWS"}),
    Variant("corrections", lambda f: pd.concat([f, f.head(9).assign(TX_AMOUNT=7.25, RECEIVED_AT=f.RECEIVED_AT.max())]),
            told={"superseded": 9}),
    Variant("a day in the place of another", lambda f: shifted(f, hours=24),
            "ROWS of ROWS rows break 'TX_DATETIME lies in the day'", {}, patched=False),
    Variant("70 % of a file", lambda f: f.head(int(len(f) * 0.7)), "number of rows is", {}, patched=True),
    Variant("stamps a year ahead and of 1970",
            changed("TX_DATETIME", lambda f: some(f, "TX_DATETIME", ["2019-06-16 10:00:00"] * 3 + ["1970-01-01 00:00:00"] * 4)),
            aside={"TX_DATETIME lies in the day": 7}, patched=False),
    Variant("an empty day", lambda f: f.head(0), "number of rows is 0", {}, patched=False),
    Variant("nulls for three hours", changed("TX_AMOUNT", lambda f: f.TX_AMOUNT.mask(f.TX_DATETIME.dt.hour.between(3, 5))),
            "share of rows with TX_AMOUNT in every hour", {}, patched=False),
    Variant("nulls in one segment", changed("TERMINAL_ID", lambda f: f.TERMINAL_ID.astype("Int64").mask(f.REGION == "west")),
            "share of rows with TERMINAL_ID for every REGION (REGION west)", {}, patched=False),
    Variant("one value out of all bounds", changed("TX_AMOUNT", lambda f: some(f, "TX_AMOUNT", [429_490])),
            aside={"TX_AMOUNT <= 5000": 1}, patched=False),
    Variant("infinity and NaN as text", changed("TX_AMOUNT", lambda f: some(f, "TX_AMOUNT", ["inf", "-Infinity", "nan"])),
            aside={"TX_AMOUNT is double": 3}, patched=False),
    Variant("no labels at all", changed("TX_FRAUD", lambda f: "")),
]  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS, ids=[variant.name for variant in VARIANTS])
def test_a_day_delivered_wrongly_has_the_outcome_that_is_stated_and_no_other_day_changes(variant, clean, tmp_path):
    feed = copied(clean, tmp_path)
    before = delivered(feed, STRANGE)
    dirty = variant.change(before)
    written(dirty, feed.file(STRANGE))
    feed.run(AROUND)
    told, rows = feed.told(STRANGE), len(before)

    found, known = feed.versions(), clean.versions()
    assert {day: found[day] for day in map(str, AROUND) if day != str(STRANGE)} == {
        day: known[day] for day in map(str, AROUND) if day != str(STRANGE)
    }
    reason = variant.blocked.replace("ROWS", str(rows))
    assert reason in told.get("blocked", "") and bool(told.get("blocked")) == bool(reason), told
    aside = feed.read("quarantine", STRANGE).rule.value_counts().to_dict()
    if not reason:
        assert aside == (variant.aside or {})
    counted = told["accepted"] + told["duplicates"] + told.get("superseded", 0) + sum(aside.values())
    assert told["rows_delivered"] == counted
    # Of rows off by hours, one that was received after midnight looks like a late one, and stands with the day before.
    came, usual = (sum(each.told(on)["rows_delivered"] for on in AROUND) for each in (feed, clean))
    assert came == usual - rows + len(dirty)
    for name, value in (variant.told or {}).items():
        assert told[name] == (rows if value == "ROWS" else value)
    if variant.same:
        assert found[str(STRANGE)] == known[str(STRANGE)]
    if reason:
        assert served(feed).equals(served(clean)), "what is served is what was"
    check_the_round_trip(variant, feed)


def served(feed: Feed) -> pd.DataFrame:
    return feed.read("events", STRANGE).sort_values("TRANSACTION_ID", ignore_index=True)


def check_the_round_trip(variant: Variant, feed: Feed) -> None:
    """Apply what is suggested, run again: the day passes, or, where no patch should, words say so."""
    declared = load(feed.folder / "defs").streams["transactions"]
    suggested = suggestions(declared, outcomes(feed.lake, feed.engine, declared, [STRANGE]))
    patches = [each for each in suggested.values() if isinstance(each, Patch)]
    if variant.patched is not None:
        assert bool(patches) == variant.patched, {name: each.message for name, each in suggested.items()}
    assert suggested or not variant.blocked
    if patches and len(patches) == len(suggested):
        text = feed.contract.read_text()
        for each in patches:
            text = apply(text, each)
        feed.contract.write_text(text)
        feed.run(AROUND)
        assert "blocked" not in feed.told(STRANGE)
        assert feed.read("quarantine", STRANGE).empty


def test_late_rows_land_in_the_day_of_their_event_and_change_nothing_else(clean, tmp_path):
    feed = copied(clean, tmp_path)
    rng, held = np.random.default_rng(3), []
    frames = {on: delivered(feed, on) for on in DAYS}
    for share, days in ((0.02, 1), (0.005, 3), (0.001, 9)):
        frame = frames[DAYS[3]]
        late = frame[rng.random(len(frame)) < share]
        frames[DAYS[3]] = frame.drop(late.index)
        arrival = pd.Timestamp(DAYS[3 + days]) + pd.Timedelta(hours=8)
        held.append(late.assign(RECEIVED_AT=arrival))
        frames[DAYS[3 + days]] = pd.concat([frames[DAYS[3 + days]], held[-1]])
    moved = pd.concat(held)
    assert len(moved) > 10
    for on, frame in frames.items():
        written(frame, feed.file(on))
    feed.run(DAYS)
    known, found = clean.versions(), feed.versions()
    assert {day for day in known if known[day] != found[day]} == {str(DAYS[3])}
    events = feed.read("events", DAYS[3]).set_index("TRANSACTION_ID")
    assert len(events) == len(clean.read("events", DAYS[3]))
    assert (events.loc[moved.TRANSACTION_ID, "known_at"].to_numpy() == moved.RECEIVED_AT.to_numpy()).all()
    assert all(feed.told(on).get("quarantined", 0) == 0 for on in DAYS)


def test_a_file_cut_in_the_middle_of_a_line_loses_that_line_to_quarantine_and_blocks_the_day(clean, tmp_path):
    feed = copied(clean, tmp_path)
    content = feed.file(STRANGE).read_bytes()
    feed.file(STRANGE).write_bytes(content[: int(len(content) * 0.7) // 10 * 10 + 3])
    feed.run(AROUND)
    assert feed.told(STRANGE)["blocked"].startswith("number of rows is")
    assert served(feed).equals(served(clean))


def test_a_file_delivered_twice_under_two_names_is_one(clean, tmp_path):
    feed = copied(clean, tmp_path)
    shutil.copy(feed.file(STRANGE), feed.feed / f"{STRANGE}-again.csv")
    feed.run(AROUND)
    assert feed.versions()[str(STRANGE)] == clean.versions()[str(STRANGE)]
    assert feed.told(STRANGE)["duplicates"] == feed.told(STRANGE)["accepted"]
