"""A column of any name is that column and no other one."""

from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tidemill.data.expectations.rules import Expectations
from tidemill.data.labels.label_rules import resolve_labels
from tidemill.data.labels.labels_as_of import join_labels
from tidemill.data.tables.column_names import literal_name, literal_names
from tidemill.data.tables.frames import open_table
from tidemill.data.tables.version_tables import describe
from tidemill.data.validation.in_memory import validate_frames
from tidemill.data.validation.inference import infer
from tidemill.data.versioning.row_differences import compare_rows
from tidemill.errors import ConfigError

ODD = [
    "^a$",
    "*",
    "^.*$",
    "^",
    "$",
    "^$",
    "",
    " ",
    "a",
    "a$",
    "^a",
    "^^a$$",
    "^(a|b)$",
    "^ü [é]\\n\n$",
    "a*",
    "^\0$",
]
NAMES = st.lists(
    st.sampled_from(ODD) | st.text(max_size=8) | st.text(max_size=8).map(lambda inner: f"^{inner}$"),
    min_size=1,
    max_size=8,
    unique=True,
)


@given(NAMES, st.data())
def test_a_name_chooses_its_own_column_everywhere(names, data):
    frame = pl.DataFrame({name: [number, -number] for number, name in enumerate(names, 1)})
    chosen = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    literal = literal_names(chosen)
    assert_frame_equal(frame.select(literal), frame[chosen])
    assert_frame_equal(frame.lazy().select(pl.col(name) + 1 for name in literal).collect(), frame[chosen] + 1)
    assert frame.select(pl.struct(literal).alias("all")).schema["all"] == pl.Struct(frame[chosen].schema)
    assert frame.drop(literal).columns == [name for name in names if name not in chosen]
    assert frame.group_by(literal).agg(pl.len().alias("_n")).columns == [*chosen, "_n"]
    assert frame.join(frame, on=literal, how="semi").height == 2
    assert frame.sort(literal)[chosen[0]].to_list() == sorted(frame[chosen[0]])
    first = literal_name(chosen[0])
    assert frame.select(pl.len().over(first).alias("_n"))["_n"].to_list() == [1, 1]
    assert frame.filter(pl.col(first) > 0).height == 1


PAIRS = [("^x$", "x"), ("x", "^x$"), ("*", "x"), ("x", "*"), ("^.*$", "^$"), ("^$", "^.*$")]
"""Names of a key and of another column, so that each is a pattern of the other."""
DAYS = [datetime(2013, 4, day, tzinfo=UTC) for day in (1, 2, 3)]


@pytest.fixture(params=PAIRS, ids=" ".join)
def pair(request):
    return request.param


def test_values_of_a_column_are_described_and_inferred(tmp_path, pair):
    key, other = pair
    frame = pl.DataFrame({key: range(60), other: ["a", "b", None] * 20})
    stats = {one.name: one for one in describe(frame.lazy()).columns}
    assert (stats[key].nulls, stats[other].nulls) == (0, 20)
    frame.write_parquet(tmp_path / "rows.parquet")
    text = infer(tmp_path / "rows.parquet", "rows", "rows.parquet").text
    for name, rule in ((key, "unique: true"), (other, "nullable: true")):
        declared = name == "x"  # pandera takes the others for patterns
        assert text.count(rule) == declared
        assert (f"# {name} is not declared" in text) != declared


def test_digits_with_zeros_ahead_stay_text(tmp_path, pair):
    key, other = pair
    pl.DataFrame({key: ["007", "008"], other: ["1", "2"]}).write_csv(tmp_path / "rows.csv")
    assert open_table(tmp_path / "rows.csv").collect_schema() == {key: pl.String, other: pl.Int64}


def test_what_pandera_would_misread_is_refused(pair):
    key, other = pair
    columns = {key: {"unique": True, "min": 0}, other: {"in": ["a", "b"], "nullable": True}}
    declared = Expectations.model_validate(
        {"datasets": {"rows": {"source": "rows.parquet", "max_rejected": 1.0, "columns": columns}}}
    )
    frame = pl.DataFrame({key: [1, 2, 2, -4], other: ["a", "c", None, "b"]})
    with pytest.raises(ConfigError, match="pandera takes this name for a pattern"):
        validate_frames({"rows": frame}, declared)


def test_rows_are_compared_by_key(tmp_path, pair):
    key, other = pair
    before = pl.LazyFrame({key: [1, 2, 3], other: [1, 1, 1]})
    after = pl.LazyFrame({key: [2, 3, 4], other: [1, 5, 5]})
    counts = compare_rows(before, after, [key], "rows", tmp_path)
    assert (counts.added, counts.removed, counts.changed) == (1, 1, 1)


def test_labels_are_chosen_and_joined_by_key(pair):
    key, other = pair
    annotations = pl.DataFrame(
        {
            key: [7, 7, 8],
            "label": ["late", "on time", "late"],
            "labelled_at": DAYS,
            "annotator": ["ann"] * 3,
            "source": ["table"] * 3,
        }
    )
    resolved = resolve_labels(annotations, [key])
    assert resolved.labels.select(literal_name(key), "label").rows() == [(7, "on time"), (8, "late")]
    assert (resolved.repeated, resolved.contradicted) == (1, 1)
    rows = pl.DataFrame({other: [1, 2], key: [8, 7], "at": DAYS[1:]})
    assert join_labels(rows, resolved.labels, [key], DAYS[2])["label"].to_list() == ["late", "on time"]
    assert join_labels(rows, resolved.labels, [key], "at")["label"].to_list() == [None, "on time"]
