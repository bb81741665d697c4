"""Declared expectations: every mistake is named with its place, every row lands on exactly one side."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tidemill.data.expectations.declarations import load_expectations, parse_expectations
from tidemill.data.expectations.rules import Expectations
from tidemill.data.validation.in_memory import validate_frames
from tidemill.errors import ConfigError

AS_OF = datetime(2013, 4, 1, tzinfo=UTC)
FILE = Path("expectations.yaml")


def declare(**rules):
    return Expectations.model_validate({"datasets": {"set": {"source": "set.parquet", **rules}}})


def part(frame, as_of=None, **rules):
    return validate_frames({"set": frame}, declare(**rules), as_of)["set"]


def naive(month, day):
    return datetime(2013, month, day, tzinfo=UTC).replace(tzinfo=None)


def outcomes(parted):
    return {check.check: check.outcome for check in parted.report.checks}


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("datasets: {a: {sorce: x}}", "datasets.a.sorce", "no such field"),
        (
            "datasets: {a: {source: x, columns: {c: {min: .nan}}}}",
            "datasets.a.columns.c.min",
            "finite number, not nan",
        ),
        (
            "datasets: {a: {source: x, columns: {c: {in: [1, .inf]}}}}",
            "columns.c.in.1",
            "finite number, not inf",
        ),
        (
            "datasets: {a: {source: x, columns: {c: {max: [1]}}}}",
            "columns.c.max",
            "a number, a text, a moment",
        ),
        ("datasets: {a: {source: x, volume: {change: .inf}}}", "a.volume.change", "finite number, not inf"),
        ("datasets: {a: {mode: stop}}", "datasets.a.source", "is missing"),
        ("datasets: {a: {source: x, mode: halt}}", "datasets.a.mode", "'off', 'warn' or 'stop'"),
        ("datasets: {a: {source: x, max_rejected: 2}}", "datasets.a.max_rejected", "less than or equal"),
        ("datasets: {a: {source: x, columns: {b: {type: text}}}}", "datasets.a.columns.b", "is not a type"),
        (
            "datasets: {a: {source: x, columns: {b: {regex: '[A-'}}}}",
            "datasets.a.columns.b.regex",
            "not a regular expression",
        ),
        (
            "datasets: {a: {source: x, columns: {b: {type: int8, min: a}}}}",
            "datasets.a.columns.b",
            "cannot be compared",
        ),
        (
            "datasets: {a: {source: x, columns: {b: {type: string, in: [NO, SE]}}}}",
            "datasets.a.columns.b",
            "write it in quotes",
        ),
        (
            "datasets: {a: {source: x, columns: {b: {min: 2, max: 1}}}}",
            "datasets.a.columns.b",
            "greater than",
        ),
        (
            "datasets: {a: {source: x, columns: {b: {type: int8, regex: x}}}}",
            "datasets.a.columns.b",
            "for strings",
        ),
        (
            "datasets: {a: {source: x, rules: {late: 'b <'}}}",
            "datasets.a.rules.late",
            "not an SQL expression",
        ),
        (
            "datasets: {a: {source: x, strict: true, columns: {b: {}}, rules: {late: c > 1}}}",
            "datasets.a.rules.late",
            "no column 'c'",
        ),
        (
            "datasets: {a: {source: x, strict: true, columns: {b: {}}, unique: [c]}}",
            "datasets.a.unique.0",
            "no column 'c'",
        ),
        (
            "datasets: {a: {source: x, references: [{columns: b, to: c}]}}",
            "datasets.a.references.0.to",
            "no data set 'c'",
        ),
        (
            "datasets: {a: {source: x, freshness: {column: b, max_age: week}}}",
            "datasets.a.freshness.max_age",
            "not a duration",
        ),
        (
            "datasets: {a: {source: x, bias: {label: b, groups: [{column: c, edges: [2, 1]}]}}}",
            "datasets.a.bias.groups.0",
            "ascend",
        ),
        ("datasets: {a: {source: x, accepted: x}}", "datasets.a.accepted", "already"),
        (
            "datasets: {a: {source: x, schema: nothing}}",
            "datasets.a.schema",
            "must name a module and a function",
        ),
        ("datasets: {a: {source: x}, a: {source: y}}", "'a' stands twice", "line 1"),
        ("datasets: [a]", "datasets", "must be a mapping, not a list"),
        ("datasets: {a", "cannot be read", "line"),
    ],
)
def test_a_mistake_is_named_with_file_data_set_and_field(text, where, what):
    with pytest.raises(ConfigError) as caught:
        parse_expectations(text, Path("/project/expectations.yaml"))
    message = str(caught.value)
    assert message.startswith("/project/expectations.yaml ")
    assert where in message
    assert what in message


def test_all_mistakes_are_told_at_once():
    with pytest.raises(ConfigError, match=r"datasets\.a\.source.*datasets\.b\.mode"):
        parse_expectations("datasets: {a: {}, b: {source: x, mode: maybe}}", FILE)


def test_off_is_a_mode_though_yaml_reads_it_as_false():
    assert parse_expectations("datasets: {a: {source: x, mode: off}}", FILE).datasets["a"].mode == "off"


def test_without_the_file_nothing_is_expected(tmp_path):
    assert load_expectations(tmp_path).datasets == {}


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        ({"rules": {"r": "c > 1"}}, "rules.r: neither the declaration nor the file has a column 'c'"),
        ({"rules": {"r": "a + 1"}}, "not true or false"),
        ({"rules": {"r": "sum(a) > 1"}}, "about the data set as a whole"),
        ({"rules": {"r": "b > 1 AND a LIKE 'x'"}}, "cannot be computed"),
        ({"freshness": {"column": "a", "max_age": "1d"}}, "not a date or a moment"),
        ({"columns": {"a": {"min": "x"}}}, "cannot be compared"),
    ],
)
def test_what_makes_no_sense_for_the_columns_is_named(rules, problem):
    with pytest.raises(ConfigError) as caught:
        part(pl.DataFrame({"a": [1], "b": ["x"]}), **rules)
    assert problem in str(caught.value)


def test_the_structure_is_told_at_once_and_what_can_be_checked_is():
    found = part(
        pl.DataFrame({"a": ["x"], "b": [-1], "d": [1]}),
        strict=True,
        columns={"a": {"type": "int64"}, "b": {"type": "int64", "min": 0}, "c": {}},
        rules={"a before b": "a < b"},
    )
    assert [check.check for check in found.report.failed] == [
        "column 'a' must be int64, but is string",
        "column 'c' (any type) is missing",
        "column 'd' is not declared",
        "share of bad rows",
    ]
    assert outcomes(found)["a before b"] == "skipped"
    assert found.rejected["reason"].to_list() == ["b: greater_than_or_equal_to(0)"]


def test_every_kind_of_column_rule():
    frame = pl.DataFrame(
        {
            "word": ["abc", "ABC", "abcd", None],
            "day": [date(2013, 1, 1), date(2012, 1, 1), date(2013, 1, 2), date(2013, 1, 3)],
            "at": [naive(1, n) for n in (1, 2, 3, 4)],
            "wait": [timedelta(hours=n) for n in (1, 2, 3, 50)],
            "x": [1.0, float("nan"), 2.0, None],
            "code": pl.Series(["p", "q", "p", "q"], dtype=pl.Categorical),
            "size": pl.Series([1, 2, 1, 3], dtype=pl.Int8),
        }
    )
    found = part(
        frame,
        max_rejected=1,
        columns={
            "word": {"type": "string", "regex": "[a-z]+", "max_length": 3, "nullable": True},
            "day": {"type": "date", "min": date(2013, 1, 1)},
            "at": {"type": "datetime[us]", "max": datetime(2013, 1, 3, 12, tzinfo=UTC)},
            "wait": {"type": "duration", "min": 0, "max": "2d"},
            "x": {"type": "float64", "nullable": True, "max": 1.5},
            "code": {"type": "categorical", "in": ["p"]},
            "size": {"type": "int8", "in": [1, 2]},
        },
    )
    assert found.rejected["reason"].to_list() == [
        "word: str_matches('[a-z]+'); day: greater_than_or_equal_to(2013-01-01); code: isin('p')",
        "word: str_length(None, 3); x: less_than_or_equal_to(1.5)",
        "at: less_than_or_equal_to(2013-01-03 12:00:00); wait: in_range(0:00:00, 2 days, 0:00:00); "
        "code: isin('p'); size: isin(1, 2)",
    ]
    assert_frame_equal(found.rejected.drop("reason"), frame[1:])


def test_an_alternative_in_a_regex_must_match_the_whole_value_too():
    found = part(pl.DataFrame({"a": ["x", "y", "xx", "zy"]}), max_rejected=1, columns={"a": {"regex": "x|y"}})
    assert found.accepted["a"].to_list() == ["x", "y"]


def test_what_cannot_be_brought_into_its_type_fails_and_stays_as_it_was():
    frame = pl.DataFrame(
        {
            "n": ["1", "one", None, " 4"],
            "x": [1.0, 1.5, 2.0, 3.0],
            "at": ["2013-01-01T00:00:00Z", "?", None, ""],
        }
    )
    columns = {
        "n": {"type": "int32"},
        "x": {"type": "int8"},
        "at": {"type": "datetime[us, UTC]", "nullable": True},
    }
    number, moment = "cannot be read as a whole number", "cannot be read as a moment (datetime[us, UTC])"
    found = part(frame, max_rejected=1, coerce=True, columns=columns)
    assert found.accepted.rows() == [(1, 1, datetime(2013, 1, 1, tzinfo=UTC))]
    assert found.rejected.rows() == [
        ("one", 1.5, "?", f"n: {number} (int32); x: {number} (int8); at: {moment}"),
        (None, 2.0, None, "n: not null"),
        (" 4", 3.0, "", f"at: {moment}"),
    ]


def test_rows_that_nothing_leads_to():
    planes = pl.DataFrame({"tail": ["N1", "N2"], "size": [1, 1]})
    flights = pl.DataFrame({"plane": ["N1", "N9", None, "N2"]})
    reference = {"columns": "plane", "to": "planes", "keys": "tail"}

    def flights_part(**more):
        declared = Expectations.model_validate(
            {
                "datasets": {
                    "planes": {"source": "planes.parquet"},
                    "flights": {
                        "source": "f.parquet",
                        "max_rejected": 1,
                        "references": [{**reference, **more}],
                    },
                }
            }
        )
        return validate_frames({"planes": planes, "flights": flights}, declared)["flights"]

    each = flights_part()
    assert each.rejected.rows() == [("N9", "plane: in planes (tail)")]
    kept = flights_part(max_orphans=0.25)
    assert kept.accepted.height == 4
    assert not kept.report.failed
    [failed] = flights_part(max_orphans=0.2).report.failed
    assert failed.observed == {"orphans": 1, "share": 0.25, "max_orphans": 0.2}
    [failed] = flights_part(keys="size").report.failed
    assert "plane (string) cannot be compared with planes.size (int64)" in failed.detail


def test_freshness_is_judged_in_event_time_and_the_future_is_set_aside():
    frame = pl.DataFrame({"at": [naive(3, 20), naive(3, 30), naive(5, 1), None]})
    rules = {"max_rejected": 1, "freshness": {"column": "at", "max_age": "3d"}}
    found = part(frame, AS_OF, **rules)
    assert found.rejected["reason"].to_list() == ["at: not after data.as_of"]
    assert not found.report.failed
    [stale] = part(frame, AS_OF + timedelta(days=2), **rules).report.failed
    assert stale.observed["age_days"] == 4  # the value from the future does not hide it
    assert part(
        frame, AS_OF, max_rejected=1, freshness=rules["freshness"] | {"ahead": "31d"}
    ).rejected.is_empty()
    assert outcomes(part(frame, None, **rules))["at: at most 3 days, 0:00:00 old"] == "skipped"


@pytest.mark.parametrize(("rows", "failed"), [(0, True), (1, False), (3, False), (4, True)])
def test_volume_has_absolute_limits(rows, failed):
    found = part(pl.DataFrame({"a": range(rows)}), volume={"min": 1, "max": 3})
    assert bool(found.report.failed) is failed


def test_the_modes():
    frame = pl.DataFrame({"a": [1, -1, 2, 3]})
    rules = {"columns": {"a": {"min": 0}}, "max_rejected": 0.1}
    stop = part(frame, mode="stop", **rules)
    assert (stop.accepted["a"].to_list(), stop.rejected["a"].to_list()) == ([1, 2, 3], [-1])
    assert stop.report.stops
    warn = part(frame, mode="warn", **rules)
    assert_frame_equal(warn.accepted, frame)
    assert warn.rejected.is_empty()
    assert (warn.report.failing, warn.report.rejected, warn.report.stops) == (1, 0, False)
    assert [check.check for check in warn.report.failed] == ["share of bad rows"]
    off = part(frame, mode="off", **rules)
    assert_frame_equal(off.accepted, frame)
    assert off.report.as_dict() == {
        "mode": "off", "passed": True, "source": "set.parquet", "rows": 4, "accepted": 4, "rejected": 0,
        "failing": 0, "rejected_share": 0.0, "broken": {}, "checks": [],
    }  # fmt: skip


def test_a_reason_column_of_the_data_is_not_overwritten():
    found = part(pl.DataFrame({"reason": [1, -1]}), max_rejected=1, columns={"reason": {"min": 0}})
    assert found.rejected.rows() == [(-1, "reason: greater_than_or_equal_to(0)")]
    assert found.rejected.columns == ["reason", "reason_"]


values = st.lists(
    st.tuples(
        st.one_of(st.none(), st.integers(-3, 12)),
        st.one_of(st.none(), st.sampled_from(["UA", "B6", "?", ""])),
        st.one_of(st.none(), st.floats(-5, 5), st.just(float("nan"))),
        st.integers(0, 3),
    ),
    max_size=25,
)


@pytest.mark.slow
@settings(max_examples=40)
@given(values, st.integers(1, 7))
def test_every_row_is_accepted_xor_rejected_with_every_rule_that_it_breaks(rows, batch):
    schema = {"n": pl.Int64, "code": pl.String, "x": pl.Float64, "key": pl.Int64}
    frame = pl.DataFrame(rows, schema=schema, orient="row").with_row_index("row")
    rules = {
        "max_rejected": 1,
        "columns": {
            "n": {"type": "int64", "min": 0, "max": 10},
            "code": {"type": "string", "nullable": True, "regex": "[A-Z0-9]{2}"},
            "x": {"type": "float64", "nullable": True, "min": -4},
        },
        "unique": ["key"],
        "rules": {"n exceeds x": "n > x"},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tidemill.data.tables.frames.batches.__defaults__", (batch,))
        found = part(frame, **rules)

    keys = [row[3] for row in rows]
    expected = []
    for n, code, x, key in rows:
        known = x is not None and x == x
        expected.append(
            {
                "n: not null": n is None,
                "n: in_range(0, 10)": n is not None and not 0 <= n <= 10,
                "code: str_matches('[A-Z0-9]{2}')": code not in (None, "UA", "B6"),
                "x: greater_than_or_equal_to(-4)": known and x < -4,
                "key: unique": keys.count(key) > 1,
                "n exceeds x": n is not None and known and not n > x,
            }
        )
    reasons = [{rule for rule, broken in row.items() if broken} for row in expected]
    assert found.accepted["row"].to_list() == [n for n, broken in enumerate(reasons) if not broken]
    assert found.rejected["row"].to_list() == [n for n, broken in enumerate(reasons) if broken]
    assert [set(text.split("; ")) for text in found.rejected["reason"]] == [r for r in reasons if r]
    counted = {rule: sum(row[rule] for row in expected) for rule in (expected[0] if expected else ())}
    assert found.report.broken == {rule: count for rule, count in counted.items() if count}
    sides = pl.concat([found.accepted, found.rejected.drop("reason")]).sort("row")
    assert_frame_equal(sides, frame)
