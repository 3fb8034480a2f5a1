"""A PostgreSQL as a serving store: a table a view, replaced by one transaction. Readers see one snapshot or the next.

Rows are copied into a temporary table first, and one statement takes over those that are new, older or different. What
makes writers wait for each other is the view's row of the table `_watermark`, which says what was written.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Self

from factory_assets.declarations.base import masked
from factory_assets.declarations.expressions import identifier
from factory_assets.declarations.serving import PostgresServing
from factory_assets.serving.stores.base import (
    AS_OF,
    Exported,
    Snapshot,
    Store,
    StoreError,
    Watermark,
    refuse_older,
    together,
)
from factory_resources.delta.rows import BATCH_ROWS
from factory_resources.postgres import connected

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection
    from psycopg2.extensions import cursor as Cursor

#: As PostgreSQL itself writes them, by the kinds of a snapshot.
TYPES = {
    "boolean": "boolean",
    "integer": "bigint",
    "double": "double precision",
    "string": "text",
    "date": "date",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
}
#: Columns of every row, beside its features.
OURS = {AS_OF: "timestamp with time zone", "table_version": "bigint"}
#: Entities asked for in one query.
ASKED = 10_000
#: Bytes sent at a time.
SENT = 1 << 20
#: Floats as text that reads back to the same value, also of servers before 12. An export waits for another one, but not
#: for ever: while a change of columns waits, readers wait behind it.
SESSION = "SET LOCAL TimeZone = 'UTC'; SET LOCAL extra_float_digits = 3; SET LOCAL lock_timeout = '60s'"


class Postgres(Store[PostgresServing]):
    connection: "Connection"

    @classmethod
    @contextmanager
    def opened(cls, declared: PostgresServing) -> Iterator[Self]:
        import psycopg2

        with ExitStack() as stack:
            try:
                server = stack.enter_context(connected(declared.url))
            except (psycopg2.Error, UnicodeDecodeError) as error:
                # Its context holds what the driver said, and a driver may say anything.
                raise _store_error(declared, error) from None
            server.set_session(isolation_level="READ COMMITTED")
            yield cls(declared, server)

    def write(self, snapshot: Snapshot) -> Exported:
        table = self._table(snapshot.view)
        with self._transaction() as cursor:
            self._lock(cursor, snapshot)
            self._shape(cursor, snapshot)
            names = ", ".join(map(identifier, snapshot.columns))
            # Typed by the table itself, and gone with the transaction.
            cursor.execute(f"CREATE TEMP TABLE _incoming ON COMMIT DROP AS SELECT {names} FROM {table} WITH NO DATA")
            cursor.copy_expert(f"COPY pg_temp._incoming ({names}) FROM STDIN", _Lines(snapshot), SENT)
            cursor.execute("ANALYZE pg_temp._incoming")
            return self._take_over(cursor, snapshot)

    def read(self, view: str, entities: Sequence[Any]) -> dict[Any, dict[str, Any]]:
        table, rows = self._table(view), {}
        with self._transaction() as cursor:
            keys = self._keys(cursor, view)
            if not keys:
                raise StoreError(f"{_place(self.declared)} has no table {table}: materialise serving/{view} first")
            several = len(keys) > 1
            wanted = self._together(view, keys, entities) if several else list(entities)
            for start in range(0, len(wanted), ASKED):
                asked = wanted[start : start + ASKED]
                given = [list(column) for column in zip(*asked, strict=True)] if several else [asked]
                cursor.execute(f"SELECT * FROM {table} WHERE {_among(keys)}", given)
                names = [column.name for column in cursor.description or ()]
                for row in cursor.fetchall():
                    values = dict(zip(names, row, strict=True))
                    del values["table_version"]
                    entity = tuple(values.pop(key) for key in keys)
                    rows[entity if several else entity[0]] = values
        return rows

    def _together(self, view: str, keys: dict[str, str], entities: Sequence[Any]) -> list[tuple[Any, ...]]:
        kinds = {postgres_type: kind for kind, postgres_type in TYPES.items()}
        try:
            return together(view, {key: kinds[postgres_type] for key, postgres_type in keys.items()}, entities)
        except StoreError as refused:
            raise StoreError(f"{_place(self.declared)} {refused}") from None

    def count(self, view: str) -> int:
        with self._transaction() as cursor:
            cursor.execute(f"SELECT count(*) FROM {self._table(view)}")
            return int(cursor.fetchall()[0][0])

    def watermark(self, view: str) -> Watermark | None:
        with self._transaction() as cursor:
            if not self._exists(cursor, self._table("_watermark")):
                return None
            cursor.execute(
                f"SELECT as_of, table_version, rows, content_hash, written_at FROM {self._table('_watermark')} WHERE view = %s",
                (view,),
            )
            row = cursor.fetchone()
            return Watermark(*row) if row else None

    @contextmanager
    def _transaction(self) -> Iterator["Cursor"]:
        import psycopg2

        try:
            with self.connection, self.connection.cursor() as cursor:
                cursor.execute(SESSION)
                yield cursor
        except (psycopg2.Error, UnicodeDecodeError) as error:
            raise _store_error(self.declared, error) from None

    def _table(self, name: str) -> str:
        return f"{identifier(self.declared.schema_)}.{identifier(name)}"

    def _exists(self, cursor: "Cursor", table: str) -> bool:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", (table,))
        return bool(cursor.fetchall()[0][0])

    def _columns(self, cursor: "Cursor", view: str) -> dict[str, str]:
        """Column -> type of the view's table, in its order; {} where there is none."""
        cursor.execute(
            """SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
               WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum""",
            (self._table(view),),
        )
        return dict(cursor.fetchall())

    def _keys(self, cursor: "Cursor", view: str) -> dict[str, str]:
        """Column -> type of the primary key of the view's table, in its order; {} where there is no table."""
        cursor.execute(
            """SELECT attname, format_type(atttypid, atttypmod) FROM pg_index
               CROSS JOIN unnest(indkey) WITH ORDINALITY AS key (attnum, place)
               JOIN pg_attribute ON attrelid = indrelid AND pg_attribute.attnum = key.attnum
               WHERE indrelid = to_regclass(%s) AND indisprimary ORDER BY place""",
            (self._table(view),),
        )
        return dict(cursor.fetchall())

    def _lock(self, cursor: "Cursor", snapshot: Snapshot) -> None:
        """Wait for other exports of the view, and refuse to write over what is newer or not ours."""
        marks, schema, table = self._table("_watermark"), self.declared.schema_, self._table(snapshot.view)
        if not self._exists(cursor, marks):
            # Two that make the same schema at once would fail; the one that waited finds it.
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"model-factory {schema}",))
            cursor.execute("SELECT to_regnamespace(%s) IS NULL", (identifier(schema),))
            if cursor.fetchall()[0][0]:
                cursor.execute(f"CREATE SCHEMA {identifier(schema)}")
            cursor.execute(
                f"""CREATE TABLE IF NOT EXISTS {marks} (view text PRIMARY KEY, as_of timestamptz, table_version bigint,
                    rows bigint, content_hash text, written_at timestamptz)"""
            )
        cursor.execute(f"INSERT INTO {marks} (view) VALUES (%s) ON CONFLICT DO NOTHING", (snapshot.view,))
        cursor.execute(f"SELECT as_of, table_version FROM {marks} WHERE view = %s FOR UPDATE", (snapshot.view,))
        ((as_of, version),) = cursor.fetchall()
        if not self._exists(cursor, table):
            return
        if as_of is None:
            raise StoreError(
                f"{_place(self.declared)}: a table {table} is there that the factory has not written; "
                "name another schema in serve.schema"
            )
        try:
            refuse_older(snapshot, as_of, version, f"DROP TABLE {table}")
        except StoreError as refused:
            raise StoreError(f"{_place(self.declared)} {refused}") from None

    def _shape(self, cursor: "Cursor", snapshot: Snapshot) -> None:
        """Give the table the snapshot's columns. Those of another type begin empty: every row is about to be written."""
        table = self._table(snapshot.view)
        wanted = {name: TYPES[kind] for name, kind in snapshot.columns.items()} | OURS
        present = self._columns(cursor, snapshot.view)
        if present and list(self._keys(cursor, snapshot.view).items()) != [
            (key, wanted[key]) for key in snapshot.entity
        ]:
            cursor.execute(f"DROP TABLE {table}")
            present = {}
        if not present:
            columns = ", ".join(f"{identifier(name)} {kind}" for name, kind in wanted.items())
            cursor.execute(f"CREATE TABLE {table} ({columns}, PRIMARY KEY ({_listed(snapshot.entity)}))")
            return
        changes = [f"DROP COLUMN {_quoted(name)}" for name, kind in present.items() if wanted.get(name) != kind]
        changes += [
            f"ADD COLUMN {identifier(name)} {kind}" for name, kind in wanted.items() if present.get(name) != kind
        ]
        if changes:
            cursor.execute(f"ALTER TABLE {table} {', '.join(changes)}")

    def _take_over(self, cursor: "Cursor", snapshot: Snapshot) -> Exported:
        table, entity = self._table(snapshot.view), _listed(snapshot.entity)
        names, features = ", ".join(map(identifier, snapshot.columns)), list(map(identifier, snapshot.features))

        def differ(other: str) -> str:
            stored, given = (", ".join(f"{side}.{name}" for name in features) for side in ("held", other))
            return f"(ROW({stored}) IS DISTINCT FROM ROW({given}))"

        cursor.execute(
            f"""SELECT count(*) FROM pg_temp._incoming AS given LEFT JOIN {table} AS held USING ({entity})
                WHERE held.{AS_OF} IS NULL OR {differ("given")}"""
        )
        changed = int(cursor.fetchall()[0][0])
        stamped = ["table_version", AS_OF, *features]
        cursor.execute(
            f"""INSERT INTO {table} AS held ({names}, {AS_OF}, table_version)
                SELECT {names}, %s, %s FROM pg_temp._incoming
                ON CONFLICT ({entity}) DO UPDATE SET {", ".join(f"{name} = EXCLUDED.{name}" for name in stamped)}
                WHERE held.{AS_OF} < EXCLUDED.{AS_OF} OR held.{AS_OF} = EXCLUDED.{AS_OF} AND {differ("EXCLUDED")}""",
            (snapshot.as_of, snapshot.table_version),
        )
        written = cursor.rowcount
        alike = " AND ".join(f"given.{key} = held.{key}" for key in map(identifier, snapshot.entity))
        cursor.execute(
            f"""DELETE FROM {table} AS held
                WHERE NOT EXISTS (SELECT FROM pg_temp._incoming AS given WHERE {alike})"""
        )
        removed = cursor.rowcount
        cursor.execute(
            f"""UPDATE {self._table("_watermark")} SET as_of = %s, table_version = %s, rows = %s, content_hash = %s,
                       written_at = now() WHERE view = %s""",
            (
                snapshot.as_of,
                snapshot.table_version,
                snapshot.content.rows,
                snapshot.content.hash,
                snapshot.view,
            ),
        )
        return Exported(snapshot.content.rows, written, changed, removed)


