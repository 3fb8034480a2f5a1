"""How is JSON read that somebody else may have written? Only if what it becomes in memory was bounded before."""

import json
from typing import Any

#: Memory that the JSON of one file may take. The largest manifests of ours, of thousands of features, take a tenth of it.
LARGEST_DECODED = 256 * 2**20
#: Bytes for each mark that begins an element. Measured with CPython 3.11: 300,000 of `{"a":1.5}` took .73 of what this
#: counts, texts of a dozen letters .99.
ELEMENT = 100
#: Bytes of a letter: the text of the file, and what is read of it. One letter beyond ASCII, escaped or not, makes all of a
#: text take 4 bytes a letter.
PLAIN, WIDE = 2, 8


def parsed(content: bytes, most: int = LARGEST_DECODED) -> Any:
    """What the JSON says. Raises ValueError where it is none, is nested too deep, or could take more than `most` bytes."""
    size = decoded_size(content)
    if size > most:
        raise ValueError(f"its {len(content)} bytes of JSON could take {size} bytes of memory; allowed are {most}")
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("JSON nested too deep") from None


def decoded_size(content: bytes) -> int:
    """Bytes of memory that the JSON takes at most, by counting what begins an element; nothing is parsed for it."""
    elements = sum(content.count(mark) for mark in (b"[", b"{", b",", b":"))
    plain = content.isascii() and b"\\u" not in content
    return ELEMENT * elements + len(content) * (PLAIN if plain else WIDE)
