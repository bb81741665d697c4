"""Where a source may lie and what it may consist of: files, folders that mean something, S3, memory."""

import os
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import boto3
import fsspec
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
from feast import FileSource, KafkaSource
from feast.data_format import DeltaFormat, JsonFormat
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage

from tidemill.errors import FeatureError
from tidemill.features.offline.offline_store import PolarsOfflineStore
from tidemill.features.offline.parquet_sources import open_source, scan

pytestmark = pytest.mark.engine

START = datetime(2013, 1, 1, tzinfo=UTC)


def hours(count):
    return START + timedelta(hours=count)


def weather(*winds, station="A", first=0):
    count = len(winds)
    return pl.DataFrame(
        {
            "station": [station] * count,
            "time": [hours(first + n) for n in range(count)],
            "wind": pl.Series(winds, dtype=pl.Float64),
        }
    )


def winds_of(store, *stations, at=9):
    frame = pd.DataFrame({"station": stations, "event_timestamp": [hours(at)] * len(stations)})
    return store.get_historical_features(frame, ["weather:wind"]).to_arrow()["wind"].to_pylist()


def lay(folder: Path, frames: dict[str, pl.DataFrame]) -> None:
    for name, frame in frames.items():
        frame.write_parquet(folder / name, mkdir=True)


@pytest.mark.parametrize(
    "path",
    [
        "w/a.parquet",
        "{root}/w/a.parquet",
        "file://{root}/w/a.parquet",
        "w",
        "w/",
        "w/*.parquet",
        "**/a.parquet",
    ],
)
def test_finds_local_sources_however_they_are_written(store, make_view, station, tmp_path, path):
    lay(
        tmp_path,
        {"w/a.parquet": weather(1.0, 2.0), "w/_draft.parquet": weather(9.0), "w/.b.parquet": weather(9.0)},
    )
    store.apply([station, make_view("weather", path=path.format(root=tmp_path))])
    assert winds_of(store, "A") == [2.0]


def test_a_file_whose_name_has_a_wildcard_is_that_file(store, make_view, station, tmp_path):
    lay(tmp_path, {"w[1].parquet": weather(1.0), "w1.parquet": weather(9.0)})
    store.apply([station, make_view("weather", path="w[1].parquet")])
    assert winds_of(store, "A") == [1.0]


@pytest.mark.parametrize("path", ["model [v2]/w", "model [v2]/w/*.parquet", "model [v2]/**/a.parquet"])
def test_a_folder_whose_name_has_a_wildcard_is_that_folder(store, make_view, station, tmp_path, path):
    lay(tmp_path, {"model [v2]/w/a.parquet": weather(1.0), "model v/w/a.parquet": weather(9.0)})
    store.apply([station, make_view("weather", path=path)])
    assert winds_of(store, "A") == [1.0]


def test_folders_that_are_called_key_and_value_are_columns(store, make_view, station, tmp_path):
    root = tmp_path / "not=this" / "w"
    lay(
        root,
        {
            "station=A/day=2013-01-01/0.parquet": weather(1.0, 2.0).drop("station"),
            "station=A/day=2013-01-02/0.parquet": weather(7.0, first=24).drop("station"),
            "station=B%2FC/day=2013-01-01/0.parquet": weather(3.0).drop("station"),
            "station=__HIVE_DEFAULT_PARTITION__/day=2013-01-01/0.parquet": weather(4.0).drop("station"),
        },
    )
    view = make_view("weather", path="not=this/w")
    store.apply([station, view])
    assert winds_of(store, "A", "B/C", "D") == [2.0, 3.0, None]
    assert winds_of(store, "A", at=30) == [7.0]
    rows = scan(view.batch_source, tmp_path).collect()
    assert rows.columns == ["time", "wind", "station", "day"]
    assert rows["day"].unique().sort().to_list() == [date(2013, 1, 1), date(2013, 1, 2)]
    columns = dict(
        store._provider.get_table_column_names_and_types_from_data_source(store.config, view.batch_source)
    )
    assert columns == {
        "time": "timestamp[us, tz=UTC]",
        "wind": "double",
        "station": "string",
        "day": "date32[day]",
    }


