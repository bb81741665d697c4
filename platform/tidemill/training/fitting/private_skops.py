"""skops, imported without what its lists of trusted types would import along with them.

skops asks scikit-learn for all its estimators, for which that imports each of its modules, also those that
import PyTorch, Dask and CuPy where they are installed, and pytest. Then it asks every loaded module for every
function of SciPy, and modules that load lazily import what they stand for: beside MLflow, Ray and DVC that
alone was 2 of the 3 seconds of processor time that it took.
"""

import json
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from io import BytesIO
from types import ModuleType
from typing import Any
from zipfile import ZipFile

_LEFT_OUT = (*(f"sklearn.externals.array_api_compat.{name}" for name in ("cupy", "dask", "torch")), "pytest")
_OF_SCIPY = ("scipy.special._special_ufuncs", "scipy.special._ufuncs")

NAMES = (
    ("sklearn.externals.array_api_compat", "imports PyTorch, Dask and CuPy, and has no estimator"),
    ("skops.io._trusted_types", "lists the functions of SciPy when it is imported"),
    ("skops.io._utils.SaveContext", "keeps what was seen while an object is taken apart"),
    ("skops.io._utils.get_state", "takes an object apart, without writing it to a file"),
    ("skops.io._utils.whichmodule", "searches all modules for a function, without a list of likely ones"),
    *((name, "is where that finds functions of SciPy at last") for name in _OF_SCIPY),
)
"""Dotted paths, and why each is used."""


class _LikelyModulesFirst(MetaPathFinder):
    """Has skops look for functions of SciPy where they are, while it lists those that it trusts."""

    _everywhere: Callable[[object, str], str] | None = None

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name == "skops.io._trusted_types":
            names = vars(sys.modules["skops.io._utils"])
            self._everywhere, names["whichmodule"] = names["whichmodule"], self._search
        return None

    def _search(self, searched: object, name: str) -> str:
        for place in _OF_SCIPY:
            if getattr(sys.modules.get(place), name, None) is searched:
                return place
        assert self._everywhere is not None
        return self._everywhere(searched, name)

    def end(self) -> None:
        sys.meta_path.remove(self)
        if self._everywhere is not None:
            vars(sys.modules["skops.io._utils"])["whichmodule"] = self._everywhere


if "skops.io" not in sys.modules:
    hidden = [name for name in _LEFT_OUT if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type] # None: importing it fails
likely_first = _LikelyModulesFirst()
sys.meta_path.insert(0, likely_first)
try:
    import skops.io
    from skops.io._utils import SaveContext, get_state
    from skops.io.exceptions import UnsupportedTypeException, UntrustedTypesFoundException
finally:
    likely_first.end()
    for name in _LEFT_OUT:
        if name in sys.modules and sys.modules[name] is None:
            del sys.modules[name]

__all__ = [
    "NAMES",
    "UnsupportedTypeException",
    "UntrustedTypesFoundException",
    "load",
    "types_in",
    "types_of",
]

load = skops.io.load
types_in = skops.io.get_untrusted_types


def types_of(estimator: Any) -> list[str]:
    """Return the types that an object holds beyond what skops trusts by itself.

    As of `skops.io.dumps` and `skops.io.get_untrusted_types`, in half the time: files have their JSON on many
    indented lines, which Python's fast encoder does not make.
    """
    file = BytesIO()
    with ZipFile(file, "w") as archive:
        context = SaveContext(zip_file=archive)
        state = {**get_state(estimator, context), "protocol": context.protocol}
        archive.writestr("schema.json", json.dumps({**state, "_skops_version": skops.__version__}))
    return list(types_in(data=file.getvalue()))
