"""A model is compared with one answer for all rows, by the task's own metric."""

import numpy as np
import pytest

from tidemill.registry.gates.constant_answer import worse_than_constant
from tidemill.tasks.binary import Binary
from tidemill.tasks.multiclass import Multiclass
from tidemill.tasks.regression import Regression

CLASSES = np.array([0, 1, 1, 0, 1, 1])
SEVERAL = Multiclass("neg_log_loss", classes=("a", "b"))


@pytest.mark.parametrize(
    ("task", "truth", "metrics", "says"),
    [
        (
            Regression("neg_mae"),
            np.array([0.0, 0, 6]),
            {"neg_mae": -3.0, "r2": 0.1},
            ["mae 3.0000 against 2.6667"],
        ),
        (
            Regression("neg_mae"),
            np.array([0.0, 0, 6]),
            {"neg_mae": -1.0, "r2": -0.1},
            ["r2 -0.1000 against 0.0000"],
        ),
        (Regression("neg_mae"), np.array([0.0, 0, 6]), {"neg_mae": -1.0, "r2": 0.8}, []),
        (Regression("neg_mae"), np.array([0.0, 0, 6]), {"neg_mae": float("nan")}, []),
        (Binary("roc_auc"), CLASSES, {"roc_auc": 0.4}, ["roc_auc 0.4000 against 0.5000"]),
        (Binary("neg_log_loss"), CLASSES, {"neg_log_loss": -0.7}, ["log_loss 0.7000 against 0.6365"]),
        (Binary("roc_auc"), CLASSES, {"roc_auc": 0.6}, []),
        (SEVERAL, CLASSES, {"neg_log_loss": -0.7}, ["log_loss 0.7000 against 0.6365"]),
        (SEVERAL, CLASSES, {"neg_log_loss": -0.6}, []),
    ],
)
def test_what_is_worse_than_a_constant_is_said(task, truth, metrics, says):
    found = worse_than_constant(task, truth, metrics, "2")
    assert len(found) == len(says)
    assert all(one in text for one, text in zip(says, found, strict=True))
