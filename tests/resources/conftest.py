"""Where no ledger is yet, on both of the databases that it can be kept in."""

import uuid
from pathlib import Path

import pytest
import sqlalchemy as sa


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where no ledger is yet: on SQLite even the folder is missing, on PostgreSQL it is a schema of its own."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state/ledger.db"
    server, schema = request.getfixturevalue("postgres_url"), f"ledger_{uuid.uuid4().hex}"
    with sa.create_engine(server).begin() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {schema}"))
    fresh = sa.make_url(server).update_query_dict({"options": f"-csearch_path={schema}"})
    return fresh.render_as_string(hide_password=False)