class _Lines:
    """The rows of a snapshot as PostgreSQL's text format, which DuckDB writes a batch at a time; read like a file."""

    def __init__(self, snapshot: Snapshot):
        texts = ", ".join(_as_text(name, kind) for name, kind in snapshot.columns.items())
        self._batches = snapshot.batches(f"concat_ws(chr(9), {texts}) || chr(10)", BATCH_ROWS)
        self._rest = memoryview(b"")

    def read(self, size: int) -> bytes:
        while not self._rest:
            batch = next(self._batches, None)
            if batch is None:
                return b""
            self._rest = memoryview("".join(batch.column(0).to_pylist()).encode())
        sent, self._rest = self._rest[:size], self._rest[size:]
        return bytes(sent)


def _as_text(name: str, kind: str) -> str:
    """SQL for a value as a field of COPY: without a tab, a line's end or a backslash that means something else."""
    text = f"CAST({identifier(name)} AS VARCHAR)"
    if kind == "string":
        for sign, escaped in (("chr(92)", "\\\\"), ("chr(9)", "\\t"), ("chr(10)", "\\n"), ("chr(13)", "\\r")):
            text = f"replace({text}, {sign}, '{escaped}')"
    return f"coalesce({text}, '\\N')"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(identifier, names))


def _among(keys: dict[str, str]) -> str:
    """SQL of whether a row's entity is among those asked for, which come as an array a key."""
    if len(keys) == 1:
        return f"{_listed(list(keys))} = ANY(%s)"
    arrays = ", ".join(f"%s::{kind}[]" for kind in keys.values())
    return f"({_listed(list(keys))}) IN (SELECT * FROM unnest({arrays}))"


def _quoted(name: str) -> str:
    """A column's name as it is found, which need not be one of ours."""
    return '"' + name.replace('"', '""') + '"'


def _place(declared: PostgresServing) -> str:
    from sqlalchemy.engine import make_url

    return masked(make_url(declared.url).render_as_string(hide_password=True))


def _store_error(declared: PostgresServing, error: Exception) -> StoreError:
    message = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return StoreError(f"{_place(declared)} {declared.schema_}: {masked(message)}")
