"""A label that a client sends means what the same value in a column means."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from tidemill.tasks.answer_fields import sendable
from tidemill.tasks.binary import Binary
from tidemill.tasks.custom import Custom
from tidemill.tasks.multiclass import Multiclass
from tidemill.tasks.regression import Regression

TWO, NAMED = Binary("roc_auc"), Binary("roc_auc", classes=("no", "yes"))
NUMBERED = Multiclass("accuracy", classes=("1", "2", "10"))
TRUTHS = Binary("roc_auc", classes=("False", "True"))
MIXED = Multiclass("accuracy", classes=("true", "True", "other"))
VALUES = [
    0,
    1,
    2,
    10,
    -1,
    1.0,
    2.5,
    True,
    False,
    "1",
    " 1 ",
    "1.0",
    "01",
    "true",
    "True",
    "yes",
    "no",
    "Yes",
    "",
    "2.0",
    "TRUE",
    Decimal("1.0"),
    Decimal("0.5"),
    date(2013, 4, 1),
]


@pytest.mark.parametrize("task", [TWO, NAMED, NUMBERED, TRUTHS, MIXED], ids=lambda task: task.meant)
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_classes_mean_the_same_as_in_a_column(task, value):
    (expected,) = task.labels(pl.Series([value])).values
    if expected is None:
        with pytest.raises(ValueError, match="must be " + task.meant):
            task.label_given(value)
    elif isinstance(task, Multiclass):
        assert task.label_given(value) == (None, task.classes[expected])
    else:
        assert task.label_given(value) == (expected, None)


@pytest.mark.parametrize(
    "value", [None, [1], {"a": 1}, float("nan"), float("inf"), "", "many", True, 10**400]
)
def test_a_number_to_predict_is_a_finite_number(value):
    with pytest.raises(ValueError, match="must be a finite number"):
        Regression("neg_mae").label_given(value)


@pytest.mark.parametrize("value", [3, -0.1, 1 / 3, 1e-300, "12.50", 2**60])
def test_numbers_read_back_the_same(value):
    label, target = Regression("neg_mae").label_given(value)
    assert label is None
    assert float(target) == float(value)


@pytest.mark.parametrize("value", [False, 1, "é", ["a", {"b": None}]])
def test_a_custom_label_is_any_json(value):
    label, target = Custom("m:f").label_given(value)
    assert label is None
    assert json.loads(target) == value
    with pytest.raises(ValueError, match="JSON"):
        Custom("m:f").label_given([float("nan")])
    with pytest.raises(ValueError, match="must be a JSON value"):
        Custom("m:f").label_given({"half": "\ud800"})


@pytest.mark.parametrize("task", [TWO, NAMED, NUMBERED], ids=["two", "named", "numbered"])
def test_text_of_many_digits_is_no_label_of_these_classes(task):
    with pytest.raises(ValueError, match="must be " + task.meant):
        task.label_given("1" * 5000)


@pytest.mark.parametrize("value", ["1_0", "１"])
def test_only_plain_digits_are_numbers(value):
    with pytest.raises(ValueError, match="must be a finite number"):
        Regression("neg_mae").label_given(value)


def test_names_that_only_look_like_numbers_stay_text_in_schemas():
    assert sendable(["--1", "-", "-0", "007", "-5"]) == ["--1", "-", "-0", "007", "-5", -5]


def test_a_metric_of_the_projects_own_gets_numbers_of_classes_from_logs_too():
    def picked(truth, answers):
        return answers[np.arange(len(truth)), truth].mean()

    task = Multiclass("m:picked", classes=("a", "b"), own={"m:picked": picked})
    answers = np.array([[0.25, 0.75], [1.0, 0.0]])
    for truth in (np.array([1, 0], np.int32), np.array([1.0, 0.0])):
        assert task.measure("m:picked", truth, answers)(np.ones((1, 2)))[0] == 0.875


def test_custom_labels_that_are_dates_are_the_same_text_in_training_and_in_the_log():
    task = Custom("m:f")
    day, moment = date(2024, 2, 29), datetime(2024, 2, 29, 8, tzinfo=UTC)
    for column, text in (
        (pl.Series("y", [day]), "2024-02-29"),
        (pl.Series("y", [moment]), "2024-02-29T08:00:00+00:00"),
        (pl.Series("y", [moment.replace(tzinfo=None)]), "2024-02-29T08:00:00+00:00"),
        (pl.Series("y", [[day]]), ["2024-02-29"]),
        (pl.Series("y", [{"due": day}]), {"due": "2024-02-29"}),
    ):
        assert task.truth(column.to_frame(), "y").tolist() == [text]
        _, target = task.label_given(column[0].to_list() if column.dtype == pl.List else column[0])
        assert task.truth_of_log(pl.DataFrame({"label": [None], "target": [target]})).tolist() == [text]
        assert task.label_given(text) == (None, target)