def test_files_of_a_source_may_differ_as_long_as_their_types_have_something_in_common(tmp_path):
    naive = weather(1.0).with_columns(pl.col("time").dt.replace_time_zone(None).dt.cast_time_unit("ms"))
    lay(
        tmp_path / "w",
        {
            "0.parquet": naive.with_columns(pl.lit(1, pl.Int32).alias("n"), pl.lit(["a"]).alias("tags")),
            "1.parquet": weather(2.0, first=1).with_columns(
                pl.lit(2**40).alias("n"), pl.lit("late").alias("note"), pl.col("wind").cast(pl.Float32)
            ),
            "2.parquet": weather(None, first=2).with_columns(
                pl.lit(None).alias("n"),
                pl.col("time").dt.convert_time_zone("America/New_York").dt.cast_time_unit("ns"),
                pl.lit("x").cast(pl.Categorical).alias("note"),
            ),
        },
    )
    rows = scan(FileSource(path="w", timestamp_field="time"), tmp_path).collect()
    assert rows.schema == {
        "station": pl.String,
        "time": pl.Datetime("ns", "UTC"),
        "wind": pl.Float64,
        "n": pl.Int64,
        "tags": pl.List(pl.String),
        "note": pl.String,
    }
    assert rows["time"].to_list() == [hours(0), hours(1), hours(2)]
    assert rows["n"].to_list() == [1, 2**40, None]
    assert rows["note"].to_list() == [None, "late", "x"]
    lay(tmp_path / "w", {"3.parquet": weather(1.0).with_columns(pl.lit("gust").alias("wind"))})
    with pytest.raises(
        FeatureError, match=r"source 'w' .*column 'wind' is Float64 and .*String in different files"
    ):
        scan(FileSource(path="w", timestamp_field="time"), tmp_path)


