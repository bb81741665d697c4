"""Every kind of model answers compiled as it does itself: on real rows, near thresholds, without values."""

import warnings

import catboost
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.tree import DecisionTreeClassifier

from tidemill.training.compiling.compiler import CompiledModel, Refusal, compile_model
from tidemill.training.compiling.onnx_session import open_session
from tidemill.training.compiling.parity import compare_answers

pytestmark = pytest.mark.engine

ROWS = 800


def whole():
    """Numbers of all sizes: moments need more than 32 bits; codes are categories."""
    draw = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "wind": draw.normal(size=ROWS),
            "distance": draw.exponential(size=ROWS) * 1e6,
            "moment": draw.integers(1_357_000_000, 1_388_000_000, ROWS).astype(float),
            "carrier": draw.integers(0, 6, ROWS).astype(float),
            "half": draw.integers(10, 14, ROWS) + 0.5,
        }
    )


def holed():
    rows = whole()
    rows.loc[::7, "wind"] = np.nan
    rows.loc[::11, "carrier"] = np.nan
    return rows


def worded():
    draw = np.random.default_rng(1)
    rows = whole().assign(origin=draw.choice(["JFK", "EWR", "LGA"], ROWS))
    rows["tail"] = draw.choice(list("abcdefgh"), ROWS, p=[0.3, 0.3, 0.3, 0.02, 0.02, 0.02, 0.02, 0.02])
    rows.loc[::5, "origin"] = np.nan
    return rows


def late(rows):
    noise = np.random.default_rng(2).normal(size=len(rows)) / 2
    seen = rows["wind"].fillna(1.0) + 2 * (rows["carrier"] == 3) + (rows["moment"] > 1.37e9) + noise
    return (seen > 1).astype(int).to_numpy()


def numbers(*steps):
    return make_pipeline(*steps)


def by_kind():
    filled = make_pipeline(SimpleImputer(add_indicator=True), MinMaxScaler(clip=True))
    named = make_pipeline(
        SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore", drop="first")
    )
    ordered = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    rare = OneHotEncoder(min_frequency=40, handle_unknown="infrequent_if_exist")
    return ColumnTransformer(
        [
            ("filled", filled, ["wind", "distance"]),
            ("named", named, ["origin", "tail"]),
            ("ordered", ordered, ["half", "origin"]),
            ("rare", rare, ["tail", "carrier"]),
            ("target", TargetEncoder(cv=2), ["tail", "half"]),
            ("gone", "drop", ["moment"]),
        ]
    )


