import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.monitoring.drift.drift_columns import ColumnDrift, compare_column
from tidemill.monitoring.drift.quiet_columns import quiet_column, quiet_columns
from tidemill.monitoring.kind_sections import DataDriftConfig
from tidemill.prediction_log.reading.window_sketch import ColumnSketch, WindowSketch
from tidemill.prediction_log.storage.part_sketches import sketch_of

CONFIG = DataDriftConfig()
DRAWN = {
    "normal": lambda draw, rows: draw.normal(0, 1, rows),
    "far from zero": lambda draw, rows: 1e9 + draw.normal(0, 1e-3, rows),
    "far tails": lambda draw, rows: np.exp(2 * draw.normal(0, 1, rows)),
    "both signs and zeros": lambda draw, rows: np.where(
        draw.random(rows) < 0.4, 0, draw.standard_cauchy(rows)
    ),
    "counts": lambda draw, rows: np.round(4 * draw.normal(0, 1, rows)),
    "few": lambda draw, rows: draw.integers(0, 3, rows) / 3,
    "mostly one": lambda draw, rows: np.where(draw.random(rows) < 0.01, 5.0, 1.0),
    "text": lambda draw, rows: np.minimum(draw.zipf(1.5, rows), 40).astype(str),
    "much text": lambda draw, rows: draw.integers(0, 3000, rows).astype(str),
    "lists": lambda draw, rows: draw.normal(0, 1, (rows, 3)),
}
"""What a column may be like."""


def column(kind: str, rows: int, seed: int, missing: float = 0.0) -> pl.Series:
    draw = np.random.default_rng(seed)
    values = pl.Series("feature.a", DRAWN[kind](draw, rows).tolist())
    return values.zip_with(
        pl.Series(draw.random(rows) >= missing), pl.Series([None] * rows, dtype=values.dtype)
    )


def sketched(now: pl.Series, parts: int, version: list[str] | None = None) -> WindowSketch:
    """Return the sketch of rows that lie in some parts."""
    rows = pl.DataFrame({"version": version or ["1"] * len(now), "feature.a": now}).with_columns(test=False)
    size = -(-len(now) // parts)
    return WindowSketch(pl.concat([sketch_of(part) for part in rows.iter_slices(size)]))


def in_column(sketch: WindowSketch, own: str = "1") -> ColumnSketch:
    found = sketch.column("feature.a", own)
    assert found is not None
    return found


def assert_agrees(quiet: ColumnDrift, rows: ColumnDrift, error: float) -> None:
    """A column that the sketch clears is as it is by rows, but for the distance, known up to an error."""
    assert (rows.drifted, rows.broken, rows.note) == (False, None, None)
    assert quiet.value == pytest.approx(rows.value, abs=error + 1e-9)
    for name in ("method", "threshold", "reference_mean", "reference_missing", "current_missing"):
        assert getattr(quiet, name) == getattr(rows, name), name
    means = [0.0 if each.current_mean is None else each.current_mean for each in (quiet, rows)]
    assert means[0] == pytest.approx(means[1], rel=1e-9, abs=1e-9)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    kinds=st.one_of(
        st.sampled_from(sorted(DRAWN)).map(lambda kind: (kind, kind)),
        st.tuples(st.sampled_from(sorted(DRAWN)), st.sampled_from(sorted(DRAWN))),
    ),
    rows=st.tuples(st.integers(1, 2500), st.integers(1, 4000)),
    parts=st.integers(1, 4),
    moved=st.sampled_from([0.0, 0.0, 0.05, 0.1, 0.5, 20.0]),
    times=st.sampled_from([1.0, 1.0, 1.1, 10.0, -1.0]),
    missing=st.tuples(*[st.sampled_from([0.0, 0.05, 0.14, 0.16, 1.0])] * 2),
    seed=st.integers(0, 1000),
)
def test_what_a_sketch_clears_has_not_drifted_by_rows(kinds, rows, parts, moved, times, missing, seed):
    before = column(kinds[0], rows[0], seed, missing[0])
    now = column(kinds[1], rows[1], seed + 1, missing[1])
    if now.dtype == pl.Float64:
        now = now * times + moved * (now.std() or 1.0)
    there = in_column(sketched(now, parts))
    quiet = quiet_column("a", before, there, CONFIG)
    if quiet is not None:
        spread = before.std(ddof=0) if before.dtype == pl.Float64 else 0
        error = there.spread / there.rows / (1 - quiet.current_missing) / spread if spread else 0.0
        assert_agrees(quiet, compare_column("a", before, now, CONFIG), error)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("normal", 0.01),
        ("far tails", 0.01),
        ("counts", 0.0),
        ("few", 0.0),
        ("mostly one", 0.0),
        ("text", 0.0),
    ],
)
def test_a_stationary_column_is_cleared_and_a_moved_one_is_not(kind: str, error: float):
    before, now = column(kind, 8000, 1, 0.1), column(kind, 30_000, 2, 0.1)
    quiet = quiet_column("a", before, in_column(sketched(now, 3)), CONFIG)
    assert quiet is not None
    assert_agrees(quiet, compare_column("a", before, now, CONFIG), error)
    gone = now.to_frame().select(pl.when(pl.int_range(pl.len()) % 4 > 0).then(pl.col(now.name))).to_series()
    other = now + "x" if now.dtype == pl.String else now + now.std()
    for far in (gone, other, now[:1].new_from_index(0, 30_000)):
        assert quiet_column("a", before, in_column(sketched(far, 3)), CONFIG) is None


def test_a_distance_that_may_reach_the_threshold_is_left_to_the_rows():
    before, now = column("normal", 8000, 1), in_column(sketched(column("normal", 30_000, 2), 3))
    quiet = quiet_column("a", before, now, CONFIG)
    assert quiet is not None
    assert quiet.value is not None
    error = now.spread / now.rows / before.std(ddof=0)
    assert 0 < error < 0.01
    for share, cleared in ((0.9, False), (1.1, True)):
        config = DataDriftConfig(numerical=quiet.value + share * error)
        assert (quiet_column("a", before, now, config) is not None) == cleared


def test_what_cannot_be_counted_is_left_to_the_rows():
    for kind in ("much text", "lists"):
        same = column(kind, 5000, 1)
        assert quiet_column("a", same, in_column(sketched(same, 1)), CONFIG) is None
    both = WindowSketch(pl.concat([sketched(column(kind, 50, 1), 1)._table for kind in ("text", "few")]))
    for kind in ("text", "few"):
        assert quiet_column("a", column(kind, 500, 1), in_column(both), CONFIG) is None


def test_rows_of_a_version_without_the_feature_do_not_count_as_missing():
    now = column("normal", 1000, 2)
    gone = pl.Series("feature.a", [None] * 1000, pl.Float64)
    versions = ["1"] * 1000 + ["2"] * 1000
    reference = column("normal", 5000, 1).alias("a").to_frame()
    for own, cleared in (("1", {"a"}), ("2", set())):
        sketch = sketched(pl.concat([now, gone]), 3, versions)
        assert sketch.rows_by_version == {"1": 1000, "2": 1000}
        assert quiet_columns(reference, sketch, own, CONFIG).keys() == cleared
    assert quiet_columns(reference.select(b="a"), sketch, "1", CONFIG) == {}
