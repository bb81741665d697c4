"""Folders whose files differ, as programs write them a day at a time, and folders of table formats."""

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.tidemill.data.duckdb_files import run_duckdb
from tidemill.data.profiling.source_tables import open_source
from tidemill.data.tables.frames import open_table
from tidemill.errors import DataError
from tidemill.scoring.input.table_places import find_files, locate

DAY = datetime(2024, 1, 1)  # noqa: DTZ001 - as files without a zone have it
HERE = DAY.astimezone()


def write(folder: Path, *columns: pa.Array, hive: bool = False) -> Path:
    for number, column in enumerate(columns):
        place = folder / f"day={number}" if hive else folder
        place.mkdir(parents=True, exist_ok=True)
        table = pa.table({"a": column, "n": [number]})
        pq.write_table(table.select(["n", "a"] if number else ["a", "n"]), place / f"{number}.parquet")
    return folder


@pytest.mark.parametrize("hive", [False, True])
@pytest.mark.parametrize(
    ("columns", "values"),
    [
        ([pa.array([1], pa.int32()), pa.array([2.5]), pa.nulls(1)], [1.0, 2.5, None]),
        ([pa.array(["x"]).dictionary_encode(), pa.array(["y"], pa.large_string())], ["x", "y"]),
        ([pa.array([Decimal("1.50")]), pa.array([Decimal("0.125")])], [Decimal("1.500"), Decimal("0.125")]),
        ([pa.array([[1, 2]]), pa.array([[0.5, 1]])], [[1.0, 2.0], [0.5, 1.0]]),
        ([pa.array([DAY], pa.timestamp("ns")), pa.array([date(2024, 1, 2)])], [DAY, DAY.replace(day=2)]),
        (
            [pa.array([HERE], pa.timestamp("us", zone)) for zone in ("Europe/Berlin", "UTC", "+05:30")],
            [HERE] * 3,
        ),
    ],
)
def test_a_column_may_be_of_several_types_of_one_kind(
    tmp_path: Path, columns: list[pa.Array], values: list[object], hive: bool
):
    found = open_source(str(write(tmp_path / "t", *columns, hive=hive)), tmp_path, tmp_path).collect()
    assert found["a"].to_list() == values
    assert found["n"].to_list() == [*range(len(values))]


@pytest.mark.parametrize(
    ("column", "kind"),
    [(pa.array([date(2024, 1, 1)]), "Date"), (pa.array(["1"]), "String"), (pa.array([True]), "Boolean")],
)
def test_files_of_other_kinds_are_named(tmp_path: Path, column: pa.Array, kind: str):
    folder = write(tmp_path / "t", pa.nulls(1), pa.array([1]), column)
    said = f"a is of type Int64 in {folder}/1.parquet, and of type {kind} in {folder}/2.parquet"
    with pytest.raises(DataError, match=said):
        open_table(folder)


def test_decimals_of_too_many_digits_are_named(tmp_path: Path):
    deep = pa.array([[{"x": Decimal(1)}]], pa.list_(pa.struct([("x", pa.decimal256(50, 0))])))
    for column in (pa.array([Decimal(1)], pa.decimal256(39, 0)), deep):
        with pytest.raises(DataError, match=r"a is of type .* at most 38 digits"):
            open_table(write(tmp_path / "t", column))


def test_types_that_polars_does_not_have_are_named(tmp_path: Path):
    span = pa.array([pa.MonthDayNano([1, 2, 3])])
    union = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1]), pa.array(["a"])])
    wide = pa.array([Decimal("1.50")], pa.decimal256(20, 2))
    for column in (span, union, wide, pa.StructArray.from_arrays([span], ["x"])):
        table = pa.table({"a": column})
        with pa.ipc.new_file(str(tmp_path / "t.arrow"), table.schema) as writer:
            writer.write_table(table)
        with pytest.raises(DataError, match=r"t.arrow: a is of type .*, which is not read here"):
            open_table(tmp_path / "t.arrow")
    assert open_table(write(tmp_path / "w", wide)).collect()["a"].to_list() == [Decimal("1.50")]
    run_duckdb("copy (select 1 as b, [interval '1' day] as a) to 't.parquet'", folder=tmp_path)
    with pytest.raises(DataError, match=r"t.parquet: a is of type month_day_nano_interval"):
        open_table(tmp_path / "t.parquet")


def test_an_arrow_stream_is_no_arrow_file(tmp_path: Path):
    file = tmp_path / "data-00000-of-00001.arrow"
    pl.DataFrame({"a": [1]}).write_ipc_stream(file)
    with pytest.raises(DataError, match="is an Arrow stream, not an Arrow file"):
        open_table(file)


def test_what_a_writer_left_beside_the_parts_is_no_part(tmp_path: Path):
    folder = write(tmp_path / "t", pa.array([1]), pa.array([2]))
    write(folder / "_temporary" / "0", pa.array(["unfinished"]))
    (folder / "_SUCCESS").touch()
    for found in (open_source(str(folder), tmp_path, tmp_path), open_table(folder)):
        assert found.collect()["a"].to_list() == [1, 2]
    assert len(find_files(locate(str(folder), tmp_path))) == 2
    assert open_table(folder / "_temporary" / "*" / "*.parquet").collect()["a"].to_list() == ["unfinished"]


@pytest.mark.parametrize(
    ("log", "kind"),
    [
        ("_delta_log/00000000000000000000.json", "Delta"),
        ("metadata/v1.metadata.json", "Iceberg"),
        (".hoodie/hoodie.properties", "Hudi"),
    ],
)
def test_removed_rows_of_a_table_format_are_not_taken_for_rows(tmp_path: Path, log: str, kind: str):
    folder = write(tmp_path / "t", pa.array([1]), pa.array([2]))
    (folder / log).parent.mkdir()
    (folder / log).write_text("{}")
    for read in (
        lambda: open_source(str(folder), tmp_path, tmp_path),
        lambda: find_files(locate(str(folder), tmp_path)),
    ):
        with pytest.raises(DataError, match=f"{folder} is an? {kind} table"):
            read()
