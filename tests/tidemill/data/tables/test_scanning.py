"""Tables are read from where their path says, and no digit of an id is lost."""

import gzip
import json
import os
import re
from pathlib import Path

import polars as pl
import pytest

from tidemill.data.labels.label_files import read_labels
from tidemill.data.tables.frames import open_table, table_files
from tidemill.data.tables.scanning import scan_csv, scan_csv_as_text
from tidemill.data.tables.version_tables import scan
from tidemill.data.validation.inference import infer
from tidemill.errors import DataError
from tidemill.scoring.input.fragments import examine, fragments_of
from tidemill.scoring.input.line_types import types_of_lines
from tidemill.scoring.input.row_reading import Columns
from tidemill.scoring.input.row_reading import read as read_rows
from tidemill.scoring.input.table_places import find_files, locate

IDS = "id,code,big,share,n\n9223372036854775807,007,18446744073709551616,0.5,1\n1,12,1,10,2\n"


def read(path: Path, text: str, **options: object) -> pl.DataFrame:
    path.write_text(text, encoding="utf-8")
    return scan_csv([path], **options).collect()  # type: ignore[arg-type]


def test_no_digit_is_lost(tmp_path: Path):
    frame = read(tmp_path / "ids.csv", IDS)
    assert frame.schema == {
        "id": pl.Int64,
        "code": pl.String,
        "big": pl.String,
        "share": pl.Float64,
        "n": pl.Int64,
    }
    assert frame.row(0) == (9223372036854775807, "007", "18446744073709551616", 0.5, 1)


@pytest.mark.parametrize("values", [["-007"], ["01.5", "2"], ["0000"], ["9" * 45], ["", "00"]])
def test_what_a_number_would_lose_stays_text(tmp_path: Path, values: list[str]):
    frame = read(tmp_path / "a.csv", "".join(f"{line}\n" for line in ("a,b", *(f"{v},1" for v in values))))
    assert frame["a"].to_list() == [value or None for value in values]


@pytest.mark.parametrize("values", [["0"], ["0.5", "-0.25"], ["1e5", "0"]])
def test_numbers_stay_numbers(tmp_path: Path, values: list[str]):
    frame = read(tmp_path / "a.csv", "\n".join(["a", *values]))
    assert frame["a"].to_list() == [float(value) for value in values]


def test_all_parts_and_all_rows_of_a_table_decide(tmp_path: Path):
    for name, value in (("1.csv", "1"), ("2.csv", "01")):
        (tmp_path / name).write_text(f"a\n{value}\n")
    assert scan_csv([tmp_path / "1.csv", tmp_path / "2.csv"]).collect()["a"].to_list() == ["1", "01"]


def test_rows_with_too_few_or_too_many_values_are_counted_and_named(tmp_path: Path):
    file = tmp_path / "t.csv"
    file.write_bytes(b'a,b,y\n1,"x\n\ny",0\n2,x\n3,x,1,\n  \n' + b"4\n" * 9 + b"\xe9\n")
    said = "13 rows have more or fewer values than the header, which has 3: those of lines 5 (2 values), 6 "
    for read in (
        open_table,
        lambda path: read_labels(path, ["a"], "y", None),
        lambda path: scan("t.csv", [path]),
    ):
        with pytest.raises(DataError, match=re.escape(said)):
            read(file)
    file.write_text("id,text\n1," + "x" * 200_000 + "\n2\n")  # longer than Python's reader takes
    with pytest.raises(DataError, match="line 3 has 1 value where the header has 2"):
        scan_csv([file])
    with pytest.raises(DataError, match=r"^data/x\.csv cannot be read"):  # not by its place in a cache
        scan("data/x.csv", [file])


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_empty_lines_are_no_rows_but_in_a_single_column(tmp_path: Path, end: str):
    lines = ["a,b", "", "1,x", ",y", "", ""]
    assert read(tmp_path / "t.csv", end.join(lines)).rows() == [(1, "x"), (None, "y")]
    assert scan_csv_as_text([tmp_path / "t.csv"]).collect().rows() == [("1", "x"), (None, "y")]
    assert read(tmp_path / "one.csv", "a\n1\n\n3\n")["a"].to_list() == [1, None, 3]


def test_declared_types_are_read_as_declared(tmp_path: Path):
    types = {"id": pl.String(), "code": pl.Int64(), "n": pl.Float64(), "other": pl.Date()}
    frame = read(tmp_path / "ids.csv", IDS, types=types)
    assert frame.schema["id"] == pl.String
    assert frame["code"].to_list() == [7, 12]
    assert frame.schema["n"] == pl.String  # to be converted by whoever declared it


def test_every_reader_of_the_room_agrees(tmp_path: Path):
    (tmp_path / "ids.csv").write_text(IDS)
    (tmp_path / "ids.tsv").write_text(IDS.replace(",", "\t"))
    (tmp_path / "ids.csv.gz").write_bytes(gzip.compress(IDS.encode()))
    seen = [
        open_table(tmp_path / "ids.csv").collect_schema(),
        open_table(tmp_path / "ids.csv.gz").collect_schema(),
        scan("data/ids.csv", [tmp_path / "ids.csv"]).collect_schema(),
        scan("data/ids.tsv", [tmp_path / "ids.tsv"]).collect_schema(),
    ]
    assert all(schema == seen[0] for schema in seen)
    inferred = infer(tmp_path / "ids.csv", "ids", "ids.csv").text
    assert '"code": {type: string' in inferred.replace("code:", '"code":')


