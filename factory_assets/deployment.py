"""Which declarations does this process serve, and where do its tables, models and ledger live? The environment decides.

FACTORY_DEFS      folder of declarations; absent, the demo inside the package
FACTORY_HOME      folder of everything that is kept by default; absent, .factory in the working directory
FACTORY_LAKE      URI of the tables           default: $FACTORY_HOME/lake
FACTORY_LEDGER    SQLAlchemy URL              default: SQLite in $FACTORY_HOME
FACTORY_ARCHIVE   URI of released models      default: $FACTORY_HOME/archive
FACTORY_REPORTS   URI of pages for people     default: $FACTORY_HOME/reports
FACTORY_REPORTS_URL  address at which a web server serves these; none by default: links lead to the files
FACTORY_DAGSTER_URL  address of Dagster's web server, to whose runs these lead; none by default
FACTORY_MLFLOW    address of an MLflow server to mirror the ledger to; none by default
FACTORY_ENVIRONMENT  training, or serving, where columns of the contract that are `not_in: [serving]` are absent
FACTORY_CLOCK     a file with the moment that counts as now, to rehearse days to come; absent, the machine's clock
FACTORY_UMASK     bits of rights that files do not get; absent, 077: files are their owner's alone
FACTORY_THREADS, FACTORY_MEMORY               of a query; default: one thread a core, 4GB
"""

import os
from pathlib import Path
from typing import Any

from factory_resources.archive_folder import ArchiveFolder
from factory_resources.engine import Engine
from factory_resources.lake import Lake
from factory_resources.ledger import Ledger
from factory_resources.mlflow_mirror import MlflowMirror
from factory_resources.records.certificates import Certificates
from factory_resources.records.issues import Issues
from factory_resources.records.trials import Trials
from factory_resources.records.verdicts import Verdicts
from factory_resources.reports import Reports

PACKAGE = Path(__file__).parent
#: Of a Dagster that has no server: nothing is sent to anybody.
SETTINGS = """\
telemetry: {enabled: false}
nux: {enabled: false}
event_log_storage:
  module: factory_resources.event_log
  class: SqliteEventLog
  config: {base_dir: {env: DAGSTER_HOME}}
"""


def home() -> Path:
    return Path(os.environ.get("FACTORY_HOME", ".factory")).absolute()


def prepare_home() -> Path:
    """Where Dagster keeps its runs: DAGSTER_HOME, or a folder in the factory's home, made on first use."""
    folder = Path(os.environ.setdefault("DAGSTER_HOME", str(home() / "dagster")))
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "dagster.yaml"
    if not settings.exists():
        settings.write_text(SETTINGS)
    return folder


def declarations() -> Path:
    """The folder of declarations that this process serves."""
    return Path(os.environ.get("FACTORY_DEFS") or PACKAGE / "defs").absolute()


def stores() -> dict[str, Any]:
    """Where the line keeps what it makes, by the names under which assets ask for them."""
    root = home()
    lake = Lake(root=os.environ.get("FACTORY_LAKE", str(root / "lake")), storage_options=_storage_options())
    return {
        "engine": Engine(
            threads=int(os.environ.get("FACTORY_THREADS", "0")),
            memory_limit=os.environ.get("FACTORY_MEMORY", "4GB"),
            reads=[lake.root],
        ),
        "lake": lake,
        "archive": ArchiveFolder(root=os.environ.get("FACTORY_ARCHIVE", str(root / "archive"))),
        "ledger": Ledger(url=_ledger_url()),
        "issues": Issues(url=_ledger_url()),
        "certificates": Certificates(url=_ledger_url()),
        "trials": Trials(url=_ledger_url()),
        "verdicts": Verdicts(url=_ledger_url()),
        "mirror": MlflowMirror(uri=os.environ.get("FACTORY_MLFLOW", "")),
        "reports": Reports(
            os.environ.get("FACTORY_REPORTS", str(root / "reports")),
            os.environ.get("FACTORY_REPORTS_URL", ""),
            os.environ.get("FACTORY_DAGSTER_URL", ""),
        ),
    }


def _ledger_url() -> str:
    return os.environ.get("FACTORY_LEDGER", f"sqlite:///{home() / 'ledger.db'}")


def _storage_options() -> dict[str, str]:
    """What the object store of the tables needs beside credentials, such as the address of an S3-compatible server."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    if not endpoint:
        return {}
    return {"aws_endpoint_url": endpoint, "aws_allow_http": str(endpoint.startswith("http://")).lower()}
