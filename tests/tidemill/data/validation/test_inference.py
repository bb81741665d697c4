"""Inferred expectations: they accept the file they came from, and never cost a declaration."""

import string
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from polars.testing import assert_frame_equal
from polars.testing.parametric import dataframes

from tidemill.data.expectations.declarations import parse_expectations
from tidemill.data.personal.pii_detection import looks_personal
from tidemill.data.tables.frames import open_table
from tidemill.data.validation.expectations_addition import append_expectations
from tidemill.data.validation.in_memory import validate_frames
from tidemill.data.validation.inference import infer
from tidemill.errors import ConfigError, DataError, UsageError

AS_OF = datetime(2013, 4, 1, tzinfo=UTC)


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "orders.parquet"
    pl.DataFrame(
        {
            "id": range(100, 140),
            "state": ["open", "NO", "9e1", "on hold"] * 10,
            "price": [1.0 + n / 10 for n in range(40)],
            "placed_at": [datetime(2013, 3, 1, tzinfo=UTC) + timedelta(hours=n) for n in range(40)],
            "e: mail, of": [f"user{n}@example.org" for n in range(40)],
            "contact_name": ["Ada Lovelace", None] * 20,
        }
    ).write_parquet(path)
    return path


def accepts(path, inferred, as_of):
    declared = parse_expectations(inferred.document, Path("inferred"))
    frame = open_table(path).collect()
    parted = validate_frames({inferred.name: frame}, declared, as_of)[inferred.name]
    assert parted.report.failing == 0, parted.report.broken
    assert parted.report.failed == ()
    assert_frame_equal(parted.accepted, frame, categorical_as_str=True)
    return declared.datasets[inferred.name]


def test_a_starting_point(good):
    inferred = infer(good, "orders", "data/orders.parquet", AS_OF)
    declared = accepts(good, inferred, AS_OF)
    assert declared.source == "data/orders.parquet"
    rules = {
        name: rules.model_dump(exclude_defaults=True, by_alias=True)
        for name, rules in declared.columns.items()
    }
    assert rules == {
        "id": {"type": "int64", "min": 0, "unique": True},
        "state": {"type": "string", "max_length": 100},
        "price": {"type": "float64", "min": 0.0, "max": 43.9},
        "placed_at": {"type": "datetime[us, UTC]"},
        "e: mail, of": {"type": "string", "unique": True, "max_length": 180},
        "contact_name": {"type": "string", "nullable": True, "max_length": 120},
    }
    assert declared.freshness.column == "placed_at"
    assert (declared.volume.min, declared.volume.max) == (20, 80)
    assert inferred.personal == {"e: mail, of": "e-mail addresses", "contact_name": "names of persons"}
    assert '# contact_name looks like names of persons: tag it {"personal": "true"}' in inferred.text
    assert "Ada" not in inferred.text


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("contact", ["ada@example.org", None, "alan@example.co.uk"], "e-mail addresses"),
        ("call", ["+49 30 123456", "(030) 123-4567", "030-123-4567"], "phone numbers"),
        ("who", ["Ada Lovelace", "Alan M. Turing", "José García"], "names of persons"),
        ("date_of_birth", [date(1815, 12, 10)], "dates of birth"),
        ("client_ip", ["127.0.0.1"], "network addresses"),
        ("seen", ["2013-01-02", "2013-01-03"], None),
        ("airport", ["Newark Liberty", "John Kennedy"] * 20, None),
        ("flight", [1545, 1714], None),
        ("tailnum", ["N14228", "N24211"], None),
    ],
)
def test_what_looks_personal(name, values, kind):
    assert looks_personal(name, pl.Series(values)) == kind


def test_a_csv_file_gets_the_types_that_all_its_rows_allow(tmp_path):
    path = tmp_path / "late.csv"
    rows = [f"{n},2013-03-{n % 28 + 1:02} 04:00:00" for n in range(12_000)]
    path.write_text("delay,at\n" + "\n".join([*rows, "1.5,2013-03-01 04:00:00"]))
    declared = accepts(path, infer(path, "late", "late.csv", AS_OF), AS_OF)
    assert [column.type for column in declared.columns.values()] == ["float64", "datetime[us]"]


