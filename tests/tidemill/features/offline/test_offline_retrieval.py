"""What is asked for: entity frames of any kind, spans of time, values by creation, on-demand views, types."""

from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
from feast import Entity, FeatureService, FeatureView, Field, RequestSource, StreamFeatureView, ValueType
from feast.data_format import JsonFormat
from feast.data_source import KafkaSource, PushSource
from feast.dqm.errors import ValidationFailed
from feast.errors import RequestDataNotFoundInEntityDfException
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Array, Bool, Bytes, Float32, Float64, Int32, Int64, Map, String, Struct, UnixTimestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.errors import FeatureError
from tidemill.features.offline.asof import History, JoinResources, point_in_time_batches, point_in_time_join
from tidemill.features.offline.entities import entity_rows

pytestmark = [
    pytest.mark.engine,
    pytest.mark.filterwarnings("ignore:On demand feature view is an experimental feature:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Dataset validation is an experimental feature:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Stream feature views are experimental:RuntimeWarning"),
]

START = datetime(2013, 1, 1, tzinfo=UTC)
plane = Entity(name="plane", join_keys=["plane"], value_type=ValueType.INT64)


def hours(count):
    return START + timedelta(hours=count)


def weather():
    """A: 1 at 0 h, 2 at 2 h (created at 5 h); B: 3 and 4 at 1 h, of which 3 was created last."""
    return pl.DataFrame(
        {
            "station": ["A", "A", "B", "B"],
            "time": [hours(0), hours(2), hours(1), hours(1)],
            "created": [hours(0), hours(5), hours(3), hours(2)],
            "wind": [1.0, 2.0, 3.0, 4.0],
        }
    )


def asked(**columns):
    return pd.DataFrame(columns)


def joined(store, frame, *features, **options):
    return store.get_historical_features(frame, list(features) or ["weather:wind"], **options)


@pytest.mark.parametrize("kind", [pl.DataFrame, pl.LazyFrame, pa.table, pd.DataFrame])
def test_takes_frames_of_pandas_polars_and_arrow(store, make_view, station, kind):
    store.apply([station, make_view("weather", weather(), created_timestamp_column="created")])
    columns = {"station": ["A", "B"], "event_timestamp": [hours(1).replace(tzinfo=None), hours(1)][:1] * 2}
    job = joined(store, kind({**columns, "note": ["x", None]}))
    table = job.to_arrow()
    assert table.column_names == ["station", "event_timestamp", "note", "wind"]
    assert table["wind"].to_pylist() == [1, 3]
    assert table["event_timestamp"].to_pylist() == [hours(1)] * 2
    assert job.metadata.keys == ["station", "note"]
    assert (job.metadata.min_event_timestamp, job.metadata.max_event_timestamp) == (hours(1), hours(1))
    assert job.to_polars()["wind"].to_list() == [1, 3]


def test_an_empty_frame_gives_an_empty_result_with_all_columns(store, make_view, station):
    store.apply([station, make_view("weather", weather())])
    for frame in (
        asked(station=[], event_timestamp=[]),
        asked(station=["A"], event_timestamp=[hours(1)]).head(0),
        pl.DataFrame(schema={"station": pl.String, "event_timestamp": pl.Datetime("us")}),
    ):
        job = joined(store, frame)
        assert job.to_arrow().column_names == ["station", "event_timestamp", "wind"]
        assert job.to_df().empty
        assert job.metadata.min_event_timestamp is None
        assert [batch.num_rows for batch in job.to_arrow_batches()] == [0]


def test_says_why_rows_have_no_moment(store, make_view, station):
    store.apply([station, make_view("weather", weather())])
    for columns, reason in (
        ({}, "no column has timestamps"),
        ({"a": [hours(1)], "b": [hours(1)]}, "'a', 'b' could be it"),
        (
            {"event_timestamp": [5]},
            "'event_timestamp' of the entity frame does not hold points in time: .*int64",
        ),
    ):
        with pytest.raises(FeatureError, match=reason):
            joined(store, asked(station=["A"], **columns))
    with pytest.raises(FeatureError, match="must be a pandas, Polars or Arrow frame, not str"):
        joined(store, "SELECT station, event_timestamp FROM flights")
    twice = pd.DataFrame([["A", "A", hours(1)]], columns=["station", "station", "event_timestamp"])
    with pytest.raises(FeatureError, match="two columns 'station'"):
        entity_rows(twice)
    with pytest.raises(FeatureError, match="mixed types"):
        entity_rows(asked(station=["A", 1], event_timestamp=[hours(1)] * 2))
    naive = asked(station=["A"], moment=[hours(2).replace(tzinfo=None)])
    assert entity_rows(naive).at == "moment"
    text = asked(
        station=["A"] * 3, event_timestamp=["2013-01-01", "2013-01-01 01:00", "2013-01-01T02:00:00.5Z"]
    )
    moments = [hours(0), hours(1), hours(2) + timedelta(milliseconds=500)]
    assert entity_rows(text).table["event_timestamp"].to_pylist() == moments
    with pytest.raises(FeatureError, match="does not hold points in time"):
        entity_rows(asked(station=["A"], event_timestamp=["01/02/2013"]))
    eastern = asked(
        station=["A"] * 2, event_timestamp=[hours(1), hours(1).astimezone(timezone(timedelta(hours=-5)))]
    )
    assert entity_rows(eastern).table["event_timestamp"].to_pylist() == [hours(1)] * 2


