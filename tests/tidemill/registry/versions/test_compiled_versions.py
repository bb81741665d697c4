"""Versions are compiled at birth, answer compiled, and fall back to what they were made as."""

import json
import shutil
import warnings

import lightgbm
import mlflow
import numpy as np
import onnx
import pandas as pd
import pytest
import xgboost
from onnx import helper, numpy_helper
from sklearn.ensemble import HistGradientBoostingClassifier

from tests.tidemill.training.small_project import FEATURES
from tidemill.errors import ModelUnsafe, RegistryError
from tidemill.project import load_project
from tidemill.registry.files_of_versions import holds_version
from tidemill.registry.versions import compiled_versions, new_versions
from tidemill.registry.versions.compiled_versions import ARTIFACT, TAG
from tidemill.registry.versions.model_versions import (
    compiled_record,
    get_version,
    list_versions,
    load_holdout,
    load_judged,
    load_original,
    load_scorer,
    open_files,
)
from tidemill.registry.versions.new_versions import compile_version, register
from tidemill.registry.versions.original_models import read_original
from tidemill.tasks.binary import Binary
from tidemill.training.fitting.packaging import log_model, trusted_types
from tidemill.training.tracking.mlflow_tracking import connect

pytestmark = pytest.mark.engine


def record_of(project, version):
    return compiled_record(project, get_version(project, version))


def configured(project, **serve):
    params = project.root / "params.yaml"
    params.write_text(params.read_text() + "\n" + json.dumps({"serve": serve})[1:-1] + "\n")
    return load_project(project.root, project.settings)


def test_a_version_is_born_compiled_and_answers_so(registered):
    for version in ("1", "2", "3"):
        record = record_of(registered, version)
        assert (record.status, record.features) == ("compiled", FEATURES)
        assert record.parity.rows > 300
        assert record.parity.max_difference < 1e-12
        scorer, original = load_scorer(registered, version), load_original(registered, version)
        assert (scorer.kind, scorer.reason, scorer.features) == ("onnx", None, FEATURES)
        assert original.kind == "skops"
        rows = load_holdout(registered, version).to_pandas()
        assert scorer.predict(rows) == pytest.approx(original.predict(rows), abs=1e-12)
        matrix = rows[list(FEATURES)].to_numpy(np.float64)
        assert np.array_equal(scorer.score(matrix), scorer.predict(rows))


def test_a_project_can_do_without(project, runs):
    off = configured(project, compiled="off")
    register(off, runs[0])
    assert load_scorer(off, "1").kind == "skops"
    assert load_scorer(off, "1").reason == "serve.compiled is off"
    assert "was off" in load_scorer(project, "1").reason
    assert compile_version(project, "1").status == "compiled"
    assert load_scorer(project, "1").kind == "onnx"
    assert load_scorer(off, "1").kind == "skops"


