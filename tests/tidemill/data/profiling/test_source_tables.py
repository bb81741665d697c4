import gzip
import sqlite3
from codecs import BOM_UTF8
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from tests.tidemill.data.duckdb_files import run_duckdb
from tidemill.data.profiling.source_tables import absolute_address, open_source
from tidemill.data.profiling.text_values import conformed, infer_readings
from tidemill.errors import DataError, UsageError
from tidemill.quickstart.init_options import InitOptions
from tidemill.quickstart.new_project import draft_project

ROWS = pl.DataFrame({"name": ["a;b", None, "c"], "n": [1, 2, None]})


AT = datetime(2024, 1, 2, 3, 4, 5)  # noqa: DTZ001 - as the database has it


def read(address: str, folder: Path) -> pl.DataFrame:
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    table = open_source(address, folder, scratch)
    found = infer_readings(table)
    return conformed(table, found.types, found.formats).collect()


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_csv_with_any_separator(tmp_path: Path, separator: str):
    ROWS.write_csv(tmp_path / "t.csv", separator=separator)
    assert read("t.csv", tmp_path).equals(ROWS)


@pytest.mark.parametrize("mark", [b"", BOM_UTF8])
@pytest.mark.parametrize("name", ["t.ndjson.gz", "t.JSONL.GZ"])
def test_packed_json_lines(tmp_path: Path, name: str, mark: bytes):
    lines = ROWS.write_ndjson().encode()
    (tmp_path / name).write_bytes(gzip.compress(mark + lines))
    assert read(name, tmp_path).equals(ROWS)
    (tmp_path / name).write_bytes(gzip.compress(lines)[:-9])
    with pytest.raises(DataError, match=r"cannot be read: .*ended before"):
        read(name, tmp_path)


@pytest.mark.parametrize("name", ["t.tsv", "t.TXT", "T.CSV", "t.txt"])
def test_text_by_other_names(tmp_path: Path, name: str):
    (tmp_path / name).write_text(" name\tn \r\na\t1\r\n")
    assert read(name, tmp_path).rows(named=True) == [{"name": "a", "n": 1}]


@pytest.mark.parametrize(
    ("name", "content", "message", "hint"),
    [
        ("t.csv", "a,b\n1,ü\n".encode("latin-1"), "not in UTF-8, but perhaps in Latin-1", "iconv"),
        ("t.ndjson", '{"a": "ü"}\n'.encode("latin-1"), "not in UTF-8, but perhaps in Latin-1", "iconv"),
        ("t.csv", b'a,b\n1,"x\ny"\n1,2,3\n', "line 4 has 3 values where the header has 2", "quotes"),
        ("t.csv", b"a,b\n1,2\n3\n", "line 3 has 1 value where the header has 2", "quotes"),
        ("t.csv", b"a,b\n1,2\n3,x\0y\n", "line 3 has a NUL byte", "tr -d"),
        ("t.csv", b"a,b\r1,2\r", "end in carriage returns only", "tr "),
        ("t.csv", b"sep=;\na;b\n1;2\n", "begins with the line 'sep='", "remove that line"),
        ("t.csv", b"Plant 7;;\n\na;b;c\n1;2;3\n", "begins with 'Plant 7', a title", "above the names"),
        (
            "t.csv",
            b"a,b,c\n,bar,kW\nx,1,2\n" + b"y,2,3.5\n" * 9,
            "units: b 'bar', c 'kW'",
            "remove that line",
        ),
        ("t.json", b'[{"a": 1}]', "cannot be read: .json", "one object a line"),
        ("t.xlsx", b"PK", "cannot be read: .xlsx", "save the sheet as CSV"),
    ],
)
def test_a_file_that_is_no_table_is_named_with_the_way_out(
    tmp_path: Path, name: str, content: bytes, message: str, hint: str
):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as raised:
        draft_project("x", name, tmp_path, InitOptions("b"))
    assert message in str(raised.value)
    assert hint in str(raised.value.hint)


def test_parquet_json_lines_folders_and_patterns(tmp_path: Path):
    (tmp_path / "parts").mkdir()
    ROWS.write_parquet(tmp_path / "t.parquet")
    ROWS.write_ndjson(tmp_path / "t.jsonl")
    ROWS.head(1).write_csv(tmp_path / "parts" / "1.csv")
    ROWS.tail(2).write_csv(tmp_path / "parts" / "2.csv")
    for address in ("t.parquet", "t.jsonl", "parts", "parts/*.csv"):
        assert read(address, tmp_path).equals(ROWS), address


