"""Does a model that would crash, stall or exhaust a server end in a sentence, while the next one is tried as if nothing had been?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from factory_assets.evaluation.fresh_process import FreshProcess, NotTried
from factory_assets.measures.tables import prediction_columns, with_columns
from factory_assets.models.libraries import libraries
from factory_assets.models.safety import Limits
from factory_assets.training.archiving import _sample
from factory_resources.archive_folder import ArchiveFolder
from tests.models.archives import LINE, model, stored
from tests.serving.test_server_imports import HEAVY

#: An estimator of an installed package, that does what its parameter says once a number is infinite.
PLUG_IN = """
import json, os, signal, sys, time
import numpy as np
from factory_assets.models.estimators import Estimator

class Wild(Estimator):
    tasks = ("regression",)
    files = ("wild.json",)

    def __init__(self, parts):
        super().__init__(parts)
        self.does, self.width = json.loads(self._parts["wild.json"])

    @classmethod
    def train(cls, examples, params, seed):
        return {"wild.json": json.dumps([params["does"], examples.x.shape[1]]).encode()}

    def importances(self):
        return np.zeros(self.width)

    def _predict(self, x):
        if np.isinf(x).any():
            if self.does == "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            if self.does == "leave":
                os._exit(3)
            if self.does == "hang":
                time.sleep(600)
            if self.does == "eat":
                self.eaten = np.empty(4 * 2**30, np.uint8)
            if self.does == "shout":
                print("shout")
            if self.does == "environment":
                raise ValueError(os.environ.get("SHOWN", "none"))
            if self.does == "imports":
                raise ValueError(",".join(sorted(set(sys.modules) & set(HEAVY))) or "nothing")
        return np.ones(len(x))
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArchiveFolder]:
    """An archive beside a package with the estimator, as pip would leave it."""
    folder = tmp_path_factory.mktemp("safe")
    # pyarrow itself imports pandas, where it is installed, to make a column of Python's values.
    (folder / "wild.py").write_text(PLUG_IN.replace("HEAVY", repr([each for each in HEAVY if each != "pandas"])))
    about = folder / "wild-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: wild\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[model_factory.estimators]\nwild = wild:Wild\n")
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(folder)
        # What is archived names the package too, as the process that tries it will find it.
        libraries.cache_clear()
        yield ArchiveFolder(str(folder / "archive"))
    libraries.cache_clear()


def wild(archive: ArchiveFolder, does: str) -> str:
    return stored(archive, model("wild", "regression", {"does": does}))


def test_what_ends_the_process_is_told_and_the_next_version_is_tried(archive: ArchiveFolder) -> None:
    with FreshProcess(archive, LINE, Limits()) as apart:
        assert apart.unsafe(stored(archive, model("ridge", "regression"))) is None
        crashed = apart.unsafe(wild(archive, "crash"))
        assert crashed == "its process ended, killed by SIGSEGV, while it answers malformed rows"
        assert apart.unsafe(wild(archive, "shout")) is None
        assert apart.unsafe(wild(archive, "eat")) == "it takes more than 2 GiB of memory"
        assert apart.unsafe(wild(archive, "imports")) == "inf for each of 4 features raises ValueError: nothing"
        left = apart.unsafe(wild(archive, "leave"))
        assert left == "its process ended, with exit code 3, while it answers malformed rows"


def test_what_hangs_is_ended(archive: ArchiveFolder) -> None:
    with FreshProcess(archive, LINE, Limits(), seconds=5) as apart:
        process = apart._begin()
        assert apart.unsafe(wild(archive, "hang")) == "its process answers malformed rows for more than 5 s"
    assert process.returncode == -signal.SIGKILL


