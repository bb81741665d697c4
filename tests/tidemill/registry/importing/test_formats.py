"""ONNX, PyTorch, MLflow's flavours and classes of the project are imported, and answer as they did."""

import logging
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import polars as pl
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import Array
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression

from tests.tidemill.registry.importing.conftest import FEATURES
from tests.tidemill.registry.importing.test_model_import import (
    NUMBERS,
    answers_as,
    frame,
    pipeline,
    skops_file,
    taught,
)
from tests.tidemill.training.small_project import Data, day
from tests.warm_commands import command
from tidemill.errors import DataError, ModelUnsafe, RegistryError, UsageError
from tidemill.project import load_project
from tidemill.registry.gates.champion_comparison import compare
from tidemill.registry.importing.import_checks import choose_features
from tidemill.registry.importing.mlflow_models import read_folder_model
from tidemill.registry.importing.model_files import read_file_model
from tidemill.registry.importing.model_import import ImportRequest, ProjectState, import_version
from tidemill.registry.importing.model_kinds import kind_of_file
from tidemill.registry.importing.onnx_files import read_onnx_file
from tidemill.registry.versions.model_versions import get_version, list_versions, load_scorer
from tidemill.registry.versions.original_models import read_original
from tidemill.tasks.custom import Custom
from tidemill.tasks.regression import Regression
from tidemill.training.tracking import mlflow_tracking

pytestmark = pytest.mark.engine


def filled(rows, names=NUMBERS):
    return rows.select(names).fill_null(0.0).to_pandas().astype(float)


def test_onnx_with_one_input_of_numbers(project_of, imported, rows, tmp_path):
    project, given = project_of("multiclass"), filled(rows)
    model = LogisticRegression().fit(given, rows["kind"].to_numpy())
    made = to_onnx(model, given.to_numpy(np.float32)[:1], options={"zipmap": False})
    (tmp_path / "model.onnx").write_bytes(made.SerializeToString())
    names = ("long", "medium", "short")
    with pytest.raises(UsageError, match="does not tell the names"):
        imported(project, tmp_path / "model.onnx", classes=names)
    rows.head(9).select(*NUMBERS, "kind").write_parquet(tmp_path / "rows.parquet")
    with pytest.raises(UsageError, match="--classes is required") as refused:
        imported(project, tmp_path / "model.onnx", examples=tmp_path / "rows.parquet")
    assert "rows.parquet --classes short,medium,long" in refused.value.hint
    done = imported(project, tmp_path / "model.onnx", examples=tmp_path / "rows.parquet", classes=names)
    scorer = answers_as(project, done.version, given, model.predict_proba(given)[:, [2, 1, 0]])
    assert (scorer.kind, done.compiled) == ("onnx", None)


def test_onnx_with_several_outputs_is_ambiguous_but_for_a_custom_task(project_of, imported, rows, tmp_path):
    given = filled(rows, ["wind", "delay"])
    model = GaussianProcessRegressor(optimizer=None, alpha=1.0).fit(
        given[:40], rows["minutes"].to_numpy()[:40]
    )
    made = to_onnx(model, given.to_numpy()[:1], options={GaussianProcessRegressor: {"return_std": True}})
    names = [one.name for one in made.graph.output]
    (tmp_path / "both.onnx").write_bytes(made.SerializeToString())
    rows.head(9).select(["wind", "delay"]).fill_null(0.0).write_parquet(tmp_path / "rows.parquet")
    with pytest.raises(DataError, match="gives 2 outputs of numbers, " + ", ".join(names)) as refused:
        imported(project_of("regression"), tmp_path / "both.onnx", examples=tmp_path / "rows.parquet")
    assert "alone" in refused.value.hint
    task, found = Custom(""), read_onnx_file(tmp_path / "both.onnx")
    output = found.answer(given, task)
    found.save(tmp_path / "saved", task, given[:5], {name: column[:5] for name, column in output.items()})
    served = read_original(tmp_path / "saved", "1", (), tuple, task=task).predict(given)
    assert served.tolist() == task.from_output(output).tolist()
    answer = served[0]
    mean, deviation = model.predict(given[:1], return_std=True)
    assert list(answer) == names
    assert np.ravel(answer[names[0]]) == pytest.approx(mean, abs=1e-3)
    assert np.ravel(answer[names[1]]) == pytest.approx(deviation, abs=1e-3)


