"""Undocumented names of onnxruntime that Tidemill uses, each with the reason."""

from typing import Any

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as native

__all__ = ["LOAD_ERRORS", "NAMES", "inner_run"]

_ERRORS = (
    "its errors have no documented class, and a model that cannot be loaded is told from a fault of ours"
)

NAMES = (
    (
        "onnxruntime.InferenceSession._sess",
        "runs a model without the checks in Python, which take as long as a small model",
    ),
    ("onnxruntime.capi.onnxruntime_pybind11_state.Fail", _ERRORS),
    ("onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument", _ERRORS),
    ("onnxruntime.capi.onnxruntime_pybind11_state.InvalidGraph", _ERRORS),
    ("onnxruntime.capi.onnxruntime_pybind11_state.InvalidProtobuf", _ERRORS),
    ("onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented", _ERRORS),
    ("onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException", _ERRORS),
)
"""Dotted paths, and why each is used."""

LOAD_ERRORS: tuple[type[Exception], ...] = (
    native.Fail,
    native.InvalidArgument,
    native.InvalidGraph,
    native.InvalidProtobuf,
    native.NotImplemented,
    native.RuntimeException,
)
"""What onnxruntime raises for a model that it cannot load."""


def inner_run(session: onnxruntime.InferenceSession) -> Any:
    """Return the function ``(names of outputs, inputs by name, options) -> outputs`` behind `session.run`."""
    return session._sess.run
