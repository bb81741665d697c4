"""Read models of XGBoost and LightGBM from their own file formats, which hold nothing but trees."""

import importlib
import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import infer_signature

from tidemill.errors import RegistryError, UsageError
from tidemill.registry.importing.foreign_model import ForeignModel
from tidemill.registry.versions.boosted_models import answer_by_all_rounds, fitting_task, has_categories
from tidemill.tasks.task import Task
from tidemill.training.fitting.packaging import requirements

__all__ = ["read_lightgbm", "read_xgboost"]

_NO_NAME = re.compile(r"Column_\d+")
_ENGINE_PLACE = re.compile(r"^\[[\d:]+\] \S+:\d+: ")
"""What an engine puts before its messages: the time, and the line of its own source."""
_END = b"end of trees"
_DEEPEST = 64
"""XGBoost nests its models less than ten times."""
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_SIZES = {"i": 1, "U": 1, "C": 1, "I": 2, "l": 4, "d": 4, "L": 8, "D": 8, "Z": 0, "T": 0, "F": 0, "N": 0}
"""Type → bytes of a value."""


def read_xgboost(file: Path) -> ForeignModel:
    """Read a model that XGBoost saved by ``save_model``, as ``.ubj`` or ``.json``.

    Raises:
        RegistryError: XGBoost is missing, or the file is damaged.
        UsageError: it was fitted on pandas categories.
    """
    package = _package("xgboost", "xgboost-cpu")
    booster = package.Booster()
    try:
        _check_structure(file.read_bytes())
        booster.load_model(str(file))
        described = json.loads(booster.save_config())["learner"]
    except Exception as error:  # XGBoost's own
        raise _broken(file, "XGBoost", error) from error
    objective = described["objective"]["name"]
    task = fitting_task(objective) or "custom"
    _refuse_categories(file, booster)
    if booster.attr("scikit_learn") is None:  # a native booster's file: its predict takes all rounds
        answer_by_all_rounds(booster)
    best = booster.attr("best_iteration") if described["gradient_booster"]["name"] != "gblinear" else None
    booster.set_attr(scikit_learn=None)  # XGBClassifier takes no regressor, not even of probabilities
    by_value = task in ("regression", "custom")
    estimator = package.XGBRegressor() if by_value else package.XGBClassifier()
    estimator.load_model(booster.save_raw())

    def answer(rows: pd.DataFrame, task: Task) -> Any:
        given = package.DMatrix(_matrix(rows, "XGBoost"), feature_names=booster.feature_names)
        return booster.predict(given, iteration_range=(0, 0 if best is None else int(best) + 1))

    def save(folder: Path, task: Task, example: pd.DataFrame, output: Any) -> None:
        importlib.import_module("mlflow.xgboost").save_model(
            estimator, str(folder), signature=infer_signature(example, output), input_example=example,
            pip_requirements=requirements((), ("mlflow", "numpy", "pandas", "scikit-learn", "xgboost-cpu")),
        )  # fmt: skip

    return ForeignModel(
        kind=f"XGBoost {objective}" if task == "custom" else "XGBoost",
        answer=answer,
        save=save,
        features=tuple(booster.feature_names or ()),
        width=int(booster.num_features()),
        task=task,
    )


def _check_structure(content: bytes) -> None:
    """Check how deep a model of XGBoost is nested, as JSON or UBJSON, and that its lengths lie within it.

    Its reader calls itself for each level, and ends the whole process where there are some ten thousand of
    them; and it allocates the lengths that a file says before it looks at what follows.
    UBJSON: https://ubjson.org; of its lengths XGBoost reads those of 64 bits.

    Raises:
        ValueError: it is nested deeper than 64, is cut off, or is no UBJSON.

    >>> _check_structure(b'{"learner": ' + b"[]," * 70)
    >>> _check_structure(b'{"learner": ' + b"[[]," * 70)
    Traceback (most recent call last):
    ValueError: it is nested deeper than 64
    """
    if re.match(rb'\s*\{\s*"', content):
        _check_text(content)
    else:
        _Binary(content).check()


def _check_text(content: bytes) -> None:
    depth = 0
    for found in _STRING_OR_BRACKET.finditer(content):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(found[0], 0)
        _check_depth(depth)


def _check_depth(depth: int) -> None:
    if depth > _DEEPEST:
        raise ValueError(f"it is nested deeper than {_DEEPEST}")