def test_fields_of_objects_are_columns_unless_their_names_are_taken(tmp_path: Path):
    line = '{"order": {"at": "2024-01-31", "by": {"age": 3}}, "a": {"b": 1}, "a_b": 2, "none": {}}\n'
    (tmp_path / "t.ndjson").write_text(line + '{"order": null, "a_b": 5}\n')
    table = open_source("t.ndjson", tmp_path, tmp_path)
    assert table.collect_schema().names() == ["order_at", "order_by_age", "a", "a_b", "none"]
    assert table.select("order_by_age").collect().to_series().to_list() == [3, None]
    declared = ("order", "a", "a_b", "none", "other")
    assert open_source("t.ndjson", tmp_path, tmp_path, declared).collect_schema().names() == [*declared[:-1]]
    open_source("t.ndjson", tmp_path, tmp_path, ("order_at", "a_b", "none")).collect()


def test_a_folder_without_one_kind_of_table_is_refused(tmp_path: Path):
    (tmp_path / "parts").mkdir()
    with pytest.raises(DataError, match="no file of a table"):
        read("parts", tmp_path)
    ROWS.write_csv(tmp_path / "parts" / "1.csv")
    ROWS.write_ndjson(tmp_path / "parts" / "1.jsonl")
    with pytest.raises(DataError, match=r"several kinds: \.csv, \.jsonl"):
        read("parts", tmp_path)


def test_a_column_without_a_name_is_the_number_of_the_row(tmp_path: Path):
    (tmp_path / "t.csv").write_text(",n\n0,5\n1,6\n")
    assert read("t.csv", tmp_path).columns == ["n"]


def test_a_table_of_a_database(tmp_path: Path):
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute(
            "CREATE TABLE orders (id INTEGER, price FLOAT, name TEXT, at DATETIME, paid BOOLEAN)"
        )
        connection.execute("INSERT INTO orders VALUES (1, 2.5, 'a', '2024-01-02 03:04:05.000000', 1)")
        connection.execute("INSERT INTO orders VALUES (2, NULL, NULL, NULL, NULL)")
    found = read("sqlite:///shop.db::orders", tmp_path)
    assert found.rows() == [(1, 2.5, "a", AT, True), (2, None, None, None, None)]
    with pytest.raises(DataError, match="no table 'order'") as raised:
        read("sqlite:///shop.db::order", tmp_path)
    assert "orders" in raised.value.hint
    with pytest.raises(DataError, match=r"shp\.db cannot be read"):
        read("sqlite:///shp.db::orders", tmp_path)


def test_sqlite_columns_hold_what_was_written_whatever_they_declare(tmp_path: Path):
    rows = [
        (0.5, 1e-12, 10**17 + 1, "01/02/2024 10:00", 1700000000, "n/a", "2024-01-02T03:04:05+02:00"),
        (2, 2e-12, 10**17 + 2, "31/02/2024 11:00", 1700003600, 1, "2024-01-02T03:04:06+02:00"),
        (None, 3e-12, 10**17 + 3, "31/01/2024 12:00", 1700007200, 2.5, None),
    ]
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute(
            'CREATE TABLE "my.odd" (whole INTEGER, small NUMERIC, big NUMERIC(30, 0), seen DATETIME, '
            "unix TIMESTAMP, gaps NUMERIC, zoned DATETIME)"
        )
        connection.executemany('INSERT INTO "my.odd" VALUES (?, ?, ?, ?, ?, ?, ?)', rows)
    (tmp_path / "scratch").mkdir()
    found = open_source("sqlite:///shop.db::my.odd", tmp_path, tmp_path / "scratch").collect()
    assert found["whole"].to_list() == [0.5, 2.0, None]
    assert found["small"].cast(pl.Float64).to_list() == [1e-12, 2e-12, 3e-12]
    assert found["big"].to_list() == [str(10**17 + n) for n in (1, 2, 3)]
    assert found["seen"].to_list() == [row[3] for row in rows]
    assert found["unix"].to_list() == [str(row[4]) for row in rows]
    assert found["gaps"].to_list() == ["n/a", "1", "2.5"]
    assert found["zoned"].to_list() == [row[6] for row in rows]


def test_the_files_of_a_folder_are_read_whole_or_refused(tmp_path: Path):
    parts = tmp_path / "parts"
    parts.mkdir()
    (parts / "a.csv").write_text("x,y\n1,2\n")
    (parts / "b.csv").write_text("y;x\n4;3\n")
    (parts / "._a.csv").write_bytes(b"\x00\x05")
    assert read("parts", tmp_path).rows() == read("parts/*.csv", tmp_path).rows() == [(1, 2), (3, 4)]
    (parts / "c.csv").write_text("x,y,z\n1,2,3\n")
    with pytest.raises(DataError, match=r"c\.csv has a column 'z' that .*a\.csv lacks"):
        read("parts", tmp_path)
    for other in ("d.parquet", "D.CSV"):
        pl.DataFrame({"x": [1]}).write_parquet(parts / other)
        with pytest.raises(DataError, match="files of several kinds: "):
            read("parts", tmp_path)
        (parts / other).unlink()


