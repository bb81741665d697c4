"""A transformation gives the same over a training set and over a request, whatever it is written in."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow as pa
import pytest
from feast import FeatureView, Field, FileSource, RequestSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Bool, Float64, Int64, String, UnixTimestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tidemill.features.conftest import STATION
from tidemill.errors import FeatureError
from tidemill.features.on_demand import Transformation, transform_table

pytestmark = [
    pytest.mark.engine,
    pytest.mark.filterwarnings("ignore:On demand feature view is an experimental feature"),
]

MOMENT = datetime(2013, 1, 1, tzinfo=UTC)
request = RequestSource(
    name="request",
    schema=[
        Field(name="load", dtype=Float64), Field(name="seats", dtype=Int64), Field(name="code", dtype=String),
        Field(name="at", dtype=UnixTimestamp),
    ],
)  # fmt: skip
weather = FeatureView(
    name="weather",
    entities=[STATION],
    schema=[
        Field(name="wind", dtype=Float64),
        Field(name="gusts", dtype=Int64),
        Field(name="wet", dtype=Bool),
    ],
    source=FileSource(path="weather.parquet", timestamp_field="time"),
)
SCHEMA = [
    Field(name="force", dtype=Float64),
    Field(name="share", dtype=Float64),
    Field(name="hour", dtype=Float64),
]


def python(inputs):
    def both(one, other, result):
        pairs = zip(inputs[one], inputs[other], strict=True)
        return [None if a is None or b is None else result(a, b) for a, b in pairs]

    return {
        "force": both("wind", "gusts", lambda wind, gusts: wind * wind + gusts),
        "share": both("load", "seats", lambda load, seats: load / (seats + 0.5)),
        "hour": [None if at is None else float(at.hour) for at in inputs["at"]],
    }


def singleton(inputs):
    known = inputs["wind"] is not None and inputs["gusts"] is not None
    asked = inputs["load"] is not None and inputs["seats"] is not None
    return {
        "force": inputs["wind"] ** 2 + inputs["gusts"] if known else None,
        "share": inputs["load"] / (inputs["seats"] + 0.5) if asked else None,
        "hour": float(inputs["at"].hour) if inputs["at"] is not None else None,
    }


def pandas(inputs):
    import pandas as pd

    return pd.DataFrame(
        {
            "force": inputs["wind"] ** 2 + inputs["gusts"],
            "share": inputs["load"] / (inputs["seats"] + 0.5),
            "hour": inputs["at"].dt.hour.astype("float64"),
        }
    )


def view_of(function, **options):
    made = on_demand_feature_view(sources=[request, weather], schema=SCHEMA, **options)(function)
    made.source_feature_view_projections["weather"] = weather.projection
    return made


VIEWS = {
    "python": view_of(python, mode="python"),
    "singleton": view_of(singleton, mode="python", singleton=True),
    "pandas": view_of(pandas, mode="pandas"),
}
number = st.none() | st.floats(-100, 100)
whole = st.none() | st.integers(0, 100)
ROW = st.fixed_dictionaries(
    {
        "load": number, "seats": whole, "code": st.none() | st.text(max_size=2),
        "at": st.none() | st.integers(0, 10**5).map(lambda minutes: MOMENT + timedelta(minutes=minutes)),
        "wind": number, "gusts": whole, "wet": st.none() | st.booleans(),
    }
)  # fmt: skip


TYPES = {
    "load": pa.float64(), "seats": pa.int32(), "code": pa.large_string(),
    "at": pa.timestamp("ns", "America/New_York"), "wind": pa.float64(), "gusts": pa.int64(),
    "wet": pa.bool_(),
}  # fmt: skip


def numbers(column):
    return [None if value is None or value != value else float(value) for value in column]


def trained(view, rows):
    """A training frame's columns have the types of its sources: here not quite the declared ones."""
    types = TYPES | ({"load": pa.null()} if all(row["load"] is None for row in rows) else {})
    table = pa.table({name: pa.array([row[name] for row in rows], kind) for name, kind in types.items()})
    table = table.append_column("label", pa.array([1] * len(rows)))
    result = transform_table(view, table)
    return [numbers(result[field.name].to_pylist()) for field in SCHEMA]


