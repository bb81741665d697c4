"""What each feature contributed adds up to what the model says, and what cannot be explained says why."""

import warnings

import catboost
import lightgbm
import numpy as np
import pandas as pd
import polars as pl
import pytest
import xgboost
from fastapi.testclient import TestClient
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler, TargetEncoder

from tests.tidemill.serving.small_project import KNOWN
from tidemill.features.request_features import FeatureRow
from tidemill.project import load_project
from tidemill.registry.versions.loaded_model import Scorer
from tidemill.registry.versions.model_signature import ModelSignature
from tidemill.serving.inference.calls import Refused
from tidemill.serving.inference.explaining import Explainer
from tidemill.serving.runtime.replica.wiring import build_api
from tidemill.tasks.binary import Binary
from tidemill.tasks.custom import Custom
from tidemill.tasks.multiclass import Multiclass
from tidemill.tasks.regression import Regression
from tidemill.training.families.preparation import prepare_rows, with_preparation

pytestmark = pytest.mark.engine

CATBOOST = {"iterations": 5, "logging_level": "Silent", "allow_writing_files": False}
FEATURES = ("wind", "carrier", "rain")


def rows():
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(draw.normal(size=(300, 3)), columns=list(FEATURES))
    frame["carrier"] = draw.integers(0, 4, 300).astype(float)
    frame.loc[::9, "rain"] = np.nan
    return frame


def reference(version):
    return pl.from_pandas(rows())


def explainer(model, count):
    frame = rows()
    late = (frame["wind"] + (frame["carrier"] == 2) > 0.5).to_numpy().astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(frame, late)
    asked = []

    def load(version):
        asked.append(version)
        return Scorer(version, FEATURES, None, "skops", None, model)

    served = [FeatureRow(dict(zip(FEATURES, row, strict=True)), ()) for row in frame[:count].to_numpy()]
    return Explainer(load, reference), served, model.predict_proba(frame[:count])[:, 1], asked


def prepared(model):
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    kinds = ColumnTransformer(
        [
            ("carrier", encoder, ["carrier"]),
            ("rain", SimpleImputer(add_indicator=True), ["rain"]),
            ("wind", StandardScaler(), ["wind"]),
        ]
    )
    return make_pipeline(kinds, model)


@pytest.mark.parametrize(
    ("model", "unit"),
    [
        (HistGradientBoostingClassifier(max_iter=5), "log-odds"),
        (prepared(HistGradientBoostingClassifier(max_iter=5)), "log-odds"),
        (prepared(GradientBoostingClassifier(n_estimators=5)), "log-odds"),
        (xgboost.XGBClassifier(n_estimators=5), "log-odds"),
        (prepared(catboost.CatBoostClassifier(**CATBOOST)), "log-odds"),
        (RandomForestClassifier(5, random_state=0), "probability"),
    ],
)
def test_contributions_add_up_to_what_the_model_says(model, unit):
    explain, served, said, asked = explainer(model, 20)
    found = explain.explain("3", served)
    totals = np.array([one["base_value"] + sum(one["contributions"].values()) for one in found])
    assert {one["unit"] for one in found} == {unit}
    assert {tuple(one["contributions"]) for one in found} == {FEATURES}
    wanted = np.log(said / (1 - said)) if unit == "log-odds" else said
    assert totals == pytest.approx(wanted, abs=1e-5)
    biggest = {max(one["contributions"], key=lambda name: abs(one["contributions"][name])) for one in found}
    assert biggest <= {"wind", "carrier"}
    explain.explain("3", served[:1])
    assert asked == ["3"]


