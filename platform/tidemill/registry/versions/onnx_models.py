"""Load ONNX files of other makers: one input of numbers, or one for each feature."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tidemill.errors import RegistryError
from tidemill.registry.versions.loaded_model import Matrix, Scorer, Scores
from tidemill.registry.versions.model_signature import ModelSignature
from tidemill.tasks.task import Task
from tidemill.training.compiling.onnx_session import check_content, start
from tidemill.training.compiling.private_onnxruntime import inner_run
from tidemill.training.feature_table import element_names

__all__ = ["feeder", "number_outputs", "outputs_of", "read_onnx", "without_answer"]

_FLOATS = {"tensor(float)": np.float32, "tensor(double)": np.float64}
_WHOLE = {"tensor(int32)": np.int32, "tensor(int64)": np.int64, "tensor(bool)": np.bool_}
_TEXT = "tensor(string)"
_HINT = (
    "export it with one input of numbers (not of 16 bits), shape (rows, features), or one input for each "
    "feature, named like it, and with its answers as a tensor of numbers (without a zipmap)"
)

Feed = Callable[[pd.DataFrame], dict[str, npt.NDArray[Any]]]


def read_onnx(folder: Path, version: str, given: ModelSignature, flavor: Mapping[str, Any]) -> Scorer:
    """Load a model that MLflow keeps as ONNX.

    Raises:
        ModelUnsafe: the file reads other files, or needs operators that are not ONNX's own.
        RegistryError: there is no such file, or it takes or gives something else.
    """
    content = _content(folder, version, flavor)
    check_content(content)
    session = start(content)
    outputs, what = number_outputs(session.get_outputs(), given.task), f"version {version}"
    feed = feeder(session.get_inputs(), given.features, given.words, what)
    if not outputs:
        raise RegistryError(
            f"{what} gives {[one.type for one in session.get_outputs()]}: none of it is a tensor of numbers",
            hint=_HINT,
        )
    run = inner_run(session)
    [one, *others] = session.get_inputs()
    if not others and one.type in _FLOATS:
        shape, kind = _shape(one, len(given.features)) or (), _FLOATS[one.type]

        def score(matrix: Matrix) -> Scores:
            row_by_row = matrix.astype(kind, copy=False).reshape(len(matrix), *shape)
            return given.answers(outputs_of(outputs, run(outputs, {one.name: row_by_row}, None)))

        return Scorer(version, given.features, score, "onnx", task=given.task, places=given.places)

    def by_name(frame: pd.DataFrame) -> Any:
        found = given.answers(outputs_of(outputs, run(outputs, feed(frame), None)))
        unknown = without_answer(frame[list(given.features)], session.get_inputs())
        if unknown.any():
            found = found.copy()
            found[unknown] = np.nan
        return found

    return given.scorer(version, by_name, "onnx", None)


def _content(folder: Path, version: str, flavor: Mapping[str, Any]) -> bytes:
    try:
        return (folder / Path(flavor["data"]).name).read_bytes()
    except (OSError, KeyError) as error:
        raise RegistryError(
            f"version {version} has no ONNX file in {folder}: {error}",
            hint="register the version again with its file",
        ) from error


def number_outputs(outputs: Sequence[Any], task: Task) -> list[str]:
    """Return the names of the outputs with the answers: all of numbers for a custom task, else the last.

    >>> from types import SimpleNamespace
    >>> from tidemill.tasks.regression import Regression
    >>> there = [SimpleNamespace(name=name, type="tensor(float)") for name in ("mean", "deviation")]
    >>> number_outputs(there, Regression(""))
    ['deviation']
    """
    tensors = [str(one.name) for one in outputs if one.type in _FLOATS]
    return tensors if task.kind == "custom" else tensors[-1:]


def outputs_of(names: Sequence[str], values: Sequence[Any]) -> Any:
    """Return the values of outputs: of one as it is, of several by their names."""
    return values[0] if len(names) == 1 else dict(zip(names, values, strict=True))


def feeder(taken: Sequence[Any], features: Sequence[str], words: Sequence[str], what: str) -> Feed:
    """Return a function from rows to the model's inputs.

    Text that is not known is given as the empty text.

    Args:
        taken: the inputs as onnxruntime describes them.
        features: the model's features, in order.
        words: those that are text.
        what: the model, for messages.

    Raises:
        RegistryError: the inputs are neither one of numbers nor one for each feature.
    """
    kinds = {**_FLOATS, **_WHOLE}
    found = ", ".join(f"{one.name} {one.type} {one.shape}" for one in taken)
    if len(taken) == 1 and taken[0].type in kinds and not words:
        [one], shape = taken, _shape(taken[0], len(features))
        if shape is None:
            raise RegistryError(f"{what} takes {found}, and has {len(features)} features", hint=_HINT)
        names, kind = list(features), kinds[one.type]
        return lambda rows: {one.name: _column(rows[names], kind).reshape(len(rows), *shape)}
    known = {one.name: one for one in taken}
    columns = {name: _columns_of(name, features) for name in known}
    if {each for names in columns.values() for each in names} != set(features) or any(
        (one.type not in kinds and one.type != _TEXT) or _shape(one, len(columns[one.name])) is None
        for one in taken
    ):
        raise RegistryError(f"{what} takes {found}, and its features are {', '.join(features)}", hint=_HINT)
    wrong = [one.name for one in taken if (one.type == _TEXT) != (one.name in words)]
    if wrong:
        raise RegistryError(
            f"{what} takes {', '.join(f'{name} as {known[name].type}' for name in wrong)}, but "
            f"{'that is' if len(wrong) == 1 else 'those are'} of another type in the signature",
            hint="correct the types of the columns, or export the model again",
        )
    return lambda rows: {
        name: _column(rows[name] if name in rows else rows[columns[name]], kinds.get(one.type)).reshape(
            len(rows), *(_shape(one, len(columns[name])) or ())
        )
        for name, one in known.items()
    }


def _columns_of(name: str, columns: Sequence[str]) -> list[str]:
    """Return the columns that make an input: a feature, or the elements of the list of that name.

    >>> _columns_of("e", ["e.0", "e.1", "age"]), _columns_of("age", ["e.0", "e.1", "age"])
    (['e.0', 'e.1'], ['age'])
    """
    width = sum(column.rpartition(".")[0] == name for column in columns)
    return [name] if name in columns else element_names(name, width)


def _shape(one: Any, width: int) -> tuple[int, ...] | None:
    """Return the shape of a row in an input; None if a row of so many values does not fit.

    >>> from types import SimpleNamespace
    >>> _shape(SimpleNamespace(shape=["rows", 1, 8, 8]), 64), _shape(SimpleNamespace(shape=[None, 3]), 4)
    ((1, 8, 8), None)
    """
    inner = list(one.shape[1:]) if one.shape else []
    free = [place for place, size in enumerate(inner) if not isinstance(size, int)]
    fixed = math.prod(size for size in inner if isinstance(size, int))
    if len(free) > 1 or (free and (not fixed or width % fixed)):
        return None
    for place in free:
        inner[place] = width // fixed
    return tuple(inner) if math.prod(inner) == width else None


def _column(values: Any, kind: Any) -> npt.NDArray[Any]:
    if kind is None:
        return np.array([str(one) if isinstance(one, str) else "" for one in values], dtype=object)
    found = np.asarray(values, dtype=np.float64)
    return (found if kind in _FLOATS.values() else np.nan_to_num(found)).astype(kind, copy=False)


def without_answer(rows: pd.DataFrame, taken: Sequence[Any]) -> npt.NDArray[np.bool_]:
    """Return which rows lack a whole number, which ONNX has no gaps for, or have another number there.

    Args:
        rows: the model's features.
        taken: its inputs; one that is not named like a feature is a tensor of all of them.

    >>> from types import SimpleNamespace
    >>> rows = pd.DataFrame({"n": [1.0, 5.7, np.nan], "m": [1.5, 1.0, 1.0]})
    >>> without_answer(rows, [SimpleNamespace(name="n", type="tensor(int64)")]).tolist()
    [False, True, True]
    >>> without_answer(rows, [SimpleNamespace(name="input", type="tensor(int64)")]).tolist()
    [True, True, True]
    """
    found = np.zeros(len(rows), np.bool_)
    for one in taken:
        if one.type in _WHOLE:
            names = _columns_of(one.name, list(map(str, rows.columns))) or list(rows.columns)
            values = rows[names].to_numpy(np.float64)
            fits = np.isin(values, (0.0, 1.0)) if _WHOLE[one.type] is np.bool_ else values == np.floor(values)
            found |= ~fits.all(axis=1)
    return found
