"""Does a server get what it needs without the machinery that makes it?"""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Modules of a request handler: models, features of a request, features from the store, and where they lie.
NEEDED = [
    "factory_assets.features.online",
    "factory_assets.identity.nodes",
    "factory_assets.models.archived",
    "factory_assets.models.names",
    "factory_assets.serving.stores",
    "factory_resources.archive_folder",
    "factory_resources.engine",
    "factory_resources.lake",
    "factory_resources.ledger",
]
#: Seconds of import and hundreds of megabytes, of use only where models are made or people look.
HEAVY = ["dagster", "evidently", "great_expectations", "matplotlib", "optuna", "pandas", "sklearn"]
PROGRAM = "import sys, {module}; print(*sorted(set({heavy}) & set(sys.modules)))"


@pytest.mark.parametrize("module", NEEDED)
def test_a_server_s_import_loads_no_orchestrator_and_nothing_that_draws_or_judges(module: str) -> None:
    program = PROGRAM.format(module=module, heavy=HEAVY)
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not loaded