def test_rows_of_the_far_future_and_past_are_kept(store, make_view, station):
    store.apply([station, make_view("weather", weather())])
    frame = asked(station=["A"] * 3, event_timestamp=[hours(1_640_000), hours(-2_700_000), None])
    assert joined(store, frame).to_arrow()["wind"].to_pylist() == [2, None, None]


def test_a_feature_that_the_view_does_not_have_is_refused_though_its_source_has_it(store, make_view, station):
    rows = weather().with_columns(pl.lit(1.0).alias("rain"))
    one, two = make_view("one", rows), make_view("two", path="one.parquet", features=("wind", "rain"))
    store.apply([station, one, two])
    frame = asked(station=["A"], event_timestamp=[hours(1)])
    with pytest.raises((FeatureError, KeyError), match=r"rain"):
        joined(store, frame, "one:rain").to_df()
    table = joined(store, frame, "one:wind", "two:wind", "two:rain", full_feature_names=True).to_arrow()
    assert table.column_names[2:] == ["one__wind", "two__wind", "two__rain"]


def test_without_a_frame_the_rows_are_the_keys_and_moments_within_the_span(store, make_view, station):
    view = make_view("weather", weather(), created_timestamp_column="created", ttl=timedelta(hours=1))
    store.apply([station, view])
    job = joined(store, None, start_date=hours(1), end_date=hours(2))
    assert job.to_arrow().to_pylist() == [
        {"station": "B", "event_timestamp": hours(1), "wind": 3.0},
        {"station": "A", "event_timestamp": hours(2), "wind": 2.0},
    ]
    assert job.metadata.keys == ["station"]
    assert (job.metadata.min_event_timestamp, job.metadata.max_event_timestamp) == (hours(1), hours(2))
    naive = joined(store, None, start_date=hours(1).replace(tzinfo=None), end_date=hours(2))
    assert naive.to_arrow() == job.to_arrow()
    from_ttl = joined(store, None, end_date=hours(2))
    assert from_ttl.metadata.min_event_timestamp == hours(1)
    assert from_ttl.to_df()["wind"].tolist() == [3, 2]
    assert joined(store, None, start_date=hours(7), end_date=hours(9)).to_arrow().num_rows == 0
    with pytest.raises(ValueError, match="Cannot specify both"):
        joined(store, asked(station=["A"], event_timestamp=[hours(1)]), start_date=hours(0))


def test_without_a_frame_the_default_is_thirty_days_until_now(store, make_view, station):
    now = datetime.now(UTC)
    rows = pl.DataFrame(
        {
            "station": ["A"] * 3,
            "time": [now - timedelta(days=40), now - timedelta(days=20), now + timedelta(days=40)],
            "wind": [1.0, 2.0, 3.0],
        }
    )
    store.apply([station, make_view("weather", rows)])
    assert joined(store, None).to_df()["wind"].tolist() == [2]
    assert joined(store, None, start_date=now - timedelta(days=50)).to_df()["wind"].tolist() == [1, 2]