def test_onnx_with_one_input_of_whole_numbers(tmp_path):
    """As of a model that was fitted on integers; what is no whole number has no answer."""
    given = pd.DataFrame({"hour": [1.0, 2.0, np.nan, 4.5], "day": [3.0, 1.0, 2.0, 2.0]})
    model = LinearRegression().fit(given[:2].to_numpy(), [1.0, 5.0])
    made = to_onnx(model, initial_types=[("input", Int64TensorType([None, 2]))])
    (tmp_path / "whole.onnx").write_bytes(made.SerializeToString())
    task, found = Regression("neg_mae"), read_onnx_file(tmp_path / "whole.onnx")
    output = found.answer(given, task)
    assert np.ravel(output) == pytest.approx([1.0, 5.0, np.nan, np.nan], nan_ok=True, abs=1e-4)
    found.save(tmp_path / "saved", task, given[:2], output[:2])
    served = read_original(tmp_path / "saved", "1", ("hour", "day"), tuple, task=task).predict(given)
    assert served == pytest.approx(np.ravel(output), nan_ok=True)


def test_onnx_with_an_input_for_each_feature(project_of, imported, rows, tmp_path):
    given = filled(rows).assign(origin=rows["origin"].fill_null("").to_numpy())
    model = pipeline(LogisticRegression()).fit(given, rows["churned"].to_numpy())
    types = [(n, FloatTensorType([None, 1])) for n in NUMBERS] + [("origin", StringTensorType([None, 1]))]
    made = to_onnx(model, initial_types=types, options={"zipmap": False})
    (tmp_path / "model.onnx").write_bytes(made.SerializeToString())
    project = project_of("binary")
    done = imported(project, tmp_path / "model.onnx", classes=("left", "stayed"))
    scorer = answers_as(project, done.version, given, model.predict_proba(given)[:, 0])
    assert scorer.words == ("origin",)
    texts = [[one] for one in given["origin"]]
    numbers = given[[name for name in scorer.features if name != "origin"]].to_numpy()
    assert scorer.mixed(numbers, texts) == pytest.approx(scorer.predict(given))
    assert compare(project, get_version(project, done.version), None).passed


def test_onnx_with_an_input_for_a_list_beside_others(tmp_path):
    """As Keras and PyTorch export a picture and an age; the list is a column for each element."""
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", size])
              for name, size in (("age", 1), ("picture", 3))]  # fmt: skip
    nodes = [helper.make_node("ReduceL1", ["picture"], ["sum"], axes=[1]),
             helper.make_node("Mul", ["sum", "age"], ["value"])]  # fmt: skip
    output = helper.make_tensor_value_info("value", TensorProto.FLOAT, ["rows", 1])
    graph = helper.make_graph(nodes, "both", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "both.onnx").write_bytes(model.SerializeToString())
    task, found = Regression("neg_mae"), read_onnx_file(tmp_path / "both.onnx")
    names = choose_features(found, None, ["picture", "age"], [], {"picture": 3})
    assert (names, found.width) == (("age", "picture"), 4)
    columns = ["age", "picture.0", "picture.1", "picture.2"]
    given = pd.DataFrame([[2.0, 1.0, 2.0, 3.0], [10.0, 0.5, 0.0, 0.0]], columns=columns)
    output = found.answer(given, task)
    assert np.ravel(output).tolist() == [12.0, 5.0]
    found.save(tmp_path / "saved", task, given, output)
    served = read_original(tmp_path / "saved", "1", columns, tuple, task=task)
    assert served.predict(given).tolist() == served.score(given.to_numpy()).tolist() == [12.0, 5.0]


