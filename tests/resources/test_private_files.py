"""Are files for their owner alone, whoever of the libraries writes them, unless the deployment says otherwise?"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

#: What a process of the factory writes, by each of the libraries that write for it; the shell's mask would let all read it.
WRITES = """
import datetime as dt, os, sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import dagster as dg
import pyarrow as pa

import factory_assets.definitions
from factory_assets.deployment import prepare_home, stores


@dg.op
def write(context):
    Path(os.environ["FACTORY_HOME"], "by_step").write_text("x")
    context.log.info("x")


@dg.job(executor_def=dg.multiprocess_executor)
def written():
    write()


if __name__ == "__main__":
    prepare_home()
    os.environ["FACTORY_MEMORY"] = "60MB"
    held, home = stores(), Path(os.environ["FACTORY_HOME"])
    day = dt.date(2026, 1, 1)
    held["lake"].replace("orders/raw", pa.table({"ds": [day], "x": ["y"]}), [day])
    held["archive"].store("line", {"a": 1}, {"model.json": b"1"})
    held["reports"].write("line/page.html", "<p>")
    assert held["ledger"].lines() == []
    with held["engine"].connect() as con:
        con.execute("CREATE TEMP TABLE t AS SELECT range, md5(range::VARCHAR) AS text FROM range(2000000)").fetchall()
        spill = Path(con.execute("SELECT current_setting('temp_directory')").fetchall()[0][0])
        spilled = [spill, *spill.rglob("*")]
        assert len(spilled) > 1 and all(path.stat().st_mode & 0o77 == 0 for path in spilled), spilled
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(Path(home, "by_pool").write_text, "x").result()
    with dg.DagsterInstance.get() as instance:
        assert dg.execute_job(dg.reconstructable(written), instance).success
"""


def wrote(tmp_path: Path, code: str, *arguments: str, **environment: str) -> dict[str, str]:
    """Path below the factory's home -> its rights, of a process that was started with a mask of 022."""
    home, script = tmp_path / "home", tmp_path / "writes.py"
    tmp_path.mkdir(exist_ok=True)
    script.write_text(code)
    known = {name: value for name, value in os.environ.items() if name not in ("FACTORY_UMASK", "DAGSTER_HOME")}
    command = [sys.executable, *(arguments or (str(script),))]
    done = subprocess.run(
        command, env=known | {"FACTORY_HOME": str(home)} | environment, umask=0o022, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {str(path.relative_to(tmp_path)): f"{path.stat().st_mode & 0o777:o}" for path in [home, *home.rglob("*")]}


@pytest.mark.slow
def test_what_any_library_or_child_writes_is_for_its_owner_alone(tmp_path: Path) -> None:
    found = wrote(tmp_path, WRITES)
    kinds = (
        "lake/orders/raw/_delta_log/",
        "archive/line/",
        "ledger.db",
        "reports/line/page.html",
        "by_pool",
        "by_step",
    )
    for kind in (*kinds, "dagster/history/runs.db", "dagster/schedules", "dagster/storage/"):
        assert any(path.startswith(f"home/{kind}") for path in found), kind
    assert {path: rights for path, rights in found.items() if int(rights, 8) & 0o077} == {}


def test_the_command_keeps_what_it_writes_private_and_a_deployment_may_open_it_to_a_group(tmp_path: Path) -> None:
    command = ("-m", "factory_assets.cli", "home")
    assert wrote(tmp_path / "alone", "", *command) == {
        "home": "700", "home/dagster": "700", "home/dagster/dagster.yaml": "600"
    }  # fmt: skip
    found = wrote(tmp_path / "group", "", *command, FACTORY_UMASK="027")
    assert found["home"] == "750" and found["home/dagster/dagster.yaml"] == "640"


@pytest.mark.parametrize("mask", ["rw", "700", "0o77", "-1", "0777"])
def test_a_mask_that_is_none_or_hides_files_from_their_owner_is_refused(mask: str) -> None:
    from factory_resources.private_files import keep_files_private

    with pytest.MonkeyPatch.context() as patch, pytest.raises(ValueError, match=f"FACTORY_UMASK is '{mask}'; allowed"):
        patch.setenv("FACTORY_UMASK", mask)
        keep_files_private()
