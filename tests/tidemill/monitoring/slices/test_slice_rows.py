import numpy as np
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


def test_whole_numbers_next_to_each_other_are_different_segments_however_large():
    rows = pl.DataFrame({"store": [1000001.0] * 3 + [1000002.0] * 2 + [1000003.0], "price": [0.1] * 6})
    found = declared_slices(
        READ.validate_python([{"where": {"store": 1000001}}, {"by": "store"}]), rows, rows
    )
    assert [(one.name, int(one.now.sum())) for one in found] == [
        ("store 1000001", 3),
        ("store 1000001", 3),
        ("store 1000002", 2),
        ("store 1000003", 1),
    ]
    narrow = rows.with_columns(pl.col("price").cast(pl.Float32))
    (one,) = declared_slices(READ.validate_python([{"where": {"price": 0.1}}]), rows, narrow)
    assert (one.name, one.before.all(), one.now.all()) == ("price 0.1", True, True)


@pytest.mark.parametrize("offset", [0.0, 1013.0, 2000.0, 1_700_000_000.0])
@pytest.mark.parametrize("whole", [True, False])
def test_quarters_hold_a_quarter_each_wherever_the_numbers_lie(offset: float, whole: bool):
    made = np.random.default_rng(5).normal(size=2000) * 40 + offset
    rows = pl.DataFrame({"a": made.round() if whole else made})
    found = declared_slices(READ.validate_python([{"by": "a"}]), rows, rows)
    assert len({one.name for one in found}) == 4
    assert [one.now.mean() for one in found] == pytest.approx([0.25] * 4, abs=0.02)
    assert np.sum([one.now for one in found], axis=0).tolist() == [1] * 2000
