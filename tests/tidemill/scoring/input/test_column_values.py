"""Columns of any type as the numbers that a model takes."""

from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pytest

from tidemill.project.feature_columns import FeatureColumn
from tidemill.scoring.execution.feature_values import (
    FeatureKinds,
    FeatureValues,
    check_required,
    given_values,
)
from tidemill.scoring.input.column_values import is_numeric, texts


def test_moments_become_seconds_as_in_training():
    moment = datetime(1970, 1, 1, 1, tzinfo=UTC)
    table = pa.table({"booked": [moment, None], "born": [date(1970, 1, 2), None]})
    found = given_values(table, FeatureKinds(("booked", "born"), (), {}), {}).matrix
    assert found.tolist()[0] == [3600.0, 86400.0]
    assert np.isnan(found[1]).all()
    assert all(is_numeric(field.type) for field in table.schema)


@pytest.mark.parametrize(
    ("known", "left"),
    [
        (None, ["NA", "n/a", "none", "?", "mall"]),
        ((), ["NA", None, "none", "?", "mall"]),
        (("mall", "none"), [None, None, "none", None, "mall"]),
        (("mall", "NA"), ["NA", None, "none", None, "mall"]),
    ],
)
def test_what_means_a_gap_in_text_is_one_in_a_request_too(known, left):
    given = ["NA", "n/a", "none", "?", "mall"]
    assert texts(pa.chunked_array([given]), known).to_pylist() == left
    column = FeatureColumn("kind", "text", categories=known or (), has_gap_words=known is not None)
    assert [column.without_gap(each) for each in given] == left


@pytest.mark.parametrize(
    ("kind", "form", "given", "right"),
    [
        ("number", "1.234,56", ["43.113", "3,20", "n/a", "?", "-"], [43113, 3.2, None, None, None]),
        ("number", "1.234,56", ["abc", "1.5"], ["is not a number written as 1.234,56"] * 2),
        ("number", None, ["43.113", "n/a", "?"], [43.113, None, None]),
        ("integer", None, ["5", "5.0", "#N/A"], [5, 5, None]),
        ("integer", "1.234,56", ["43.113", "5,5"], [43113, "5.5 is not a whole number"]),
        ("integer", None, [5.0, 5.5, None], [5, "5.5 is not a whole number", None]),
        ("truth", None, ["true", "False", "1", "0", "NA"], [1, 0, 1, 0, None]),
        ("truth", None, ["maybe", "7"], ["'maybe' is not true or false", "'7' is not true or false"]),
        ("truth", None, [7.0, 0.5, 1.0], ["7 is not true or false", "0.5 is not true or false", 1]),
        ("truth", None, [True, False, None], [1, 0, None]),
        ("moment", "%d.%m.%Y", ["02.01.1970", "1970-01-02"], [86400, "is not a moment written as %d.%m.%Y"]),
        ("moment", "milliseconds", [86_400_000, None], [86400, None]),
        ("moment", None, ["1970-01-01T01:00:00+01:00", "?", "x"], [0, None, "is not a moment in ISO 8601"]),
        ("moment", None, ["1970", "19700101", "86400"], ["is not a moment in ISO 8601"] * 3),
    ],
)
def test_cells_are_read_as_in_training(kind, form, given, right):
    noted: dict[int, str] = {}
    kinds = FeatureKinds(("a",), (), {}, {"a": kind}, {"a": form} if form else {})
    found = given_values(pa.table({"a": given}), kinds, noted).matrix[:, 0].tolist()
    for place, (value, wanted) in enumerate(zip(found, right, strict=True)):
        if isinstance(wanted, str):
            assert noted[place].endswith(wanted), noted
        else:
            assert place not in noted
            assert (None if np.isnan(value) else value) == wanted


def test_lists_of_whole_numbers_have_no_other_elements():
    """As in requests, where 3.0 is 3."""
    kinds = FeatureKinds(("e",), (), {"e": 2}, whole=("e",))
    for column in ([[1, 2.0], [1, 2.5], None, [3.0, 4]], ["[1, 2.0]", "[1, 2.5]", "NA", "[3.0, 4]"]):
        noted: dict[int, str] = {}
        found = given_values(pa.table({"e": column}), kinds, noted).matrix
        assert noted == {1: "e: 2.5 in a list of 2 integers is not a whole number"}
        assert found[[0, 3]].tolist() == [[1.0, 2.0], [3.0, 4.0]]
        assert np.isnan(found[[1, 2]]).all()
        noted.clear()
        plain = given_values(pa.table({"e": column}), kinds._replace(whole=()), noted).matrix
        assert (noted, plain[1].tolist()) == ({}, [1.0, 2.5])


def test_gaps_inside_lists_become_nan_however_they_are_written():
    kinds = FeatureKinds(("e",), (), {"e": 3}, whole=("e",))
    gaps = [[None, 1.0, 2.0], [1.0, float("nan"), float("inf")]]
    for column in (gaps, ["[null, 1, 2.0]", "[1, nan, NaN]"], ["[None, 1, 2]", " [1,NONE , null ]"]):
        noted: dict[int, str] = {}
        found = given_values(pa.table({"e": column}), kinds, noted).matrix
        assert noted == {}
        np.testing.assert_array_equal(found, [[np.nan, 1, 2], [1, np.nan, np.nan]])
        check_required(FeatureValues(found, {}), kinds, ("e",), noted)
        assert noted[1] == "e is missing, or has a gap inside; `required: false` in features.yaml allows gaps"


def test_what_means_a_gap_in_training_is_no_category():
    table = pa.table({"a": ["null", "", "NA", "x", "n/a", "N/A"]})
    for gaps, wanted in (
        ({"a": ()}, [None, None, "NA", "x", None, None]),
        ({"a": ("n/a", "x")}, [None, None, None, "x", "n/a", "N/A"]),
        ({}, ["null", "", "NA", "x", "n/a", "N/A"]),  # stages of the project's own read text as it is
    ):
        kinds = FeatureKinds(("a",), ("a",), {}, {"a": "text"}, gaps=gaps)
        assert given_values(table, kinds, {}).texts["a"].to_pylist() == wanted
