"""Labels are 0 and 1, or an error says which others there are, how many, and where."""

import logging
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest

from tests.tidemill.training.small_project import FEATURES, day, make_project
from tidemill.errors import ConfigError, DataError, TrainingError
from tidemill.tasks.binary import Binary
from tidemill.tasks.multiclass import Multiclass
from tidemill.tasks.regression import Regression
from tidemill.tasks.task_choice import Target, guess_task, make_task
from tidemill.training.fitting.split_rows import read_split
from tidemill.training.training_rows import read_labelled

TASK = Binary("roc_auc")


@pytest.fixture
def project(tmp_path):
    return make_project(tmp_path)


def relabel(project, labels):
    rows = pl.read_parquet(project.dataset_path)
    rows.with_columns(labels.alias("late")).write_parquet(project.dataset_path)


@pytest.mark.parametrize(
    "column",
    [
        pl.Series([0, 1, None], dtype=pl.Int64),
        pl.Series([0, 1, None], dtype=pl.UInt8),
        pl.Series([0.0, 1.0, None]),
        pl.Series([0.0, 1.0, float("nan")]),
        pl.Series([False, True, None]),
        pl.Series(["0", "1", None]),
    ],
)
def test_zero_and_one_are_read_in_any_type(column):
    assert TASK.labels(column).values.to_list() == [0, 1, None]


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pl.Series([0, 1, 2, 3, 3]), "3 of 5 labels are not 0 or 1: 3 (2 rows), 2 (1 row)"),
        (pl.Series([0, 1, 256, 257]), "2 of 4 labels"),
        (pl.Series([0.0, 1.0, 0.5]), "0.5 (1 row)"),
        (pl.Series([1, -1]), "-1 (1 row)"),
        (pl.Series([0.0, float("inf")]), "inf (1 row)"),
        (pl.Series(["yes", "no", "1"]), "2 of 3 labels"),
        (pl.Series([*range(20)]), "and 13 more values"),
    ],
)
def test_other_labels_are_counted(column, said):
    with pytest.raises(DataError, match=re.escape(said)) as caught:
        TASK.truth(pl.DataFrame({"late": column}), "late")
    assert "must be 0 or 1" in caught.value.hint


def test_labels_of_more_classes_end_the_training(project):
    relabel(project, pl.int_range(pl.len()) % 4)
    with pytest.raises(DataError, match=r"training_set.parquet, column late: .* of .*: 2 \(.* rows\), 3 \("):
        read_labelled(project, FEATURES, day(100))


def test_labels_that_are_not_known_yet_do_not_matter(project):
    rows = pl.read_parquet(project.dataset_path)
    relabel(project, pl.when(pl.col("label_known_at") > day(100)).then(7).otherwise(pl.col("late")))
    found, empty, *_ = read_labelled(project, FEATURES, day(100))
    assert (found.height, empty) == (rows.filter(pl.col("label_known_at") <= day(100)).height, 0)


def test_rows_without_a_label_are_counted_and_told(project, caplog):
    relabel(project, pl.when(pl.int_range(pl.len()) % 10 == 3).then(None).otherwise(pl.col("late")))
    with caplog.at_level(logging.WARNING):
        split = read_split(project, FEATURES, day(100))
    known = pl.read_parquet(project.dataset_path).filter(pl.col("label_known_at") <= day(100))
    assert split.sizes()["rows_without_label"] == known["late"].null_count() > 0
    assert f"{known['late'].null_count()} rows of the training set left out" in caplog.text


def test_a_training_set_without_any_label_says_so(project):
    relabel(project, pl.lit(None, dtype=pl.Int64))
    with pytest.raises(TrainingError, match=r"no row whose label is known.* rows have null for a label"):
        read_labelled(project, FEATURES, day(100))


def test_rows_without_a_label_of_the_task_are_an_error_where_all_must_have_one():
    with pytest.raises(DataError, match="1 of 3 labels is null"):
        TASK.truth(pl.DataFrame({"late": [0, 1, None]}), "late")
    with pytest.raises(DataError, match="no column late: the columns are delay"):
        TASK.truth(pl.DataFrame({"delay": [1]}), "late")