def test_parquet_files_with_other_columns_are_named_with_the_way_out(tmp_path: Path):
    (tmp_path / "parts").mkdir()
    ROWS.write_parquet(tmp_path / "parts" / "a.parquet")
    ROWS.select("n", "name").write_parquet(tmp_path / "parts" / "b.parquet")
    assert read("parts", tmp_path).rows() == ROWS.rows() * 2
    for other, says in (
        (ROWS.with_columns(more=1), r"c\.parquet has a column 'more' that .*a\.parquet lacks"),
        (ROWS.drop("n"), r"a\.parquet has a column 'n' that .*c\.parquet lacks"),
    ):
        other.write_parquet(tmp_path / "parts" / "c.parquet")
        for address in ("parts", "parts/*.parquet"):
            with pytest.raises(DataError, match=says) as raised:
                read(address, tmp_path)
            assert "the same columns" in str(raised.value.hint)
    ROWS.cast({"n": pl.String}).write_parquet(tmp_path / "parts" / "c.parquet")
    with pytest.raises(
        DataError, match=r"n is of type Int64 in .*a.parquet, and of type String in"
    ) as raised:
        draft_project("x", "parts", tmp_path, InitOptions("n"))
    assert "the same type" in str(raised.value.hint)


def test_fields_that_only_later_files_of_json_have_are_read(tmp_path: Path):
    (tmp_path / "js").mkdir()
    (tmp_path / "js" / "a.jsonl").write_text('{"x": 1, "y": 2}\n')
    (tmp_path / "js" / "b.jsonl").write_text('{"y": 2.5, "z": "new", "x": 2}\n')
    assert read("js", tmp_path).rows(named=True) == [
        {"x": 1, "y": 2.0, "z": None},
        {"x": 2, "y": 2.5, "z": "new"},
    ]


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_folders_that_name_a_value_are_a_column(tmp_path: Path, kind: str):
    for day, n in (("2024-01-31", 1), ("2024-02-01", 2)):
        folder = tmp_path / "hive" / f"day={day}" / "shop=a%20b"
        folder.mkdir(parents=True)
        getattr(pl.DataFrame({"n": [n]}), f"write_{kind}")(folder / f"part.{kind}")
    days = [date(2024, 1, 31), date(2024, 2, 1)]
    found = read("hive", tmp_path).with_columns(pl.col("day").cast(pl.Date))
    assert found.rows() == [(1, days[0], "a b"), (2, days[1], "a b")]


def test_a_password_does_not_get_into_git():
    with pytest.raises(UsageError, match="password"):
        absolute_address("postgresql://ada:secret@host/shop::orders", Path("/"))
    with pytest.raises(UsageError, match="names no table"):
        absolute_address("postgresql://ada@host/shop", Path("/"))


@pytest.mark.engine
def test_a_table_of_postgres(tmp_path: Path, postgres_url: str):
    import psycopg

    with psycopg.connect(postgres_url) as connection:
        connection.execute(
            "CREATE TABLE orders (id bigint, price numeric(8, 2), name text, at timestamptz, paid boolean,"
            " weights float[], mood char(4), fees numeric[], wait interval, more jsonb, place point)"
        )
        connection.execute(
            "INSERT INTO orders VALUES (1, 2.5, 'a', '2024-01-02 04:04:05+01', true, '{1, 2.5}', 'ok',"
            """ '{1.10, 2}', '1 day 00:00:05', '{"ü": [1.50]}', '(1,2)')"""
        )
        connection.execute("INSERT INTO orders (id) VALUES (2)")
        connection.execute("CREATE TABLE ends AS SELECT 1 AS id, timestamp 'infinity' AS ends")
    found = read(f"{postgres_url}::orders", tmp_path)
    more = ("ok", [1.1, 2.0], timedelta(days=1, seconds=5), '{"ü": [1.5]}', "(1,2)")
    assert found.rows() == [(1, 2.5, "a", AT.replace(tzinfo=UTC), True, [1.0, 2.5], *more), (2, *[None] * 10)]
    with pytest.raises(DataError, match="'infinity'") as raised:
        read(f"{postgres_url}::ends", tmp_path)
    assert "nullif(ends, 'infinity')" in str(raised.value.hint)
    with pytest.raises(DataError, match="no table 'order'"):
        read(f"{postgres_url}::order", tmp_path)


