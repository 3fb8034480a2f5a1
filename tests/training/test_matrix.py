"""Does a table become the same numbers in training and in serving, whatever way it comes?"""

import datetime as dt
import json
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory_assets.models.matrix import Encoding, encode, learn_encoding

NAN = math.nan
FEATURES = ["amount", "terminal_risk.risk_7d", "country", "is_night"]


def examples() -> pa.Table:
    return pa.table(
        {
            "country": ["FR", "DE", None, "FR"],
            "is_night": [True, False, None, True],
            "label": [0, 1, 0, 1],
            "terminal_risk.risk_7d": [0.5, None, 0.25, 1.0],
            "amount": pa.array([3, 1, 2, None], pa.int32()),
        }
    )


def test_columns_follow_the_order_of_the_features_and_rows_that_of_the_table() -> None:
    encoding = learn_encoding(examples(), FEATURES)
    expected = [[3, 0.5, 1, 1], [1, NAN, 0, 0], [2, 0.25, NAN, NAN], [NAN, 1, 1, 1]]
    matrix = encode(examples(), encoding)
    assert matrix.dtype == np.float64
    np.testing.assert_array_equal(matrix, expected)
    assert encoding.categorical == [2]


def test_levels_are_sorted_so_that_the_order_of_rows_does_not_number_them() -> None:
    backwards = examples().take([3, 2, 1, 0])
    assert learn_encoding(backwards, FEATURES) == learn_encoding(examples(), FEATURES)
    assert learn_encoding(examples(), FEATURES).categories == {"country": ("DE", "FR")}


def test_a_category_that_training_did_not_see_is_missing_and_keeps_the_others_their_numbers() -> None:
    encoding = learn_encoding(examples(), ["country"])
    serving = pa.table({"country": ["AT", "FR", None, "DE"]})
    np.testing.assert_array_equal(encode(serving, encoding), [[NAN], [1], [NAN], [0]])


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())], ids=str
)
def test_every_way_that_arrow_writes_a_string_gives_the_same_numbers(kind: pa.DataType) -> None:
    values = ["b", None, "a", "é", "b"]
    plain = pa.table({"c": values})
    other = pa.table({"c": pa.array(values).cast(kind)})
    assert other["c"].type == kind
    assert learn_encoding(other, ["c"]) == learn_encoding(plain, ["c"])
    np.testing.assert_array_equal(encode(other, learn_encoding(plain, ["c"])), [[1], [NAN], [0], [2], [1]])


def test_chunks_that_number_their_dictionary_differently_do_not_mix_categories_up() -> None:
    chunks = [pa.array(["z", "y"]).dictionary_encode(), pa.array(["x", "z", None]).dictionary_encode()]
    table = pa.table({"c": pa.chunked_array(chunks)})
    np.testing.assert_array_equal(encode(table, learn_encoding(table, ["c"])), [[2], [1], [0], [2], [NAN]])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([True, None, False]), [1, NAN, 0]),
        (pa.array([Decimal("1.25"), None, Decimal("-3.00")]), [1.25, NAN, -3]),
        (pa.array([2**60 + 1, None, 0], pa.int64()), [2.0**60, NAN, 0]),
        (pa.array([1.5, NAN, None], pa.float32()), [1.5, NAN, NAN]),
        (pa.array([math.inf, None, -math.inf]), [math.inf, NAN, -math.inf]),
    ],
    ids=["bool", "decimal", "big integer", "float32", "infinity"],
)
def test_numbers_of_every_kind_become_float64_and_nulls_nan(values: pa.Array, expected: list[float]) -> None:
    table = pa.table({"n": values})
    encoding = learn_encoding(table, ["n"])
    assert encoding.categorical == []
    np.testing.assert_array_equal(encode(table, encoding)[:, 0], expected)


def test_a_row_alone_gets_the_numbers_that_it_gets_among_others() -> None:
    encoding = learn_encoding(examples(), FEATURES)
    alone = [encode(examples().slice(row, 1), encoding) for row in range(4)]
    np.testing.assert_array_equal(np.vstack(alone), encode(examples(), encoding))


def test_no_rows_make_a_matrix_of_no_rows() -> None:
    encoding = learn_encoding(examples(), FEATURES)
    assert encode(examples().schema.empty_table(), encoding).shape == (0, 4)


def test_an_encoding_that_went_through_json_encodes_the_same() -> None:
    encoding = learn_encoding(examples(), FEATURES)
    restored = Encoding.from_dict(json.loads(json.dumps(encoding.to_dict())))
    assert restored == encoding
    np.testing.assert_array_equal(encode(examples(), restored), encode(examples(), encoding))


def test_a_missing_column_is_named_in_training_and_in_serving() -> None:
    encoding = learn_encoding(examples(), FEATURES)
    without = examples().drop_columns(["is_night"])
    for call in (lambda: encode(without, encoding), lambda: learn_encoding(without, FEATURES)):
        with pytest.raises(KeyError, match="no column for is_night"):
            call()


@pytest.mark.parametrize(
    ("values", "kind"),
    [([dt.datetime(2018, 4, 1)], "timestamp"), ([dt.date(2018, 4, 1)], "date32"), ([[1.0]], "list"), ([None], "null")],
)
def test_a_type_without_a_place_in_a_matrix_is_refused_by_name(values: list[Any], kind: str) -> None:
    with pytest.raises(ValueError, match=rf"'strange' is of type {kind}.*integer.*boolean.*string"):
        learn_encoding(pa.table({"strange": values}), ["strange"])


def test_a_feature_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="more than once: amount"):
        learn_encoding(examples(), ["amount", "country", "amount"])


def test_a_column_that_changed_its_kind_since_training_is_refused() -> None:
    encoding = learn_encoding(examples(), ["amount", "country"])
    with pytest.raises(ValueError, match="'amount' was a number in training and is of type string"):
        encode(pa.table({"amount": ["3"], "country": ["FR"]}), encoding)
    with pytest.raises(ValueError, match="'country' was a category in training and is of type int64"):
        encode(pa.table({"amount": [3], "country": [1]}), encoding)


def test_a_batch_in_which_a_feature_is_null_throughout_is_encoded_as_missing() -> None:
    encoding = learn_encoding(examples(), ["amount", "country"])
    np.testing.assert_array_equal(encode(pa.table({"amount": [None], "country": [None]}), encoding), [[NAN, NAN]])


ROWS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), max_size=3)),
        st.one_of(st.none(), st.floats(allow_nan=False)),
        st.one_of(st.none(), st.booleans()),
    ),
    max_size=30,
)


@settings(max_examples=100, deadline=None)
@given(train=ROWS, serve=ROWS)
def test_any_table_is_encoded_as_a_loop_over_its_rows_would(train: list[Any], serve: list[Any]) -> None:
    schema = pa.schema([("text", pa.string()), ("number", pa.float64()), ("flag", pa.bool_())])

    def table(rows: list[Any]) -> pa.Table:
        return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema=schema)

    levels = sorted({text for text, _, _ in train if text is not None})
    expected = [
        [
            levels.index(text) if text in levels else NAN,
            NAN if number is None else number,
            NAN if flag is None else float(flag),
        ]
        for text, number, flag in serve
    ]
    encoding = learn_encoding(table(train), schema.names)
    np.testing.assert_array_equal(encode(table(serve), encoding), np.array(expected, dtype=float).reshape(-1, 3))
