from datetime import UTC, datetime, timedelta

# ruff: noqa: DTZ001, DTZ901 - naive moments, which mean UTC, are part of what is tested here
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.errors import FeatureError
from tidemill.features.asof import History, point_in_time_join

START = datetime(2013, 1, 1)
UNITS = ("ms", "us", "ns")

moments = st.none() | st.integers(0, 40).map(lambda hours: START + timedelta(hours=hours))
names = st.none() | st.sampled_from("abc")
values = st.none() | st.integers(0, 1000)
ttls = st.none() | st.sampled_from([0, 1, 5, 20]).map(lambda hours: timedelta(hours=hours))


@st.composite
def histories(draw, index):
    rows = draw(st.lists(st.tuples(names, names, moments, moments, values), max_size=30))
    keys = draw(st.sampled_from([(), ("k",), ("k", "l")]))
    created = draw(st.booleans())
    seen = set()
    unique = []
    for row in rows:  # ties beyond the created timestamp have no defined winner
        tie = (*(row[position] for position in range(len(keys))), row[2], row[3] if created else None)
        if tie not in seen:
            seen.add(tie)
            unique.append(row)
    zone = draw(st.sampled_from([None, "UTC", "America/New_York"]))
    unit = draw(st.sampled_from(UNITS))
    frame = pl.DataFrame(
        unique,
        schema={
            "k": pl.String,
            "l": pl.String,
            "known": pl.Datetime("us"),
            "created": pl.Datetime("us"),
            "value": pl.Int64,
        },
        orient="row",
    ).with_columns(pl.col("known").dt.cast_time_unit(unit))
    if zone:
        frame = frame.with_columns(pl.col("known").dt.replace_time_zone("UTC").dt.convert_time_zone(zone))
    return unique, History(
        name=f"view{index}",
        values=frame.lazy(),
        keys=dict(zip(keys, ("x", "y"), strict=False)),
        features={"value": f"value{index}"},
        timestamp="known",
        created="created" if created else None,
        ttl=draw(ttls),
    )


def by_brute_force(rows, source, history):
    """What Feast's documentation defines, one row at a time."""
    answers = []
    for x, y, at in rows:
        asked = (x, y)[: len(history.keys)]
        best = None
        for k, l, known, created, value in source:  # noqa: E741
            if at is None or known is None or None in asked or (k, l)[: len(asked)] != asked or known > at:
                continue
            rank = (known, created or datetime.min) if history.created else (known,)
            if best is None or rank > best[0]:
                best = (rank, value)
        expired = best is not None and history.ttl and at - best[0][0] > history.ttl
        answers.append(None if best is None or expired else best[1])
    return answers


@settings(max_examples=400, deadline=None)
@given(data=st.data(), unit=st.sampled_from(UNITS), aware=st.booleans())
def test_gives_what_a_search_through_all_rows_gives(data, unit, aware):
    rows = data.draw(st.lists(st.tuples(names, names, moments), max_size=30))
    rows += data.draw(st.lists(st.sampled_from(rows), max_size=5)) if rows else []
    views = [data.draw(histories(index)) for index in range(data.draw(st.integers(1, 3)))]
    frame = pl.DataFrame(
        rows, schema={"x": pl.String, "y": pl.String, "at": pl.Datetime("us")}, orient="row"
    ).with_columns(pl.col("at").dt.cast_time_unit(unit))
    if aware:
        frame = frame.with_columns(pl.col("at").dt.replace_time_zone("UTC"))

    joined = point_in_time_join(frame, "at", [history for _, history in views])

    assert joined.height == len(rows)
    assert joined.columns == [f"value{index}" for index in range(len(views))]
    for index, (source, history) in enumerate(views):
        assert joined[f"value{index}"].to_list() == by_brute_force(rows, source, history)


def history(values, **changes):
    defaults = {"keys": {"k": "k"}, "features": {"v": "v"}, "timestamp": "t"}
    return History("view", values.lazy(), **{**defaults, **changes})


def test_a_value_holds_until_its_ttl_has_passed_and_not_a_microsecond_longer():
    values = pl.DataFrame({"k": ["a"], "t": [START], "v": [1]})
    ages = [timedelta(hours=1), timedelta(hours=1, microseconds=1), timedelta(microseconds=-1)]
    rows = pl.DataFrame({"k": ["a"] * 3, "at": [START + age for age in ages]})
    joined = point_in_time_join(rows, "at", [history(values, ttl=timedelta(hours=1))])
    assert joined["v"].to_list() == [1, None, None]


def test_a_ttl_is_exact_to_the_nanosecond():
    values = pl.DataFrame({"k": ["a"], "t": [0], "v": [1]}).with_columns(pl.col("t").cast(pl.Datetime("ns")))
    rows = pl.DataFrame({"k": ["a"] * 2, "at": [1_000_000_000, 1_000_000_001]}).with_columns(
        pl.col("at").cast(pl.Datetime("ns"))
    )
    joined = point_in_time_join(rows, "at", [history(values, ttl=timedelta(seconds=1))])
    assert joined["v"].to_list() == [1, None]


