"""Delimited text as a source: tables of text, and apart from them the lines that have more or fewer values than columns."""

import contextlib
import hashlib
import io
import re
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import duckdb

from factory_assets.declarations.expressions import identifier
from factory_assets.declarations.stream import CsvSource
from factory_assets.events.sources.base import NOTHING, Delivery, SourceError, any_name, of_feed, problem_of, quoted
from factory_assets.events.sources.files import Files, folders, pattern
from factory_resources.engine import folder_of

#: DuckDB keeps this much of a line that it cannot split; of a longer one, what follows it may be lost.
LINE_KEPT = 9_990
#: First bytes of a file -> what it is. A name may say otherwise.
MAGIC = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bz2",
    b"PK\x03\x04": "a zip archive",
    b"\xfd7zXZ\x00": "an xz archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "a file of an older office program",
    b"%PDF-": "a PDF file",
    b"SQLite format 3\x00": "a SQLite database",
    b"PAR1": "a Parquet file",
    b"Obj\x01": "an Avro file",
    b"ARROW1\x00\x00": "an Arrow file",
}
#: Of those, what is read.
COMPRESSIONS = ("gzip", "zstd", "bz2")
#: Byte order marks of other encodings than UTF-8.
MARKS = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
#: What a column is called whose header is empty; it may hold nothing.
UNNAMED = "of no name"
#: Bytes looked at together.
CHUNK = 1 << 22


class Csv(Files[CsvSource]):
    def deliveries(self, con: duckdb.DuckDBPyConnection, days: Sequence[Any]) -> list[Delivery]:
        return [
            _file(con, self.declared, Delivery(NOTHING, {}, (file,), period, numbered=self.stream.by_line))
            for period, files in self.periods_files(con, days)
            for file in files
        ]


def _file(con: duckdb.DuckDBPyConnection, source: CsvSource, delivery: Delivery) -> Delivery:
    """The file, or why it cannot be read."""
    (file,) = delivery.sources
    try:
        compression = _compression(file, source)
        names = _header(file, source, compression)
        if not names:
            return replace(delivery, numbered=False)
        if _is_utf8(source) and compression != "bz2":
            # DuckDB reads files whose lines end in one way. Of others it says so, or takes lines apart at the wrong places.
            try:
                found, rejected = _table(con, source, delivery, names, file, compression)
                unsound = None
            except duckdb.Error as error:
                unsound, rejected = error, True
            if not rejected or not _has_mixed_line_ends(file, source, compression):
                if unsound:
                    raise unsound
                return found
        with tempfile.TemporaryDirectory(prefix="feed-", dir=folder_of(con)) as folder:
            copy = str(Path(folder, "feed.csv"))
            _copy(file, source, compression, copy)
            return _table(con, source, delivery, names, copy, "none")[0]
    except SourceError as error:
        return delivery.unreadable(str(error))
    except (duckdb.Error, OSError, EOFError) as error:
        return delivery.unreadable(problem_of(error))


