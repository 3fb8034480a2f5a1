"""How is a PostgreSQL reached, given its URL? Without waiting for ever: a server that is silent is given up."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

#: Seconds until a server that does not answer is given up.
PATIENCE = 10
#: A connection that has gone silent is found dead after about a minute, not after the system's two hours.
KEEPALIVE = {"keepalives": 1, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}


@contextmanager
def connected(url: str) -> Iterator["Connection"]:
    """A connection that speaks UTF-8, closed at the end; what was not committed is undone. Raises psycopg2.Error.

    url: SQLAlchemy's form or the server's own. An error may quote it: the caller covers its password.
    """
    import psycopg2
    from sqlalchemy.engine import make_url

    parsed = make_url(url)
    options: dict[str, Any] = {"connect_timeout": PATIENCE, "application_name": "model-factory", **KEEPALIVE}
    options |= parsed.translate_connect_args(username="user", database="dbname")
    options |= {name: value if isinstance(value, str) else ",".join(value) for name, value in parsed.query.items()}
    with closing(psycopg2.connect(**options)) as server:
        server.set_client_encoding("UTF8")
        yield server
