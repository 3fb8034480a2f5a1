"""How is a Parquet file read that somebody else may have written? Only if what it would become in memory was counted before.

Six kilobytes can become gigabytes: a page is compressed, a text that stands once in a dictionary is meant by every row, and
the footer may say less of all this than is so. Therefore the headers of the pages are read themselves, texts are read as
places in their dictionary, and only a table that is small enough is written out.
"""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

#: Memory that the rows of one file may take: a thousand rows of ten thousand numbers are 80 MB.
LARGEST_DECODED = 128 * 2**20
#: A footer says some 200 bytes of each column.
LARGEST_FOOTER = 8 * 2**20
#: What a page costs its reader whatever is in it, about.
PAGE = 1024
#: Bytes of a value in memory; of a text without its letters.
WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 12, "BYTE_ARRAY": 16}
#: Encodings that pyarrow writes and in which a value is as long as it stands there: plain, places in a dictionary, runs of
#: places or of booleans. Others (DELTA_BYTE_ARRAY) repeat the beginning of the value before.
ENCODINGS = {0: "PLAIN", 2: "PLAIN_DICTIONARY", 3: "RLE", 8: "RLE_DICTIONARY"}
#: Of a page's header in Thrift's compact protocol: the fields that say how much is in it, and in which its encoding is.
UNCOMPRESSED, COMPRESSED, KINDS = 2, 3, {5: 2, 7: 2, 8: 4}


class TooLarge(ValueError):
    """A file that would take more memory than it may."""


def read(content: bytes, part: str, rows: int, most: int = LARGEST_DECODED) -> pa.Table:
    """The table of a Parquet file of at most `rows` rows and `most` bytes in memory, without nested columns.

    Raises TooLarge, naming the part, what was found and what is allowed, before the rows are in memory; ValueError or
    pa.ArrowException for what is no such file.
    """
    footer = int.from_bytes(content[-8:-4], "little")
    if footer > LARGEST_FOOTER:
        raise TooLarge(f"{part} says its footer has {footer} bytes; allowed are {LARGEST_FOOTER}")
    file = pq.ParquetFile(pa.BufferReader(content))
    about = file.metadata
    if about.num_rows > rows:
        raise TooLarge(f"{part} says it holds {about.num_rows} rows; {rows} at most are kept")
    columns = [about.schema.column(place) for place in range(about.num_columns)]
    nested = [field.name for field in file.schema_arrow if pa.types.is_nested(field.type)]
    if nested := nested + [column.path for column in columns if column.max_repetition_level]:
        raise ValueError(f"{part} has the nested column {nested[0]}; allowed are columns of one value a row")
    _require_small(part, "pages", _of_pages(content, about, part, most), most)
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


def _of_pages(content: bytes, about: pq.FileMetaData, part: str, most: int) -> int:
    """Bytes that all pages of the file unpack to, by their own headers."""
    size = 0
    for group in range(about.num_row_groups):
        for place in range(about.num_columns):
            column = about.row_group(group).column(place)
            size += PAGE
            if column.num_values == 0:  # its reader looks at no page either, and the writer may have noted none
                continue
            start = column.data_page_offset
            if column.has_dictionary_page and column.dictionary_page_offset:
                start = min(start, column.dictionary_page_offset)
            end = start + column.total_compressed_size
            if not 0 <= start <= end <= len(content):
                raise ValueError(
                    f"{part} says that {column.path_in_schema} is at bytes {start} to {end}, outside of it"
                )
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
            header, place = _Compact(content, place, end).struct()
            unpacked, packed = int(header[UNCOMPRESSED]), int(header[COMPRESSED])
            (encoding,) = {header[kind][field] for kind, field in KINDS.items() if kind in header}
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


class _Compact:
    """A struct in Thrift's compact protocol, as field number -> value; what is no number or struct is passed over.

    https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
    """

    def __init__(self, content: bytes, place: int, end: int) -> None:
        self._content, self._place, self._end = content, place, end

    def struct(self, depth: int = 0) -> tuple[dict[int, Any], int]:
        """The struct, and the place after it."""
        if depth > 4:
            raise ValueError("structs nested too deep")
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._number()
            fields[number] = self._value(head & 15, depth)
        return fields, self._place

    def _value(self, kind: int, depth: int) -> Any:
        match kind:
            case 1 | 2:  # true, false
                return kind == 1
            case 3:
                return self._byte()
            case 4 | 5 | 6:
                return self._number()
            case 7:
                self._skip(8)
            case 8:
                self._skip(self._varint())
            case 12:
                return self.struct(depth + 1)[0]
            case _:
                raise ValueError(f"a value of type {kind}, which no page header has")
        return None

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
