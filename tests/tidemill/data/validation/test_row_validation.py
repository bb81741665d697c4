"""Validation: every row lands on exactly one side, and every problem is told at once."""

from datetime import timedelta

import pandera.polars as pa
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandera.config import config_context
from pandera.errors import SchemaWarning
from polars.testing import assert_frame_equal

from tidemill.data.validation.row_reasons import REASON
from tidemill.data.validation.row_validation import validate
from tidemill.errors import DataError


def flights() -> pa.DataFrameSchema:
    return pa.DataFrameSchema(
        {
            "flight": pa.Column(pl.Int64, unique=True),
            "carrier": pa.Column(pl.String, pa.Check.str_matches("^[A-Z0-9]{2}$")),
            "delay": pa.Column(
                pl.Float64,
                [
                    pa.Check.in_range(-120, 1440),
                    pa.Check(lambda value: value != 13.0, element_wise=True, name="no 13"),
                ],
                nullable=True,
            ),
            "out": pa.Column(pl.Int64),
            "back": pa.Column(pl.Int64, nullable=True),
        },
        checks=pa.Check(
            lambda data: data.lazyframe.select(pl.col("out") < pl.col("back")), name="out before back"
        ),
        unique=["carrier", "out"],
    )


def frame(**columns: list[object]) -> pl.DataFrame:
    rows = {
        "flight": [1, 2, 3, 4],
        "carrier": ["UA"] * 4,
        "delay": [1.0] * 4,
        "out": [1, 2, 3, 4],
        "back": [9] * 4,
    }
    return pl.DataFrame(rows | columns)


def test_good_rows_come_through_untouched() -> None:
    validated = validate(frame(), flights(), "flights")
    assert_frame_equal(validated.clean, frame())
    assert validated.rejected.is_empty()
    assert validated.rejected.columns == [*frame().columns, REASON]
    assert validated.report.as_dict() == {
        "name": "flights",
        "rows": 4,
        "clean": 4,
        "rejected": 0,
        "broken": {},
    }


def test_a_row_carries_all_its_reasons() -> None:
    bad = frame(carrier=["UA", "??", None, "UA"], delay=[None, 9999.0, 13.0, 1.0], back=[9, 1, 9, None])
    validated = validate(bad, flights(), "flights", max_rejected_share=1)
    assert validated.clean["flight"].to_list() == [
        1,
        4,
    ]  # an unknown value satisfies a check, as pandera has it
    assert validated.rejected[REASON].to_list() == [
        "carrier: str_matches('^[A-Z0-9]{2}$'); delay: in_range(-120, 1440); out before back",
        "carrier: not null; delay: no 13",
    ]
    assert validated.report.broken["out before back"] == 1


def test_all_copies_of_a_row_that_must_be_unique_are_set_aside() -> None:
    validated = validate(
        frame(flight=[1, 1, 3, 4], out=[1, 2, 4, 4]), flights(), "flights", max_rejected_share=1
    )
    assert validated.clean.is_empty()
    assert validated.rejected[REASON].to_list() == ["flight: unique"] * 2 + ["carrier + out: unique"] * 2


def test_several_unique_sets_are_all_reported() -> None:
    schema = pa.DataFrameSchema({"a": pa.Column(int), "b": pa.Column(int)}, unique=[["a"], ["b"]])
    rows = pl.DataFrame({"a": [1, 1, 2, 3], "b": [1, 2, 3, 3]})
    validated = validate(rows, schema, "pairs", max_rejected_share=1)
    assert validated.report.broken == {"a: unique": 2, "b: unique": 2}


def test_not_a_number_counts_as_missing() -> None:
    schema = pa.DataFrameSchema({"x": pa.Column(float)})
    validated = validate(pl.DataFrame({"x": [1.0, float("nan"), None]}), schema, "x", max_rejected_share=1)
    assert validated.report.broken == {"x: not null": 2}


def test_structure_is_told_at_once_with_what_was_expected_and_found() -> None:
    broken = frame(delay=["a", "b", "c", "d"]).drop("carrier", "out")
    with pytest.raises(DataError) as caught:
        validate(broken, flights(), "flights")
    message = str(caught.value)
    assert message.startswith("flights is not what its schema declares:")
    assert "column 'carrier' (String) is missing" in message
    assert "column 'out' (Int64) is missing" in message
    assert "column 'delay' must be Float64, but is String" in message


def test_every_column_that_cannot_be_coerced_is_named_and_no_other() -> None:
    schema = pa.DataFrameSchema(
        {"a": pa.Column(int), "b": pa.Column(float), "c": pa.Column(str)}, coerce=True
    )
    rows = pl.DataFrame({"a": ["1", "one", "uno"], "b": ["1.5", "3,14", "2"], "c": [1, 2, 3]})
    with pytest.raises(DataError) as caught:
        validate(rows, schema, "numbers")
    problems = str(caught.value).splitlines()[1:]
    assert problems == [
        "  - column 'a' must be Int64; its String cannot be made that in 2 rows, such as 'one', 'uno'",
        "  - column 'b' must be Float64; its String cannot be made that in 1 row, such as '3,14' "
        "(numbers are written as 1234.5, with a point)",
    ]


def test_coercion_that_works_gives_the_schemas_types_on_both_sides() -> None:
    schema = pa.DataFrameSchema({"a": pa.Column(int, pa.Check.gt(0), coerce=True)})
    validated = validate(pl.DataFrame({"a": ["1", "-1"]}), schema, "numbers", max_rejected_share=1)
    assert validated.clean.schema == {"a": pl.Int64}
    assert validated.rejected.rows() == [(-1, "a: greater_than(0)")]


