"""Frames and files in a zone that Polars does not know mean the same moments, in UTC."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from tidemill.data.expectations.rules import Expectations
from tidemill.data.tables.frames import batches, open_table
from tidemill.data.tables.time_zones import in_utc
from tidemill.data.tables.version_tables import describe, scan
from tidemill.data.validation.in_memory import validate_frames
from tidemill.data.validation.inference import infer

MOMENT = datetime(2013, 4, 1, 6, tzinfo=UTC)
ZONES = ["+05:30", "-03:30", "+05:45", "Mars/Olympus"]


@pytest.fixture(autouse=True)
def unswitched() -> Iterator[None]:
    before = os.environ.pop("POLARS_IGNORE_TIMEZONE_PARSE_ERROR", None)
    yield
    os.environ.pop("POLARS_IGNORE_TIMEZONE_PARSE_ERROR", None)
    if before is not None:
        os.environ["POLARS_IGNORE_TIMEZONE_PARSE_ERROR"] = before


def table(zone: str, unit: str = "us") -> pa.Table:
    moments = pa.array([MOMENT.replace(tzinfo=None), None], pa.timestamp(unit)).cast(pa.timestamp(unit, zone))
    return pa.table({"id": [1, 2], "at": moments})


@pytest.mark.parametrize("zone", ZONES)
def test_arrow_tables_are_converted(zone: str):
    frame = pl.from_arrow(in_utc(table(zone)))
    assert isinstance(frame, pl.DataFrame)
    assert frame["at"].to_list() == [MOMENT, None]


def test_a_zone_that_polars_knows_is_left_alone():
    for zone in ("UTC", "Asia/Kolkata", "America/New_York"):
        assert in_utc(table(zone)).schema.field("at").type.tz == zone


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_files_are_converted(tmp_path: Path, zone: str, suffix: str):
    path = tmp_path / f"a.{suffix}"
    if suffix == "parquet":
        pq.write_table(table(zone, "ns"), path)
    else:
        pyarrow.feather.write_feather(table(zone, "ns"), str(path), compression="uncompressed")
    opened = open_table(path)
    assert opened.filter(pl.col("at") <= MOMENT).collect()["at"].to_list() == [MOMENT]
    assert [frame["at"].to_list() for frame in batches(opened, 1)] == [[MOMENT], [None]]
    assert "datetime[ns, UTC]" in infer(path, "a", "a").text
    if suffix == "parquet":
        assert describe(scan("a.parquet", [path, path])).columns[1].max == "2013-04-01T06:00:00+00:00"


def test_a_file_that_is_in_a_known_zone_is_read_beside_one_that_is_not(tmp_path: Path):
    for name, zone in (("1.parquet", "UTC"), ("2.parquet", "+05:30")):
        pq.write_table(table(zone), tmp_path / name)
    for name in ("1.parquet", "2.parquet"):
        assert open_table(tmp_path / name).collect()["at"].to_list() == [MOMENT, None]


def test_moments_in_lists_stop_nothing(tmp_path: Path):
    nested = pa.array([[MOMENT.replace(tzinfo=None)]], pa.list_(pa.timestamp("us", "+05:30")))
    pq.write_table(pa.table({"id": [1], "ats": nested}), tmp_path / "a.parquet")
    assert open_table(tmp_path / "a.parquet").collect()["ats"].to_list() == [[MOMENT]]


def test_rules_on_moments_hold_for_them(tmp_path: Path):
    pq.write_table(table("+05:30"), tmp_path / "a.parquet")
    columns = {"at": {"type": "datetime[us, UTC]", "max": MOMENT, "nullable": True}}
    declared = Expectations.model_validate({"datasets": {"a": {"source": "a.parquet", "columns": columns}}})
    parted = validate_frames({"a": open_table(tmp_path / "a.parquet").collect()}, declared)["a"]
    assert parted.report.failing == 0
    assert not parted.report.failed
