"""Differences between groups of answers: right on average, as sure as they say, and honest about keys."""

from functools import partial

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tidemill.monitoring.quality.label_draws import calibrated
from tidemill.rollouts.group_differences import Arm, expected, mean, metric, paired, ratio_mismatch
from tidemill.tasks.binary import Binary


def keyed(rng, keys, each, level=0.0, spread=0.2):
    """Answers whose keys have a level of their own: those of one key are alike."""
    key = np.repeat(np.arange(keys), each)
    scores = np.clip(0.5 + level + rng.normal(0, spread, keys)[key] + rng.normal(0, 0.05, keys * each), 0, 1)
    labels = (rng.random(keys * each) < scores).astype(np.float64)
    return Arm(scores, key, labels)


def test_an_interval_of_a_mean_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(300):
        found = mean("score", keyed(rng, 60, 20, spread=0.1), keyed(rng, 80, 10, spread=0.1))
        covered += found.low <= 0 <= found.high
    assert 0.91 <= covered / 300 <= 0.985


def test_answers_of_the_same_keys_do_not_pretend_to_be_more():
    rng = np.random.default_rng(2)
    few, many = keyed(rng, 40, 5), keyed(rng, 40, 500)
    widths = [found.high - found.low for found in (mean("score", few, few), mean("score", many, many))]
    assert widths[1] > 0.6 * widths[0]


def test_a_metric_is_scikit_learns_and_its_interval_covers_the_truth():
    rng = np.random.default_rng(3)
    ours, theirs = keyed(rng, 200, 10), keyed(rng, 200, 10)
    found = metric(Binary("roc_auc"), ours, theirs)
    assert found.ours == pytest.approx(roc_auc_score(ours.labels, ours.scores))
    assert found.theirs == pytest.approx(roc_auc_score(theirs.labels, theirs.scores))
    assert found.low < 0 < found.high
    blind = Arm(rng.random(2000), ours.keys, ours.labels)
    assert metric(Binary("roc_auc"), blind, theirs).high < 0


@pytest.mark.slow
def test_the_expected_metric_is_the_true_one_where_scores_are_calibrated():
    rng = np.random.default_rng(4)
    ours, theirs = keyed(rng, 300, 10, spread=0.25), keyed(rng, 300, 10, spread=0.05)
    guess, truth = expected(Binary("roc_auc"), ours, theirs), metric(Binary("roc_auc"), ours, theirs)
    assert guess.name == "expected roc_auc"
    assert guess.gain == pytest.approx(truth.gain, abs=0.03)
    assert guess.low > 0


@pytest.mark.slow
@pytest.mark.parametrize("metric_name", ["roc_auc", "neg_log_loss"])
def test_scores_that_are_too_close_to_each_other_are_judged_as_what_they_mean(metric_name):
    """A better version with shrunk scores looks worse than a champion whose scores are calibrated."""
    rng, task = np.random.default_rng(7), Binary(metric_name)
    arms, chances = [], []
    for noise, shrunk in ((0.0, 0.2), (0.9, 1.0)):
        logit = rng.normal(0, 1.5, 7000)
        labels = (rng.random(7000) < 1 / (1 + np.exp(-logit))).astype(float)
        known = (logit + noise * rng.normal(size=7000)) / (1 + noise**2 / 1.5**2)
        scores = 1 / (1 + np.exp(-known * shrunk))
        chances.append(partial(calibrated, scores[:3000], labels[:3000].astype(int)))
        arms.append(Arm(scores[3000:], np.arange(4000) // 10, labels[3000:]))
    raw, told, truth = (
        expected(task, *arms),
        expected(task, *arms, chances=tuple(chances)),
        metric(task, *arms),
    )
    assert raw.high < 0
    assert told.gain == pytest.approx(truth.gain, abs=0.03)
    if metric_name == "roc_auc":
        assert told.low > 0
        assert truth.low > 0


def test_on_the_same_answers_less_is_needed_to_be_sure():
    rng = np.random.default_rng(5)
    ours = keyed(rng, 200, 5)
    worse = Arm(np.clip(ours.scores + rng.normal(0, 0.05, 1000), 0, 1), ours.keys, ours.labels)
    together, apart = paired(Binary("roc_auc"), ours, worse), metric(Binary("roc_auc"), ours, worse)
    assert together.gain == pytest.approx(apart.gain)
    assert together.high - together.low < (apart.high - apart.low) / 2


def test_what_cannot_be_told_is_not_told():
    one = Arm(np.array([0.5, 0.6]), np.array([0, 0]), np.array([1.0, 1.0]))
    assert mean("score", one, one) is None
    assert metric(Binary("roc_auc"), one, one) is None
    nothing = Arm(np.empty(0), np.empty(0, np.int64), np.empty(0))
    assert metric(Binary("roc_auc"), nothing, nothing) is None
    assert expected(Binary("roc_auc"), nothing, nothing) is None
    assert ratio_mismatch((0, 0), (0.5, 0.5)) is None


def test_few_keys_make_no_one_sure():
    rng = np.random.default_rng(6)
    many = keyed(rng, 200, 10)
    assert (
        metric(Binary("neg_brier"), keyed(rng, 1, 500), many) is None
    )  # every resample of one key is the same
    assert expected(Binary("neg_brier"), keyed(rng, 9, 50), many) is None
    wide, narrow = (metric(Binary("neg_brier"), keyed(rng, keys, 50), many) for keys in (12, 120))
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_a_ratio_of_keys_that_chance_cannot_explain_is_found():
    assert not ratio_mismatch((5050, 4950), (0.5, 0.5)).found
    assert ratio_mismatch((5300, 4700), (0.5, 0.5)).found
    assert ratio_mismatch((100, 900), (0.1, 0.9)).expected == (100, 900)
