"""Does a query of a source only read, and answer the same at any time? By its tree, before any database is asked."""

import pytest
import sqlalchemy as sa

from factory_assets.declarations.queries import PURE, select
from factory_assets.declarations.stream import PostgresSource

#: What is asked of a table, and the part that is refused.
REFUSED = {
    # The time, and who asks.
    "now()": "CURRENT_TIMESTAMP",
    "pg_catalog.now()": "NOW()",
    '"now"()': "CURRENT_TIMESTAMP",
    "localtime": "LOCALTIME",
    "current_time(3)": "CURRENT_TIME(3)",
    "localtimestamp(0)": "LOCALTIMESTAMP(0)",
    "current_date - 1": "CURRENT_DATE",
    "age(at)": "AGE(at)",
    "pg_catalog.age(at)": "AGE(at)",
    "extract(year from age(at))": "AGE(at)",
    "'now'::timestamp": "'now'",
    "timestamp 'now'": "'now'",
    "cast('today' as date)": "'today'",
    "date 'Yesterday'": "'Yesterday'",
    "date('tomorrow')": "'tomorrow'",
    "date_trunc('day', ' NOW ')": "' NOW '",
    "at < 'now'": "'now'",
    "'today 12:00'::timestamptz": "'today 12:00'",
    "timestamptz 'today 10:00 Europe/Paris'": "'today 10:00 Europe/Paris'",
    "at BETWEEN 'today' AND 'tomorrow'": "'today'",
    "('today'::text)::date": "'today'",
    "date('today'::text)": "'today'",
    "'[today,tomorrow)'::tsrange": "'[today,tomorrow)'",
    "'{now}'::timestamptz[]": "'{now}'",
    "'(1,now)'::shop.visit": "'(1,now)'",
    "'yesterday allballs'::timestamp": "'yesterday allballs'",
    "'now EST'::timestamptz": "'now EST'",
    "e'\\x6eow'::timestamptz": "'now'",
    '"strange-name"(1)': '"strange-name"(1)',
    "clock_timestamp()": "CLOCK_TIMESTAMP()",
    "pg_postmaster_start_time()": "PG_POSTMASTER_START_TIME()",
    "txid_current()": "TXID_CURRENT()",
    "uuidv7()": "UUIDV7()",
    "current_user": "CURRENT_USER",
    "user": "user",
    "session_user": "SESSION_USER",
    "system_user": "system_user",
    "current_schema": "CURRENT_SCHEMA",
    "inet_client_addr()": "INET_CLIENT_ADDR()",
    "random()": "RANDOM()",
    # The server's files, settings and other sessions.
    "pg_read_file('/etc/passwd')": "PG_READ_FILE",
    "pg_catalog.pg_read_file('/etc/passwd')": "PG_READ_FILE",
    "\"pg_read_file\"('/etc/passwd')": "PG_READ_FILE",
    "pg_read_binary_file('x')": "PG_READ_BINARY_FILE",
    "pg_ls_dir('.')": "PG_LS_DIR",
    "pg_stat_file('x')": "PG_STAT_FILE",
    "lo_get(1)": "LO_GET",
    "current_setting('data_directory')": "CURRENT_SETTING",
    "query_to_xml('select 1', true, true, '')": "QUERY_TO_XML",
    "database_to_xml(true, true, '')": "DATABASE_TO_XML",
    "version()": "VERSION",
    # What writes, waits or reaches elsewhere.
    "lo_import('/etc/passwd')": "LO_IMPORT",
    "lo_export(1, 'x')": "LO_EXPORT",
    "nextval('s')": "NEXTVAL",
    "setval('s', 1)": "SETVAL",
    "set_config('a', 'b', false)": "SET_CONFIG",
    "pg_sleep(1)": "PG_SLEEP",
    "pg_terminate_backend(1)": "PG_TERMINATE_BACKEND",
    "pg_advisory_lock(1)": "PG_ADVISORY_LOCK",
    "pg_notify('a', 'b')": "PG_NOTIFY",
    "dblink('x', 'y')": "DBLINK",
    # Anybody's own functions, whatever they are called.
    "mine(at)": "MINE(at)",
    "shop.lower(name)": "LOWER(name)",
    "a OPERATOR(shop.+) b": "OPERATOR(shop.+)",
    "(SELECT pg_sleep(1))": "PG_SLEEP",
    "CASE WHEN pg_sleep(1) IS NULL THEN 1 END": "PG_SLEEP",
    "a || pg_read_file('x')": "PG_READ_FILE",
    "count(*) FILTER (WHERE pg_sleep(1) IS NULL)": "PG_SLEEP",
    "sum(a) OVER (ORDER BY pg_sleep(1))": "PG_SLEEP",
}
#: Where rows come from, and the part that is refused.
RELATIONS = {
    "pg_ls_dir('.') AS files(name)": "PG_LS_DIR",
    "pg_stat_activity": "pg_stat_activity",
    "pg_catalog.pg_authid": "pg_authid",
    "PG_SHADOW": "PG_SHADOW",
    "information_schema.tables": "tables",
    "shop.mine(1)": "MINE",
    "t, LATERAL mine(t.a)": "MINE",
    "t JOIN LATERAL shop.mine(1) ON true": "MINE",
    "ROWS FROM (mine(1))": "MINE",
    "t TABLESAMPLE system(1)": "TABLESAMPLE",
    "(SELECT now() AS at) AS one": "CURRENT_TIMESTAMP",
}


