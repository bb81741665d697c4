"""Names of Typer that it does not document, each with why it is needed."""

from pathlib import Path
from typing import Any

import typer
import typer.core

__all__ = ["NAMES", "convert_late"]

NAMES = (
    (
        "typer.core._TyperParameter.get_runtime_param",
        "it makes the conversion of every value, given or not, and imports pydantic for that: half of the "
        "time that a reading command takes. Values that need no conversion are passed on without it",
    ),
)
"""Dotted paths, and why each is used."""


class _LazyConversion:
    """Passes on values that are what their parameter takes; has Typer convert all others."""

    def __init__(self, parameter: Any, original: Any) -> None:
        info = parameter.type_descriptor.parameter_info
        self._original = original
        self._annotation = parameter.type_descriptor.annotation
        self._plain = info.parser is None
        self._any_path = not (info.exists or info.resolve_path or info.writable)

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return what the command is called with."""
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        if self._plain and type(value) is self._annotation and self._annotation in (str, bool, int, float):
            return value
        if self._annotation is Path and value == "":  # which Path takes for the current folder
            raise typer.BadParameter("it is empty: name a file or a folder, or . for this one", ctx, param)
        if self._plain and self._annotation is Path and self._any_path and isinstance(value, str):
            return Path(value)
        param._runtime_param = None
        return self._original(param).coerce(value, param=param, ctx=ctx)


def convert_late() -> None:
    """Let parameters import pydantic only for values that need it; leave other versions of Typer alone."""
    parameters: Any = getattr(typer.core, "_TyperParameter", None)
    original = getattr(parameters, "get_runtime_param", None)
    if original is None or getattr(original, "late", False):
        return

    def get_runtime_param(parameter: Any) -> Any:
        if parameter._runtime_param is None:
            parameter._runtime_param = _LazyConversion(parameter, original)
        return parameter._runtime_param

    get_runtime_param.late = True  # type: ignore[attr-defined]
    parameters.get_runtime_param = get_runtime_param
