"""Regressors and classifiers of several classes answer compiled as they do themselves."""

import warnings

import catboost
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.linear_model import (
    HuberRegressor,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    SGDClassifier,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, TargetEncoder
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tests.tidemill.training.compiling.test_compiler import CATBOOST, holed, whole, worded
from tidemill.tasks.custom import Custom
from tidemill.tasks.multiclass import Multiclass
from tidemill.tasks.regression import Regression
from tidemill.training.compiling.compiler import CompiledModel, Refusal, compile_model
from tidemill.training.compiling.onnx_session import open_session
from tidemill.training.compiling.parity import compare_answers
from tidemill.training.compiling.trees import Ensemble, Tree, add_leaf_rows, add_trees

pytestmark = pytest.mark.engine

CLASSES = Multiclass("neg_log_loss", classes=("a", "b", "c"))
VALUES = Regression("neg_mae")
HIST = {"max_iter": 10, "random_state": 0}
SMALL = {"n_estimators": 8, "random_state": 0}


def scaled(model):
    return make_pipeline(StandardScaler(), model)


OF_CLASSES = {
    "logistic": (scaled(LogisticRegression()), whole),
    "descent": (scaled(SGDClassifier(loss="log_loss", random_state=0)), whole),
    "histogram": (HistGradientBoostingClassifier(**HIST), holed),
    "histogram with categories": (
        HistGradientBoostingClassifier(**HIST, categorical_features=["carrier"]),
        holed,
    ),
    "boosting": (GradientBoostingClassifier(**SMALL), whole),
    "forest": (RandomForestClassifier(**SMALL), holed),
    "extra trees": (ExtraTreesClassifier(**SMALL), whole),
    "tree": (DecisionTreeClassifier(random_state=0), whole),
    "xgboost": (xgboost.XGBClassifier(**SMALL), holed),
    "xgboost, parallel": (xgboost.XGBClassifier(**SMALL, num_parallel_tree=2, subsample=0.5), holed),
    "xgboost, linear": (scaled(xgboost.XGBClassifier(**SMALL, booster="gblinear")), whole),
    "catboost": (catboost.CatBoostClassifier(**CATBOOST), holed),
    "lightgbm": (lightgbm.LGBMClassifier(**SMALL, verbose=-1), holed),
    "lightgbm forest": (
        lightgbm.LGBMClassifier(
            **SMALL, verbose=-1, boosting_type="rf", bagging_freq=1, bagging_fraction=0.5
        ),
        holed,
    ),
    "network": (scaled(MLPClassifier((8,), max_iter=20, random_state=0)), whole),
    "constant": (DummyClassifier(), holed),
    "voting": (
        VotingClassifier(
            [("line", scaled(LogisticRegression())), ("trees", RandomForestClassifier(**SMALL))],
            voting="soft",
            weights=[1, 3],
        ),
        whole,
    ),
    "foreign": (scaled(GaussianNB()), whole),
    "text": (
        make_pipeline(TargetEncoder(target_type="multiclass", cv=2), DecisionTreeClassifier(random_state=0)),
        lambda: worded()[["origin", "tail"]],
    ),
}
OF_VALUES = {
    "line": (scaled(LinearRegression()), whole),
    "ridge": (scaled(Ridge()), whole),
    "huber": (scaled(HuberRegressor()), whole),
    "poisson": (scaled(PoissonRegressor()), whole),
    "histogram": (HistGradientBoostingRegressor(**HIST), holed),
    "histogram, absolute": (HistGradientBoostingRegressor(**HIST, loss="absolute_error"), holed),
    "histogram, poisson": (HistGradientBoostingRegressor(**HIST, loss="poisson"), holed),
    "boosting": (GradientBoostingRegressor(**SMALL), whole),
    "boosting, huber": (GradientBoostingRegressor(**SMALL, loss="huber"), whole),
    "forest": (RandomForestRegressor(**SMALL), holed),
    "extra trees": (ExtraTreesRegressor(**SMALL), whole),
    "tree": (DecisionTreeRegressor(random_state=0), whole),
    "xgboost": (xgboost.XGBRegressor(**SMALL), holed),
    "xgboost, absolute": (xgboost.XGBRegressor(**SMALL, objective="reg:absoluteerror"), holed),
    "xgboost, poisson": (xgboost.XGBRegressor(**SMALL, objective="count:poisson"), holed),
    "xgboost, tweedie": (xgboost.XGBRegressor(**SMALL, objective="reg:tweedie"), holed),
    "xgboost forest": (xgboost.XGBRFRegressor(**SMALL), holed),
    "xgboost, linear": (xgboost.XGBRegressor(**SMALL, booster="gblinear"), holed),
    "xgboost, linear, tweedie": (
        scaled(xgboost.XGBRegressor(**SMALL, booster="gblinear", objective="reg:tweedie")),
        whole,
    ),
    "catboost": (catboost.CatBoostRegressor(**CATBOOST), holed),
    "catboost, absolute": (catboost.CatBoostRegressor(**CATBOOST, loss_function="MAE"), holed),
    "lightgbm": (lightgbm.LGBMRegressor(**SMALL, verbose=-1), holed),
    "lightgbm, poisson": (lightgbm.LGBMRegressor(**SMALL, verbose=-1, objective="poisson"), holed),
    "lightgbm, quantile": (lightgbm.LGBMRegressor(**SMALL, verbose=-1, objective="quantile"), holed),
    "network": (scaled(MLPRegressor(hidden_layer_sizes=(8,), max_iter=20, random_state=0)), whole),
    "constant": (DummyRegressor(strategy="median"), holed),
    "voting": (
        VotingRegressor([("a", DecisionTreeRegressor()), ("b", scaled(Ridge()))], weights=[1, 2]),
        whole,
    ),
    "stacked": (
        StackingRegressor([("a", DecisionTreeRegressor(max_depth=3)), ("b", scaled(Ridge()))], Ridge(), cv=2),
        whole,
    ),
    "of the logarithm": (
        TransformedTargetRegressor(scaled(Ridge()), func=np.log1p, inverse_func=np.expm1),
        whole,
    ),
    "standardised": (TransformedTargetRegressor(scaled(Ridge()), transformer=StandardScaler()), whole),
    "foreign": (scaled(KNeighborsRegressor()), whole),
}


def delay(rows):
    """Values that are never negative, about 30 in size."""
    noise = np.random.default_rng(2).exponential(size=len(rows))
    wind = rows["wind"].fillna(1.0) if "wind" in rows else pd.Series(np.zeros(len(rows)))
    return (10 * wind.abs() + 20 * noise).to_numpy()


def fitted(model, rows, target):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(rows, target)


def compiled(model, rows, task):
    found = compile_model(model, rows, task)
    assert isinstance(found, CompiledModel), found
    words = [place for place, kind in enumerate(found.kinds) if kind == "word"]
    return open_session(found.content, found.features, words)


def agree(model, rows, task, within):
    session = compiled(model, rows, task)
    parity = compare_answers(lambda frame: task.answers(model, frame), session.predict, rows, task)
    assert parity.passed, str(parity)
    assert parity.max_difference <= within, str(parity)
    if not session.words:
        found = session.score(np.ascontiguousarray(rows.to_numpy()))
        assert found.dtype == np.float64
        assert found.shape == task.answers(model, rows).shape
        assert session.score(np.empty((0, rows.shape[1]))).shape == (0, *found.shape[1:])
    return session


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", OF_CLASSES)
def test_probabilities_of_classes_are_those_of_the_original(name):
    model, make = OF_CLASSES[name]
    rows = make()
    third = np.digitize(delay(rows), [10, 25])
    agree(fitted(model, rows, third), rows, CLASSES, 1e-6 if "xgboost" in name else 1e-12)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", OF_VALUES)
def test_values_are_those_of_the_original(name):
    model, make = OF_VALUES[name]
    rows = make()
    near = {"xgboost": 1e-4, "foreign": 1e-4}.get(name.partition(",")[0].partition(" ")[0], 1e-10)
    agree(fitted(model, rows, delay(rows)), rows, VALUES, near)


@pytest.mark.parametrize(
    "model", [RandomForestClassifier(**SMALL), LogisticRegression(), HistGradientBoostingClassifier(**HIST)]
)
def test_a_class_that_the_model_never_saw_has_probability_0(model):
    rows = whole()[["wind", "half"]]
    task = Multiclass("neg_log_loss", classes=("a", "b", "c", "d"))
    session = agree(fitted(model, rows, 2 * (delay(rows) > 20)), rows, task, 1e-12)
    assert session.predict(rows)[:, [1, 3]].max() == 0


def test_rows_that_the_original_refuses_have_no_answer():
    rows = whole()
    values = compiled(fitted(GradientBoostingRegressor(**SMALL), rows, delay(rows)), rows, VALUES)
    classes = compiled(
        fitted(GradientBoostingClassifier(**SMALL), rows, np.digitize(delay(rows), [10, 25])), rows, CLASSES
    )
    asked = rows.iloc[:3].assign(wind=[np.nan, 1.0, np.inf])
    assert np.isnan(values.predict(asked)).tolist() == [True, False, True]
    assert np.isnan(classes.predict(asked)).all(axis=1).tolist() == [True, False, True]
    assert np.isnan(classes.predict(asked)).any(axis=1).tolist() == [True, False, True]


def test_many_rows_of_a_forest_are_answered_in_blocks():
    rows = whole()
    model = fitted(RandomForestClassifier(**SMALL), rows, np.digitize(delay(rows), [10, 25]))
    session = compiled(model, rows, CLASSES)
    many = pd.concat([rows] * 25, ignore_index=True)
    assert session.predict(many) == pytest.approx(model.predict_proba(many), abs=1e-12)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("model", "task", "why"),
    [
        (lightgbm.LGBMClassifier(**SMALL, verbose=-1, objective="multiclassova"), CLASSES, "'multiclassova'"),
        (lightgbm.LGBMRegressor(**SMALL, verbose=-1, reg_sqrt=True), VALUES, "the root of the target"),
        (lightgbm.LGBMRegressor(**SMALL, verbose=-1, linear_tree=True), VALUES, "linear models"),
        (RandomForestClassifier(**SMALL), VALUES, "it is a classifier, and the task is a regression"),
        (Ridge(), CLASSES, "it is not said which classes it knows"),
        (Ridge(), Custom(""), "custom task"),
        (TransformedTargetRegressor(Ridge(), func=np.sqrt, inverse_func=np.square), VALUES, "its target"),
    ],
)
def test_what_cannot_be_compiled_says_why(model, task, why):
    rows = whole()
    target = np.digitize(delay(rows), [10, 25]) if hasattr(model, "predict_proba") else delay(rows)
    found = compile_model(fitted(model, rows, target), rows, task)
    assert isinstance(found, Refusal)
    assert why in found.reason


