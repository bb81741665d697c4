"""Tell what kind of model an address or a file names, without any package that would read it."""

import re
import zipfile
from pathlib import Path
from typing import Literal

from tidemill.errors import ModelUnsafe, RegistryError, TidemillError, UsageError

__all__ = ["ADDRESS", "CLASS", "FileKind", "check_address", "check_file", "kind_of_file"]

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*:/.*")
"""An address of MLflow: ``runs:/…``, ``models:/…``, or of an artefact store."""
CLASS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
"""A class of the project: ``module:Class``."""

FileKind = Literal[
    "catboost", "keras", "lightgbm", "onnx", "pickle", "skops", "torch-export", "torch-pickle",
    "torchscript", "xgboost", "damaged archive", "empty", "unknown",
]  # fmt: skip

_PICKLES = {".pkl", ".pickle", ".joblib", ".sav", ".dill", ".cloudpickle"}
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
    if not head:
        return "empty"
    if head.startswith(b"PK\x03\x04"):
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
        return "damaged archive"
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


def check_address(address: str, allow_code: bool) -> None:
    """Refuse what certainly cannot be imported, before anything is loaded that could read it.

    Raises:
        UsageError, ModelUnsafe, RegistryError: as `tidemill.registry.importing.model_origins.open_model`.
    """
    path = Path(address).absolute()
    if path.is_dir():
        if not (path / "MLmodel").is_file():
            raise UsageError(
                f"{path} has no MLmodel: it is no MLflow model",
                hint="name the folder that `mlflow.….save_model` wrote; export a SavedModel of TensorFlow as "
                "ONNX first (tf2onnx)",
            )
    elif path.exists():
        check_file(path, allow_code)
    elif not (ADDRESS.fullmatch(address) or CLASS.fullmatch(address)):
        raise UsageError(
            f"{address}: there is no such file",
            hint="name the file or folder of a model, runs:/…, models:/…, or module:Class "
            "(docs/importing.md)",
        )


def check_file(file: Path, allow_code: bool) -> FileKind:
    """Return what kind of model a file holds.

    Args:
        file: its path.
        allow_code: whether the file may execute code while it is loaded.

    Raises:
        UsageError: there is no such file, or it is of a kind that cannot be imported.
        ModelUnsafe: loading it could execute code, and ``allow_code`` is not set.
        RegistryError: it is damaged.
    """
    try:
        kind = kind_of_file(file) if file.is_file() else "unknown"
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}", hint=f"name {_KNOWN}") from error
    if kind in ("skops", "xgboost", "lightgbm", "onnx"):
        return kind
    if kind in ("pickle", "torch-export", "torchscript") and allow_code:
        return kind
    raise _cannot(file, kind)


def _cannot(file: Path, kind: FileKind) -> TidemillError:
    match kind:
        case "empty" | "damaged archive":
            return RegistryError(
                f"{file} is {'empty' if kind == 'empty' else 'cut off or damaged'}: it holds no model",
                hint="copy it again, or save the model again where it was made",
            )
        case "pickle":
            return ModelUnsafe(
                f"{file} is a pickle, which can execute code when it is loaded: refused",
                hint="where it was made, save it as skops (`skops.io.dump(model, 'model.skops')`) or ONNX; "
                "or use --allow-code, if you trust its maker: it is then saved as skops",
            )
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
