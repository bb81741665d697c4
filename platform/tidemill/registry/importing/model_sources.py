"""Tell what kind of model a file is by its content, and read it."""

import hashlib
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Literal

from tidemill.errors import ModelUnsafe, UsageError
from tidemill.registry.importing.booster_files import read_lightgbm, read_xgboost
from tidemill.registry.importing.estimator_files import read_pickle, read_skops
from tidemill.registry.importing.foreign_model import ForeignModel
from tidemill.registry.importing.onnx_files import read_onnx_file
from tidemill.registry.importing.torch_files import read_exported, read_script

__all__ = ["FileKind", "digest_of", "kind_of_file", "read_file_model"]

FileKind = Literal[
    "catboost", "keras", "lightgbm", "onnx", "pickle", "skops", "torch-export", "torch-pickle",
    "torchscript", "xgboost", "unknown",
]  # fmt: skip

_PICKLES = {".pkl", ".pickle", ".joblib", ".sav", ".dill", ".cloudpickle"}
_BLOCK = 1 << 20
_KNOWN = (
    "a skops file of scikit-learn, XGBoost (.ubj, .json), LightGBM (.txt), ONNX, TorchScript, torch.export, "
    "a folder with MLmodel, an MLflow address (runs:/…, models:/…), or module:Class"
)
_OF_KERAS = (
    "export it as ONNX (`model.export('model.onnx', format='onnx')` in Keras 3, or tf2onnx), or log it with "
    "mlflow.keras or mlflow.tensorflow and import that"
)


def kind_of_file(file: Path) -> FileKind:
    """Return what kind of model a file holds, by its first bytes and the names in an archive.

    Raises:
        OSError: it cannot be read.
    """
    with file.open("rb") as stream:
        head = stream.read(4096)
    if zipfile.is_zipfile(file):
        return _kind_of_archive(file)
    if head.startswith(b"\x89HDF"):
        return "keras"
    if head.startswith(b"CBM1"):
        return "catboost"
    if head.startswith((b"tree\n", b"tree\r\n")):
        return "lightgbm"
    if head[:1] == b"{" and b"learner" in head:
        return "xgboost"
    if file.suffix.lower() in _PICKLES or (head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05"):
        return "pickle"
    return "onnx" if file.suffix.lower() == ".onnx" or _is_onnx(file, head) else "unknown"


def _kind_of_archive(file: Path) -> FileKind:
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return "unknown"
    inner = {name.partition("/")[2] or name for name in names}
    if "schema.json" in names:
        return "skops"
    if {"archive_format", "archive_version"} & inner and any(one.startswith("models/") for one in inner):
        return "torch-export"
    if any(one.startswith("code/") for one in inner) and "constants.pkl" in inner:
        return "torchscript"
    if "data.pkl" in inner:
        return "torch-pickle"
    return "keras" if "model.weights.h5" in names else "unknown"


def _is_onnx(file: Path, head: bytes) -> bool:
    if head[:1] != b"\x08":  # the first field of the file is the version of its format
        return False
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return bool(onnx.load_model_from_string(file.read_bytes()).graph.node)
    except (DecodeError, ValueError):
        return False


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
    try:
        kind = kind_of_file(file)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}", hint=f"name {_KNOWN}") from error
    match kind:
        case "skops":
            return read_skops(file, declared)
        case "xgboost":
            return read_xgboost(file)
        case "lightgbm":
            return read_lightgbm(file)
        case "onnx":
            return read_onnx_file(file)
        case "pickle" if allow_code:
            return read_pickle(file, declared)
        case "pickle":
            raise ModelUnsafe(
                f"{file} is a pickle, which can execute code when it is loaded: refused",
                hint="where it was made, save it as skops (`skops.io.dump(model, 'model.skops')`) or ONNX; "
                "or use --allow-code, if you trust its maker: it is then saved as skops",
            )
        case "torch-export" if allow_code:
            return read_exported(file)
        case "torchscript" if allow_code:
            return read_script(file)
        case _:
            raise _cannot(file, kind)


def _cannot(file: Path, kind: FileKind) -> UsageError | ModelUnsafe:
    match kind:
        case "torch-export" | "torchscript":
            return ModelUnsafe(
                f"{file} is a file of {kind.replace('torch-', 'torch.')}, which can execute code when it is "
                "loaded: refused",
                hint="where it was made, export it as ONNX (`torch.onnx.export`); or use --allow-code, if "
                "you trust whoever made it: it is then served as ONNX",
            )
        case "torch-pickle":
            return ModelUnsafe(
                f"{file} is a pickle of PyTorch: weights alone are no model, and a module can execute code",
                hint="where it was made, export it as ONNX (`torch.onnx.export`) or by `torch.export.save`",
            )
        case "keras":
            return UsageError(f"{file} is a model of Keras, which is not loaded here", hint=_OF_KERAS)
        case "catboost":
            return UsageError(
                f"{file} is CatBoost's own format, which is not loaded here",
                hint="save it as ONNX: `model.save_model('model.onnx', format='onnx')`",
            )
        case _:
            return UsageError(
                f"{file} is not a model of a kind that can be imported"
                if file.is_file()
                else f"{file} is not a file",
                hint=f"name {_KNOWN}",
            )


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
