"""Load a saved original model without executing code that it contains, unless the project trusts it."""

import importlib
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import mlflow.pyfunc
import numpy as np
import pandas as pd
import skops.io
from mlflow.exceptions import MlflowException
from skops.io.exceptions import UntrustedTypesFoundException

from tidemill.errors import ModelUnsafe, RegistryError
from tidemill.files.yaml_reading import YamlError
from tidemill.registry.versions.loaded_model import Matrix, Scorer, Scores, Texts
from tidemill.registry.versions.model_description import read_description, readable_folder
from tidemill.tasks.binary import Binary
from tidemill.tasks.task import Task
from tidemill.training.compiling.onnx_session import check_content, start
from tidemill.training.compiling.private_onnxruntime import inner_run
from tidemill.training.fitting.trusted_types import untrusted

__all__ = ["read_original"]

_log = logging.getLogger(__name__)
_BROKEN = (
    UntrustedTypesFoundException,
    BadZipFile,
    OSError,
    ImportError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
)
"""What skops raises for a file that is damaged, or was written by other versions of its packages."""
_NATIVE = {
    "xgboost.core.Booster": ("xgboost", "XGBClassifier"),
    "xgboost.sklearn.XGBClassifier": ("xgboost", "XGBClassifier"),
    "xgboost.sklearn.XGBRFClassifier": ("xgboost", "XGBRFClassifier"),
    "lightgbm.basic.Booster": ("lightgbm", "Booster"),
}
"""Classes whose own file formats hold nothing but trees."""
_BINARY = Binary("")
Kind = Literal["skops", "pyfunc"]
_ESTIMATORS = {"lightgbm", "sklearn", "xgboost"}


@dataclass(frozen=True)
class _Signature:
    features: tuple[str, ...]
    words: tuple[str, ...]
    """Those that are text."""
    task: Task

    def scorer(
        self, version: str, by_name: Callable[[pd.DataFrame], Scores], kind: Kind, model: Any
    ) -> Scorer:
        """Return the scorer of a model that takes frames."""
        names, words = list(self.features), list(self.words)
        numbers = [name for name in names if name not in self.words]

        def score(matrix: Matrix) -> Scores:
            return by_name(pd.DataFrame(matrix, columns=names, copy=False))

        def mixed(matrix: Matrix, texts: Texts) -> Scores:
            frame = pd.DataFrame(matrix, columns=numbers, copy=False)
            given = pd.DataFrame(np.array(texts, dtype=object), columns=words)
            return by_name(pd.concat([frame, given], axis=1)[names])

        with_text = (by_name, self.task, self.words, mixed) if words else (None, self.task)
        return Scorer(version, self.features, score, kind, None, model, *with_text)


def read_original(
    folder: Path,
    version: str,
    recorded: Sequence[str] | None,
    declared: Callable[[], Sequence[str]],
    trusted: bool = False,
    reason: str | None = None,
    task: Task = _BINARY,
) -> Scorer:
    """Load the MLflow model in ``folder``.

    The model's own list of trusted types is ignored: a forged model would trust itself.

    Args:
        folder: with the file ``MLmodel``.
        version: number of the version, for messages and the result.
        recorded: the types that the registry recorded for this version when it was registered; none for a
            version that Tidemill did not train.
        declared: gives the types that the project trusts; called only if that matters.
        trusted: whether it may execute code when it is loaded, because the project names it.
        reason: why the compiled model is not used in its place.
        task: what it predicts.

    Raises:
        ModelUnsafe: loading it could execute code, and the project does not name it.
        RegistryError: the folder holds no model with a signature, or it is damaged.
    """
    try:
        described = read_description(folder)
        flavors: dict[str, Any] = described.flavors
        inputs = described.signature.inputs
        names = tuple(map(str, inputs.input_names()))
        types = zip(names, inputs.input_types(), strict=True)
        given = _Signature(names, tuple(name for name, kind in types if kind.name == "string"), task)
    except (OSError, YamlError, KeyError, TypeError, AttributeError, MlflowException) as error:
        raise RegistryError(
            f"version {version} in {folder} is no scikit-learn model with a signature, "
            f"nor any other that can be served: {error!r}",
            hint="register models by `tidemill run`, or log them with a signature",
        ) from error
    if inputs.is_tensor_spec():
        raise RegistryError(
            f"the signature of version {version} is a tensor's, which has no names for the features",
            hint="log it with the signature of a frame: `infer_signature(frame, scores)`",
        )
    return replace(_choose(folder, version, given, flavors, recorded, declared, trusted), reason=reason)


def _choose(
    folder: Path,
    version: str,
    given: _Signature,
    flavors: Mapping[str, Any],
    recorded: Sequence[str] | None,
    declared: Callable[[], Sequence[str]],
    trusted: bool,
) -> Scorer:
    sklearn = flavors.get("sklearn")
    if sklearn and sklearn.get("serialization_format", "pickle") == "skops":
        file = folder / Path(sklearn["pickled_model"]).name
        return _by_estimator(version, given, _load_skops(file, version, recorded, declared), "skops")
    if "onnx" in flavors:
        return _onnx(folder, version, given, flavors["onnx"])
    for name in ("xgboost", "lightgbm"):
        if flavors.get(name, {}).get("model_class") in _NATIVE and "data" in flavors[name]:
            return _native(folder, version, given, flavors[name])
    if not trusted:
        raise _refusal(version, flavors)
    return _pickled(folder, version, given, flavors)