def with_text(model):
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    target = TargetEncoder(
        target_type="multiclass" if hasattr(model, "predict_proba") else "continuous", cv=2
    )
    kinds = ColumnTransformer(
        [("few", encoder, ["origin"]), ("many", target, ["origin"])], remainder="passthrough"
    )
    return make_pipeline(kinds, model)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("model", "unit"),
    [
        (HistGradientBoostingRegressor(max_iter=5), "value"),
        (RandomForestRegressor(5, random_state=0), "value"),
        (xgboost.XGBRegressor(n_estimators=5), "value"),
        (lightgbm.LGBMRegressor(n_estimators=5, verbose=-1), "value"),
        (catboost.CatBoostRegressor(**CATBOOST), "value"),
        (HistGradientBoostingClassifier(max_iter=5), "score"),
        (RandomForestClassifier(5, random_state=0), "probability"),
        (xgboost.XGBClassifier(n_estimators=5), "score"),
        (lightgbm.LGBMClassifier(n_estimators=5, verbose=-1), "score"),
        (catboost.CatBoostClassifier(**CATBOOST), "score"),
    ],
)
def test_values_and_several_classes_are_explained_and_text_is_a_feature(model, unit):
    frame = rows().drop(columns="carrier")
    frame["origin"] = np.random.default_rng(1).choice(["JFK", "EWR", None], len(frame)).astype(object)
    delay = 100 + 20 * frame["wind"] + 30 * (frame["origin"] == "JFK")
    classes = Multiclass("neg_log_loss", classes=("early", "in time", "late"))
    task = Regression("neg_mae") if unit == "value" else classes
    fitted = with_text(model).fit(frame, delay if unit == "value" else np.digitize(delay, [95, 120]))
    scorer = Scorer("1", tuple(frame.columns), None, "skops", None, fitted, task=task, words=("origin",))
    asked = frame.head(20)
    served = [
        FeatureRow({name: None if one != one else one for name, one in row.items()}, ())
        for row in asked.to_dict("records")
    ]
    found = Explainer(lambda version: scorer, reference).explain("1", served)
    totals = np.array([one["base_value"] + sum(one["contributions"].values()) for one in found])
    answers = task.answers(fitted, asked)
    assert {one["unit"] for one in found} == {unit}
    assert {tuple(one["contributions"]) for one in found} == {("wind", "rain", "origin")}
    if unit == "value":
        assert totals == pytest.approx(answers, rel=1e-5)
    elif unit == "probability":
        assert totals == pytest.approx(answers.max(axis=1), abs=1e-6)
    else:  # the softmax of the score, over the scores of all classes, is the probability
        assert np.corrcoef(totals, np.log(answers.max(axis=1)))[0, 1] > 0.5
    biggest = {max(one["contributions"], key=lambda name: abs(one["contributions"][name])) for one in found}
    assert biggest <= {"wind", "origin"}
    assert "origin" in biggest


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (make_pipeline(SimpleImputer(), PCA(2), RandomForestClassifier(2)), "PCA mixes features"),
        (HistGradientBoostingClassifier(max_iter=5, categorical_features=["carrier"]), "do not add up"),
    ],
)
def test_what_cannot_be_explained_says_why(model, why):
    explain, served, *_ = explainer(model, 5)
    with pytest.raises(Refused) as refused:
        explain.explain("1", served)
    assert refused.value.failure.kind == "unsupported"
    assert why in refused.value.failure.detail


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_models_that_are_none_of_trees_are_explained_by_asking_them(task):
    """A network as the family `mlp` keeps it, with text, a list and a gap."""
    draw = np.random.default_rng(3)
    frame = pd.DataFrame(draw.normal(size=(300, 3)), columns=["wind", "e.0", "e.1"])
    frame["noise"] = draw.normal(size=300)
    frame["origin"] = draw.choice(["JFK", "EWR", None], 300).astype(object)
    frame.loc[::9, "noise"] = np.nan
    amount = 2 * frame["wind"] + frame["e.0"] + 2 * (frame["origin"] == "JFK")
    kind, made = {
        "binary": (Binary("roc_auc"), MLPClassifier),
        "multiclass": (Multiclass("neg_log_loss", classes=("low", "middle", "high")), MLPClassifier),
        "regression": (Regression("neg_mae"), MLPRegressor),
    }[task]
    labels = {"binary": amount > 1, "multiclass": np.digitize(amount, [-1, 2])}.get(task, amount)
    labels = pd.Series(labels).astype(float if task == "regression" else int)
    prepare, prepared_rows = prepare_rows(task, frame, labels, dense=True)
    network = made(hidden_layer_sizes=[16], max_iter=400, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network.fit(prepared_rows, labels)
    model = with_preparation(prepare, network)
    features = ("wind", "e", "noise", "origin")
    signature = ModelSignature(("wind", "e.0", "e.1", "noise", "origin"), ("origin",), kind)
    scorer = signature.scorer(
        "1", lambda given: kind.answers(model, given[list(frame.columns)]), "skops", model
    ).with_lists(features, {"e": 2})
    known = pl.DataFrame({"wind": frame["wind"], "noise": frame["noise"], "origin": frame["origin"]})
    known = known.with_columns(e=pl.Series(frame[["e.0", "e.1"]].to_numpy(), dtype=pl.Array(pl.Float64, 2)))
    served = [
        FeatureRow({"wind": 2.0, "e": [1.0, 0.0], "noise": None, "origin": "JFK"}, ()),
        FeatureRow({"wind": -2.0, "e": [1.0, 0.0], "noise": 0.5, "origin": None}, ()),
    ]
    found = Explainer(lambda version: scorer, lambda version: known).explain("1", served)
    answers = scorer.predict(pd.DataFrame([row.values for row in served]))
    answers = answers.max(axis=1) if answers.ndim == 2 else answers
    totals = [one["base_value"] + sum(one["contributions"].values()) for one in found]
    assert totals == pytest.approx(answers, abs=1e-9)
    assert {one["unit"] for one in found} == {"value" if task == "regression" else "probability"}
    for one in found:
        assert tuple(one["contributions"]) == features
        sizes = {name: abs(value) for name, value in one["contributions"].items()}
        assert max(sizes, key=sizes.get) == "wind"
        assert sizes["noise"] < sizes["wind"] / 2
    assert found == Explainer(lambda version: scorer, lambda version: known).explain("1", served)


def test_custom_answers_are_not_explained():
    scorer = Scorer("1", FEATURES, None, "pyfunc", None, task=Custom("m:f"))
    with pytest.raises(Refused, match="custom") as refused:
        Explainer(lambda version: scorer, reference).explain("1", [FeatureRow({}, ())])
    assert refused.value.failure.kind == "unsupported"


def test_rows_are_limited():
    explain, served, *_ = explainer(RandomForestClassifier(2), 101)
    with pytest.raises(Refused) as refused:
        explain.explain("1", served)
    assert refused.value.failure.kind == "unsupported"


@pytest.mark.engine
@pytest.mark.parametrize("missing", [False, True])
def test_an_answer_is_explained_on_request(served_parcels, monkeypatch, missing):
    if missing:
        monkeypatch.setitem(__import__("sys").modules, "shap", None)
    body = {"instances": [{"depot": "north"}, {"depot": "south"}], "at": KNOWN.isoformat()}
    # The first request loads SHAP, which takes longer than a request may on a busy machine.
    params = served_parcels.root / "params.yaml"
    params.write_text(params.read_text().replace("serve:\n", "serve:\n  timeout_seconds: 300\n"))
    with TestClient(build_api(load_project(served_parcels.root), "r1")) as client:
        assert "explanation" not in client.post("/predict", json=body).json()["predictions"][0]
        answer = client.post("/predict?explain=true", json=body)
        if missing:
            assert answer.status_code == 422
            assert "pip install 'tidemill[explain]'" in answer.json()["detail"]
            return
        assert answer.status_code == 200
        for one in answer.json()["predictions"]:
            shown = one["explanation"]
            assert set(shown["contributions"]) == {"wind", "rain"}
            margin = shown["base_value"] + sum(shown["contributions"].values())
            assert 1 / (1 + np.exp(-margin)) == pytest.approx(one["probability"])
