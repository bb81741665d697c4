"""Files of boosters answer as the ``predict`` that their makers document, whatever they hold."""

import warnings

import lightgbm
import numpy as np
import pytest
import xgboost

from tests.tidemill.registry.importing.test_model_import import NUMBERS, frame
from tidemill.errors import DataError, RegistryError, UsageError
from tidemill.registry.importing.booster_files import read_lightgbm, read_xgboost
from tidemill.registry.importing.import_checks import check_output, check_task
from tidemill.registry.versions.original_models import read_original
from tidemill.tasks.binary import Binary
from tidemill.tasks.custom import Custom
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
CUSTOM = Custom("m:f")
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


def some_outputs(rows, kind):
    """Return a booster of XGBoost that has no value of a regression, and its own answers."""
    given, truth = frame(rows, NUMBERS), truth_of(rows, "regression")
    small = {"n_estimators": 4, "n_jobs": 1, "random_state": 1}
    if kind == "rank":
        model = xgboost.XGBRanker(objective="rank:pairwise", **small)
        model.fit(given, (truth > 0).astype(int), qid=np.arange(len(truth)) // 10)
    elif kind == "classes":
        model = xgboost.XGBClassifier(**small).fit(given, truth_of(rows, "multiclass"))
        return model, model.predict_proba(given)
    elif kind == "quantiles":
        model = xgboost.XGBRegressor(objective="reg:quantileerror", quantile_alpha=[0.1, 0.5, 0.9], **small)
        model.fit(given, truth)
    elif kind == "early":
        model = xgboost.XGBRegressor(
            **(small | {"n_estimators": 30}), early_stopping_rounds=3, learning_rate=0.9
        )
        targets = np.column_stack([truth, -truth])
        model.fit(given[:100], targets[:100], eval_set=[(given[100:200], targets[100:200])], verbose=False)
        assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    else:
        model = xgboost.XGBRegressor(multi_strategy=kind, **small)
        model.fit(given, np.column_stack([truth, truth**2]))
    return model, model.predict(given)


def custom_answers(model, given, folder):
    """Return what a file's original, and what is served of it, answer in a custom project."""
    output = model.answer(given, CUSTOM)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(folder, CUSTOM, given[:5], output[:5])
    scorer = read_original(folder, "1", model.trusted_types, tuple, task=CUSTOM)
    assert isinstance(compile_model(scorer.estimator, given, CUSTOM), Refusal)
    return CUSTOM.from_output(output).tolist(), scorer.predict(given).tolist()


@pytest.mark.parametrize(
    "kind", ["one_output_per_tree", "multi_output_tree", "quantiles", "rank", "early", "classes"]
)
def test_a_custom_project_takes_boosters_of_xgboost_with_any_answer(rows, tmp_path, kind):
    made, expected = some_outputs(rows, kind)
    made.save_model(tmp_path / "m.ubj")
    found = read_xgboost(tmp_path / "m.ubj")
    check_task(found, CUSTOM)
    original, served = custom_answers(found, frame(rows, NUMBERS).fillna(np.nan), tmp_path / "m")
    assert original == served == expected.tolist()
    if kind == "rank":
        with pytest.raises(DataError, match="XGBoost rank:pairwise model gives no probabilities") as refused:
            check_task(found, TASKS["regression"])
        assert "project.task: custom" in refused.value.hint


def test_a_custom_project_takes_boosters_of_lightgbm_with_any_answer(rows, tmp_path):
    given, truth = frame(rows, NUMBERS).fillna(np.nan), truth_of(rows, "regression")
    data = lightgbm.Dataset(given, (truth > 0).astype(int), group=[10] * (len(truth) // 10))
    told = {"objective": "lambdarank", "verbose": -1, "num_threads": 1}
    lightgbm.train(told, data, 4).save_model(tmp_path / "m.txt")
    found = read_lightgbm(tmp_path / "m.txt")
    assert (found.kind, found.task) == ("LightGBM lambdarank", "custom")
    expected = lightgbm.Booster(model_file=tmp_path / "m.txt").predict(given)
    original, served = custom_answers(found, given, tmp_path / "m")
    assert original == served == expected.tolist()


def test_probabilities_of_lightgbm_that_are_one_class_against_the_rest(rows, tmp_path):
    given, task = frame(rows, NUMBERS).fillna(np.nan), TASKS["multiclass"]
    told = {"objective": "multiclassova", "num_class": 3, "verbose": -1, "num_threads": 1}
    data = lightgbm.Dataset(given, truth_of(rows, "multiclass"))
    lightgbm.train(told, data, 4).save_model(tmp_path / "m.txt")
    expected = lightgbm.Booster(model_file=tmp_path / "m.txt").predict(given)
    assert np.abs(expected.sum(axis=1) - 1).max() > 0.01
    model = read_lightgbm(tmp_path / "m.txt")
    check_task(model, task)
    check_output(model.answer(given, task), len(given), task, (), model.sums_to_one)
    found = agree(model, "multiclass", given, expected, tmp_path / "m")
    assert isinstance(found, Refusal)


@pytest.mark.parametrize(
    ("inner", "said"),
    [
        (b"[" * 100_000, "nested deeper than 64"),
        (b"{L\0\0\0\0\0\0\0\1a" * 100_000, "nested deeper than 64"),
        (b"[$d#L\0\0\1\0\0\0\0\0", "cut off"),  # a terabyte
        (b"[#L" + b"\xff" * 8, "cut off"),
        (b"SL\0\0\1\0\0\0\0\0x", "cut off"),
        (b"x", "has 'x' where UBJSON has the type of a value, before byte 12"),
    ],
)
def test_binary_files_are_looked_through_before_they_are_read(tmp_path, inner, said):
    """XGBoost calls itself for each level, and allocates what a length says."""
    (tmp_path / "m.ubj").write_bytes(b"{L\0\0\0\0\0\0\0\1a" + inner)
    with pytest.raises(RegistryError, match=rf"m\.ubj .*{said}"):
        read_xgboost(tmp_path / "m.ubj")


def test_text_that_is_nested_too_deeply_does_not_end_the_process(tmp_path):
    (tmp_path / "deep.json").write_text('{"learner": ' + "[" * 100_000)
    with pytest.raises(RegistryError, match=r"deep\.json .*nested deeper than 64"):
        read_xgboost(tmp_path / "deep.json")