@pytest.mark.parametrize(("asked", "part"), REFUSED.items(), ids=REFUSED)
def test_what_does_not_only_compute_is_refused_with_the_part(asked: str, part: str) -> None:
    for query in (
        f"SELECT {asked} AS x FROM shop.orders",
        f"WITH w AS (SELECT {asked} AS x FROM o) SELECT * FROM w UNION SELECT 1",
    ):
        with pytest.raises(ValueError, match="it may only read, and give the same rows at any time") as refused:
            select(query)
        assert part in str(refused.value)


@pytest.mark.parametrize(("relation", "part"), RELATIONS.items(), ids=RELATIONS)
def test_rows_come_of_tables_and_of_functions_that_only_compute(relation: str, part: str) -> None:
    with pytest.raises(ValueError, match="it may only read, and give the same rows at any time") as refused:
        select(f"SELECT * FROM {relation}")
    assert part in str(refused.value)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT id, lower(city) AS city, age(left_at, at) AS stay, at::date AS day FROM shop.orders WHERE at >= '2024-01-01'",
        "SELECT o.user, o.\"user\", o.now FROM shop.orders AS o WHERE plan = 'today'::text OR note LIKE '%now or never%'",
        "SELECT a -> 'b' ->> 'c' AS c, a ~ 'x' AS d, a || 'y' AS e FROM public.pg_orders WHERE NOT (b > 1) AND NOT (c IS NULL)",
        "WITH w(a) AS (SELECT generate_series(1, 3)) SELECT a, row_number() OVER (ORDER BY a) AS n FROM w",
        "SELECT * FROM unnest(ARRAY[1, 2]) WITH ORDINALITY AS u(a, b) WHERE a = ANY(ARRAY[1])",
        "SELECT CASE WHEN (a) > 1 THEN cast(b AS numeric(10, 2)) END AS b, count(*) FILTER (WHERE c) AS n FROM t GROUP BY 1",
        "SELECT pg_catalog.lower(a) AS a, extract(epoch FROM b - interval '1 day') AS b FROM t ORDER BY 1 LIMIT 3",
    ],
)
def test_what_only_computes_may_be_asked(query: str) -> None:
    assert PostgresSource(kind="postgres", url="postgresql://h/d", query=query).query == query
    assert select(query) == select(select(query))


def test_every_function_that_may_be_called_is_none_that_postgresql_calls_volatile(postgres_url: str) -> None:
    with sa.create_engine(postgres_url).connect() as connection:
        volatile = connection.scalars(
            sa.text("SELECT proname FROM pg_proc WHERE provolatile = 'v' AND pronamespace = 'pg_catalog'::regnamespace")
        )
        assert not PURE & set(volatile)
        moved = "SELECT {} IS DISTINCT FROM {} FROM (SELECT timestamptz '2001-01-01' AS at) AS t"
        assert connection.scalar(sa.text(moved.format("age(at)", "age(timestamptz '2001-01-02', at)")))