class _Binary:
    """A walk through UBJSON, which skips the values."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._place = 0

    def check(self) -> None:
        """Go from the first container to its end.

        Raises:
            ValueError: as `_check_structure`.
        """
        ends: list[str | int] = []
        """Of each container that is open: its end mark, or how many values are to come."""
        self._value(self._mark(), ends)
        while ends:
            if ends[-1] == 0:
                ends.pop()
                continue
            mark = self._mark()
            if mark == ends[-1]:
                ends.pop()
                continue
            if isinstance(ends[-1], int):
                ends[-1] -= 1
            elif ends[-1] == "}":  # `mark` begins a name
                self._skip(self._length(mark))
                mark = self._mark()
            self._value(mark, ends)

    def _value(self, mark: str, ends: list[str | int]) -> None:
        if mark == "{":
            ends.append("}")
        elif mark == "[":
            kind = self._content[self._place : self._place + 3]
            if kind[:1] == b"$" and kind[2:] == b"#":
                self._skip(3)
                self._skip(self._size(chr(kind[1])) * self._length(self._mark()))
            elif kind[:1] == b"#":
                self._skip(1)
                ends.append(self._length(self._mark()))
            else:
                ends.append("]")
        elif mark in "SH":
            self._skip(self._length(self._mark()))
        else:
            self._skip(self._size(mark))
        _check_depth(len(ends))

    def _size(self, kind: str) -> int:
        if kind not in _SIZES:
            raise ValueError(
                f"it has {kind!r} where UBJSON has the type of a value, before byte {self._place:,}"
            )
        return _SIZES[kind]

    def _length(self, mark: str) -> int:
        if mark != "L":
            raise ValueError(f"it has {mark!r} where a length of 64 bits begins, before byte {self._place:,}")
        found = self._content[self._place : self._place + 8]
        self._skip(8)
        return int.from_bytes(found, "big", signed=True)

    def _mark(self) -> str:
        self._skip(1)
        return chr(self._content[self._place - 1])

    def _skip(self, count: int) -> None:
        self._place += count
        if count < 0 or self._place > len(self._content):
            raise ValueError("it is cut off, or says a length that it does not have")


def read_lightgbm(file: Path) -> ForeignModel:
    """Read a model that LightGBM saved by ``save_model``, as text.

    Raises:
        RegistryError: LightGBM is missing, or the file is damaged.
        UsageError: it was fitted on pandas categories.
    """
    package = _package("lightgbm", "lightgbm")
    _check_trees(file)
    try:
        booster = package.Booster(model_file=str(file))
        objective = str(booster.dump_model(num_iteration=1).get("objective", "")).partition(" ")[0]
    except Exception as error:  # LightGBM's own
        raise _broken(file, "LightGBM", error) from error
    _refuse_categories(file, booster)
    names, task = tuple(booster.feature_name()), fitting_task(objective) or "custom"

    def save(folder: Path, task: Task, example: pd.DataFrame, output: Any) -> None:
        importlib.import_module("mlflow.lightgbm").save_model(
            booster, str(folder), signature=infer_signature(example, output), input_example=example,
            pip_requirements=requirements((), ("mlflow", "numpy", "pandas", "lightgbm")),
        )  # fmt: skip

    return ForeignModel(
        kind=f"LightGBM {objective}".strip() if task == "custom" else "LightGBM",
        answer=lambda rows, task: booster.predict(_matrix(rows, "LightGBM")),
        save=save,
        features=() if all(map(_NO_NAME.fullmatch, names)) else names,
        width=len(names),
        task=task,
        sums_to_one=objective != "multiclassova",
    )


def _check_trees(file: Path) -> None:
    """Check that trees stand where the file says, and parameters end: else LightGBM ends the whole process.

    Raises:
        RegistryError: they do not; the file is cut off or was edited.
    """
    content = file.read_bytes()
    sizes = re.search(rb"^tree_sizes=([0-9 ]*)\r?$", content, re.MULTILINE)
    first = content.find(b"\nTree=") + 1
    places = list(itertools.accumulate(map(int, sizes[1].split()), initial=first)) if sizes else []
    whole = all(content.startswith(b"Tree=", place) for place in places[:-1])
    whole &= (b"\nparameters:" in content) == (b"\nend of parameters" in content)
    if not whole or not content.startswith(_END, places[-1] if places else content.find(_END)):
        raise RegistryError(
            f"{file} is cut off or was edited: its trees or parameters are not whole",
            hint="copy it again, or save it again by `model.save_model(...)`",
        )


def _refuse_categories(file: Path, booster: Any) -> None:
    if has_categories(booster):
        raise UsageError(
            f"{file} was fitted on pandas categories, of which it takes codes: rows have values",
            hint="fit it behind an OrdinalEncoder, and save the scikit-learn pipeline as skops",
        )


def _matrix(rows: pd.DataFrame, package: str) -> Any:
    text = [str(name) for name, kind in rows.dtypes.items() if kind.kind == "O"]
    if text:
        raise UsageError(
            f"{package} takes numbers only, and the features {', '.join(text)} are text",
            hint="save a scikit-learn pipeline that encodes them and ends with this model, as skops",
        )
    return np.ascontiguousarray(rows.to_numpy(np.float64))


def _package(name: str, install: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise RegistryError(
            f"this model needs the package {name}, which is not installed", hint=f"pip install {install}"
        ) from error


def _broken(file: Path, package: str, error: Exception) -> RegistryError:
    said = _ENGINE_PLACE.sub("", next(iter(str(error).strip().splitlines()), "") or repr(error))
    return RegistryError(
        f"{file} is cut off, damaged, or of another version: {package} cannot load it ({said})",
        hint="copy it again, or save it again by `model.save_model(...)`",
    )
