import math

import polars as pl
import pytest

from tidemill.monitoring.drift.drift_columns import (
    OTHER,
    Column,
    ColumnDrift,
    Comparison,
    clean,
    describe,
    judge,
)
from tidemill.monitoring.monitor_config import DataDriftConfig

CONFIG = DataDriftConfig()
MANY = [float(number) for number in range(100)]


def described(before: object, now: object, config: DataDriftConfig = CONFIG) -> Column:
    """Describe column ``a``; None: the side does not have it."""
    old = pl.DataFrame({} if before is None else {"a": before})
    new = pl.DataFrame({} if now is None else {"a": now})
    return describe(*clean(old, new, ["a"]), "a", config)


@pytest.mark.parametrize(
    ("before", "now", "method"),
    [
        (MANY, MANY, "wasserstein"),
        (list(range(100)), MANY, "wasserstein"),
        ([1, 2, 3], MANY, "jensenshannon"),
        ([1.0, 1.0], [1.0, 1.0], "jensenshannon"),
        (["x", "y"], ["y", "z"], "jensenshannon"),
        ([True, False], [True, True], "jensenshannon"),
        (["x"], [1.0], None),
        ([None, None], [1.0, 2.0], None),
        (None, [1.0], None),
        ([1.0], None, None),
    ],
)
def test_the_method_follows_from_the_reference(before: object, now: object, method: str | None):
    assert described(before, now).method == method


@pytest.mark.parametrize(
    ("before", "now", "drifted", "note"),
    [
        (None, [1.0], True, "not in the reference"),
        ([1.0], None, True, "not in the window"),
        (None, None, False, "not in the reference and the window"),
        ([None], [1.0], True, "no value in the reference"),
        ([1.0], [None], True, "no value in the window"),
        ([None], [None], False, "no value in the reference and the window"),
        ([1.0], ["x"], True, "numbers in the reference, text in the window"),
        (MANY, MANY, False, None),
        (MANY, MANY[:50] + [None] * 50, True, "missing: 0.0 % before, 50.0 % now"),
        ([None] * 50 + MANY[:50], MANY, True, "missing: 50.0 % before, 0.0 % now"),
        (MANY, MANY[:95] + [None] * 5, False, None),
    ],
)
def test_what_no_distance_can_say_is_said_in_a_note(
    before: object, now: object, drifted: bool, note: str | None
):
    column = described(before, now)
    assert (column.drifted, column.note) == (drifted, note)


def test_what_is_not_a_finite_number_counts_as_missing():
    column = described([1.0, math.nan, math.inf, None], [1.0, 2.0, 3.0, 4.0])
    assert column.reference_missing == 0.75
    assert column.reference_mean == 1.0
    assert column.current_missing == 0.0


def test_categories_that_the_reference_does_not_know_are_counted_together():
    common = [f"c{number:02d}" for number in range(20) for _ in range(2)]
    old, new = clean(
        pl.DataFrame({"a": [*common, "rare"]}), pl.DataFrame({"a": ["c00", "rare", "new", None]}), ["a"]
    )
    assert old["a"].to_list()[-1] == OTHER
    assert new["a"].to_list() == ["c00", OTHER, OTHER, None]


def test_no_text_can_close_the_reports_script():
    old, new = clean(pl.DataFrame({"a": ["</script>"]}), pl.DataFrame({"a": ["</script>", "<b>"]}), ["a"])
    assert not any("<" in value for value in [*old["a"], *new["a"]])


def test_a_column_may_have_a_threshold_of_its_own():
    config = DataDriftConfig(numerical=0.2, categorical=0.3, thresholds={"a": 0.7})
    assert described(MANY, MANY, config).threshold == 0.7
    assert described(MANY, MANY, DataDriftConfig(numerical=0.2)).threshold == 0.2
    assert described(["x"], ["x"], DataDriftConfig(categorical=0.3)).threshold == 0.3


def test_an_undefined_distance_is_no_drift():
    column = judge(described(MANY, MANY), None)
    assert not column.drifted
    assert column.note == "the distance is undefined"


def test_the_columns_that_moved_furthest_come_first():
    def moved(name: str, value: float | None, threshold: float, drifted: bool) -> ColumnDrift:
        return ColumnDrift(name, "wasserstein", value, threshold, drifted, None, None, 0.0, 0.0, None)

    columns = (
        moved("still", 0.05, 0.1, False),
        moved("far", 0.9, 0.1, True),
        moved("gone", None, 0.1, True),
        moved("near", 0.5, 0.4, True),
    )
    comparison = Comparison(columns, None, 4, 4, 4, 4, 0, 0.0)
    assert comparison.drifted == ("gone", "far", "near")
    assert comparison.share == 0.75
    assert Comparison((), None, 4, 4, 4, 4, 0, 0.0).share == 0.0
