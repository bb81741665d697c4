"""Metrics: higher is better, and NaN where they mean nothing."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from tidemill.tasks.binary import Binary
from tidemill.tasks.task_names import METRICS

TASK = Binary("roc_auc")


def test_better_scores_are_higher_in_every_metric():
    draw = np.random.default_rng(0)
    truth = draw.integers(0, 2, 2000)
    good = np.clip(0.5 + (truth - 0.5) * 0.6 + draw.normal(0, 0.1, 2000), 0.01, 0.99)
    poor = np.clip(0.5 + (truth - 0.5) * 0.1 + draw.normal(0, 0.1, 2000), 0.01, 0.99)
    better, worse = TASK.evaluate(truth, good), TASK.evaluate(truth, poor)
    assert all(better[name] > worse[name] for name in METRICS["binary"])
    assert better["rows"] == 2000
    assert better["base_rate"] == pytest.approx(truth.mean())


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1]])
def test_labels_of_one_kind_cannot_be_ranked(labels):
    found = TASK.evaluate(labels, np.array([0.2, 0.3, 0.4]))
    assert np.isnan(found["roc_auc"])
    assert np.isnan(found["average_precision"])
    assert found["neg_brier"] < 0
    assert found["neg_log_loss"] < 0


@pytest.mark.parametrize(("labels", "scores"), [([], []), ([0, 1], [0.5, np.nan]), ([0, 1], [0.5, np.inf])])
def test_nothing_can_be_said_of_no_rows_or_broken_scores(labels, scores):
    found = TASK.evaluate(labels, np.array(scores))
    assert all(np.isnan(found[name]) for name in METRICS["binary"])
    assert found["rows"] == len(labels)


def test_months_are_judged_by_themselves():
    frame = pl.DataFrame(
        {
            "at": [datetime(2013, month, n, tzinfo=UTC) for month in (12, 3) for n in (1, 2, 3, 4)],
            "late": [0, 1, 0, 1, 0, 1, 0, 1],
            "score": [0.9, 0.1, 0.8, 0.2, 0.1, 0.9, 0.2, 0.8],
        }
    )
    found = TASK.by_month(frame["at"], frame["late"], frame["score"].to_numpy())
    assert {month: one["roc_auc"] for month, one in found.items()} == {"2013-03": 1.0, "2013-12": 0.0}
    assert list(found) == ["2013-03", "2013-12"]
