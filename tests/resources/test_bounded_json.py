"""Is JSON bounded by what it takes in memory, whatever it is made of?"""

import json
import tracemalloc

import pytest

from factory_resources.bounded_json import decoded_size, parsed

MANY = 20_000
TEXTS = {
    "empty lists": json.dumps([[]] * MANY),
    "lists of lists": json.dumps([[[]]] * MANY),
    "dicts": json.dumps([{"a": 1.5}] * MANY),
    "one dict": json.dumps({f"name {place}": place for place in range(MANY)}),
    "texts": json.dumps([f"é{place}" for place in range(MANY)], ensure_ascii=False),
    "faces": json.dumps([f"\U0001f600{place}" for place in range(MANY)], ensure_ascii=False),
    "a wide text": json.dumps("a" * 10 * MANY + "\U0001f600", ensure_ascii=False),
    "an escaped one": json.dumps("a" * 10 * MANY + "\U0001f600"),
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_json_takes_no_more_memory_than_was_counted_before(text: str) -> None:
    content = text.encode()
    tracemalloc.start()
    try:
        found = json.loads(content)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most <= decoded_size(content) + 10_000
    assert parsed(content) == found


def test_json_that_would_take_more_than_is_allowed_is_refused_with_both_numbers() -> None:
    with pytest.raises(ValueError, match=r"its 9 bytes of JSON could take 418 bytes of memory; allowed are 400"):
        parsed(b"[1,2,3,4]", most=400)