def test_a_few_wrong_labels_are_set_aside_counted_and_told(project, caplog):
    relabel(project, pl.when(pl.int_range(pl.len()) == 3).then(7).otherwise(pl.col("late")))
    with caplog.at_level(logging.WARNING):
        split = read_split(project, FEATURES, day(100))
    assert split.sizes()["rows_with_wrong_label"] == 1
    assert "1 row of the training set left out, with a label that is not 0 or 1: 7 (1 row)" in caplog.text


@pytest.mark.parametrize(
    "column", [pl.Series(["yes", "no", None]), pl.Series(["yes", "no", None], dtype=pl.Categorical)]
)
def test_text_classes_are_read_by_the_declared_order(column):
    task = Binary("roc_auc", classes=("no", "yes"))
    found = task.labels(column)
    assert found.values.to_list() == [1, 0, None]
    assert task.written(found.values).to_list() == ["yes", "no", None]


def test_numbers_and_their_texts_are_the_same_classes():
    task = Multiclass("accuracy", classes=("1", "2", "10"))
    for column in (pl.Series([1, 2, 10]), pl.Series([1.0, 2.0, 10.0]), pl.Series(["1", "2.0", " 10"])):
        assert task.labels(column).values.to_list() == [0, 1, 2]


def test_labels_survive_being_written():
    task = Multiclass("accuracy", classes=("a", "b", "c"))
    column = pl.Series(["c", "zzz", None, "a"])
    written = task.written(task.labels(column).values)
    assert written.to_list() == ["c", None, None, "a"]
    assert task.labels(written.drop_nulls()).values.to_list() == [2, 0]


BIG = 2**60


@pytest.mark.parametrize(
    ("column", "classes", "numbers"),
    [
        (pl.Series([str(BIG + 2), str(BIG + 1)]), (str(BIG + 1), str(BIG + 2)), [1, 0]),
        (pl.Series(["9" * 30, "1" * 30]), ("1" * 30, "9" * 30), [1, 0]),
        (pl.Series([Decimal("2.00"), Decimal("1.00")]), ("1", "2"), [1, 0]),
        (pl.Series([datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)]), None, [1, 0]),
        (
            pl.Series([date(2024, 1, 2), date(2024, 1, 1)]).cast(pl.Datetime),
            ("2024-01-01", "2024-01-02"),
            [1, 0],
        ),
        (pl.Series([timedelta(2), timedelta(1)]), None, [1, 0]),
        (pl.Series([[2], [1]]), None, [1, 0]),
        (pl.Series(["1.0", "-0", "1", "0"]), ("0", "1"), [1, 0, 1, 0]),
        (pl.Series(["010", "001"]), ("001", "010"), [1, 0]),
    ],
)
def test_guessed_classes_are_read_back_from_any_type(column, classes, numbers):
    kind, guessed = guess_task(column)
    assert kind == "binary"
    assert classes is None or guessed == classes
    task = make_task(Target(classes=guessed), load=str)
    found = task.labels(column)
    assert (found.values.to_list(), found.wrong) == (numbers, {})
    assert task.labels(task.written(found.values)).values.to_list() == numbers


def test_classes_that_params_write_as_text_with_a_point_are_whole_numbers():
    task = make_task(Target("multiclass", classes=("1.0", "2.0", "3")), load=str)
    assert task.labels(pl.Series([1, 2, 3])).values.to_list() == [0, 1, 2]


@pytest.mark.parametrize(("kind", "classes"), [("binary", ("a", "a")), ("multiclass", ("1", "2", "1.0"))])
def test_a_class_declared_twice_is_named(kind, classes):
    with pytest.raises(ConfigError, match=r"names (a|1) more than once"):
        make_task(Target(kind, classes=classes), load=str)


@pytest.mark.parametrize("value", [date(2024, 1, 1), timedelta(1), [1], b"1"])
def test_moments_lists_and_bytes_are_no_numbers(value):
    found = Regression("neg_mae").labels(pl.Series([value]))
    assert (found.values.to_list(), found.wrong_rows) == ([None], 1)
    assert Regression("neg_mae").labels(pl.Series([" 2 ", "1_0"])).values.to_list() == [2.0, None]