def test_one_who_is_killed_while_compiling_leaves_no_version(project, runs, monkeypatch):
    def die(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(
            new_versions, "compile_scorer", lambda *args: die(compiled_versions.compile_scorer(*args))
        )
        with pytest.raises(KeyboardInterrupt):
            register(project, runs[0])
    assert list_versions(project) == []  # though the artefact is there already
    assert register(project, runs[0]) == "1"
    assert load_scorer(project, "1").kind == "onnx"


def test_an_artefact_that_is_not_on_record_is_not_run(registered):
    with open_files(registered, "1") as one, open_files(registered, "2") as two:
        (one / ARTIFACT).write_bytes((two / ARTIFACT).read_bytes())
    scorer = load_scorer(registered, "1")
    assert scorer.kind == "skops"
    assert "SHA-256 differs" in scorer.reason
    with open_files(registered, "2") as two:
        (two / ARTIFACT).unlink()
    assert "cannot be read" in load_scorer(registered, "2").reason
    assert compile_version(registered, "1").status == "compiled"
    assert load_scorer(registered, "1").kind == "onnx"


def test_an_original_that_is_not_what_was_registered_is_not_loaded(registered):
    with open_files(registered, "1") as one, open_files(registered, "3") as three:
        [own], [other] = one.glob("*.skops"), three.glob("*.skops")
        own.write_bytes(other.read_bytes())
        (one / ARTIFACT).unlink()
    with pytest.raises(RegistryError, match="is not the one that was registered"):
        load_scorer(registered, "1")
    with pytest.raises(RegistryError, match="is not the one that was registered"):
        load_original(registered, "1")
    assert load_original(registered, "2").kind == "skops"


def test_a_twin_that_was_not_judged_is_not_compared_with(registered):
    found = get_version(registered, "2")
    assert load_judged(registered, found).kind == "skops"
    [twin] = registered.home.glob(f"artifacts/**/{found.run_id}/**/*.skops")
    with open_files(registered, "3") as three:
        twin.write_bytes(next(iter(three.glob("*.skops"))).read_bytes())
    with pytest.raises(RegistryError, match="is not the one that was registered"):
        load_judged(registered, found)


def test_the_files_of_versions_are_known_by_the_ids_in_their_addresses(registered, runs):
    made_of = get_version(registered, "1").source.split("/")[-2]
    assert made_of.startswith("m-")
    assert holds_version(registered, made_of)
    assert holds_version(registered, runs[0])
    assert not holds_version(registered, "0" * 32)
    assert not holds_version(registered, "m-" + "0" * 32)


def test_answers_that_differ_keep_the_original(project, runs, monkeypatch):
    class Other:
        def predict(self, frame):
            return np.full(len(frame), 0.5)

    with monkeypatch.context() as patched:
        patched.setattr("tidemill.training.compiling.onnx_session.open_session", lambda *args: Other())
        register(project, runs[0])
    record = record_of(project, "1")
    assert record.status == "refused"
    assert "does not answer as the original does" in record.reason
    assert not record.parity.passed
    assert load_scorer(project, "1").reason == record.reason
    connect(project).set_model_version_tag("small-model", "1", TAG, "{broken")
    assert "without being compiled" in load_scorer(project, "1").reason


def saved(folder, flavor, model, **choices):
    rows = pd.DataFrame({"wind": [0.0, 1.0, 2.0, 3.0], "rain": [1.0, 1.0, 0.0, 0.0]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flavor.save_model(
            model,
            folder,
            signature=mlflow.models.infer_signature(rows, np.zeros(4)),
            input_example=rows,
            pip_requirements=["scikit-learn"],
            **choices,
        )
    return folder


def taught(model):
    draw = np.random.default_rng(0)
    rows = pd.DataFrame(draw.normal(size=(200, 2)), columns=["wind", "rain"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(rows, (rows["wind"] > 0).to_numpy().astype(int)), rows


def test_models_made_elsewhere_are_loaded_if_that_is_safe(tmp_path):
    boosted, rows = taught(xgboost.XGBClassifier(n_estimators=3))
    light, _ = taught(lightgbm.LGBMClassifier(n_estimators=3, verbose=-1))
    trees, _ = taught(HistGradientBoostingClassifier(max_iter=3))
    types = trusted_types(trees, ())
    for name, folder, wanted in (
        ("native", saved(tmp_path / "x", mlflow.xgboost, boosted), boosted),
        ("native", saved(tmp_path / "xb", mlflow.xgboost, boosted.get_booster()), boosted),
        ("native", saved(tmp_path / "l", mlflow.lightgbm, light.booster_), light),
        (
            "skops",
            saved(
                tmp_path / "s",
                mlflow.sklearn,
                trees,
                serialization_format="skops",
                skops_trusted_types=types,
            ),
            trees,
        ),
    ):
        scorer = read_original(folder, "1", None, list)
        assert (scorer.kind, scorer.features) == (name, ("wind", "rain"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # LightGBM's about names of columns
            assert scorer.predict(rows) == pytest.approx(wanted.predict_proba(rows)[:, 1], abs=1e-6)


def test_a_model_in_onnx_is_loaded_if_it_keeps_to_itself(tmp_path):
    from tidemill.training.compiling.compiler import compile_model

    model, rows = taught(HistGradientBoostingClassifier(max_iter=3))
    made = onnx.load_model_from_string(compile_model(model, rows).content)
    scorer = read_original(saved(tmp_path / "o", mlflow.onnx, made), "1", None, list)
    assert scorer.kind == "onnx"
    assert scorer.predict(rows) == pytest.approx(model.predict_proba(rows)[:, 1])
    folder = saved(tmp_path / "bad", mlflow.onnx, made)
    tensor = numpy_helper.from_array(np.ones(1), "w")
    tensor.data_location = 1
    tensor.external_data.add(key="location", value="/etc/passwd")
    made.graph.initializer.append(tensor)
    made.graph.node.append(helper.make_node("Identity", ["w"], ["unused"]))
    [file] = folder.glob("*.onnx")
    file.write_bytes(made.SerializeToString())
    with pytest.raises(ModelUnsafe, match="in another file"):
        read_original(folder, "1", None, list)


def test_a_pickle_is_loaded_only_if_the_project_names_it(registered, tmp_path, caplog):
    light, rows = taught(lightgbm.LGBMClassifier(n_estimators=3, verbose=-1))
    folder = saved(tmp_path / "pickled", mlflow.lightgbm, light)
    connect(registered).create_model_version("small-model", source=folder.as_uri())
    with pytest.raises(ModelUnsafe, match="can execute code when it is loaded: refused") as refused:
        load_scorer(registered, "4")
    assert "serve.trust_pickled" in refused.value.hint
    with pytest.raises(ModelUnsafe):
        load_scorer(configured(registered, trust_pickled=["small-model/3", "other/4"]), "4")
    (registered.root / "params.yaml").write_text(
        (registered.root / "params.yaml").read_text().replace("small-model/3", "small-model/4")
    )
    trusting = load_project(registered.root, registered.settings)
    scorer = load_scorer(trusting, "4")
    assert scorer.kind == "pyfunc"
    assert "can execute code" in caplog.text
    assert scorer.predict(rows) == pytest.approx(light.predict_proba(rows)[:, 1])


def test_a_module_of_pytorch_is_trusted_by_name_and_then_runs_compiled(tmp_path):
    torch = pytest.importorskip("torch")
    from tidemill.registry.versions.compiled_versions import compile_scorer, read_compiled

    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1), torch.nn.Sigmoid()
    )
    folder = saved(tmp_path / "m", mlflow.pytorch, net, serialization_format="pickle")
    with pytest.raises(ModelUnsafe, match="can execute code when it is loaded: refused"):
        read_original(folder, "1", None, list)
    original = read_original(folder, "1", None, list, trusted=True)
    assert (original.kind, original.features) == ("native", ("wind", "rain"))
    rows = pd.DataFrame({"rain": [0.0, 2.0, -1.0], "wind": [1.0, -3.0, 0.5]})
    wanted = net(torch.from_numpy(rows[["wind", "rain"]].to_numpy(np.float32))).detach().numpy()[:, 0]
    assert original.predict(rows) == pytest.approx(wanted, abs=1e-7)
    record = compile_scorer(
        original,
        rows,
        lambda file, inside: shutil.copytree(file.parent, folder / inside, dirs_exist_ok=True),
    )
    assert (record.status, record.parity.passed) == ("compiled", True), record.reason
    assert read_compiled(folder, "1", record, Binary("roc_auc")).predict(rows) == pytest.approx(
        wanted, abs=1e-6
    )


def test_a_model_without_a_signature_is_refused(tmp_path):
    model, _ = taught(xgboost.XGBClassifier(n_estimators=3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.xgboost.save_model(model, tmp_path / "m", pip_requirements=["xgboost"])
    with pytest.raises(RegistryError, match="with a signature"):
        read_original(tmp_path / "m", "1", None, list)


def test_a_signature_without_names_is_refused(tmp_path):
    from tidemill.training.compiling.compiler import compile_model

    model, rows = taught(HistGradientBoostingClassifier(max_iter=3))
    made = onnx.load_model_from_string(compile_model(model, rows).content)
    tensor = mlflow.models.infer_signature(rows.to_numpy(), np.zeros(len(rows)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.onnx.save_model(made, tmp_path / "m", signature=tensor, pip_requirements=["onnx"])
    with pytest.raises(RegistryError, match="no names for the features") as refused:
        read_original(tmp_path / "m", "1", None, list)
    assert "signature of a frame" in refused.value.hint


@pytest.mark.parametrize(
    "model",
    [xgboost.XGBClassifier(n_estimators=3), lightgbm.LGBMClassifier(n_estimators=3, verbose=-1)],
    ids=["xgboost", "lightgbm"],
)
def test_a_family_may_use_another_package(project, runs, model, tmp_path):
    """Saved in the skops format, loaded again, and compiled."""
    from tidemill.registry.versions.compiled_versions import compile_scorer

    taught_model, rows = taught(model)
    client = connect(project)
    uri = log_model(
        client,
        run_id=runs[0],
        name="m",
        estimator=taught_model,
        task=Binary("roc_auc"),
        example=rows[:5],
        trusted=trusted_types(taught_model, ()),
    ).uri
    place = client.get_logged_model(uri.removeprefix("models:/")).artifact_location.removeprefix("file://")
    original = read_original(tmp_path.__class__(place), "1", trusted_types(taught_model, ()), list)
    assert original.predict(rows) == pytest.approx(taught_model.predict_proba(rows)[:, 1])
    record = compile_scorer(original, rows, lambda file, folder: None)
    assert record.status == "compiled"
    assert record.parity.max_difference < 1e-6
