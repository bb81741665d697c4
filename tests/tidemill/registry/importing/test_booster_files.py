"""Files of boosters answer as the ``predict`` that their makers document, whatever they hold."""

import warnings

import lightgbm
import numpy as np
import pytest
import xgboost

from tests.tidemill.registry.importing.test_model_import import NUMBERS, frame
from tidemill.errors import UsageError
from tidemill.registry.importing.booster_files import read_lightgbm, read_xgboost
from tidemill.registry.versions.original_models import read_original
from tidemill.tasks.binary import Binary
from tidemill.tasks.multiclass import Multiclass
from tidemill.tasks.regression import Regression
from tidemill.training.compiling.compiler import CompiledModel, Refusal, compile_model
from tidemill.training.compiling.onnx_session import open_session

pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("ignore")]

TASKS = {
    "binary": Binary("roc_auc", classes=("stayed", "left")),
    "multiclass": Multiclass("neg_log_loss", classes=("short", "medium", "long")),
    "regression": Regression("neg_mae"),
}
TARGETS = {"binary": "churned", "multiclass": "kind", "regression": "minutes"}
OBJECTIVES = {"binary": "binary:logistic", "multiclass": "multi:softprob", "regression": "reg:squarederror"}


def truth_of(rows, task):
    return np.asarray(TASKS[task].labels(rows[TARGETS[task]]).values.to_numpy())


def early(booster):
    """Options by which the last rounds are worse than the best one."""
    return {"booster": booster, "learning_rate": 0.9, "n_jobs": 1, "random_state": 1}


def of_estimator(rows, task, booster, file):
    given, truth = frame(rows, NUMBERS), truth_of(rows, task)
    kind = xgboost.XGBRegressor if task == "regression" else xgboost.XGBClassifier
    stops = {} if booster == "gblinear" else {"early_stopping_rounds": 3}
    model = kind(n_estimators=30, **early(booster), **stops)
    model.fit(given[:100], truth[:100], eval_set=[(given[100:200], truth[100:200])], verbose=False)
    if stops:
        assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    model.save_model(file)
    read = kind()
    read.load_model(file)
    return read.predict(given) if task == "regression" else read.predict_proba(given)


def of_booster(rows, task, booster, file):
    given, truth = frame(rows, NUMBERS), truth_of(rows, task)
    options = {**early(booster), "objective": OBJECTIVES[task], "nthread": 1}
    options |= {"num_class": 3} if task == "multiclass" else {}
    sides = [xgboost.DMatrix(given[a:b], truth[a:b]) for a, b in ((0, 100), (100, 200))]
    stops = {} if booster == "gblinear" else {"early_stopping_rounds": 3}
    made = xgboost.train(options, sides[0], 30, evals=[(sides[1], "e")], verbose_eval=False, **stops)
    made.save_model(file)
    found = xgboost.Booster(model_file=file).predict(xgboost.DMatrix(given))
    if stops:
        best = made.predict(xgboost.DMatrix(given), iteration_range=(0, made.best_iteration + 1))
        assert np.abs(best - found).max() > 1e-3
    return found


def agree(model, task, given, expected, folder, within=1e-5):
    """Check the answers of a file, of what is saved of it, and of what that is compiled to."""
    task = TASKS[task]
    expected = task.from_output(expected)
    output = model.answer(given, task)
    assert task.from_output(output) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(folder, task, given[:5], output[:5])
    scorer = read_original(folder, "1", model.trusted_types, tuple, task=task)
    assert scorer.predict(given) == pytest.approx(expected, rel=1e-5, abs=1e-6)
    made = compile_model(scorer.estimator, given, task)
    if isinstance(made, CompiledModel):
        session = open_session(made.content, made.features, [])
        assert session.predict(given) == pytest.approx(expected, abs=within, rel=1e-5)
    return made


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("booster", ["gblinear", "dart", "gbtree"])
@pytest.mark.parametrize("made", [of_estimator, of_booster])
def test_xgboost_answers_as_the_file_documents(rows, tmp_path, task, booster, made):
    file = tmp_path / "model.ubj"
    expected = made(rows, task, booster, file)
    found = agree(
        read_xgboost(file), task, frame(rows, NUMBERS).fillna(np.nan), expected, tmp_path / "m", 1e-4
    )
    assert isinstance(found, CompiledModel), found


def test_files_that_were_fitted_on_pandas_categories_are_refused(rows, tmp_path):
    given, truth = frame(rows, NUMBERS).astype({"hour": "category"}), truth_of(rows, "regression")
    xgboost.XGBRegressor(n_estimators=2, enable_categorical=True).fit(given, truth).save_model(
        tmp_path / "m.ubj"
    )
    lightgbm.LGBMRegressor(n_estimators=2, verbose=-1).fit(given, truth).booster_.save_model(
        tmp_path / "m.txt"
    )
    for read, name in ((read_xgboost, "m.ubj"), (read_lightgbm, "m.txt")):
        with pytest.raises(UsageError, match="fitted on pandas categories"):
            read(tmp_path / name)


def test_a_regressor_of_probabilities_is_taken(rows, tmp_path):
    given, truth = frame(rows, NUMBERS), truth_of(rows, "binary")
    model = xgboost.XGBRegressor(n_estimators=3, objective="binary:logistic", n_jobs=1).fit(given, truth)
    model.save_model(tmp_path / "m.json")
    agree(read_xgboost(tmp_path / "m.json"), "binary", given, model.predict(given), tmp_path / "m")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"linear_tree": True}, "linear models"),
        ({"categorical_feature": [2], "min_data_per_group": 5, "cat_smooth": 1}, None),
        ({"boosting": "dart", "drop_rate": 0.5}, None),
        ({"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}, None),
        ({"early_stopping_round": 6, "learning_rate": 0.9, "num_leaves": 9}, None),
        ({"early_stopping_round": 6, "learning_rate": 0.9, "num_leaves": 9, "all": True}, None),
    ],
    ids=["linear", "categories", "dart", "forest", "best", "all"],
)
def test_lightgbm_answers_as_the_file_documents(rows, tmp_path, options, why):
    given, truth = frame(rows, NUMBERS), truth_of(rows, "regression")
    options, saved = dict(options), -1 if options.get("all") else None
    options.pop("all", None)
    sides = [lightgbm.Dataset(given[:300], truth[:300]), lightgbm.Dataset(given[300:400], truth[300:400])]
    told = {"objective": "regression", "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5, **options}
    made = lightgbm.train(told, sides[0], 30, valid_sets=[sides[1]], keep_training_booster=True)
    made.save_model(tmp_path / "m.txt", num_iteration=saved)
    expected = lightgbm.Booster(model_file=tmp_path / "m.txt").predict(given)
    in_memory = np.abs(expected - made.predict(given)).max()  # which stops at its best round
    assert in_memory > 1e-3 if saved == -1 else in_memory < 1e-9
    found = agree(read_lightgbm(tmp_path / "m.txt"), "regression", given, expected, tmp_path / "m")
    if why is None:
        assert isinstance(found, CompiledModel), found
    else:
        assert isinstance(found, Refusal)
        assert why in found.reason
