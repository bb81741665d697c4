"""The confidence interval of a gain: equal to scikit-learn's weighted metrics, only quicker."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from tidemill.tasks.binary import Binary
from tidemill.tasks.paired_bootstrap import gain_interval

ORACLES = {
    "roc_auc": roc_auc_score,
    "average_precision": average_precision_score,
    "neg_log_loss": lambda *given, **weights: -log_loss(*given, **weights),
    "neg_brier": lambda *given, **weights: -brier_score_loss(*given, **weights),
}


@pytest.fixture
def sample():
    draw = np.random.default_rng(3)
    truth = draw.integers(0, 2, 700).astype(float)
    scores = np.round(np.clip(0.5 + (truth - 0.5) * 0.2 + draw.normal(0, 0.2, 700), 0.01, 0.99), 2)  # ties
    return truth, scores, draw.integers(0, 4, (20, 700)).astype(float)


@pytest.mark.parametrize("metric", ORACLES)
def test_weighted_metrics_are_scikit_learns(metric, sample):
    truth, scores, weights = sample
    expected = [ORACLES[metric](truth, scores, sample_weight=one) for one in weights]
    assert Binary(metric).measure(metric, truth, scores)(weights) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("metric", ORACLES)
def test_a_better_candidate_has_its_gain_inside(metric, sample):
    truth, scores, _ = sample
    better = np.clip(scores + (truth - 0.5) * 0.2, 0.01, 0.99)
    gain = ORACLES[metric](truth, better) - ORACLES[metric](truth, scores)
    interval = gain_interval(Binary(metric), truth, better, scores, np.arange(700) // 50)
    assert 0 < interval.low < gain < interval.high


def test_the_same_model_gains_nothing(sample):
    truth, scores, _ = sample
    interval = gain_interval(Binary("roc_auc"), truth, scores, scores, np.arange(700))
    assert (interval.low, interval.high) == (0, 0)


def test_the_seed_decides(sample):
    truth, scores, _ = sample
    draws = [
        gain_interval(Binary("roc_auc"), truth, scores, 1 - scores, np.arange(700), seed)
        for seed in (1, 1, 2)
    ]
    assert draws[0] == draws[1] != draws[2]


def test_days_make_it_less_sure_than_rows_when_days_differ():
    draw = np.random.default_rng(5)
    days = np.repeat(np.arange(14), 100)
    truth = draw.integers(0, 2, 1400)
    noise = draw.normal(0, 0.3, 1400)
    champion = truth * 0.3 + noise
    candidate = champion + truth * np.where(days % 2, 0.3, -0.3)  # better on odd days, worse on even ones
    by_day = gain_interval(Binary("roc_auc"), truth, candidate, champion, days)
    by_row = gain_interval(Binary("roc_auc"), truth, candidate, champion, np.zeros(1400))
    assert by_day.high - by_day.low > 1.5 * (by_row.high - by_row.low)


def test_nothing_can_be_said_of_nothing():
    assert gain_interval(Binary("roc_auc"), [], np.empty(0), np.empty(0), []) is None
    assert (
        gain_interval(Binary("roc_auc"), [1, 1], np.array([0.1, 0.2]), np.array([0.3, 0.4]), [1, 2]) is None
    )
