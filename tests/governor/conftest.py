"""The line that is killed, and the same brought up to date in one run."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.governor.killing import TOLD, Clean, Factory, ending


@pytest.fixture(scope="module")
def factory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Factory]:
    factory = Factory(tmp_path_factory.mktemp("killed"))
    yield factory
    factory.close()


@pytest.fixture(scope="module")
def clean(factory: Factory) -> Clean:
    noted = factory.folder / "noted"
    code, printed = factory.run("clean", noted=str(noted))
    assert code == 1 and f"1 not as it should be:\n  {TOLD}\n" in printed
    return Clean(factory.state("clean"), ending(printed), [tuple(json.loads(line)) for line in noted.open()])