def test_without_a_frame_every_view_adds_its_keys_and_sees_what_was_known(store, make_view, station):
    fleet = pl.DataFrame({"plane": [7], "time": [hours(1)], "seats": [100.0]})
    pair = pl.DataFrame({"plane": [7], "station": ["A"], "time": [hours(3)], "late": [0.5]})
    fuel = pl.DataFrame({"time": [hours(0), hours(2)], "price": [10.0, 20.0]})
    store.apply(
        [
            station,
            plane,
            make_view("weather", weather(), ttl=timedelta(hours=9)),
            make_view("fleet", fleet, entities=(plane,), features=("seats",)),
            make_view("pair", pair, entities=(plane, station), features=("late",)),
            make_view("fuel", fuel, entities=(), features=("price",)),
        ]
    )
    features = ["weather:wind", "fleet:seats", "pair:late", "fuel:price"]
    rows = joined(store, None, *features, start_date=hours(1), end_date=hours(3)).to_df()
    assert rows.replace({np.nan: None}).to_dict("records") == [
        {
            "station": "B",
            "plane": None,
            "event_timestamp": hours(1),
            "wind": 4,
            "seats": None,
            "late": None,
            "price": 10,
        },
        {
            "station": None,
            "plane": 7,
            "event_timestamp": hours(1),
            "wind": None,
            "seats": 100,
            "late": None,
            "price": 10,
        },
        {
            "station": "A",
            "plane": None,
            "event_timestamp": hours(2),
            "wind": 2,
            "seats": None,
            "late": None,
            "price": 20,
        },
        {
            "station": "A",
            "plane": 7,
            "event_timestamp": hours(3),
            "wind": 2,
            "seats": 100,
            "late": 0.5,
            "price": 20,
        },
    ]
    alone = joined(store, None, "fuel:price", start_date=hours(1), end_date=hours(3)).to_arrow()
    assert alone.to_pylist() == [{"event_timestamp": hours(2), "price": 20}]


def test_values_can_count_only_from_their_creation_on(store, make_view, station):
    store.apply(
        [
            station,
            make_view("weather", weather(), created_timestamp_column="created", ttl=timedelta(hours=4)),
            make_view("without", path="weather.parquet"),
        ]
    )
    frame = asked(
        station=["A", "A", "A", "A", "B", "B", "B"], event_timestamp=map(hours, [4, 5, 6, 7, 1, 2, 3])
    )
    features = "weather:wind", "without:wind"
    options = {"filter_by_created_timestamp": True, "full_feature_names": True}
    table = joined(store, frame, *features, **options).to_arrow()
    assert table.column_names == ["station", "event_timestamp", "weather__wind", "without__wind"]
    assert table["weather__wind"].to_pylist() == [1, 2, 2, None, None, 4, 3]
    assert table["without__wind"].to_pylist() == [2, 2, 2, 2, 4, 4, 4]
    batches = joined(store, frame, *features, **options).to_arrow_batches(3)
    assert pa.concat_tables(batches) == table
    assert joined(store, frame).to_arrow()["wind"].to_pylist() == [2, 2, 2, None, 3, 3, 3]


moments = st.integers(0, 12)
values = st.lists(st.tuples(st.integers(0, 2), moments, st.none() | moments), max_size=12)


@settings(max_examples=30, deadline=None)
@given(
    values,
    st.lists(st.tuples(st.integers(0, 2), moments), min_size=1, max_size=8),
    st.none() | st.integers(1, 5),
)
def test_the_creation_cutoff_is_what_a_search_through_all_rows_finds(known, rows, ttl):
    schema = {
        "key": pl.Int64,
        "time": pl.Datetime("us", "UTC"),
        "created": pl.Datetime("us", "UTC"),
        "value": pl.Int64,
    }
    frame = pl.DataFrame(
        [
            (key, hours(24 * time), None if created is None else hours(24 * created), n)
            for n, (key, time, created) in enumerate(known)
        ],
        schema,
        orient="row",
    )
    span = None if ttl is None else timedelta(days=ttl)
    history = History(
        "v", frame.lazy(), {"key": "key"}, {"value": "value"}, "time", "created", span, from_creation=True
    )
    asked_for = pl.DataFrame([(k, hours(24 * t)) for k, t in rows], ["key", "at"], orient="row")
    answers = point_in_time_join(asked_for, "at", [history])
    pieces = point_in_time_batches(asked_for, "at", [history], 3, room=JoinResources(memory=1))
    assert pl.concat(pieces).equals(answers)
    for (key, at), answer in zip(rows, answers["value"], strict=True):
        best = max(
            (
                (time, created, n)
                for n, (k, time, created) in enumerate(known)
                if k == key and created is not None and max(time, created) <= at
            ),
            default=None,
        )
        assert answer == (None if best is None or (ttl is not None and at - best[0] > ttl) else best[2])


def declare_on_demand(view):
    @on_demand_feature_view(
        sources=[RequestSource(name="request", schema=[Field(name="add", dtype=Float64)]), view],
        schema=[Field(name="sum", dtype=Float64), Field(name="double", dtype=Float64)],
    )
    def derived(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"sum": inputs["wind"] + inputs["add"], "double": inputs["wind"] * 2})

    return derived


