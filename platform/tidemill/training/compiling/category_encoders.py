"""Compile encoders of categories, by recording their output for each known category and an unknown one."""

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pandas as pd
from onnx import helper, numpy_helper

from tidemill.training.compiling.onnx_graph import ML, CannotCompile, Graph, Table, Tensor

__all__ = ["encode"]

Floats = npt.NDArray[np.float64]

_STRANGE = "\x00 no such category"
_MOST = 100_000


def encode(graph: Graph, encoder: Any, table: Table) -> Table:
    """Return the output of a OneHotEncoder, OrdinalEncoder or TargetEncoder for the columns.

    An unknown category that the encoder would refuse makes the answer NaN.

    Raises:
        CannotCompile: categories of one column are of several kinds, or there are too many.
    """
    several = getattr(encoder, "target_type_", None) == "multiclass"  # a column for each class
    each = len(encoder.classes_) if several else 1
    widths = [int(one) for one in getattr(encoder, "_n_features_outs", [each] * table.width)]
    encoded = Table(())
    for number, width in enumerate(widths):
        tensor, _ = table.columns[number]
        categories = _plain(encoder.categories_[number], tensor)
        start = sum(widths[:number])
        outputs, refuses = _ask(encoder, number, [*categories, None])
        if width:
            chosen = outputs[:, start : start + width]
            encoded += _look_up(graph, table.take([number]), categories, chosen, refuses)
    return encoded


def _plain(categories: Any, tensor: Tensor) -> list[Any]:
    words = tensor.kind == "word"
    found = [None if one is None or one != one else one for one in list(categories)]
    known = [one for one in found if one is not None]
    fitting = str if words else (int, float, bool, np.number, np.bool_)
    if not all(isinstance(one, fitting) for one in known):
        raise CannotCompile(
            f"it encodes {'text' if words else 'numbers'} but knows categories of other kinds"
        )
    if words and "" in known:
        raise CannotCompile('a category is the empty text, which stands for "unknown"')
    if len(found) > _MOST:
        raise CannotCompile(f"a column has {len(found):,} categories, more than {_MOST:,}")
    return [one for one in found if one is not None] + ([_Missing] if None in found else [])


class _Missing:
    """Stands for None or NaN as a category."""


def _ask(encoder: Any, column: int, values: list[Any]) -> tuple[Floats, bool]:
    """Return the encoder's output for rows whose ``column`` takes the values; and if it refuses the last.

    The last value is None: a category that it does not know.
    """
    rows = []
    for value in values:
        row = [_first(known) for known in encoder.categories_]
        row[column] = value
        rows.append(row)
    missing = next((one for one in encoder.categories_[column] if one is None or one != one), np.nan)
    known = [one for one in values if one is not None and one is not _Missing]
    words = any(isinstance(one, str) for one in known)
    strange = _STRANGE if words else float(max(known, default=0)) + 1
    for row in rows:
        row[column] = missing if row[column] is _Missing else strange if row[column] is None else row[column]
    answers = _transform(encoder, rows[:-1])
    try:
        return np.concatenate([answers, _transform(encoder, rows[-1:])]), False
    except ValueError:  # it refuses unknown categories
        return np.concatenate([answers, np.full((1, answers.shape[1]), np.nan)]), True


def _first(categories: Any) -> Any:
    return next(iter(categories))


def _transform(encoder: Any, rows: list[list[Any]]) -> Floats:
    kinds = [found.dtype for found in encoder.categories_]
    names = getattr(encoder, "feature_names_in_", range(len(kinds)))
    columns = {
        name: pd.Series([row[number] for row in rows], dtype=object if kind.kind in "OUS" else np.float64)
        for number, (name, kind) in enumerate(zip(names, kinds, strict=True))
    }
    frame = pd.DataFrame(columns)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the output for the unknown category
        found = encoder.transform(frame if hasattr(encoder, "feature_names_in_") else _matrix(frame))
    return np.asarray(found.toarray() if hasattr(found, "toarray") else found, np.float64)


def _matrix(frame: pd.DataFrame) -> npt.NDArray[Any]:
    return frame.to_numpy(object if any(kind.kind == "O" for kind in frame.dtypes) else np.float64)


def _look_up(graph: Graph, column: Table, categories: list[Any], outputs: Floats, refuses: bool) -> Table:
    """Add nodes that look each category's row up in ``outputs``; its last row is for all others."""
    words = column.columns[0][0].kind == "word"
    if words:
        texts = [b"" if one is _Missing else str(one).encode() for one in categories]
        keys = helper.make_tensor("keys", onnx.TensorProto.STRING, [len(texts)], texts)
    else:
        numbers = [np.nan if one is _Missing else float(one) for one in categories]
        keys = numpy_helper.from_array(np.array(numbers, np.float64), "keys")
    places = np.arange(len(categories), dtype=np.float64)
    code = graph.add(
        "LabelEncoder",
        graph.dense(column),
        domain=ML,
        keys_tensor=keys,
        values_tensor=numpy_helper.from_array(places, "values"),
        default_tensor=numpy_helper.from_array(np.array([float(len(categories))]), "default"),
    )
    width = outputs.shape[1]
    place = graph.add("Cast", code, to=onnx.TensorProto.INT64)
    rows = graph.add("Gather", graph.constant(outputs), place, axis=0)  # shape (rows, 1, width)
    found = graph.add("Reshape", rows, graph.constant(np.array([-1, width], np.int64)))
    if refuses:
        graph.refuse_unknown(found)
    return graph.tensor(found, width)
