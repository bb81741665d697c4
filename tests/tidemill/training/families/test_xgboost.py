"""XGBoost's trees of rows that are quantised once are those that its own `fit` grows, bit by bit."""

import numpy as np
import pytest

from tests.tidemill.training.families.test_ready_families import labels, table
from tidemill.training.distributed import Saved
from tidemill.training.families.preparation import prepare_rows
from tidemill.training.families.xgboost import xgboost

engine = pytest.importorskip("xgboost")
pytestmark = pytest.mark.engine

PARAMS = {"max_depth": 3, "learning_rate": 0.1, "subsample": 0.7, "colsample_bytree": 0.6}


def raw(pipeline):
    return bytes(pipeline["model"].get_booster().save_raw("ubj"))


def attributes(model):
    """All that an estimator carries but its trees, in words: NaN is not equal to itself."""
    return {name: repr(value) for name, value in vars(model).items() if name != "_Booster"}


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_each_round_is_what_fitting_anew_from_the_round_before_gives(task, monkeypatch):
    rows, quantised = table(), []  # 600 rows with gaps, text and truth values
    truth = labels(task, rows)
    if task == "multiclass":
        truth = truth.where(truth != 1, 3)  # nobody has class 1: a row that weighs nothing has
    begin = engine.QuantileDMatrix.__init__

    def counted(self, *args, **settings):
        quantised.append(self)
        begin(self, *args, **settings)

    assert rows.isna().to_numpy().any()
    with monkeypatch.context() as patched:
        patched.setattr(engine.QuantileDMatrix, "__init__", counted)
        found = list(xgboost(task).steps(PARAMS, rows, truth, None))
    assert (len(found), len(quantised)) == (6, 1)

    before, known, weights = None, truth, None
    _, values = prepare_rows(task, rows, truth, dense=False)
    if task == "multiclass":
        values = np.concatenate([values, values[:1]])
        known, weights = [*truth, 1], [*np.ones(len(truth)), 1e-6]
    kind = engine.XGBRegressor if task == "regression" else engine.XGBClassifier
    fixed = {"tree_method": "hist", "n_jobs": 1, "random_state": 0, "seed_per_iteration": True}
    for pipeline, state in found[:3]:
        model = kind(**PARAMS, **fixed, n_estimators=50)
        model.fit(values, known, sample_weight=weights, xgb_model=before)
        before = model.get_booster()
        assert raw(pipeline) == state() == bytes(before.save_raw("ubj"))
        assert attributes(pipeline["model"]) == attributes(model)
        assert pipeline["model"].get_booster().save_config() == before.save_config()

    rest = list(xgboost(task).steps(PARAMS, rows, truth, Saved(3, found[2][1]())))
    assert [raw(pipeline) for pipeline, _ in rest] == [raw(pipeline) for pipeline, _ in found[3:]]

    new = truth.copy()
    new.iloc[0] = 1  # each class has a row
    values = found[2][0]["prepare"].transform(rows)
    [more] = xgboost(task).go_on(found[2][0], PARAMS, rows, new)
    model = kind(**PARAMS, **fixed, n_estimators=20).fit(values, new, xgb_model=before)
    assert raw(more) == bytes(model.get_booster().save_raw("ubj"))
