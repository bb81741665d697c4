import math
from datetime import UTC, datetime

import polars as pl
import pytest

from tidemill.data.profiling.moment_formats import moment_formats
from tidemill.data.profiling.text_values import conformed, infer_readings


def test_a_moment_in_another_format_is_kept_for_the_validation_to_refuse():
    days = pl.LazyFrame({"day": ["01.03.2024", "2024-03-02", None, "soon"], "other": ["x"] * 4})
    types, formats = {"day": pl.Datetime("us", "UTC")}, {"day": "%d.%m.%Y"}
    assert conformed(days, types, formats).collect()["day"].to_list() == [
        "2024-03-01T00:00:00.000000",
        "2024-03-02 (not written as %d.%m.%Y)",
        None,
        "soon (not written as %d.%m.%Y)",
    ]
    sound = conformed(days.head(1), types, formats).collect()["day"]
    assert sound.to_list() == [datetime(2024, 3, 1)]  # noqa: DTZ001 - it gets its zone from the validation


def test_words_that_mean_a_gap_hide_no_numbers():
    table = pl.LazyFrame(
        {
            "age": ["31", "?", "NA", ""],
            "share": [" 0.5", "nan", "1e3", "-2"],
            "active": ["true", "FALSE", "n/a", None],
            "country": ["NA", "DE", "null", "IN"],
            "zip": ["01067", "10115", "80331", ""],
        }
    )
    found = infer_readings(table)
    assert found.types == {"age": pl.Int64(), "share": pl.Float64(), "active": pl.Boolean()}
    read = conformed(table, found.types, found.formats).collect().to_dict(as_series=False)
    assert read == {
        "age": [31, None, None, None],
        "share": [0.5, None, 1000.0, -2.0],
        "active": [True, False, None, None],
        "country": ["NA", "DE", None, "IN"],
        "zip": ["01067", "10115", "80331", None],
    }


@pytest.mark.parametrize(
    ("columns", "values"),
    [
        ({"a": ["3,14", "−2,5", "7", "NA"]}, [3.14, -2.5, 7, None]),
        ({"a": ["1.234,5", "1.234.567", "-0,1"]}, [1234.5, 1234567, -0.1]),
        ({"a": ["1,234.50", "12,345,678", "9.5"]}, [1234.5, 12345678, 9.5]),
        ({"a": ["1 234,5", "12\u202f345", "9'876"]}, [1234.5, 12345, 9876]),
        ({"a": ["1,234", "12,345", "9", ""]}, [1234, 12345, 9, None]),
        ({"a": ["1,234", "12,345"], "b": ["0,1", "0,25"]}, [1.234, 12.345]),
        ({"a": ["1.234", "12.345"], "b": ["0,1", "0,25"]}, [1234, 12345]),
        ({"a": ["1.234", "12.345"], "b": ["0.1", "0.25"]}, [1.234, 12.345]),
        ({"a": ["3,14", "#DIV/0!"]}, [3.14, None]),
        ({"a": ["3,14", "1.5"]}, ["3,14", "1.5"]),
        ({"a": ["754.331,66 €", "12 €", "−3,5 €"]}, [754331.66, 12, -3.5]),
        ({"a": ["$1,234.50", "-$2", "$ -3"]}, [1234.5, -2, -3]),
        ({"a": ["€ 12", "12 €"]}, [12, 12]),
        ({"a": ["12 %", "NA"]}, [12, None]),
        ({"a": ["CHF 1'234.50", "CHF 2.00"]}, [1234.5, 2]),
        ({"a": ["1.234 €", "2.000 €"], "b": ["0,1", "0,25"]}, [1234, 2000]),
        ({"a": ["12 €", "12 %"]}, ["12 €", "12 %"]),
        ({"a": ["12 €", "12"]}, ["12 €", "12"]),
        ({"a": ["ABC 12", "ABC 13"]}, ["ABC 12", "ABC 13"]),
        ({"a": ["01,5", "02,5"]}, ["01,5", "02,5"]),
        ({"a": ["1,2,3", "4,5,6"]}, ["1,2,3", "4,5,6"]),
        ({"a": ["(1,2)", "(30,4)", None]}, ["(1,2)", "(30,4)", None]),
        ({"a": ["(1,200)", "(30,400)"]}, [-1200, -30400]),
        ({"a": ["(1,2)", "3,5"]}, [-1.2, 3.5]),
    ],
)
def test_numbers_as_people_write_them(columns: dict[str, list[str]], values: list[object]):
    table = pl.LazyFrame(columns, strict=False)
    found = infer_readings(table)
    assert conformed(table, found.types, found.formats).collect()["a"].to_list() == values


def test_text_that_is_nearly_numbers_is_named():
    price = ["$1.50", "$ 2", "$1,300.00"] + ["$7"] * 17
    size = ["1"] * 19 + ["abc"]
    table = pl.LazyFrame({"price": price, "size": size, "plan": ["a", "1"] * 10, "zip": ["01067"] * 20})
    found = infer_readings(table)
    assert found.nearly_numbers == {"size": "abc"}
    assert found.formats == {"price": "1,234.56 $"}
    mixed = pl.LazyFrame({"price": [*price[:19], "on request"], "size": ["7 %", "7 €"] * 10})
    assert infer_readings(mixed).nearly_numbers == {"price": "on request", "size": "7 %"}
    word = pl.LazyFrame({"income": ["1.828,37", "7,5", "k.A.", "9"] * 5})
    assert infer_readings(word).nearly_numbers == {"income": "k.A."}
    units = {
        "weight": ["7.5 kg", "80 kg"],
        "room": ["5A", "6B"],
        "rate": ["7 €", "9 €"],
        "size": ["1m", "2m"],
    }
    found = infer_readings(pl.LazyFrame(units))
    assert found.nearly_numbers == {"weight": "7.5 kg", "size": "1m"}
    assert list(found.formats) == ["rate"]


