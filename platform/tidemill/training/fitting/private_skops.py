"""skops, imported without what scikit-learn's list of estimators would import along with it.

skops asks scikit-learn for all its estimators, for which that imports each of its modules, also those that
import PyTorch, Dask and CuPy where they are installed: 2 of the 3.7 seconds of processor time that it takes.
"""

import sys

_LEFT_OUT = tuple(f"sklearn.externals.array_api_compat.{name}" for name in ("cupy", "dask", "torch"))

NAMES = (("sklearn.externals.array_api_compat", "imports PyTorch, Dask and CuPy, and has no estimator"),)
"""Dotted paths, and why each is used."""

if "skops.io" not in sys.modules:
    hidden = [name for name in _LEFT_OUT if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type] # None: importing it fails
try:
    import skops.io
    from skops.io.exceptions import UnsupportedTypeException, UntrustedTypesFoundException
finally:
    for name in _LEFT_OUT:
        if name in sys.modules and sys.modules[name] is None:
            del sys.modules[name]

__all__ = ["NAMES", "UnsupportedTypeException", "UntrustedTypesFoundException", "dumps", "load", "types_in"]

dumps = skops.io.dumps
load = skops.io.load
types_in = skops.io.get_untrusted_types