@pytest.mark.parametrize("suffix", ["csv", "parquet", "ndjson", "arrow"])
def test_characters_of_a_pattern_in_a_path_are_literal(tmp_path: Path, suffix: str):
    folder = tmp_path / "model [v2] *?"
    folder.mkdir()
    frame = pl.DataFrame({"a": [1]})
    path = folder / f"a[1].{suffix}"
    write = {"csv": frame.write_csv, "parquet": frame.write_parquet, "ndjson": frame.write_ndjson}
    write.get(suffix, frame.write_ipc)(path)
    assert open_table(path).collect().rows() == [(1,)]
    assert table_files(folder / f"*.{suffix}") == [path]
    if suffix != "arrow":
        assert scan(f"data/a.{suffix}", [path]).collect().rows() == [(1,)]
    with pytest.raises(DataError, match="there is no such file"):
        table_files(folder / f"b*.{suffix}")


def test_quotes_in_names_are_read_as_csv_writes_them(tmp_path: Path):
    files = [tmp_path / "1.csv", tmp_path / "2.csv.gz"]
    content = b'"size (5"" screen)","""d","zip ""code""",y\n1,2,007,4\n'
    files[0].write_bytes(content)
    files[1].write_bytes(gzip.compress(content))
    names = ['size (5" screen)', '"d', 'zip "code"', "y"]
    for table in (scan_csv(files), scan_csv(files, types={'"d': pl.String()}), scan_csv_as_text(files)):
        assert table.collect_schema().names() == names
        assert table.select('zip "code"').collect().to_series().to_list() == ["007", "007"]
    assert scan_csv(files, types={'"d': pl.String()}).collect()['"d'].to_list() == ["2", "2"]


def readers(path: Path):
    """Every reader of the room for a CSV file."""
    return [
        lambda: scan_csv([path]),
        lambda: scan_csv_as_text([path]),
        lambda: open_table(path),
        lambda: scan(path.name, [path]),
        lambda: read_labels(path, ["id"], "label", None),
        lambda: examine(find_files(locate(str(path), path.parent))),
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"id,label,id\n1,0,2\n", r"several columns .*name 'id'"),
        ('"id",label,label\r\n1,0,2\r\n'.encode("utf-8-sig"), r"several columns .*name 'label'"),
        ("id,label\n1,0\n".encode("utf-16"), "in UTF-16: save it as UTF-8"),
        ("id,label\n1,0\n".encode("utf-16-be"), "in UTF-16: save it as UTF-8"),
        ("id,größe\n1,0\n".encode("latin-1"), "its header is not in UTF-8"),
    ],
)
def test_a_header_that_no_reader_would_read_as_meant_is_refused_by_all(
    tmp_path: Path, content: bytes, says: str
):
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    for read_it in readers(path):
        with pytest.raises(DataError, match=says) as caught:
            read_it()
        assert "rows.csv" in str(caught.value)
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match=says):
        open_table(tmp_path / "rows.csv.gz")


@pytest.mark.parametrize("suffix", [".csv", ".json", ".ndjson", ".parquet"])
def test_a_folder_and_a_pipe_are_no_file_of_labels(tmp_path: Path, suffix: str):
    (tmp_path / f"folder{suffix}").mkdir()
    os.mkfifo(tmp_path / f"pipe{suffix}")
    for name, says in (("folder", "is a folder, not a file"), ("pipe", "is a named pipe")):
        with pytest.raises(DataError, match=rf"{name}{suffix} {says}"):
            read_labels(tmp_path / f"{name}{suffix}", ["id"], "label", None)


def test_a_broken_archive_is_named(tmp_path: Path):
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress(b"id,label\n1,0\n")[:-9])
    with pytest.raises(DataError, match=r"rows\.csv\.gz cannot be read"):
        open_table(tmp_path / "rows.csv.gz").collect()


@pytest.mark.parametrize("twice", ['{"id": 2, "o": {"a": 1, "a": 2}}', '{"id": 2, "id": "\\u003a"}'])
def test_lines_of_json_with_a_field_twice_are_refused(tmp_path: Path, twice: str):
    """Polars keeps the last one."""
    file, sound = tmp_path / "a.ndjson", '{"id": 1, "at": "2013-04-01T10:15", "o": {"a": ": "}}\n'
    file.write_text(sound * 30_000 + "\n", encoding="utf-8-sig")
    assert open_table(file).select(pl.len()).collect().item() == 30_000
    file.write_text(sound * 30_000 + twice, encoding="utf-8-sig")
    with pytest.raises(DataError, match=r"a\.ndjson cannot be read: line 30,001 has two fields '(a|id)'"):
        scan("a.ndjson", [file])


@pytest.mark.parametrize("lines", [1, 2])
def test_a_mark_of_utf_8_before_lines_of_json_is_no_part_of_them(tmp_path: Path, lines: int):
    """Programs on Windows write it."""
    rows = [{"id": 1, "wind": 0.5}, {"id": 2, "wind": 1.5}][:lines]
    file, other = tmp_path / "a.ndjson", tmp_path / "b.ndjson"
    text = "".join(json.dumps(row) + "\n" for row in rows)
    file.write_text(text, encoding="utf-8-sig")
    other.write_text(text)
    assert open_table(file).collect().rows(named=True) == rows
    table = open_table(tmp_path / "*.ndjson")
    assert [table.collect().rows(named=True) for _ in range(2)] == [rows + rows] * 2
    assert scan("a.ndjson", [file]).collect().rows(named=True) == rows
    (found,) = find_files(locate(str(file), tmp_path))
    shape = examine([found])[0]
    columns = Columns(types_of_lines(found))
    assert columns.schema.names == ["id", "wind"]
    (batch,) = read_rows([found], fragments_of([found], [shape])[0], columns)
    assert (batch.table.to_pylist(), batch.unread) == (rows, [])