def test_odd_columns(tmp_path):
    path = tmp_path / "odd.parquet"
    pl.DataFrame(
        {
            "empty": pl.Series([None] * 3, dtype=pl.Null),
            "nested": [{"a": 1}, {"a": 2}, None],
            "list": [[1], [], None],
            "wide": [2**63 - 1, -(2**63), 0],
            "tiny": pl.Series([127, -128, 0], dtype=pl.Int8),
            "huge": pl.Series([2**64 - 1, 0, 1], dtype=pl.UInt64),
            "endless": [float("inf"), float("-inf"), float("nan")],
            "small": pl.Series([0.1, 0.1, 0.1], dtype=pl.Float32),
            "money": [Decimal("1.10"), Decimal("2.20"), None],
            "clock": [time(1), time(2), time(3)],
            "wait": [timedelta(1), timedelta(2), None],
            "raw": [b"a", b"b", None],
            "kind": pl.Series(["a", "b", "a"], dtype=pl.Enum(["a", "b"])),
            "no": [True, False, None],
            "# {odd}: 'name'\n\"": [1, 2, 3],
        }
    ).write_parquet(path)
    declared = accepts(path, infer(path, "odd", "odd.parquet", AS_OF), AS_OF)
    assert list(declared.columns) == pl.read_parquet_schema(path).names()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(
    frame=dataframes(
        max_cols=4,
        max_size=40,
        allow_null=True,
        excluded_dtypes=[pl.Struct, pl.Array, pl.Object, pl.Categorical, pl.Enum, pl.Decimal],
    )
)
def test_what_was_inferred_accepts_what_it_was_inferred_from(frame, tmp_path):
    path = tmp_path / "frame.parquet"
    frame.write_parquet(path)
    accepts(path, infer(path, "frame", "frame.parquet", AS_OF), AS_OF)


EXISTING = """\
# ours
report: data/validation.json   # kept
datasets:
    flights: {source: f.parquet}  # declared by hand

    weather:
        source: w.parquet
        # a remark at the end
"""


def test_a_column_whose_name_pandera_takes_for_a_pattern_is_left_out_and_said_so(tmp_path):
    path = tmp_path / "odd.parquet"
    pl.DataFrame({"^x$": [1, 2], "*": [3, 4], "x": [5, 6]}).write_parquet(path)
    inferred = infer(path, "odd", "odd.parquet", AS_OF)
    assert set(accepts(path, inferred, AS_OF).columns) == {"x"}
    assert "# ^x$ is not declared: pandera takes this name for a pattern" in inferred.text


def test_what_is_declared_keeps_every_character(good, tmp_path):
    path = tmp_path / "expectations.yaml"
    path.write_text(EXISTING)
    append_expectations(path, infer(good, "orders", "o.parquet"))
    written = path.read_text()
    assert written.startswith(EXISTING)
    assert list(parse_expectations(written, path).datasets) == ["flights", "weather", "orders"]
    with pytest.raises(UsageError, match="declares 'orders' already"):
        append_expectations(path, infer(good, "orders", "o.parquet"))
    assert path.read_text() == written
    assert {file.name for file in tmp_path.iterdir()} == {"expectations.yaml", "orders.parquet"}


@pytest.mark.parametrize(
    ("text", "added"),
    [
        ("", True),
        ("report: r.json", True),
        ("datasets:\n  a: {source: x}\nreport: r.json\n", True),
        ("datasets:\n  a:\n    source: x", True),
        ("datasets: {}\n", True),
        ("datasets: {}  # none yet\nreport: r.json\n", True),
        ("report: r.json\ndatasets:\n", True),
        ("datasets: null", True),
        ("datasets:\n  # ours\nreport: r.json\n", True),
        ("datasets: {a: {source: x}}\n", False),
    ],
)
def test_it_is_added_where_there_is_a_place_for_it(good, tmp_path, text, added):
    path = tmp_path / "expectations.yaml"
    path.write_text(text)
    if added:
        append_expectations(path, infer(good, "orders", "o.parquet"))
        declared = parse_expectations(path.read_text(), path)
        assert "orders" in declared.datasets
        assert declared.report == parse_expectations(text, path).report
    else:
        with pytest.raises(ConfigError, match="orders cannot be added"):
            append_expectations(path, infer(good, "orders", "o.parquet"))
        assert path.read_text() == text


