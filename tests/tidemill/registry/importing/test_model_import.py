"""A model of every kind from elsewhere is imported, answers as it did, and passes the gate."""

import joblib
import lightgbm
import numpy as np
import pandas as pd
import pytest
import skops.io
import xgboost
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from tidemill.errors import DataError, ModelUnsafe, RegistryError, UsageError
from tidemill.features.request_features import FeatureRow
from tidemill.project import load_project
from tidemill.registry.gates.champion_comparison import compare
from tidemill.registry.versions.model_versions import (
    get_version,
    list_versions,
    load_holdout,
    load_original,
    load_reference,
    load_scorer,
)
from tidemill.serving.inference.explaining import Explainer

pytestmark = pytest.mark.engine

NUMBERS = ["wind", "delay", "hour"]


def frame(rows, names=(*NUMBERS, "origin")):
    return rows.select(names).to_pandas()


def pipeline(model):
    prepare = ColumnTransformer(
        [
            ("text", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["origin"]),
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS),
        ]
    )
    return make_pipeline(prepare, model)


def taught(rows, target):
    model = Ridge() if target == "minutes" else LogisticRegression()
    return pipeline(model).fit(frame(rows), rows[target].to_numpy())


def skops_file(tmp_path, model):
    skops.io.dump(model, tmp_path / "model.skops")
    return tmp_path / "model.skops"


def answers_as(project, version, frame_, expected):
    scorer = load_scorer(project, version)
    assert scorer.predict(frame_) == pytest.approx(expected, abs=1e-5)
    return scorer


@pytest.mark.parametrize(
    ("task", "target"), [("binary", "churned"), ("multiclass", "kind"), ("regression", "minutes")]
)
def test_a_pipeline_of_scikit_learn_with_text(project_of, imported, rows, tmp_path, task, target):
    project, model = project_of(task), taught(rows, target)
    (tmp_path / "here").mkdir()
    done = imported(project, tmp_path / "here" / ".." / skops_file(tmp_path, model).name)
    assert done.source == str(tmp_path.resolve() / "model.skops")
    given = frame(rows)
    if task == "regression":
        expected = model.predict(given)
    elif task == "binary":  # its first class is "left", the project's positive one
        expected = model.predict_proba(given)[:, 0]
    else:
        names = list(model.classes_)
        places = [names.index(name) for name in ("short", "medium", "long")]
        expected = model.predict_proba(given)[:, places]
    scorer = answers_as(project, done.version, given, expected)
    assert (scorer.kind, done.compiled) == ("onnx", None)
    assert done.parity.max_difference < 1e-9
    found = get_version(project, done.version)
    held = load_holdout(project, done.version)
    truth = project.task.truth(held, target)
    judged = project.task.evaluate(truth, scorer.predict(held.to_pandas()))[project.task.metric]
    assert found.metrics[f"holdout_{project.task.metric}"] == pytest.approx(judged, abs=1e-5)
    assert load_reference(project, done.version).scores.is_finite().all()
    assert "imported from" in found.description
    assert found.lineage.imported["sha256"] == done.sha256
    verdict = compare(project, found, None)
    assert verdict.passed
    assert any("was imported from" in reason for reason in verdict.reasons)


def test_a_model_that_knows_gaps_in_text_as_nan_alone(project_of, imported, rows, tmp_path):
    given = frame(rows)
    nan = given.assign(origin=given["origin"].astype(object).where(given["origin"].notna(), np.nan))
    model = pipeline(Ridge()).fit(nan, rows["minutes"].to_numpy())
    project = project_of("regression")
    with pytest.raises(DataError, match="knows gaps in text as NaN") as refused:
        imported(project, skops_file(tmp_path, model))
    assert "None" in refused.value.hint
    assert list_versions(project) == []


def test_numbers_of_classes_need_names(project_of, imported, rows, tmp_path):
    labels = (rows["churned"] == "stayed").cast(int).to_numpy()
    model = HistGradientBoostingClassifier(max_iter=5).fit(frame(rows, NUMBERS), labels)
    project, file = project_of("binary"), skops_file(tmp_path, model)
    with pytest.raises(DataError, match="0, 1 are none of the project's: stayed, left") as refused:
        imported(project, file)
    assert "--classes" in refused.value.hint
    assert list_versions(project) == []
    done = imported(project, file, classes=("left", "stayed"))
    answers_as(project, done.version, frame(rows), model.predict_proba(frame(rows, NUMBERS))[:, 0])


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("suffix", ["ubj", "json", "txt"])
def test_files_of_boosters(project_of, imported, rows, tmp_path, task, suffix):
    target = {"binary": "churned", "multiclass": "kind", "regression": "minutes"}[task]
    project, given = project_of(task), frame(rows, NUMBERS)
    labels = project.task.truth(rows, target)
    file = tmp_path / f"model.{suffix}"
    if suffix == "txt":
        kind = lightgbm.LGBMRegressor if task == "regression" else lightgbm.LGBMClassifier
        model = kind(n_estimators=5, verbose=-1, n_jobs=1).fit(given, labels)
        model.booster_.save_model(file)
    else:
        kind = xgboost.XGBRegressor if task == "regression" else xgboost.XGBClassifier
        model = kind(n_estimators=5, n_jobs=1).fit(given, labels)
        model.save_model(file)
    classes = getattr(project.task, "classes", ())
    if classes:
        with pytest.raises(UsageError, match="does not store the names of its classes"):
            imported(project, file)
    done = imported(project, file, classes=classes)
    expected = model.predict(given) if task == "regression" else model.predict_proba(given)
    expected = expected[:, 1] if task == "binary" else expected
    scorer = answers_as(project, done.version, frame(rows), expected)
    assert (scorer.kind, scorer.features) == ("onnx", tuple(NUMBERS))