def test_values_are_compared_in_units_of_their_spread():
    rows = pd.DataFrame({"wind": [0.0, 1000.0] * 4})
    wind = lambda frame: frame["wind"].to_numpy()  # noqa: E731
    for off, passes in ((0.04, True), (0.06, False)):
        parity = compare_answers(wind, lambda frame, off=off: wind(frame) + off, rows, VALUES)
        assert parity.passed is passes
        assert parity.threshold == pytest.approx(0.05)


def test_a_few_huge_answers_hide_no_difference_of_the_others():
    rows = pd.DataFrame({"amount": [*np.linspace(0, 10, 997), 1e9, 2e9, -1e9]})

    def original(frame):
        return frame["amount"].fillna(1).to_numpy()

    wrong = compare_answers(original, lambda frame: original(frame) + 0.5, rows, VALUES)
    assert not wrong.passed
    assert wrong.max_difference == pytest.approx(0.5)
    assert wrong.threshold < 1e-2
    single = lambda frame: original(frame).astype(np.float32).astype(np.float64)  # noqa: E731
    rounded = compare_answers(original, single, rows, VALUES)
    assert rounded.passed, str(rounded)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(2, 4))
def test_rows_of_leaves_add_up_as_one_ensemble_for_each_column(seed, count, width):
    """A table of leaves gives the same as an ensemble of one-number leaves for each of its columns."""
    from tidemill.training.compiling.onnx_graph import Graph, inputs_of

    draw = np.random.default_rng(seed)
    stump = (np.array([0, -1, -1]), np.array([1, -1, -1]), np.array([2, -1, -1]), np.zeros(3, np.bool_))
    feature, yes, no, unknown = stump
    tables = [draw.normal(size=(3, width)) for _ in range(count)]
    thresholds = [np.array([draw.normal(), 0.0, 0.0]) for _ in range(count)]
    trees = [Tree(feature, one, yes, no, unknown, np.zeros(3)) for one in thresholds]

    def run(add):
        graph = Graph()
        made = graph.model(add(graph), "probabilities", width, 1, 0)
        return open_session(made.SerializeToString(), ["wind"]).score(asked)

    asked = draw.normal(size=(7, 1))
    values = inputs_of(["number"]).columns[0][0].name
    single = [
        Tree(feature, one, yes, no, unknown, table[:, column])
        for column in range(width)
        for one, table in zip(thresholds, tables, strict=True)
    ]
    targets = [column for column in range(width) for _ in range(count)]
    wanted = run(lambda graph: add_trees(graph, Ensemble(single, targets=targets, width=width), values))
    assert run(lambda graph: add_leaf_rows(graph, trees, tables, values)) == pytest.approx(wanted)
