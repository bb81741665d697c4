from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tidemill.data.personal.pseudonyms import Pseudonymiser
from tidemill.errors import DataError, UsageError
from tidemill.privacy.stores.table_subjects import count_rows, files_below, mentions, remove_rows
from tidemill.privacy.subject import Subject, parse_entity

HIDE = Pseudonymiser(b"a key of at least 16 bytes").hide


def subject(**values):
    return Subject(values, {k: HIDE(v) for k, v in values.items()}, {k: (k,) for k in values}, {})


def write(frame, path):
    match path.suffix:
        case ".parquet":
            frame.write_parquet(path, row_group_size=2)
        case ".csv":
            frame.write_csv(path)
        case ".ndjson":
            frame.write_ndjson(path)
        case ".arrow":
            frame.write_ipc(path)


def read(path):
    readers = {
        ".parquet": pl.read_parquet,
        ".csv": pl.read_csv,
        ".ndjson": pl.read_ndjson,
        ".arrow": pl.read_ipc,
    }
    return readers[path.suffix](path)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".ndjson", ".arrow"])
def test_rows_of_one_subject_are_counted_and_left_out_of_every_format(tmp_path, suffix):
    path = tmp_path / f"rows{suffix}"
    frame = pl.DataFrame(
        {
            "rider": ["ada", 'a "quoted", name', None, "ada", HIDE("ada"), "adah"],
            "seat": [1, 2, 3, None, 5, 6],
            "note": ["x", "two\nlines", "", "y", "z", "é"],
        }
    )
    write(frame, path)
    path.chmod(0o640)
    assert count_rows(path, subject(rider="ada")) == 3
    assert remove_rows(path, subject(rider="ada")) == 3
    rest = read(path)
    assert rest["seat"].to_list() == [2, 3, 6]
    assert rest["note"].to_list()[::2] == ["two\nlines", "é"]
    assert path.stat().st_mode & 0o777 == 0o640
    assert remove_rows(path, subject(rider="ada")) == 0
    assert remove_rows(path, subject(rider='a "quoted", name', seat="2")) == 1
    assert remove_rows(path, subject(seat="3")) == 1
    assert remove_rows(path, subject(horse="ada")) == 0
    assert remove_rows(path, subject(seat="6")) == 1
    assert count_rows(path, subject(seat="6")) == 0
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@settings(max_examples=40)
@given(st.lists(st.one_of(st.none(), st.integers(0, 3)), max_size=12), st.integers(0, 3))
def test_parquet_keeps_all_other_rows_their_order_and_types(tmp_path_factory, values, wanted):
    path = tmp_path_factory.mktemp("p") / "rows.parquet"
    frame = pl.DataFrame(
        {"id": values, "at": [datetime(2013, 4, 1, tzinfo=UTC)] * len(values), "tags": [["a"]] * len(values)},
        schema={"id": pl.Int32, "at": pl.Datetime("ms", "UTC"), "tags": pl.List(pl.Categorical)},
    )
    write(frame, path)
    assert remove_rows(path, subject(id=str(wanted))) == values.count(wanted)
    kept = frame.filter(pl.col("id").ne_missing(wanted))
    assert_frame_equal(pl.read_parquet(path), kept, categorical_as_str=True)


def test_folders_that_stand_for_a_column_are_part_of_each_row(tmp_path):
    frame = pl.DataFrame({"city": ["york", "bath"], "rides": [1, 2]})
    for rider in ("ada", "grace"):
        frame.with_columns(rider=pl.lit(rider)).write_parquet(tmp_path / "rides", partition_by=["rider"])
    found = {path: constants for path, constants in files_below(tmp_path / "rides") if constants}
    assert sorted(constants["rider"] for constants in found.values()) == ["ada", "grace"]
    assert sum(count_rows(path, subject(rider="ada"), constants) for path, constants in found.items()) == 2
    both = subject(rider="ada", city="bath")
    assert sum(remove_rows(path, both, constants) for path, constants in found.items()) == 1


def test_bytes_are_searched_across_chunks_and_a_broken_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("tidemill.privacy.stores.table_subjects._CHUNK", 7)
    (tmp_path / "notes.txt").write_text("nobody but ada-lovelace knows")
    assert mentions(tmp_path / "notes.txt", subject(rider="ada-lovelace"))
    assert not mentions(tmp_path / "notes.txt", subject(rider="grace-hopper"))
    (tmp_path / "rows.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"rows\.parquet cannot be read"):
        count_rows(tmp_path / "rows.parquet", subject(rider="ada"))


@pytest.mark.parametrize("given_", [[], ["rider"], ["=ada"], ["rider="], ["rider=a", "rider=b"]])
def test_whom_must_be_said_once_and_whole(given_):
    with pytest.raises(UsageError):
        parse_entity(given_)
