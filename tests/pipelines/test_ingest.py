import itertools
import shutil
import subprocess
import sys
import zipfile
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipelines.ingest import ingest, tables
from pipelines.source import read_flights, read_weather, source_folder
from pipelines.span import Span
from tidemill.data.personal.pseudonyms import Pseudonymiser, load_key
from tidemill.data.personal.tombstones import Tombstone, add_tombstone
from tidemill.errors import DataError

pytestmark = pytest.mark.slow

NOON = datetime(2013, 2, 10, 17, tzinfo=UTC)


def test_clocks_become_moments(winter):
    flight = winter["flights"].filter(pl.col("flight") == 1545, pl.col("carrier") == "UA").row(0, named=True)
    # 05:15 in New York to 08:30 in Houston, where the clock is an hour behind
    assert flight["scheduled_departure"] == datetime(2013, 1, 1, 10, 15, tzinfo=UTC)
    assert flight["scheduled_arrival"] == datetime(2013, 1, 1, 14, 19, tzinfo=UTC)
    assert flight["departed_at"] == datetime(2013, 1, 1, 10, 17, tzinfo=UTC)
    assert flight["arrived_at"] == datetime(2013, 1, 1, 14, 30, tzinfo=UTC)


def test_arrivals_agree_with_delays_over_all_time_zones_and_both_changes_of_the_clock(csv):
    everything = Span(date(2013, 1, 1), date(2014, 1, 1), datetime(2014, 1, 5, tzinfo=UTC))
    arrived = tables(everything, *csv)["flights"].drop_nulls("arr_delay")
    by_clock = (arrived["arrived_at"] - arrived["scheduled_arrival"]).dt.total_minutes()
    assert (by_clock == arrived["arr_delay"]).all()
    ground = (arrived["arrived_at"] - arrived["departed_at"]).dt.total_minutes() - arrived["air_time"]
    assert ground.min() > 0
    assert ground.max() < 300


def test_nothing_is_known_before_it_happened(csv):
    found = tables(Span(date(2013, 2, 1), date(2013, 3, 1), NOON), *csv)
    flights = found["flights"]
    assert flights["scheduled_departure"].max() < NOON
    for moment, facts in (("departed_at", ["dep_delay"]), ("arrived_at", ["arr_delay", "air_time"])):
        assert flights[moment].max() <= NOON
        unknown = flights.filter(pl.col(moment).is_null()).select(facts)
        assert unknown.null_count().row(0) == (unknown.height,) * len(facts)
    in_the_air = flights.filter(pl.col("departed_at").is_not_null(), pl.col("arrived_at").is_null())
    assert in_the_air.height > 10
    assert found["weather"]["observed_at"].max() <= NOON - timedelta(hours=1)


def test_a_longer_span_knows_the_same_about_the_shorter_one(csv):
    first = date(2013, 1, 1)
    short = tables(Span(first, date(2013, 2, 1), NOON), *csv)["flights"]
    long = tables(Span(first, date(2013, 3, 1), datetime(2013, 3, 5, tzinfo=UTC)), *csv)["flights"]
    assert_frame_equal(short, long.head(short.height))


@pytest.fixture(scope="module")
def few_flights(csv_folder, tmp_path_factory):
    """Return an archive of the first flights alone: reading those of the whole year takes half a second."""
    file = tmp_path_factory.mktemp("few") / "flights.csv.zip"
    with (
        zipfile.ZipFile(csv_folder / file.name) as whole,
        whole.open("flights.csv") as lines,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as few,
    ):
        few.writestr("flights.csv", b"".join(itertools.islice(lines, 30_000)))
    return file


@pytest.fixture
def own_csv(csv_folder, few_flights, tmp_path):
    """Return a folder with CSV files that a test may break; of January's flights."""
    folder = tmp_path / "csv"
    shutil.copytree(csv_folder, folder)
    shutil.copy(few_flights, folder)
    return folder


def test_the_configured_folder_is_relative_to_the_project(make_project, own_csv):
    ingest(make_project(source="csv", last_month="2013-01"))
    assert (own_csv.parent / "data" / "raw" / "flights.parquet").exists()


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("flights.csv.zip", lambda b: b[: len(b) // 2], "flights.csv.zip cannot be read"),
        ("weather.csv", lambda b: b.replace(b",visib,", b",sight,"), "weather.csv lacks the column visib"),
        ("weather.csv", lambda b: b.replace(b"39.02", b"cold"), "weather.csv cannot be read"),
        ("weather.csv", lambda b: b.replace(b"2013-01-01T06:00:00Z", b"six"), "cannot be understood"),
        ("planes.csv", lambda b: b"", "planes.csv cannot be read"),
        ("planes.csv", None, "planes.csv cannot be read"),
    ],
)
def test_a_broken_file_is_named_and_nothing_is_written(make_project, own_csv, name, spoil, message):
    file = own_csv / name
    if spoil is None:
        file.unlink()
    else:
        file.write_bytes(spoil(file.read_bytes()))
    project = make_project(source="csv")
    with pytest.raises(DataError, match=message) as caught:
        ingest(project)
    assert caught.value.hint
    assert not list(project.root.glob("data/**/*.parquet"))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        read_flights(source_folder("nowhere", tmp_path))


def test_an_unpacked_csv_is_read_as_well(csv_folder, tmp_path):
    shutil.unpack_archive(csv_folder / "flights.csv.zip", tmp_path)
    shutil.copy(csv_folder / "airports.csv", tmp_path)
    assert read_flights(tmp_path).height == 336_776
    shutil.copy(csv_folder / "weather.csv", tmp_path)
    assert read_weather(tmp_path).height == 26_115


def test_a_failing_stage_says_why_in_one_message(make_project):
    project = make_project(last_month="2014-02")
    ran = subprocess.run(
        [sys.executable, "-m", "pipelines.ingest"], cwd=project.root, capture_output=True, text=True
    )
    assert ran.returncode == 1
    assert ran.stderr.splitlines() == [
        "error: params.yaml: data.last_month 2014-02 is outside the data, which has 2013-01 to 2013-12",
        "hint: choose a month of 2013",
    ]
    assert not (project.root / "data").exists()


@pytest.mark.parametrize("table", ["flights", "aircraft"])
def test_an_erased_aircraft_is_in_no_table(make_project, table):
    project = make_project(first_month="2013-02", last_month="2013-02")
    ingest(project)
    path = project.root / "data" / "raw" / f"{table}.parquet"
    before = pl.read_parquet(path)
    pseudonym = Pseudonymiser(load_key(project)).hide("N14228")
    add_tombstone(project, Tombstone(("tailnum",), (pseudonym,), NOON, ""))
    ingest(project)
    after = pl.read_parquet(path)
    assert before.height > after.height
    assert_frame_equal(after, before.filter(pl.col("tailnum").ne_missing("N14228")))