def _table(
    con: duckdb.DuckDBPyConnection, source: CsvSource, delivery: Delivery, names: list[str], path: str, packed: str
) -> tuple[Delivery, bool]:
    """The file as a table of text, and whether it has lines that are no rows.

    path: the file, or a copy of it, in UTF-8 and compressed as `packed` says.
    """
    (file,) = delivery.sources
    columns = ", ".join(f"{of_feed(name)}: 'VARCHAR'" for name in names)
    nulls = ", ".join(map(quoted, source.null_values))
    table = identifier(f"csv_{hashlib.sha256(file.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}")
    comment = f", comment = {quoted(source.comment)}" if source.comment else ""
    # The dialect is the declaration's: guessing it file by file would read two days in two ways.
    rows = (
        f"read_csv([{quoted(pattern(path))}], columns = {{{columns}}}, all_varchar = true, header = true, "
        f"auto_detect = false, delim = {quoted(source.delimiter)}, quote = {quoted(source.quote)}, "
        f"escape = {quoted(source.quote)}, nullstr = [{nulls}], hive_partitioning = false, compression = {quoted(packed)}, "
        f"store_rejects = true{comment})"
    )
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE {table} AS "
        f"SELECT *, {quoted(file)} AS _source, NULL::VARCHAR AS _line FROM {rows}"
    ).fetchall()
    rejected = con.execute(
        """SELECT min(line), max(csv_line), bool_or(error_type = 'INVALID ENCODING')
           FROM reject_errors JOIN reject_scans USING (scan_id, file_id)
           WHERE file_path = ? GROUP BY line_byte_position ORDER BY line_byte_position""",
        [path],
    ).fetchall()
    for number, text, is_no_text in rejected:
        if is_no_text:
            raise SourceError(f"is not utf-8 in line {number}: declare the `encoding` of the source, such as latin-1")
        if len(text.encode()) >= LINE_KEPT:
            raise SourceError(f"cannot be split into lines from line {number} on: is a quote left open?")
    if delivery.numbered:
        _number(con, source, table, file, len(names), {number for number, *_ in rejected})
    # A quote left open takes the lines after it along; each of them counts as the row that it should have been.
    lines = [[file, line] for _, text, _ in rejected for line in re.split(r"\r\n|\n|\r", text) if line.strip()]
    if lines:
        con.executemany(f"INSERT INTO {table} (_source, _line) VALUES (?, ?)", lines)
    if UNNAMED in names:
        count = con.execute(f"SELECT count({any_name(UNNAMED)}) FROM {table}").fetchall()[0][0]
        if count:
            raise SourceError(f"has values in {count} rows of its last column, which has no name")
        con.execute(f"ALTER TABLE {table} DROP COLUMN {any_name(UNNAMED)}").fetchall()
    given = {name: quoted(text) for name, text in folders(file).items()}
    delivered = dict.fromkeys([name for name in names if name != UNNAMED], "VARCHAR")
    return replace(delivery, query=f"SELECT * FROM {table}", columns=delivered, folders=given), bool(rejected)


def _number(
    con: duckdb.DuckDBPyConnection, source: CsvSource, table: str, file: str, columns: int, rejected: Collection[int]
) -> None:
    """Give each row of the table, which has them in the order of the file, the number of the line with which it begins.

    rejected: the lines that are no rows, among lines as DuckDB counts them: one in which a quoted value goes on is one line.
    """
    import pyarrow as pa

    (rows,) = con.execute(f"SELECT count(*) FROM {table}").fetchall()[0]
    lines = _lines(file, source, columns)
    begins = [begin for counted, begin in enumerate(lines, 1) if begin and counted not in rejected]
    # DuckDB takes some stray quotes for text. Then lines are counted as it does, so that the same file has the same numbers.
    if len(begins) != rows + 1:
        begins = [line for line in range(1, rows + len(rejected) + 2) if line not in rejected]
    numbers = pa.table({"row": pa.array(range(rows), pa.int64()), "line": pa.array(begins[1 : rows + 1], pa.int64())})
    con.execute(f"ALTER TABLE {table} ADD COLUMN _file_line BIGINT").fetchall()
    con.register("numbers", numbers)
    con.execute(f"UPDATE {table} SET _file_line = line FROM numbers WHERE {table}.rowid = row").fetchall()
    con.unregister("numbers")


def _lines(file: str, source: CsvSource, columns: int) -> list[int]:
    """Where each line of the file begins, the header's first; 0 for one that holds neither names nor a row.

    Lines within quotes belong to the line before them.
    """
    begins: list[int] = []
    skipped = (b"", source.comment.encode()[:1]) if source.comment else (b"",)
    line = begin = 1
    first = b""

    def end() -> None:
        # In a table of one column an empty line is a row with an empty value.
        is_row = first not in skipped or (first == b"" and columns == 1 and any(begins))
        begins.append(begin if is_row else 0)

    for stretch, inside in _outside_quotes(file, source, _compression(file, source)):
        pieces = stretch.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        if inside:
            line += len(pieces) - 1
            continue
        for piece in pieces[:-1]:
            first = first or piece[:1]
            end()
            line, begin, first = line + 1, line + 1, b""
        first = first or pieces[-1][:1]
    if first:
        end()
    return begins


def _compression(file: str, source: CsvSource) -> str:
    """How the file is compressed, whatever its name says: none, or one of COMPRESSIONS. Raises SourceError."""
    import fsspec

    try:
        with fsspec.open(file, "rb") as opened:
            begin = opened.read(max(map(len, MAGIC)))
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror or error}") from None
    kind = next((kind for magic, kind in MAGIC.items() if begin.startswith(magic)), "none")
    if kind not in ("none", *COMPRESSIONS):
        raise SourceError(f"is {kind}, no text")
    mark = next((mark for mark in MARKS if begin.startswith(mark)), None)
    if mark and _is_utf8(source):
        raise SourceError(f"is not utf-8 but, by its first bytes, {MARKS[mark]}: declare the source's `encoding`")
    return kind


