"""How is a Parquet file read that somebody else may have written? Only if what it would become in memory was counted before.

Six kilobytes can become gigabytes: a page is compressed, a text that stands once in a dictionary is meant by every row, and
the footer may say less of all this than is so. Therefore the headers of the pages are read themselves, texts are read as
places in their dictionary, and only a table that is small enough is written out. So is the footer, before pyarrow sees it: of
three bytes for a column pyarrow makes a kilobyte, and its own look at a column ends the process where statistics do not fit.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

#: Memory that the rows of one file may take: a thousand rows of ten thousand numbers are 80 MB.
LARGEST_DECODED = 128 * 2**20
#: A footer says some 275 bytes of each column, in ten values of its lists.
LARGEST_FOOTER, MOST_COLUMNS, LISTED = 8 * 2**20, 30_000, 8
#: What a page costs its reader whatever is in it, about.
PAGE = 1024
#: Bytes of a value in memory; of a text without its letters.
WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 12, "BYTE_ARRAY": 16}
#: Encodings that pyarrow writes and in which a value is as long as it stands there: plain, places in a dictionary, runs of
#: places or of booleans. Others (DELTA_BYTE_ARRAY) repeat the beginning of the value before.
ENCODINGS = {0: "PLAIN", 2: "PLAIN_DICTIONARY", 3: "RLE", 8: "RLE_DICTIONARY"}
#: Types of numbers in Thrift's compact protocol.
I32, I64 = 5, 6
#: Of a page's header: the fields that say how much is in it, and in which its encoding is.
UNCOMPRESSED, COMPRESSED, KINDS = 2, 3, {5: 2, 7: 2, 8: 4}
#: Of the footer: its groups of rows, their columns, and what is said of each.
GROUPS, COLUMNS, ABOUT = 4, 1, 3
VALUES, PACKED, DATA_PAGE, DICTIONARY_PAGE = 5, 7, 9, 11
#: Whoever else wrote a file may be read with allowances for old faults, such as bytes beyond the end that a column says it has.
WRITER = "parquet-cpp-arrow "
#: The footer says of a group of a column that it has statistics of sizes: five deep. Numbers of fields have 16 bits.
MOST_NESTED, HIGHEST_FIELD = 8, 2**15 - 1


class TooLarge(ValueError):
    """A file that would take more memory than it may."""


def read(content: bytes, part: str, rows: int, most: int = LARGEST_DECODED) -> pa.Table:
    """The table of a Parquet file of at most `rows` rows and `most` bytes in memory, without nested columns.

    Raises TooLarge, naming the part, what was found and what is allowed, before the rows are in memory; ValueError or
    pa.ArrowException for what is no such file.
    """
    try:
        return _read(content, part, rows, most)
    except OSError as error:  # what pyarrow raises for most of what is no Parquet, though it asked no disk
        raise ValueError(f"{part} cannot be read: {error}") from error


def _read(content: bytes, part: str, rows: int, most: int) -> pa.Table:
    footer = int.from_bytes(content[-8:-4], "little")
    if footer > LARGEST_FOOTER:
        raise TooLarge(f"{part} says its footer has {footer} bytes; allowed are {LARGEST_FOOTER}")
    stretches = _stretches(content, footer, part)
    file = pq.ParquetFile(pa.BufferReader(content))
    about = file.metadata
    if not str(about.created_by).startswith(WRITER):
        raise ValueError(f"{part} was written by {about.created_by!r:.50}; allowed is {WRITER.strip()}")
    if about.num_rows > rows:
        raise TooLarge(f"{part} says it holds {about.num_rows} rows; {rows} at most are kept")
    columns = [about.schema.column(place) for place in range(about.num_columns)]
    nested = [field.name for field in file.schema_arrow if pa.types.is_nested(field.type)]
    if nested := nested + [column.path for column in columns if column.max_repetition_level]:
        raise ValueError(f"{part} has the nested column {nested[0]}; allowed are columns of one value a row")
    _require_small(part, "pages", _of_pages(content, stretches, part, most), most)
    widths = sum(WIDTHS.get(column.physical_type, column.length) for column in columns)
    _require_small(part, "values", about.num_rows * widths, most)
    if texts := [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]:
        short = pq.ParquetFile(pa.BufferReader(content), read_dictionary=texts).read()
        _require_small(part, "texts", sum(map(_written_out, short.columns)), most)
    return file.read()


def _require_small(part: str, what: str, size: int, most: int) -> None:
    if size > most:
        raise TooLarge(f"{part} would unpack to {size} bytes of {what}; allowed are {most}")


def _written_out(column: pa.ChunkedArray) -> int:
    """Bytes of a column of texts once each row has its own; 0 of one that is not read by its dictionary."""
    import pyarrow.compute as pc

    size = 0
    for chunk in column.chunks:
        if pa.types.is_dictionary(chunk.type):
            lengths = pc.cast(pc.binary_length(chunk.dictionary), pa.int64())
            size += pc.sum(lengths.take(chunk.indices)).as_py() or 0
    return size


def _stretches(content: bytes, footer: int, part: str) -> list[tuple[int, int, int]]:
    """Of each column of each group of rows: how many values it has, and at which bytes its pages begin and end."""
    found: list[tuple[int, int, int]] = []
    begins = len(content) - 8 - footer
    try:
        said, _ = _Compact(content, begins, len(content) - 8).struct({GROUPS: {COLUMNS: {ABOUT: {}}}})
        for group in said[GROUPS][1]:
            for column in group[COLUMNS][1]:
                about = column[ABOUT][1]
                start, packed = (_number(about, field, I64) for field in (DATA_PAGE, PACKED))
                if DICTIONARY_PAGE in about and (dictionary := _number(about, DICTIONARY_PAGE, I64)) > 0:
                    start = min(start, dictionary)
                found.append((_number(about, VALUES, I64), start, start + packed))
    except (IndexError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{part} has no footer at byte {begins}: {error!r:.100}") from error
    if len(found) > MOST_COLUMNS:
        raise TooLarge(f"{part} has {len(found)} stretches of columns; allowed are {MOST_COLUMNS}")
    return found


def _of_pages(content: bytes, stretches: Iterable[tuple[int, int, int]], part: str, most: int) -> int:
    """Bytes that all pages of the file unpack to, by their own headers."""
    size = 0
    for values, start, end in stretches:
        size += PAGE
        if values == 0:  # its reader looks at no page either, and the writer may have noted none
            continue
        if not 0 <= start <= end <= len(content):
            raise ValueError(f"{part} says that a column is at bytes {start} to {end}, outside of it")
        for unpacked in _pages(content, start, end, part):
            size += PAGE + unpacked
            # To go on would take as long as the file's author likes.
            if size > most:
                return size
    return size


def _pages(content: bytes, start: int, end: int, part: str) -> Iterator[int]:
    """Bytes that each page of a column unpacks to."""
    place = start
    while place < end:
        try:
            header, place = _Compact(content, place, end).struct({kind: {} for kind in KINDS})
            unpacked, packed = (_number(header, field, I32) for field in (UNCOMPRESSED, COMPRESSED))
            (encoding,) = {_number(header[kind][1], field, I32) for kind, field in KINDS.items() if kind in header}
        except (IndexError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"{part} has no page at byte {place}: {error!r:.100}") from error
        if encoding not in ENCODINGS:
            allowed = ", ".join(ENCODINGS.values())
            raise TooLarge(
                f"{part} has a page of encoding number {encoding}, which may repeat values; allowed: {allowed}"
            )
        if unpacked < 0 or packed < 0:
            raise ValueError(f"{part} has a page of {packed} bytes that unpacks to {unpacked}")
        place += packed
        yield unpacked


def _number(fields: dict[int, tuple[int, Any]], field: int, kind: int) -> int:
    """The number in a field. Raises ValueError for another type of it: pyarrow would pass over the field."""
    found, value = fields[field]
    if found != kind:
        raise ValueError(f"field {field} is of type {found} and not {kind}")
    return int(value)


#: Fields that are structs, or lists of them, of which something is asked -> those in these.
Wanted = Mapping[int, "Wanted"]


class _Compact:
    """A struct in Thrift's compact protocol, as field number -> type and value; texts, and what is not asked for, are passed over.

    https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
    """

    def __init__(self, content: bytes, place: int, end: int) -> None:
        if not 0 <= place < end:
            raise ValueError(f"nothing lies between bytes {place} and {end}")
        self._content, self._place, self._end = content, place, end
        self._listed = LISTED + (end - place) // LISTED

    def struct(self, wanted: Wanted, depth: int = 0) -> tuple[dict[int, tuple[int, Any]], int]:
        """The struct, and the place after it."""
        if depth > MOST_NESTED:
            raise ValueError("structs nested too deep")
        fields: dict[int, tuple[int, Any]] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._number()
            if not 0 < number <= HIGHEST_FIELD or number in fields:  # of two, readers may take the one or the other
                raise ValueError(f"there is no field {number} here, or two")
            kind = head & 15
            # A truth is in the type itself.
            fields[number] = kind, None if kind in (1, 2) else self._value(kind, wanted.get(number), depth)
        return fields, self._place

    def _value(self, kind: int, wanted: Wanted | None, depth: int) -> Any:
        match kind:
            case 1 | 2 | 3:  # in a list a truth takes a byte
                return self._byte()
            case 4 | 5 | 6:
                return self._number()
            case 7:
                self._skip(8)
            case 8:
                self._skip(self._varint())
            case 9 | 10:
                return self._list(wanted, depth)
            case 12:
                return self.struct(wanted or {}, depth + 1)[0]
            case _:
                raise ValueError(f"a value of type {kind}, which no part of a file has")
        return None

    def _list(self, wanted: Wanted | None, depth: int) -> list[Any]:
        if depth > MOST_NESTED:
            raise ValueError("lists nested too deep")
        head = self._byte()
        length = self._varint() if head >> 4 == 15 else head >> 4
        self._listed -= length
        if length > MOST_COLUMNS + 1 or self._listed < 0:
            raise ValueError(f"a list of {length} values, which is too long for what is said of columns")
        values = (self._value(head & 15, wanted, depth + 1) for _ in range(length))
        if wanted is not None:
            return list(values)
        deque(values, maxlen=0)
        return []

    def _byte(self) -> int:
        self._skip(1)
        return self._content[self._place - 1]

    def _skip(self, size: int) -> None:
        self._place += size
        if self._place > self._end:
            raise ValueError("it does not end")

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 63:
                raise ValueError("a number of more than 64 bits")

    def _number(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
