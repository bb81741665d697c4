"""What monitors compare a version's answers with: its answers to rows that it never saw."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pandas as pd
import polars as pl
import pytest

from tests.tidemill.training.made_project import AS_OF, make_project
from tidemill.monitoring.drift.answer_drift import compare_answers
from tidemill.monitoring.drift.drift_columns import Comparison
from tidemill.monitoring.monitor_config import load_monitors
from tidemill.training.families.xgboost import xgboost
from tidemill.training.feature_table import as_features
from tidemill.training.fitting.judgement import reference_of
from tidemill.training.fitting.split_rows import read_split

FEATURES, SEEDS, WINDOWS = ("a", "b", "c", "d"), 5, 12
SURE = {
    "learning_rate": 0.3,
    "max_depth": 6,
    "min_child_weight": 1,
    "subsample": 1.0,
    "colsample_bytree": 1.0,
    "reg_lambda": 0.1,
}
"""A search that has found these on few rows: the training rows are known by heart."""


def stream(rows: int, seed: int) -> pl.DataFrame:
    draw = np.random.default_rng(seed)
    features = {name: draw.normal(size=rows) for name in FEATURES}
    amount = features["a"] + features["b"] + draw.normal(0, 1.5, rows)
    kind = np.where(amount > 1, "high", np.where(amount < -1, "low", "middle"))
    return pl.DataFrame({**features, "kind": kind, "late": (amount > 1).astype(int)})


@pytest.mark.slow
@pytest.mark.parametrize("target", ["late", "kind"])
def test_ordinary_traffic_of_a_sure_model_is_no_drift(target, tmp_path):
    """A thousand rows, boosted trees, the thresholds of `init`; answers to fitted rows would alarm."""
    table = tmp_path / "table.csv"
    stream(1000, 0).select(*FEATURES, target).write_csv(table)
    project = make_project(tmp_path / "made", str(table), target)
    [monitor] = load_monitors(project)
    family, task = xgboost(project.task.kind), project.task
    alarms, of_fitted, turned = 0, 0, 0
    for seed in range(SEEDS):
        stream(1000, seed).select(*FEATURES, pl.col(target)).write_parquet(project.dataset_path)
        rows = read_split(project, FEATURES, AS_OF)
        truth = pd.Series(task.truth(rows.fit, target))
        _, model = islice(family.fit(SURE, as_features(rows.fit, FEATURES), truth), 2)

        def answers(some, model=model):
            return task.answers(model, as_features(some, FEATURES))

        def logged(some):
            given = answers(some)
            return pl.DataFrame(
                {
                    "score": task.scores(given),
                    "answer": pl.Series([task.logged(one) for one in given], dtype=pl.String),
                }
            )

        def drifted(reference, own):
            found = compare_answers(
                Comparison((), None, 0, 0), task, monitor.prediction_drift, reference, own
            )
            return any(each.drifted for each in found.of_answers)

        reference = reference_of(project, rows, answers(rows.holdout))
        by_heart = reference_of(project, replace(rows, holdout=rows.fit), answers(rows.fit))
        assert (reference.features.height, len(reference.scores)) == (rows.fit.height, rows.holdout.height)
        for window in range(WINDOWS):
            some = stream(monitor.min_rows, 1000 + 100 * seed + window)
            own = logged(some)
            alarms += drifted(reference, own)
            of_fitted += target == "kind" and drifted(by_heart, own)
            turned += drifted(reference, logged(some.with_columns(pl.col("a", "b") + 2.0)))
    assert alarms <= 0.05 * SEEDS * WINDOWS
    assert turned > 0.9 * SEEDS * WINDOWS, "a real change is found"
    if target == "kind":  # probabilities of the most probable class are near 1 where they are known by heart
        assert of_fitted > 0.5 * SEEDS * WINDOWS
