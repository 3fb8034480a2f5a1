"""Is the bike example's demand better forecast when retrained, and are four copies with four date formats one and the same?"""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pyarrow as pa
import pytest

from factory_assets.governor.executor import Deployment
from tests.public_data.deployed import DATA, deployed, run_days, table, told_of_days

FOLDER = DATA / "bike_sharing"
COPIES = FOLDER / "dirty_copies"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not FOLDER.exists(), reason="the bike rentals are not beside the repository (../shared/data/bike_sharing)"
    ),
]

PARQUET = 'source: {kind: parquet, uri: "{{ env.BIKE_SHARING }}/hour.parquet"}'
DATE = "dteday: {type: date, "
#: Weeks of winter, and the days around the one on which clocks go forward.
STRETCHES = ((dt.date(2011, 1, 1), dt.date(2011, 1, 20)), (dt.date(2011, 3, 11), dt.date(2011, 3, 14)))
#: Number of the record whose number begins with a control character in the copy with ISO dates.
MANGLED = 160


def events(folder: Path, replaced: dict[str, str]) -> tuple[pa.Table, list[dict[str, object]], Deployment]:
    """The example's events of the stretches, what was told of each day, and the deployment."""
    environment = {"BIKE_SHARING": str(FOLDER)}
    with deployed(folder, "bike_demand", environment, replaced) as deployment:
        for first, last in STRETCHES:
            assert run_days(deployment, ["rentals/raw", "rentals/events"], first, last) == []
        rows = table(deployment, "rentals/events").sort_by("instant")
        return rows, told_of_days(deployment, "rentals/events"), deployment


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    return events(tmp_path_factory.mktemp("clean"), {})[0]


@pytest.mark.parametrize(
    ("name", "pattern"),
    [("dd-mm-yyyy", "%d-%m-%Y"), ("m-d-yy", "%m/%d/%y"), ("m-d-yyyy", "%m/%d/%Y"), ("iso_dash", "%Y-%m-%d")],
)
def test_copies_with_other_date_formats_are_the_same_events_once_the_format_is_declared(name, pattern, clean, tmp_path):
    source = f"source: {{kind: csv, uri: {COPIES / f'hour_{name}.csv.gz'}}}"
    found, told, deployment = events(tmp_path, {PARQUET: source, DATE: f'{DATE}format: "{pattern}", '})
    expected = clean.filter(pa.compute.not_equal(clean["instant"], MANGLED)) if name == "iso_dash" else clean
    assert found.equals(expected)
    if name != "iso_dash":
        assert table(deployment, "rentals/quarantine").num_rows == 0
        return
    (aside,) = table(deployment, "rentals/quarantine").to_pylist()
    assert aside["rule"] == "instant is integer" and aside["ds"] == dt.date(2011, 1, 8)
    assert json.loads(aside["unparsed"])["instant"] == "\x1160"
    assert sum(day.get("quarantined") or 0 for day in told) == 1