HIST = {"max_iter": 20, "random_state": 0}
CATBOOST = {"iterations": 10, "depth": 4, "logging_level": "Silent", "allow_writing_files": False}
FILL = {"strategy": "median", "add_indicator": True, "keep_empty_features": True}
MODELS = {
    "histogram boosting": (HistGradientBoostingClassifier(**HIST), holed),
    "… with categories": (
        HistGradientBoostingClassifier(**HIST, categorical_features=["carrier", "half"]),
        holed,
    ),
    "… all known": (HistGradientBoostingClassifier(**HIST, categorical_features=["carrier"]), whole),
    "… monotone": (HistGradientBoostingClassifier(**HIST, monotonic_cst={"wind": 1}), holed),
    "… of text": (
        HistGradientBoostingClassifier(**HIST, categorical_features=["origin", "tail"]),
        "category",
    ),
    "… without a split": (HistGradientBoostingClassifier(min_samples_leaf=1000, max_iter=1), holed),
    "forest": (RandomForestClassifier(10, random_state=0), whole),
    "forest with unknowns": (RandomForestClassifier(10, random_state=0), holed),
    "extra trees": (ExtraTreesClassifier(10, random_state=0), holed),
    "tree": (DecisionTreeClassifier(random_state=0), whole),
    "boosting": (GradientBoostingClassifier(n_estimators=20), whole),
    "boosting, exponential": (GradientBoostingClassifier(n_estimators=20, loss="exponential"), whole),
    "xgboost": (xgboost.XGBClassifier(n_estimators=20), holed),
    "xgboost dart": (xgboost.XGBClassifier(n_estimators=10, booster="dart", rate_drop=0.5), holed),
    "xgboost categories": (
        xgboost.XGBClassifier(
            n_estimators=20, enable_categorical=True, feature_types=["q", "q", "q", "c", "q"]
        ),
        holed,
    ),
    "xgboost forest": (xgboost.XGBRFClassifier(n_estimators=10), holed),
    "xgboost linear": (xgboost.XGBClassifier(n_estimators=5, booster="gblinear"), holed),
    "catboost": (catboost.CatBoostClassifier(**CATBOOST), holed),
    "catboost, unknown high": (catboost.CatBoostClassifier(**CATBOOST, nan_mode="Max"), holed),
    "lightgbm": (lightgbm.LGBMClassifier(n_estimators=20, verbose=-1), holed),
    "lightgbm without unknowns": (lightgbm.LGBMClassifier(n_estimators=20, verbose=-1), whole),
    "lightgbm forest": (
        lightgbm.LGBMClassifier(
            n_estimators=10, verbose=-1, boosting_type="rf", bagging_freq=1, bagging_fraction=0.5
        ),
        holed,
    ),
    "logistic": (numbers(StandardScaler(), LogisticRegression()), whole),
    "descent": (numbers(SimpleImputer(**FILL), StandardScaler(), SGDClassifier(loss="log_loss")), holed),
    "searched": (GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [2, 4]}, cv=2), whole),
    "constant": (DummyClassifier(), whole),
    "by kind": (numbers(by_kind(), LogisticRegression(max_iter=1000)), worded),
    "by kind, trees": (numbers(by_kind(), HistGradientBoostingClassifier(**HIST)), worded),
    "logarithm": (
        numbers(
            ColumnTransformer(
                [("log", FunctionTransformer(np.log1p), ["distance"])], remainder="passthrough"
            ),
            RobustScaler(),
            SelectKBest(k=3),
            LogisticRegression(),
        ),
        whole,
    ),
    "union": (numbers(make_union(StandardScaler(), MaxAbsScaler()), LogisticRegression()), whole),
    "foreign": (numbers(StandardScaler(), GaussianNB()), whole),
    "voting": (
        VotingClassifier(
            [
                ("line", numbers(StandardScaler(), LogisticRegression())),
                ("trees", RandomForestClassifier(5, random_state=0)),
            ],
            voting="soft",
            weights=[1, 3],
        ),
        whole,
    ),
    "calibrated": (CalibratedClassifierCV(HistGradientBoostingClassifier(**HIST), cv=2), holed),
    "calibrated forest": (CalibratedClassifierCV(RandomForestClassifier(5, random_state=0), cv=2), holed),
    "stacked": (
        StackingClassifier(
            [
                ("line", numbers(StandardScaler(), LogisticRegression())),
                ("trees", RandomForestClassifier(5, random_state=0)),
            ],
            final_estimator=HistGradientBoostingClassifier(**HIST),
            passthrough=True,
            cv=2,
        ),
        whole,
    ),
}


def fitted(model, rows):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(rows, late(rows))


def compiled(model, rows):
    found = compile_model(model, rows)
    assert isinstance(found, CompiledModel), found
    words = [place for place, kind in enumerate(found.kinds) if kind == "word"]
    return open_session(found.content, found.features, words)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODELS)
def test_compiled_it_answers_as_the_original(name):
    model, make = MODELS[name]
    rows = worded().astype({"origin": "category", "tail": "category"}) if make == "category" else make()
    model = fitted(model, rows)
    session = compiled(model, rows)
    parity = compare_answers(lambda frame: model.predict_proba(frame)[:, 1], session.predict, rows)
    assert parity.max_difference <= (5e-7 if "xgboost" in name else 1e-12), str(parity)
    if not session.words:
        matrix = np.ascontiguousarray(rows.to_numpy())
        assert session.score(matrix).dtype == np.float64
        assert np.array_equal(session.score(matrix), session.predict(rows), equal_nan=True)
        assert session.score(matrix[:0]).shape == (0,)


@pytest.mark.parametrize(
    "name", ["histogram boosting", "forest", "xgboost", "lightgbm", "catboost", "boosting"]
)
def test_values_beside_a_threshold_take_the_same_branch(name):
    """Scikit-learn's forests, XGBoost and CatBoost cut numbers to 32 bits first, the others do not."""
    model, rows = MODELS[name][0], whole()
    model = fitted(model, rows)
    session = compiled(model, rows)
    near = []
    for column in ("wind", "moment"):
        values = np.sort(rows[column].to_numpy())
        middles = (values[1:] + values[:-1]) / 2
        for value in np.concatenate([middles[:60], middles.astype(np.float32)[:60], values[:60]]):
            for step in (-np.inf, 0.0, np.inf):
                beside = np.nextafter(value, step) if step else value
                near.append({**rows.iloc[0], column: beside})
    near = pd.DataFrame(near)
    wanted = model.predict_proba(near)[:, 1]
    assert len(np.unique(wanted)) > 2
    assert session.predict(near) == pytest.approx(wanted, abs=5e-7)