def test_classes_are_listed_and_other_columns_may_bring_new_values(tmp_path, good):
    columns = accepts(good, infer(good, "o", "o.parquet", AS_OF, classes=["state"]), AS_OF).columns
    assert columns["state"].model_dump(exclude_defaults=True, by_alias=True) == {
        "type": "string",
        "in": ("9e1", "NO", "on hold", "open"),
    }
    declared = parse_expectations(infer(good, "o", "o.parquet").document, Path("inferred"))
    later = pl.read_parquet(good).with_columns(
        id=pl.col("id") + 100_000, state=pl.lit("returned"), price=pl.col("price") * 2 + 1
    )
    assert validate_frames({"o": later}, declared, AS_OF)["o"].report.failing == 0
    wrong = later.with_columns(price=pl.Series([-1.0, 99_999.0] + [2.0] * 38))
    assert validate_frames({"o": wrong}, declared, AS_OF)["o"].report.failing == 2


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([0.0, 0.5, 0.99], 0, 1),  # shares
        ([0.2, 0.5, 0.6], 0, 4.6),
        ([-1.0, 1.0, 0.0], -21, 21),
        ([-3, -2, -1], -23, 0),
        ([7, 7, 7], 0, None),
        ([-7.0] * 3, None, 0),
    ],
)
def test_ranges_leave_room_for_what_comes_later(tmp_path, values, low, high):
    path = tmp_path / "t.parquet"
    pl.DataFrame({"x": values}).write_parquet(path)
    rules = accepts(path, infer(path, "t", "t.parquet"), AS_OF).columns["x"]
    assert (rules.min, rules.max) == (low, high)


def test_a_class_of_0_and_1_may_hold_nothing_else(tmp_path):
    path = tmp_path / "orders.parquet"
    pl.DataFrame({"late": [0, 1] * 20, "stops": [0, 1, 2, 3] * 10, "same": [1] * 40}).write_parquet(path)
    classes = ["late", "stops"]
    columns = accepts(path, infer(path, "orders", "o.parquet", classes=classes), AS_OF).columns
    assert columns["late"].model_dump(exclude_defaults=True, by_alias=True) == {
        "type": "int64",
        "in": (0, 1),
    }
    assert columns["stops"].one_of == (0, 1, 2, 3)
    assert (columns["same"].min, columns["same"].max) == (0, None)


@pytest.mark.parametrize("name", ["broken.parquet", "broken.bin", "missing.csv"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, name):
    if "broken" in name:
        (tmp_path / name).write_text(string.printable)
    with pytest.raises(DataError, match=name):
        infer(tmp_path / name, "broken", name)


def test_lists_of_one_length_keep_it(tmp_path):
    lists = pl.DataFrame(
        {"e": [[1.0, 2.0], None, [3.0, 4.0]], "tags": [["a"], [], ["b", "c"]], "n": [1, 2, 3]}
    )
    lists.write_parquet(tmp_path / "t.parquet")
    inferred = infer(tmp_path / "t.parquet", "t", "t.parquet", AS_OF)
    declared = accepts(tmp_path / "t.parquet", inferred, AS_OF)
    rules = {name: (column.min_length, column.max_length) for name, column in declared.columns.items()}
    assert rules == {"e": (2, 2), "tags": (None, None), "n": (None, None)}
    other = lists.with_columns(e=pl.Series([[1.0, 2.0], [1.0], [1.0, 2.0, 3.0]]))
    parted = validate_frames({"t": other}, parse_expectations(inferred.document, Path("inferred")), AS_OF)[
        "t"
    ]
    assert parted.rejected["reason"].to_list() == ["e: list_length(2, 2)"] * 2
