"""Do labels and predictions of classes come out of a table as they went in?"""

import numpy as np
import pyarrow as pa
import pytest

from factory_assets.measures.tables import (
    aligned,
    label_values,
    prediction_columns,
    prediction_fields,
    prediction_values,
)

TASK = "multiclass(red, green, blue)"
SAID = np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2], [0.0, 0.0, 1.0]])


def test_a_label_is_the_place_of_its_class_and_one_that_is_not_known_is_no_number() -> None:
    found = label_values(TASK, pa.chunked_array([["blue", None], ["red"]]))
    np.testing.assert_array_equal(found, [2, np.nan, 0])
    with pytest.raises(ValueError, match="labels 'pink' are no class of the task; classes: red, green, blue"):
        label_values(TASK, pa.chunked_array([["blue", "pink"]]))


def test_predictions_are_the_most_likely_class_and_each_probability_and_come_back_bit_for_bit() -> None:
    rows = pa.table(prediction_columns(TASK, SAID))
    assert rows.schema.equals(pa.schema(prediction_fields(TASK)))
    assert rows["prediction"].to_pylist() == ["green", "red", "blue"] and rows["p_blue"].to_pylist() == [0.3, 0.2, 1.0]
    np.testing.assert_array_equal(prediction_values(TASK, rows), SAID)
    assert prediction_columns(TASK, SAID[:0])["prediction"].type == pa.string()
    (number,) = prediction_columns("regression", SAID[:, 0]).items()
    assert number[0] == "prediction" and number[1].to_pylist() == [0.2, 0.4, 0.0]


def test_a_class_that_was_not_declared_when_a_row_was_predicted_had_no_chance() -> None:
    rows = pa.table(prediction_columns(TASK, SAID)).append_column("p_black", pa.nulls(3))
    found = prediction_values("multiclass(black, red, green, blue)", rows)
    np.testing.assert_array_equal(found, np.column_stack([np.zeros(3), SAID]))


def test_classes_that_are_no_longer_declared_share_out_what_they_had() -> None:
    np.testing.assert_allclose(
        aligned(TASK, SAID, "multiclass(green, red, black)"), [[5 / 7, 2 / 7, 0], [0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3]]
    )