@pytest.mark.parametrize("full", [False, True])
def test_on_demand_views_give_what_is_asked_of_them(store, make_view, station, full):
    view = make_view("weather", weather())
    derived = declare_on_demand(view)
    service = FeatureService(name="service", features=[view, derived[["double"]]])
    store.apply([station, view, derived, service])
    frame = asked(station=["A", "C"], event_timestamp=[hours(2)] * 2, add=[10.0, 10.0])
    one = joined(store, frame, "derived:sum", full_feature_names=full).to_df()
    prefix = "derived__" if full else ""
    assert one[f"{prefix}sum"].fillna(-1).tolist() == [12, -1]
    assert f"{prefix}double" not in one
    both = store.get_historical_features(frame, service, full_feature_names=full)
    assert both.to_df()[f"{prefix}double"].fillna(-1).tolist() == [4, -1]
    assert pa.concat_tables(both.to_arrow_batches(1)) == both.to_arrow()
    without = frame.drop(columns="add")
    with pytest.raises(RequestDataNotFoundInEntityDfException):
        joined(store, without, "derived:sum")
    for rows in ({"entity_df": pl.from_pandas(without)}, {"entity_df": None, "end_date": hours(9)}):
        with pytest.raises(FeatureError, match="on-demand feature view 'derived' needs 'add'"):
            store.get_historical_features(features=["derived:sum"], **rows)


TYPES = {
    "i32": (Int32, pa.array([1, None], pa.int32())),
    "i64": (Int64, pa.array([2**60, 1], pa.int64())),
    "f32": (Float32, pa.array([1.5, None], pa.float32())),
    "text": (String, pa.array(["a", None])),
    "flag": (Bool, pa.array([True, None])),
    "raw": (Bytes, pa.array([b"x", None])),
    "when": (UnixTimestamp, pa.array([START.replace(tzinfo=None), None], pa.timestamp("ms"))),
    "category": (String, pa.array(["c", "d"]).dictionary_encode()),
    "numbers": (Array(Int64), pa.array([[1, 2], None], pa.list_(pa.int64()))),
    "texts": (Array(String), pa.array([["a"], []], pa.list_(pa.string()))),
    "flags": (Array(Bool), pa.array([[True], []], pa.list_(pa.bool_()))),
    "stamps": (Array(UnixTimestamp), pa.array([[START], []], pa.list_(pa.timestamp("us", "UTC")))),
    "map": (Map, pa.array([[("k", "v")], None], pa.map_(pa.string(), pa.string()))),
    "struct": (Struct({"a": Int64}), pa.array([{"a": 1}, None])),
    "nested": (Array(Array(Int64)), pa.array([[[1], [2, 3]], None], pa.list_(pa.list_(pa.int64())))),
    "nothing": (Float64, pa.nulls(2)),
}


def test_features_keep_their_types(store, make_view, station, tmp_path):
    table = pa.table(
        {"station": ["A", "B"], "time": pa.array([hours(0)] * 2), **{k: v for k, (_, v) in TYPES.items()}}
    )
    pyarrow.parquet.write_table(table, tmp_path / "all.parquet")
    view = make_view("all", path="all.parquet", features={name: dtype for name, (dtype, _) in TYPES.items()})
    view.online = False
    some = make_view("some", path="all.parquet", features={name: TYPES[name][0] for name in ("i64", "texts")})
    store.apply([station, view, some])
    frame = asked(station=["B", "A", "C"], event_timestamp=[hours(1)] * 3)
    found = joined(store, frame, *(f"all:{name}" for name in TYPES)).to_arrow()
    for name, (_, column) in TYPES.items():
        plain = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        assert found.schema.field(name).type == plain
        assert found[name].to_pylist() == [*column.to_pylist()[::-1], None]
    store.materialize(START, hours(2))
    online = store.get_online_features([f"some:{name}" for name in ("i64", "texts")], [{"station": "A"}])
    assert online.to_dict() == {"station": ["A"], "i64": [2**60], "texts": [["a"]]}


@pytest.mark.parametrize("dtype", ["int32", "float64", "string", "category", "Int64", "str_dictionary"])
def test_keys_match_though_their_types_differ(store, make_view, tmp_path, dtype):
    text = dtype in ("string", "category", "str_dictionary")
    key = Entity(name="key", join_keys=["key"], value_type=ValueType.STRING if text else ValueType.INT64)
    rows = pl.DataFrame({"key": ["7", "8"] if text else [7, 8], "time": [hours(0)] * 2, "wind": [1.0, 2.0]})
    store.apply([key, make_view("weather", rows, entities=(key,))])
    keys = pd.Series(["8", "7", None] if text else [8, 7, 9])
    keys = keys.astype("category" if dtype == "str_dictionary" else dtype)
    frame = asked(key=keys, event_timestamp=[hours(1)] * 3)
    assert joined(store, frame).to_arrow()["wind"].to_pylist() == [2, 1, None]