@pytest.fixture
def bucket(s3_endpoint, monkeypatch):
    """A new bucket on a real S3 server, with its credentials in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "an-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-nobody-may-see")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = boto3.client("s3", endpoint_url=s3_endpoint)
    name = f"features-{os.urandom(4).hex()}"
    client.create_bucket(Bucket=name)
    fsspec.filesystem("s3", endpoint_url=s3_endpoint).invalidate_cache()
    return name


def s3_files(s3_endpoint):
    return fsspec.filesystem("s3", endpoint_url=s3_endpoint, skip_instance_cache=True)


def test_reads_and_writes_s3(store, make_view, station, tmp_path, bucket, s3_endpoint):
    files = s3_files(s3_endpoint)
    for name, frame in {
        "one.parquet": weather(1.0, 2.0),
        "many/station=A/0.parquet": weather(1.0).drop("station"),
        "many/station=B/0.parquet": weather(3.0, 4.0).drop("station"),
    }.items():
        with files.open(f"{bucket}/{name}", "wb") as file:
            frame.write_parquet(file)
    where = {"s3_endpoint_override": s3_endpoint}
    for path, expected in {
        "one.parquet": [2.0, None],
        "many": [1.0, 4.0],
        "many/*/*.parquet": [1.0, 4.0],
    }.items():
        view = make_view("weather", path=f"s3://{bucket}/{path}", **where)
        store.apply([station, view])
        assert winds_of(store, "A", "B") == expected
    more = weather(7.0, station="B", first=5)
    for path in ("one.parquet", "many"):
        view = make_view("weather", path=f"s3://{bucket}/{path}", **where)
        store.apply([station, view])
        store.write_to_offline_store("weather", more.to_pandas())
        assert winds_of(store, "B") == [7.0]
    assert len(files.find(f"{bucket}/many/station=B")) == 2
    frame = pd.DataFrame({"station": ["B"], "event_timestamp": [hours(9)]})
    job = store.get_historical_features(frame, ["weather:wind"])
    for name in ("set.parquet", "set"):
        job.persist(SavedDatasetFileStorage(path=f"s3://{bucket}/{name}", **where))
        with pytest.raises(FeatureError, match=r"already exists\.$"):
            job.persist(SavedDatasetFileStorage(path=f"s3://{bucket}/{name}", **where))
        job.persist(SavedDatasetFileStorage(path=f"s3://{bucket}/{name}", **where), allow_overwrite=True)
        saved = scan(FileSource(path=f"s3://{bucket}/{name}", **where), None).collect()
        assert saved["wind"].to_list() == [7.0]
    store.materialize(START, hours(9))
    assert store.get_online_features(["weather:wind"], [{"station": "B"}]).to_dict()["wind"] == [7.0]


def test_says_what_is_wrong_with_a_remote_and_never_a_secret(bucket, s3_endpoint, caplog, monkeypatch):
    caplog.set_level("DEBUG", logger="tidemill")
    where = {"s3_endpoint_override": s3_endpoint}
    with pytest.raises(FeatureError, match=rf"source 'gone': s3://{bucket}/no\.parquet does not exist"):
        scan(FileSource(name="gone", path=f"s3://{bucket}/no.parquet", **where), None)
    with s3_files(s3_endpoint).open(f"{bucket}/text.parquet", "wb") as file:
        file.write(b"no parquet at all")
    with pytest.raises(FeatureError, match=r"text\.parquet is not readable parquet"):
        scan(FileSource(path=f"s3://{bucket}/text.parquet", **where), None)
    secret = FileSource(path="s3://user:a-secret-nobody-may-see@nowhere/x.parquet", **where)
    with pytest.raises(FeatureError, match="has a password in its address") as caught:
        scan(secret, None)
    assert "a-secret" not in f"{caught.value} {caught.value.hint} {caplog.text}"
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    gone = FileSource(path=f"s3://{bucket}/x.parquet", s3_endpoint_override="http://127.0.0.1:9")
    with pytest.raises(FeatureError, match=rf"s3://{bucket}/x\.parquet cannot be reached: Could not connect"):
        scan(gone, None)
    with pytest.raises(FeatureError, match=r"nothing:// cannot be used here"):
        scan(FileSource(path="nothing://x/y.parquet"), None)


def test_reads_and_writes_any_file_system_that_fsspec_knows(store, make_view, station, tmp_path):
    memory = fsspec.filesystem("memory")
    root = f"/{os.urandom(4).hex()}"
    for name, frame in {
        "0.parquet": weather(1.0),
        "1.parquet": weather(2, first=1).with_columns(pl.lit("x").alias("note")),
    }.items():
        with memory.open(f"{root}/station=A/{name}", "wb") as file:
            frame.drop("station").write_parquet(file)
    view = make_view("weather", path=f"memory:/{root}")
    store.apply([station, view])
    assert winds_of(store, "A", "B") == [2.0, None]
    more = weather(5.0, station="B").with_columns(pl.lit(None, pl.String).alias("note"))
    PolarsOfflineStore.offline_write_batch(store.config, view, more.to_arrow(), None)
    assert winds_of(store, "A", "B") == [2.0, 5.0]
    assert len(memory.find(f"{root}/station=B")) == 1


def test_names_the_source_when_the_engine_breaks_off(tmp_path):
    lay(tmp_path / "w", {"0.parquet": weather(1.0)})
    source = FileSource(name="weather", path="w", timestamp_field="time")
    panics = pytest.raises(FeatureError, match=r"'weather' .* cannot be read: assertion failed")
    with panics, open_source(source, tmp_path).unchanged():  # as Polars does on a file that got shorter
        raise pl.exceptions.PanicException("assertion failed")


def test_refuses_a_source_that_changes_while_it_is_read(tmp_path):
    lay(tmp_path / "w", {"0.parquet": weather(1.0), "1.parquet": weather(2.0)})
    source = FileSource(name="weather", path="w", timestamp_field="time")
    with open_source(source, tmp_path).unchanged():
        lay(tmp_path / "w", {"2.parquet": weather(3.0)})  # comes too late, and does no harm
    for change in (
        lambda: weather(5.0, 6.0).write_parquet(tmp_path / "w" / "1.parquet"),
        lambda: (tmp_path / "w" / "0.parquet").unlink(),
    ):
        reading = open_source(source, tmp_path)
        reads = pytest.raises(FeatureError, match=r"'weather' .* changed while it was read: .*\d\.parquet")
        with reads, reading.unchanged():
            change()
            reading.rows.collect()


def test_says_what_a_source_is_not(store, make_view, station, tmp_path):
    with pytest.raises(FeatureError, match=r"source 'no.parquet': .*no\.parquet does not exist"):
        scan(FileSource(path="no.parquet"), tmp_path)
    with pytest.raises(FeatureError, match=r"\*\.parquet matches no file"):
        scan(FileSource(path="w/*.parquet"), tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FeatureError, match="empty holds no parquet files"):
        scan(FileSource(path="empty"), tmp_path)
    with pytest.raises(FeatureError, match="is a Delta table"):
        scan(FileSource(path="w", file_format=DeltaFormat()), tmp_path)
    lay(tmp_path / "delta", {"0.parquet": weather(1.0)})
    (tmp_path / "delta" / "_delta_log").mkdir()
    (tmp_path / "delta" / "_delta_log" / "00000000000000000000.json").write_text("{}")
    with pytest.raises(FeatureError, match="delta is a Delta table"):
        scan(FileSource(path="delta"), tmp_path)
    stream = KafkaSource(
        name="stream",
        kafka_bootstrap_servers="x",
        message_format=JsonFormat("a string"),
        topic="t",
        timestamp_field="time",
    )
    with pytest.raises(FeatureError, match="'stream' is a KafkaSource"):
        scan(stream, tmp_path)


def test_validates_a_source_before_it_is_used(store, make_view, tmp_path):
    provider = store._get_provider()
    view = make_view("weather", weather(1.0))
    provider.validate_data_source(store.config, view.batch_source)
    wrong = make_view("other", path="weather.parquet", created_timestamp_column="created")
    with pytest.raises(FeatureError, match="no column 'created'"):
        provider.validate_data_source(store.config, wrong.batch_source)
    with pytest.raises(FeatureError, match="does not exist"):
        provider.validate_data_source(store.config, make_view("none").batch_source)


def test_names_view_column_and_file_that_do_not_fit(store, make_view, station, tmp_path):
    bad = weather(1.0).with_columns(pl.lit("gust").alias("wind"))
    view = make_view("weather", bad)
    store.apply([station, view])
    with pytest.raises(
        FeatureError,
        match=r"view 'weather': column 'wind' is String in .*weather\.parquet, but declared as Float64",
    ):
        winds_of(store, "A")
    weather(1.0).with_columns(pl.lit(5).alias("time")).write_parquet(tmp_path / "weather.parquet")
    with pytest.raises(
        FeatureError, match=r"'weather': column 'time' is Int32 in .*weather\.parquet, not points in time"
    ):
        winds_of(store, "A")
    weather(1.0, 2.0, station=None).cast({"station": pl.String}).write_parquet(tmp_path / "weather.parquet")
    with pytest.raises(
        FeatureError, match=r"'weather': key 'station' is null in every row of .*weather\.parquet"
    ):
        winds_of(store, "A")
    with pytest.raises(FeatureError, match=r"weather\.parquet\): key 'station' is null in every row"):
        PolarsOfflineStore.pull_latest_from_table_or_query(
            store.config, view.batch_source, ["station"], ["wind"], "time", None, START, hours(9)
        ).to_arrow()
    pa.parquet.write_table(
        pa.table(
            {
                "station": pa.array([], pa.string()),
                "time": pa.array([], pa.timestamp("us")),
                "wind": pa.array([], pa.float64()),
            }
        ),
        tmp_path / "weather.parquet",
    )
    assert winds_of(store, "A") == [None]


def in_half_hours(frame: pl.DataFrame) -> pa.Table:
    """Return the frame with its moments five and a half hours ahead, by the clock only."""
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    column = table["time"].cast(pa.timestamp("us", "+05:30"))
    return table.set_column(table.column_names.index("time"), "time", column)


def test_reads_moments_with_a_half_hour_offset(store, make_view, station, tmp_path):
    (tmp_path / "w").mkdir()
    pa.parquet.write_table(in_half_hours(weather(1.0, 2.0, 3.0)), tmp_path / "w/a.parquet")
    lay(tmp_path, {"w/b.parquet": weather(4.0, first=3)})
    store.apply([station, make_view("weather", path="w")])
    assert [winds_of(store, "A", at=at) for at in (0, 2, 3)] == [[1.0], [3.0], [4.0]]


def test_takes_entity_frames_with_a_half_hour_offset(store, make_view, station):
    store.apply([station, make_view("weather", weather(1.0, 2.0, 3.0))])
    zone = timezone(timedelta(hours=5, minutes=30))
    moments = [hours(1).astimezone(zone)] * 2
    given = pd.DataFrame({"station": ["A", "B"], "event_timestamp": moments, "label_at": moments})
    for frame in (given, pa.Table.from_pandas(given)):
        found = store.get_historical_features(frame, ["weather:wind"]).to_arrow()
        assert found["wind"].to_pylist() == [2.0, None]
        assert found["event_timestamp"].to_pylist() == [hours(1)] * 2
        assert found["label_at"].to_pylist() == [hours(1)] * 2