@pytest.mark.engine
def test_tables_of_an_object_store(tmp_path: Path, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch):
    import boto3
    import fsspec

    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    settings = {**dict.fromkeys(names, "x"), "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**settings, "AWS_ENDPOINT_URL": s3_endpoint}.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=s3_endpoint)
    client.create_bucket(Bucket="tables")
    fsspec.filesystem("s3").clear_instance_cache()
    for number in (1, 2):
        body = f"id;size\n{number};{number * 1.5}\n".encode()
        client.put_object(Bucket="tables", Key=f"shop/part-{number}.csv", Body=body)
    client.put_object(Bucket="tables", Key="shop/notes.txt", Body=b"nothing")
    addresses = {"shop/part-1.csv": 1, "shop": 2, "shop/part-*.csv": 2}
    for place, (key, rows) in enumerate(addresses.items()):
        scratch = tmp_path / str(place)
        scratch.mkdir()
        found = open_source(f"s3://tables/{key}", tmp_path, scratch).collect()
        assert (found.height, found.columns) == (rows, ["id", "size"]), key
        assert absolute_address(f"s3://tables/{key}", tmp_path) == f"s3://tables/{key}"
    client.put_object(Bucket="tables", Key="bad/t.csv", Body=b"a,b\n1\n")
    with pytest.raises(DataError, match=r"^s3://tables/bad/t\.csv cannot be read: line 2 has 1 value"):
        open_source("s3://tables/bad/t.csv", tmp_path, scratch)
    with pytest.raises(DataError, match="s3://tables/nothing has no table"):
        open_source("s3://tables/nothing", tmp_path, tmp_path)
    with pytest.raises(UsageError, match="has a user or password"):
        open_source("s3://ada:secret@tables/shop", tmp_path, tmp_path)


@pytest.mark.slow
def test_a_table_of_duckdb_is_read_with_its_types(tmp_path: Path):
    frame = ROWS.with_columns(
        at=pl.lit(AT), day=pl.lit(date(2024, 1, 2)), price=pl.lit(1.25).cast(pl.Decimal(9, 2)),
        large=pl.lit(2**63 + 1, pl.UInt64), vector=pl.lit([0.5, 1.0]),
    )  # fmt: skip
    frame.write_parquet(tmp_path / "rows.parquet")
    made = """create schema "shop s"; create table "shop s"."t""t" as select * from 'rows.parquet'"""
    run_duckdb(made, folder=tmp_path, file="o.duckdb")
    found = read('duckdb:///o.duckdb::shop s.t"t', tmp_path)
    assert found.select("name", "n", "at", "large", "vector").rows(named=True)[0] == {
        "name": "a;b", "n": 1, "at": AT, "large": 2**63 + 1, "vector": [0.5, 1.0],
    }  # fmt: skip
    assert found["price"].cast(pl.Float64).to_list() == [1.25] * 3
    with pytest.raises(DataError, match="has no table 't'") as error:
        read("duckdb:///o.duckdb::t", tmp_path)
    assert error.value.hint == 'it has: shop s.t"t'
    (tmp_path / "no.duckdb").write_text("no database")
    with pytest.raises(DataError, match=r"no.duckdb cannot be read: "):
        read("duckdb:///no.duckdb::t", tmp_path)
    with pytest.raises(DataError, match="is no database that SQLAlchemy knows here"):
        read("snowball://host/shop::t", tmp_path)


@pytest.mark.slow
def test_types_of_duckdb_that_parquet_lacks_keep_their_values(tmp_path: Path):
    run_duckdb(
        """create table t as select i, i::hugeint as total,
            '0b9c8c5e-5f0c-4f0e-9a53-1f3a1c2d4e5f'::uuid as key,
            170141183460469231731687303715884105727 - i::hugeint as id, to_days(i::int) as span,
            '{"a": [1]}'::json as basket, map {'k': i} as counts,
            [interval '1' day] as spans, ['2024-01-02'::date] as days, [i::hugeint] as sums,
            '2024-01-02T03:04:05.123456789+05:30'::timestamptz_ns as fine from range(2) r(i)""",
        """create table e as select 'infinity'::timestamp as ends, 1 as "n ""1\"""",
        folder=tmp_path,
        file="o.duckdb",
    )
    found = open_source("duckdb:///o.duckdb::t", tmp_path, tmp_path).collect()
    assert found.rows(named=True)[1] == {
        "i": 1, "key": "0b9c8c5e-5f0c-4f0e-9a53-1f3a1c2d4e5f", "total": 1,
        "id": "170141183460469231731687303715884105726", "span": timedelta(days=1),
        "basket": '{"a": [1]}', "counts": "{k=1}", "spans": "[1 day]", "days": [date(2024, 1, 2)],
        "sums": [1.0], "fine": datetime(2024, 1, 1, 21, 34, 5, 123456, UTC),
    }  # fmt: skip
    with pytest.raises(DataError, match="cannot be read: ends of e holds infinity") as error:
        open_source("duckdb:///o.duckdb::e", tmp_path, tmp_path)
    assert "isfinite(ends)" in error.value.hint