def test_dates_and_stream_views_are_history_too(store, make_view, station, tmp_path):
    rows = weather().with_columns(pl.col("time").dt.date())
    view = make_view("weather", rows)
    stream = StreamFeatureView(
        name="stream",
        entities=[station],
        ttl=timedelta(days=2),
        schema=view.schema,
        timestamp_field="time",
        source=KafkaSource(
            name="kafka",
            kafka_bootstrap_servers="x",
            topic="t",
            message_format=JsonFormat("a string"),
            timestamp_field="time",
            batch_source=view.batch_source,
        ),
    )
    store.apply([station, view, stream])
    frame = asked(station=["A", "A"], event_timestamp=[hours(0), hours(-1)])
    for name in ("weather", "stream"):
        assert joined(store, frame, f"{name}:wind").to_arrow()["wind"].to_pylist() == [2, None]
    bare = FeatureView(
        name="bare",
        entities=[station],
        schema=view.schema,
        source=PushSource(name="p", batch_source=view.batch_source),
    )
    bare.batch_source = None
    job = type(store._get_provider().offline_store).get_historical_features(
        store.config, [bare], ["bare:wind"], frame, store.registry, "offline"
    )
    with pytest.raises(FeatureError, match="'bare' has no batch source"):
        job.to_df()


def test_a_query_ends_in_time_or_says_so(store, make_view, station):
    store.apply([station, make_view("weather", weather())])
    job = joined(store, asked(station=["A"], event_timestamp=[hours(1)]))
    assert job.to_df(timeout=60)["wind"].tolist() == [1]
    with pytest.raises(FeatureError, match="did not answer within 0 s") as caught:
        job.to_arrow(timeout=0)
    assert isinstance(caught.value.__cause__, TimeoutError)
    with pytest.raises(FeatureError, match="runs no SQL"):
        job.to_sql()


def test_validates_a_result_if_a_reference_is_given(store, make_view, station):
    class Profile:
        def __init__(self, largest: float) -> None:
            self.largest = largest

        def validate(self, frame: pd.DataFrame) -> SimpleNamespace:
            return SimpleNamespace(is_success=frame["wind"].max() <= self.largest, errors=["too windy"])

    store.apply([station, make_view("weather", weather())])
    job = joined(store, asked(station=["A"], event_timestamp=[hours(2)]))
    assert job.to_df(SimpleNamespace(profile=Profile(2)))["wind"].tolist() == [2]
    with pytest.raises(ValidationFailed):
        job.to_df(SimpleNamespace(profile=Profile(1)))


def test_pulls_all_columns_when_none_are_named(store, make_view, station):
    view = make_view("weather", weather())
    pull = type(store._get_provider().offline_store).pull_all_from_table_or_query
    job = pull(store.config, view.batch_source, ["station"], [], "time", None, hours(0), hours(1))
    assert job.to_arrow().column_names == ["station", "time", "created", "wind"]
    assert [batch.num_rows for batch in job.to_arrow_batches(2)] == [2, 1]
    with pytest.raises(FeatureError, match=r"weather\.parquet\): there is no column 'moment'"):
        pull(store.config, view.batch_source, ["station"], [], "moment").to_arrow()


def test_the_latest_of_each_key_is_what_a_search_through_all_rows_finds(store, make_view):
    random = np.random.default_rng(3)
    created = [None if n == 5 else hours(int(n)) for n in random.integers(0, 6, 400)]
    rows = pl.DataFrame(
        {
            "station": [None if n == 9 else f"S{n}" for n in random.integers(0, 10, 400)],
            "time": [hours(int(n)) for n in random.integers(0, 12, 400)],
            "created": created,
            "wind": np.arange(400.0),
        }
    )
    view = make_view("weather", rows)
    pull = type(store._get_provider().offline_store).pull_latest_from_table_or_query
    span = hours(2), hours(8)
    found = pull(store.config, view.batch_source, ["station"], ["wind"], "time", "created", *span).to_polars()
    best: dict[str, tuple] = {}
    for station, time, made, wind in rows.iter_rows():
        if station is not None and span[0] <= time <= span[1]:
            candidate = (time, made or hours(-1), wind)  # of equals the last row in the source
            best[station] = max(best.get(station, candidate), candidate)
    assert dict(found.select("station", "wind").iter_rows()) == {key: value[2] for key, value in best.items()}
