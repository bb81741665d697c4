"""Load a saved original model without executing code that it contains, unless the project trusts it."""

import importlib
import logging
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import mlflow.pyfunc
from mlflow import MlflowException
from mlflow.models import Model

from tidemill.errors import ModelUnsafe, RegistryError
from tidemill.files.yaml_reading import YamlError
from tidemill.registry.versions.boosted_models import BOOSTERS, read_boosted
from tidemill.registry.versions.loaded_model import Scorer
from tidemill.registry.versions.model_description import read_description, readable_folder
from tidemill.registry.versions.model_signature import (
    LISTS,
    TENSOR,
    Kind,
    ModelSignature,
    array_inputs,
    column_types,
    row_tensor,
    with_arrays,
    with_types,
)
from tidemill.registry.versions.onnx_models import read_onnx
from tidemill.tasks.binary import Binary
from tidemill.tasks.task import Task
from tidemill.training.feature_table import column_names
from tidemill.training.fitting.private_skops import UntrustedTypesFoundException, load, types_in
from tidemill.training.fitting.trusted_types import untrusted

__all__ = ["UNNUMBERED", "read_original", "without_progress_bars"]

UNNUMBERED = "of this run"
"""In place of the number of a version that has none yet, for messages."""
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
_BINARY = Binary("")
_WORDS = ("string", "object")
"""Types of text: of a column, of a tensor."""
_ESTIMATORS = {"lightgbm", "sklearn", "xgboost"}