def test_a_strict_schema_refuses_other_columns() -> None:
    with pytest.raises(DataError, match="'b' not in"):
        validate(
            pl.DataFrame({"a": [1], "b": [1]}), pa.DataFrameSchema({"a": pa.Column(int)}, strict=True), "x"
        )


def test_a_column_that_only_uniqueness_names_is_missed() -> None:
    schema = pa.DataFrameSchema({"a": pa.Column(int)}, unique=["a", "b"])
    with pytest.raises(DataError, match="column 'b' is missing"):
        validate(pl.DataFrame({"a": [1]}), schema, "x")


def test_checks_of_the_whole_data_set_and_broken_checks_are_told_together() -> None:
    def mean_is_small(data: pa.PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select(pl.col("delay").mean() < 0)

    schema = flights()
    schema.checks = [
        pa.Check(lambda data: False, name="never"),
        pa.Check(mean_is_small, name="small mean"),
        pa.Check(lambda data: 1 / 0, name="boom"),
    ]
    with pytest.raises(DataError) as caught:
        validate(frame(), schema, "flights")
    assert "never does not hold for the data set as a whole" in str(caught.value)
    assert "small mean does not hold for the data set as a whole" in str(caught.value)
    assert "boom could not be run: ZeroDivisionError" in str(caught.value)


def test_too_many_bad_rows_mean_a_broken_data_set() -> None:
    half = frame(delay=[9999.0, 9999.0, 1.0, 1.0])
    with pytest.raises(
        DataError, match=r"flights: 2 of 4 rows are bad \(50.0%; at most 5.0% may be\)"
    ) as caught:
        validate(half, flights(), "flights")
    assert "delay: in_range(-120, 1440): 2 rows" in str(caught.value)
    assert validate(half, flights(), "flights", max_rejected_share=0.5).report.rejected == 2


def test_an_empty_data_set_is_valid() -> None:
    assert validate(frame().clear(), flights(), "flights").report.rows == 0


def test_a_warning_rejects_nothing() -> None:
    schema = pa.DataFrameSchema({"a": pa.Column(int, pa.Check.gt(0, raise_warning=True))})
    with pytest.warns(SchemaWarning, match=r"a: greater_than\(0\): 1 of 2"):
        validated = validate(pl.DataFrame({"a": [0, 1]}), schema, "x")
    assert validated.report.rejected == 0


def test_durations_can_be_checked() -> None:
    schema = pa.DataFrameSchema({"d": pa.Column(pl.Duration, pa.Check.ge(timedelta(0)))})
    rows = pl.DataFrame({"d": [timedelta(1), timedelta(-1)]})
    assert validate(rows, schema, "x", max_rejected_share=1).report.rejected == 1


def test_columns_declared_by_a_pattern() -> None:
    schema = pa.DataFrameSchema({"^x_.+$": pa.Column(int, pa.Check.gt(0), regex=True)})
    rows = pl.DataFrame({"x_a": [1, 0], "x_b": [0, 0], "y": [0, 0]})
    validated = validate(rows, schema, "x", max_rejected_share=1)
    assert validated.report.broken == {"x_a: greater_than(0)": 1, "x_b: greater_than(0)": 2}


def test_the_schema_itself_is_not_changed() -> None:
    schema = flights()
    validate(frame(), schema, "flights")
    assert schema.columns["flight"].unique
    assert schema.unique == ["carrier", "out"]
    assert len(schema.columns["delay"].checks) == 2


def test_rows_are_never_dropped_even_if_the_schema_says_so() -> None:
    schema = pa.DataFrameSchema({"a": pa.Column(int, pa.Check.gt(0))}, drop_invalid_rows=True)
    validated = validate(pl.DataFrame({"a": [0, 1]}), schema, "x", max_rejected_share=1)
    assert validated.report.rejected == 1


def test_the_environment_cannot_switch_validation_off() -> None:
    with config_context(validation_enabled=False):
        validated = validate(frame(delay=[9999.0, 1.0, 1.0, 1.0]), flights(), "flights", max_rejected_share=1)
    assert validated.report.rejected == 1


def test_a_reason_column_of_the_data_is_not_overwritten() -> None:
    with pytest.raises(DataError, match="has a column 'reason' already"):
        validate(frame(reason=["x"] * 4), flights(), "flights")


rows_of_flights = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.sampled_from(["UA", "B6", "?", None]),
        st.one_of(st.none(), st.floats(-2000, 2000, allow_nan=False)),
        st.one_of(st.none(), st.integers(0, 3)),
    ),
    max_size=20,
)


@settings(max_examples=40)
@given(rows_of_flights)
def test_clean_and_rejected_part_the_rows_in_order(rows: list[tuple[object, ...]]) -> None:
    names = {"flight": pl.Int64, "carrier": pl.String, "delay": pl.Float64, "back": pl.Int64}
    data = pl.DataFrame(rows, schema=names, orient="row").with_columns(
        pl.int_range(pl.len()).alias("row"), pl.lit(1).cast(pl.Int64).alias("out")
    )
    schema = flights()
    schema.unique = None
    validated = validate(data, schema, "flights", max_rejected_share=1)

    sides = [validated.clean, validated.rejected.drop(REASON)]
    assert all(side["row"].is_sorted() for side in sides)
    assert_frame_equal(pl.concat(sides).sort("row"), data)

    numbers = [row[0] for row in rows]
    bad = [
        numbers.count(flight) > 1
        or carrier in ("?", None)
        or (delay is not None and (not -120 <= delay <= 1440 or delay == 13.0))
        or (back is not None and back <= 1)
        for flight, carrier, delay, back in rows
    ]
    assert validated.rejected["row"].to_list() == [number for number, is_bad in enumerate(bad) if is_bad]
    assert (validated.rejected[REASON].str.len_chars() > 0).all()
    assert validate(validated.clean, schema, "flights").report.rejected == 0  # what is clean stays clean