def _refusal(version: str, flavors: Mapping[str, Any]) -> ModelUnsafe:
    kind = flavors.get("sklearn", {}).get("serialization_format") or ("pickle" if flavors else "nothing")
    what = next((name for name in flavors if name != "python_function"), "python_function")
    return ModelUnsafe(
        f"version {version} ({what}) is saved as {kind}, which can execute code when it is loaded: refused",
        hint="save it as skops, ONNX, or in its booster's own format; or name it in serve.trust_pickled of "
        "params.yaml (<model>/<version>), if you trust whoever made it",
    )


def _by_estimator(version: str, given: _Signature, estimator: Any, kind: Kind) -> Scorer:
    return given.scorer(version, lambda rows: given.task.answers(estimator, rows), kind, estimator)


def _onnx(folder: Path, version: str, given: _Signature, flavor: Mapping[str, Any]) -> Scorer:
    try:
        content = (folder / Path(flavor["data"]).name).read_bytes()
    except (OSError, KeyError) as error:
        raise RegistryError(
            f"version {version} has no ONNX file in {folder}: {error}",
            hint="register the version again with its file",
        ) from error
    check_content(content)
    session = start(content)
    kinds = {"tensor(float)": np.float32, "tensor(double)": np.float64}
    taken, outputs = session.get_inputs(), session.get_outputs()
    tensors = [one.name for one in outputs if one.type in kinds]
    if len(taken) != 1 or taken[0].type not in kinds or not tensors:
        raise RegistryError(
            f"version {version} takes {[one.type for one in taken]} and gives "
            f"{[one.type for one in outputs]}: it can be served only with one input of numbers, shape "
            "(rows, features), and probabilities as a tensor",
            hint="export it with one input and without a zipmap",
        )
    name, kind, run, output = taken[0].name, kinds[taken[0].type], inner_run(session), tensors[-1]

    def score(matrix: Matrix) -> Scores:
        return given.task.from_output(run([output], {name: matrix.astype(kind, copy=False)}, None)[0])

    return Scorer(version, given.features, score, "onnx", task=given.task)


def _native(folder: Path, version: str, given: _Signature, flavor: Mapping[str, Any]) -> Scorer:
    package, name = _NATIVE[flavor["model_class"]]
    file = str(folder / Path(flavor["data"]).name)
    try:
        made = getattr(importlib.import_module(package), name)
        model = made(model_file=file) if name == "Booster" else made()
        if name != "Booster":
            model.load_model(file)
        objective = str(getattr(model, "objective", None) or model.params.get("objective", "binary"))
    except ImportError as error:
        raise RegistryError(
            f"version {version} needs the package {package}", hint=f"pip install 'tidemill[{package}]'"
        ) from error
    except Exception as error:  # each package has errors of its own
        raise RegistryError(
            f"version {version} cannot be loaded from {file}: {error}",
            hint="restore the file, or register the version again",
        ) from error
    if not objective.startswith(("binary", "reg:logistic", "cross_entropy")):
        raise RegistryError(
            f"version {version} was trained for {objective!r}: it gives no probability of label 1",
            hint="train it for binary:logistic (XGBoost) or binary (LightGBM)",
        )

    def score(matrix: Matrix) -> Scores:
        found = model.predict(matrix) if name == "Booster" else model.predict_proba(matrix)[:, 1]
        return np.asarray(found, dtype=np.float64)

    return Scorer(version, given.features, score, "native", None, model)


def _pickled(folder: Path, version: str, given: _Signature, flavors: Mapping[str, Any]) -> Scorer:
    _log.warning("version %s is loaded from a pickle, which can execute code: the project trusts it", version)
    try:
        with warnings.catch_warnings(), readable_folder(folder) as path:
            warnings.simplefilter("ignore")
            if "pytorch" in flavors:
                module = importlib.import_module("mlflow.pytorch").load_model(path, device="cpu")
                return _by_module(version, given, module)
            for name in _ESTIMATORS.intersection(flavors):
                estimator = importlib.import_module(f"mlflow.{name}").load_model(path)
                if hasattr(estimator, "predict_proba"):  # pyfunc would give labels
                    return _by_estimator(version, given, estimator, "pyfunc")
            model = mlflow.pyfunc.load_model(path)
    except RegistryError:
        raise
    except Exception as error:  # a pickle can raise anything
        raise RegistryError(
            f"version {version} cannot be loaded from {folder}: {error}",
            hint="restore the files, or register the version again",
        ) from error
    task = given.task
    return given.scorer(version, lambda rows: task.from_output(model.predict(rows)), "pyfunc", model)


def _by_module(version: str, given: _Signature, module: Any) -> Scorer:
    """Return a scorer for the bare PyTorch module: MLflow's wrapper of it could not be compiled."""
    from tidemill.training.compiling.torch_modules import module_scores  # PyTorch is there

    if given.words:
        raise RegistryError(
            f"version {version} is a PyTorch module, and its signature has text: it takes numbers only",
            hint="log it with a signature of numbers, one column a feature",
        )
    return Scorer(
        version, given.features, lambda matrix: module_scores(module, matrix), "native", None, module
    )


def _load_skops(
    file: Path, version: str, recorded: Sequence[str] | None, declared: Callable[[], Sequence[str]]
) -> Any:
    try:
        types = skops.io.get_untrusted_types(file=file)
        if recorded is None:
            refused = untrusted(types) and untrusted(types, declared())
        else:
            refused = sorted(set(types) - set(recorded)) or untrusted(types)
            if refused and set(refused) <= set(recorded):
                refused = untrusted(types, declared())
        if refused:
            raise ModelUnsafe(
                f"version {version} holds types that are not trusted: {', '.join(refused)}",
                hint="name them in trusted_types of the project's TrainingSpec and train again, if you do",
            )
        return skops.io.load(file, trusted=types)
    except _BROKEN as error:
        raise RegistryError(
            f"version {version} cannot be loaded from {file}: {error}",
            hint="restore the file, or register the version again",
        ) from error