def test_an_archive_that_answers_otherwise_or_is_not_whole_or_too_large_is_told(archive: ArchiveFolder) -> None:
    one = model("lightgbm", "regression")
    good, answers = stored(archive, one), one.predict(one.sample)
    answers[0] = np.nextafter(answers[0], np.inf)
    golden = _sample(with_columns(one.sample.select(one.features), prediction_columns(one.task, answers)))
    other, damaged = stored(archive, one, reference_parquet=golden), wild(archive, "lose its part")
    Path(archive.root, LINE, damaged, "wild.json").write_text(json.dumps(["other", 6]))
    size = sum(file.stat().st_size for file in Path(archive.root, LINE, good).iterdir())
    assert archive.size(LINE, good) == size
    with FreshProcess(archive, LINE, Limits(size=2 * size)) as apart:
        assert apart.unsafe(good) is None
        found = apart.unsafe(other)
        assert found is not None and found.startswith("1 of 400 golden rows are answered otherwise than in training")
        assert "wild.json of" in str(apart.unsafe(damaged)) and "stored" in str(apart.unsafe(damaged))
        assert "there is no archived version" in str(apart.unsafe("f" * 16))
    with FreshProcess(archive, LINE, Limits(size=size - 1)) as apart:
        assert apart.unsafe(good) == f"its archive has {size:,} bytes, {size - 1:,} at most are declared"


def test_where_the_archive_cannot_be_reached_nothing_is_said_of_the_model(archive: ArchiveFolder) -> None:
    version = stored(archive, model("constant", "regression"))
    manifest = Path(archive.root, LINE, version, "manifest.json")
    manifest.unlink()
    # A link to itself can be opened by nobody, whoever they are.
    manifest.symlink_to(manifest)
    with (
        FreshProcess(archive, LINE, Limits()) as apart,
        pytest.raises(NotTried, match=f"{version} .* could not be tried"),
    ):
        apart.unsafe(version)


def test_the_process_waits_for_whoever_asks_next_and_reaches_stores_by_what_is_set_then(
    archive: ArchiveFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ridge, shown = stored(archive, model("ridge", "regression")), wild(archive, "environment")

    def asked(version: str) -> tuple[int, str | None]:
        with FreshProcess(archive, LINE, Limits()) as apart:
            found = apart.unsafe(version)
            assert apart._process is not None
            return apart._process.pid, found

    first, _ = asked(ridge)
    monkeypatch.setenv("SHOWN", "as of now")
    assert asked(shown) == (first, "inf for each of 4 features raises ValueError: as of now")
    monkeypatch.delenv("SHOWN")
    assert asked(shown) == (first, "inf for each of 4 features raises ValueError: none")
    # One that has ended meanwhile, or imports from elsewhere, is not asked.
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    second, found = asked(ridge)
    assert (second != first, found) == (True, None)
    monkeypatch.syspath_prepend(tmp_path)
    third, found = asked(ridge)
    assert (third not in (first, second), found) == (True, None)


def test_a_process_that_was_left_in_the_middle_of_an_answer_waits_for_nobody(archive: ArchiveFolder) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt), FreshProcess(archive, LINE, Limits()) as apart:
            assert apart.unsafe(stored(archive, model("ridge", "regression"))) is None
            process = apart._process
            signal.setitimer(signal.ITIMER_REAL, 2)
            apart.unsafe(wild(archive, "hang"))
    finally:
        signal.signal(signal.SIGALRM, before)
    assert process is not None and process.returncode == -signal.SIGKILL


def test_whoever_asks_is_stopped_alone_and_the_process_ends_with_it_without_a_word(archive: ArchiveFolder) -> None:
    version = stored(archive, model("ridge", "regression"))
    program = f"""
import signal, time
# What a shell begins in the background is told to ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
from factory_assets.evaluation.fresh_process import FreshProcess, _waiting
from factory_assets.models.safety import Limits
from factory_resources.archive_folder import ArchiveFolder
with FreshProcess(ArchiveFolder({archive.root!r}), {LINE!r}, Limits()) as apart:
    assert apart.unsafe({version!r}) is None
print(len(_waiting), flush=True)
time.sleep(60)
"""
    asking = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert asking.stdout is not None and asking.stderr is not None
    assert asking.stdout.readline() == "1\n"
    # As a terminal does it at Ctrl-C: to all of the group.
    os.killpg(asking.pid, signal.SIGINT)
    # Its end is reached when the last process that writes there is gone.
    assert asking.stderr.read().count("KeyboardInterrupt") == 1 and asking.wait(60)


def test_no_process_begins_where_nobody_is_tried(archive: ArchiveFolder) -> None:
    with FreshProcess(archive, LINE, Limits()) as apart:
        pass
    assert apart._process is None
