"""Read the model in a file by the kind that its content tells."""

import hashlib
from collections.abc import Callable, Collection
from pathlib import Path

from tidemill.registry.importing.booster_files import read_lightgbm, read_xgboost
from tidemill.registry.importing.estimator_files import read_pickle, read_skops
from tidemill.registry.importing.foreign_model import ForeignModel
from tidemill.registry.importing.model_kinds import check_file
from tidemill.registry.importing.onnx_files import read_onnx_file
from tidemill.registry.importing.torch_files import read_exported, read_script

__all__ = ["digest_of", "read_file_model"]

_BLOCK = 1 << 20


def read_file_model(file: Path, declared: Callable[[], Collection[str]], allow_code: bool) -> ForeignModel:
    """Read the model in a file.

    Args:
        file: its path.
        declared: gives the types that the project's training spec trusts; called only if that matters.
        allow_code: whether the file may execute code while it is loaded.

    Raises:
        UsageError: there is no such file, or it is of a kind that cannot be imported.
        ModelUnsafe: loading it could execute code, and ``allow_code`` is not set.
        RegistryError: it is damaged.
    """
    match check_file(file, allow_code):
        case "skops":
            return read_skops(file, declared)
        case "xgboost":
            return read_xgboost(file)
        case "lightgbm":
            return read_lightgbm(file)
        case "onnx":
            return read_onnx_file(file)
        case "pickle":
            return read_pickle(file, declared)
        case "torch-export":
            return read_exported(file)
        case _:
            return read_script(file)


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of all files in a folder."""
    if not path.is_dir():
        return _digest(path).hexdigest()
    whole = hashlib.sha256()
    for file in sorted(one for one in path.rglob("*") if one.is_file()):
        whole.update(
            str(file.relative_to(path)).encode(errors="surrogateescape") + b"\0" + _digest(file).digest()
        )
    return whole.hexdigest()


def _digest(file: Path) -> "hashlib._Hash":
    found = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            found.update(block)
    return found