def test_positions_of_classes_need_names_in_their_order(project_of, imported, rows, tmp_path):
    project, given, file = project_of("multiclass"), frame(rows, NUMBERS), tmp_path / "my model.ubj"
    names = ["long", "short", "medium"]
    numbers = [names.index(name) for name in rows["kind"]]
    model = xgboost.XGBClassifier(n_estimators=5, n_jobs=1).fit(given, numbers)
    model.save_model(file)
    with pytest.raises(UsageError, match=r"only their positions: --classes is required") as refused:
        imported(project, file)
    assert f"tidemill models import '{file}' --classes short,medium,long" in refused.value.hint
    assert list_versions(project) == []
    done = imported(project, file, classes=tuple(names))
    answers_as(project, done.version, given, model.predict_proba(given)[:, [1, 2, 0]])
    assert done.metrics["holdout_neg_log_loss"] > -0.9  # three equal chances give -1.1


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_xgboost_that_stopped_early_answers_with_its_best_round(project_of, imported, rows, tmp_path, task):
    project, given = project_of(task), frame(rows, NUMBERS)
    truth = np.asarray(project.task.truth(rows, "kind" if task == "multiclass" else "minutes"))
    kind = xgboost.XGBRegressor if task == "regression" else xgboost.XGBClassifier
    model = kind(n_estimators=40, early_stopping_rounds=3, learning_rate=0.9, n_jobs=1, random_state=1)
    model.fit(given[:100], truth[:100], eval_set=[(given[100:200], truth[100:200])], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    model.save_model(tmp_path / "model.ubj")
    done = imported(project, tmp_path / "model.ubj", classes=getattr(project.task, "classes", ()))
    expected = model.predict(given) if task == "regression" else model.predict_proba(given)
    answers_as(project, done.version, given, expected)


def test_a_linear_booster_is_served_compiled_and_explained(project_of, imported, rows, tmp_path):
    project, given = project_of("binary"), frame(rows, NUMBERS)
    truth = np.asarray(project.task.truth(rows, "churned"))
    model = xgboost.XGBClassifier(booster="gblinear", n_estimators=5, n_jobs=1).fit(given, truth)
    model.save_model(tmp_path / "model.json")
    done = imported(project, tmp_path / "model.json", classes=project.task.classes)
    expected = model.predict_proba(given)[:, 1]
    scorer = answers_as(project, done.version, given, expected)
    assert (scorer.kind, done.compiled) == ("onnx", None)
    explainer = Explainer(
        lambda version: load_original(project, version),
        lambda version: load_reference(project, version).features,
    )
    values = {name: float(given[name][0]) for name in NUMBERS}
    (told,) = explainer.explain(done.version, [FeatureRow(values, ())])
    assert told["unit"] == "probability"
    assert told["base_value"] + sum(told["contributions"].values()) == pytest.approx(expected[0], abs=1e-5)


def test_a_file_without_names_needs_examples(project_of, imported, rows, tmp_path):
    project = project_of("regression")
    model = xgboost.XGBRegressor(n_estimators=3).fit(
        rows.select(NUMBERS).to_numpy(), rows["minutes"].to_numpy()
    )
    model.save_model(tmp_path / "model.ubj")
    with pytest.raises(UsageError, match="does not tell the names of its features") as refused:
        imported(project, tmp_path / "model.ubj")
    assert "--examples" in refused.value.hint
    rows.head(20).select(*NUMBERS, "minutes").write_csv(tmp_path / "rows.csv")
    done = imported(project, tmp_path / "model.ubj", examples=tmp_path / "rows.csv")
    assert done.features == tuple(NUMBERS)
    rows.head(20).select("wind", "delay").write_parquet(tmp_path / "few.parquet")
    with pytest.raises(DataError, match="takes 3 features, but --examples has 2 columns"):
        imported(project, tmp_path / "model.ubj", examples=tmp_path / "few.parquet")


def test_a_pickle_is_refused_and_with_leave_saved_without(project_of, imported, rows, tmp_path):
    project, model = project_of("regression"), taught(rows, "minutes")
    joblib.dump(model, tmp_path / "model.joblib")
    with pytest.raises(ModelUnsafe, match="is a pickle") as refused:
        imported(project, tmp_path / "model.joblib")
    assert "skops" in refused.value.hint
    assert list_versions(project) == []
    done = imported(project, tmp_path / "model.joblib", allow_code=True)
    assert get_version(project, done.version).lineage.imported["allowed_code"] is True
    assert not done.runs_code
    answers_as(project, done.version, frame(rows), model.predict(frame(rows)))


def test_models_that_do_not_fit_leave_nothing(project_of, imported, rows, tmp_path):
    project, given = project_of("regression"), frame(rows, NUMBERS)
    other = HistGradientBoostingRegressor(max_iter=2).fit(
        given.rename(columns={"wind": "gust"}), rows["minutes"]
    )
    with pytest.raises(DataError, match="features that the project does not have: gust; it has wind"):
        imported(project, skops_file(tmp_path, other))
    classifier = HistGradientBoostingClassifier(max_iter=2).fit(given, rows["churned"].to_numpy())
    with pytest.raises(DataError, match=r"another task: binary of 2 classes \(left, stayed\)"):
        imported(project, skops_file(tmp_path, classifier))
    (tmp_path / "notes.txt").write_text("no model")
    with pytest.raises(UsageError, match="not a model of a kind that can be imported"):
        imported(project, tmp_path / "notes.txt")
    with pytest.raises(UsageError, match="no such file"):
        imported(project, tmp_path / "nothing.skops")
    half = skops_file(tmp_path, other).read_bytes()[:500]
    (tmp_path / "half.skops").write_bytes(half)
    with pytest.raises((RegistryError, UsageError)):
        imported(project, tmp_path / "half.skops")
    codes = pd.DataFrame({"origin": np.arange(9.0)})
    words = HistGradientBoostingRegressor(max_iter=2).fit(codes, np.arange(9.0))
    with pytest.raises(DataError, match="does not take the project's rows"):
        imported(project, skops_file(tmp_path, words))
    parts = make_pipeline(StandardScaler()).fit(given.fillna(0.0))
    with pytest.raises(RegistryError, match="Pipeline, which has no predict: it is not a model"):
        imported(project, skops_file(tmp_path, parts))
    targets = rows.select("kind", "churned").to_numpy().astype(str)
    several = DecisionTreeClassifier(max_depth=1).fit(given, targets)  # of three classes, and of two
    with pytest.raises(DataError, match="DecisionTreeClassifier of 2 targets model gives no probabilities"):
        imported(project, skops_file(tmp_path, several))
    assert list_versions(project) == []


def test_a_lightgbm_file_that_is_cut_off_is_refused(project_of, imported, rows, tmp_path):
    data = lightgbm.Dataset(rows.select(NUMBERS).to_pandas(), rows["minutes"].to_numpy())
    lightgbm.train({"objective": "regression", "verbose": -1}, data, 3).save_model(tmp_path / "m.txt")
    whole = (tmp_path / "m.txt").read_bytes()
    project = project_of("regression")
    third = whole.index(b"Tree=2")
    damaged = (whole[: third // 2], whole[:third], whole[: third - 40] + whole[third - 30 :], whole[:-200])
    for content in damaged:
        (tmp_path / "m.txt").write_bytes(content)
        with pytest.raises(RegistryError, match=r"m\.txt is cut off or was edited"):
            imported(project, tmp_path / "m.txt")
    assert not list_versions(project)


def test_quantiles_of_xgboost_are_lists_in_a_custom_project(project_of, imported, rows, tmp_path):
    project, given = project_of("custom"), frame(rows, NUMBERS)
    (project.root / "pinball_of_three.py").write_text(
        "def closeness(truth, answers):\n"
        "    return -sum(abs(want - given[1]) for want, given in zip(truth, answers)) / len(truth)\n"
    )
    params = project.root / "params.yaml"
    params.write_text(params.read_text().replace("none:closeness", "pinball_of_three:closeness"))
    project = load_project(project.root, project.settings)
    model = xgboost.XGBRegressor(
        objective="reg:quantileerror", quantile_alpha=[0.1, 0.5, 0.9], n_estimators=5, n_jobs=1
    ).fit(given, rows["minutes"].to_numpy())
    model.save_model(tmp_path / "m.ubj")
    done = imported(project, tmp_path / "m.ubj")
    assert (done.kind, done.runs_code) == ("XGBoost", False)
    assert "custom task" in done.compiled
    scorer = load_scorer(project, done.version)
    assert (scorer.kind, scorer.predict(given).tolist()) == ("native", model.predict(given).tolist())
    assert compare(project, get_version(project, done.version), None).passed