def test_a_row_that_the_original_refuses_has_no_answer():
    rows = worded().drop(columns="origin")
    encoder = ColumnTransformer([("tail", OneHotEncoder(), ["tail"])], remainder="passthrough")
    model = fitted(make_pipeline(encoder, GradientBoostingClassifier(n_estimators=5)), rows)
    session = compiled(model, rows)
    asked = rows.iloc[:3].copy()
    asked["tail"] = ["a", "no such tail", "b"]
    assert np.isnan(session.predict(asked)).tolist() == [False, True, False]
    asked["tail"], asked["wind"] = "a", [np.nan, 1.0, 2.0]
    assert np.isnan(session.predict(asked)).tolist() == [True, False, False]
    with pytest.raises(ValueError, match="NaN"):
        model.predict_proba(asked[:1])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(MODELS.keys() - {"… of text"}))
def test_numbers_that_the_original_refuses_have_no_answer(name):
    """Scikit-learn takes no infinite number, and its trees none that is infinite in 32 bits."""
    model, make = MODELS[name]
    rows = make()
    model = fitted(model, rows)
    session = compiled(model, rows)
    for column, value in (("wind", np.inf), ("distance", -np.inf), ("wind", 1e39), ("half", np.inf)):
        row = rows.iloc[[3]].assign(**{column: value})
        try:
            [wanted] = model.predict_proba(row)[:, 1]
        except ValueError:
            wanted = np.nan
        assert session.predict(row)[0] == pytest.approx(wanted, abs=5e-7, nan_ok=True), (column, value)


@pytest.mark.filterwarnings("ignore")
def test_an_empty_text_is_not_an_unknown_one():
    rows = worded()
    model = fitted(MODELS["by kind"][0], rows)
    session = compiled(model, rows)
    for text in ("", "no such origin"):
        row = rows.iloc[[3]].assign(origin=text)
        assert session.predict(row) == pytest.approx(model.predict_proba(row)[:, 1]), text


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("model", "why"),
    [
        (lightgbm.LGBMClassifier(n_estimators=2, verbose=-1, linear_tree=True), "linear models"),
        (catboost.CatBoostClassifier(**CATBOOST, grow_policy="Lossguide"), "levels of its trees"),
        (
            catboost.CatBoostClassifier(**CATBOOST, loss_function="Focal:focal_alpha=0.5;focal_gamma=1"),
            "'Focal'",
        ),
        (lightgbm.LGBMClassifier(n_estimators=2, verbose=-1, zero_as_missing=True), "takes zero for unknown"),
        (SGDClassifier(loss="modified_huber"), "its loss is 'modified_huber'"),
        (
            make_pipeline(FunctionTransformer(lambda rows: rows * 2), LogisticRegression()),
            "the Python function <lambda>",
        ),
        (CalibratedClassifierCV(DecisionTreeClassifier(), method="isotonic", cv=2), "'isotonic'"),
    ],
)
def test_what_cannot_be_compiled_says_why(model, why):
    rows = whole()
    found = compile_model(fitted(model, rows), rows)
    assert isinstance(found, Refusal)
    assert why in found.reason


def test_three_classes_for_two_and_strangers_are_refused():
    rows = whole()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        three = LogisticRegression().fit(rows, np.arange(ROWS) % 3)
    assert compile_model(three, rows) == Refusal("LogisticRegression: it knows 3 classes, not two")
    assert "cannot be converted" in compile_model(object(), rows).reason


def test_other_answers_do_not_pass():
    model = fitted(DecisionTreeClassifier(random_state=0), whole())
    other = fitted(DecisionTreeClassifier(max_depth=2, random_state=0), whole())
    parity = compare_answers(
        lambda frame: model.predict_proba(frame)[:, 1], compiled(other, whole()).predict, whole()
    )
    assert not parity.passed
    assert "more than 1e-05" in str(parity)


def test_a_module_of_pytorch_answers_compiled():
    torch = pytest.importorskip("torch")
    from tidemill.training.compiling.torch_modules import module_scores

    torch.manual_seed(0)
    rows = whole()[["wind", "half"]]
    net = torch.nn.Sequential(
        torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Dropout(), torch.nn.Linear(8, 1), torch.nn.Sigmoid()
    )
    session = compiled(net, rows)
    assert session.predict(rows) == pytest.approx(module_scores(net, rows.to_numpy()), abs=1e-6)
    assert "end it with a sigmoid" in compile_model(torch.nn.Linear(2, 1), rows).reason