def test_periods_without_a_day_are_named():
    table = {"m": ["2015-01", "2015-12"], "q": ["Q1 2024", "Q4 2024"], "n": ["2015-13", "2015-01"]}
    assert infer_readings(pl.LazyFrame(table)).months == {"m": "2015-01", "q": "Q1 2024"}


def test_times_of_day_and_durations_are_named():
    table = {
        "at": ["08:15", "23:59:01"],
        "pm": ["8:15 PM", "12:00 a.m."],
        "took": ["3h 12m", "45 min"],
        "score": ["3:99", "1:2"],
        "code": ["3x 12m", "4 y"],
    }
    found = infer_readings(pl.LazyFrame(table))
    assert found.clock == {"at": "08:15", "pm": "8:15 PM", "took": "3h 12m"}


@pytest.mark.parametrize(
    ("cells", "form", "values"),
    [
        (["1,234.56", "(1,234.56)", "(7)"], "1,234.56", [1234.56, -1234.56, -7.0]),
        (["1.234,5", "(3,25)"], "1.234,56", [1234.5, -3.25]),
        (["$5.00", "($1,300.50)", "$(2)"], "1,234.56 $", [5.0, -1300.5, -2.0]),
        (["12", "(3)"], "1,234.56", [12, -3]),
    ],
)
def test_numbers_in_parentheses_are_negative(cells, form, values):
    table = pl.LazyFrame({"a": cells})
    found = infer_readings(table)
    assert found.formats == {"a": form}
    assert conformed(table, found.types, found.formats).collect()["a"].to_list() == values


def test_moments_in_several_formats_are_named():
    table = pl.LazyFrame(
        {"at": ["01.02.2024 10:00", "2024-02-01 11:00"] * 5, "plan": ["a", "2024-01-01"] * 5}
    )
    assert infer_readings(table).nearly_moments == {"at": ("2024-02-01 11:00", "01.02.2024 10:00")}


def test_infinite_numbers_are_numbers():
    table = pl.LazyFrame({"rate": ["1.5", "inf", "-Infinity", "NA"], "name": ["inf", "inf", None, "inf"]})
    found = infer_readings(table)
    assert found.types == {"rate": pl.Float64()}
    assert conformed(table, found.types, {}).collect()["rate"].to_list() == [1.5, math.inf, -math.inf, None]


@pytest.mark.parametrize(
    ("values", "first"),
    [
        (["2024-12-31", "2024-01-02"], datetime(2024, 12, 31, tzinfo=UTC)),
        (
            ["2024-12-31T10:15:00.5", "2024-01-02T00:00:00"],
            datetime(2024, 12, 31, 10, 15, 0, 500_000, tzinfo=UTC),
        ),
        (["2024-12-31 10:15:00+01:00"], datetime(2024, 12, 31, 9, 15, tzinfo=UTC)),
        (["2024-12-31T10:15Z"], datetime(2024, 12, 31, 10, 15, tzinfo=UTC)),
        (["31.12.2024 10:15"], datetime(2024, 12, 31, 10, 15, tzinfo=UTC)),
        (["12/31/2024"], datetime(2024, 12, 31, tzinfo=UTC)),
        (["31/12/2024"], datetime(2024, 12, 31, tzinfo=UTC)),
        (["31.12.24", "01.01.25"], datetime(2024, 12, 31, tzinfo=UTC)),
        (["31 Dec 2024 10:15", "1 June 2024 00:00"], datetime(2024, 12, 31, 10, 15, tzinfo=UTC)),
        (["12/31/2024 10:15 AM", "1/2/2024 3:05 PM"], datetime(2024, 12, 31, 10, 15, tzinfo=UTC)),
        (["Dec 31, 2024"], datetime(2024, 12, 31, tzinfo=UTC)),
        ([20241231], datetime(2024, 12, 31, tzinfo=UTC)),
        ([1735603200], datetime(2024, 12, 31, tzinfo=UTC)),
        ([1735603200000], datetime(2024, 12, 31, tzinfo=UTC)),
    ],
)
def test_moments_as_people_write_them(values: list[object], first: datetime):
    table = pl.LazyFrame({"at": values})
    form = moment_formats(table, "at")[0]
    found = conformed(table, {}, {"at": form}).collect()["at"][0]
    assert (found if found.tzinfo else found.replace(tzinfo=UTC)) == first


def test_what_is_no_moment_has_no_format():
    assert moment_formats(pl.LazyFrame({"at": ["soon", "later"]}), "at") == []
    assert moment_formats(pl.LazyFrame({"at": ["2024-01-01"] * 300 + ["soon"]}), "at") == []
    assert moment_formats(pl.LazyFrame({"at": [1, 2, 3]}), "at") == []


def test_day_and_month_may_be_confused():
    found = infer_readings(pl.LazyFrame({"at": ["03/04/2024", "05/06/2024"]}))
    assert (found.formats, found.other_formats) == ({"at": "%m/%d/%Y"}, {"at": "%d/%m/%Y"})


def test_a_format_with_fractions_is_no_other_reading_of_whole_seconds():
    found = infer_readings(pl.LazyFrame({"at": ["2024-01-03 10:00:00", "2024-01-04 11:30:15"]}))
    assert (found.formats, found.other_formats) == ({"at": "%Y-%m-%d %H:%M:%S"}, {})


def test_a_value_that_is_wrong_is_left_for_the_validation():
    table = pl.LazyFrame({"age": ["31", "NA", "many"]})
    assert conformed(table, {"age": pl.Int64()}, {}).collect()["age"].to_list() == ["31", None, "many"]
