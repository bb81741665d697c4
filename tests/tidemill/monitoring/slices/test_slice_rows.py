import polars as pl
import pytest
from pydantic import TypeAdapter, ValidationError

from tidemill.monitoring.slice_config import SliceDeclaration
from tidemill.monitoring.slices.slice_rows import declared_slices, unknown_columns

READ = TypeAdapter(tuple[SliceDeclaration, ...])
ROWS = pl.DataFrame(
    {
        "origin": ["JFK", "EWR", None, "JFK"],
        "distance": [100, 500, 900, None],
        "night": [True, False, True, False],
        "embedding": [[1.0, 2.0]] * 4,
    }
)


@pytest.mark.parametrize(
    ("where", "title", "rows"),
    [
        ({"origin": "JFK"}, "origin JFK", [0, 3]),
        ({"origin": ["JFK", "EWR"]}, "origin JFK or EWR", [0, 1, 3]),
        ({"origin": None}, "origin missing", [2]),
        ({"distance": {"at_least": 500}}, "distance ≥ 500", [1, 2]),
        ({"distance": {"at_least": 100, "below": 900}}, "distance 100 to 900", [0, 1]),
        ({"distance": 500}, "distance 500", [1]),
        ({"night": True}, "night True", [0, 2]),
        ({"night": True, "origin": "JFK"}, "night True, origin JFK", [0]),
        ({"origin": 7}, "origin 7", []),
        ({"distance": "far"}, "distance far", []),
    ],
)
def test_the_rows_of_a_declared_segment(where, title, rows):
    (found,) = declared_slices(READ.validate_python([{"where": where}]), ROWS, ROWS)
    assert found.name == title
    assert found.now.nonzero()[0].tolist() == rows


def test_a_feature_makes_a_segment_of_each_value_or_quarter():
    found = declared_slices(READ.validate_python([{"by": "origin"}]), ROWS, ROWS[:2])
    assert [(one.name, one.before.sum(), one.now.sum()) for one in found] == [
        ("origin JFK", 2, 1),
        ("origin EWR", 1, 1),
        ("origin missing", 1, 0),
    ]
    many = pl.DataFrame({"a": [float(n) for n in range(100)]})
    quarters = declared_slices(READ.validate_python([{"by": "a"}]), many, many)
    assert [one.now.sum() for one in quarters] == [25, 25, 24, 26]
    assert declared_slices(READ.validate_python([{"by": "embedding"}]), ROWS, ROWS) == []


def test_segments_on_features_that_do_not_exist_are_named():
    declared = READ.validate_python([{"by": "tail"}, {"where": {"tail": 1, "crew": 2, "origin": "JFK"}}])
    assert unknown_columns(declared, ROWS.columns) == ["tail", "crew"]
    assert declared_slices(declared, ROWS, ROWS) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"where": {}}, "either where or by"),
        ({"where": {"a": {"at_least": 2, "below": 1}}}, "must be less than below"),
        ({"where": {"a": {}}}, "set a value, a list of values"),
        ({"where": {"a": [[1]]}}, "is none of them"),
        ({"by": "a", "name": "x"}, "leave name out"),
        ({"name": "x"}, "either where or by"),
    ],
)
def test_a_wrong_segment_is_refused(given, said):
    with pytest.raises(ValidationError, match=said):
        READ.validate_python([given])