def test_onnx_that_cannot_be_served_says_how_to_export_it(project_of, imported, rows, tmp_path):
    project, given = project_of("binary"), filled(rows)
    model = LogisticRegression().fit(given, rows["churned"].to_numpy())
    first = given.to_numpy(np.float32)[:1]
    (tmp_path / "zipmap.onnx").write_bytes(to_onnx(model, first).SerializeToString())
    rows.head(9).select(NUMBERS).write_parquet(tmp_path / "rows.parquet")
    with pytest.raises(RegistryError, match="none of it is a tensor of numbers") as refused:
        imported(project, tmp_path / "zipmap.onnx", examples=tmp_path / "rows.parquet")
    assert "zipmap" in refused.value.hint
    margins = to_onnx(model, first, options={"zipmap": False, "raw_scores": True})
    (tmp_path / "margins.onnx").write_bytes(margins.SerializeToString())
    with pytest.raises(DataError, match="gives no probabilities") as refused:
        imported(
            project, tmp_path / "margins.onnx", examples=tmp_path / "rows.parquet", classes=("left", "stayed")
        )
    assert "sigmoid" in refused.value.hint
    made = to_onnx(model, first, options={"zipmap": False})
    made.graph.node[0].domain = "evil.corp"
    (tmp_path / "evil.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(ModelUnsafe, match=r"evil\.corp"):
        imported(project, tmp_path / "evil.onnx", examples=tmp_path / "rows.parquet")
    fixed = to_onnx(model, first, options={"zipmap": False})
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    (tmp_path / "fixed.onnx").write_bytes(fixed.SerializeToString())
    with pytest.raises(RegistryError, match="takes exactly 1 row at a time"):
        imported(project, tmp_path / "fixed.onnx", examples=tmp_path / "rows.parquet")
    assert list_versions(project) == []
    constant = to_onnx(model, first, options={"zipmap": False})
    constant.graph.input.append(helper.make_tensor_value_info("scale/Sub/y:0", TensorProto.FLOAT, [1, 3]))
    (tmp_path / "constant.onnx").write_bytes(constant.SerializeToString())
    with pytest.raises(
        RegistryError, match="no columns, of a fixed number of rows: scale/Sub/y:0"
    ) as refused:
        imported(project, tmp_path / "constant.onnx", examples=tmp_path / "rows.parquet")
    assert "Normalization" in refused.value.hint


@pytest.fixture
def elsewhere(tmp_path):
    """Another MLflow: its client and address."""
    uri = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    return MlflowClient(uri, uri), uri


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("m.skops", b"", "m.skops is empty"),
        ("m.skops", b"PK\x03\x04" + b"\0" * 60, "m.skops is cut off or damaged"),
        ("m.onnx", b"\x08\x07\x12\xff", "m.onnx: the file is not an ONNX model"),
        (
            "m.json",
            b'{"learner":{"attributes":',
            "m.json is cut off, damaged, or of another version",
        ),
        ("m.ubj", b"{L\0\0\0\0\0\0\0\x07learner{", "m.ubj is cut off, damaged, or of another version"),
        ("MLmodel", b"", "MLmodel is empty, cut off or damaged"),
        ("MLmodel", b"flavors: [a]\n", "MLmodel is empty, cut off or damaged"),
    ],
)
def test_files_that_are_cut_off_say_what_to_do(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    read, path = (read_folder_model, tmp_path) if name == "MLmodel" else (read_file_model, tmp_path / name)
    with pytest.raises((RegistryError, ModelUnsafe), match=re.escape(said)) as refused:
        read(path, tuple, allow_code=True)
    assert "again" in refused.value.hint
    assert "/src/" not in str(refused.value)


def test_what_is_not_there_is_refused_before_anything_is_loaded(tmp_path):
    code = (
        "import sys; from tidemill.registry.importing.model_kinds import check_address\n"
        "try:\n    check_address('absent.skops', False)\n"
        "except Exception as error:\n    print(error)\n"
        "print({'mlflow', 'sklearn', 'numpy', 'onnx'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "absent.skops: there is no such file\nset()\n", done.stderr


def test_mlflow_addresses(project_of, imported, rows, tmp_path, elsewhere):
    project, model = project_of("regression"), taught(rows, "minutes")
    (client, uri), given = elsewhere, frame(rows)
    experiment = client.create_experiment("else", artifact_location=(tmp_path / "files").as_uri())
    run_id = client.create_run(experiment).info.run_id
    mlflow.sklearn.save_model(
        model, tmp_path / "m", serialization_format="skops", skops_trusted_types=["numpy.dtype"],
        pip_requirements=["scikit-learn"],
        signature=infer_signature(given, model.predict(given)),
    )  # fmt: skip
    client.log_artifacts(run_id, str(tmp_path / "m"), "model")
    source = f"{client.get_run(run_id).info.artifact_uri}/model"
    client.create_registered_model("theirs")
    client.create_model_version("theirs", source, run_id)
    client.set_registered_model_alias("theirs", "best", "1")
    addresses = [f"runs:/{run_id}/model", "models:/theirs/1", "models:/theirs@best"]
    for address in addresses:
        done = imported(project, address, tracking_uri=uri)
        assert get_version(project, done.version).lineage.imported["from"] == address
    answers_as(project, done.version, given, model.predict(given))
    done = imported(project, tmp_path / "m")
    answers_as(project, done.version, given, model.predict(given))
    with pytest.raises(RegistryError, match="no MLflow model at"):
        imported(project, f"runs:/{run_id}/nothing", tracking_uri=uri)
    with pytest.raises(UsageError, match="names no version of a model"):
        imported(project, "models:/theirs", tracking_uri=uri)
    with pytest.raises(UsageError, match="has no MLmodel"):
        imported(project, tmp_path / "files")


def test_a_flavour_that_can_execute_code_needs_leave(project_of, imported, rows, tmp_path):
    project, model, given = project_of("binary"), taught(rows, "churned"), frame(rows)
    mlflow.sklearn.save_model(
        model, tmp_path / "m", serialization_format="cloudpickle", pip_requirements=["scikit-learn"],
        signature=infer_signature(given, model.predict_proba(given)),
    )  # fmt: skip
    with pytest.raises(ModelUnsafe, match="of flavour sklearn that can execute code"):
        imported(project, tmp_path / "m")
    done = imported(project, tmp_path / "m", allow_code=True)
    assert not done.runs_code  # it is saved as skops
    answers_as(project, done.version, given, model.predict_proba(given)[:, 0])


CLASS = """
import numpy as np
from helper_of_class import half


class Rule:
    def predict(self, rows):
        return half(rows["wind"].fillna(0.0))


class Range:
    def predict(self, rows):
        middle = 20 * rows["wind"].fillna(0.0)
        return [{"low": one - 5, "high": one + 5, "why": ["wind"]} for one in middle]


class Chance:
    def predict_proba(self, rows):
        return np.column_stack([rows["wind"] < 0, ~(rows["wind"] < 0)]).astype(float)


class Single:
    def predict(self, rows):
        rows["wind"] += 1000
        return np.squeeze(rows["wind"].fillna(0.0).to_numpy())


class Needy:
    def __init__(self, path):
        self.path = path

    def predict(self, rows):
        return rows["wind"]
"""


def test_a_class_of_the_project(project_of, imported, rows, tmp_path, caplog):
    project = project_of("regression")
    (project.root / "rule_of_class.py").write_text(CLASS)
    (project.root / "helper_of_class.py").write_text("def half(values):\n    return values / 2\n")
    params = yaml.safe_load((project.root / "params.yaml").read_text())
    params["data"] = {**params.get("data", {}), "key": "booking"}  # rows of the table itself have it
    (project.root / "params.yaml").write_text(yaml.safe_dump(params))
    project = load_project(project.root, project.settings)
    rows.head(9).select("wind", "minutes", booking=pl.lit(7)).write_parquet(tmp_path / "rows.parquet")
    done = imported(project, "rule_of_class:Rule", examples=tmp_path / "rows.parquet")
    assert done.runs_code
    assert done.compiled.startswith(
        "version of this run (python_function) is saved as pickle, which can execute"
    )
    with pytest.raises(ModelUnsafe):
        load_scorer(project, done.version)
    verdict = compare(project, get_version(project, done.version), None)
    assert not verdict.passed  # until the project names it
    params = yaml.safe_load((project.root / "params.yaml").read_text())
    params["serve"] = {"trust_pickled": [f"small-model/{done.version}"]}
    (project.root / "params.yaml").write_text(yaml.safe_dump(params))
    trusting = load_project(project.root, project.settings)
    assert compare(trusting, get_version(trusting, done.version), None).passed
    # Its code came along: nothing of the project is needed any more.
    for name in ("rule_of_class", "helper_of_class"):
        del sys.modules[name]
        (project.root / f"{name}.py").unlink()
    with caplog.at_level(logging.WARNING):
        answers_as(trusting, done.version, filled(rows), filled(rows)["wind"] / 2)
    assert "the project trusts it" in caplog.text


def test_a_class_that_cannot_be_made_says_why(project_of, imported):
    project = project_of("regression")
    (project.root / "rule_without_file.py").write_text(
        "class Rule:\n    def __init__(self):\n        open('none.txt')\n    def predict(self, rows): ...\n"
    )
    with pytest.raises(
        RegistryError, match=r"rule_without_file:Rule cannot be made: FileNotFoundError: .*none"
    ):
        imported(project, "rule_without_file:Rule")


def test_a_class_that_ends_the_process_is_told(project_of, imported, rows, tmp_path):
    project = project_of("regression")
    rows.head(9).select("wind").write_parquet(tmp_path / "rows.parquet")
    (project.root / "rule_at_start.py").write_text(
        "import sys\nclass Rule:\n    __init__ = lambda self: sys.exit(3)\n    def predict(self, rows): ...\n"
    )
    (project.root / "rule_at_end.py").write_text(
        "import sys\nclass Rule:\n    def predict(self, rows):\n        sys.exit()\n"
    )
    with pytest.raises(RegistryError, match=r"Rule cannot be made: .*ends the process, by sys\.exit\(3\)"):
        imported(project, "rule_at_start:Rule")
    with pytest.raises(
        DataError, match=r"does not take the project's rows: it ends the process, by sys\.exit"
    ):
        imported(project, "rule_at_end:Rule", examples=tmp_path / "rows.parquet")


def test_a_class_whose_answers_are_json(project_of, imported, rows, tmp_path):
    project = project_of("custom")
    (project.root / "ranges_of_class.py").write_text(
        CLASS.replace("helper_of_class", "math").replace("half", "pi")
    )
    rows.head(9).select("wind").write_parquet(tmp_path / "rows.parquet")
    done = imported(project, "ranges_of_class:Range", examples=tmp_path / "rows.parquet")
    assert "holdout_none:closeness" in get_version(project, done.version).metrics
    params = project.root / "params.yaml"
    params.write_text(params.read_text() + f"\nserve: {{trust_pickled: [small-model/{done.version}]}}\n")
    trusting = load_project(project.root, project.settings)
    [answer] = load_scorer(trusting, done.version).predict(pd.DataFrame({"wind": [1.0]}))
    assert answer == {"low": 15.0, "high": 25.0, "why": ["wind"]}
    assert compare(trusting, get_version(trusting, done.version), None).passed


@pytest.mark.filterwarnings("ignore")  # MLflow would rather have type hints and an example
@pytest.mark.parametrize("wanted", ["array", "tensor"])
def test_a_list_goes_as_one_array_where_the_signature_says_so(project_of, rows, tmp_path, wanted):
    class Mean(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            images = np.stack(list(model_input["e"]))
            assert images.dtype == np.float32
            assert images.shape[1:] == ((4,) if wanted == "array" else (2, 2))
            return images.reshape(len(images), -1).mean(axis=1) + np.asarray(model_input["wind"]).ravel()

    inputs = {
        "array": [ColSpec(DataType.double, "wind"), ColSpec(Array(DataType.float), "e")],
        "tensor": [
            TensorSpec(np.dtype("float64"), (-1,), "wind"),
            TensorSpec(np.dtype("float32"), (-1, 2, 2), "e"),
        ],
    }
    signature = ModelSignature(Schema(inputs[wanted]), Schema([ColSpec(DataType.double)]))
    mlflow.pyfunc.save_model(
        tmp_path / "model", python_model=Mean(), signature=signature, pip_requirements=[]
    )
    project, lists = project_of("regression"), np.random.default_rng(0).normal(size=(len(rows), 4))
    rows.with_columns(e=pl.Series(lists.tolist())).write_parquet(project.dataset_path)
    now = ProjectState(Data(), (*FEATURES, "e"), "small_service", "77c2", ())
    request = ImportRequest(str(tmp_path / "model"), day(70), allow_code=True)
    done = import_version(project, request, now)
    assert done.features == ("wind", "e")
    params = project.root / "params.yaml"
    params.write_text(params.read_text() + f"\nserve: {{trust_pickled: [small-model/{done.version}]}}\n")
    scorer = load_scorer(load_project(project.root, project.settings), done.version)
    assert (scorer.features, scorer.lists) == (("wind", "e"), {"e": 4})
    given = pd.DataFrame({"wind": [1.0, 2.0], "e": [[1.0, 2.0, 3.0, 6.0], [0.0, 0.0, 0.0, 4.0]]})
    assert scorer.predict(given) == pytest.approx([4.0, 3.0])


@pytest.mark.filterwarnings("ignore")
def test_a_tensor_of_all_features_goes_in_its_type_and_shape(project_of, rows, tmp_path):
    """As MLflow logs PyTorch's and Keras's models: one tensor without a name."""

    class Mean(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            assert (model_input.dtype, model_input.shape[1:]) == (np.float32, (2, 2))
            return model_input @ [1.0, 2.0] @ [[1.0], [10.0]]

    signature = ModelSignature(Schema([TensorSpec(np.dtype("float32"), (-1, 2, 2))]))
    mlflow.pyfunc.save_model(
        tmp_path / "model", python_model=Mean(), signature=signature, pip_requirements=[]
    )
    project, lists = project_of("regression"), np.random.default_rng(0).normal(size=(len(rows), 3))
    given = rows.with_columns(e=pl.Series(lists.tolist()))
    given.write_parquet(project.dataset_path)
    now = ProjectState(Data(), (*FEATURES, "e"), "small_service", "77c2", ())
    request = ImportRequest(str(tmp_path / "model"), day(70), tmp_path / "rows.parquet", allow_code=True)
    given.head(9).select("delay", "hour", "e").write_parquet(request.examples)
    with pytest.raises(DataError, match="takes 4 features, but --examples has 5 columns"):
        import_version(project, request, now)
    given.head(9).select("delay", "e").write_parquet(request.examples)
    done = import_version(project, request, now)
    params = project.root / "params.yaml"
    params.write_text(params.read_text() + f"\nserve: {{trust_pickled: [small-model/{done.version}]}}\n")
    scorer = load_scorer(load_project(project.root, project.settings), done.version)
    assert (scorer.features, scorer.lists) == (("delay", "e"), {"e": 3})
    one = pd.DataFrame({"delay": [1.0], "e": [[2.0, 3.0, 4.0]]})
    assert scorer.predict(one).tolist() == [115.0]


@pytest.mark.filterwarnings("ignore")
def test_a_signature_with_types_and_parameters_stays(project_of, rows, tmp_path):
    class Scaled(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            assert model_input["hour"].dtype == np.int64
            assert model_input["delay"].dtype == np.float32
            return model_input["hour"] * params["scale"] + model_input["delay"]

    inputs = Schema([ColSpec(DataType.long, "hour"), ColSpec(DataType.float, "delay")])
    told = ParamSchema([ParamSpec("scale", DataType.double, 2.0)])
    signature = ModelSignature(inputs, Schema([ColSpec(DataType.double)]), told)
    mlflow.pyfunc.save_model(
        tmp_path / "model", python_model=Scaled(), signature=signature, pip_requirements=[]
    )
    project = project_of("regression")
    request = ImportRequest(str(tmp_path / "model"), day(70), allow_code=True)
    done = import_version(project, request, ProjectState(Data(), FEATURES, "small_service", "77c2", ()))
    params = project.root / "params.yaml"
    params.write_text(params.read_text() + f"\nserve: {{trust_pickled: [small-model/{done.version}]}}\n")
    scorer = load_scorer(load_project(project.root, project.settings), done.version)
    assert scorer.predict(pd.DataFrame({"hour": [7.0, 8.0], "delay": [0.5, 0.25]})).tolist() == [14.5, 16.25]


def test_a_class_answers_by_the_method_of_its_task(project_of, imported, rows, tmp_path):
    rows.head(9).select("wind").write_parquet(tmp_path / "rows.parquet")
    code = CLASS.replace("helper_of_class", "math").replace("import half", "import fabs as half")
    given = {"examples": tmp_path / "rows.parquet"}
    project = project_of("binary")
    (project.root / "chances_of_class.py").write_text(code)
    assert imported(project, "chances_of_class:Chance", **given, classes=project.task.classes).runs_code
    project = project_of("regression")
    (project.root / "values_of_class.py").write_text(code)
    with pytest.raises(UsageError, match="no class with a method predict"):
        imported(project, "values_of_class:Chance", **given)
    with pytest.raises(DataError, match=r"gives shape \(\) for 1 row:"):
        imported(project, "values_of_class:Single", **given)


def test_text_that_is_rare_stays_text(project_of, imported, rows, tmp_path):
    project = project_of("regression")
    table = pl.read_parquet(project.dataset_path)
    rare = [None] * table.height
    rare[-3] = "JFK"
    table.with_columns(origin=pl.Series(rare, dtype=pl.String)).write_parquet(project.dataset_path)
    model, given = taught(rows, "minutes"), frame(rows)
    done = imported(project, skops_file(tmp_path, model))
    answers_as(project, done.version, given, model.predict(given))


def test_classes_that_are_none(project_of, imported):
    project = project_of("regression")
    other = CLASS.replace("helper_of_class", "math").replace("half", "pi")
    (project.root / "other_rules.py").write_text(other)
    for name, said in (("Needy", "cannot be made without arguments"), ("Nobody", "has no 'Nobody'")):
        with pytest.raises(UsageError, match=said):
            imported(project, f"other_rules:{name}")
    with pytest.raises(UsageError, match="cannot be imported"):
        imported(project, "no_such_rules:Rule")
    assert list_versions(project) == []


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_modules_of_pytorch(project_of, imported, rows, tmp_path, task):
    torch = pytest.importorskip("torch")
    torch.manual_seed(1)
    last = [torch.nn.Linear(8, 3), torch.nn.Softmax(1)] if task == "multiclass" else [torch.nn.Linear(8, 1)]
    module = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), *last).eval()
    given, project = filled(rows), project_of(task)
    values = torch.from_numpy(given.to_numpy(np.float32))
    with torch.no_grad():
        expected = module(values).numpy().squeeze()
    program = torch.export.export(module, (values[:2],), dynamic_shapes=({0: torch.export.Dim("rows")},))
    torch.export.save(program, tmp_path / "model.pt2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is on its way out
        torch.jit.trace(module, values[:2]).save(tmp_path / "script.pt")
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    assert kind_of_file(tmp_path / "weights.pt") == "torch-pickle"
    rows.head(9).select(NUMBERS).write_parquet(tmp_path / "rows.parquet")
    with pytest.raises(ModelUnsafe, match="weights alone are no model"):
        imported(project, tmp_path / "weights.pt", allow_code=True)
    for name in ("model.pt2", "script.pt"):
        with pytest.raises(ModelUnsafe, match="can execute code when it is loaded"):
            imported(project, tmp_path / name)
        given_classes = getattr(project.task, "classes", ())
        examples = tmp_path / "rows.parquet"
        done = imported(project, tmp_path / name, examples=examples, allow_code=True, classes=given_classes)
        scorer = answers_as(project, done.version, given, expected)
        assert (scorer.kind, done.runs_code) == ("onnx", False)


KILLED = """
import os, signal, sys
from tests.tidemill.registry.importing.conftest import FEATURES
from tests.tidemill.training.small_project import Data, day
from pathlib import Path
from tidemill.project import load_project
from tidemill.registry.importing import import_record
from tidemill.registry.importing.model_import import ImportRequest, ProjectState, import_version

die = lambda *args, **named: os.kill(os.getpid(), signal.SIGKILL)
import_record.log_saved = die
state = ProjectState(Data(), FEATURES, "small_service", "77c2", ())
import_version(load_project(Path(sys.argv[1])), ImportRequest(sys.argv[2], day(70)), state)
"""


def test_a_killed_import_leaves_no_version(project_of, imported, rows, tmp_path):
    project, file = project_of("regression"), skops_file(tmp_path, taught(rows, "minutes"))
    line = command("-c", KILLED, project.root, file)
    killed = subprocess.run(line, cwd=Path(__file__).parents[4], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert list_versions(project) == []
    done = imported(project, file)
    assert done.version == "1"
    client = mlflow_tracking.connect(project)
    experiment = mlflow_tracking.experiment_id(client, project)
    found = mlflow_tracking.find_runs(client, experiment, {mlflow_tracking.ROLE: "import"})
    assert sorted(run.info.status for run in found) == ["FINISHED", "KILLED"]


def test_a_model_that_never_gives_a_number_is_refused(project_of, imported, rows, tmp_path):
    import onnx

    node = onnx.helper.make_node
    nodes = [node("Sub", ["x", "x"], ["d"]), node("Div", ["d", "d"], ["e"])]
    nodes.append(node("ReduceMax", ["e"], ["y"], axes=[1]))
    number = onnx.TensorProto.FLOAT
    made = onnx.helper.make_model(
        onnx.helper.make_graph(
            nodes,
            "nan",
            [onnx.helper.make_tensor_value_info("x", number, [None, 3])],
            [onnx.helper.make_tensor_value_info("y", number, [None, 1])],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=8,
    )
    (tmp_path / "nan.onnx").write_bytes(made.SerializeToString())
    rows.head(9).select(NUMBERS).write_parquet(tmp_path / "rows.parquet")
    project = project_of("regression")
    with pytest.raises(DataError, match="no usable answer to any of"):
        imported(project, tmp_path / "nan.onnx", examples=tmp_path / "rows.parquet")
    assert not list_versions(project)


def test_an_address_that_is_no_artefact_store_says_so(project_of, imported):
    with pytest.raises(RegistryError, match=r"no MLflow model at http://127\.0\.0\.1:9/x\.onnx"):
        imported(project_of("regression"), "http://127.0.0.1:9/x.onnx")


@pytest.mark.parametrize("kind", ["regression", "custom"])
def test_a_class_may_answer_by_a_generator(project_of, imported, rows, tmp_path, kind):
    project = project_of(kind)
    high = '{"high": one}' if kind == "custom" else "one"
    (project.root / f"streams_of_{kind}.py").write_text(
        "class Stream:\n    def predict(self, rows):\n"
        f"        return ({high} for one in rows['wind'].fillna(0.5))\n"
    )
    rows.head(9).select("wind").write_parquet(tmp_path / "rows.parquet")
    done = imported(project, f"streams_of_{kind}:Stream", examples=tmp_path / "rows.parquet")
    params = project.root / "params.yaml"
    params.write_text(params.read_text() + f"\nserve: {{trust_pickled: [small-model/{done.version}]}}\n")
    scorer = load_scorer(load_project(project.root, project.settings), done.version)
    found = scorer.predict(pd.DataFrame({"wind": [7.0, np.nan]})).tolist()
    assert [one["high"] if kind == "custom" else one for one in found] == [7.0, 0.5]