def read_original(
    folder: Path,
    version: str,
    recorded: Sequence[str] | None,
    declared: Callable[[], Sequence[str]],
    trusted: bool = False,
    reason: str | None = None,
    task: Task = _BINARY,
    places: Sequence[int] = (),
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
        places: the place of each of its outputs among the task's classes; empty where they have that order.

    Raises:
        ModelUnsafe: loading it could execute code, and the project does not name it.
        RegistryError: the folder holds no model with a signature, or it is damaged.
    """
    try:
        described = read_description(folder)
        flavors: dict[str, Any] = described.flavors
        inputs = described.signature.inputs
        lists = dict((described.metadata or {}).get(LISTS, {}))
        tensor = tuple(map(str, (described.metadata or {}).get(TENSOR, ())))
        names = tensor or tuple(map(str, inputs.input_names()))
        types = () if tensor else zip(names, inputs.input_types(), strict=True)
        words = tuple(name for name, kind in types if getattr(kind, "name", None) in _WORDS)
        given = ModelSignature(column_names(names, lists), words, task, tuple(places))
    except (OSError, YamlError, KeyError, TypeError, AttributeError, MlflowException) as error:
        raise RegistryError(
            f"version {version} in {folder} is not a scikit-learn model with a signature, "
            f"nor any other that can be served: {error!r}",
            hint="register models by `tidemill run`, or log them with a signature",
        ) from error
    if tensor:
        return replace(_by_tensor(folder, version, given, described, trusted), reason=reason)
    if inputs.is_tensor_spec() and not lists:
        raise RegistryError(
            f"the signature of version {version} is a tensor's, which has no names for the features",
            hint="log it with the signature of a frame: `infer_signature(frame, scores)`",
        )
    if lists:
        return replace(_by_arrays(folder, version, given, described, trusted), reason=reason)
    return replace(_choose(folder, version, given, flavors, recorded, declared, trusted), reason=reason)


def _choose(
    folder: Path,
    version: str,
    given: ModelSignature,
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
        return read_onnx(folder, version, given, flavors["onnx"])
    for name in ("xgboost", "lightgbm"):
        if flavors.get(name, {}).get("model_class") in BOOSTERS and "data" in flavors[name]:
            return read_boosted(folder, version, given, flavors[name])
    if not trusted:
        raise _refusal(version, flavors)
    return _pickled(folder, version, given, flavors)


_OWN_FORMATS = {
    "keras": "a Keras model with layers of any code",
    "tensorflow": "a TensorFlow graph or Keras model",
}
"""What MLflow saves that is no pickle, and executes code all the same."""


def _refusal(version: str, flavors: Mapping[str, Any]) -> ModelUnsafe:
    kind = flavors.get("sklearn", {}).get("serialization_format") or ("pickle" if flavors else "nothing")
    kind = next((name for flavor, name in _OWN_FORMATS.items() if flavor in flavors), kind)
    what = next((name for name in flavors if name != "python_function"), "python_function")
    return ModelUnsafe(
        f"version {version} ({what}) is saved as {kind}, which can execute code when it is loaded: refused",
        hint="save it as skops, ONNX, or in its booster's own format; or name it in serve.trust_pickled of "
        "params.yaml (<model>/<version>), if you trust its maker",
    )


def _by_estimator(version: str, given: ModelSignature, estimator: Any, kind: Kind) -> Scorer:
    if given.places:
        return given.scorer(
            version, lambda rows: given.answers(estimator.predict_proba(rows)), kind, estimator
        )
    return given.scorer(version, lambda rows: given.task.answers(estimator, rows), kind, estimator)


def without_progress_bars() -> None:
    """Keep Keras, if a model has loaded it, from writing a progress bar at each prediction."""
    config: Any = getattr(sys.modules.get("keras"), "config", None)
    if hasattr(config, "disable_interactive_logging"):  # since Keras 3
        config.disable_interactive_logging()


def _pickled(folder: Path, version: str, given: ModelSignature, flavors: Mapping[str, Any]) -> Scorer:
    _log.warning("version %s is loaded from a pickle, which can execute code: the project trusts it", version)
    try:
        with warnings.catch_warnings(), readable_folder(folder) as path:
            warnings.simplefilter("ignore")
            if "pytorch" in flavors and given.task.kind == "binary":
                module = importlib.import_module("mlflow.pytorch").load_model(path, device="cpu")
                return _by_module(version, given, module)
            for name in _ESTIMATORS.intersection(flavors):
                estimator = importlib.import_module(f"mlflow.{name}").load_model(path)
                if hasattr(estimator, "predict_proba"):  # pyfunc would give labels
                    return _by_estimator(version, given, estimator, "pyfunc")
            types = column_types(read_description(folder))
            model = mlflow.pyfunc.load_model(path)
            without_progress_bars()
    except RegistryError:
        raise
    except Exception as error:  # a pickle can raise anything
        raise RegistryError(
            f"version {version} cannot be loaded from {folder}: {error}",
            hint="restore the files, or register the version again",
        ) from error
    return given.scorer(
        version, lambda rows: given.answers(model.predict(with_types(rows, types))), "pyfunc", model
    )


def _by_arrays(folder: Path, version: str, given: ModelSignature, described: Model, trusted: bool) -> Scorer:
    """Return a scorer for a model that takes its lists as arrays, one column each."""
    if not trusted:
        raise _refusal(version, described.flavors)
    arrays, types = array_inputs(described), column_types(described)
    found = _pickled(folder, version, given, {})
    model = found.estimator

    def answers(rows: Any) -> Any:
        return given.answers(model.predict(with_types(with_arrays(rows, arrays), types)))

    return given.scorer(version, answers, "pyfunc", model)


def _by_tensor(folder: Path, version: str, given: ModelSignature, described: Model, trusted: bool) -> Scorer:
    """Return a scorer for a model that takes all features of the rows as one tensor."""
    if not trusted:
        raise _refusal(version, described.flavors)
    tensor = row_tensor(described)
    if tensor is None:
        raise RegistryError(
            f"version {version} in {folder} says that it takes a tensor, and its signature has none",
            hint="restore the files, or import the model again",
        )
    model = _pickled(folder, version, given, {}).estimator
    return given.scorer(version, lambda rows: given.answers(model.predict(tensor.of(rows))), "pyfunc", model)


def _by_module(version: str, given: ModelSignature, module: Any) -> Scorer:
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
        types = types_in(file=file)
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
        return load(file, trusted=types)
    except _BROKEN as error:
        raise RegistryError(
            f"version {version} cannot be loaded from {file}: {error}",
            hint="restore the file, or register the version again",
        ) from error