def _is_utf8(source: CsvSource) -> bool:
    return source.encoding.lower().replace("-", "_") in ("utf_8", "utf8", "u8", "utf", "utf_8_sig", "cp65001")


@contextlib.contextmanager
def _bytes(file: str, compression: str) -> Iterator[IO[bytes]]:
    """The file without its compression."""
    import fsspec
    import pyarrow as pa

    with fsspec.open(file, "rb") as opened:
        if compression == "none":
            yield opened
        else:
            with pa.CompressedInputStream(pa.PythonFile(opened, "r"), compression) as unpacked:
                yield io.BufferedReader(unpacked)


def _header(file: str, source: CsvSource, compression: str) -> list[str]:
    """Column names of a file, none where it is empty. Raises SourceError."""
    import csv

    # What cannot be decoded shows in the rows, where the line can be named.
    errors = "replace" if _is_utf8(source) else "strict"
    encoding = "utf-8" if _is_utf8(source) else source.encoding
    try:
        with (
            _bytes(file, compression) as opened,
            io.TextIOWrapper(opened, encoding=encoding, errors=errors, newline="") as text,
        ):
            lines = (line for line in text if not (source.comment and line.startswith(source.comment)))
            header = next(csv.reader(lines, delimiter=source.delimiter, quotechar=source.quote), [])
    except UnicodeDecodeError as error:
        raise SourceError(f"is not {source.encoding} in its first lines: {error.reason}") from None
    except (OSError, EOFError, csv.Error) as error:
        raise SourceError(f"has no header that can be read: {error}") from None
    # Editors that add a byte order mark add it to one that is there.
    names = [name.strip().lstrip("\ufeff").strip() for name in header]
    if len(names) > 1 and not names[-1]:
        names[-1] = UNNAMED  # each line ends with the delimiter
    if len({name.lower() for name in names}) != len(names) or "" in names:
        raise SourceError(f"must have every column name once; found {', '.join(map(repr, names))}")
    return names


def _outside_quotes(file: str, source: CsvSource, compression: str) -> Iterator[tuple[bytes, bool]]:
    """The file in UTF-8, stretch by stretch, and whether the stretch is between quotes."""
    import codecs

    quote, inside = source.quote.encode(), False
    decoder = None if _is_utf8(source) else codecs.getincrementaldecoder(source.encoding)("strict")
    lines, half = 1, b""
    with _bytes(file, compression) as opened:
        while True:
            read = opened.read(CHUNK)
            data = read
            if decoder is not None:
                try:
                    data = decoder.decode(read, final=not read).encode()
                except UnicodeDecodeError as error:
                    line = lines + error.object[: error.start].count(b"\n")
                    raise SourceError(f"is not {source.encoding} near line {line}: {error.reason}") from None
            lines += read.count(b"\n")
            data = half + data
            # A carriage return at the end may be half of a line end.
            half = b"\r" if read and data.endswith(b"\r") else b""
            stretches = data[: len(data) - len(half)].split(quote)
            for place, stretch in enumerate(stretches):
                if place:
                    yield quote, inside
                    inside = not inside
                yield stretch, inside
            if not read:
                return


def _has_mixed_line_ends(file: str, source: CsvSource, compression: str) -> bool:
    """Whether lines end with CRLF here and with LF, or CR, there."""
    both = feeds = returns = 0
    for stretch, inside in _outside_quotes(file, source, compression):
        if not inside and stretch:
            of_both = stretch.count(b"\r\n")
            both, feeds = both + of_both, feeds + stretch.count(b"\n") - of_both
            returns += stretch.count(b"\r") - of_both
            if (both > 0) + (feeds > 0) + (returns > 0) > 1:
                return True
    return False


def _copy(file: str, source: CsvSource, compression: str, path: str) -> None:
    """The file in UTF-8, lines ending with LF. What stands between quotes stays as it is."""
    with Path(path).open("wb") as copy:
        for stretch, inside in _outside_quotes(file, source, compression):
            copy.write(stretch if inside else stretch.replace(b"\r\n", b"\n").replace(b"\r", b"\n"))