def test_nanoseconds_are_not_rounded_away():
    values = pl.DataFrame({"k": ["a", "a"], "t": [1_000_000_001, 1_000_000_003], "v": [1, 3]}).with_columns(
        pl.col("t").cast(pl.Datetime("ns"))
    )
    rows = pl.DataFrame({"k": ["a"] * 3, "at": [1_000_000_000, 1_000_000_002, 1_000_000_003]}).with_columns(
        pl.col("at").cast(pl.Datetime("ns"))
    )
    assert point_in_time_join(rows, "at", [history(values)])["v"].to_list() == [None, 1, 3]


@pytest.mark.parametrize("unit", ["us", "ns"])
def test_dates_at_the_ends_of_time_do_not_wrap_around(unit):
    values = pl.DataFrame({"k": ["a", "b"], "t": [datetime(9999, 12, 31), datetime(1, 1, 1)], "v": [1, 2]})
    rows = pl.DataFrame({"k": ["a", "b", "b"], "at": [START, START, None]}).with_columns(
        pl.col("at").cast(pl.Datetime(unit))
    )
    assert point_in_time_join(rows, "at", [history(values)])["v"].to_list() == [None, 2, None]


def test_a_date_means_its_midnight_in_utc():
    values = pl.DataFrame({"k": ["a"], "t": [START.date()], "v": [1]})
    rows = pl.DataFrame({"k": ["a", "a"], "at": [START, START - timedelta(seconds=1)]})
    assert point_in_time_join(rows, "at", [history(values)])["v"].to_list() == [1, None]


@pytest.mark.parametrize(
    ("asked", "dtype"),
    [
        (pl.Series([7.0, 7.5, None]), pl.Int32),  # what pandas makes of integers with gaps
        (pl.Series([7, 2**40, None]), pl.Int32),
        (pl.Series([7, 8, None], dtype=pl.Int16), pl.Int64),
        (pl.Series([7, 8, None]), pl.Float64),
        (pl.Series(["7", "8", None], dtype=pl.Categorical), pl.String),
        (pl.Series(["7", "8", None]), pl.Categorical),
    ],
)
def test_keys_are_compared_by_value_not_by_width(asked, dtype):
    key = "7" if dtype in (pl.String, pl.Categorical) else 7
    values = pl.DataFrame({"k": [key], "t": [START], "v": [1]}, schema_overrides={"k": dtype})
    rows = pl.DataFrame({"k": asked, "at": [START] * 3})
    assert point_in_time_join(rows, "at", [history(values)])["v"].to_list() == [1, None, None]


def test_keys_that_are_null_everywhere_match_nothing():
    values = pl.DataFrame({"k": ["a", None], "t": [START, START], "v": [1, 2]})
    rows = pl.DataFrame({"k": [None, None], "at": [START, START]})
    assert point_in_time_join(rows, "at", [history(values)])["v"].to_list() == [None, None]


def test_empty_frames_are_fine():
    values = pl.DataFrame({"k": ["a"], "t": [START], "v": [1]})
    rows = pl.DataFrame({"k": ["a"], "at": [START]})
    assert point_in_time_join(rows.clear(), "at", [history(values)]).shape == (0, 1)
    assert point_in_time_join(rows, "at", [history(values.clear())])["v"].to_list() == [None]
    assert point_in_time_join(rows, "at", []).height == 1


def test_keys_and_features_may_share_their_names():
    values = pl.DataFrame({"k": ["a"], "t": [datetime(2013, 1, 1, tzinfo=UTC)]})
    rows = pl.DataFrame({"k": ["a"], "at": [START]})
    joined = point_in_time_join(rows, "at", [history(values, features={"k": "key", "t": "since"})])
    assert joined.rows() == [("a", datetime(2013, 1, 1, tzinfo=UTC))]


@pytest.mark.parametrize(
    ("values", "rows", "message"),
    [
        ({"k": ["a"], "t": [START]}, {"k": ["a"], "at": [START]}, "its source has no column 'v'"),
        ({"k": ["a"], "t": [START], "v": [1]}, {"at": [START]}, "the entity frame has no column 'k'"),
        (
            {"k": ["a"], "t": [START], "v": [1]},
            {"k": [1], "at": [START]},
            "key 'k' is Int64 in the entity frame",
        ),
        ({"k": ["a"], "t": ["2013"], "v": [1]}, {"k": ["a"], "at": [START]}, "column 't' holds String"),
    ],
)
def test_says_what_does_not_fit(values, rows, message):
    with pytest.raises(FeatureError, match=message):
        point_in_time_join(pl.DataFrame(rows), "at", [history(pl.DataFrame(values))])