def served(view, rows):
    transformation = Transformation(view)
    inputs = {name: transformation.requested(name, rows) for name in transformation.request}
    inputs |= {name: [row[feature] for row in rows] for name, (_, feature) in transformation.sources.items()}
    return [numbers(column) for column in transformation.run(inputs, len(rows))]


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=6))
@pytest.mark.parametrize("kind", VIEWS)
def test_a_request_gets_what_a_training_set_gets(kind, rows):
    view = VIEWS[kind]
    expected = trained(view, rows)
    assert served(view, rows) == expected
    alone = [served(view, [row]) for row in rows]
    assert [[one[n][0] for one in alone] for n in range(len(SCHEMA))] == expected
    assert expected == trained(VIEWS["python"], rows)


def test_moments_are_in_the_same_zone_for_a_training_set_and_a_request():
    def zone(inputs):
        return {
            "force": [float(at.tzinfo is UTC) for at in inputs["at"]],
            "share": [None for _ in inputs["at"]],
            "hour": [None for _ in inputs["at"]],
        }

    row = {"load": 1.0, "seats": 1, "code": "", "at": MOMENT, "wind": 1.0, "gusts": 1, "wet": True}
    view = view_of(zone, mode="python")
    assert trained(view, [row])[0] == served(view, [row])[0] == [1.0]


def test_what_is_unknown_in_every_row_has_its_declared_type():
    def unknown(inputs):
        return {name: [None] * len(inputs["at"]) for name in ("force", "share", "hour")}

    table = pa.table({name: pa.nulls(2, kind) for name, kind in TYPES.items()})
    result = transform_table(view_of(unknown, mode="python"), table)
    assert [result[field.name].type for field in SCHEMA] == [pa.float64()] * 3


def test_a_training_set_may_be_empty():
    for view in VIEWS.values():
        table = pa.table({name: pa.array([], kind) for name, kind in TYPES.items()})
        assert transform_table(view, table).num_rows == 0


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda inputs: {"force": [1.0]}, "'bad' failed: KeyError: 'share'"),
        (lambda inputs: {"force": [], "share": [1.0], "hour": [1.0]}, "'bad' gave 0 of 1 values of 'force'"),
    ],
)
def test_a_transformation_that_gives_something_else_is_named(function, message):
    function.__name__ = "bad"
    row = {"load": 1.0, "seats": 1, "code": "", "at": MOMENT, "wind": 1.0, "gusts": 1, "wet": True}
    view = view_of(function, mode="python")
    with pytest.raises(FeatureError, match=message):
        served(view, [row])
    with pytest.raises(FeatureError, match="on-demand view 'bad' failed"):
        trained(view, [row])


def test_the_row_that_a_transformation_fails_on_is_named_with_what_is_unknown_in_it():
    def hot(inputs):
        return {
            "force": [wind * 2 for wind in inputs["wind"]],
            "share": inputs["load"],
            "hour": inputs["load"],
        }

    table = pa.table({name: pa.nulls(9, kind) for name, kind in TYPES.items()})
    winds = pa.array([*[1.0] * 5, None, 1.0, None, 1.0])
    table = table.set_column(table.column_names.index("wind"), "wind", winds)
    filled = table.set_column(table.column_names.index("load"), "load", pa.array([2.0] * 9))
    with pytest.raises(FeatureError, match=r"TypeError: .+ \(row 6 of 9, where .*wind.* are unknown\)"):
        transform_table(view_of(hot, mode="python"), filled)


def test_a_transformation_must_not_drop_rows_of_a_training_set():
    def few(inputs):
        return pd.DataFrame({name: inputs["wind"].dropna() for name in ("force", "share", "hour")})

    table = pa.table({name: pa.nulls(2, kind) for name, kind in TYPES.items()})
    with pytest.raises(FeatureError, match="'few' failed: ValueError: it gave 0 of 2 rows"):
        transform_table(view_of(few, mode="pandas"), table)


def test_a_request_of_another_type_is_named():
    row = {"load": "heavy", "seats": 1, "code": "", "at": MOMENT, "wind": 1.0, "gusts": 1, "wet": True}
    with pytest.raises(FeatureError, match="'load' is of another type than on-demand view 'python' declares"):
        served(VIEWS["python"], [row])
    with pytest.raises(
        FeatureError, match="on-demand view 'python': 'load' is declared double and holds string"
    ):
        transform_table(VIEWS["python"], pa.table({"load": ["heavy"]}))
